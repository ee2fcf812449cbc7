//! Limits of IPsec SAs in KLIPS: that they are there, that an SA is replaced before it reaches one, and what is left when it does.

use klips::{DropReason, Inbound, Outbound};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use whack::Request;

use super::gateway::{Gateway, net_to_net};
use super::pair::Pair;
use super::strange::{east_gets, isakmp_sa, notified, starts};
use ike::wire::{ExchangeType, NotifyType};

const WEST: &str = "10.0.1.1";
const EAST: &str = "10.0.2.1";

fn count(gateway: &Gateway, part: &str) -> usize {
    gateway.log.iter().filter(|l| l.contains(part)).count()
}

fn with_esp(esp: &str) -> whack::Connection {
    let mut conn = net_to_net("net-to-net");
    conn.esp = Some(esp.into());
    conn
}

fn up(conn: whack::Connection) -> Pair {
    let mut pair = Pair::with(conn);
    assert_eq!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    pair
}

const WORN: &str = "IPsec SA is about to expire (KLIPS says so)";
const EXPIRED: &str = "IPsec SA expired (KLIPS says so)";

#[test]
fn c9_every_sa_of_pluto_has_limits_in_klips() {
    for (esp, bytes, packets) in [
        ("aes128-sha1", ["", ""], "packets("),
        ("3des-sha1", ["4194304", "6291456"], "packets("),
    ] {
        let pair = up(with_esp(esp));
        for (gateway, soft, first) in [
            (&pair.west, bytes[0], "2147483647,4294967294)"),
            (&pair.east, bytes[1], "3221225469,4294967294)"),
        ] {
            let sas = gateway.esp();
            assert_eq!(sas.len(), 2);
            for sa in sas {
                assert!(sa.contains("addtime(0,0,28920)"), "{sa}");
                assert!(sa.contains(packets) && sa.contains(first), "{sa}");
                let volume = format!("bytes(0,{soft},8388608)");
                assert_eq!(sa.contains(&volume), !soft.is_empty(), "{sa}");
            }
        }
    }
}

/// Nobody tells KLIPS to end them.
#[test]
fn c9_sas_end_and_nothing_goes_in_the_clear_when_pluto_does_nothing() {
    let mut pair = up(net_to_net("net-to-net"));
    let (first, eroutes) = (pair.west.esp(), pair.west.eroutes());
    pair.west.now += std::time::Duration::from_secs(28_800 + 121);
    pair.east.now = pair.west.now;
    assert_eq!(pair.west.eroutes(), eroutes);
    // It wakes, and hears of it.
    let verdict = pair.west.send(WEST, EAST);
    assert_eq!(verdict, Outbound::Drop(DropReason::Expired));
    assert_eq!(count(&pair.west, EXPIRED), 1, "{:?}", pair.west.log);
    for _ in 0..5 {
        let verdict = pair.west.send(WEST, EAST);
        assert!(
            matches!(verdict, Outbound::Held | Outbound::Drop(_)),
            "{verdict:?}"
        );
    }
    pair.east.kernel_ages();
    pair.settle();
    pair.sleep(5);
    pair.carries(EAST, WEST);
    assert!(pair.west.esp().iter().all(|sa| sa[..13] != first[0][..13]));
}

/// Sends by west or east until KLIPS has asked for a successor.
fn wear(pair: &mut Pair, by_west: bool) -> usize {
    for n in 1.. {
        let (gateway, src, dst) = if by_west {
            (&mut pair.west, WEST, EAST)
        } else {
            (&mut pair.east, EAST, WEST)
        };
        let verdict = gateway.send_octets(src, dst, 1400);
        assert!(matches!(verdict, Outbound::Transmit { .. }), "{verdict:?}");
        if count(gateway, WORN) > 0 {
            return n;
        }
        assert!(n < 8000, "never");
    }
    0
}

#[test]
fn c9_an_sa_of_3des_is_replaced_before_its_end() {
    for by_west in [true, false] {
        let mut pair = up(with_esp("3des-sha1"));
        let old = pair.west.eroutes();
        let sent = wear(&mut pair, by_west);
        // The inner packet and the tunnel's header.
        let soft = if by_west { 4 << 20 } else { 6 << 20 };
        assert!(sent * 1440 > soft && (sent - 2) * 1440 <= soft, "{sent}");
        pair.settle();
        assert_ne!(pair.west.eroutes(), old);
        assert_eq!(pair.west.esp().len(), 4);
        pair.carries(EAST, WEST);
        assert_eq!(count(&pair.west, WORN) + count(&pair.east, WORN), 1);
        // What was replaced goes soon, and both ends know.
        pair.sleep(40);
        assert_eq!((pair.west.esp().len(), pair.east.esp().len()), (2, 2));
        pair.carries(EAST, WEST);
        let states = pair
            .west
            .status_text()
            .matches("IPsec SA established")
            .count();
        assert_eq!(states, 1);
    }
}

