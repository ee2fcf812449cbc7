//! Packets too big for the device or the path: who is told, and what goes in fragments.

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaProto};
use klips::Outbound;
use klips::packet::{HEADROOM, Packet, transmit};

const TRANSMIT: Outbound = Outbound::Transmit {
    physical: PHYSICAL,
    mtu: 1500,
};

#[test]
fn too_big_with_df() {
    let (mut east, mut west) = tunnel_pair();
    let big = with_df(udp("192.0.2.1", "192.0.1.1", (1, 2), 1472));
    let (verdict, icmp) = east.send(&big);
    assert_eq!((verdict, &icmp[20..22]), (Outbound::Icmp, &[3, 4][..]));
    let mtu = usize::from(u16::from_be_bytes([icmp[26], icmp[27]]));
    let fits = with_df(udp("192.0.2.1", "192.0.1.1", (1, 2), mtu - 28));
    let sealed = east.sealed(&fits);
    assert!(
        sealed.len() <= 1500 && sealed.len() > 1492,
        "{}",
        sealed.len()
    );
    assert_eq!(west.opened(&sealed), fits);
    let over = with_df(udp("192.0.2.1", "192.0.1.1", (1, 2), mtu - 27));
    assert_eq!(east.send(&over).0, Outbound::Icmp);

    east.klips.sysctl_set("fragicmp", 0).expect("a switch");
    let sealed = east.sealed(&big);
    assert!(sealed.len() > 1500);
    assert_eq!(sealed[6] & 0x40, 0, "DF stays inside");
    assert_eq!(west.opened(&sealed), big);
}

/// What a packet of `len` bytes with DF is answered with, or what goes out.
fn sent(east: &mut Host, len: usize) -> Result<Vec<u8>, usize> {
    let (verdict, out) = east.send(&with_df(udp("192.0.2.1", "192.0.1.1", (1, 2), len - 28)));
    match verdict {
        Outbound::Icmp => Err(usize::from(u16::from_be_bytes([out[26], out[27]]))),
        Outbound::Transmit { .. } => Ok(out),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_router_on_the_path_takes_less() {
    let (mut east, mut west) = tunnel_pair();
    let sealed = sent(&mut east, 1400).expect("fits the device");
    assert_eq!(sealed[6] & 0x40, 0x40, "so that the router says so");
    assert_eq!(west.opened(&sealed).len(), 1400);
    let may_be_cut = udp("192.0.2.1", "192.0.1.1", (1, 2), 1372);
    assert_eq!(east.sealed(&may_be_cut)[6] & 0x40, 0);

    // What is not about a packet of this SA changes nothing: its SPI, the addresses.
    for at in [20, 23, 13, 19] {
        let mut other = sealed[..28].to_vec();
        other[at] ^= 1;
        east.klips.path_mtu(east.now, &other, 1300);
    }
    assert!(sent(&mut east, 1400).is_ok());
    east.klips.path_mtu(east.now, &sealed[..28], 1300);
    let told = sent(&mut east, 1400).expect_err("known");
    let sealed = sent(&mut east, told).expect("was said to fit");
    assert!(sealed.len() <= 1300 && sealed.len() > 1292);
    assert_eq!(sealed[6] & 0x40, 0x40);

    // After ten minutes the path is tried again.
    east.now += 600;
    assert!(sent(&mut east, 1400).is_ok());
    // An old router does not say what it takes.
    let sealed = sent(&mut east, 1400).expect("fits the device");
    east.klips.path_mtu(east.now, &sealed[..28], 0);
    let told = sent(&mut east, 1400).expect_err("known");
    assert!(told < 1006 && told > 930, "{told}");
    // Less than 576 is not believed; the path may fragment what is bigger.
    east.klips.path_mtu(east.now, &sealed[..28], 68);
    let told = sent(&mut east, 1400).expect_err("known");
    assert!(told < 576 && told > 500, "{told}");
    let sealed = sent(&mut east, told).expect("was said to fit");
    assert_eq!(sealed[6] & 0x40, 0);
    let (verdict, _) = east.send(&may_be_cut);
    assert!(matches!(verdict, Outbound::Transmit { mtu: 576, .. }));
}

#[test]
fn ipv6_on_a_path_that_takes_less_than_1280() {
    let (mut east, _) = tunnel_pair();
    let sealed = sent(&mut east, 1400).expect("fits the device");
    east.klips.path_mtu(east.now, &sealed[..28], 1200);
    east.eroute(
        &flow("2001:db8:0:3::/64", "2001:db8:0:1::/64"),
        said(SaProto::IpIp, 0x1000, "192.1.2.45"),
    );
    let of = |len: usize| udp("2001:db8:0:3::1", "2001:db8:0:1::1", (1, 2), len - 48);
    let (verdict, icmp) = east.send(&of(1281));
    assert_eq!((verdict, &icmp[40..42]), (Outbound::Icmp, &[2, 0][..]));
    assert_eq!(icmp[44..48], 1280u32.to_be_bytes());
    // That much every link of IPv6 takes: the outer packet is fragmented (RFC 2473 section 7.1).
    let (verdict, sealed) = east.send(&of(1280));
    assert!(matches!(verdict, Outbound::Transmit { mtu: 1200, .. }));
    assert_eq!((sealed.len() > 1280, sealed[6] & 0x40), (true, 0));
}

#[test]
fn own_packets_in_transport_mode_are_fragmented_after_esp() {
    for [src, dst] in [
        ["192.1.2.23", "192.1.2.45"],
        ["2001:db8::23", "2001:db8::45"],
    ] {
        let (mut east, mut west) = (Host::new(&[src]), Host::new(&[dst]));
        let sa = esp(
            said(SaProto::Esp, 0x1001, dst),
            src,
            EncAlg::AES_CBC,
            &AES_KEY,
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        );
        east.add_group(&[sa]);
        west.add_group(&[sa]);
        let bits = if a(src).is_ipv4() { 32 } else { 128 };
        east.eroute(
            &flow(&format!("{src}/{bits}"), &format!("{dst}/{bits}")),
            sa.said,
        );
        let mut whole = udp(src, dst, (1, 2), 1472);
        if a(src).is_ipv4() {
            whole[4..6].fill(0);
            whole = with_df(whole);
        }
        let mut ids = Vec::new();
        for _ in 0..2 {
            let (verdict, sealed) = east.send(&whole);
            assert_eq!(verdict, TRANSMIT);
            let mut pieces = Vec::new();
            let (mut buffer, range) = (vec![0; 3000], HEADROOM..HEADROOM + sealed.len());
            buffer[range.clone()].copy_from_slice(&sealed);
            let mut packet = Packet::new(&mut buffer, range.start, range.end).expect("range");
            transmit(&mut packet, 1500, |piece| pieces.push(piece.to_vec()));
            assert_eq!(pieces.len(), 2);
            if a(src).is_ipv4() {
                ids.push([sealed[4], sealed[5]]);
            }
            let opened = west.opened(&sealed);
            assert_eq!(opened[20..], whole[20..]);
        }
        ids.dedup();
        assert!(ids.len() != 1 && !ids.contains(&[0, 0]), "{ids:?}");
    }
}
