//! Every transform, mode and family, from one host to another; and published ESP packets.

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaProto};
use klips::packet::{IpHeader, transmit};
use klips::{Inbound, Outbound};
use pfkey::SaFlags;
use pfkey::request::SaParams;

const ADDRESSES: [[&str; 2]; 2] = [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2"]];
const HOSTS: [[&str; 2]; 2] = [["10.1.0.5", "10.2.0.5"], ["2001:db8:1::5", "2001:db8:2::5"]];
const NETS: [[&str; 2]; 2] = [
    ["10.1.0.0/16", "10.2.0.0/16"],
    ["2001:db8:1::/48", "2001:db8:2::/48"],
];

/// Everything that can stand between the inner packet and the wire, for gateways of one family.
fn groups<'k>(src: &str, dst: &str) -> Vec<Vec<SaParams<'k>>> {
    let id = |proto, spi| said(proto, spi, dst);
    let macs: [(AuthAlg, &'static [u8]); 7] = [
        (AuthAlg::MD5_HMAC, &MD5_KEY),
        (AuthAlg::SHA1_HMAC, &SHA1_KEY),
        (AuthAlg::SHA2_256_HMAC, &LONG_KEY[..32]),
        (AuthAlg::SHA2_384_HMAC, &LONG_KEY[..48]),
        (AuthAlg::SHA2_512_HMAC, &LONG_KEY),
        (AuthAlg::AES_XCBC_MAC, &LONG_KEY[..16]),
        (AuthAlg::AES_CMAC, &LONG_KEY[..16]),
    ];
    let ciphers: [(EncAlg, &'static [u8]); 11] = [
        (EncAlg::TRIPLE_DES_CBC, &DES3_KEY),
        (EncAlg::NULL, &[]),
        (EncAlg::AES_CBC, &AES_KEY[..16]),
        (EncAlg::AES_CBC, &AES_KEY[..24]),
        (EncAlg::AES_CBC, &AES_KEY),
        (EncAlg::AES_CTR, &LONG_KEY[..20]),
        (EncAlg::AES_CTR, &LONG_KEY[..28]),
        (EncAlg::AES_CTR, &LONG_KEY[..36]),
        (EncAlg::CAMELLIA_CBC, &AES_KEY[..16]),
        (EncAlg::CAMELLIA_CBC, &AES_KEY[..24]),
        (EncAlg::CAMELLIA_CBC, &AES_KEY),
    ];
    let aeads: [(EncAlg, &'static [u8]); 10] = [
        (EncAlg::AES_GCM_8, &LONG_KEY[..20]),
        (EncAlg::AES_GCM_8, &LONG_KEY[..28]),
        (EncAlg::AES_GCM_8, &LONG_KEY[..36]),
        (EncAlg::AES_GCM_12, &LONG_KEY[..20]),
        (EncAlg::AES_GCM_12, &LONG_KEY[..28]),
        (EncAlg::AES_GCM_12, &LONG_KEY[..36]),
        (EncAlg::AES_GCM_16, &LONG_KEY[..20]),
        (EncAlg::AES_GCM_16, &LONG_KEY[..28]),
        (EncAlg::AES_GCM_16, &LONG_KEY[..36]),
        (EncAlg::CHACHA20_POLY1305, &LONG_KEY[..36]),
    ];
    let mut all = Vec::new();
    for (mac, mac_key) in macs {
        let ah = ah(id(SaProto::Ah, 0x303), src, mac, mac_key);
        all.push(vec![ah]);
        for (cipher, key) in ciphers {
            let esp = esp(id(SaProto::Esp, 0x302), src, cipher, key, mac, mac_key);
            let comp = comp(id(SaProto::Comp, 0x304), src);
            all.push(vec![esp]);
            if cipher == EncAlg::AES_CBC || mac == AuthAlg::SHA1_HMAC {
                all.extend([vec![comp, esp], vec![esp, ah], vec![comp, esp, ah]]);
            }
        }
    }
    for (aead, key) in aeads {
        let esp = esp(id(SaProto::Esp, 0x302), src, aead, key, AuthAlg::NONE, &[]);
        let ah = ah(id(SaProto::Ah, 0x303), src, macs[4].0, macs[4].1);
        all.extend([
            vec![esp],
            vec![comp(id(SaProto::Comp, 0x304), src), esp],
            vec![esp, ah],
        ]);
    }
    // Every transform once more with sequence numbers of 64 bits.
    let esn = |group: &Vec<SaParams<'k>>| {
        let wide = |sa: &SaParams<'k>| match sa.said.proto {
            SaProto::Esp | SaProto::Ah => SaParams {
                flags: SaFlags::ESN,
                ..*sa
            },
            _ => *sa,
        };
        group.iter().map(wide).collect()
    };
    all.extend(all.iter().map(esn).collect::<Vec<_>>());
    // `auth=ah`: the AH around it authenticates.
    let bare = SaParams {
        flags: SaFlags::AH_OUTSIDE,
        ..esp(
            id(SaProto::Esp, 0x305),
            src,
            EncAlg::AES_CBC,
            &AES_KEY,
            AuthAlg::NONE,
            &[],
        )
    };
    all.push(vec![
        bare,
        ah(id(SaProto::Ah, 0x306), src, AuthAlg::SHA1_HMAC, &SHA1_KEY),
    ]);
    all
}

/// Sends packets of several lengths from one to the other, and checks that they arrive as they were.
fn exchange(group: &[SaParams<'_>], gateways: [&str; 2], inner: [&str; 2], nets: [&str; 2]) {
    let (mut east, mut west) = (Host::new(&gateways[..1]), Host::new(&gateways[1..]));
    east.add_group(group);
    west.add_group(group);
    let nets = flow(nets[0], nets[1]);
    let (first, last) = (group[0].said, group[group.len() - 1].said);
    east.eroute(&nets, first);
    west.ok(|b| pfkey::request::set_inflow(b, IDS, &nets, last));
    for len in (0..20).chain([50, 333, 1200]) {
        let packet = udp(inner[0], inner[1], (1000, 2000), len);
        let sealed = east.sealed(&packet);
        let header = IpHeader::new_checked(&sealed).expect("an IP packet");
        assert_eq!(
            (header.src, header.dst, header.total),
            (a(gateways[0]), a(gateways[1]), sealed.len())
        );
        if header.is_v4() {
            assert_eq!(
                klips::packet::checksum(&[&sealed[..20]]),
                0,
                "IPv4 checksum"
            );
        }
        let hidden = matches!(group.last(), Some(sa) if sa.said.proto == SaProto::Esp && sa.encrypt != EncAlg::NULL);
        if len > 40 && hidden {
            assert!(
                !sealed.windows(9).any(|w| w == b"quick bro"),
                "plaintext on the wire"
            );
        }
        assert_eq!(west.opened(&sealed), packet, "length {len} through {first}");
    }
}

#[test]
fn tunnel_mode() {
    for [src, dst] in ADDRESSES {
        for inner in 0..2 {
            for mut group in groups(src, dst) {
                if group.len() < 4 {
                    group.insert(0, tun(said(SaProto::IpIp, 0x300, dst), src));
                    exchange(&group, [src, dst], HOSTS[inner], NETS[inner]);
                }
            }
        }
    }
}

#[test]
fn transport_mode() {
    for [src, dst] in ADDRESSES {
        let bits = if src.contains(':') { 128 } else { 32 };
        for group in groups(src, dst) {
            let nets = [format!("{src}/{bits}"), format!("{dst}/{bits}")];
            exchange(&group, [src, dst], [src, dst], [&nets[0], &nets[1]]);
        }
    }
}

#[test]
fn incompressible_packets_go_uncompressed() {
    let (src, dst) = ("192.0.2.1", "192.0.2.2");
    let key = AES_KEY;
    let group = [
        tun(said(SaProto::IpIp, 0x300, dst), src),
        comp(said(SaProto::Comp, 0x304, dst), src),
        esp(
            said(SaProto::Esp, 0x302, dst),
            src,
            EncAlg::AES_CBC,
            &key,
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        ),
    ];
    let (mut east, mut west) = (Host::new(&[src]), Host::new(&[dst]));
    east.add_group(&group);
    west.add_group(&group);
    east.eroute(&flow("10.1.0.0/16", "10.2.0.0/16"), group[0].said);
    let text = udp("10.1.0.5", "10.2.0.5", (1, 2), 1000);
    let mut noise = text.clone();
    let mut x = 1u64;
    for byte in &mut noise[28..] {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = (x >> 56) as u8;
    }
    let (small, big) = (east.sealed(&text), east.sealed(&noise));
    assert!(small.len() < 300 && big.len() > 1000);
    assert_eq!(west.opened(&small), text);
    assert_eq!(west.opened(&big), noise);
}

/// AH leaves out what routers change, and nothing else.
#[test]
fn ah_and_mutable_fields() {
    for [src, dst] in ADDRESSES {
        let id = said(SaProto::Ah, 0x301, dst);
        let sa = ah(id, src, AuthAlg::SHA1_HMAC, &SHA1_KEY);
        let (mut east, mut west) = (Host::new(&[src]), Host::new(&[dst]));
        east.add_group(&[sa]);
        west.add_group(&[sa]);
        let bits = if src.contains(':') { 128 } else { 32 };
        east.eroute(
            &flow(&format!("{src}/{bits}"), &format!("{dst}/{bits}")),
            id,
        );
        let packet = udp(src, dst, (1, 2), 64);
        let mutable: &[usize] = if bits == 32 { &[1, 8] } else { &[1, 2, 3, 7] };
        for &at in mutable {
            let mut sealed = east.sealed(&packet);
            sealed[at] ^= 0x0f;
            let inner = west.opened(&sealed);
            assert_eq!(
                inner[inner.len() - 72..],
                packet[packet.len() - 72..],
                "byte {at}"
            );
        }
        let sealed = east.sealed(&packet);
        let header = IpHeader::new_checked(&sealed).expect("an IP packet");
        for at in (0..sealed.len()).filter(|n| !mutable.contains(n)) {
            // Fields that say where the packet ends or what it is are judged before the authenticator.
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            let (verdict, _) = west.receive(&forged);
            let ignored = bits == 32 && (6..12).contains(&at) && at != 9 || bits == 128 && at == 0;
            if !ignored {
                assert!(
                    matches!(verdict, Inbound::Drop(_)),
                    "byte {at} of {}",
                    header.total
                );
            }
        }
        west.opened(&east.sealed(&packet));
    }
}

/// An outer packet beyond the MTU goes out in fragments that make the same packet again.
#[test]
fn fragments() {
    for [src, dst] in ADDRESSES {
        let group = [
            tun(said(SaProto::IpIp, 0x300, dst), src),
            esp(
                said(SaProto::Esp, 0x302, dst),
                src,
                EncAlg::AES_CBC,
                &AES_KEY,
                AuthAlg::SHA1_HMAC,
                &SHA1_KEY,
            ),
        ];
        let (mut east, mut west) = (Host::new(&[src]), Host::new(&[dst]));
        east.add_group(&group);
        west.add_group(&group);
        east.eroute(&flow("10.1.0.0/16", "10.2.0.0/16"), group[0].said);
        let packet = udp("10.1.0.5", "10.2.0.5", (1, 2), 3000);
        let (verdict, sealed) = east.send(&packet);
        let Outbound::Transmit { mtu: 1500, .. } = verdict else {
            panic!("{verdict:?}")
        };
        let mut buffer = vec![0; 64 + sealed.len()];
        buffer[64..].copy_from_slice(&sealed);
        let end = buffer.len();
        let mut spent = klips::Packet::new(&mut buffer, 64, end).expect("range");
        let mut pieces = Vec::new();
        assert_eq!(
            transmit(&mut spent, 1500, |piece| pieces.push(piece.to_vec())),
            3
        );
        assert!(pieces.iter().all(|p| p.len() <= 1500));
        assert_eq!(
            west.receive(&pieces[0]).0,
            Inbound::Drop(klips::DropReason::Fragment)
        );
        let whole = reassemble(&pieces, &sealed);
        assert_eq!(west.opened(&whole), packet);
    }
}

/// Puts the pieces together by their own offsets, under the header of `like`.
fn reassemble(pieces: &[Vec<u8>], like: &[u8]) -> Vec<u8> {
    let v4 = like[0] >> 4 == 4;
    let header = if v4 { 20 } else { 40 };
    let mut whole = like[..header].to_vec();
    whole.resize(like.len(), 0);
    for (n, piece) in pieces.iter().enumerate() {
        let (at, field) = if v4 { (20, 6) } else { (48, 42) };
        let field = u16::from_be_bytes([piece[field], piece[field + 1]]);
        let (offset, more) = if v4 {
            (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0)
        } else {
            (usize::from(field & !7), field & 1 != 0)
        };
        assert_eq!(more, n + 1 < pieces.len());
        let data = &piece[at..];
        whole[header + offset..header + offset + data.len()].copy_from_slice(data);
    }
    whole
}
