//! Every verdict about a packet: shunts, holds, policy, replay, MTU, lifetimes, counters.

mod common;

use std::sync::atomic::Ordering;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, SaProto, Selector};
use klips::packet::{IpHeader, checksum};
use klips::{DropReason, Inbound, Outbound, Packet};
use pfkey::request::{self, SaParams};
use pfkey::{Lifetime, Message, MsgType};

const PASS: Outbound = Outbound::Pass {
    physical: PHYSICAL,
    mtu: 1500,
};

fn shunt(magic: MagicSpi) -> SaId {
    SaId::magic(magic)
}

fn ours() -> Vec<u8> {
    udp("192.0.2.1", "192.0.1.1", (1000, 2000), 30)
}

fn nets() -> Selector {
    flow("192.0.2.0/24", "192.0.1.0/24")
}

#[test]
fn shunts() {
    let mut host = Host::new(&["192.1.2.23"]);
    assert_eq!(host.send(&ours()).0, Outbound::Drop(DropReason::NoEroute));
    host.eroute(&nets(), shunt(MagicSpi::Pass));
    assert_eq!(host.send(&ours()), (PASS, ours()));
    host.replace_eroute(&nets(), shunt(MagicSpi::Drop));
    assert_eq!(host.send(&ours()).0, Outbound::Drop(DropReason::Shunt));
    host.replace_eroute(&nets(), shunt(MagicSpi::Reject));
    let (verdict, icmp) = host.send(&ours());
    assert_eq!(verdict, Outbound::Icmp);
    let header = IpHeader::new_checked(&icmp).expect("an IP packet");
    assert_eq!(
        (header.src, header.dst, header.protocol),
        (a("192.1.2.23"), a("192.0.2.1"), 1)
    );
    assert_eq!(icmp[20..22], [3, 13], "administratively prohibited");
    assert_eq!((checksum(&[&icmp[..20]]), checksum(&[&icmp[20..]])), (0, 0));
    assert_eq!(icmp[28..], ours()[..]);
    let dropped = host
        .klips
        .device(device())
        .stats
        .tx_dropped
        .load(Ordering::Relaxed);
    assert_eq!(dropped, 3);
    assert_eq!(
        host.send(&icmp).0,
        Outbound::Drop(DropReason::NoEroute),
        "the ICMP error itself"
    );
    host.eroute(
        &flow("192.1.2.23/32", "192.0.2.0/24"),
        shunt(MagicSpi::Reject),
    );
    assert_eq!(
        host.send(&icmp).0,
        Outbound::Drop(DropReason::Reject),
        "no error about an error"
    );
}

#[test]
fn reject_of_ipv6() {
    let mut host = Host::new(&["2001:db8::1"]);
    host.eroute(
        &flow("2001:db8:1::/48", "2001:db8:2::/48"),
        shunt(MagicSpi::Reject),
    );
    let packet = udp("2001:db8:1::5", "2001:db8:2::5", (1, 2), 3000);
    let (verdict, icmp) = host.send(&packet);
    assert_eq!((verdict, icmp.len()), (Outbound::Icmp, 1280));
    assert_eq!((icmp[6], &icmp[40..42]), (58, &[1, 1][..]));
    let length = ((icmp.len() - 40) as u32).to_be_bytes();
    assert_eq!(
        checksum(&[&icmp[8..40], &length, &[0, 0, 0, 58], &icmp[40..]]),
        0
    );
}

#[test]
fn ike_goes_round() {
    let mut host = Host::new(&["192.1.2.23"]);
    for port in [500, 4500] {
        assert_eq!(
            host.send(&udp("192.1.2.23", "192.1.2.45", (port, 500), 99))
                .0,
            PASS
        );
    }
    let trap = flow("0.0.0.0/0", "0.0.0.0/0");
    host.eroute(&trap, shunt(MagicSpi::Drop));
    assert_eq!(
        host.send(&udp("192.1.2.23", "192.1.2.45", (500, 500), 99))
            .0,
        PASS
    );
    for other in [
        udp("192.1.2.24", "192.1.2.45", (500, 500), 99),
        udp("192.1.2.23", "192.1.2.45", (501, 500), 99),
    ] {
        assert_eq!(host.send(&other).0, Outbound::Drop(DropReason::Shunt));
    }
}

