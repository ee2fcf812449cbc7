//! A queue of their own for first messages, which anybody may send with any address. Beside each IKE socket there is a second one at
//! the same address and port, and a filter in the kernel gives it the messages whose responder's cookie is zero. So a
//! flood of first messages fills its own buffer, and messages of exchanges that go on are not lost with it.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
};

use socket2::{SockFilter, SockRef};
use tokio::net::UdpSocket;

use super::sockets::unbound;

/// Instructions of the classic Berkeley packet filter: load a word, compare with a constant, return a constant.
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the responder's cookie is in an IKE message.
const RESPONDER: u32 = 8;
/// The socket for first messages is the second one of the group.
const FIRST_MESSAGES: u32 = 1;

/// Opens the second socket beside `socket`, which is bound to `local`. `encap` as for that one. None where the kernel has no such filter: then
/// all messages come to the first socket.
pub fn beside(socket: &UdpSocket, local: SocketAddr, encap: Option<bool>) -> Option<UdpSocket> {
    // The first socket was bound without this, so that nobody else's can have been at the port.
    SockRef::from(socket).set_reuse_port(true).ok()?;
    let second = unbound(local, encap).ok()?;
    second.set_reuse_port(true).ok()?;
    second.bind(&local.into()).ok()?;
    share_out(socket, encap.is_some()).ok()?;
    UdpSocket::from_std(second.into()).ok()
}

/// Has the kernel choose the socket by the responder's cookie; in ESP's place (`marked`) nothing but IKE is chosen for.
fn share_out(socket: &impl AsFd, marked: bool) -> io::Result<()> {
    let filter = |at: u32, values: u8| {
        // A datagram too short for a word goes to the first socket.
        [
            SockFilter::new(LOAD_WORD, 0, 0, at),
            SockFilter::new(JUMP_EQUAL, 0, values, 0),
        ]
    };
    let start = if marked { 4 } else { 0 };
    let mut program = Vec::new();
    if marked {
        program.extend(filter(0, 5));
    }
    program.extend(filter(start + RESPONDER, 3));
    program.extend(filter(start + RESPONDER + 4, 1));
    program.push(SockFilter::new(RETURN, 0, 0, FIRST_MESSAGES));
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    let program = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_mut_ptr().cast(),
    };
    // SAFETY: the descriptor is open, and the kernel copies the program, which lives through the call; SockFilter is a
    // transparent form of the kernel's sock_filter.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::net::sockets::bind;

    #[tokio::test]
    async fn d1_first_messages_have_a_socket_of_their_own() {
        for marker in [0, 4] {
            let encap = (marker == 4).then_some(false);
            let first = bind("127.0.0.1:0".parse().unwrap(), encap).unwrap();
            let local = first.local_addr().unwrap();
            let second = beside(&first, local, encap).expect("the kernel has such filters");
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut message = vec![0; marker];
            message.extend([7; 8]);
            message.extend([0; 8]);
            message.extend([1; 12]);
            for _ in 0..10 {
                peer.send_to(&message, local).unwrap();
                message[marker + 15] ^= 1;
                peer.send_to(&message, local).unwrap();
                message[marker + 15] ^= 1;
            }
            let mut buffer = [0; 100];
            for _ in 0..10 {
                first.recv(&mut buffer).await.unwrap();
                assert_eq!(buffer[marker + 15], 1);
                second.recv(&mut buffer).await.unwrap();
                assert_eq!(buffer[marker + 15], 0);
            }
            // Another program that comes without this, or with it, finds the port taken.
            assert!(bind(local, encap).is_err());
        }
    }
}
