//! What comes in the clear, and what leaves in it: eroutes decide about both ways, also of packets that do not show their ports.

mod common;

use common::*;
use ipsec_types::{MagicSpi, SaId, SaProto, Selector};
use klips::packet::ip;
use klips::stat::Way;
use klips::{DropReason, Outbound};
use pfkey::SaFlags;

const NETS: [[&str; 2]; 2] = [
    ["10.1.0.0/16", "10.2.0.0/16"],
    ["2001:db8:1::/48", "2001:db8:2::/48"],
];
const HOSTS: [[&str; 2]; 2] = [["10.1.0.5", "10.2.0.5"], ["2001:db8:1::5", "2001:db8:2::5"]];
const GATEWAYS: [[&str; 2]; 2] = [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2"]];
const OTHER_DEVICE: u32 = 99;

fn shunt(kind: MagicSpi) -> SaId {
    SaId::magic(kind)
}

/// A gateway with a tunnel from its net to the other's.
fn gateway(family: usize) -> Host {
    let mut host = Host::new(&[GATEWAYS[family][0]]);
    let tunnel = said(SaProto::IpIp, 0x1000, GATEWAYS[family][1]);
    host.add_group(&[tun(tunnel, GATEWAYS[family][0]), sealed(family)]);
    host.eroute(&nets(family), tunnel);
    host
}

/// The ESP SA of the tunnel.
fn sealed(family: usize) -> pfkey::request::SaParams<'static> {
    esp(
        said(SaProto::Esp, 0x1001, GATEWAYS[family][1]),
        GATEWAYS[family][0],
        ipsec_types::EncAlg::AES_CBC,
        &AES_KEY,
        ipsec_types::AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    )
}

fn nets(family: usize) -> Selector {
    flow(NETS[family][0], NETS[family][1])
}

/// Whether a packet that arrives in the clear may go on, and what was asked of the routes.
fn arrives(host: &Host, packet: &[u8], local: bool, by_ipsec: bool) -> bool {
    let before = host.klips.drops().get(Way::In, DropReason::Clear);
    let verdict = host
        .klips
        .arrived_clear(PHYSICAL, packet, local, |_, _| by_ipsec);
    let counted = host.klips.drops().get(Way::In, DropReason::Clear) - before;
    assert_eq!(
        counted,
        u64::from(verdict.is_err()),
        "what is dropped is counted"
    );
    verdict.is_ok()
}

fn other(src: &str, dst: &str, proto: u8, payload: &[u8]) -> Vec<u8> {
    let header = if src.contains(':') { 40 } else { 20 };
    let mut packet = vec![0; header + payload.len()];
    ip::emit(&mut packet, a(src), a(dst), proto, 0, 255, 0x77);
    packet[header..].copy_from_slice(payload);
    packet
}

/// What should have come through the tunnel, for hosts behind and for this one; whatever the protocol and however little of the
/// packet is there to look at. Not what the eroutes do not speak of, or only the other way round.
#[test]
fn c2_what_has_an_eroute_back_must_not_come_in_the_clear() {
    for family in 0..2 {
        let host = gateway(family);
        let [here, there] = HOSTS[family];
        let stranger = ["198.51.100.7", "2001:db8:5::7"][family];
        let packet = udp(there, here, (7, 8), 40);
        for local in [false, true] {
            assert!(!arrives(&host, &packet, local, true));
            assert!(
                arrives(&host, &packet, local, false),
                "eroutes are for what is routed to ipsecN"
            );
            assert!(arrives(
                &host,
                &udp(stranger, here, (7, 8), 40),
                local,
                true
            ));
            assert!(arrives(&host, &udp(here, there, (7, 8), 40), local, true));
        }
        for proto in [1, 4, 6, 41, 47, 58, 89, 132, 255] {
            assert!(
                !arrives(&host, &other(there, here, proto, &[0; 16]), true, true),
                "{proto}"
            );
        }
        let header = if family == 0 { 20 } else { 40 };
        for len in header..packet.len() {
            assert!(!arrives(&host, &packet[..len], false, true), "{len} octets");
        }
        let stats = &host.klips.device(device()).stats;
        assert!(stats.rx_dropped.load(std::sync::atomic::Ordering::Relaxed) > 50);
        assert!(host.proc(klips::ProcFile::Stat).contains("KlipsInClear "));
        assert!(
            host.klips
                .arrived_clear(OTHER_DEVICE, &packet, false, |_, _| true)
                .is_err()
        );
    }
}

