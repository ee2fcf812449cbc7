//! ICMP errors about packets that go out: about which, to whom, from whom, and how many.

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, SaProto};
use klips::device::Name;
use klips::packet::{IpHeader, checksum, ip};
use klips::{DropReason, Outbound, Physical};

const OWN: [&str; 2] = ["192.1.2.23", "2001:db8:f::23"];

/// What a packet to %reject or %pass became, in short.
#[derive(Debug, PartialEq)]
enum Became {
    Answered,
    Dropped(DropReason),
    Passed(usize),
}

fn became(host: &mut Host, packet: &[u8]) -> Became {
    match host.send(packet) {
        (Outbound::Icmp, _) => Became::Answered,
        (Outbound::Drop(why), _) => Became::Dropped(why),
        (Outbound::Pass { mtu, .. }, _) => Became::Passed(mtu as usize),
        (other, _) => panic!("{other:?}"),
    }
}

/// Sunset's gateway: a shunt from the nets of both families to everywhere.
fn shunted(magic: MagicSpi) -> Host {
    let mut host = Host::new(&OWN);
    for (src, dst) in [("192.0.1.0/24", "0.0.0.0/0"), ("2001:db8:1::/48", "::/0")] {
        host.eroute(&flow(src, dst), SaId::magic(magic));
    }
    host
}

fn mtu(host: &mut Host, mtu: u32) {
    let own: Vec<_> = OWN.iter().map(|text| a(text)).collect();
    let name = Name::new("eth0").expect("a name");
    let now = Physical::new(PHYSICAL, name, mtu, &own);
    host.klips.physical_changed(now);
}

/// An ICMP message of this type, or a packet of another protocol.
fn icmp(src: &str, dst: &str, kind: u8) -> Vec<u8> {
    let v4 = a(src).is_ipv4();
    let header = if v4 { 20 } else { 40 };
    let mut packet = vec![0; header + 64];
    let protocol = if v4 { 1 } else { 58 };
    ip::emit(&mut packet, a(src), a(dst), protocol, 0, 64, 7);
    packet[header] = kind;
    packet
}

#[test]
fn c4_who_sends_too_much_by_pass_is_told() {
    let v4 = |len: usize| with_df(udp("192.0.1.1", "192.0.2.1", (1, 2), len - 28));
    let v6 = |len: usize| udp("2001:db8:1::1", "2001:db8:2::1", (1, 2), len - 48);
    let of = |six: bool, len| if six { v6(len) } else { v4(len) };
    for six in [false, true] {
        let mut host = shunted(MagicSpi::Pass);
        assert_eq!(became(&mut host, &of(six, 1500)), Became::Passed(1500));
        for device in [1500, 1400, 1280] {
            mtu(&mut host, device);
            host.now += 100;
            let device = device as usize;
            assert_eq!(became(&mut host, &of(six, device)), Became::Passed(device));
            let packet = of(six, device + 1);
            let (verdict, told) = host.send(&packet);
            assert_eq!(verdict, Outbound::Icmp);
            let header = IpHeader::new_checked(&told).expect("an IP packet");
            let (own, sender) = (a(OWN[usize::from(six)]), packet_source(&packet));
            assert_eq!((header.src, header.dst), (own, sender));
            if six {
                assert_eq!(told[40..42], [2, 0]);
                assert_eq!(told[44..48], (device as u32).to_be_bytes());
                assert_eq!(told[48..], packet[..told.len() - 48]);
                assert_eq!(told.len(), 1280);
            } else {
                assert_eq!(told[20..22], [3, 4]);
                assert_eq!(told[24..28], (device as u32).to_be_bytes());
                assert_eq!(checksum(&[&told[20..]]), 0);
                assert!(told.len() <= 576);
            }
        }
        // About an ICMP error nobody is told, and nobody cuts it.
        let mut error = icmp("192.0.1.1", "192.0.2.1", 3);
        error.resize(1600, 0);
        ip::patch(&mut error, 9, 1);
        let mut error6 = icmp("2001:db8:1::1", "2001:db8:2::1", 1);
        error6.resize(1600, 0);
        ip::patch(&mut error6, 6, 58);
        let error = if six { error6 } else { with_df(error) };
        let dropped = Became::Dropped(DropReason::TooBig);
        assert_eq!(became(&mut host, &error), dropped);
    }
}

fn packet_source(packet: &[u8]) -> std::net::IpAddr {
    IpHeader::new_checked(packet).expect("an IP packet").src
}

