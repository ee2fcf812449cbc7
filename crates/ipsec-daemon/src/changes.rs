//! A netlink socket that tells that a device or an address has changed, or a default route. What has changed is asked afterwards, so that
//! nothing of a message needs to be believed and a lost one does no harm.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `RTMGRP_LINK`, and the groups of IPv4's and IPv6's addresses (rtnetlink(7)).
const DEVICES: u32 = 0x1 | 0x10 | 0x100;
/// The groups of IPv4's and IPv6's routes.
const ALL_ROUTES: u32 = 0x40 | 0x400;
/// `RTM_NEWROUTE` and `RTM_DELROUTE`.
const ROUTES: [u16; 2] = [24, 25];
/// A message's length, type, flags, sequence number and sender.
const HEADER: usize = 16;

/// The listening socket.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Starts to listen for devices and their addresses.
    ///
    /// # Errors
    /// The system's.
    pub fn of_devices() -> io::Result<Self> {
        Self::open(DEVICES)
    }

    /// The same, and for default routes.
    ///
    /// # Errors
    /// The system's.
    pub fn of_devices_and_default_routes() -> io::Result<Self> {
        Self::open(DEVICES | ALL_ROUTES)
    }

    fn open(groups: u32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            flags,
            SockProtocol::NetlinkRoute,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(fd))
    }

    /// Takes all waiting messages off, and answers whether one of them matters, or some were lost.
    pub fn drain(&self) -> bool {
        let mut any = false;
        let mut buffer = [0; 16384];
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => any |= matters(&buffer[..length]),
                Err(Errno::ENOBUFS) => any = true,
                Err(Errno::EINTR) => {}
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether there is more among the messages than routes to some net: each tunnel makes one.
fn matters(mut messages: &[u8]) -> bool {
    while let Some(header) = messages.first_chunk::<HEADER>() {
        let [a, b, c, d, e, f, ..] = *header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let kind = u16::from_ne_bytes([e, f]);
        // The second octet of a route is its prefix length.
        let net = messages.get(HEADER + 1).is_some_and(|prefix| *prefix != 0);
        if !(ROUTES.contains(&kind) && net) {
            return true;
        }
        let next = length.max(HEADER).next_multiple_of(4);
        messages = messages.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::matters;

    fn message(kind: u16, prefix: u8) -> Vec<u8> {
        let mut bytes = 28u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend([2, prefix, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn routes_of_tunnels_do_not_matter_and_default_routes_do() {
        let (net, default, link) = (message(24, 24), message(25, 0), message(16, 24));
        assert!(!matters(&net) && !matters(&[]) && !matters(&[1, 2, 3]));
        assert!(matters(&default) && matters(&link));
        assert!(matters(&[net.clone(), default].concat()));
        assert!(!matters(&[net.clone(), net].concat()));
        // A length that is none ends nothing and hangs nothing.
        assert!(!matters(
            &[[0; 4], [24, 0, 0, 0], [0; 4], [0; 4], [2, 9, 0, 0]].concat()
        ));
    }
}
