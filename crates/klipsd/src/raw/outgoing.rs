//! Sends whole IP packets by one physical device, in batches. Bound to the device, so that a route to the
//! peer through ipsecN cannot bring them back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{RawError, enlarge_buffers, raw_error};
use crate::path::lanes::LaneId;

/// Room in each buffer: the largest IP packet with the core's head and tail room.
pub const BUFFER: usize = 65_535 + klips::packet::HEADROOM + klips::packet::TAILROOM;

/// Buffers kept from batch to batch.
const KEPT: usize = 128;

/// A buffer for one packet while it is transformed and sent.
pub type Buffer = Box<[u8]>;

/// A fresh buffer; its pages are first taken when used.
#[must_use]
pub fn buffer() -> Buffer {
    vec![0; BUFFER].into_boxed_slice()
}

/// Both families' sending sockets, and what one thread is about to send by them.
pub struct Outgoing {
    index: u32,
    v4: Socket,
    v6: Option<Socket>,
    buffers: Vec<Buffer>,
    waiting: Vec<Waiting>,
}

/// A packet that waits in the buffer of the same number.
struct Waiting {
    lane: Option<LaneId>,
    v6: bool,
    address: SockAddr,
    range: Range<usize>,
}

impl Outgoing {
    /// Opens the sockets for `device` with interface index `index`. Without IPv6 in the system, IPv6
    /// packets are refused by [`Self::push`].
    ///
    /// # Errors
    /// See [`RawError`].
    pub fn open(device: &str, index: u32) -> Result<Self, RawError> {
        let v4 = socket(device, Domain::IPV4).map_err(|e| raw_error(device, e))?;
        let v6 = match socket(device, Domain::IPV6) {
            Ok(sock) => Some(sock),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
                ) =>
            {
                None
            }
            Err(e) => return Err(raw_error(device, e)),
        };
        Ok(Self::new(index, v4, v6))
    }

    fn new(index: u32, v4: Socket, v6: Option<Socket>) -> Self {
        Self {
            index,
            v4,
            v6,
            buffers: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// For another thread, by the same sockets: queueing disciplines that keep each socket's packets in order (`fq`) would mix up
    /// those of several.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn share(&self) -> io::Result<Self> {
        let v6 = self.v6.as_ref().map(Socket::try_clone).transpose()?;
        Ok(Self::new(self.index, self.v4.try_clone()?, v6))
    }

    /// Queues the packet `buffer[range]` for the time when `lane` is sent, and leaves another buffer in its place.
    pub fn push(&mut self, lane: Option<LaneId>, buffer: &mut Buffer, range: Range<usize>) {
        let Some(packet) = buffer.get(range.clone()) else {
            return;
        };
        let Some((address, v6)) = destination(packet, self.index) else {
            return;
        };
        if v6 && self.v6.is_none() {
            return;
        }
        let at = self.waiting.len();
        if at == self.buffers.len() {
            self.buffers.push(self::buffer());
        }
        if let Some(kept) = self.buffers.get_mut(at) {
            std::mem::swap(kept, buffer);
            self.waiting.push(Waiting {
                lane,
                v6,
                address,
                range,
            });
        }
    }

    /// Queues a copy of `packet`.
    pub fn push_copy(&mut self, lane: Option<LaneId>, packet: &[u8], spare: &mut Buffer) {
        if let Some(to) = spare.get_mut(..packet.len()) {
            to.copy_from_slice(packet);
            self.push(lane, spare, 0..packet.len());
        }
    }

    /// Sends what is queued for `lane`; `None`: what is in no line. Each once, before [`Self::clear`].
    pub fn send(&self, lane: Option<LaneId>) {
        self.send_by(&self.v4, lane, false);
        if let Some(v6) = &self.v6 {
            self.send_by(v6, lane, true);
        }
    }

    /// Makes the queue empty.
    pub fn clear(&mut self) {
        self.waiting.clear();
        // A batch of fragments needs more for once.
        self.buffers.truncate(KEPT);
    }

    fn send_by(&self, sock: &Socket, lane: Option<LaneId>, v6: bool) {
        let queued = || {
            self.waiting
                .iter()
                .zip(&self.buffers)
                .filter(|(waiting, _)| waiting.lane == lane && waiting.v6 == v6)
                .map(|(waiting, buffer)| {
                    let packet = buffer.get(waiting.range.clone()).unwrap_or(&[]);
                    (&waiting.address, packet)
                })
        };
        let all = queued().count();
        let mut done = 0;
        while done < all {
            match crate::sys::mmsg::sendmmsg(sock.as_fd(), queued().skip(done)) {
                Ok(sent) => done += sent.max(1),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    tracing::debug!("packet not sent: {e}");
                    done += 1;
                }
            }
        }
    }
}

fn socket(device: &str, domain: Domain) -> io::Result<Socket> {
    let sock = Socket::new_raw(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    sock.bind_device(Some(device.as_bytes()))?;
    enlarge_buffers(&sock);
    if domain == Domain::IPV4 {
        sock.set_header_included_v4(true)?;
    } else {
        sock.set_header_included_v6(true)?;
    }
    // What the path takes is the core's to know; the kernel checks the device's MTU only.
    crate::sys::ifreq::ignore_path_mtu(sock.as_fd(), domain == Domain::IPV6)?;
    // Nothing is to be received here: a send-only socket with a full queue would cost memory.
    let _ = sock.shutdown(std::net::Shutdown::Read);
    Ok(sock)
}

fn destination(packet: &[u8], index: u32) -> Option<(SockAddr, bool)> {
    match packet.first()? >> 4 {
        4 => {
            let octets: [u8; 4] = *packet.get(16..20)?.first_chunk()?;
            Some((SocketAddr::from((Ipv4Addr::from(octets), 0)).into(), false))
        }
        6 => {
            let octets: [u8; 16] = *packet.get(24..40)?.first_chunk()?;
            let address = Ipv6Addr::from(octets);
            // Link-local addresses mean something on one link only.
            let scope = if address.is_unicast_link_local() || address.is_multicast() {
                index
            } else {
                0
            };
            Some((SocketAddrV6::new(address, 0, 0, scope).into(), true))
        }
        _ => None,
    }
}
