//! ESP in UDP: both directions, peers that move, what does not belong there, checksums mended behind a NAT.

mod common;

use std::net::SocketAddr;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto};
use klips::packet::checksum;
use klips::{DropReason, Inbound, Outbound, ProcFile};
use pfkey::request::{self, SaParams};
use pfkey::{Message, MsgType, NatT, SaType, errno};

const WEST: &str = "192.1.2.45";
const EAST: &str = "192.1.2.23";
const NAT: &str = "192.1.2.254";

fn in_udp(sport: u16, dport: u16) -> Option<NatT> {
    Some(NatT {
        kind: NatT::ESP_IN_UDP,
        sport,
        dport,
        oa: None,
    })
}

fn keyed(id: SaId, src: &str, ports: (u16, u16)) -> SaParams<'static> {
    SaParams {
        nat_t: in_udp(ports.0, ports.1),
        ..esp(
            id,
            src,
            EncAlg::AES_CBC,
            &AES_KEY[..16],
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        )
    }
}

/// West is 10.0.0.9 behind a NAT, that is 192.1.2.254 port 61000 to east; a tunnel from west to east's net.
fn road_to_east() -> (Host, Host) {
    let (mut west, mut east) = (Host::new(&["10.0.0.9"]), Host::new(&[EAST]));
    let (outer, inner) = (
        said(SaProto::IpIp, 0x1000, EAST),
        said(SaProto::Esp, 0x1001, EAST),
    );
    west.add_group(&[
        tun(outer, "10.0.0.9"),
        keyed(inner, "10.0.0.9", (4500, 4500)),
    ]);
    east.add_group(&[tun(outer, NAT), keyed(inner, NAT, (61000, 4500))]);
    let flow = flow("10.0.0.9/32", "192.0.2.0/24");
    west.eroute(&flow, outer);
    east.ok(|b| request::set_inflow(b, IDS, &flow, outer));
    east.ok(|b| request::register(b, IDS, SaType::Esp));
    (west, east)
}

