//! An address with a prefix length: subnets, and hosts as subnets of full length. Ranges that are no prefix live in
//! [`crate::range`].

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A subnet: `addr` with every bit below `prefix` zero. Ordered by family, address, then prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subnet {
    addr: IpAddr,
    prefix: u8,
}

/// Why a text or a pair of numbers is no subnet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SubnetError {
    /// The text was empty.
    Empty,
    /// The part before `/` is no numeric address.
    Address,
    /// The part after `/` is neither a number nor a dotted mask.
    Mask,
    /// The prefix is longer than the family allows (`max` is 32 or 128).
    PrefixTooLong {
        /// What was asked for.
        prefix: u32,
        /// The longest possible.
        max: u8,
    },
    /// A dotted mask whose one bits are not all on the left.
    NonContiguous,
    /// A dotted mask on an IPv6 address, or the reverse.
    MixedFamilies,
}

impl fmt::Display for SubnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty text where a subnet such as 10.0.0.0/8 should be"),
            Self::Address => f.write_str(
                "not a numeric address: expected a subnet such as 10.0.0.0/8 or 2001:db8::/32",
            ),
            Self::Mask => {
                f.write_str("not a prefix length or mask after `/': expected /24 or /255.255.255.0")
            }
            Self::PrefixTooLong { prefix, max } => {
                write!(
                    f,
                    "prefix length {prefix} is too long: at most {max} for this kind of address"
                )
            }
            Self::NonContiguous => f.write_str(
                "the mask has one bits after a zero bit: a mask such as 255.255.255.0 is needed",
            ),
            Self::MixedFamilies => {
                f.write_str("a dotted mask belongs to an IPv4 address; IPv6 wants a prefix length")
            }
        }
    }
}

impl core::error::Error for SubnetError {}

const fn v4_mask(prefix: u8) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - prefix)
    }
}

const fn v6_mask(prefix: u8) -> u128 {
    if prefix == 0 {
        0
    } else {
        u128::MAX << (128 - prefix)
    }
}

impl Subnet {
    /// Every IPv4 address, `0.0.0.0/0`.
    pub const ALL_V4: Self = Self {
        addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        prefix: 0,
    };
    /// Every IPv6 address, `::/0`.
    pub const ALL_V6: Self = Self {
        addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        prefix: 0,
    };

    /// The subnet of `prefix` bits that holds `addr`; host bits of `addr` are cleared.
    ///
    /// # Errors
    /// [`SubnetError::PrefixTooLong`] above 32 (IPv4) or 128 (IPv6).
    pub const fn new(addr: IpAddr, prefix: u8) -> Result<Self, SubnetError> {
        let max = Self::full_len(addr);
        if prefix > max {
            return Err(SubnetError::PrefixTooLong {
                prefix: prefix as u32,
                max,
            });
        }
        let addr = match addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & v4_mask(prefix))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & v6_mask(prefix))),
        };
        Ok(Self { addr, prefix })
    }

    /// The subnet that holds `addr` alone.
    pub const fn host(addr: IpAddr) -> Self {
        Self {
            addr,
            prefix: Self::full_len(addr),
        }
    }

    /// Every address of the family that `like` has.
    pub const fn all(like: IpAddr) -> Self {
        match like {
            IpAddr::V4(_) => Self::ALL_V4,
            IpAddr::V6(_) => Self::ALL_V6,
        }
    }

    /// The subnet of `addr` under `mask`.
    ///
    /// # Errors
    /// [`SubnetError::MixedFamilies`], or [`SubnetError::NonContiguous`] for a mask with holes.
    pub const fn from_mask(addr: IpAddr, mask: IpAddr) -> Result<Self, SubnetError> {
        match (addr, mask) {
            (IpAddr::V4(_), IpAddr::V4(m)) => {
                let prefix = m.to_bits().leading_ones() as u8;
                if v4_mask(prefix) != m.to_bits() {
                    return Err(SubnetError::NonContiguous);
                }
                Self::new(addr, prefix)
            }
            (IpAddr::V6(_), IpAddr::V6(m)) => {
                let prefix = m.to_bits().leading_ones() as u8;
                if v6_mask(prefix) != m.to_bits() {
                    return Err(SubnetError::NonContiguous);
                }
                Self::new(addr, prefix)
            }
            _ => Err(SubnetError::MixedFamilies),
        }
    }

    const fn full_len(addr: IpAddr) -> u8 {
        match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// The first address; its host bits are zero.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The prefix length in bits, 0 to 32 or 128.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The mask as an address, `255.0.0.0` for `/8`.
    pub const fn mask(&self) -> IpAddr {
        match self.addr {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(v4_mask(self.prefix))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(v6_mask(self.prefix))),
        }
    }

    /// The last address (the broadcast address of an IPv4 net).
    pub const fn last(&self) -> IpAddr {
        match self.addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | !v4_mask(self.prefix))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | !v6_mask(self.prefix))),
        }
    }

    /// Whether this is one address.
    pub const fn is_host(&self) -> bool {
        self.prefix == Self::full_len(self.addr)
    }

    /// Whether this is every address of its family.
    pub const fn is_all(&self) -> bool {
        self.prefix == 0
    }

    /// Whether `addr` lies within; never across families.
    pub const fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(n), IpAddr::V4(a)) => a.to_bits() & v4_mask(self.prefix) == n.to_bits(),
            (IpAddr::V6(n), IpAddr::V6(a)) => a.to_bits() & v6_mask(self.prefix) == n.to_bits(),
            _ => false,
        }
    }

    /// Whether all of `other` lies within; a subnet contains itself.
    pub const fn contains_subnet(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.addr)
    }

    /// Whether the two have an address in common.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.contains_subnet(other) || other.contains_subnet(self)
    }
}