/// By kind of eroute: only %pass lets in, and what its maker says so of. Holds that KLIPS makes of traps are as those.
#[test]
fn c2_shunts_let_in_what_they_let_out() {
    let (here, there) = (HOSTS[0][0], HOSTS[0][1]);
    let back = udp(there, here, (7, 8), 40);
    for kind in [
        MagicSpi::Pass,
        MagicSpi::Drop,
        MagicSpi::Reject,
        MagicSpi::Trap,
        MagicSpi::TrapSubnet,
        MagicSpi::Hold,
    ] {
        for clear_too in [false, true] {
            let mut host = Host::new(&["192.0.2.1"]);
            let flags = if clear_too {
                SaFlags::CLEAR_TOO
            } else {
                SaFlags::NONE
            };
            host.ok(|b| pfkey::request::add_flow(b, IDS, &nets(0), shunt(kind), flags));
            let expected = clear_too || kind == MagicSpi::Pass;
            assert_eq!(arrives(&host, &back, false, true), expected, "{kind:?}");
            host.send(&udp(here, there, (8, 7), 40));
            assert_eq!(
                arrives(&host, &back, false, true),
                expected,
                "{kind:?}, after a packet"
            );
        }
    }
    let mut host = gateway(0);
    host.eroute(&flow("10.1.0.0/16", "10.2.0.5/32"), shunt(MagicSpi::Pass));
    assert!(
        arrives(&host, &back, false, true),
        "the more specific eroute counts"
    );
    let mut host = gateway(0);
    host.with(|klips, _| klips.sysctl_set("inbound_policy_check", 0))
        .expect("a switch");
    assert!(arrives(&host, &back, false, true), "switched off");
}

/// What an eroute between the gateways themselves must not keep out: IPsec and IKE, the link's own packets, and what routers say of outer
/// packets. Only for this host: none of it is forwarded.
#[test]
fn c2_ipsec_and_the_link_come_in() {
    for family in 0..2 {
        let mut host = Host::new(&[GATEWAYS[family][0]]);
        let [here, there] = GATEWAYS[family];
        let bits = if family == 0 { 32 } else { 128 };
        host.add(&sealed(family));
        let esp = sealed(family).said;
        host.eroute(
            &flow(&format!("{here}/{bits}"), &format!("{there}/{bits}")),
            esp,
        );
        let all = if family == 0 { "0.0.0.0/0" } else { "::/0" };
        host.eroute(&flow(&format!("{here}/{bits}"), all), esp);
        let router = ["198.51.100.7", "2001:db8:5::7"][family];
        let error = |about: &[u8]| {
            let (proto, kind) = if family == 0 { (1, 3) } else { (58, 2) };
            let mut payload = vec![kind, 4, 0, 0, 0, 0, 5, 0];
            payload.extend_from_slice(&about[..about.len().min(48)]);
            other(router, here, proto, &payload)
        };
        let mut allowed = vec![
            other(there, here, 50, &[1; 40]),
            other(there, here, 51, &[1; 40]),
            other(there, here, 108, &[1; 40]),
            udp(there, here, (500, 500), 40),
            udp(there, here, (61000, 4500), 40),
            error(&other(here, there, 50, &[1; 40])),
            error(&udp(here, there, (4500, 4500), 40)),
        ];
        if family == 1 {
            allowed.extend((133..=137).map(|kind| other(there, here, 58, &[kind; 24])));
        }
        for packet in &allowed {
            assert!(arrives(&host, packet, true, true), "{packet:02x?}");
            assert!(!arrives(&host, packet, false, true), "{packet:02x?}");
        }
        let mut far = other(there, here, 58, &[135; 24]);
        far[7] = 64;
        for packet in [
            udp(there, here, (500, 501), 40),
            other(there, here, 6, &[0x13; 20]),
            error(&udp(here, there, (7, 8), 40)),
            error(&other(there, here, 50, &[1; 40])),
            far,
        ] {
            let hop_limit = family == 0 && packet[9] == 58;
            assert!(
                hop_limit || !arrives(&host, &packet, true, true),
                "{packet:02x?}"
            );
        }
        // An error about what went in the clear comes in the clear, from whatever router.
        host.eroute(
            &flow(&format!("{here}/{bits}"), &format!("{router}/{bits}")),
            esp,
        );
        let open = ["203.0.113.9", "2001:db8:9::9"][family];
        host.eroute(
            &flow(&format!("{here}/{bits}"), &format!("{open}/{bits}")),
            shunt(MagicSpi::Pass),
        );
        assert!(arrives(
            &host,
            &error(&udp(here, open, (7, 8), 40)),
            true,
            true
        ));
    }
}

