//! recvmmsg and sendmmsg over buffers kept from call to call.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::SockAddr;

/// Ancillary data room per message: packet info, hop limit, traffic class and extension headers of IPv6.
const CONTROL: usize = 768;
/// Length and alignment of `cmsghdr`.
const CMSG_HEAD: usize = size_of::<libc::cmsghdr>();
const CMSG_ALIGN: usize = size_of::<usize>();

/// Room for so many datagrams at once.
pub struct RecvBatch {
    /// One behind the other, in one allocation.
    buffers: Vec<u8>,
    /// Octets of each.
    size: usize,
    headroom: usize,
    meta: Vec<Meta>,
}

#[derive(Clone, Copy)]
struct Meta {
    length: usize,
    truncated: bool,
    name: libc::sockaddr_storage,
    name_length: libc::socklen_t,
    control: [u8; CONTROL],
    control_length: usize,
}

/// One datagram of a batch.
pub struct Received<'a> {
    /// The whole buffer; the datagram starts `headroom` octets in.
    pub buffer: &'a mut [u8],
    /// Octets free before the datagram.
    pub headroom: usize,
    /// The datagram's length.
    pub length: usize,
    /// Who sent it.
    pub source: Option<SocketAddr>,
    /// Its ancillary data.
    pub control: &'a [u8],
}

impl RecvBatch {
    /// Room for `count` datagrams of up to `size` octets, with `headroom` octets before each. The pages of a
    /// buffer are first taken when a datagram reaches them.
    #[must_use]
    pub fn new(count: usize, headroom: usize, size: usize) -> Self {
        // SAFETY: sockaddr_storage is a plain C structure for which all-zero bytes are a valid value.
        let name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let meta = Meta {
            length: 0,
            truncated: false,
            name,
            name_length: 0,
            control: [0; CONTROL],
            control_length: 0,
        };
        Self {
            buffers: vec![0; count * (headroom + size)],
            size: headroom + size,
            headroom,
            meta: vec![meta; count],
        }
    }

    /// How many datagrams fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.meta.len()
    }

    /// Receives what is there without waiting, and answers how many; 0 when nothing is.
    ///
    /// # Errors
    /// The socket's.
    pub fn recv(&mut self, sock: BorrowedFd<'_>) -> io::Result<usize> {
        let headroom = self.headroom;
        let mut iovecs: Vec<libc::iovec> = self
            .buffers
            .chunks_exact_mut(self.size)
            .map(|buffer| {
                let room = &mut buffer[headroom..];
                libc::iovec {
                    iov_base: room.as_mut_ptr().cast(),
                    iov_len: room.len(),
                }
            })
            .collect();
        let mut heads: Vec<libc::mmsghdr> = iovecs
            .iter_mut()
            .zip(&mut self.meta)
            .map(|(iovec, meta)| {
                // SAFETY: mmsghdr is a plain C structure for which all-zero bytes are a valid value.
                let mut head: libc::mmsghdr = unsafe { std::mem::zeroed() };
                head.msg_hdr.msg_name = (&raw mut meta.name).cast();
                head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                head.msg_hdr.msg_iov = iovec;
                head.msg_hdr.msg_iovlen = 1;
                head.msg_hdr.msg_control = meta.control.as_mut_ptr().cast();
                head.msg_hdr.msg_controllen = CONTROL as _;
                head
            })
            .collect();
        // SAFETY: every pointer in `heads` is to memory of `self` or `iovecs`, of the stated length,
        // which nothing else touches until the call returns.
        let count = unsafe {
            libc::recvmmsg(
                sock.as_raw_fd(),
                heads.as_mut_ptr(),
                heads.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) => return nothing_there(io::Error::last_os_error()),
        };
        for (meta, head) in self.meta.iter_mut().zip(&heads).take(count) {
            meta.length = head.msg_len as usize;
            meta.truncated = head.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
            meta.name_length = head.msg_hdr.msg_namelen;
            meta.control_length = head.msg_hdr.msg_controllen.min(CONTROL);
        }
        Ok(count)
    }

    /// Datagram `index` of the last [`Self::recv`]; `None` when it did not fit and was cut.
    pub fn get(&mut self, index: usize) -> Option<Received<'_>> {
        let meta = self.meta.get(index)?;
        let buffer = self.buffers.chunks_exact_mut(self.size).nth(index)?;
        if meta.truncated || self.headroom + meta.length > buffer.len() {
            return None;
        }
        Some(Received {
            buffer,
            headroom: self.headroom,
            length: meta.length,
            source: socket_address(&meta.name, meta.name_length),
            control: &meta.control[..meta.control_length],
        })
    }
}