#[test]
fn the_most_specific_eroute_wins() {
    let mut host = Host::new(&["192.1.2.23"]);
    let web = Selector {
        proto: 17,
        sport: 0,
        dport: 2000,
        ..nets()
    };
    host.eroute(&flow("0.0.0.0/0", "0.0.0.0/0"), shunt(MagicSpi::Drop));
    host.eroute(&nets(), shunt(MagicSpi::Pass));
    assert_eq!(host.send(&ours()).0, PASS);
    host.eroute(&web, shunt(MagicSpi::Drop));
    assert_eq!(host.send(&ours()).0, Outbound::Drop(DropReason::Shunt));
    assert_eq!(
        host.send(&udp("192.0.2.1", "192.0.1.1", (1000, 2001), 30))
            .0,
        PASS
    );
    // A longer source outranks a longer destination.
    host.eroute(&flow("192.0.2.1/32", "0.0.0.0/0"), shunt(MagicSpi::Pass));
    assert_eq!(host.send(&ours()).0, PASS);
    host.ok(|b| request::del_flow(b, IDS, &flow("192.0.2.1/32", "0.0.0.0/0")));
    assert_eq!(host.send(&ours()).0, Outbound::Drop(DropReason::Shunt));
}

#[test]
fn replays_are_dropped() {
    let (mut east, mut west) = tunnel_pair();
    let sealed: Vec<_> = (0..200).map(|_| east.sealed(&ours())).collect();
    assert_eq!(west.opened(&sealed[150]), ours());
    assert_eq!(
        west.receive(&sealed[150]).0,
        Inbound::Drop(DropReason::Replay)
    );
    west.opened(&sealed[150 - 63]);
    assert_eq!(
        west.receive(&sealed[150 - 64]).0,
        Inbound::Drop(DropReason::Replay)
    );
    west.opened(&sealed[199]);
    let text = west.proc(klips::ProcFile::Spi);
    assert!(
        text.contains(" ooowin=64 ooo_errs=2 seq=200 bit=0x"),
        "{text}"
    );
    assert!(text.contains(" max_seq_diff=151"), "{text}");
    let stats = &west.klips.device(device()).stats;
    assert_eq!(stats.rx_packets.load(Ordering::Relaxed), 3);
    assert_eq!(stats.rx_errors.load(Ordering::Relaxed), 2);
}

/// FreeS/WAN's list of "sources of ifconfig statistics for ipsec devices".
#[test]
fn counters_count_what_freeswan_says() {
    let count = |host: &Host| {
        let stats = &host.klips.device(device()).stats;
        [
            &stats.rx_errors,
            &stats.rx_dropped,
            &stats.tx_errors,
            &stats.tx_dropped,
        ]
        .map(|counter| counter.load(Ordering::Relaxed))
    };
    let (mut east, mut west) = tunnel_pair();
    let sealed = east.sealed(&ours());
    let changed = |at: usize| {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        klips::packet::ip::rechecksum_v4(&mut changed);
        changed
    };
    let shorter = |by: usize| {
        let mut shorter = sealed[..sealed.len() - by].to_vec();
        klips::packet::ip::patch(&mut shorter, 9, 50);
        shorter
    };
    west.opened(&sealed);
    let errors = [
        ("no IPsec packet", ours()),
        ("length not modulo 4", shorter(3)),
        ("length not modulo 8", shorter(4)),
        ("no SA", changed(23)),
        ("replayed", sealed.clone()),
        ("not authentic", {
            let mut packet = east.sealed(&ours());
            packet[40] ^= 1;
            packet
        }),
    ];
    for (n, (what, packet)) in errors.into_iter().enumerate() {
        west.receive(&packet);
        assert_eq!(count(&west), [n as u64 + 1, 0, 0, 0], "{what}");
    }
    let mut elsewhere = east.sealed(&ours());
    elsewhere[15] ^= 1;
    west.receive(&elsewhere);
    assert_eq!(count(&west), [6, 1, 0, 0], "a source that is not the SA's");

    let src = "192.1.2.23";
    let mut east = Host::new(&[src]);
    east.send(&ours());
    assert_eq!(count(&east), [0, 0, 0, 1], "no eroute");
    east.eroute(&nets(), said(SaProto::IpIp, 0x1000, "192.1.2.45"));
    east.send(&ours());
    assert_eq!(count(&east), [0, 0, 0, 2], "an eroute without SA");
    let stats = &east.klips.device(device()).stats;
    stats.not_sent(0);
    assert_eq!(count(&east), [0, 0, 1, 2], "no route to the peer");
}