/// The pieces of a UDP packet to port 5000.
fn fragments(family: usize) -> Vec<Vec<u8>> {
    let [src, dst] = HOSTS[family];
    let whole = udp(src, dst, (4000, 5000), 400);
    let mut room = vec![0; 200 + whole.len() + 200];
    room[200..200 + whole.len()].copy_from_slice(&whole);
    let mut packet = klips::Packet::new(&mut room, 200, 200 + whole.len()).expect("range");
    let mut all = Vec::new();
    klips::packet::transmit(&mut packet, 200, |piece| all.push(piece.to_vec()));
    assert!(all.len() > 2);
    all
}

/// Fragments whose ports are unknown get the most protection that any packet of theirs could have (RFC 4301 section 7), and so do packets
/// that end before their ports, or whose protocol is beyond what is there.
#[test]
fn c3_fragments_are_as_protected_as_their_first() {
    for family in 0..2 {
        let tunnel = said(SaProto::IpIp, 0x1000, GATEWAYS[family][1]);
        let port = |sport, dport| Selector {
            proto: 17,
            sport,
            dport,
            ..nets(family)
        };
        let [src, dst] = HOSTS[family];
        for target in [
            Some(tunnel),
            None,
            Some(shunt(MagicSpi::Drop)),
            Some(shunt(MagicSpi::Trap)),
            Some(shunt(MagicSpi::Hold)),
        ] {
            for selector in [port(0, 5000), port(4000, 0), port(4000, 5000)] {
                let mut host = Host::new(&[GATEWAYS[family][0]]);
                host.add_group(&[tun(tunnel, GATEWAYS[family][0]), sealed(family)]);
                host.eroute(&nets(family), shunt(MagicSpi::Pass));
                // Of ports that let pass there may be any number.
                host.eroute(&port(0, 53), shunt(MagicSpi::Pass));
                if let Some(target) = target {
                    host.eroute(&selector, target);
                }
                for piece in fragments(family) {
                    let verdict = host.send(&piece).0;
                    let passed = matches!(verdict, Outbound::Pass { .. });
                    assert_eq!(
                        passed,
                        target.is_none(),
                        "{verdict:?}, {selector} => {target:?}"
                    );
                    if target == Some(tunnel) {
                        assert!(matches!(verdict, Outbound::Transmit { .. }), "{verdict:?}");
                    }
                }
                let cut = [
                    other(src, dst, 17, &[]),
                    other(src, dst, 17, &[0x0f, 0xa0, 0x13]),
                ];
                for packet in cut {
                    let passed = matches!(host.send(&packet).0, Outbound::Pass { .. });
                    assert_eq!(passed, target.is_none());
                }
                // What shows that it is something else goes its own way, in fragments too.
                let passes = |host: &mut Host, packet: &[u8]| {
                    matches!(host.send(packet).0, Outbound::Pass { .. })
                };
                assert!(passes(&mut host, &udp(src, dst, (1, 2), 100)));
                assert!(passes(&mut host, &other(src, dst, 50, &[9; 40])));
                if family == 0 {
                    let mut later = other(src, dst, 6, &[9; 40]);
                    later[6..8].copy_from_slice(&[0, 9]);
                    ip::rechecksum_v4(&mut later);
                    assert!(passes(&mut host, &later));
                }
                // Once the eroute is gone, all pass again; but for a trap, whose holds wait for their answer.
                if target.is_some_and(|target| target != shunt(MagicSpi::Trap)) {
                    host.ok(|b| pfkey::request::del_flow(b, IDS, &selector));
                    for piece in fragments(family) {
                        assert!(passes(&mut host, &piece));
                    }
                }
            }
        }
    }
}

