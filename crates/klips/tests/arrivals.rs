//! What becomes of packets once their IPsec is off: congestion marks, dummies, and selectors.
//!
//! Not here: packets that come in the clear (`clear.rs`).

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaProto, Selector};
use klips::packet::ip;
use klips::stat::Way;
use klips::{DropReason, Inbound};
use pfkey::NatT;
use pfkey::request::SaParams;

const EAST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const WEST: [&str; 2] = ["192.0.2.2", "2001:db8::2"];
const CLIENTS: [[&str; 2]; 2] = [["10.1.0.5", "10.2.0.5"], ["2001:db8:1::5", "2001:db8:2::5"]];
const NETS: [[&str; 2]; 2] = [
    ["10.1.0.0/16", "10.2.0.0/16"],
    ["2001:db8:1::/48", "2001:db8:2::/48"],
];

/// Two gateways of family `outer`, with a tunnel for the nets of family `inner`.
fn tunnel(outer: usize, inner: usize) -> [Host; 2] {
    let group = [
        tun(said(SaProto::IpIp, 0x1000, WEST[outer]), EAST[outer]),
        esp(
            said(SaProto::Esp, 0x1001, WEST[outer]),
            EAST[outer],
            EncAlg::AES_CBC,
            &AES_KEY,
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        ),
    ];
    let mut hosts = [Host::new(&[EAST[outer]]), Host::new(&[WEST[outer]])];
    hosts.iter_mut().for_each(|host| host.add_group(&group));
    let nets = flow(NETS[inner][0], NETS[inner][1]);
    hosts[0].eroute(&nets, group[0].said);
    hosts[1].ok(|b| pfkey::request::set_inflow(b, IDS, &nets, group[1].said));
    hosts
}

fn tos(packet: &[u8]) -> u8 {
    klips::packet::IpHeader::new_checked(packet)
        .expect("an IP packet")
        .tos
}

/// Sets the ECN field as a router does.
fn mark(packet: &mut [u8], ecn: u8) {
    if packet[0] >> 4 == 4 {
        packet[1] = packet[1] & !3 | ecn;
        ip::rechecksum_v4(packet);
    } else {
        packet[1] = packet[1] & !0x30 | ecn << 4;
    }
}

