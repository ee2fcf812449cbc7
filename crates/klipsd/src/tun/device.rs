//! An ipsecN device: its TUN queues, name check and MTU.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys::ifreq;

/// The MTU of an ipsecN device unless told otherwise: as in KLIPS, so large that KLIPS itself sees
/// oversized packets and answers or fragments them.
pub const DEFAULT_MTU: u16 = 16_260;

/// Why an ipsecN device cannot be made; says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The name isn't `ipsec` and a number.
    #[error("`{0}` is no IPsec interface name: it must be ipsec0, ipsec1, … ipsec99")]
    BadName(String),
    /// No TUN driver in this kernel, or no device node.
    #[error(
        "/dev/net/tun is missing: load the tun module (modprobe tun), or in a container pass the device in"
    )]
    NoTun,
    /// Opening the device node was refused.
    #[error(
        "no permission to open /dev/net/tun: run as root, or make the device readable and writable for this user"
    )]
    NoAccess,
    /// The kernel refused to make the device.
    #[error(
        "no permission to make TUN device {0}: CAP_NET_ADMIN in this network namespace is needed"
    )]
    NoPermission(String),
    /// Another program has it.
    #[error(
        "device {0} exists already and is another program's: remove it (ip link del {0}) or use another name"
    )]
    Busy(String),
    /// Anything else.
    #[error("TUN device {name}: {what}: {error}")]
    Io {
        /// The device.
        name: String,
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}

/// The number N of `ipsecN`.
///
/// # Errors
/// [`TunError::BadName`] for any other text.
pub fn parse_name(name: &str) -> Result<u8, TunError> {
    let bad = || TunError::BadName(name.chars().take(32).collect());
    let digits = name.strip_prefix("ipsec").ok_or_else(bad)?;
    let canonical = digits.bytes().all(|b| b.is_ascii_digit())
        && (1..=2).contains(&digits.len())
        && (digits.len() == 1 || !digits.starts_with('0'));
    if !canonical {
        return Err(bad());
    }
    digits.parse().map_err(|_| bad())
}

/// A TUN device; it vanishes when the last queue is closed.
#[derive(Debug)]
pub struct Tun {
    name: String,
    queues: Vec<TunQueue>,
}

/// One queue: each read gives, and each write takes, a virtio-net header with a packet.
#[derive(Debug)]
pub struct TunQueue(File);

impl Tun {
    /// Makes device `name` with so many queues, and sets its MTU.
    ///
    /// # Errors
    /// See [`TunError`].
    pub fn open(name: &str, queues: usize, mtu: u16) -> Result<Self, TunError> {
        parse_name(name)?;
        let mut opened = Vec::with_capacity(queues);
        for _ in 0..queues.max(1) {
            let file = ifreq::open_tun_queue(name).map_err(|e| open_error(name, e))?;
            set_offloads(file.as_fd()).map_err(|e| io_error(name, "segmentation offload", e))?;
            opened.push(TunQueue(file));
        }
        let tun = Self {
            name: name.to_owned(),
            queues: opened,
        };
        tun.set_mtu(mtu)?;
        Ok(tun)
    }

    /// Changes the MTU.
    ///
    /// # Errors
    /// [`TunError::Io`].
    pub fn set_mtu(&self, mtu: u16) -> Result<(), TunError> {
        let sock = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)
            .map_err(|e| io_error(&self.name, "socket", e))?;
        ifreq::set_mtu(sock.as_fd(), &self.name, mtu)
            .map_err(|e| io_error(&self.name, "set MTU", e))
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the queues out, one for each worker.
    pub fn take_queues(&mut self) -> Vec<TunQueue> {
        std::mem::take(&mut self.queues)
    }
}

impl TunQueue {
    /// Reads one frame; `None` when nothing is there.
    ///
    /// # Errors
    /// The system's; EBADFD once the device is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes one frame as a packet received on the device.
    ///
    /// # Errors
    /// EIO while the device is down, EINVAL for something that is no packet.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write(frame).map(drop)
    }

    /// A second handle of the same queue, for whoever writes to it.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_offloads(tun: BorrowedFd<'_>) -> io::Result<()> {
    let tcp = ifreq::TUN_F_CSUM | ifreq::TUN_F_TSO4 | ifreq::TUN_F_TSO6;
    ifreq::set_tun_offload(tun, tcp | ifreq::TUN_F_USO4 | ifreq::TUN_F_USO6)
        .or_else(|_| ifreq::set_tun_offload(tun, tcp))
}

fn open_error(name: &str, error: io::Error) -> TunError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoTun,
        Some(libc::EACCES) => TunError::NoAccess,
        Some(libc::EPERM) => TunError::NoPermission(name.to_owned()),
        Some(libc::EBUSY | libc::EINVAL) => TunError::Busy(name.to_owned()),
        _ => io_error(name, "open", error),
    }
}

fn io_error(name: &str, what: &'static str, error: io::Error) -> TunError {
    TunError::Io {
        name: name.to_owned(),
        what,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse_name("ipsec0").unwrap(), 0);
        assert_eq!(parse_name("ipsec12").unwrap(), 12);
        for bad in [
            "", "ipsec", "eth0", "ipsec01", "ipsec100", "ipsec-1", "ipsec0 ", "ipsec+1",
        ] {
            assert!(
                matches!(parse_name(bad), Err(TunError::BadName(_))),
                "{bad}"
            );
        }
    }
}