/// An AH of another length than its MAC's.
#[test]
fn a_bad_authenticator_length_is_an_error() {
    let (src, dst) = ("192.1.2.23", "192.1.2.45");
    let sa = ah(
        said(SaProto::Ah, 0x1001, dst),
        src,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    );
    let (mut east, mut west) = (Host::new(&[src]), Host::new(&[dst]));
    east.add(&sa);
    west.add(&sa);
    east.eroute(&flow("192.1.2.23/32", "192.1.2.45/32"), sa.said);
    let mut sealed = east.sealed(&udp(src, dst, (1, 2), 30));
    sealed[21] += 1;
    assert_eq!(
        west.receive(&sealed).0,
        Inbound::Drop(DropReason::BadCiphertext)
    );
    let stats = &west.klips.device(device()).stats;
    assert_eq!(stats.rx_errors.load(Ordering::Relaxed), 1);
}

#[test]
fn inbound_policy() {
    let (mut east, mut west) = tunnel_pair();
    east.eroute(
        &flow("192.0.3.0/24", "192.0.1.0/24"),
        said(SaProto::IpIp, 0x1000, "192.1.2.45"),
    );
    let foreign = udp("192.0.3.1", "192.0.1.1", (1, 2), 9);
    let sealed = east.sealed(&foreign);
    assert_eq!(
        west.receive(&sealed).0,
        Inbound::Drop(DropReason::PolicyMismatch)
    );
    west.klips
        .sysctl_set("inbound_policy_check", 0)
        .expect("a switch");
    let sealed = east.sealed(&foreign);
    assert_eq!(west.opened(&sealed), foreign);
    west.klips
        .sysctl_set("inbound_policy_check", 1)
        .expect("a switch");
    let mut from_elsewhere = east.sealed(&ours());
    from_elsewhere[15] ^= 1;
    assert_eq!(
        west.receive(&from_elsewhere).0,
        Inbound::Drop(DropReason::WrongSource)
    );
}

/// An SA that stands in a group is worth nothing outside it.
#[test]
fn groups_must_be_whole() {
    let (src, dst) = ("192.1.2.23", "192.1.2.45");
    let esp = esp(
        said(SaProto::Esp, 0x1001, dst),
        src,
        EncAlg::AES_CBC,
        &AES_KEY,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    );
    let ah = ah(
        said(SaProto::Ah, 0x1002, dst),
        src,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    );
    let tunnel = tun(said(SaProto::IpIp, 0x1000, dst), src);
    let mut west = Host::new(&[dst]);
    west.add_group(&[tunnel, esp, ah]);
    for lacking in [vec![tunnel, esp], vec![tunnel, ah], vec![tunnel, ah, esp]] {
        let mut east = Host::new(&[src]);
        east.add_group(&lacking);
        east.eroute(&nets(), tunnel.said);
        let sealed = east.sealed(&ours());
        assert_eq!(
            west.receive(&sealed).0,
            Inbound::Drop(DropReason::WrongGroup)
        );
    }
    // Transport mode where a tunnel is asked for, and the other way about.
    let mut east = Host::new(&[src]);
    east.add(&esp);
    east.eroute(&flow("192.1.2.23/32", "192.1.2.45/32"), esp.said);
    let sealed = east.sealed(&udp(src, dst, (1, 2), 9));
    let (mut tunnelled, mut plain) = (Host::new(&[dst]), Host::new(&[dst]));
    tunnelled.add_group(&[tunnel, esp]);
    plain.add(&esp);
    assert_eq!(
        tunnelled.receive(&sealed).0,
        Inbound::Drop(DropReason::WrongGroup)
    );
    plain.opened(&sealed);
    let mut east = Host::new(&[src]);
    east.add_group(&[tunnel, esp]);
    east.eroute(&nets(), tunnel.said);
    let mut plain = Host::new(&[dst]);
    plain.add(&esp);
    assert_eq!(
        plain.receive(&east.sealed(&ours())).0,
        Inbound::Drop(DropReason::WrongGroup)
    );
}