/// Carries out one of the things that wait at one of the gateways, or sends a packet and its answer; in whatever order `rng` says.
fn one_step(pair: &mut Pair, rng: &mut StdRng) {
    match rng.next_u32() % 8 {
        0 => drop(pair.west.kernel_step()),
        1 => drop(pair.east.kernel_step()),
        2 if !pair.west.held.is_empty() => pair.west.finish_job(),
        3 if !pair.east.held.is_empty() => pair.east.finish_job(),
        4 => pair.carry_one(true),
        5 => pair.carry_one(false),
        6 => ping_pong(pair, true),
        _ => ping_pong(pair, false),
    }
}

/// A packet of 48 kB to the other end, which answers with another.
fn ping_pong(pair: &mut Pair, by_west: bool) {
    for from_west in [by_west, !by_west] {
        let (sender, receiver, src, dst) = if from_west {
            (&mut pair.west, &mut pair.east, WEST, EAST)
        } else {
            (&mut pair.east, &mut pair.west, EAST, WEST)
        };
        let Some(sealed) = sender.sealed_octets(src, dst, 48 << 10) else {
            return;
        };
        if !matches!(receiver.receive_told(&sealed), Inbound::Deliver { .. }) {
            return;
        }
    }
}

/// SAs wear out at both ends while messages, computations and the kernel's answers come in any order: the tunnel is whole afterwards.
#[test]
fn c9_a_successor_carries_in_whatever_order_it_comes() {
    let seeds = std::env::var("WEAR_SEEDS").map_or(1, |n| n.parse().expect("a number"));
    for seed in 0..seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pair = up(with_esp("3des-sha1"));
        for gateway in [&mut pair.west, &mut pair.east] {
            gateway.kernel_waits = true;
            gateway.hold = |_| true;
        }
        for _ in 0..1500 {
            one_step(&mut pair, &mut rng);
        }
        for gateway in [&mut pair.west, &mut pair.east] {
            gateway.kernel_waits = false;
            gateway.hold = |_| false;
        }
        pair.finish_all();
        for seconds in 0..30 {
            let (sent, _) = (pair.west.send(WEST, EAST), pair.east.send(EAST, WEST));
            if matches!(sent, Outbound::Transmit { .. }) && pair.is_whole(EAST, WEST) {
                break;
            }
            assert!(
                seconds < 20,
                "seed {seed}: {sent:?}\n{:?}\n{:?}\n{:#?}\n{:?}\n{:?}\n{:#?}",
                pair.west.eroutes(),
                pair.west.sas(),
                pair.west.log,
                pair.east.eroutes(),
                pair.east.sas(),
                pair.east.log
            );
            pair.sleep(1);
        }
    }
}

/// Without a peer there is no successor: the SA carries what it may, and no more.
#[test]
fn c9_an_sa_of_3des_ends_where_nobody_answers() {
    let mut pair = up(with_esp("3des-sha1"));
    pair.cut = true;
    let mut sent = wear(&mut pair, true);
    let refused = loop {
        match pair.west.send_octets(WEST, EAST, 1400) {
            Outbound::Transmit { .. } => sent += 1,
            other => break other,
        }
    };
    assert_eq!(refused, Outbound::Drop(DropReason::Expired));
    assert!(
        sent * 1440 > 8 << 20 && (sent - 2) * 1440 <= 8 << 20,
        "{sent}"
    );
    assert_eq!(count(&pair.west, "initiating Quick Mode"), 2);
    let verdict = pair.west.send(WEST, EAST);
    assert!(
        matches!(verdict, Outbound::Held | Outbound::Drop(_)),
        "{verdict:?}"
    );
    pair.cut = false;
    pair.sleep(60);
    pair.carries(EAST, WEST);
}

/// West's first message of Quick Mode, opened.
fn quick_mode(conn: whack::Connection) -> (Pair, Message, Vec<u8>) {
    let mut pair = Pair::new();
    assert_eq!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    pair.add(conn);
    pair.west.ask(Request::Initiate {
        name: "other".into(),
        asynchronous: false,
    });
    let qi1 = pair.west.sent.pop().expect("QI1");
    let chain = isakmp_sa(&pair.west).open(&qi1.2).expect("ours").1;
    (pair, qi1, chain)
}

type Message = (std::net::SocketAddr, std::net::SocketAddr, Vec<u8>);

fn other(change: impl FnOnce(&mut whack::Connection)) -> whack::Connection {
    let mut conn = net_to_net("other");
    conn.left.client = Some(super::gateway::net("10.0.3.0/24"));
    change(&mut conn);
    conn
}

/// East gets the message with another SA payload; what it sends upon it.
fn east_gets_changed(pair: &mut Pair, qi1: &Message, chain: &[u8]) -> Vec<Vec<u8>> {
    let sa = isakmp_sa(&pair.west);
    let first = sa.open(&qi1.2).expect("ours").0;
    let changed = sa.seal((ExchangeType::QUICK_MODE, 4711), first, chain);
    east_gets(pair, qi1, &changed)
}

