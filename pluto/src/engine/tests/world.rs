//! Addresses and devices that come, go and change: what is routed stays closed, and what is wanted comes back without a hand.

use klips::Outbound;
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::Request;

use super::gateway::{Gateway, addr, net_to_net};
use super::pair::Pair;
use crate::engine::Event;
use crate::engine::connection::{Routing, Wanted};

const HOME: (&str, &str, &str) = ("ipsec0", "eth1", "192.1.2.45");
const OTHER: (&str, &str, &str) = ("ipsec0", "eth1", "192.1.2.46");
const ELSEWHERE: (&str, &str, &str) = ("ipsec1", "eth2", "192.1.2.45");

/// How far west's connection is before the world changes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    /// Routed.
    Trap,
    /// Asked for, and the peer does not answer.
    Negotiating,
    Up,
}

fn prepare(before: Before) -> Pair {
    let mut pair = Pair::new();
    match before {
        Before::Trap => assert_eq!(pair.west.route("net-to-net"), 0),
        Before::Negotiating => {
            assert_eq!(pair.west.route("net-to-net"), 0);
            pair.cut = true;
            pair.west.ask(initiate());
            pair.sleep(5);
        }
        Before::Up => assert_eq!(pair.up("net-to-net"), 0),
    }
    pair
}

fn initiate() -> Request {
    Request::Initiate {
        name: "net-to-net".into(),
        asynchronous: true,
    }
}

/// No packet of the protected nets may leave in the clear.
fn closed(gateway: &mut Gateway, story: &str) {
    assert_eq!(
        gateway.eroutes().len(),
        1,
        "{story}: {:?}",
        gateway.eroutes()
    );
    let verdict = gateway.send("10.0.1.1", "10.0.2.1");
    let clear = matches!(verdict, Outbound::Pass { .. });
    assert!(!clear, "{story}: {verdict:?}");
    let opened = gateway.verbs.iter().any(|verb| verb.starts_with("unroute"));
    assert!(!opened, "{story}: {:?}", gateway.verbs);
}

fn routing(gateway: &Gateway) -> Routing {
    let conns = gateway.engine.connections();
    conns.configured("net-to-net").unwrap().routing()
}