impl From<IpAddr> for Subnet {
    fn from(addr: IpAddr) -> Self {
        Self::host(addr)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// `10.1` as `10.1.0.0`: network numbers may leave trailing zero octets away.
fn abbreviated_v4(text: &str) -> Option<IpAddr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for (octet, part) in octets.iter_mut().zip(&mut parts) {
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts
        .next()
        .is_none()
        .then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Reads `10.0.0.0/8`, `10/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32` or a bare address. Host bits are cleared.
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        if text.is_empty() {
            return Err(SubnetError::Empty);
        }
        let Some((addr, mask)) = text.split_once('/') else {
            return text
                .parse()
                .map(Self::host)
                .map_err(|_| SubnetError::Address);
        };
        let addr: IpAddr = addr
            .parse()
            .ok()
            .or_else(|| abbreviated_v4(addr))
            .ok_or(SubnetError::Address)?;
        if mask.contains(['.', ':']) {
            let mask: IpAddr = mask.parse().map_err(|_| SubnetError::Mask)?;
            return Self::from_mask(addr, mask);
        }
        if mask.is_empty() || mask.len() > 3 || !mask.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SubnetError::Mask);
        }
        let bits: u32 = mask.parse().map_err(|_| SubnetError::Mask)?;
        let max = Self::full_len(addr);
        u8::try_from(bits)
            .ok()
            .filter(|bits| *bits <= max)
            .ok_or(SubnetError::PrefixTooLong { prefix: bits, max })
            .and_then(|bits| Self::new(addr, bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn reads_every_form() {
        for (text, want) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10/8", "10.0.0.0/8"),
            ("0/0", "0.0.0.0/0"),
            ("10.1.2.3/255.255.0.0", "10.1.0.0/16"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn refuses_and_says_why() {
        for (text, want) in [
            ("", SubnetError::Empty),
            ("10.0.0.256/8", SubnetError::Address),
            ("1.2.3.4.5/8", SubnetError::Address),
            ("10", SubnetError::Address),
            ("10.0.0.0/", SubnetError::Mask),
            ("10.0.0.0/+8", SubnetError::Mask),
            (
                "10.0.0.0/33",
                SubnetError::PrefixTooLong {
                    prefix: 33,
                    max: 32,
                },
            ),
            (
                "::/129",
                SubnetError::PrefixTooLong {
                    prefix: 129,
                    max: 128,
                },
            ),
            (
                "::/999",
                SubnetError::PrefixTooLong {
                    prefix: 999,
                    max: 128,
                },
            ),
            ("10.0.0.0/255.0.255.0", SubnetError::NonContiguous),
            ("::/255.0.0.0", SubnetError::MixedFamilies),
        ] {
            assert_eq!(text.parse::<Subnet>(), Err(want), "{text}");
        }
    }

    #[test]
    fn containment() {
        let net: Subnet = "10.1.0.0/16".parse().unwrap();
        assert!(net.contains("10.1.255.255".parse().unwrap()));
        assert!(!net.contains("10.2.0.0".parse().unwrap()));
        assert!(!Subnet::ALL_V4.contains("::1".parse().unwrap()));
        assert!(net.contains_subnet(&"10.1.3.0/24".parse().unwrap()));
        assert!(!net.contains_subnet(&"10.0.0.0/8".parse().unwrap()));
        assert!(net.overlaps(&"10.0.0.0/8".parse().unwrap()));
        assert_eq!(net.last().to_string(), "10.1.255.255");
    }

    proptest! {
        #[test]
        fn text_round_trip(bits: u128, v6: bool, prefix in 0u8..=128) {
            let addr = if v6 {
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            } else {
                IpAddr::V4(Ipv4Addr::from_bits(bits as u32))
            };
            let prefix = if v6 { prefix } else { prefix % 33 };
            let net = Subnet::new(addr, prefix).unwrap();
            prop_assert!(net.contains(addr));
            prop_assert!(net.contains(net.last()));
            prop_assert_eq!(net.to_string().parse::<Subnet>().unwrap(), net);
            prop_assert_eq!(Subnet::from_mask(addr, net.mask()).unwrap(), net);
        }

        #[test]
        fn any_text_is_refused_without_panic(text in "[0-9a-f:./]{0,24}") {
            if let Ok(net) = text.parse::<Subnet>() {
                prop_assert_eq!(net.to_string().parse::<Subnet>().unwrap(), net);
            }
        }
    }
}
