//! Sequence numbers that are set aside for a batch: the plan names the SAs that the packet will pass, and no other number is taken.

mod common;

use common::*;
use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, SaProto};
use klips::{Context, Outbound, Packet};
use klipsd::home::{Pending, UserHome};
use pfkey::NatT;
use pfkey::request::SaParams;

const HERE: &str = "192.1.2.23";
const THERE: &str = "192.1.2.45";
const FAR: &str = "192.1.9.9";

fn esp_to(spi: u32, dst: &str) -> SaParams<'static> {
    esp(
        said(SaProto::Esp, spi, dst),
        HERE,
        EncAlg::AES_CBC,
        &AES_KEY[..16],
        AuthAlg::SHA1_HMAC,
        &SHA1_KEY,
    )
}

fn ah_to(spi: u32, dst: &str) -> SaParams<'static> {
    let id = said(SaProto::Ah, spi, dst);
    ah(id, HERE, AuthAlg::SHA1_HMAC, &SHA1_KEY)
}

fn tun_to(spi: u32, dst: &str) -> SaParams<'static> {
    tun(said(SaProto::IpIp, spi, dst), HERE)
}

/// A name, the groups with the flow that each is for, and a packet.
type Case = (
    &'static str,
    Vec<(&'static str, &'static str, Vec<SaParams<'static>>)>,
    Vec<u8>,
);

fn cases() -> Vec<Case> {
    let in_udp = |spi, port| SaParams {
        nat_t: Some(NatT {
            kind: NatT::ESP_IN_UDP,
            sport: 4500,
            dport: port,
            oa: None,
        }),
        ..esp_to(spi, THERE)
    };
    let inner = || udp("192.0.2.1", "192.0.1.1", (1, 2), 900);
    let own = || udp(HERE, THERE, (1, 2), 900);
    let (nets, hosts) = (
        ("192.0.2.0/24", "192.0.1.0/24"),
        ("192.1.2.23/32", "192.1.2.45/32"),
    );
    let far = ("192.1.2.23/32", "192.1.2.45/32");
    let compressed = || comp(said(SaProto::Comp, 0x1003, THERE), HERE);
    vec![
        (
            "a tunnel",
            vec![(
                nets.0,
                nets.1,
                vec![tun_to(0x1000, THERE), esp_to(0x1001, THERE)],
            )],
            inner(),
        ),
        (
            "a tunnel with IPCOMP, ESP and AH",
            vec![(
                nets.0,
                nets.1,
                vec![
                    compressed(),
                    tun_to(0x1000, THERE),
                    esp_to(0x1001, THERE),
                    ah_to(0x1002, THERE),
                ],
            )],
            inner(),
        ),
        (
            "transport",
            vec![(
                hosts.0,
                hosts.1,
                vec![esp_to(0x1001, THERE), ah_to(0x1002, THERE)],
            )],
            own(),
        ),
        (
            "in UDP",
            vec![(
                nets.0,
                nets.1,
                vec![tun_to(0x1000, THERE), in_udp(0x1001, 61000)],
            )],
            inner(),
        ),
        (
            "a tunnel in another one",
            vec![
                (
                    nets.0,
                    nets.1,
                    vec![tun_to(0x1000, THERE), esp_to(0x1001, THERE)],
                ),
                (far.0, far.1, vec![tun_to(0x1000, FAR), esp_to(0x1001, FAR)]),
            ],
            inner(),
        ),
        (
            "in UDP, in another tunnel",
            vec![
                (
                    nets.0,
                    nets.1,
                    vec![tun_to(0x1000, THERE), in_udp(0x1001, 4500)],
                ),
                (far.0, far.1, vec![tun_to(0x1000, FAR), ah_to(0x1001, FAR)]),
            ],
            inner(),
        ),
    ]
}

fn numbered(groups: &[(&str, &str, Vec<SaParams<'_>>)]) -> Vec<SaId> {
    let all = groups.iter().flat_map(|(.., group)| group);
    all.map(|sa| sa.said)
        .filter(|id| matches!(id.proto, SaProto::Esp | SaProto::Ah))
        .collect()
}

#[test]
fn e1_a_plan_names_every_sa_that_numbers_the_packet() {
    for (name, groups, bytes) in cases() {
        let mut host = Host::new(&[HERE]);
        for (src, dst, group) in &groups {
            host.add_group(group);
            host.eroute(&flow(src, dst), group[0].said);
        }
        let ids = numbered(&groups);
        let all = |host: &Host, expected: u64| {
            for id in &ids {
                let sa = host.klips.sadb().get(id).expect("added");
                assert_eq!(sa.last_sequence(), expected, "{name}: {id}");
            }
        };
        let mut out = Pending::default();
        let mut send = |host: &Host, numbers: &mut klips::Numbers<'_, UserHome>| {
            let mut cx = Context {
                home: &UserHome,
                now: host.now,
                out: &mut out,
            };
            let mut buffer = vec![0; 4096];
            buffer[1024..1024 + bytes.len()].copy_from_slice(&bytes);
            let mut packet = Packet::new(&mut buffer, 1024, 1024 + bytes.len()).expect("room");
            let verdict = host
                .klips
                .outbound_numbered(&mut cx, device(), &mut packet, numbers);
            assert!(
                matches!(verdict, Outbound::Transmit { .. }),
                "{name}: {verdict:?}"
            );
        };
        let plan = host.klips.plan(device(), &bytes);
        let last = groups.last().expect("a group").2[0].said;
        assert_eq!(plan.towards(), Some(last.dst), "{name}");
        {
            let mut numbers = plan.reserve(3);
            all(&host, 3);
            for _ in 0..3 {
                send(&host, &mut numbers);
            }
            all(&host, 3);
            // More than were set aside: the SAs are asked.
            send(&host, &mut numbers);
            all(&host, 4);
        }
        // What is not used goes back, but not behind what others have taken meanwhile.
        {
            let mut numbers = plan.reserve(10);
            send(&host, &mut numbers);
            all(&host, 14);
        }
        all(&host, 5);
        let numbers = plan.reserve(10);
        let later = plan.reserve(1);
        drop(numbers);
        all(&host, 16);
        drop(later);
        all(&host, 15);
    }
}

#[test]
fn e1_what_is_not_numbered_waits_for_nobody() {
    let mut host = Host::new(&[HERE]);
    let group = [tun_to(0x1000, THERE), esp_to(0x1001, THERE)];
    host.add_group(&group);
    host.eroute(&flow("192.0.2.0/24", "0.0.0.0/0"), group[0].said);
    host.eroute(&flow("192.1.2.23/32", "0.0.0.0/0"), group[0].said);
    for (n, shunt) in [
        MagicSpi::Pass,
        MagicSpi::Drop,
        MagicSpi::Reject,
        MagicSpi::Trap,
        MagicSpi::Hold,
    ]
    .into_iter()
    .enumerate()
    {
        host.eroute(
            &flow("192.0.2.0/24", &format!("10.0.{n}.0/24")),
            SaId::magic(shunt),
        );
        let packet = udp("192.0.2.1", &format!("10.0.{n}.1"), (1, 2), 9);
        assert_eq!(
            host.klips.plan(device(), &packet).towards(),
            None,
            "{shunt:?}"
        );
    }
    for packet in [
        udp(HERE, THERE, (500, 500), 9),
        udp("10.9.9.9", THERE, (1, 2), 9),
        Vec::new(),
        vec![0x45; 19],
    ] {
        assert_eq!(
            host.klips.plan(device(), &packet).towards(),
            None,
            "{packet:?}"
        );
    }
    let packet = udp("192.0.2.1", "192.0.1.1", (1, 2), 9);
    assert!(host.klips.plan(device(), &packet).towards().is_some());
}