#[test]
fn b1_what_is_routed_stays_closed_and_comes_back_whatever_the_address_does() {
    type Interfaces<'a> = &'a [(&'a str, &'a str, &'a str)];
    let changes: [(&str, Interfaces<'_>, u64, Interfaces<'_>); 7] = [
        ("two seconds without", &[], 2, &[HOME]),
        ("a minute without", &[], 60, &[HOME]),
        ("another meanwhile", &[OTHER], 2, &[HOME]),
        ("another for an hour", &[OTHER], 3600, &[HOME]),
        (
            "a second one comes and the first is back",
            &[OTHER],
            2,
            &[OTHER, HOME],
        ),
        ("it moves to another device", &[ELSEWHERE], 1, &[ELSEWHERE]),
        (
            "it goes and is back at another device",
            &[],
            30,
            &[ELSEWHERE],
        ),
    ];
    for before in [Before::Trap, Before::Negotiating, Before::Up] {
        for (change, meanwhile, seconds, after) in changes {
            let story = format!("{before:?}, {change}");
            let mut pair = prepare(before);
            pair.west.interfaces(meanwhile);
            pair.cut = !meanwhile.contains(&ELSEWHERE);
            closed(&mut pair.west, &story);
            pair.sleep(seconds);
            closed(&mut pair.west, &story);

            let routes = |pair: &Pair| {
                let routes = |verb: &&String| verb.starts_with("route");
                pair.west.verbs.iter().filter(routes).count()
            };
            let routed = routes(&pair);
            pair.cut = false;
            pair.west.interfaces(after);
            let moved = meanwhile == after;
            assert!(
                routes(&pair) > routed || moved,
                "{story}: the route is made again"
            );
            let device = (
                "PLUTO_INTERFACE".to_owned(),
                after.last().unwrap().0.to_owned(),
            );
            assert!(
                pair.west.env.contains(&device),
                "{story}: {:?}",
                pair.west.env
            );
            closed(&mut pair.west, &story);
            pair.sleep(3);
            assert_eq!(
                routing(&pair.west),
                Routing::Tunnel,
                "{story}: {:?}",
                pair.west.log
            );
            pair.carries("10.0.2.1", "10.0.1.1");
        }
    }
}

#[test]
fn b1_a_peer_that_has_given_us_up_meanwhile_gets_a_new_tunnel() {
    let mut pair = prepare(Before::Up);
    pair.west.interfaces(&[]);
    pair.cut = true;
    pair.sleep(60);
    pair.east.ask(Request::Terminate {
        name: "net-to-net".into(),
    });
    pair.sleep(1);
    assert!(pair.east.sas().is_empty());
    pair.cut = false;
    pair.west.interfaces(&[HOME]);
    pair.sleep(2);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn b1_only_a_person_opens_what_has_no_address() {
    for before in [Before::Trap, Before::Negotiating, Before::Up] {
        for delete in [false, true] {
            let mut pair = prepare(before);
            let west = &mut pair.west;
            west.interfaces(&[OTHER]);
            let name = || "net-to-net".to_owned();
            if delete {
                west.ask(Request::Delete { name: name() });
            } else {
                west.ask(Request::Terminate { name: name() });
                closed(west, &format!("{before:?}, taken down"));
                assert_eq!(west.status_of(Request::Unroute { name: name() }), 0);
            }
            assert!(
                west.eroutes().is_empty(),
                "{before:?}: {:?}",
                west.eroutes()
            );
            assert!(west.sas().is_empty(), "{before:?}: {:?}", west.sas());
            assert_eq!(west.verbs.last().unwrap(), "unroute-client", "{before:?}");
            west.interfaces(&[HOME]);
            assert!(
                west.eroutes().is_empty(),
                "{before:?}: what was opened stays open"
            );
        }
    }
}

#[test]
fn b2_what_was_asked_for_before_there_was_an_address_is_done_when_there_is() {
    let mut pair = Pair::bare();
    pair.west.interfaces(&[]);
    pair.add(net_to_net("net-to-net"));
    assert_ne!(pair.west.route("net-to-net"), 0);
    pair.west.ask(initiate());
    let conn = pair.west.id("net-to-net");
    let wanted = pair
        .west
        .engine
        .connections()
        .get(conn)
        .unwrap()
        .live
        .wanted;
    let all = Wanted {
        routed: true,
        up: true,
    };
    assert_eq!(wanted, all);
    pair.west.interfaces(&[HOME]);
    assert_eq!(pair.west.eroutes().len(), 1, "routed at once");
    pair.sleep(2);
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn b2_a_route_that_can_not_be_made_yet_is_tried_again() {
    let mut gateway = Gateway::at("192.1.2.45");
    gateway.add(net_to_net("net-to-net"));
    gateway.failing_verb = Some("route");
    assert_ne!(gateway.route("net-to-net"), 0);
    gateway.sleep(10);
    gateway.failing_verb = None;
    gateway.sleep(20);
    assert_eq!(routing(&gateway), Routing::Prospective);
}

/// East loses all that it knows, as in a crash.
fn reboot(pair: &mut Pair) {
    pair.east = Gateway::at("192.1.2.23");
    // Its next life draws other numbers.
    pair.east.engine.rng = Box::new(StdRng::seed_from_u64(2));
    pair.east.add(net_to_net("net-to-net"));
}

#[test]
fn g3_who_asks_for_a_connection_after_the_peers_reboot_gets_it() {
    // Shortly after, long after, and with the ISAKMP SA alone left.
    for (seconds, down) in [(10, false), (300, false), (10, true), (300, true)] {
        let mut pair = prepare(Before::Up);
        pair.sleep(seconds);
        reboot(&mut pair);
        if down {
            let west = pair.west.id("net-to-net");
            let ipsec = pair
                .west
                .engine
                .connections()
                .get(west)
                .unwrap()
                .live
                .newest_ipsec;
            let state = ipsec.unwrap();
            pair.west.ask(Request::DeleteState { number: state.0 });
            pair.sleep(1);
        }
        let begun = pair.west.now;
        assert_eq!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
        assert!((pair.west.now - begun).as_secs() < 6, "{:?}", pair.west.log);
        pair.carries("10.0.2.1", "10.0.1.1");
    }
}

#[test]
fn g3_a_peer_that_is_heard_is_not_asked_for_main_mode_again() {
    let mut pair = prepare(Before::Up);
    let mut second = net_to_net("second");
    second.left.client = Some(super::gateway::net("10.0.3.0/24"));
    pair.add(second);
    pair.sleep(10);
    assert_eq!(pair.up("second"), 0);
    let begun = pair
        .west
        .log
        .iter()
        .filter(|line| line.contains("initiating Main Mode"));
    assert_eq!(begun.count(), 1);
}

#[test]
fn g3_a_peer_that_is_silent_at_quick_mode_meets_one_main_mode_more() {
    let mut pair = prepare(Before::Up);
    pair.sleep(300);
    pair.cut = true;
    pair.west.ask(initiate());
    pair.sleep(50);
    let begun = pair
        .west
        .log
        .iter()
        .filter(|line| line.contains("initiating Main Mode"));
    assert_eq!(begun.count(), 2, "{:?}", pair.west.log);
}

#[test]
fn b2_a_tunnel_whose_address_is_still_to_come_is_closed_where_the_subnet_is_ours() {
    for (local, closes) in [("10.0.1.254", true), ("10.0.9.1", false)] {
        let mut pair = Pair::bare();
        let west = &mut pair.west;
        west.interfaces(&[]);
        west.give(Event::LocalAddresses(vec![addr(local)]));
        west.add(net_to_net("net-to-net"));
        assert_ne!(west.route("net-to-net"), 0);
        assert_eq!(west.verbs == ["close-client"], closes, "{:?}", west.verbs);
        if closes {
            let env = |name: &str, value: &str| west.env.contains(&(name.into(), value.into()));
            assert!(env("PLUTO_PEER_CLIENT", "10.0.2.0/24") && env("PLUTO_INTERFACE", ""));
            assert_eq!(
                west.status_of(Request::Unroute {
                    name: "net-to-net".into()
                }),
                0
            );
            assert_eq!(west.verbs.last().unwrap(), "unroute-client");
            west.give(Event::LocalAddresses(vec![addr("10.0.1.253")]));
            assert_eq!(west.verbs.len(), 2, "{:?}", west.verbs);
        }
    }
}

#[test]
fn b1_routes_that_the_system_forgot_are_made_again() {
    let mut pair = Pair::bare();
    let mut description = net_to_net("net-to-net");
    description.left.source_ip = Some(addr("10.0.1.254"));
    let west = &mut pair.west;
    west.add(description);
    assert_eq!(west.route("net-to-net"), 0);
    let source = ("PLUTO_MY_SOURCEIP".to_owned(), "10.0.1.254".to_owned());
    assert!(west.env.contains(&source), "{:?}", west.env);
    for (event, again) in [
        (Event::DeviceUp("ipsec0".into()), true),
        (Event::DeviceUp("ipsec1".into()), false),
        (Event::LocalAddresses(vec![addr("10.0.1.254")]), true),
        (Event::LocalAddresses(vec![]), false),
        (Event::LocalAddresses(vec![addr("10.0.1.254")]), true),
    ] {
        west.verbs.clear();
        let story = format!("{event:?}");
        west.give(event);
        assert_eq!(
            west.verbs == ["route-client"],
            again,
            "{story}: {:?}",
            west.verbs
        );
    }
}