/// What may be cut on the way is not answered, and what this host sends itself is not lost.
#[test]
fn c4_what_may_be_fragmented_goes() {
    let mut host = shunted(MagicSpi::Pass);
    let without_df = udp("192.0.1.1", "192.0.2.1", (1, 2), 3000);
    assert_eq!(became(&mut host, &without_df), Became::Passed(1500));
    host.eroute(&flow("192.1.2.23/32", "192.0.2.0/24"), pass());
    host.eroute(&flow("2001:db8:f::23/128", "2001:db8:2::/48"), pass());
    // IPv6 has no DF to clear; its source may fragment, and that is this host.
    let own6 = udp(OWN[1], "2001:db8:2::1", (1, 2), 3000);
    assert_eq!(became(&mut host, &own6), Became::Passed(1500));
    let mut tcp = own6;
    tcp[6] = 6;
    assert_eq!(became(&mut host, &tcp), Became::Answered);
    let own = with_df(udp(OWN[0], "192.0.2.1", (1, 2), 3000));
    assert_eq!(became(&mut host, &own), Became::Answered);
    // IKE goes round all eroutes, in fragments if need be.
    let (verdict, sent) = host.send(&with_df(udp(OWN[0], "192.1.2.45", (500, 500), 3000)));
    assert!(matches!(verdict, Outbound::Pass { .. }));
    assert_eq!(sent[6] & 0x40, 0);
    // With fragicmp off nobody is told.
    host.klips.sysctl_set("fragicmp", 0).expect("a switch");
    let forwarded = with_df(udp("192.0.1.1", "192.0.2.1", (1, 2), 3000));
    let (verdict, sent) = host.send(&forwarded);
    assert!(matches!(verdict, Outbound::Pass { .. }));
    assert_eq!((sent[6] & 0x40, checksum(&[&sent[..20]])), (0, 0));
}

fn pass() -> SaId {
    SaId::magic(MagicSpi::Pass)
}

/// RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e).
#[test]
fn c8_some_packets_are_answered_by_nothing() {
    let (src, dst) = ("192.0.1.1", "192.0.2.1");
    let (src6, dst6) = ("2001:db8:1::1", "2001:db8:2::1");
    let mut rows: Vec<(String, Vec<u8>, bool)> = Vec::new();
    let mut row = |what: &str, packet: Vec<u8>, due: bool| {
        rows.push((what.to_owned(), packet, due));
    };
    row("UDP", udp(src, dst, (1, 2), 9), true);
    row("UDP over IPv6", udp(src6, dst6, (1, 2), 9), true);
    for kind in 0..=40u8 {
        let asks = matches!(kind, 0 | 8 | 9 | 10 | 13..=18);
        row(&format!("ICMP {kind}"), icmp(src, dst, kind), asks);
    }
    for kind in [
        0, 1, 2, 3, 4, 100, 127, 128, 129, 133, 135, 136, 137, 138, 160,
    ] {
        let asks = kind >= 128 && kind != 137;
        row(&format!("ICMPv6 {kind}"), icmp(src6, dst6, kind), asks);
    }
    for (offset, due) in [(0x2000u16, true), (0x2001, false), (0x0001, false)] {
        let mut piece = udp(src, dst, (1, 2), 30);
        piece[6..8].copy_from_slice(&offset.to_be_bytes());
        ip::rechecksum_v4(&mut piece);
        row(&format!("fragment {offset:#x}"), piece, due);
        let mut piece = udp(src6, dst6, (1, 2), 30);
        piece[6] = 44;
        let more = u16::from(offset & 0x2000 != 0);
        let field = (offset & 0x1fff) << 3 | more;
        piece[40..42].copy_from_slice(&[17, 0]);
        piece[42..44].copy_from_slice(&field.to_be_bytes());
        row(&format!("IPv6 fragment {field:#x}"), piece, due);
    }
    for to in [
        "255.255.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "127.0.0.1",
        "0.0.0.0",
        "240.0.0.1",
        "10.1.255.255",
        "ff02::1",
        "ff0e::5",
        "::1",
        "::",
    ] {
        let from = if a(to).is_ipv4() { src } else { src6 };
        row(&format!("to {to}"), udp(from, to, (1, 2), 9), false);
    }
    for from in [
        "255.255.255.255",
        "224.0.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "240.0.0.1",
        "192.0.1.255",
        "ff02::1",
        "::1",
        "::",
    ] {
        let to = if a(from).is_ipv4() { dst } else { dst6 };
        row(&format!("from {from}"), udp(from, to, (1, 2), 9), false);
    }
    let mut short = icmp(src, dst, 8)[..20].to_vec();
    ip::patch(&mut short, 9, 1);
    row("ICMP without a message", short, false);

    for (what, packet, due) in rows {
        let mut host = shunted(MagicSpi::Reject);
        let reject = SaId::magic(MagicSpi::Reject);
        host.eroute(&flow("192.0.1.0/24", "10.1.0.0/16"), reject);
        let all = if packet[0] >> 4 == 4 {
            "0.0.0.0/0"
        } else {
            "::/0"
        };
        host.eroute(&flow(all, all), reject);
        let expected = if due {
            Became::Answered
        } else {
            Became::Dropped(DropReason::Reject)
        };
        assert_eq!(became(&mut host, &packet), expected, "{what}");
    }
}

