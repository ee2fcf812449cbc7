//! Netlink: sockets, and messages with their attributes.
//!
//! Not here: what the messages of nf_tables, of packet queues and of routes say (`table`, `queue`, `route`).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

/// Octets of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
pub const ACK: u16 = 4;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Messages to send at once.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Sequence number of the last one.
    seq: u32,
}

impl Messages {
    /// Adds a message; `body` adds its attributes.
    pub fn put(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.seq += 1;
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.seq.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(header);
        body(&mut Attributes(&mut self.bytes));
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

/// Attributes of a message under construction.
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// One attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// One of text, with its zero octet.
    pub fn text(&mut self, kind: u16, text: &str) {
        self.put(kind, &[text.as_bytes(), &[0]].concat());
    }

    /// One of a number in network order.
    pub fn number(&mut self, kind: u16, number: u32) {
        self.put(kind, &number.to_be_bytes());
    }

    /// One that holds others.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.0.extend(0u16.to_ne_bytes());
        self.0.extend((kind | NESTED).to_ne_bytes());
        body(&mut Attributes(self.0));
        let len = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    }
}

/// An address as attributes have it.
#[must_use]
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The value of an attribute among `bytes`.
#[must_use]
pub fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let found = u16::from_ne_bytes(*rest.first_chunk()?) & !NESTED;
        let len = usize::from(u16::from_ne_bytes(*len));
        let value = bytes.get(4..len)?;
        if found == kind {
            return Some(value);
        }
        bytes = bytes.get(len.next_multiple_of(4)..)?;
    }
}

/// A received message: its type, and what is behind its header.
#[must_use]
pub fn message(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    Some((kind, bytes.get(HEADER..len.min(bytes.len()))?))
}

/// A netlink socket.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one.
    ///
    /// # Errors
    /// The system's.
    pub fn open(protocol: SockProtocol) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self(fd))
    }

    /// Sends messages, and takes the kernel's answer to those that asked for one by [`ACK`], which is there at once.
    ///
    /// # Errors
    /// The system's, or the kernel's to the first message that it refuses.
    pub fn ask(&self, messages: &Messages) -> io::Result<()> {
        let mut buffer = [0; 8192];
        while recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
        self.send(messages)?;
        loop {
            match self.receive(&mut buffer) {
                Ok(Some(bytes)) => {
                    if let Some((ERROR, body)) = message(bytes) {
                        let error = body.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                        if error != 0 {
                            return Err(io::Error::from_raw_os_error(-error));
                        }
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends messages.
    ///
    /// # Errors
    /// The system's.
    pub fn send(&self, messages: &Messages) -> io::Result<()> {
        loop {
            match send(self.0.as_raw_fd(), &messages.bytes, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Receives what is there: one datagram, of one message mostly; `None`: nothing.
    ///
    /// # Errors
    /// The system's; ENOBUFS when some were lost.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        loop {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
                Ok(len) => return Ok(buffer.get(..len)),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_there_and_back() {
        let mut messages = Messages::default();
        messages.put(7, ACK, &[1, 2, 3, 4], |a| {
            a.text(1, "klips");
            a.nest(2, |a| a.number(9, 5));
            a.put(3, &[8]);
        });
        let (kind, body) = message(&messages.bytes).unwrap();
        assert_eq!((kind, messages.bytes.len() % 4), (7, 0));
        let body = body.get(4..).unwrap();
        assert_eq!(attribute(body, 1), Some(&b"klips\0"[..]));
        assert_eq!(
            attribute(attribute(body, 2).unwrap(), 9),
            Some(&[0, 0, 0, 5][..])
        );
        assert_eq!(attribute(body, 3), Some(&[8][..]));
        assert_eq!(attribute(body, 4), None);
        for len in 0..body.len() {
            let _ = (message(&messages.bytes[..len]), attribute(&body[..len], 3));
        }
        assert_eq!(attribute(&[0, 0, 1, 0], 3), None, "a length of nothing");
    }
}
