//! A queue of nfnetlink: packets that wait for a verdict.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use klips::packet::SHOWING;
use nix::sys::socket::SockProtocol;

use super::netlink::{ACK, Messages, Netlink, attribute, message};

/// `NFNL_SUBSYS_QUEUE`, and messages of it.
const PACKET: u16 = 3 << 8;
const VERDICT: u16 = 3 << 8 | 1;
const CONFIGURE: u16 = 3 << 8 | 2;
/// `NFQNL_CFG_CMD_BIND`, `NFQNL_COPY_PACKET`, `NFQA_CFG_F_GSO`.
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const WHOLE_SEGMENTS: u32 = 4;
/// Attributes of a packet.
const PACKET_HEADER: u16 = 1;
const BY: u16 = 5;
const PAYLOAD: u16 = 10;
/// `NF_INET_LOCAL_IN`.
const LOCAL_IN: u8 = 1;
/// Numbers of queues that are tried: another program, or another klipsd, may have one.
const NUMBERS: std::ops::Range<u16> = 19_580..19_612;
/// Packets that may wait.
const MAX_WAITING: u32 = 8192;

/// One packet that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    id: [u8; 4],
    /// Index of the device that it came by; 0: unknown.
    pub by: u32,
    /// Whether it is for this host, not to be forwarded.
    pub local: bool,
    /// Its first octets.
    pub start: &'a [u8],
}

impl<'a> Waiting<'a> {
    /// Out of a netlink message.
    #[must_use]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let (PACKET, body) = message(bytes)? else {
            return None;
        };
        let attributes = body.get(4..)?;
        let header = attribute(attributes, PACKET_HEADER)?;
        let by = attribute(attributes, BY).and_then(|b| b.first_chunk());
        Some(Self {
            id: *header.first_chunk()?,
            by: by.map_or(0, |b| u32::from_be_bytes(*b)),
            local: *header.get(6)? == LOCAL_IN,
            start: attribute(attributes, PAYLOAD).unwrap_or(&[]),
        })
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    netlink: Netlink,
    /// Its number.
    pub number: u16,
}

impl Queue {
    /// The first one that nobody has.
    ///
    /// # Errors
    /// The system's.
    pub fn open() -> io::Result<Self> {
        let netlink = Netlink::open(SockProtocol::NetlinkNetFilter)?;
        let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
        for number in NUMBERS {
            let of_queue = [&[0, 0][..], &number.to_be_bytes()].concat();
            let mut messages = Messages::default();
            messages.put(CONFIGURE, ACK, &of_queue, |a| a.put(1, &[BIND, 0, 0, 0]));
            match netlink.ask(&messages) {
                Ok(()) => {}
                Err(error) => {
                    refused = error;
                    continue;
                }
            }
            let mut messages = Messages::default();
            messages.put(CONFIGURE, ACK, &of_queue, |a| {
                a.put(
                    2,
                    &[&(SHOWING as u32).to_be_bytes()[..], &[COPY_PACKET]].concat(),
                );
                a.number(3, MAX_WAITING);
                a.number(4, WHOLE_SEGMENTS);
                a.number(5, WHOLE_SEGMENTS);
            });
            netlink.ask(&messages)?;
            return Ok(Self { netlink, number });
        }
        Err(refused)
    }

    /// The next packet that waits; `None`: none now.
    ///
    /// # Errors
    /// The system's; ENOBUFS when some were lost, which are then dropped.
    pub fn next<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        self.netlink.receive(buffer)
    }

    /// Lets it go on, or drops it.
    ///
    /// # Errors
    /// The system's.
    pub fn decide(&self, waiting: &Waiting<'_>, may_go_on: bool) -> io::Result<()> {
        let mut messages = Messages::default();
        let of_queue = [&[0, 0][..], &self.number.to_be_bytes()].concat();
        messages.put(VERDICT, 0, &of_queue, |a| {
            a.put(
                2,
                &[&u32::from(may_go_on).to_be_bytes()[..], &waiting.id].concat(),
            );
        });
        self.netlink.send(&messages)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}
