//! The eroute table against the plainest model: a list of selectors, of which the most specific match is found by looking at all.
#![allow(missing_docs)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{MagicSpi, Packet, SaId, Selector, Subnet};
use klips::eroute::{AddError, Eroute, Eroutes};
use klipsd::home::UserHome;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % n
    }

    /// Addresses out of a small space, so that prefixes meet.
    fn address(&mut self, v6: bool) -> IpAddr {
        if v6 {
            let bits =
                0x2001_0db8 << 96 | u128::from(self.below(4)) << 64 | u128::from(self.below(4));
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(
                10 << 24 | self.below(4) << 16 | self.below(4),
            ))
        }
    }

    fn net(&mut self, v6: bool) -> Subnet {
        let prefixes: [u8; 6] = if v6 {
            [0, 32, 62, 64, 127, 128]
        } else {
            [0, 8, 15, 16, 31, 32]
        };
        let prefix = prefixes[self.below(6) as usize];
        let address = match self.address(v6) {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        };
        Subnet::new(address, prefix).expect("a net")
    }

    fn selector(&mut self) -> Selector {
        let v6 = self.below(2) == 1;
        let mut s = Selector::nets(self.net(v6), self.net(v6));
        if self.below(3) == 0 {
            s.proto = [6, 17][self.below(2) as usize];
            s.sport = self.below(3) as u16;
            s.dport = self.below(3) as u16;
        }
        s
    }
}

fn rank(s: &Selector) -> (u8, u8, bool, bool, bool) {
    (
        s.src.prefix(),
        s.dst.prefix(),
        s.proto != 0,
        s.sport != 0,
        s.dport != 0,
    )
}

#[test]
fn agrees_with_a_list() {
    let (mut table, mut list) = (Eroutes::<UserHome>::new(&UserHome), Vec::<Selector>::new());
    let mut random = Random(99);
    for _ in 0..6000 {
        let selector = random.selector();
        let known = list.iter().position(|s| *s == selector);
        if random.below(3) == 0 {
            let removed = match known.or((!list.is_empty()).then_some(0)) {
                Some(at) => list.swap_remove(at),
                None => continue,
            };
            assert_eq!(table.remove(&removed).map(|e| e.selector), Some(removed));
            assert!(table.remove(&removed).is_none());
        } else {
            let eroute = Eroute::new(selector, SaId::magic(MagicSpi::Pass), 1, 0).expect("memory");
            let want = if known.is_some() {
                Err(AddError::Exists)
            } else {
                Ok(())
            };
            assert_eq!(table.add(eroute), want);
            if known.is_none() {
                list.push(selector);
            }
        }
        assert_eq!(table.len(), list.len());
        for _ in 0..4 {
            let v6 = random.below(2) == 1;
            let packet = Packet {
                src: random.address(v6),
                dst: random.address(v6),
                proto: [1, 6, 17][random.below(3) as usize],
                sport: random.below(3) as u16,
                dport: random.below(3) as u16,
            };
            let want = list
                .iter()
                .filter(|s| s.matches(&packet))
                .max_by_key(|s| rank(s));
            assert_eq!(
                table.lookup(&packet).map(|e| e.selector),
                want.copied(),
                "{packet:?}"
            );
        }
    }
}
