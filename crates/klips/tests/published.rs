//! ESP packets that RFCs and drafts print, and sequence numbers of 64 bits.

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto};
use klips::{DropReason, Inbound, Outbound};
use pfkey::request::{self, SaParams};
use pfkey::{Message, MsgType, SaFlags, SaType};

struct Published {
    src: &'static str,
    enc: EncAlg,
    key: &'static str,
    id: SaId,
    tunnel: bool,
    plain: String,
    sealed: &'static str,
}

impl Published {
    fn check(&self) {
        let key = hex::decode(self.key).expect("hex");
        let dst = self.id.dst.to_string();
        let mut host = Host::new(&[&dst]);
        let mut sa = esp(self.id, self.src, self.enc, &key, AuthAlg::NONE, &[]);
        sa.replay = 0;
        let mut group = vec![sa];
        if self.tunnel {
            group.insert(0, tun(said(SaProto::IpIp, 0x300, &dst), self.src));
        }
        host.add_group(&group);
        let sealed = hex::decode(self.sealed.replace(' ', "")).expect("hex");
        assert_eq!(hex::encode(host.opened(&sealed)), self.plain);
    }
}

/// RFC 7634 appendix A: ChaCha20-Poly1305 in tunnel mode.
#[test]
fn rfc_7634_packet() {
    let pattern: String = (8..0x38).map(|n| format!("{n:02x}")).collect();
    let case = Published {
        src: "203.0.113.153",
        enc: EncAlg::CHACHA20_POLY1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3",
        id: said(SaProto::Esp, 0x0102_0304, "203.0.113.5"),
        tunnel: true,
        plain: format!(
            "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec1000073627{pattern}"
        ),
        sealed: "4500008c2345000040 32de5bcb007199cb007105 0102030400000005 1011121314151617 \
                 24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7\
                 2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0\
                 76aaa8266b7fb0f7b11b369907e1ad43",
    };
    case.check();
}

/// draft-mcgrew-gcm-test-01 section 4: the published payloads in packets made around them; the first has ESN.
#[test]
fn gcm_test_packets() {
    struct Case<'a> {
        spi: u32,
        sequence: [&'a str; 2],
        key: &'a str,
        iv: &'a str,
        plain: &'a str,
        sealed: &'a str,
    }
    let cases = [
        Case {
            spi: 0x4321,
            sequence: ["87654321", "00000000"],
            key: "4c80cdefbb5d10da906ac73c3613a6342e443b68",
            iv: "4956ed7e3b244cfe",
            plain: "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f7564700373\
                    69700963796265726369747902646b0000210001",
            sealed: "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d\
                     15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
        },
        Case {
            spi: 0xa5f8,
            sequence: ["", "0000000a"],
            key: "feffe9928665731c6d6a8f9467308308cafebabe",
            iv: "facedbaddecaf888",
            plain: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000000000000373697009637962\
                    65726369747902646b0000010001",
            sealed: "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642\
                     cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a",
        },
    ];
    for case in cases {
        let key = hex::decode(case.key).expect("hex");
        let esn = !case.sequence[0].is_empty();
        let dst = "192.0.2.2";
        let sa = SaParams {
            flags: if esn { SaFlags::ESN } else { SaFlags::NONE },
            ..esp(
                said(SaProto::Esp, case.spi, dst),
                "192.0.2.1",
                EncAlg::AES_GCM_16,
                &key,
                AuthAlg::NONE,
                &[],
            )
        };
        let mut host = Host::new(&[dst]);
        host.add(&sa);
        if esn {
            // The upper half of the number, 0x87654321, is what the window makes of it.
            let high = u64::from_str_radix(case.sequence[0], 16).expect("hex");
            resume(&host, sa.said, (high << 32) - 1);
        }
        let payload = format!(
            "{:08x}{}{}{}",
            case.spi, case.sequence[1], case.iv, case.sealed
        );
        let payload = hex::decode(payload).expect("hex");
        let mut packet = vec![0; 20 + payload.len()];
        klips::packet::ip::emit(&mut packet, a("192.0.2.1"), a(dst), 50, 0, 63, 1);
        packet[20..].copy_from_slice(&payload);
        // The draft's trailers say that ICMP is inside, though it is an IP packet.
        let inner = host.opened(&packet);
        assert_eq!(
            (inner[9], hex::encode(&inner[20..])),
            (1, case.plain.into())
        );
        assert_eq!(host.receive(&packet).0, Inbound::Drop(DropReason::Replay));
    }
}

/// Two hosts with one SA of transport mode from the first to the second.
fn pair(sa: &SaParams<'_>) -> [Host; 2] {
    let mut hosts = [Host::new(&["192.0.2.1"]), Host::new(&["192.0.2.2"])];
    hosts.iter_mut().for_each(|host| host.add(sa));
    hosts[0].eroute(&flow("192.0.2.1/32", "192.0.2.2/32"), sa.said);
    hosts
}

fn resume(host: &Host, said: SaId, sequence: u64) {
    host.klips
        .sadb()
        .get(&said)
        .expect("there")
        .resume(sequence);
}

