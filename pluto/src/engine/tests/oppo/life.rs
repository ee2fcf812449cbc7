//! Tunnels and shunts once they are there: used, idle, met again by a gateway that has forgotten them, changed by policy, gone.

use super::super::groups::{files, group};
use super::*;

#[test]
fn both_ends_begin_at_once() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.sleep(70);
    pair.carries(EAST, WEST);
    assert!(
        pair.west.eroutes().len() == 3 && pair.east.eroutes().len() == 3,
        "{}",
        trace(&pair)
    );
}

#[test]
fn a_gateway_that_has_forgotten_its_tunnels_is_met_again() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    let before = pair.datagrams;
    // Nothing is sent, and nobody asked.
    pair.sleep(300);
    assert!(pair.datagrams - before <= 2, "{}", trace(&pair));
    // East is another one now, of the same name and key.
    let fresh = opportunists(Security::Secure);
    pair.east = fresh.east;
    let mut waited = 0;
    while waited < 200 && has(&pair.west, &format!("{WEST}/32 -> {EAST}/32 => tun")) {
        pair.west.send(WEST, EAST);
        pair.sleep(5);
        waited += 5;
    }
    assert!((45..=110).contains(&waited), "{waited} {}", trace(&pair));
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn idle_tunnels_go_and_come_again() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    for _ in 0..10 {
        pair.sleep(100);
        pair.carries(EAST, WEST);
    }
    let conns = pair.west.engine.connections().len();
    pair.sleep(1500);
    assert_eq!(pair.west.eroutes().len(), 2, "{}", trace(&pair));
    assert_eq!(pair.east.eroutes().len(), 2, "{}", trace(&pair));
    assert!(pair.west.engine.connections().len() < conns);
    assert!(pair.west.sas().is_empty() && pair.east.sas().is_empty());
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn used_tunnels_are_made_anew_in_time() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    for _ in 0..900 {
        pair.sleep(10);
        pair.carries(EAST, WEST);
    }
}

#[test]
fn a_scan_is_remembered_and_forgotten() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    for n in 0..3000u32 {
        let to = std::net::Ipv4Addr::from(0x0a80_0000 + n).to_string();
        pair.west.send(WEST, &to);
        if n % 500 == 499 {
            pair.sleep(1);
            pair.carries(EAST, WEST);
        }
    }
    assert!(pair.west.eroutes().len() > 3000);
    pair.sleep(310);
    pair.carries(EAST, WEST);
    assert_eq!(
        pair.west.eroutes().len(),
        3,
        "{}",
        pair.west.eroutes().len()
    );
}

#[test]
fn a_changed_policy_takes_the_tunnel_along() {
    let mut pair = opportunists(Security::Secure);
    let mut at_west = |name: &str, shunt, failure, negotiated| {
        let mut conn = group(name, shunt, failure, negotiated);
        conn.left.host = Host::Addr(addr(WEST));
        pair.west.add(conn);
        pair.west.route(name);
    };
    at_west("private-or-clear", Shunt::Trap, Failure::Pass, true);
    at_west("clear", Shunt::Pass, Failure::None, false);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    files(
        &mut pair.west,
        &[("private-or-clear", &["192.1.2.0/24", "192.0.2.0/24"])],
    );
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    files(
        &mut pair.west,
        &[("private-or-clear", &["192.1.2.0/24", "192.0.3.0/24"])],
    );
    pair.carries(EAST, WEST);
    files(
        &mut pair.west,
        &[
            ("private-or-clear", &["192.1.2.0/24"]),
            ("clear", &["192.1.2.23/32"]),
        ],
    );
    pair.settle();
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %pass");
    assert!(pair.west.sas().is_empty());
    // The same where the group is routed only later.
    pair.west.ask(Request::Unroute {
        name: "clear".into(),
    });
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    pair.west.route("clear");
    pair.settle();
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %pass");
    assert!(pair.west.sas().is_empty());
}