/// A later fragment of IPv6 whose first one has extension headers behind the fragment header does not even show its protocol.
#[test]
fn c3_hidden_protocols_are_protected() {
    let mut host = Host::new(&[GATEWAYS[1][0]]);
    let icmp = Selector {
        proto: 58,
        ..nets(1)
    };
    host.eroute(&nets(1), shunt(MagicSpi::Pass));
    let [src, dst] = HOSTS[1];
    let piece = |offset: u16, next: u8| {
        let mut payload = vec![next, 0, 0, 0, 1, 2, 3, 4];
        payload[2..4].copy_from_slice(&offset.to_be_bytes());
        payload.extend_from_slice(&[0x55; 32]);
        other(src, dst, 44, &payload)
    };
    let passes =
        |host: &mut Host, packet: &[u8]| matches!(host.send(packet).0, Outbound::Pass { .. });
    assert!(passes(&mut host, &piece(64, 60)));
    host.eroute(&icmp, shunt(MagicSpi::Drop));
    assert!(
        !passes(&mut host, &piece(64, 60)),
        "destination options were in the first fragment"
    );
    assert!(
        passes(&mut host, &piece(64, 17)),
        "UDP, which goes in the clear"
    );
    assert!(!passes(&mut host, &piece(64, 58)));
    // The same in the clear, from there: with headers that run beyond what is to be seen, too.
    let mut back = piece(64, 60);
    for at in 8..24 {
        back.swap(at, at + 16);
    }
    assert!(!arrives(&host, &back, false, true));
    let mut endless = other(dst, src, 60, &[60, 255, 0, 0]);
    assert!(!arrives(&host, &endless, false, true));
    endless[6] = 17;
    assert!(arrives(&host, &endless, false, true));
}

/// What is hidden is looked up among thousands of eroutes of the same nets as fast as among few, and they go as they came.
#[test]
fn c3_many_ports_of_one_pair_of_nets() {
    let mut host = Host::new(&[GATEWAYS[0][0]]);
    host.eroute(&nets(0), shunt(MagicSpi::Pass));
    let port = |n| Selector {
        proto: 17,
        dport: n,
        ..nets(0)
    };
    let kind = |n: u16| {
        if n.is_multiple_of(3) {
            MagicSpi::Drop
        } else {
            MagicSpi::Pass
        }
    };
    let later = fragments(0).pop().expect("some");
    for n in 1..3000 {
        host.eroute(&port(n), shunt(kind(n)));
    }
    for n in (1..3000).rev() {
        let guarded = n > 2;
        let passed = matches!(host.send(&later).0, Outbound::Pass { .. });
        assert_eq!(passed, !guarded, "with ports 1 to {n}");
        host.ok(|b| pfkey::request::del_flow(b, IDS, &port(n)));
    }
    host.eroute(&port(3), shunt(MagicSpi::Drop));
    host.replace_eroute(&port(3), shunt(MagicSpi::Pass));
    assert!(matches!(host.send(&later).0, Outbound::Pass { .. }));
}