fn kinds<'k>() -> Vec<SaParams<'k>> {
    let dst = "192.0.2.2";
    let id = said(SaProto::Esp, 0x302, dst);
    vec![
        esp(
            id,
            "192.0.2.1",
            EncAlg::AES_GCM_16,
            &LONG_KEY[..20],
            AuthAlg::NONE,
            &[],
        ),
        esp(
            id,
            "192.0.2.1",
            EncAlg::AES_CBC,
            &AES_KEY,
            AuthAlg::SHA2_256_HMAC,
            &LONG_KEY[..32],
        ),
        esp(
            id,
            "192.0.2.1",
            EncAlg::AES_CTR,
            &LONG_KEY[..20],
            AuthAlg::AES_CMAC,
            &LONG_KEY[..16],
        ),
        ah(
            said(SaProto::Ah, 0x303, dst),
            "192.0.2.1",
            AuthAlg::SHA1_HMAC,
            &SHA1_KEY,
        ),
    ]
}

/// Only the lower half is sent; the upper one is authenticated, and found again by the receiver across the turn.
#[test]
fn esn_goes_over_the_turn() {
    for plain in kinds() {
        let sa = SaParams {
            flags: SaFlags::ESN,
            ..plain
        };
        let [mut east, mut west] = pair(&sa);
        let turn = 1 << 32;
        for host in [&east, &west] {
            resume(host, sa.said, turn - 3);
        }
        let packet = udp("192.0.2.1", "192.0.2.2", (1, 2), 100);
        let sealed: Vec<_> = (0..6).map(|_| east.sealed(&packet)).collect();
        let at = if sa.said.proto == SaProto::Ah { 28 } else { 24 };
        let numbers = sealed
            .iter()
            .map(|p| u32::from_be_bytes(p[at..at + 4].try_into().expect("four")));
        assert_eq!(
            numbers.collect::<Vec<_>>(),
            [u32::MAX - 1, u32::MAX, 0, 1, 2, 3]
        );
        // Out of order over the turn, and none twice.
        for n in [3, 1, 0, 5, 2, 4] {
            assert_eq!(west.opened(&sealed[n]), packet, "packet {n} of {}", sa.said);
        }
        for (n, again) in sealed.iter().enumerate() {
            assert_eq!(
                west.receive(again).0,
                Inbound::Drop(DropReason::Replay),
                "packet {n}"
            );
        }
        assert_eq!(
            west.klips
                .sadb()
                .get(&sa.said)
                .expect("there")
                .last_sequence(),
            turn + 3
        );

        // A receiver one turn behind takes another upper half, so the authenticator is wrong.
        let [mut ahead, mut behind] = pair(&sa);
        resume(&ahead, sa.said, 5 * turn);
        resume(&behind, sa.said, 4 * turn);
        let sealed = ahead.sealed(&packet);
        assert_eq!(
            behind.receive(&sealed).0,
            Inbound::Drop(DropReason::BadAuthenticator)
        );
        // And one without ESN has no upper half at all.
        let [_, mut without] = pair(&plain);
        assert_eq!(
            without.receive(&sealed).0,
            Inbound::Drop(DropReason::BadAuthenticator)
        );
    }
}

/// Without ESN the number never comes round: EXPIRE asks for a new SA long before, and kills it at the end.
#[test]
fn an_sa_without_esn_ends_with_its_numbers() {
    for sa in kinds() {
        let [mut east, mut west] = pair(&sa);
        let satype = SaType::from(sa.said.proto);
        east.register(satype);
        east.out.messages.clear();
        let expired = |host: &mut Host| -> Vec<bool> {
            let messages = std::mem::take(&mut host.out.messages);
            let parsed = messages
                .iter()
                .map(|(_, bytes)| Message::reply(bytes).expect("well formed"));
            parsed
                .filter(|m| m.msg_type() == MsgType::Expire)
                .map(|m| m.lifetime_hard().is_some())
                .collect()
        };
        let packet = udp("192.0.2.1", "192.0.2.2", (1, 2), 100);
        let last = u64::from(u32::MAX);
        resume(&east, sa.said, last - (1 << 28) - 1);
        east.sealed(&packet);
        assert_eq!(expired(&mut east), []);
        east.sealed(&packet);
        east.sealed(&packet);
        assert_eq!(expired(&mut east), [false], "asked for once: {}", sa.said);
        resume(&east, sa.said, last - 1);
        let sealed = east.sealed(&packet);
        west.opened(&sealed);
        assert_eq!(
            west.klips
                .sadb()
                .get(&sa.said)
                .expect("there")
                .last_sequence(),
            last
        );
        assert_eq!(
            east.send(&packet).0,
            Outbound::Drop(DropReason::SequenceWrapped)
        );
        assert_eq!(expired(&mut east), [true]);
        assert_eq!(east.send(&packet).0, Outbound::Drop(DropReason::SaNotReady));
        east.tick();
        assert!(east.klips.sadb().get(&sa.said).is_none());
    }
}

/// No IV of counter mode comes twice under a key: not in an SA, not when it is updated, and hardly in one with the same key.
#[test]
fn ivs_of_counter_modes_are_used_once() {
    for sa in [kinds()[0], kinds()[2]] {
        let mut seen = std::collections::HashSet::new();
        let packet = udp("192.0.2.1", "192.0.2.2", (1, 2), 10);
        for _ in 0..3 {
            let [mut east, _] = pair(&sa);
            for round in 0..2 {
                for _ in 0..50 {
                    let sealed = east.sealed(&packet);
                    assert!(seen.insert(sealed[28..36].to_vec()), "an IV came twice");
                }
                if round == 0 {
                    east.ok(|b| request::update(b, IDS, &sa));
                }
            }
        }
    }
}
