//! Packets and PF_KEY messages, each bit and many lengths of them wrong: the core must refuse or take them, never panic, and
//! never let through what is not authentic.

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaProto};
use klips::{Home, Inbound, Mac};
use klipsd::home::UserHome;
use pfkey::request;
use pfkey::{MAX_MESSAGE_LEN, SaFlags, SaType};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// No bit of an authentic tunnel packet can be changed so that another inner packet comes out.
#[test]
fn every_bit_of_esp() {
    let (mut east, mut west) = tunnel_pair();
    let packet = udp("192.0.2.1", "192.0.1.1", (1, 2), 40);
    let sealed = east.sealed(&packet);
    for bit in 0..sealed.len() * 8 {
        let mut forged = sealed.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        // ESP speaks for itself only, not for the outer header (RFC 4303 section 1).
        if bit / 8 >= 20 {
            assert!(
                matches!(west.receive(&forged).0, Inbound::Drop(_)),
                "bit {bit}"
            );
        }
    }
    for len in 0..sealed.len() {
        assert!(
            matches!(west.receive(&sealed[..len]).0, Inbound::Drop(_)),
            "length {len}"
        );
    }
    assert_eq!(
        west.opened(&sealed),
        packet,
        "and the window was not moved by forgeries"
    );
}

/// Puts the right authenticator to a changed packet of the fuzzers' NULL cipher with SHA2-256.
fn authenticate_anew(packet: &mut [u8], key: &[u8]) {
    let Some(end) = packet.len().checked_sub(16).filter(|end| *end > 20) else {
        return;
    };
    let row = klips::transform::authentication(AuthAlg::SHA2_256_HMAC.0).expect("known");
    let mut mac = [0; klips::home::MAX_MAC];
    let keyed = UserHome.mac(row, key).expect("a key");
    keyed.mac(&[&packet[20..end]], &mut mac).expect("a MAC");
    packet[end..].copy_from_slice(&mac[..16]);
}

/// One seed is authenticated anew once it is changed, so that changes reach padding, IPCOMP and the inner header.
#[test]
fn mutated_packets_do_not_panic() {
    let mut klips = klips::fuzz::host(&UserHome).expect("memory");
    let mut east = Host::new(&["192.0.2.1"]);
    let (src, dst) = ("192.0.2.1", "192.0.2.2");
    let mut seeds = vec![udp("10.0.0.1", "10.0.0.2", (5, 6), 100)];
    let flow = flow("192.0.2.1/32", "192.0.2.2/32");
    let key = *b"0123456789abcdefghijklmnopqrstuv";
    for sa in [
        esp(
            said(SaProto::Esp, 0x1007, dst),
            src,
            EncAlg::NULL,
            &[],
            AuthAlg::SHA2_256_HMAC,
            &key,
        ),
        ah(
            said(SaProto::Ah, 0x1003, dst),
            src,
            AuthAlg::SHA1_HMAC,
            &key[..20],
        ),
    ] {
        east.add(&sa);
        east.replace_eroute(&flow, sa.said);
        seeds.push(east.sealed(&udp(src, dst, (5, 6), 200)));
    }
    let inside = udp(src, dst, (5, 6), 200);
    seeds.push(compressed(src, dst, 0x1004, 17, &inside[20..]));
    let mut random = Random(42);
    for round in 0..20_000 {
        let mut packet = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(packet.len());
            packet[at] = random.below(256) as u8;
        }
        if random.below(4) == 0 {
            packet.truncate(random.below(packet.len()));
        }
        if round % seeds.len() == 1 {
            authenticate_anew(&mut packet, &key);
        }
        klips::fuzz::packets(&UserHome, &mut klips, &packet);
    }
}

#[test]
fn mutated_requests_do_not_panic() {
    let mut klips = klips::fuzz::host(&UserHome).expect("memory");
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let (src, dst) = (a("192.0.2.1"), "192.0.2.2");
    let id = said(SaProto::Esp, 0x2000, dst);
    let sa = esp(
        id,
        "192.0.2.1",
        EncAlg::AES_CBC,
        &AES_KEY,
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    );
    let nets = flow("10.0.0.0/8", "10.1.0.0/16");
    let range = (ipsec_types::Spi(0x100), ipsec_types::Spi(0x1ff));
    let b = &mut buffer;
    let messages: Vec<Vec<u8>> = vec![
        request::add(b, IDS, &sa).expect("built").to_vec(),
        request::update(b, IDS, &sa).expect("built").to_vec(),
        request::delete(b, IDS, &id, None).expect("built").to_vec(),
        request::get(b, IDS, &id, None).expect("built").to_vec(),
        request::get_spi(b, IDS, SaProto::Esp, src, a(dst), range)
            .expect("built")
            .to_vec(),
        request::group(b, IDS, &said(SaProto::IpIp, 0x1000, dst), Some(&id))
            .expect("built")
            .to_vec(),
        request::group(b, IDS, &id, None).expect("built").to_vec(),
        request::add_flow(b, IDS, &nets, id, SaFlags::REPLACEFLOW)
            .expect("built")
            .to_vec(),
        request::set_inflow(b, IDS, &nets, id)
            .expect("built")
            .to_vec(),
        request::del_flow(b, IDS, &nets).expect("built").to_vec(),
        request::clear_flows(b, IDS).expect("built").to_vec(),
        request::register(b, IDS, SaType::Esp)
            .expect("built")
            .to_vec(),
        request::dump(b, IDS, SaType::Unspec)
            .expect("built")
            .to_vec(),
        request::flush(b, IDS, SaType::Comp)
            .expect("built")
            .to_vec(),
    ];
    let mut random = Random(7);
    for round in 0..15_000 {
        let mut message = messages[random.below(messages.len())].clone();
        if round % 4 != 0 {
            for _ in 0..=random.below(3) {
                let at = random.below(message.len());
                message[at] = random.below(256) as u8;
            }
        }
        klips::fuzz::pfkey(&UserHome, &mut klips, &message);
    }
    assert!(klips.sadb().larvals() <= klips::MAX_LARVAL);
}