#[test]
fn unknown_and_foreign_packets() {
    let (mut east, mut west) = tunnel_pair();
    let sealed = east.sealed(&ours());
    west.ok(|b| request::delete(b, IDS, &said(SaProto::Esp, 0x1001, "192.1.2.45"), None));
    assert!(west.klips.sadb().is_empty(), "the group went with it");
    assert_eq!(west.receive(&sealed).0, Inbound::Drop(DropReason::NoSa));
    // UDP is ESP in UDP: no other reaches KLIPS.
    assert_eq!(west.receive(&ours()).0, Inbound::Drop(DropReason::NoSa));
    let mut foreign = ours();
    foreign[9] = 6;
    assert_eq!(
        west.receive(&foreign).0,
        Inbound::Drop(DropReason::WrongProtocol)
    );
    assert_eq!(
        west.receive(&sealed[..30]).0,
        Inbound::Drop(DropReason::Malformed)
    );
    west.klips.detach(device()).expect("attached");
    assert_eq!(
        west.receive(&sealed).0,
        Inbound::Drop(DropReason::NotAttached)
    );
    assert_eq!(
        west.send(&ours()).0,
        Outbound::Drop(DropReason::NotAttached)
    );
}

#[test]
fn tos_is_hidden_or_copied() {
    let (mut east, _) = tunnel_pair();
    let mut packet = ours();
    packet[1] = 0x10;
    klips::packet::ip::rechecksum_v4(&mut packet);
    assert_eq!(east.sealed(&packet)[1], 0);
    east.klips.sysctl_set("hidetos", 0).expect("a switch");
    let sealed = east.sealed(&packet);
    assert_eq!((sealed[1], sealed[8]), (0x10, 64));
}

fn limited(soft: Lifetime, hard: Lifetime) -> (Host, Host) {
    let (src, dst) = ("192.1.2.23", "192.1.2.45");
    let esp = esp(
        said(SaProto::Esp, 0x1001, dst),
        src,
        EncAlg::AES_CBC,
        &AES_KEY,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    );
    let group = [
        tun(said(SaProto::IpIp, 0x1000, dst), src),
        SaParams { soft, hard, ..esp },
    ];
    let (mut east, mut west) = (Host::new(&[src]), Host::new(&[dst]));
    east.add_group(&group);
    west.add_group(&group);
    east.eroute(&nets(), group[0].said);
    (east, west)
}

/// The EXPIREs since the last call: whether hard.
fn expired(host: &mut Host) -> Vec<bool> {
    let messages = told(host, MsgType::Expire);
    messages
        .iter()
        .map(|m| {
            Message::reply(m)
                .expect("well formed")
                .lifetime_hard()
                .is_some()
        })
        .collect()
}

#[test]
fn packets_and_bytes_run_out() {
    let by_packets = |n| Lifetime {
        packets: n,
        ..Lifetime::NONE
    };
    let by_bytes = |n| Lifetime {
        bytes: n,
        ..Lifetime::NONE
    };
    let len = ours().len() as u64 + 20;
    for (soft, hard) in [
        (by_packets(2), by_packets(4)),
        (by_bytes(2 * len), by_bytes(4 * len)),
    ] {
        let (mut east, _) = limited(soft, hard);
        for n in 0..5 {
            east.sealed(&ours());
            let want: &[bool] = if n == 3 { &[false] } else { &[] };
            assert_eq!(expired(&mut east), want, "packet {n}");
        }
        assert_eq!(east.send(&ours()).0, Outbound::Drop(DropReason::Expired));
        assert_eq!(expired(&mut east), [true]);
        assert_eq!(east.send(&ours()).0, Outbound::Drop(DropReason::SaNotReady));
        assert!(expired(&mut east).is_empty());
        east.tick();
        assert!(east.klips.sadb().is_empty());
        assert_eq!(east.send(&ours()).0, Outbound::Drop(DropReason::NoSa));
    }
}