fn nothing_there(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

fn socket_address(name: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    if length == 0 {
        return None;
    }
    let mut storage = socket2::SockAddrStorage::zeroed();
    // SAFETY: the storage has sockaddr_storage's size and alignment, and any bytes are valid in both.
    unsafe { *storage.view_as::<libc::sockaddr_storage>() = *name };
    // SAFETY: the kernel wrote a name of `length` octets into it.
    unsafe { SockAddr::new(storage, length) }.as_socket()
}

/// The data of the first control message of this level and type.
#[must_use]
pub fn control_message(control: &[u8], level: i32, kind: i32) -> Option<&[u8]> {
    control_messages(control)
        .find(|(found_level, found, _)| (*found_level, *found) == (level, kind))
        .map(|(.., data)| data)
}

/// All control messages in their order: level, type and data. One that is cut short ends them.
pub fn control_messages(control: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    let mut rest = control;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<{ size_of::<usize>() }>()?;
        let (level, tail) = tail.split_first_chunk::<4>()?;
        let (kind, _) = tail.split_first_chunk::<4>()?;
        let length = usize::from_ne_bytes(*length);
        let data = rest.get(CMSG_HEAD..length)?;
        rest = rest
            .get(length.next_multiple_of(CMSG_ALIGN)..)
            .unwrap_or(&[]);
        Some((i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind), data))
    })
}

/// Sends datagrams in order and answers how many went out; fewer than all when a later one fails, which
/// the next call then reports.
///
/// # Errors
/// The socket's, for the first datagram.
pub fn sendmmsg<'a>(
    sock: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = (&'a SockAddr, &'a [u8])>,
) -> io::Result<usize> {
    let (addresses, mut iovecs): (Vec<&SockAddr>, Vec<libc::iovec>) = datagrams
        .map(|(address, data)| {
            (
                address,
                libc::iovec {
                    iov_base: data.as_ptr().cast_mut().cast(),
                    iov_len: data.len(),
                },
            )
        })
        .unzip();
    let mut heads: Vec<libc::mmsghdr> = iovecs
        .iter_mut()
        .zip(addresses)
        .map(|(iovec, address)| {
            // SAFETY: mmsghdr is a plain C structure for which all-zero bytes are a valid value.
            let mut head: libc::mmsghdr = unsafe { std::mem::zeroed() };
            head.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
            head.msg_hdr.msg_namelen = address.len();
            head.msg_hdr.msg_iov = iovec;
            head.msg_hdr.msg_iovlen = 1;
            head
        })
        .collect();
    // SAFETY: the heads point to addresses and data that outlive this call, which the kernel only reads.
    let count = unsafe {
        libc::sendmmsg(
            sock.as_raw_fd(),
            heads.as_mut_ptr(),
            heads.len() as libc::c_uint,
            0,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn batch_goes_through_loopback() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = SockAddr::from(to.local_addr().unwrap());
        let data: Vec<Vec<u8>> = (0..5u8).map(|i| vec![i; 10 + usize::from(i)]).collect();
        let sent = sendmmsg(from.as_fd(), data.iter().map(|d| (&address, d.as_slice()))).unwrap();
        assert_eq!(sent, 5);
        let mut batch = RecvBatch::new(8, 40, 1000);
        let mut got = 0;
        while got < 5 {
            let count = batch.recv(to.as_fd()).unwrap();
            for i in 0..count {
                let message = batch.get(i).unwrap();
                assert_eq!(message.source, Some(from.local_addr().unwrap()));
                assert_eq!(message.buffer[40..40 + message.length], data[got]);
                got += 1;
            }
        }
        assert_eq!(batch.recv(to.as_fd()).unwrap(), 0);
    }

    #[test]
    fn truncated_datagrams_are_not_given_out() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.send_to(&[1; 100], to.local_addr().unwrap()).unwrap();
        let mut batch = RecvBatch::new(1, 0, 50);
        assert_eq!(batch.recv(to.as_fd()).unwrap(), 1);
        assert!(batch.get(0).is_none());
    }

    #[test]
    fn control_messages_cut_short_end_the_walk() {
        let mut control = Vec::new();
        control.extend_from_slice(&(CMSG_HEAD + 4).to_ne_bytes());
        control.extend_from_slice(&41i32.to_ne_bytes());
        control.extend_from_slice(&52i32.to_ne_bytes());
        control.extend_from_slice(&64i32.to_ne_bytes());
        control.extend_from_slice(&[0; 4]);
        assert_eq!(
            control_message(&control, 41, 52),
            Some(&64i32.to_ne_bytes()[..])
        );
        assert_eq!(control_message(&control, 41, 50), None);
        for cut in 0..CMSG_HEAD + 4 {
            assert_eq!(control_message(&control[..cut], 41, 52), None);
        }
        control[..8].copy_from_slice(&3usize.to_ne_bytes());
        assert_eq!(control_message(&control, 41, 52), None);
    }
}
