//! The port of NAT traversal: IKE behind the non-ESP marker, ESP in UDP and keep-alives come to one socket (RFC 3948 section 2).
//! Only IKE is pluto's; ESP must get to KLIPS.
//!
//! Where KLIPS is in the kernel, the socket is made one of UDP encapsulation: the kernel takes ESP and keep-alives out and
//! gives ESP to the module, by the same way as to its own IPsec. klipsd reads ESP with a raw socket of its own; then a filter
//! keeps it from pluto's socket, which would wake up for every packet.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::{SockFilter, Socket};

/// Octets in front of IKE messages, all zero, where ESP has its SPI.
pub const MARKER: [u8; 4] = [0; 4];
/// What a keep-alive holds.
pub const KEEP_ALIVE: [u8; 1] = [0xff];

/// `UDP_ENCAP` and its value for RFC 3948, of `<linux/udp.h>`.
const UDP_ENCAP: libc::c_int = 100;
const UDP_ENCAP_ESPINUDP: libc::c_int = 2;

/// What every link of IPv6 takes, in bytes (RFC 8200 section 5).
const IPV6_MIN_MTU: libc::c_int = 1280;

/// Instructions of the classic Berkeley packet filter: load a word, compare with a constant, return a constant.
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// A UDP socket's filter sees the UDP header first.
const PAYLOAD: u32 = 8;

/// Keeps ESP and keep-alives from the socket, which is not yet bound.
pub fn prepare(socket: &Socket, klips_in_kernel: bool) -> io::Result<()> {
    if klips_in_kernel {
        return set_number(socket, libc::IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP);
    }
    socket.attach_filter(&[
        // A datagram too short for this is dropped, and so a keep-alive.
        SockFilter::new(LOAD_WORD, 0, 0, PAYLOAD),
        SockFilter::new(JUMP_EQUAL, 0, 1, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ])
}

/// Has the kernel not believe what is said of this socket's paths: whoever knows addresses and ports could say it, and KLIPS believes
/// only who quotes an SPI as well. IKE over IPv4 goes without DF, and routers may fragment it; over IPv6 they never do, so it
/// leaves in pieces that every link takes.
pub fn leave_path_mtu(socket: &Socket, local: SocketAddr) -> io::Result<()> {
    if local.is_ipv4() {
        let (option, value) = (libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT);
        return set_number(socket, libc::IPPROTO_IP, option, value);
    }
    let (option, value) = (libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT);
    set_number(socket, libc::IPPROTO_IPV6, option, value)?;
    set_number(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU, IPV6_MIN_MTU)
}

fn set_number(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the value is an int that lives through the call, with its size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The IKE message in a datagram that came to the port; `None` for all else.
pub fn unmark(datagram: &[u8]) -> Option<&[u8]> {
    datagram.strip_prefix(&MARKER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Protocol, Type};
    use std::net::UdpSocket;

    #[test]
    fn only_ike_comes_through() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        prepare(&socket, false).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let socket = UdpSocket::from(socket);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let send = |bytes: &[u8]| peer.send_to(bytes, socket.local_addr().unwrap()).unwrap();
        send(&KEEP_ALIVE);
        send(b"\x12\x34\x56\x78 is an SPI");
        send(b"");
        send(b"\0\0\0\0IKE");
        let mut buffer = [0; 64];
        let (len, _) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(unmark(&buffer[..len]), Some(&b"IKE"[..]));
        assert_eq!(unmark(&KEEP_ALIVE), None);
        assert_eq!(unmark(b"\0\0\0"), None);
    }
}
