//! Eroute lookups among 10, 1,000 and 100,000 eroutes: flat to within twice, for as many flows. Repeat with
//! `cargo bench -p klips --bench eroute`.
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use ipsec_types::{MagicSpi, Packet, SaId, Selector, Subnet};
use klips::eroute::{Eroute, Eroutes};
use klipsd::home::UserHome;

fn address(base: u32, n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(base + (n << 8)))
}

/// Eroutes from one /24 to `count` others, under one default trap.
fn table(count: u32) -> Eroutes<UserHome> {
    let mut eroutes = Eroutes::new(&UserHome);
    let net = |base, n| Subnet::new(address(base, n), 24).expect("a net");
    for n in 0..count {
        let selector = Selector::nets(net(0x0a00_0000, 0), net(0x1400_0000, n));
        let eroute = Eroute::new(selector, SaId::magic(MagicSpi::Pass), 1, 0).expect("memory");
        eroutes.add(eroute).expect("a new selector");
    }
    let everything = Selector::nets(Subnet::ALL_V4, Subnet::ALL_V4);
    eroutes
        .add(Eroute::new(everything, SaId::magic(MagicSpi::Trap), 1, 0).expect("memory"))
        .expect("new");
    eroutes
}

/// How many flows pass packets at a time, of all that the eroutes allow.
const FLOWS: u32 = 1_000;

/// Packets of [`FLOWS`] flows spread over the eroutes, in no order: what a busy gateway sees. Then every packet of another
/// flow than the last hundred thousand: what memory costs, for no cache holds the eroutes.
fn lookups(c: &mut Criterion) {
    for (name, flows) in [
        ("eroute lookup, 1,000 flows", FLOWS),
        ("eroute lookup, every packet another eroute", u32::MAX),
    ] {
        let mut group = c.benchmark_group(name);
        for count in [10, 1_000, 100_000] {
            let eroutes = table(count);
            let (flows, mut x) = (flows.min(count), 1u32);
            group.bench_function(count.to_string(), |b| {
                b.iter(|| {
                    x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let flow = ((u64::from(x) * u64::from(flows)) >> 32) as u32;
                    let (src, dst) = (
                        address(0x0a00_0001, 0),
                        address(0x1400_0007, flow * (count / flows)),
                    );
                    let packet = Packet {
                        src,
                        dst,
                        proto: 6,
                        sport: 1,
                        dport: 2,
                    };
                    black_box(eroutes.lookup(black_box(&packet)).map(|e| e.target))
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, lookups);
criterion_main!(benches);
