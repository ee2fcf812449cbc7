//! Dead peers, as seen by a gateway with the real KLIPS core: asked only when idle, and each action when dead.

use klips::Inbound;
use whack::{Dpd, DpdAction, Request};

use super::gateway::{Gateway, net_to_net};
use super::pair::Pair;
use crate::engine::connection::Routing;

const DELAY: u64 = 10;
const TIMEOUT: u64 = 30;

fn watched(action: DpdAction) -> whack::Connection {
    let mut description = net_to_net("net-to-net");
    description.dpd = Dpd {
        delay: DELAY as u32,
        timeout: TIMEOUT as u32,
        action,
    };
    description
}

fn established(action: DpdAction) -> Pair {
    let mut pair = Pair::with(watched(action));
    assert_eq!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    pair.carries("10.0.2.1", "10.0.1.1");
    pair
}

fn count(gateway: &Gateway, part: &str) -> usize {
    gateway.log.iter().filter(|l| l.contains(part)).count()
}

fn routing(gateway: &Gateway) -> Routing {
    let conn = gateway.id("net-to-net");
    gateway.engine.connections().get(conn).unwrap().routing()
}

#[test]
fn a_peer_that_lives_and_is_idle_is_asked_and_stays() {
    let mut pair = established(DpdAction::Clear);
    let before = pair.datagrams;
    pair.sleep(600);
    // A question and its answer, about every ten seconds, from whichever side asks first.
    let asked = (pair.datagrams - before) / 2;
    assert!((40..=125).contains(&asked), "{asked}");
    assert_eq!(count(&pair.west, "DPD: no response"), 0);
    pair.carries("10.0.2.1", "10.0.1.1");
    let status = pair.west.status_text();
    assert!(
        status.contains("dpd: action:clear; delay:10; timeout:30"),
        "{status}"
    );
}

#[test]
fn a_tunnel_that_is_used_is_not_asked_after() {
    let mut pair = established(DpdAction::Clear);
    let before = pair.datagrams;
    for _ in 0..200 {
        pair.sleep(1);
        pair.carries("10.0.2.1", "10.0.1.1");
    }
    assert_eq!(pair.datagrams, before);
    // What only goes out proves nothing.
    for _ in 0..60 {
        pair.sleep(1);
        let sealed = pair.west.sealed("10.0.1.1", "10.0.2.1");
        assert!(matches!(
            pair.east.receive(&sealed).0,
            Inbound::Deliver { .. }
        ));
    }
    assert!(pair.datagrams > before + 6, "{}", pair.datagrams - before);
}

#[test]
fn some_lost_answers_kill_nobody() {
    let mut pair = established(DpdAction::Clear);
    for _ in 0..20 {
        pair.cut = true;
        pair.sleep(DELAY + 3);
        pair.cut = false;
        pair.sleep(TIMEOUT - DELAY);
    }
    assert_eq!(count(&pair.west, "DPD: no response"), 0);
    pair.carries("10.0.2.1", "10.0.1.1");
}

/// Cuts the wire and waits until the peer must be found dead, and not before.
fn death(pair: &mut Pair) {
    pair.cut = true;
    pair.sleep(TIMEOUT - DELAY - 1);
    assert_eq!(count(&pair.west, "DPD: no response"), 0);
    pair.sleep(2 * DELAY + 2);
    assert_eq!(
        count(
            &pair.west,
            "DPD: no response from peer - declaring peer dead"
        ),
        1,
        "{:?}",
        pair.west.log
    );
}

