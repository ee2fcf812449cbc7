//! Sends whole IP packets by one physical device, in batches. Bound to the device, so that a route to the
//! peer through ipsecN cannot bring them back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{RawError, enlarge_buffers, raw_error};

/// Packets per sendmmsg.
const BATCH: usize = 64;
/// Room in each buffer: the largest IP packet with the core's head and tail room.
pub const BUFFER: usize = 65_535 + klips::packet::HEADROOM + klips::packet::TAILROOM;

/// A buffer for one packet while it is transformed and sent.
pub type Buffer = Box<[u8]>;

/// A fresh buffer; its pages are first taken when used.
#[must_use]
pub fn buffer() -> Buffer {
    vec![0; BUFFER].into_boxed_slice()
}

/// Both families' sending sockets with their queues.
pub struct Outgoing {
    index: u32,
    v4: Queue,
    v6: Option<Queue>,
}

struct Queue {
    sock: Socket,
    buffers: Vec<Buffer>,
    waiting: Vec<(SockAddr, Range<usize>)>,
    failed: u64,
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
            Ok(sock) => Some(Queue::new(sock)),
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
        Ok(Self {
            index,
            v4: Queue::new(v4),
            v6,
        })
    }

    /// Queues the packet `buffer[range]`, and leaves another buffer in its place. Sends when the queue is full.
    pub fn push(&mut self, buffer: &mut Buffer, range: Range<usize>) {
        let Some(packet) = buffer.get(range.clone()) else {
            return;
        };
        let Some((address, v6)) = destination(packet, self.index) else {
            return;
        };
        let queue = if v6 {
            self.v6.as_mut()
        } else {
            Some(&mut self.v4)
        };
        if let Some(queue) = queue {
            queue.push(address, buffer, range);
        }
    }

    /// Queues a copy of `packet`.
    pub fn push_copy(&mut self, packet: &[u8], spare: &mut Buffer) {
        if let Some(to) = spare.get_mut(..packet.len()) {
            to.copy_from_slice(packet);
            self.push(spare, 0..packet.len());
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self) {
        self.v4.flush();
        if let Some(v6) = &mut self.v6 {
            v6.flush();
        }
    }

    /// Packets that the system refused to send so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.v4.failed + self.v6.as_ref().map_or(0, |q| q.failed)
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

impl Queue {
    fn new(sock: Socket) -> Self {
        Self {
            sock,
            buffers: Vec::new(),
            waiting: Vec::with_capacity(BATCH),
            failed: 0,
        }
    }

    fn push(&mut self, address: SockAddr, given: &mut Buffer, range: Range<usize>) {
        if self.waiting.len() == BATCH {
            self.flush();
        }
        let at = self.waiting.len();
        if at == self.buffers.len() {
            self.buffers.push(buffer());
        }
        if let Some(kept) = self.buffers.get_mut(at) {
            std::mem::swap(kept, given);
            self.waiting.push((address, range));
        }
    }

    fn flush(&mut self) {
        let mut done = 0;
        while done < self.waiting.len() {
            let datagrams = self.waiting.iter().zip(&self.buffers).skip(done).map(
                |((address, range), buffer)| (address, buffer.get(range.clone()).unwrap_or(&[])),
            );
            match crate::sys::mmsg::sendmmsg(self.sock.as_fd(), datagrams) {
                Ok(sent) => done += sent.max(1),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    tracing::debug!("packet not sent: {e}");
                    self.failed += 1;
                    done += 1;
                }
            }
        }
        self.waiting.clear();
    }
}