#[test]
fn clear_or_private_answers_and_does_not_begin() {
    let mut pair = opportunists(Security::Secure);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut conn = group("clear-or-private", Shunt::Pass, Failure::Pass, true);
    conn.left.host = Host::Addr(addr(WEST));
    pair.west.add(conn);
    pair.west.route("clear-or-private");
    files(&mut pair.west, &[("clear-or-private", &["192.1.2.23/32"])]);
    assert!(matches!(pair.west.send(WEST, EAST), Outbound::Pass { .. }));
    assert!(pair.west.asked.is_empty());
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.carries(EAST, WEST);
    // When the tunnel has gone, what was there before is there again.
    pair.west.ask(Request::Terminate {
        name: "clear-or-private#192.1.2.23/32".into(),
    });
    pair.settle();
    assert!(
        matches!(pair.west.send(WEST, EAST), Outbound::Pass { .. }),
        "{}",
        trace(&pair)
    );
}

#[test]
fn a_block_of_one_address_stands_again_after_a_failure() {
    let mut pair = opportunists(Security::Secure);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut conn = group("private", Shunt::Trap, Failure::Drop, true);
    conn.left.host = Host::Addr(addr(WEST));
    pair.west.add(conn);
    pair.west.route("private");
    files(&mut pair.west, &[("private", &["192.1.2.23/32"])]);
    let theirs = Query::Delegation(addr(EAST));
    let known = pair.west.dns.remove(&theirs).unwrap();
    pair.west.send(WEST, EAST);
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %drop");
    pair.west.sleep(301);
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %trap");
    pair.west.dns.insert(theirs, known);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    pair.sleep(2000);
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %trap");
}

#[test]
fn unrouted_means_that_nothing_is_left() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.west.send(WEST, "192.0.2.9");
    for name in ["me-to-anyone", "net-to-anyone"] {
        assert_eq!(
            pair.west.status_of(Request::Unroute { name: name.into() }),
            0
        );
    }
    pair.settle();
    assert!(
        pair.west.sas().is_empty() && pair.east.sas().is_empty(),
        "{}",
        trace(&pair)
    );
    pair.west.sleep(400);
    assert!(pair.west.eroutes().is_empty(), "{}", trace(&pair));
}

/// Both ends began at once, so that each has two pairs of SAs, and the newer one answered.
#[test]
fn used_tunnels_that_both_ends_began_are_made_anew_in_time() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.east.send(EAST, WEST);
    pair.settle();
    for _ in 0..900 {
        pair.sleep(10);
        pair.carries(EAST, WEST);
    }
}

/// The tunnel has gone, and the ISAKMP SA with its connection is still there: the next packet has a tunnel again.
#[test]
fn a_packet_that_meets_a_connection_without_tunnel_has_one() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    for (ours, theirs) in [(WEST, EAST), (EAST, WEST)] {
        // #1 is the ISAKMP SA, at both ends.
        for number in 2..10 {
            pair.west.ask(Request::DeleteState { number });
        }
        pair.settle();
        assert!(pair.west.sas().is_empty() && pair.east.sas().is_empty());
        let gateway = if ours == WEST {
            &mut pair.west
        } else {
            &mut pair.east
        };
        gateway.send(ours, theirs);
        pair.settle();
        pair.carries(EAST, WEST);
    }
}

/// What lets the port of a name server pass goes with the last policy that would hold it.
#[test]
fn guards_of_name_servers_go_with_the_policies() {
    for delete in [false, true] {
        let mut pair = opportunists(Security::Secure);
        pair.west.give(Event::NameServers(vec![addr("192.0.2.53")]));
        let name = || "me-to-anyone".to_owned();
        pair.west_has("192.1.2.45/32 -> 192.0.2.53/32:53 => %pass:17");
        pair.west.ask(match delete {
            false => Request::Unroute { name: name() },
            true => Request::Delete { name: name() },
        });
        pair.settle();
        let left = pair.west.eroutes();
        assert!(left.iter().all(|e| !e.contains(":53")), "{left:?}");
    }
}