/// RFC 6040 section 4.2, all 16 cells of figure 4, for all combinations of families; and section 4.1's normal mode on the way in.
#[test]
fn c5_ecn_of_rfc_6040() {
    const NOT: u8 = 0;
    const ECT1: u8 = 1;
    const ECT0: u8 = 2;
    const CE: u8 = 3;
    // The inner field by rows, the outer one by columns: not-ECT, ECT(0), ECT(1), CE.
    let table = [
        (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
        (ECT0, [Some(ECT0), Some(ECT0), Some(ECT1), Some(CE)]),
        (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];
    for (outer, inner) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let [mut east, mut west] = tunnel(outer, inner);
        for hidetos in [1, 0] {
            east.with(|klips, _| klips.sysctl_set("hidetos", hidetos))
                .expect("a switch");
            let mut drops = 0;
            for (was, cells) in table {
                for (came, expected) in [NOT, ECT0, ECT1, CE].into_iter().zip(cells) {
                    let [src, dst] = CLIENTS[inner];
                    let mut packet = udp(src, dst, (1, 2), 100);
                    // With a DSCP of expedited forwarding.
                    match inner {
                        0 => packet[1] = 0xb8,
                        _ => packet[..2].copy_from_slice(&[0x6b, 0x80]),
                    }
                    mark(&mut packet, was);
                    let mut sealed = east.sealed(&packet);
                    let dscp = if hidetos == 1 { 0 } else { 0xb8 };
                    assert_eq!(tos(&sealed), dscp | was, "the outer header");
                    mark(&mut sealed, came);
                    let (verdict, opened) = west.receive(&sealed);
                    let Some(expected) = expected else {
                        assert_eq!(verdict, Inbound::Drop(DropReason::Congestion));
                        drops += 1;
                        continue;
                    };
                    mark(&mut packet, expected);
                    assert_eq!(opened, packet, "{was} inside, {came} outside");
                }
            }
            assert_eq!(drops, 1);
        }
        let stats = &west.klips.device(device()).stats;
        assert_eq!(
            stats.rx_dropped.load(std::sync::atomic::Ordering::Relaxed),
            2
        );
        assert_eq!(west.klips.drops().get(Way::In, DropReason::Congestion), 2);
    }
}

/// "Next header" 59 is a dummy packet, by which a sender hides how much it has to say (RFC 4303 section 2.6): it is authentic, counts
/// for the replay window, and goes no further. Not so a packet inside a tunnel that has nothing behind its own header.
#[test]
fn c7_dummy_packets_are_dropped() {
    for family in 0..2 {
        for tunnelled in [false, true] {
            let [mut east, mut west] = tunnel(family, family);
            let id = said(SaProto::Esp, 0x1001, WEST[family]);
            let bits = if family == 0 { 32 } else { 128 };
            if !tunnelled {
                let both = flow(
                    &format!("{}/{bits}", EAST[family]),
                    &format!("{}/{bits}", WEST[family]),
                );
                for host in [&mut east, &mut west] {
                    host.ok(|b| pfkey::request::delete(b, IDS, &id, None));
                    host.add(&esp(
                        id,
                        EAST[family],
                        EncAlg::AES_CBC,
                        &AES_KEY,
                        AuthAlg::SHA1_HMAC,
                        &SHA1_KEY,
                    ));
                }
                east.eroute(&both, id);
            } else {
                // As if the sender had made a dummy of the tunnel's SA: by the ESP SA alone.
                east.ok(|b| {
                    pfkey::request::group(b, IDS, &said(SaProto::IpIp, 0x1000, WEST[family]), None)
                });
                let both = flow(
                    &format!("{}/{bits}", EAST[family]),
                    &format!("{}/{bits}", WEST[family]),
                );
                east.eroute(&both, id);
            }
            let header = if family == 0 { 20 } else { 40 };
            let mut dummy = vec![0x5a; header + 64];
            ip::emit(&mut dummy, a(EAST[family]), a(WEST[family]), 59, 0, 63, 7);
            let sealed = east.sealed(&dummy);
            assert_eq!(west.receive(&sealed).0, Inbound::Drop(DropReason::Dummy));
            assert_eq!(
                west.receive(&sealed).0,
                Inbound::Drop(DropReason::Replay),
                "it was taken"
            );
            assert_eq!(west.klips.drops().get(Way::In, DropReason::Dummy), 1);
            let text = west.proc(klips::ProcFile::Stat);
            assert!(
                text.lines()
                    .any(|line| line.starts_with("KlipsInDummy ") && line.ends_with("\t1")),
                "{text}"
            );
        }
        let [mut east, mut west] = tunnel(family, family);
        let header = if family == 0 { 20 } else { 40 };
        let mut packet = vec![0; header];
        let [src, dst] = CLIENTS[family];
        ip::emit(&mut packet, a(src), a(dst), 59, 0, 63, 7);
        assert_eq!(west.opened(&east.sealed(&packet)), packet);
    }
}

/// Two hosts with one group of transport mode, `flow`'s eroute at the first, and its policy at the second.
fn transport(family: usize, flow: &Selector, group: &[SaParams<'_>]) -> [Host; 2] {
    let mut hosts = [Host::new(&[EAST[family]]), Host::new(&[WEST[family]])];
    hosts.iter_mut().for_each(|host| host.add_group(group));
    hosts[0].eroute(flow, group[0].said);
    let (flow, inner) = (*flow, group[0].said);
    hosts[1].ok(|b| pfkey::request::set_inflow(b, IDS, &flow, inner));
    hosts
}

fn udp_port(selector: Selector, dport: u16) -> Selector {
    Selector {
        proto: 17,
        dport,
        ..selector
    }
}

fn between(family: usize) -> Selector {
    let bits = if family == 0 { 32 } else { 128 };
    flow(
        &format!("{}/{bits}", EAST[family]),
        &format!("{}/{bits}", WEST[family]),
    )
}

fn groups<'k>(family: usize, encap: Option<NatT>) -> Vec<Vec<SaParams<'k>>> {
    let (src, dst) = (EAST[family], WEST[family]);
    let esp = SaParams {
        nat_t: encap,
        ..esp(
            said(SaProto::Esp, 0x302, dst),
            src,
            EncAlg::AES_CBC,
            &AES_KEY,
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        )
    };
    let ah = ah(
        said(SaProto::Ah, 0x303, dst),
        src,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    );
    let comp = comp(said(SaProto::Comp, 0x304, dst), src);
    let mut all = vec![vec![esp], vec![comp, esp]];
    if encap.is_none() {
        all.extend([vec![ah], vec![esp, ah], vec![comp, esp, ah], vec![comp, ah]]);
    }
    all
}

/// A packet of `proto` that is nothing else.
fn other(src: &str, dst: &str, proto: u8, payload: &[u8]) -> Vec<u8> {
    let header = if src.contains(':') { 40 } else { 20 };
    let mut packet = vec![0; header + payload.len()];
    ip::emit(&mut packet, a(src), a(dst), proto, 0, 63, 0x77);
    packet[header..].copy_from_slice(payload);
    packet
}

/// Transport mode has an inbound policy as tunnels have: what the SA was agreed for, and nothing else that its owner may send on it. In
/// every kind of group, with IPCOMP used or left out, in UDP or not.
#[test]
fn c1_transport_mode_has_selectors() {
    for family in 0..2 {
        for encap in [None, Some(encap(None))] {
            for group in groups(family, encap) {
                let agreed = udp_port(between(family), 5000);
                let [mut east, mut west] = transport(family, &agreed, &group);
                let (src, dst) = (EAST[family], WEST[family]);
                for len in [8, 400] {
                    let packet = udp(src, dst, (1, 5000), len);
                    assert_eq!(west.opened(&east.sealed(&packet)), {
                        let mut packet = packet;
                        // Behind a NAT checksums are made anew.
                        if encap.is_some() {
                            let at = packet.len() - len - 2;
                            let sum = west_sum(&packet, family);
                            if family == 1 || packet[at..at + 2] != [0, 0] {
                                packet[at..at + 2].copy_from_slice(&sum);
                            }
                        }
                        packet
                    });
                }
                // The peer sends more than was agreed on.
                let everything = between(family);
                east.eroute(&everything, group[0].said);
                let ping = if family == 0 { 1 } else { 58 };
                let kind = if family == 0 { 8 } else { 128 };
                for len in [8, 400] {
                    let mut echo = vec![0x61; len];
                    echo[..4].copy_from_slice(&[kind, 0, 0, 0]);
                    for packet in [
                        other(src, dst, ping, &echo),
                        udp(src, dst, (5000, 5001), len),
                        other(
                            src,
                            dst,
                            6,
                            &udp(src, dst, (1, 5000), len)[if family == 0 { 20 } else { 40 }..],
                        ),
                        other(src, dst, 47, &echo),
                        other(src, dst, 17, &[]),
                        other(src, dst, 17, &[0x13, 0x88]),
                    ] {
                        let verdict = west.receive(&east.sealed(&packet)).0;
                        assert_eq!(
                            verdict,
                            Inbound::Drop(DropReason::PolicyMismatch),
                            "{packet:02x?} by {group:?}"
                        );
                    }
                }
            }
        }
    }
}

fn west_sum(packet: &[u8], family: usize) -> [u8; 2] {
    let (src, dst) = (a(EAST[family]), a(WEST[family]));
    let body = &packet[if family == 0 { 20 } else { 40 }..];
    let mut zeroed = body.to_vec();
    zeroed[6..8].fill(0);
    let tail = [0, 0, (body.len() >> 8) as u8, body.len() as u8, 0, 0, 0, 17];
    let octets = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    klips::packet::checksum(&[&octets(src), &octets(dst), &tail, &zeroed]).to_be_bytes()
}

fn encap(oa: Option<&str>) -> NatT {
    NatT {
        kind: NatT::ESP_IN_UDP,
        sport: 4500,
        dport: 4500,
        oa: oa.map(a),
    }
}

/// The peer's authentic packets, sent from another address. Outside UDP they are refused; in UDP as well, if no NAT is in front of the
/// peer. Behind a NAT its mapping may have changed: key daemons hear of it, and the packet is still the agreed peer's.
#[test]
fn c1_the_outer_source_is_the_peers() {
    for family in 0..2 {
        let elsewhere = ["192.0.1.1", "2001:db8:1::1"][family];
        let behind_nat = ["10.9.9.9", "2001:db8:99::9"][family];
        for (encap, may_move) in [
            (None, false),
            (Some(encap(Some(EAST[family]))), false),
            (Some(encap(Some(behind_nat))), true),
            (Some(encap(None)), true),
        ] {
            let [mut east, mut west] =
                transport(family, &between(family), &groups(family, encap)[0]);
            west.register(pfkey::SaType::Esp);
            let packet = udp(EAST[family], WEST[family], (1, 2), 100);
            let first = west.opened(&east.sealed(&packet));
            told(&mut west, pfkey::MsgType::NatTNewMapping);
            let mut moved = east.sealed(&packet);
            match family {
                0 => {
                    moved[12..16].copy_from_slice(&[192, 0, 1, 1]);
                    ip::rechecksum_v4(&mut moved);
                }
                _ => moved[8..24].copy_from_slice(
                    &"2001:db8:1::1"
                        .parse::<std::net::Ipv6Addr>()
                        .expect("an address")
                        .octets(),
                ),
            }
            let (verdict, inner) = west.receive(&moved);
            if !may_move {
                assert_eq!(
                    verdict,
                    Inbound::Drop(DropReason::WrongSource),
                    "from {elsewhere}"
                );
                assert!(told(&mut west, pfkey::MsgType::NatTNewMapping).is_empty());
                west.opened(&east.sealed(&packet));
                continue;
            }
            assert_eq!(
                (verdict, inner),
                (Inbound::Deliver { device: device() }, first)
            );
            assert_eq!(told(&mut west, pfkey::MsgType::NatTNewMapping).len(), 1);
        }
    }
}

/// An ICMP error about a packet of ours passes an SA whose selectors it is not within, if they mean the packet that it is about (RFC 4301
/// section 6.2); and so it finds the SA to go back by, though all else passes in the clear.
#[test]
fn c1_icmp_errors_go_with_what_they_are_about() {
    for family in 0..2 {
        let [src, dst] = CLIENTS[family];
        let nets = udp_port(flow(NETS[family][0], NETS[family][1]), 5000);
        let group = [
            tun(said(SaProto::IpIp, 0x1000, WEST[family]), EAST[family]),
            esp(
                said(SaProto::Esp, 0x1001, WEST[family]),
                EAST[family],
                EncAlg::AES_CBC,
                &AES_KEY,
                AuthAlg::SHA1_HMAC,
                &SHA1_KEY,
            ),
        ];
        let (mut east, mut west) = (Host::new(&[EAST[family]]), Host::new(&[WEST[family]]));
        east.add_group(&group);
        west.add_group(&group);
        let inside = group[1].said;
        west.ok(|b| pfkey::request::set_inflow(b, IDS, &nets, inside));
        east.eroute(&nets, group[0].said);
        east.eroute(
            &flow(NETS[family][0], NETS[family][1]),
            ipsec_types::SaId::magic(ipsec_types::MagicSpi::Pass),
        );
        // To a port of the peer's comes what was sent from that port.
        let refused = |ports| udp(dst, src, ports, 64);
        let error = |from: &str, about: &[u8]| {
            let (proto, kind) = if family == 0 { (1, 3) } else { (58, 1) };
            let mut payload = vec![kind, if family == 0 { 3 } else { 4 }, 0, 0, 0, 0, 0, 0];
            payload.extend_from_slice(&about[..if family == 0 { 28 } else { 48 }]);
            other(from, dst, proto, &payload)
        };
        let router = ["10.77.0.1", "2001:db8:77::1"][family];
        let wanted = refused((5000, 40000));
        for from in [src, router] {
            let error = error(from, &wanted);
            let sealed = if from == src {
                east.sealed(&error)
            } else {
                // This gateway's own eroutes do not mean the router: the peer's do.
                east.eroute(
                    &flow(
                        &format!("{router}/{}", if family == 0 { 32 } else { 128 }),
                        NETS[family][1],
                    ),
                    group[0].said,
                );
                east.sealed(&error)
            };
            assert_eq!(west.opened(&sealed), error);
        }
        // Of other traffic: in the clear as its own addresses say, and not taken out of the SA.
        let foreign = error(src, &refused((5001, 40000)));
        assert!(matches!(
            east.send(&foreign).0,
            klips::Outbound::Pass { .. }
        ));
        east.replace_eroute(&flow(NETS[family][0], NETS[family][1]), group[0].said);
        assert_eq!(
            west.receive(&east.sealed(&foreign)).0,
            Inbound::Drop(DropReason::PolicyMismatch)
        );
        let mut later = udp(src, dst, (1, 5000), 64);
        if family == 0 {
            later[6..8].copy_from_slice(&[0, 9]);
            ip::rechecksum_v4(&mut later);
            assert_eq!(
                west.receive(&east.sealed(&later)).0,
                Inbound::Drop(DropReason::PolicyMismatch),
                "a fragment that hides its ports"
            );
        }
    }
}