#[test]
fn hold_leaves_a_trap_that_brings_the_tunnel_back() {
    let mut pair = established(DpdAction::Hold);
    death(&mut pair);
    assert_eq!(
        pair.west.eroutes(),
        ["10.0.1.0/24 -> 10.0.2.0/24 => %trap"],
        "{:?}",
        pair.west.log
    );
    assert!(pair.west.sas().is_empty(), "{:?}", pair.west.sas());
    pair.sleep(300);
    let status = pair.west.status_text();
    assert!(!status.contains("STATE_"), "{status}");
    pair.cut = false;
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn clear_leaves_nothing() {
    let mut pair = established(DpdAction::Clear);
    death(&mut pair);
    assert_eq!(routing(&pair.west), Routing::Unrouted);
    assert_eq!(pair.west.eroutes(), Vec::<String>::new());
    assert!(pair.west.sas().is_empty());
    pair.cut = false;
    pair.sleep(300);
    let status = pair.west.status_text();
    assert!(!status.contains("STATE_"), "{status}");
    assert_eq!(pair.up("net-to-net"), 0);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn restart_negotiates_at_once_and_until_the_peer_is_back() {
    let mut pair = established(DpdAction::Restart);
    death(&mut pair);
    assert_eq!(count(&pair.west, "DPD: restarting connection"), 1);
    assert_eq!(count(&pair.west, "initiating Main Mode"), 2);
    // Nothing passes in the clear meanwhile.
    let eroutes = pair.west.eroutes();
    assert!(
        eroutes.len() == 1 && (eroutes[0].contains("%trap") || eroutes[0].contains("%hold")),
        "{eroutes:?}"
    );
    pair.cut = false;
    pair.sleep(45);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn a_peer_that_was_booted_again_is_found_out_and_met_anew() {
    let mut pair = established(DpdAction::Restart);
    pair.east = Gateway::at("192.1.2.23");
    pair.east.now = pair.west.now;
    pair.east.add(watched(DpdAction::Restart));
    pair.sleep(TIMEOUT + DELAY + 2);
    pair.carries("10.0.2.1", "10.0.1.1");
    assert_eq!(count(&pair.west, "DPD: no response"), 1);
}

#[test]
fn a_tunnel_without_an_isakmp_sa_has_one_negotiated_to_ask_over() {
    let mut pair = established(DpdAction::Restart);
    for gateway in [&mut pair.east, &mut pair.west] {
        gateway.ask(Request::DeleteState { number: 1 });
        gateway.sent.clear();
    }
    pair.sleep(2 * DELAY + 2);
    let asked = |gateway| count(gateway, "DPD: no ISAKMP SA to ask over: negotiating one");
    assert!(
        asked(&pair.west) + asked(&pair.east) > 0,
        "{:?}",
        pair.west.log
    );
    pair.sleep(300);
    assert_eq!(count(&pair.west, "DPD: no response"), 0);
    assert_eq!(count(&pair.west, "initiating Quick Mode"), 1);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn connections_of_one_dead_peer_each_have_their_action() {
    let mut pair = Pair::with(watched(DpdAction::Hold));
    for (name, client, action) in [
        ("clear", "10.0.3.0/24", Some(DpdAction::Clear)),
        ("blind", "10.0.4.0/24", None),
    ] {
        let mut other = net_to_net(name);
        other.left.client = Some(client.parse().unwrap());
        other.dpd = action.map_or(Dpd::default(), |action| watched(action).dpd);
        pair.add(other);
    }
    for name in ["net-to-net", "clear", "blind"] {
        assert_eq!(pair.up(name), 0);
    }
    pair.cut = true;
    pair.sleep(TIMEOUT + DELAY + 2);
    let eroutes = pair.west.eroutes();
    assert_eq!(eroutes.len(), 2, "{eroutes:?}\n{:?}", pair.west.log);
    assert!(eroutes.contains(&"10.0.1.0/24 -> 10.0.2.0/24 => %trap".to_owned()));
    // Nobody asked to watch this one.
    assert!(
        eroutes
            .iter()
            .any(|e| e.starts_with("10.0.4.0/24") && e.contains("tun0x"))
    );
}

#[test]
fn a_dead_road_warrior_goes_with_its_instance() {
    let mut road = watched(DpdAction::Restart);
    road.name = "road".into();
    road.left = whack::End::new(whack::Host::Any);
    road.right.nexthop = None;
    let mut own = road.clone();
    own.left.host = whack::Host::Addr(super::gateway::addr("192.1.2.45"));
    let mut pair = Pair::with(net_to_net("unused"));
    pair.east.add(road);
    pair.west.add(own);
    assert_eq!(pair.up("road"), 0);
    pair.cut = true;
    pair.sleep(TIMEOUT + DELAY + 2);
    assert_eq!(count(&pair.east, "DPD: clearing connection"), 1);
    let status = pair.east.status_text();
    assert!(!status.contains("\"road\"[1]"), "{status}");
    assert!(pair.east.sas().is_empty() && pair.east.eroutes().is_empty());
}
