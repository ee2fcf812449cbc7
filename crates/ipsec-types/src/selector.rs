//! Traffic selectors: which packets an eroute or an SA's policy speaks of.

use core::fmt;
use core::net::IpAddr;

use crate::Subnet;

/// Source and destination nets with an optional protocol and ports. 0 in `proto`, `sport` or `dport` means any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Selector {
    /// Net of the source address.
    pub src: Subnet,
    /// Net of the destination address.
    pub dst: Subnet,
    /// IP protocol number; 0 is any.
    pub proto: u8,
    /// Source port in host order; 0 is any.
    pub sport: u16,
    /// Destination port in host order; 0 is any.
    pub dport: u16,
}

/// What a packet shows to a selector. Ports are 0 where the packet has none (later fragments, other protocols).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Packet {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol number.
    pub proto: u8,
    /// Source port in host order, or 0.
    pub sport: u16,
    /// Destination port in host order, or 0.
    pub dport: u16,
}

impl Packet {
    /// The packet that goes the other way.
    pub const fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            proto: self.proto,
            sport: self.dport,
            dport: self.sport,
        }
    }
}

impl Selector {
    /// All protocols and ports between two nets.
    pub const fn nets(src: Subnet, dst: Subnet) -> Self {
        Self {
            src,
            dst,
            proto: 0,
            sport: 0,
            dport: 0,
        }
    }

    /// Whether `packet` is meant.
    pub const fn matches(&self, packet: &Packet) -> bool {
        self.src.contains(packet.src)
            && self.dst.contains(packet.dst)
            && (self.proto == 0 || self.proto == packet.proto)
            && (self.sport == 0 || self.sport == packet.sport)
            && (self.dport == 0 || self.dport == packet.dport)
    }

    /// Whether every packet that `other` means is meant here too.
    pub const fn contains(&self, other: &Self) -> bool {
        self.src.contains_subnet(&other.src)
            && self.dst.contains_subnet(&other.dst)
            && (self.proto == 0 || self.proto == other.proto)
            && (self.sport == 0 || self.sport == other.sport)
            && (self.dport == 0 || self.dport == other.dport)
    }

    /// The selector of the traffic that comes back.
    pub const fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            proto: self.proto,
            sport: self.dport,
            dport: self.sport,
        }
    }

    /// Whether both nets are of one address family, and ports come only with a protocol that has them.
    pub const fn is_sane(&self) -> bool {
        self.src.addr().is_ipv4() == self.dst.addr().is_ipv4()
            && (self.sport == 0 && self.dport == 0 || crate::ProtoPort::has_ports(self.proto))
    }
}

/// `10.0.0.0/8:500 -> 10.1.0.0/16:500:17`: ports after the nets, protocol last, each only where it is not any.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.src)?;
        if self.sport != 0 {
            write!(f, ":{}", self.sport)?;
        }
        write!(f, " -> {}", self.dst)?;
        if self.dport != 0 {
            write!(f, ":{}", self.dport)?;
        }
        if self.proto != 0 {
            write!(f, ":{}", self.proto)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn matching() {
        let all = Selector::nets(
            "10.0.0.0/8".parse().unwrap(),
            "10.1.0.0/16".parse().unwrap(),
        );
        let l2tp = Selector {
            proto: 17,
            sport: 0,
            dport: 1701,
            ..all
        };
        let packet = Packet {
            src: "10.9.0.1".parse().unwrap(),
            dst: "10.1.0.1".parse().unwrap(),
            proto: 17,
            sport: 999,
            dport: 1701,
        };
        assert!(all.matches(&packet) && l2tp.matches(&packet));
        assert!(!l2tp.matches(&Packet {
            dport: 1702,
            ..packet
        }));
        assert!(!l2tp.matches(&Packet { proto: 6, ..packet }));
        assert!(!all.matches(&Packet {
            src: "11.0.0.1".parse().unwrap(),
            ..packet
        }));
        assert!(all.contains(&l2tp) && !l2tp.contains(&all));
        assert_eq!(l2tp.reversed().reversed(), l2tp);
        assert_eq!(l2tp.reversed().sport, 1701);
        assert_eq!(l2tp.to_string(), "10.0.0.0/8 -> 10.1.0.0/16:1701:17");
        assert!(l2tp.is_sane() && !Selector { proto: 0, ..l2tp }.is_sane());
        assert!(
            !Selector {
                dst: Subnet::ALL_V6,
                ..all
            }
            .is_sane()
        );
    }
}
