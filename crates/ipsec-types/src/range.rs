//! A range of addresses, first to last, both included. Ranges that are a prefix become a [`Subnet`] and back.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::Subnet;

/// Addresses from `first` to `last`, of one family, `first <= last`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddrRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why a pair of addresses or a text is no range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RangeError {
    /// One end is no numeric address, or there is no `-`.
    Address,
    /// The ends have different families.
    MixedFamilies,
    /// The first address is above the last.
    Backwards,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not a range: expected first-last such as 10.0.0.1-10.0.0.9",
            Self::MixedFamilies => "a range cannot go from an IPv4 to an IPv6 address",
            Self::Backwards => "the first address of the range is above the last: exchange them",
        })
    }
}

impl core::error::Error for RangeError {}

impl AddrRange {
    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`RangeError::MixedFamilies`] or [`RangeError::Backwards`].
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        if first.is_ipv4() != last.is_ipv4() {
            return Err(RangeError::MixedFamilies);
        }
        if first > last {
            return Err(RangeError::Backwards);
        }
        Ok(Self { first, last })
    }

    /// The lowest address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether `addr` lies within; never across families.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.first.is_ipv4() && self.first <= addr && addr <= self.last
    }

    /// The subnet with exactly these addresses, if there is one.
    pub fn to_subnet(&self) -> Option<Subnet> {
        let prefix = match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (Ipv4Addr::to_bits(a) ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (Ipv6Addr::to_bits(a) ^ b.to_bits()).leading_zeros(),
            _ => return None,
        };
        let net = Subnet::new(self.first, prefix as u8).ok()?;
        (Self::from(net) == *self).then_some(net)
    }
}

impl From<Subnet> for AddrRange {
    fn from(net: Subnet) -> Self {
        Self {
            first: net.addr(),
            last: net.last(),
        }
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddrRange {
    type Err = RangeError;

    /// Reads `first-last`.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (first, last) = text.split_once('-').ok_or(RangeError::Address)?;
        Self::new(
            first.parse().map_err(|_| RangeError::Address)?,
            last.parse().map_err(|_| RangeError::Address)?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn ranges_and_subnets() {
        let range: AddrRange = "10.0.0.0-10.0.0.255".parse().unwrap();
        assert_eq!(range.to_subnet(), Some("10.0.0.0/24".parse().unwrap()));
        let odd: AddrRange = "10.0.0.1-10.0.0.255".parse().unwrap();
        assert_eq!(odd.to_subnet(), None);
        assert!(odd.contains("10.0.0.1".parse().unwrap()));
        assert!(!odd.contains("::1".parse().unwrap()));
        assert_eq!(
            "10.0.0.2-10.0.0.1".parse::<AddrRange>(),
            Err(RangeError::Backwards)
        );
        assert_eq!(
            "10.0.0.2-::1".parse::<AddrRange>(),
            Err(RangeError::MixedFamilies)
        );
        assert_eq!("10.0.0.2".parse::<AddrRange>(), Err(RangeError::Address));
    }

    proptest! {
        #[test]
        fn round_trip(a: [u8; 16], b: [u8; 16], prefix in 0u8..=128) {
            let (a, b) = (IpAddr::from(a), IpAddr::from(b));
            let range = AddrRange::new(a.min(b), a.max(b)).unwrap();
            prop_assert_eq!(range.to_string().parse::<AddrRange>().unwrap(), range);
            let net = Subnet::new(a, prefix).unwrap();
            prop_assert_eq!(AddrRange::from(net).to_subnet(), Some(net));
        }
    }
}
