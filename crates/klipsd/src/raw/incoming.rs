//! Raw sockets that receive on one physical device, or on all but those that have sockets of their own; whole IP packets, a
//! batch at a time.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockFilter, Socket, Type};

use super::header6::{self, Header6};
use super::{RawError, enlarge_buffers, raw_error};
use crate::sys::mmsg::RecvBatch;

/// Datagrams per recvmmsg.
const BATCH: usize = 64;
/// Largest IP packet.
const MAX_PACKET: usize = 65_535;

/// The port of NAT traversal (RFC 3948 section 2.1).
const NAT_PORT: u32 = 4500;
/// Instructions of the classic Berkeley packet filter: load a word or half a word, at a place or behind the IPv4 header, whose
/// length X gets; compare with a constant; return a constant.
const WORD: u16 = 0x20;
const HALF: u16 = 0x28;
const WORD_BEHIND: u16 = 0x40;
const HALF_BEHIND: u16 = 0x48;
const HEADER_LENGTH: u16 = 0xb1;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where a filter reads the number of the device that a packet came by (SKF_AD_OFF + SKF_AD_IFINDEX).
const DEVICE: u32 = (-0x1000i32 + 8) as u32;

/// To that port, and an SPI where IKE has its marker of zeros. A packet too short to tell is dropped, and so a keep-alive.
const ESP_IN_UDP_4: [SockFilter; 7] = [
    SockFilter::new(HEADER_LENGTH, 0, 0, 0),
    SockFilter::new(HALF_BEHIND, 0, 0, 2),
    SockFilter::new(EQUAL, 0, 3, NAT_PORT),
    SockFilter::new(WORD_BEHIND, 0, 0, 8),
    SockFilter::new(EQUAL, 1, 0, 0),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
    SockFilter::new(RETURN, 0, 0, 0),
];
/// The same where the kernel keeps the IP header to itself.
const ESP_IN_UDP_6: [SockFilter; 6] = [
    SockFilter::new(HALF, 0, 0, 2),
    SockFilter::new(EQUAL, 0, 3, NAT_PORT),
    SockFilter::new(WORD, 0, 0, 8),
    SockFilter::new(EQUAL, 1, 0, 0),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
    SockFilter::new(RETURN, 0, 0, 0),
];

/// What a raw socket is to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Encapsulating Security Payload, 50.
    Esp,
    /// Authentication Header, 51.
    Ah,
    /// IPCOMP, 108.
    Comp,
    /// ESP in UDP: what comes to UDP port 4500 and is not IKE. pluto has the port, and this a copy.
    EspInUdp,
    /// ICMP 1, or ICMPv6 58, as the family wants.
    Icmp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Esp, Self::EspInUdp, Self::Ah, Self::Comp, Self::Icmp];

    /// The IP protocol number in IPv4 or IPv6.
    #[must_use]
    pub fn number(self, v6: bool) -> u8 {
        match (self, v6) {
            (Self::Esp, _) => 50,
            (Self::Ah, _) => 51,
            (Self::Comp, _) => 108,
            (Self::EspInUdp, _) => 17,
            (Self::Icmp, false) => 1,
            (Self::Icmp, true) => 58,
        }
    }
}

/// One such socket with its buffers.
pub struct Incoming {
    sock: Socket,
    batch: RecvBatch,
    /// The protocol received.
    pub protocol: Protocol,
    /// IPv6, not IPv4.
    pub v6: bool,
}

/// One packet of a batch: `buffer[start..end]`.
pub struct Arrived<'a> {
    /// The buffer around it; what is behind the packet may be used.
    pub buffer: &'a mut [u8],
    /// Where the IP header starts.
    pub start: usize,
    /// Where the packet ends.
    pub end: usize,
}

/// Another handle of a socket of [`Incoming::elsewhere`].
pub struct Elsewhere {
    sock: Socket,
    protocol: Protocol,
    v6: bool,
}

impl Elsewhere {
    /// Leaves out what comes by these devices from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn leave_out(&self, devices: &[u32]) -> io::Result<()> {
        self.sock
            .attach_filter(&filter(devices, self.protocol, self.v6))
    }
}

