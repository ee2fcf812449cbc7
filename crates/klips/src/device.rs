//! The ipsecN devices: which physical device each is attached to, and their counters.
//!
//! Not here: the devices themselves (TUN, net_device), which are the home's.

use core::fmt;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};

/// How many ipsecN devices there can be.
pub const MAX_DEVICES: usize = 10;
/// How many addresses of a physical device are remembered.
pub const MAX_ADDRESSES: usize = 32;
/// The MTU an ipsecN device shows unless `overridemtu` says otherwise, in bytes: big enough that KLIPS sees packets whole
/// and decides about fragmentation itself.
pub const DEVICE_MTU: u32 = 16260;

/// The number N of ipsecN, below [`MAX_DEVICES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(u8);

impl DeviceId {
    /// ipsec`n`, if there can be one.
    pub const fn new(n: usize) -> Option<Self> {
        if n < MAX_DEVICES {
            Some(Self(n as u8))
        } else {
            None
        }
    }

    /// N.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// From `ipsecN`.
    pub fn from_name(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("ipsec")?;
        if digits.is_empty()
            || (digits.len() > 1 && digits.starts_with('0'))
            || digits.starts_with('+')
        {
            return None;
        }
        digits.parse().ok().and_then(Self::new)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipsec{}", self.0)
    }
}

/// A device name, up to 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; 15],
    len: u8,
}

impl Name {
    /// `name`, if it is 1 to 15 bytes of visible ASCII.
    pub fn new(name: &str) -> Option<Self> {
        if name.is_empty() || name.len() > 15 || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let mut bytes = [0; 15];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self {
            bytes,
            len: name.len() as u8,
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A physical device as the home sees it.
#[derive(Clone, Copy, Debug)]
pub struct Physical {
    /// The home's number for it (ifindex); comes back in verdicts.
    pub index: u32,
    /// Its name, for `/proc/net/ipsec_tncfg`.
    pub name: Name,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses: IKE (UDP 500 and 4500) from one of these goes round KLIPS, and ICMP errors come from the first
    /// of the packet's family.
    pub addresses: [Option<IpAddr>; MAX_ADDRESSES],
    /// How many it has besides.
    pub left_out: usize,
}

impl Physical {
    /// A device with as many of `addresses` as fit.
    pub fn new(index: u32, name: Name, mtu: u32, addresses: &[IpAddr]) -> Self {
        let mut kept = [None; MAX_ADDRESSES];
        for (slot, address) in kept.iter_mut().zip(addresses) {
            *slot = Some(*address);
        }
        Self {
            index,
            name,
            mtu,
            addresses: kept,
            left_out: addresses.len().saturating_sub(MAX_ADDRESSES),
        }
    }

    /// What is to be said of a device with more addresses than fit, if that is new since it was known as `before`.
    pub fn too_many(&self, before: Option<&Self>) -> Option<TooManyAddresses> {
        let known = before.is_some_and(|before| before.left_out > 0);
        (self.left_out > 0 && !known).then_some(TooManyAddresses(self.name))
    }

    /// Whether `address` is one of this device's.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().flatten().any(|a| *a == address)
    }
}

/// A device has more addresses than [`MAX_ADDRESSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyAddresses(Name);

impl fmt::Display for TooManyAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} has more than {MAX_ADDRESSES} addresses: IKE from the others does not go round KLIPS",
            self.0.as_str()
        )
    }
}

/// Why a device could not be attached or detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Attached already; detach it first.
    Busy,
    /// Not attached.
    NotAttached,
    /// The MTU is below IPv4's smallest, 68 bytes.
    BadMtu,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "already attached to a physical device; detach it first",
            Self::NotAttached => "not attached to a physical device",
            Self::BadMtu => "MTU must be at least 68",
        })
    }
}

impl core::error::Error for DeviceError {}

/// Counters of one ipsecN device, as ifconfig shows them.
#[derive(Debug, Default)]
pub struct Stats {
    /// Packets delivered.
    pub rx_packets: AtomicU64,
    /// Bytes delivered (inner packets).
    pub rx_bytes: AtomicU64,
    /// Packets dropped for something wrong with them: no SA, replayed, not authentic, of a wrong length.
    pub rx_errors: AtomicU64,
    /// Packets dropped for policy, an SA that is not to be used, or lack of memory.
    pub rx_dropped: AtomicU64,
    /// Packets sent.
    pub tx_packets: AtomicU64,
    /// Bytes sent (outer packets).
    pub tx_bytes: AtomicU64,
    /// Packets not sent for something wrong with them, with their SA, or with the way to the peer.
    pub tx_errors: AtomicU64,
    /// Packets not sent for policy or the lack of it, of an SA, or of memory.
    pub tx_dropped: AtomicU64,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// The home could not send a packet of `bytes` bytes that the core had counted as sent.
    pub fn not_sent(&self, bytes: u64) {
        self.tx_packets.fetch_sub(1, Ordering::Relaxed);
        self.tx_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Self::add(&self.tx_errors, 1);
    }
}

/// One ipsecN device.
#[derive(Debug, Default)]
pub struct Device {
    /// Its name, where somebody gave it another one than ipsecN.
    pub name: Option<Name>,
    /// What it is attached to.
    pub physical: Option<Physical>,
    /// The name of the physical device that it was attached to, where that vanished: the next one of this name takes its place.
    pub waits_for: Option<Name>,
    /// MTU asked for with attach (`overridemtu`), else 0: the ipsecN device then shows [`DEVICE_MTU`].
    pub override_mtu: u32,
    /// Its counters.
    pub stats: Stats,
}

impl Device {
    /// The MTU the ipsecN device shows, in bytes.
    pub fn mtu(&self) -> u32 {
        match (&self.physical, self.override_mtu) {
            (None, _) => 0,
            (Some(_), 0) => DEVICE_MTU,
            (Some(_), mtu) => mtu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_more_addresses_than_fit_are_said_once() {
        let all: [IpAddr; MAX_ADDRESSES + 1] =
            core::array::from_fn(|n| [192, 0, 2, n as u8].into());
        let name = Name::new("eth1").unwrap();
        let device = |count| Physical::new(1, name, 1500, &all[..count]);
        let (full, over) = (device(MAX_ADDRESSES), device(MAX_ADDRESSES + 1));
        assert!(full.owns(all[MAX_ADDRESSES - 1]) && !over.owns(all[MAX_ADDRESSES]));
        assert_eq!(full.too_many(None), None);
        assert!(over.too_many(None).is_some() && over.too_many(Some(&full)).is_some());
        assert_eq!(over.too_many(Some(&over)), None);
    }

    #[test]
    fn names() {
        assert_eq!(DeviceId::from_name("ipsec3").map(DeviceId::index), Some(3));
        for bad in ["ipsec", "ipsec10", "ipsec03", "eth0", "ipsec+1", "ipsec-1"] {
            assert_eq!(DeviceId::from_name(bad), None, "{bad}");
        }
        assert!(Name::new("eth0").is_some_and(|n| n.as_str() == "eth0"));
        assert!(Name::new("a name").is_none());
    }
}