#[test]
fn c8_errors_are_few() {
    let mut host = shunted(MagicSpi::Reject);
    let refused = |n: u32| udp("192.0.1.1", &format!("192.0.{n}.1"), (1, 2), 9);
    let count = |host: &mut Host, packets: &mut dyn Iterator<Item = Vec<u8>>| {
        packets
            .filter(|packet| became(host, packet) == Became::Answered)
            .count()
    };
    // To one sender, wherever it sends: six at once, and one a second.
    let flood = || (0..2000).map(|n| refused(n % 250));
    assert_eq!(count(&mut host, &mut flood()), 6);
    host.now += 1;
    assert_eq!(count(&mut host, &mut flood()), 1);
    host.now += 100;
    assert_eq!(count(&mut host, &mut flood()), 6);
    assert_eq!(host.klips.icmp_limited(), 6000 - 13);
    assert_eq!(host.klips.sysctl_get("icmp_limited"), Ok(6000 - 13));
    assert!(host.klips.sysctl_set("icmp_limited", 0).is_err());
    let dropped = &host.klips.device(device()).stats.tx_dropped;
    assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 6000);
    // Another one has its own.
    let other = udp("192.0.1.2", "192.0.2.1", (1, 2), 9);
    assert_eq!(became(&mut host, &other), Became::Answered);
    // All together get a thousand a second, whatever their addresses are.
    host.now += 100;
    host.eroute(
        &flow("10.0.0.0/8", "0.0.0.0/0"),
        SaId::magic(MagicSpi::Reject),
    );
    let mut spoofed = (0..40_000u32).map(|n| {
        let from = format!("10.{}.{}.1", n >> 8, n & 255);
        udp(&from, "192.0.2.1", (1, 2), 9)
    });
    assert_eq!(count(&mut host, &mut spoofed), 1000);
}

/// Path MTUs are learnt for each destination, so one that was told of does not keep others from being told of.
#[test]
fn c8_too_big_counts_for_each_destination() {
    let mut host = shunted(MagicSpi::Pass);
    for n in 1..100 {
        let big = with_df(udp("192.0.1.1", &format!("192.0.2.{n}"), (1, 2), 1600));
        let answered = (0..50)
            .filter(|_| became(&mut host, &big) == Became::Answered)
            .count();
        // Two destinations may share a bucket.
        assert!(answered == 6 || answered == 0, "{n}: {answered}");
    }
    let limited = host.klips.icmp_limited();
    assert!((99 * 44..99 * 44 + 10 * 6).contains(&limited), "{limited}");
    // The same by a tunnel.
    let (mut east, _) = tunnel_pair();
    let big = with_df(udp("192.0.2.1", "192.0.1.1", (1, 2), 1472));
    let verdicts: Vec<_> = (0..20).map(|_| east.send(&big).0).collect();
    let told = verdicts.iter().filter(|v| **v == Outbound::Icmp).count();
    assert_eq!(told, 6);
    assert_eq!(verdicts[19], Outbound::Drop(DropReason::TooBig));
}

/// Whoever is behind a tunnel hears from within what the tunnel is for: its gateway takes nothing else.
#[test]
fn c8_the_source_of_an_error() {
    let mut host = Host::new(&["2001:db8:f::23"]);
    let reject = SaId::magic(MagicSpi::Reject);
    host.eroute(&flow("192.0.1.0/24", "192.0.9.0/24"), reject);
    // A device without an address of the family: the home knows one.
    let (verdict, icmp) = host.send(&udp("192.0.1.1", "192.0.9.1", (1, 2), 9));
    assert_eq!((verdict, &icmp[12..16]), (Outbound::Icmp, &[0; 4][..]));

    let mut hub = Host::new(&["192.1.2.23"]);
    let group = [
        tun(said(SaProto::IpIp, 0x1000, "192.1.2.45"), "192.1.2.23"),
        esp(
            said(SaProto::Esp, 0x1001, "192.1.2.45"),
            "192.1.2.23",
            EncAlg::AES_CBC,
            &AES_KEY,
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        ),
    ];
    hub.add_group(&group);
    hub.eroute(&flow("192.0.0.0/16", "192.0.1.0/24"), group[0].said);
    hub.eroute(&flow("192.0.1.0/24", "192.0.9.0/24"), reject);
    let refused = udp("192.0.1.1", "192.0.9.1", (1, 2), 9);
    let (verdict, icmp) = hub.send(&refused);
    let header = IpHeader::new_checked(&icmp).expect("an IP packet");
    assert_eq!(verdict, Outbound::Inject);
    assert_eq!((header.src, header.dst), (a("192.0.9.1"), a("192.0.1.1")));
    hub.sealed(&icmp);
}