/// A filter that takes what the protocol's own takes, but not from these devices.
fn filter(devices: &[u32], protocol: Protocol, v6: bool) -> Vec<SockFilter> {
    let mut program = vec![SockFilter::new(WORD, 0, 0, DEVICE)];
    for device in devices {
        program.push(SockFilter::new(EQUAL, 0, 1, *device));
        program.push(SockFilter::new(RETURN, 0, 0, 0));
    }
    match (protocol, v6) {
        (Protocol::EspInUdp, false) => program.extend(ESP_IN_UDP_4),
        (Protocol::EspInUdp, true) => program.extend(ESP_IN_UDP_6),
        _ => program.push(SockFilter::new(RETURN, 0, 0, u32::MAX)),
    }
    program
}

impl Incoming {
    /// Opens the socket, bound to `device`.
    ///
    /// # Errors
    /// See [`RawError`]; EAFNOSUPPORT or EPROTONOSUPPORT in it when the system has no IPv6.
    pub fn open(device: &str, protocol: Protocol, v6: bool) -> Result<Self, RawError> {
        let open = || {
            let sock = Self::socket(protocol, v6)?;
            if protocol == Protocol::EspInUdp {
                sock.attach_filter(if v6 { &ESP_IN_UDP_6 } else { &ESP_IN_UDP_4 })?;
            }
            sock.bind_device(Some(device.as_bytes()))?;
            Ok(sock)
        };
        let sock = open().map_err(|e| raw_error(device, e))?;
        Ok(Self::with(sock, protocol, v6))
    }

    /// Opens one that receives on every device but these, and a handle to change them by.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn elsewhere(
        devices: &[u32],
        protocol: Protocol,
        v6: bool,
    ) -> Result<(Self, Elsewhere), RawError> {
        let open = || {
            let sock = Self::socket(protocol, v6)?;
            let handle = Elsewhere {
                sock: sock.try_clone()?,
                protocol,
                v6,
            };
            handle.leave_out(devices)?;
            Ok((sock, handle))
        };
        let (sock, handle) = open().map_err(|e| raw_error("any device", e))?;
        Ok((Self::with(sock, protocol, v6), handle))
    }

    fn with(sock: Socket, protocol: Protocol, v6: bool) -> Self {
        let headroom = if v6 { header6::ROOM } else { 0 };
        Self {
            sock,
            batch: RecvBatch::new(BATCH, headroom, MAX_PACKET),
            protocol,
            v6,
        }
    }

    fn socket(protocol: Protocol, v6: bool) -> io::Result<Socket> {
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let number = i32::from(protocol.number(v6));
        let sock = Socket::new_raw(domain, Type::RAW, Some(number.into()))?;
        sock.set_nonblocking(true)?;
        enlarge_buffers(&sock);
        crate::sys::ifreq::learn_no_path_mtu(sock.as_fd(), v6)?;
        if v6 {
            setsockopt(&sock, sockopt::Ipv6RecvPacketInfo, &true)?;
            setsockopt(&sock, sockopt::Ipv6RecvHopLimit, &true)?;
            sock.set_recv_tclass_v6(true)?;
            if protocol != Protocol::Icmp {
                crate::sys::ifreq::receive_extension_headers(sock.as_fd())?;
            }
        }
        Ok(sock)
    }

    /// Receives what is there without waiting; answers how many [`Self::get`] knows.
    ///
    /// # Errors
    /// The socket's: ENETDOWN while the device is down.
    pub fn recv(&mut self) -> io::Result<usize> {
        self.batch.recv(self.sock.as_fd())
    }

    /// Whether a batch of `count` was as large as it can be, so that more may be there.
    #[must_use]
    pub fn was_full(&self, count: usize) -> bool {
        count == self.batch.capacity()
    }

    /// Packet `index` of the batch, its IPv6 header made anew; `None` for one that did not fit.
    pub fn get(&mut self, index: usize) -> Option<Arrived<'_>> {
        let number = self.protocol.number(self.v6);
        let message = self.batch.get(index)?;
        let end = message.headroom + message.length;
        if !self.v6 {
            return Some(Arrived {
                buffer: message.buffer,
                start: 0,
                end,
            });
        }
        let Some(SocketAddr::V6(source)) = message.source else {
            return None;
        };
        let header = Header6::from_control(*source.ip(), message.control)?;
        let room = message.buffer.get_mut(..message.headroom)?;
        let start = header.write(room, message.control, number, message.length)?;
        Some(Arrived {
            buffer: message.buffer,
            start,
            end,
        })
    }
}

impl AsFd for Incoming {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sock.as_fd()
    }
}