/// What a NAT does to an outer packet on its way out.
fn translated(mut packet: Vec<u8>, src: &str, port: u16) -> Vec<u8> {
    let addr: std::net::Ipv4Addr = src.parse().unwrap();
    packet[12..16].copy_from_slice(&addr.octets());
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn ping() -> Vec<u8> {
    udp("10.0.0.9", "192.0.2.1", (1000, 2000), 100)
}

#[test]
fn a_tunnel_through_a_nat() {
    let (mut west, mut east) = road_to_east();
    let sealed = west.sealed(&ping());
    assert_eq!(
        (sealed[9], &sealed[20..24]),
        (17, &[0x11, 0x94, 0x11, 0x94][..])
    );
    assert_eq!(
        usize::from(sealed[24]) << 8 | usize::from(sealed[25]),
        sealed.len() - 20
    );
    assert_eq!(&sealed[26..32], &[0, 0, 0, 0, 0x10, 0x01]);
    assert_eq!(east.opened(&translated(sealed, NAT, 61000)), ping());
    assert!(told(&mut east, MsgType::NatTNewMapping).is_empty());
    let spi = east.proc(ProcFile::Spi);
    assert!(
        spi.contains(" natencap=nonesp natsport=61000 natdport=4500 "),
        "{spi}"
    );
}

#[test]
fn a_peer_that_moves_is_told_of_once_and_only_if_it_is_the_peer() {
    let (mut west, mut east) = road_to_east();
    let mut arrive = |east: &mut Host, src: &str, port, spoil: bool| {
        let mut packet = translated(west.sealed(&ping()), src, port);
        if spoil {
            *packet.last_mut().unwrap() ^= 1;
        }
        let delivered = matches!(east.receive(&packet).0, Inbound::Deliver { .. });
        assert_eq!(delivered, !spoil);
        let messages = told(east, MsgType::NatTNewMapping);
        let places = messages.iter().map(|m| {
            let m = Message::reply(m).unwrap();
            let nat_t = m.nat_t().unwrap();
            assert_eq!(m.sa().unwrap().spi.0, 0x1001);
            let at = |addr, port| SocketAddr::new(addr, port).to_string();
            (
                at(m.src().unwrap().addr, nat_t.sport),
                at(m.dst().unwrap().addr, nat_t.dport),
            )
        });
        places.collect::<Vec<_>>()
    };
    let moved = |to: &str| vec![("192.1.2.254:61000".to_owned(), to.to_owned())];
    assert_eq!(arrive(&mut east, NAT, 61000, false), []);
    assert_eq!(arrive(&mut east, NAT, 62000, true), []);
    assert_eq!(
        arrive(&mut east, NAT, 62000, false),
        moved("192.1.2.254:62000")
    );
    assert_eq!(arrive(&mut east, NAT, 62000, false), []);
    assert_eq!(
        arrive(&mut east, "203.0.113.1", 62000, false),
        moved("203.0.113.1:62000")
    );
    assert_eq!(
        arrive(&mut east, NAT, 61000, false),
        moved("192.1.2.254:61000")
    );
    assert_eq!(arrive(&mut east, NAT, 61000, false), []);
}

#[test]
fn what_goes_out_follows_and_its_sequence_goes_on() {
    let mut east = Host::new(&[EAST]);
    let mut west = Host::new(&["10.0.0.9"]);
    let (outer, inner) = (
        said(SaProto::IpIp, 0x2000, NAT),
        said(SaProto::Esp, 0x2001, NAT),
    );
    east.add_group(&[tun(outer, EAST), keyed(inner, EAST, (4500, 61000))]);
    east.eroute(&flow("192.0.2.0/24", "10.0.0.9/32"), outer);
    let inside = |said: SaId| SaId {
        dst: a("10.0.0.9"),
        ..said
    };
    west.add_group(&[
        tun(inside(outer), EAST),
        keyed(inside(inner), EAST, (4500, 4500)),
    ]);
    let answer = udp("192.0.2.1", "10.0.0.9", (2000, 1000), 100);
    let places = |sealed: &[u8]| {
        (
            sealed[16..20].to_vec(),
            sealed[22..24].to_vec(),
            sealed[32..36].to_vec(),
        )
    };
    let before = east.sealed(&answer);
    assert_eq!(
        places(&before),
        (vec![192, 1, 2, 254], vec![0xee, 0x48], vec![0, 0, 0, 1])
    );
    let new = "203.0.113.1:62000".parse().unwrap();
    let old = "192.1.2.254:61000".parse().unwrap();
    east.ok(|b| request::nat_t_new_mapping(b, IDS, &inner, old, new));
    let after = east.sealed(&answer);
    assert_eq!(
        places(&after),
        (vec![203, 0, 113, 1], vec![0xf2, 0x30], vec![0, 0, 0, 2])
    );
    assert_eq!(checksum(&[&after[..20]]), 0);
    // The NAT sends it on to the same host as before.
    let mut arrives = after;
    arrives[16..20].copy_from_slice(&[10, 0, 0, 9]);
    assert_eq!(west.opened(&arrives), answer);
    let spi = east.proc(ProcFile::Spi);
    assert!(
        spi.contains(" natsport=4500 natdport=62000 natdst=203.0.113.1 "),
        "{spi}"
    );
}

#[test]
fn mappings_that_make_no_sense_are_refused() {
    let (mut west, _) = road_to_east();
    let inner = said(SaProto::Esp, 0x1001, EAST);
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let mut refused = |id: SaId, new: &str| {
        let old = SocketAddr::new(id.dst, 4500);
        west.request(|b| request::nat_t_new_mapping(b, IDS, &id, old, at(new)))
    };
    assert_eq!(refused(inner, "192.1.2.23:0"), errno::EINVAL);
    assert_eq!(refused(inner, "0.0.0.0:5"), errno::EINVAL);
    assert_eq!(
        refused(said(SaProto::Esp, 0x1009, EAST), "192.1.2.23:5"),
        errno::ENOENT
    );
    assert_eq!(
        refused(said(SaProto::IpIp, 0x1000, EAST), "192.1.2.23:5"),
        errno::EINVAL
    );
    let with = |kind, proto, sport| SaParams {
        nat_t: Some(NatT {
            kind,
            sport,
            dport: 4500,
            oa: None,
        }),
        ..match proto {
            SaProto::Esp => keyed(said(proto, 0x3001, EAST), WEST, (1, 1)),
            _ => tun(said(proto, 0x3001, EAST), WEST),
        }
    };
    for (params, wanted) in [
        (with(NatT::NON_IKE, SaProto::Esp, 500), errno::EOPNOTSUPP),
        (with(NatT::ESP_IN_UDP, SaProto::Esp, 0), errno::EINVAL),
        (with(NatT::ESP_IN_UDP, SaProto::IpIp, 500), errno::EINVAL),
    ] {
        assert_eq!(west.request(|b| request::add(b, IDS, &params)), wanted);
    }
}

#[test]
fn only_what_the_sa_is_for_is_taken() {
    let (mut west, mut east) = road_to_east();
    let good = translated(west.sealed(&ping()), NAT, 61000);
    let drop = |east: &mut Host, packet: &[u8]| match east.receive(packet).0 {
        Inbound::Drop(reason) => reason,
        other => panic!("{other:?}"),
    };
    // The same without UDP.
    let mut bare = good.clone();
    bare.drain(20..28);
    bare[9] = 50;
    let len = bare.len() as u16;
    bare[2..4].copy_from_slice(&len.to_be_bytes());
    assert_eq!(drop(&mut east, &bare), DropReason::WrongEncapsulation);
    // ESP in UDP on an SA for bare ESP.
    east.ok(|b| {
        request::add(
            b,
            IDS,
            &SaParams {
                nat_t: None,
                ..keyed(said(SaProto::Esp, 0x1005, EAST), NAT, (1, 1))
            },
        )
    });
    let mut other = good.clone();
    other[31] = 5;
    assert_eq!(drop(&mut east, &other), DropReason::WrongEncapsulation);
    // IKE, a keep-alive, lengths that lie, fragments.
    let mut ike = good.clone();
    ike[28..32].fill(0);
    assert_eq!(drop(&mut east, &ike), DropReason::WrongProtocol);
    let mut alive = udp(NAT, EAST, (61000, 4500), 1);
    alive[28] = 0xff;
    assert_eq!(drop(&mut east, &alive), DropReason::WrongProtocol);
    for length in [0u16, 7, 4000] {
        let mut lies = good.clone();
        lies[24..26].copy_from_slice(&length.to_be_bytes());
        assert_eq!(drop(&mut east, &lies), DropReason::Malformed);
    }
    let mut piece = good.clone();
    piece[6] = 0x20;
    assert_eq!(drop(&mut east, &piece), DropReason::Fragment);
    // A checksum of UDP's own is nobody's concern.
    let mut summed = good;
    summed[26..28].copy_from_slice(&[0xab, 0xcd]);
    assert_eq!(east.opened(&summed), ping());
}

#[test]
fn too_big_counts_the_udp_header() {
    let (mut west, _) = road_to_east();
    let of = |len: usize| with_df(udp("10.0.0.9", "192.0.2.1", (1, 2), len - 28));
    let fits = |west: &mut Host, len| matches!(west.send(&of(len)).0, Outbound::Transmit { .. });
    let largest = (1300..1500)
        .rev()
        .find(|len| fits(&mut west, *len))
        .unwrap();
    assert!(west.sealed(&of(largest)).len() <= 1500);
    west.now += 1;
    let (verdict, icmp) = west.send(&of(1500));
    assert_eq!(verdict, Outbound::Icmp);
    assert_eq!(usize::from(icmp[26]) << 8 | usize::from(icmp[27]), largest);
}

#[test]
fn a_path_mtu_is_learnt_from_a_quote_that_shows_the_spi() {
    let (mut west, _) = road_to_east();
    let sealed = west.sealed(&ping());
    let now = west.now;
    west.klips.path_mtu(now, &sealed[..28], 1300);
    let of = |len: usize| with_df(udp("10.0.0.9", "192.0.2.1", (1, 2), len - 28));
    assert!(matches!(west.send(&of(1350)).0, Outbound::Transmit { .. }));
    // Other ports: not what this SA sent.
    for at in [21, 23] {
        let mut other = sealed[..36].to_vec();
        other[at] ^= 1;
        west.klips.path_mtu(now, &other, 1300);
    }
    assert!(matches!(west.send(&of(1350)).0, Outbound::Transmit { .. }));
    west.klips.path_mtu(now, &sealed[..36], 1300);
    assert_eq!(west.send(&of(1350)).0, Outbound::Icmp);
}

/// A packet with a right checksum at `place` of its payload.
fn summed(mut packet: Vec<u8>, proto: u8, place: usize) -> Vec<u8> {
    packet[9] = proto;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let at = 20 + place;
    packet[at..at + 2].fill(0);
    let len = (packet.len() - 20) as u16;
    let pseudo = [0, proto, len.to_be_bytes()[0], len.to_be_bytes()[1]];
    let sum = checksum(&[&packet[12..20], &pseudo, &packet[20..]]);
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn transport_mode_checksums_are_mended() {
    let (mut west, mut east) = (Host::new(&["10.0.0.9"]), Host::new(&[EAST]));
    let id = said(SaProto::Esp, 0x1001, EAST);
    west.ok(|b| request::add(b, IDS, &keyed(id, "10.0.0.9", (4500, 4500))));
    west.eroute(&flow("10.0.0.9/32", "192.1.2.23/32"), id);
    east.ok(|b| request::add(b, IDS, &keyed(id, NAT, (61000, 4500))));
    let plain = |src: &str, len| udp(src, EAST, (1000, 2000), len);
    for (proto, place) in [(17, 6), (6, 16)] {
        for len in [30, 31] {
            let sent = summed(plain("10.0.0.9", len), proto, place);
            let wanted = summed(plain(NAT, len), proto, place);
            let sealed = translated(west.sealed(&sent), NAT, 61000);
            assert_eq!(east.opened(&sealed), wanted, "{proto} {len}");
        }
    }
    // Without checksum it stays, and others have none.
    let mut bare = plain("10.0.0.9", 30);
    bare[26..28].fill(0);
    let sealed = translated(west.sealed(&bare), NAT, 61000);
    assert_eq!(east.opened(&sealed)[26..28], [0, 0]);
}

#[test]
fn ipv6_has_a_checksum() {
    let (mut west, mut east) = (Host::new(&["2001:db8::45"]), Host::new(&["2001:db8::23"]));
    let (outer, inner) = (
        said(SaProto::IpIp, 0x1000, "2001:db8::23"),
        said(SaProto::Esp, 0x1001, "2001:db8::23"),
    );
    let group = [
        tun(outer, "2001:db8::45"),
        keyed(inner, "2001:db8::45", (4500, 4500)),
    ];
    west.add_group(&group);
    east.add_group(&group);
    west.eroute(&flow("10.0.1.0/24", "10.0.2.0/24"), outer);
    let inside = udp("10.0.1.1", "10.0.2.1", (1, 2), 33);
    let sealed = west.sealed(&inside);
    assert_eq!(sealed[6], 17);
    let len = (sealed.len() - 40) as u32;
    let tail = [&len.to_be_bytes()[..], &[0, 0, 0, 17]].concat();
    assert_eq!(checksum(&[&sealed[8..40], &tail, &sealed[40..]]), 0);
    assert_eq!(east.opened(&sealed), inside);
}