#[test]
fn time_runs_out() {
    let by_age = |n| Lifetime {
        addtime: n,
        ..Lifetime::NONE
    };
    let by_use = |n| Lifetime {
        usetime: n,
        ..Lifetime::NONE
    };
    for (soft, hard) in [(by_age(10), by_age(20)), (by_use(10), by_use(20))] {
        let (mut east, mut west) = limited(soft, hard);
        let sealed = east.sealed(&ours());
        west.opened(&sealed);
        for host in [&mut east, &mut west] {
            host.now += 10;
            host.tick();
            assert!(expired(host).is_empty());
            host.now += 1;
            host.tick();
            host.tick();
            assert_eq!(expired(host), [false], "once");
            host.now += 10;
            host.tick();
            assert_eq!(expired(host), [true]);
            assert!(host.klips.sadb().is_empty());
        }
    }
}

#[test]
fn fragments_go_through_tunnels_only() {
    let (mut east, mut west) = tunnel_pair();
    let mut piece = ours();
    piece[6] = 0x20;
    klips::packet::ip::rechecksum_v4(&mut piece);
    assert_eq!(west.opened(&east.sealed(&piece)), piece);
    let id = said(SaProto::Esp, 0x1001, "192.1.2.45");
    east.eroute(&flow("192.1.2.23/32", "192.1.2.45/32"), id);
    let mut piece = udp("192.1.2.23", "192.1.2.45", (1, 2), 30);
    piece[6] = 0x20;
    klips::packet::ip::rechecksum_v4(&mut piece);
    assert_eq!(east.send(&piece).0, Outbound::Drop(DropReason::Fragment));
}

/// The outer packet of one tunnel meets the eroute of another.
#[test]
fn nested_tunnels() {
    let (mut east, mut west) = tunnel_pair();
    let group = [
        tun(said(SaProto::IpIp, 0x2000, "10.9.9.9"), "10.8.8.8"),
        esp(
            said(SaProto::Esp, 0x2001, "10.9.9.9"),
            "10.8.8.8",
            EncAlg::AES_CBC,
            &AES_KEY,
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        ),
    ];
    east.add_group(&group);
    east.eroute(&flow("192.1.2.23/32", "192.1.2.45/32"), group[0].said);
    let sealed = east.sealed(&ours());
    let mut middle = Host::new(&["10.9.9.9"]);
    middle.add_group(&group);
    let through = middle.opened(&sealed);
    assert_eq!(west.opened(&through), ours());
}

/// Routes need not be the same both ways, and a device may have its packets shown as another's.
#[test]
fn k1_what_is_for_an_sa_of_ours_is_taken_from_any_device() {
    let (mut east, mut west) = tunnel_pair();
    let plain = udp("192.0.2.1", "192.0.1.1", (1000, 2000), 30);
    let (elsewhere, sealed) = (PHYSICAL + 1, east.sealed(&plain));
    assert!(west.klips.knows(&sealed[..28]), "by the start of a packet");
    let mut open = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let end = bytes.len();
        let mut packet = Packet::new(&mut bytes, 0, end).expect("range");
        west.with(|klips, cx| klips.inbound(cx, elsewhere, &mut packet))
    };
    assert_eq!(open(&sealed), Inbound::Deliver { device: device() });
    // Others may live there whose SAs these are.
    let mut strange = east.sealed(&plain);
    strange[23] ^= 1;
    assert_eq!(open(&strange), Inbound::Drop(DropReason::NotAttached));
    assert!(!west.klips.knows(&strange));
    assert_eq!(
        west.klips
            .device(device())
            .stats
            .rx_errors
            .load(Ordering::Relaxed),
        0
    );
}
