//! Sends ICMP errors of this host's own, by whatever route there is to whom they are for, so not bound to a device.

use std::io;
use std::net::SocketAddr;

use klips::packet::IpHeader;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Octets of an IPv6 header.
const HEADER_V6: usize = 40;
/// Both families' sockets.
pub struct Answers {
    v4: Socket,
    v6: Option<Socket>,
}

impl Answers {
    /// Opens the sockets. Without IPv6 in the system, errors about IPv6 packets are refused by [`Self::send`].
    ///
    /// # Errors
    /// The system's, for want of the right to open raw sockets first of all.
    pub fn open() -> io::Result<Self> {
        let v4 = Socket::new_raw(
            Domain::IPV4,
            Type::RAW,
            Some(Protocol::from(libc::IPPROTO_RAW)),
        )?;
        v4.set_header_included_v4(true)?;
        let v6 = match Socket::new_raw(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)) {
            Ok(socket) => Some(socket),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
                ) =>
            {
                None
            }
            Err(e) => return Err(e),
        };
        if let Some(v6) = &v6 {
            // It is for sending: a filter of one instruction takes no octet of what arrives.
            let nothing = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
            v6.attach_filter(&[nothing])?;
        }
        Ok(Self { v4, v6 })
    }

    /// Sends the ICMP error in `packet`, which begins at its IP header. Its source becomes the address that the system chooses for
    /// the route (RFC 1812 section 4.3.2.4).
    ///
    /// # Errors
    /// There is no route, or the system refuses.
    pub fn send(&self, packet: &mut [u8]) -> io::Result<()> {
        let header = IpHeader::new_checked(packet).map_err(io::Error::other)?;
        let to = SocketAddr::from((header.dst, 0)).into();
        if header.is_v4() {
            // The system fills in what is zero, and sums the header.
            if let Some(source) = packet.get_mut(12..16) {
                source.fill(0);
            }
            return self.v4.send_to(packet, &to).map(drop);
        }
        // This socket's messages are ICMP alone; the system puts the header before, and the checksum in.
        let socket = self.v6.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let message = packet.get(HEADER_V6..).unwrap_or(&[]);
        socket.send_to(message, &to).map(drop)
    }
}
