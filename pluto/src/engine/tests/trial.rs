//! Peers that delete an ISAKMP SA and have dropped the IPsec SAs too, or kept them, and the tunnels between us.

use whack::{Dpd, DpdAction, Request};

use super::gateway::{Gateway, net_to_net};
use super::pair::Pair;

const NAME: &str = "net-to-net";

fn established(description: whack::Connection) -> Pair {
    let mut pair = Pair::with(description);
    assert_eq!(pair.up(NAME), 0, "{:?}", pair.west.said);
    pair.carries("10.0.2.1", "10.0.1.1");
    pair
}

fn states(gateway: &Gateway) -> (u64, u64) {
    let live = &gateway.engine.connections().get(gateway.id(NAME)).unwrap();
    let number = |state: Option<crate::engine::StateId>| state.map_or(0, |state| state.0);
    (
        number(live.live.newest_isakmp),
        number(live.live.newest_ipsec),
    )
}

/// East's IPsec SAs go without a word.
fn drops_ipsec(gateway: &mut Gateway) {
    let number = states(gateway).1;
    gateway.ask(Request::DeleteState { number });
    gateway.sent.clear();
    assert!(gateway.sas().is_empty());
}

fn deletes_isakmp(pair: &mut Pair) {
    let number = states(&pair.east).0;
    pair.east.ask(Request::DeleteState { number });
    pair.settle();
    assert_eq!(states(&pair.west).0, 0, "{:?}", pair.west.log);
}

/// West sends a packet a second, which nobody answers; whether the tunnel is whole then.
fn sends(pair: &mut Pair, seconds: u64) -> bool {
    for _ in 0..seconds {
        pair.sleep(1);
        pair.west.send("10.0.1.1", "10.0.2.1");
        pair.settle();
    }
    let (_, ipsec) = states(&pair.east);
    ipsec != 0 && pair.east.sas().len() == 4
}

fn count(gateway: &Gateway, part: &str) -> usize {
    gateway.log.iter().filter(|l| l.contains(part)).count()
}

#[test]
fn g12_a_peer_that_dropped_its_ipsec_sas_and_deletes_the_isakmp_sa_is_met_anew() {
    let mut pair = established(net_to_net(NAME));
    drops_ipsec(&mut pair.east);
    deletes_isakmp(&mut pair);
    assert!(sends(&mut pair, 30), "{:?}", pair.west.log);
    pair.carries("10.0.2.1", "10.0.1.1");
    assert_eq!(count(&pair.west, "initiating Quick Mode"), 2);
}

/// An idle tunnel is left alone until somebody uses it.
#[test]
fn g12_after_hours_too() {
    let mut pair = established(net_to_net(NAME));
    drops_ipsec(&mut pair.east);
    deletes_isakmp(&mut pair);
    let before = pair.datagrams;
    pair.sleep(3000);
    assert_eq!(pair.datagrams, before, "{:?}", pair.west.log);
    assert!(sends(&mut pair, 45), "{:?}", pair.west.log);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn g12_a_peer_that_kept_its_ipsec_sas_is_left_alone() {
    let mut pair = established(net_to_net(NAME));
    deletes_isakmp(&mut pair);
    let before = pair.datagrams;
    for _ in 0..120 {
        pair.sleep(1);
        pair.carries("10.0.2.1", "10.0.1.1");
    }
    // Acquitted: one-way traffic from here on is nothing new.
    for _ in 0..120 {
        pair.sleep(1);
        pair.west.send("10.0.1.1", "10.0.2.1");
    }
    assert_eq!(pair.datagrams, before, "{:?}", pair.west.log);
}

/// Traffic in one direction can't acquit: new SAs are made, once, and no more are asked for by it.
#[test]
fn g12_one_way_traffic_costs_one_quick_mode() {
    let mut pair = established(net_to_net(NAME));
    deletes_isakmp(&mut pair);
    for _ in 0..600 {
        pair.sleep(1);
        let sealed = pair.west.sealed("10.0.1.1", "10.0.2.1");
        pair.east.receive(&sealed);
    }
    assert_eq!(count(&pair.west, "initiating Quick Mode"), 2);
    pair.carries("10.0.2.1", "10.0.1.1");
}

/// Who does not come back is gone: what was sent to it in vain is held for it, or as the failure shunt says.
#[test]
fn g12_a_peer_that_does_not_answer_either_leaves_a_trap() {
    let mut description = net_to_net(NAME);
    description.lifetimes.keying_tries = 1;
    let mut pair = established(description);
    drops_ipsec(&mut pair.east);
    deletes_isakmp(&mut pair);
    pair.cut = true;
    sends(&mut pair, 120);
    let eroutes = pair.west.eroutes();
    assert!(
        eroutes.len() == 1 && !eroutes[0].contains("tun0x"),
        "{eroutes:?} {:?}",
        pair.west.log
    );
    assert!(pair.west.sas().is_empty());
    pair.cut = false;
    pair.west.send("10.0.1.1", "10.0.2.1");
    sends(&mut pair, 90);
    pair.carries("10.0.2.1", "10.0.1.1");
}

fn watched() -> whack::Connection {
    let mut description = net_to_net(NAME);
    description.dpd = Dpd {
        delay: 10,
        timeout: 30,
        action: DpdAction::Restart,
    };
    description
}

/// The peer answers R-U-THERE, and what is sent into the tunnel is lost.
#[test]
fn g12_dpd_judges_the_tunnel_and_not_the_isakmp_sa() {
    let mut pair = established(watched());
    drops_ipsec(&mut pair.east);
    assert!(sends(&mut pair, 70), "{:?}", pair.west.log);
    pair.carries("10.0.2.1", "10.0.1.1");
    assert_eq!(count(&pair.west, "DPD: no response"), 0);
    assert_eq!(count(&pair.west, "initiating Main Mode"), 1);
}

/// With a peer that is there, traffic in one direction has SAs made anew more and more rarely.
#[test]
fn g12_dpd_and_traffic_in_one_direction() {
    let mut pair = established(watched());
    for _ in 0..3600 {
        pair.sleep(1);
        let sealed = pair.west.sealed("10.0.1.1", "10.0.2.1");
        pair.east.receive(&sealed);
    }
    let anew = count(&pair.west, "initiating Quick Mode") - 1;
    assert!((1..=7).contains(&anew), "{anew}");
    pair.carries("10.0.2.1", "10.0.1.1");
    pair.sleep(20);
    pair.carries("10.0.2.1", "10.0.1.1");
    let before = count(&pair.west, "initiating Quick Mode");
    for _ in 0..300 {
        pair.sleep(1);
        pair.carries("10.0.2.1", "10.0.1.1");
    }
    assert_eq!(count(&pair.west, "initiating Quick Mode"), before);
}