/// Replaces all `from` in the SA payload, which are to be there.
fn replace_in_sa(chain: &mut [u8], from: &[u8], to: &[u8]) {
    let end = starts(chain)[1];
    let mut found = 0;
    for at in 0..end - from.len() {
        if chain[at..].starts_with(from) {
            chain[at..at + to.len()].copy_from_slice(to);
            found += 1;
        }
    }
    assert!(found > 0, "{chain:02x?}");
}

#[test]
fn g15_kilobytes_that_the_peer_offers_are_limits_in_klips() {
    let (mut pair, qi1, mut chain) =
        quick_mode(other(|conn| conn.esp = Some("aes128-sha1".into())));
    // Life type: kilobytes instead of seconds; the duration is 28800.
    replace_in_sa(&mut chain, &[0x80, 1, 0, 1], &[0x80, 1, 0, 2]);
    let before = pair.east.esp();
    assert_eq!(east_gets_changed(&mut pair, &qi1, &chain).len(), 1);
    let new = pair.east.esp();
    let new: Vec<_> = new
        .iter()
        .filter(|sa| !before.iter().any(|old| old[..20] == sa[..20]))
        .collect();
    assert_eq!(new.len(), 1, "{new:?}");
    let bytes = 28_800 * 1024;
    let limits = format!("bytes(0,{},{bytes})", bytes / 4 * 3);
    assert!(new[0].contains(&limits), "{}", new[0]);
}

#[test]
fn g6_a_well_known_cpi_is_refused_before_it_is_too_late() {
    let compressed = || other(|conn| conn.policy.compress = true);
    for cpi in [[0u8, 2], [0, 0], [0, 1], [0, 255], [0xf0, 0], [0xff, 0xff]] {
        let (mut pair, qi1, mut chain) = quick_mode(compressed());
        let own = cpi_at(&chain);
        chain[own..own + 2].copy_from_slice(&cpi);
        // The offer without compression, which comes next, is taken.
        let sent = east_gets_changed(&mut pair, &qi1, &chain);
        assert_eq!(sent.len(), 1, "{cpi:?}: {:?}", pair.east.log);
        assert_eq!(count(&pair.east, "KLIPS refused"), 0, "{:?}", pair.east.log);
        assert!(!pair.east.sas().iter().any(|sa| sa.starts_with("comp")));
        assert!(pair.east.esp().len() > 2, "{:?}", pair.east.log);
    }
    // One that is for negotiation is taken with compression.
    let (mut pair, qi1, chain) = quick_mode(compressed());
    east_gets_changed(&mut pair, &qi1, &chain);
    assert!(pair.east.sas().iter().any(|sa| sa.starts_with("comp")));
    // Where there is no other offer, the peer hears no.
    let (mut pair, qi1, mut chain) = quick_mode(compressed());
    let own = cpi_at(&chain);
    chain[own..own + 2].copy_from_slice(&[0, 2]);
    only_first_proposal(&mut chain);
    let sa = isakmp_sa(&pair.west);
    let sent = east_gets_changed(&mut pair, &qi1, &chain);
    assert_eq!(notified(&sa, &sent), NotifyType::NO_PROPOSAL_CHOSEN);
    assert_eq!(
        count(&pair.east, "CPI 0x2 of IPCOMP is not for negotiation"),
        1,
        "{:?}",
        pair.east.log
    );
}

/// Where the CPI of the first IPCOMP proposal is: behind number, protocol, SPI length and number of transforms.
fn cpi_at(chain: &[u8]) -> usize {
    let all = proposals(chain);
    let ipcomp = all
        .into_iter()
        .find(|at| chain[at + 5] == 4)
        .expect("IPCOMP");
    assert_eq!(chain[ipcomp + 6], 2, "a CPI of two octets");
    ipcomp + 8
}

/// Where the proposals of the SA payload begin.
fn proposals(chain: &[u8]) -> Vec<usize> {
    let mut found = vec![12];
    loop {
        let at = *found.last().unwrap();
        if chain[at] == 0 {
            return found;
        }
        found.push(at + usize::from(u16::from_be_bytes([chain[at + 2], chain[at + 3]])));
    }
}

/// Takes out all proposals but those that have the first one's number.
fn only_first_proposal(chain: &mut Vec<u8>) {
    let all = proposals(chain);
    let number = chain[all[0] + 4];
    let others = all
        .iter()
        .position(|at| chain[at + 4] != number)
        .expect("an alternative");
    let (end, cut) = (starts(chain)[1], all[others]);
    chain[all[others - 1]] = 0;
    chain.drain(cut..end);
    chain[2..4].copy_from_slice(&(cut as u16).to_be_bytes());
}
