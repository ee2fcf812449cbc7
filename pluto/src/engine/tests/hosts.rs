//! Addresses that are found and found again: names of hosts and the default route, with the answers of resolver and system simulated.

use std::net::IpAddr;

use klips::Outbound;
use whack::{Host, Live, Request};

use super::gateway::{Gateway, addr, net_to_net};
use super::groups::{files, group};
use crate::engine::connection::{Kind, Routing};
use crate::engine::{DefaultRoute, DefaultRoutes, Event};

const NAME: &str = "gw.example.com";

fn named(name: &str) -> Host {
    Host::Live(Live::Name(name.to_owned()))
}

/// West's connection, whose peer is known by a name.
fn to_a_name() -> whack::Connection {
    let mut conn = net_to_net("net");
    conn.right.host = named(NAME);
    conn
}

fn initiate(asynchronous: bool) -> Request {
    Request::Initiate {
        name: "net".into(),
        asynchronous,
    }
}

/// The resolver answers all that it was asked for `name`; how often that was.
fn answer(gateway: &mut Gateway, name: &str, found: Result<&[&str], &str>) -> usize {
    let asked = std::mem::take(&mut gateway.names_asked);
    let (mine, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(_, n)| n == name);
    gateway.names_asked = others;
    let count = mine.len();
    for (id, _) in mine {
        let all = |list: &[&str]| list.iter().map(|text| addr(text)).collect::<Vec<IpAddr>>();
        let result = found.map(all).map_err(str::to_owned);
        gateway.give(Event::HostFound { id, result });
    }
    count
}

fn routes(gateway: &mut Gateway, v4: Option<(&str, &str, &str)>) {
    let v4 = v4.map(|(device, address, hop)| DefaultRoute {
        device: device.to_owned(),
        address: addr(address),
        next_hop: hop.parse().ok(),
    });
    gateway.give(Event::DefaultRoutes(DefaultRoutes { v4, v6: None }));
}

/// To whom first messages went since the last look.
fn contacted(gateway: &mut Gateway) -> Vec<String> {
    let mut all: Vec<String> = gateway
        .sent
        .drain(..)
        .map(|(_, to, _)| to.ip().to_string())
        .collect();
    all.dedup();
    all
}

fn closed(gateway: &mut Gateway) {
    let verdict = gateway.send("10.0.1.1", "10.0.2.1");
    assert!(!matches!(verdict, Outbound::Pass { .. }), "{verdict:?}");
    let unrouted = gateway.verbs.iter().any(|verb| verb.starts_with("unroute"));
    assert!(!unrouted, "{:?}", gateway.verbs);
}

#[test]
fn b3_a_connection_waits_for_its_name_and_does_what_is_wanted_when_it_is_found() {
    let mut west = Gateway::at("192.1.2.45");
    let id = west.add(to_a_name());
    // It is not a road warrior's, and nobody's who comes.
    let conn = west.engine.connections().get(id).unwrap();
    assert_eq!((conn.kind, conn.oriented()), (Kind::Permanent, false));
    assert!(
        conn.topology()
            .contains("192.1.2.254---gw.example.com[@east]"),
        "{}",
        conn.topology()
    );
    let status = west.status_text();
    let line = "\"net\":   waiting for the address of gw.example.com; it is being looked up";
    assert!(status.contains(line), "{status}");

    // Who starts all hears of it once the first answer is there; what is wanted is noted.
    west.listen(&["192.1.2.45"]);
    assert_eq!(answer(&mut west, NAME, Err("Name or service not known")), 1);
    let said = west.said.join("\n");
    let line = "000 \"net\": waiting for the address of gw.example.com (Name or service not known); it is looked up again in 2 s";
    assert!(said.contains(line), "{said}");
    assert_eq!(west.route("net"), 29);
    assert_eq!(west.status_of(initiate(true)), 29);
    assert!(west.eroutes().is_empty() && west.sent.is_empty());

    // Later each time, and never more than a minute; the log hears of it once.
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let mut pause = 0;
        while answer(&mut west, NAME, Err("Name or service not known")) == 0 {
            west.sleep(1);
            pause += 1;
        }
        pauses.push(pause);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
    let told = west
        .log
        .iter()
        .filter(|l| l.contains("cannot find the address of"));
    assert_eq!(told.count(), 1, "{:#?}", west.log);

    west.sleep(60);
    assert_eq!(answer(&mut west, NAME, Ok(&["192.1.2.23"])), 1);
    assert_eq!(contacted(&mut west), ["192.1.2.23"]);
    let conn = west.engine.connections().get(id).unwrap();
    assert_eq!(conn.routing(), Routing::Prospective);
    assert!(
        conn.topology()
            .contains("192.1.2.23<gw.example.com>[@east]")
    );
    closed(&mut west);
    assert_eq!(
        west.log
            .iter()
            .filter(|l| l.ends_with("\"net\": gw.example.com is 192.1.2.23"))
            .count(),
        1
    );
}

#[test]
fn b3_a_start_does_not_wait_for_a_resolver_that_is_silent() {
    let mut west = Gateway::at("192.1.2.45");
    for n in 0..20 {
        let mut conn = net_to_net(&format!("n{n}"));
        conn.right.host = named(&format!("gw{n}.example.com"));
        conn.right.client = Some(format!("10.{n}.0.0/16").parse().unwrap());
        west.add(conn);
    }
    // All at once.
    assert_eq!(west.names_asked.len(), 20);
    let before = west.finished.len();
    west.listen(&["192.1.2.45"]);
    west.sleep(1);
    assert_eq!(west.finished.len(), before);
    west.sleep(1);
    assert_eq!(west.finished.len(), before + 1, "two seconds, all together");
    let said = west.said.join("\n");
    assert_eq!(
        said.matches("waiting for the address of gw").count(),
        20,
        "{said}"
    );
}

#[test]
fn b3_by_hand_a_name_is_looked_up_first() {
    let mut west = Gateway::at("192.1.2.45");
    west.add(to_a_name());
    answer(&mut west, NAME, Err("Temporary failure in name resolution"));
    west.sleep(1);
    // Somebody asks: at once, not when it would be its turn; and is told what has become of it.
    let client = west.ask(initiate(false));
    assert!(west.finished.iter().all(|(id, _)| *id != client));
    assert_eq!(answer(&mut west, NAME, Err("Name or service not known")), 1);
    assert_eq!(west.finished.last(), Some(&(client, 29)));
    let said = west.said.join("\n");
    assert!(
        said.contains(
            "029 \"net\": waiting for the address of gw.example.com (Name or service not known)"
        ),
        "{said}"
    );
    // It stays wanted, and a resolver that says nothing holds nobody for ever.
    west.sleep(10);
    west.names_asked.clear();
    let client = west.ask(initiate(false));
    west.sleep(15);
    assert_eq!(west.finished.last(), Some(&(client, 29)));
    // The client that waits is there when the exchange begins.
    let mut west = Gateway::at("192.1.2.45");
    west.add(to_a_name());
    let client = west.ask(initiate(false));
    answer(&mut west, NAME, Ok(&["192.1.2.23"]));
    assert_eq!(contacted(&mut west), ["192.1.2.23"]);
    assert!(
        west.said.join("\n").contains("STATE_MAIN_I1"),
        "{:?}",
        west.said
    );
    assert!(west.finished.iter().all(|(id, _)| *id != client));
    // One that goes is forgotten.
    west.give(Event::WhackGone(client));
}

#[test]
fn b3_a_peer_that_moves_is_followed_and_what_is_routed_stays_closed() {
    let mut west = Gateway::at("192.1.2.45");
    let id = west.add(to_a_name());
    answer(&mut west, NAME, Ok(&["192.1.2.99", "192.1.2.23"]));
    assert_eq!(west.route("net"), 0);
    assert_eq!(west.status_of(initiate(true)), 0);
    assert_eq!(contacted(&mut west), ["192.1.2.99"]);
    west.history = Some(Vec::new());

    // The same addresses in another order are no move.
    west.sleep(60);
    assert_eq!(
        answer(&mut west, NAME, Ok(&["192.1.2.23", "192.1.2.99"])),
        1
    );
    assert!(contacted(&mut west).iter().all(|to| to == "192.1.2.99"));
    // A resolver that fails changes nothing.
    west.sleep(60);
    assert_eq!(
        answer(&mut west, NAME, Err("Temporary failure in name resolution")),
        1
    );
    let host = |west: &Gateway| west.engine.connections().get(id).unwrap().that.host;
    assert_eq!(host(&west), Some(addr("192.1.2.99")));

    west.sleep(2);
    contacted(&mut west);
    assert_eq!(answer(&mut west, NAME, Ok(&["192.1.2.23"])), 1);
    assert_eq!(host(&west), Some(addr("192.1.2.23")));
    assert_eq!(contacted(&mut west), ["192.1.2.23"]);
    let told = "\"net\": gw.example.com is 192.1.2.23 now, and was 192.1.2.99";
    assert!(west.log.iter().any(|line| line == told), "{:#?}", west.log);
    // The route is made again, since the updown command knows the peer; there was an eroute all the while.
    let peer = west
        .env
        .iter()
        .find(|(name, _)| name == "PLUTO_PEER")
        .unwrap();
    assert_eq!(
        (west.verbs.last().unwrap().as_str(), peer.1.as_str()),
        ("route-client", "192.1.2.23")
    );
    let open = west.history.as_ref().unwrap().iter().any(Vec::is_empty);
    assert!(!open, "{:?}", west.history);
    closed(&mut west);
    // Taking it down and away works as ever.
    assert_eq!(west.status_of(Request::Terminate { name: "net".into() }), 0);
    assert_eq!(west.status_of(Request::Unroute { name: "net".into() }), 0);
    assert!(west.eroutes().is_empty());
    assert_eq!(west.status_of(Request::Delete { name: "net".into() }), 0);
    west.names_asked.clear();
    west.sleep(600);
    assert!(west.names_asked.is_empty(), "nobody needs it any longer");
}

#[test]
fn b3_a_silent_peer_is_looked_up_again() {
    let mut west = Gateway::at("192.1.2.45");
    west.add(to_a_name());
    answer(&mut west, NAME, Ok(&["192.1.2.99"]));
    west.status_of(initiate(true));
    west.names_asked.clear();
    let mut seconds = 0;
    while west.names_asked.is_empty() {
        west.sleep(1);
        seconds += 1;
    }
    assert!((5..30).contains(&seconds), "{seconds}");
}

#[test]
fn b3_what_is_no_address_of_a_host_is_not_believed() {
    for bad in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
        let mut west = Gateway::at("192.1.2.45");
        let id = west.add(to_a_name());
        answer(&mut west, NAME, Ok(&[bad]));
        let conn = west.engine.connections().get(id).unwrap();
        assert!(!conn.oriented() && conn.kind == Kind::Permanent, "{bad}");
        let status = west.status_text();
        assert!(
            status.contains(&format!("({bad} is no address of a host)")),
            "{status}"
        );
    }
    // Only the other family's: it says so, and waits.
    let mut west = Gateway::at("192.1.2.45");
    let id = west.add(to_a_name());
    answer(&mut west, NAME, Ok(&["2001:db8::23"]));
    assert!(!west.engine.connections().get(id).unwrap().oriented());
    assert!(west.status_text().contains("of the other end's family"));
    answer(&mut west, NAME, Ok(&[]));
    // Neither end gives the family: IPv4 where that will do.
    let mut open = net_to_net("open");
    (open.left.host, open.right.host) = (named("us"), named("them"));
    open.right.nexthop = None;
    let id = west.add(open);
    answer(&mut west, "us", Ok(&["2001:db8::45", "192.1.2.45"]));
    answer(&mut west, "them", Ok(&["2001:db8::23"]));
    let conn = west.engine.connections().get(id).unwrap();
    assert_eq!(conn.that.host, Some(addr("2001:db8::23")));
    assert_eq!(conn.this.host, Some(addr("2001:db8::45")));
}

#[test]
fn b2_the_default_route_is_waited_for_and_followed() {
    let mut west = Gateway::at("192.1.2.45");
    let mut conn = net_to_net("net");
    conn.left.host = Host::Live(Live::DefaultRoute);
    conn.left.live_nexthop = Some(Live::DefaultRoute);
    conn.right.nexthop = None;
    let id = west.add(conn);
    let status = west.status_text();
    assert!(
        status.contains("\"net\":   waiting for a default route"),
        "{status}"
    );
    assert_eq!(west.route("net"), 29);
    assert_eq!(west.status_of(initiate(true)), 29);

    routes(&mut west, Some(("eth1", "192.1.2.45", "192.1.2.254")));
    assert_eq!(contacted(&mut west), ["192.1.2.23"]);
    let hop = |west: &Gateway| {
        let found = west.env.iter().find(|(name, _)| name == "PLUTO_NEXT_HOP");
        found.unwrap().1.clone()
    };
    assert_eq!(hop(&west), "192.1.2.254");
    closed(&mut west);

    // Without one, all stays as it was; another router is made use of.
    west.history = Some(Vec::new());
    routes(&mut west, None);
    assert!(west.engine.connections().get(id).unwrap().oriented());
    let status = west.status_text();
    assert!(
        status.contains("there is no default route now: its last address stands"),
        "{status}"
    );
    routes(&mut west, Some(("eth1", "192.1.2.45", "192.1.2.253")));
    assert_eq!(hop(&west), "192.1.2.253");
    closed(&mut west);

    // Another device, whose address is ours a moment later: closed all the while, and then it goes on from there.
    routes(&mut west, Some(("eth2", "192.1.3.45", "192.1.3.254")));
    closed(&mut west);
    west.sent.clear();
    west.listen(&["192.1.3.45"]);
    let conn = west.engine.connections().get(id).unwrap();
    assert_eq!(conn.this.host, Some(addr("192.1.3.45")));
    assert!(
        west.sent
            .iter()
            .any(|(from, ..)| from.ip() == addr("192.1.3.45")),
        "{:?}",
        west.log
    );
    assert_eq!(hop(&west), "192.1.3.254");
    closed(&mut west);
    let open = west.history.as_ref().unwrap().iter().any(Vec::is_empty);
    assert!(!open, "{:?}", west.history);
}

/// `leftsubnet=` is missing at both ends: the gateways are their own clients. Who answers DNS questions must not be able to open what
/// was closed.
#[test]
fn b3_a_gateway_that_is_its_own_client_moves_and_its_old_address_stays_closed() {
    let mut west = Gateway::at("192.1.2.45");
    let mut conn = to_a_name();
    (conn.left.client, conn.right.client) = (None, None);
    west.add(conn);
    answer(&mut west, NAME, Ok(&["192.1.2.99"]));
    assert_eq!(west.route("net"), 0);
    let closed = |west: &mut Gateway, peers: &[&str]| {
        for peer in peers {
            let verdict = west.send("192.1.2.45", peer);
            assert!(!matches!(verdict, Outbound::Pass { .. }), "{verdict:?}");
        }
        let unrouted = west.verbs.iter().any(|verb| verb.starts_with("unroute"));
        assert!(!unrouted, "{:?}", west.verbs);
        assert_eq!(west.eroutes().len(), peers.len(), "{:?}", west.eroutes());
    };
    closed(&mut west, &["192.1.2.99"]);
    west.sleep(60);
    answer(&mut west, NAME, Ok(&["192.1.2.23"]));
    closed(&mut west, &["192.1.2.99", "192.1.2.23"]);
    // And back.
    west.sleep(60);
    answer(&mut west, NAME, Ok(&["192.1.2.99"]));
    closed(&mut west, &["192.1.2.99", "192.1.2.23"]);
    // It may not grow for ever.
    for n in 100..120 {
        west.sleep(60);
        answer(&mut west, NAME, Ok(&[&format!("192.1.2.{n}")]));
    }
    assert_eq!(west.eroutes().len(), 9, "{:?}", west.eroutes());
    assert_eq!(west.status_of(Request::Unroute { name: "net".into() }), 0);
    assert!(west.eroutes().is_empty(), "{:?}", west.eroutes());
    assert_eq!(west.engine.connections().len(), 1);
}

#[test]
fn b2_policy_groups_get_the_address_of_the_default_route() {
    use whack::{Failure, Shunt};
    let mut us = Gateway::at("192.1.2.23");
    let mut private = group("private", Shunt::Trap, Failure::Drop, true);
    private.left.host = Host::Live(Live::DefaultRoute);
    private.left.nexthop = None;
    private.left.live_nexthop = Some(Live::DefaultRoute);
    us.add(private);
    us.route("private");
    files(&mut us, &[("private", &["10.2.0.0/16"])]);
    assert!(us.eroutes().is_empty());
    routes(&mut us, Some(("eth1", "192.1.2.23", "192.1.2.254")));
    assert_eq!(us.eroutes().len(), 1, "{:?} {:#?}", us.said, us.log);
    // Its own router changes: never open.
    us.history = Some(Vec::new());
    routes(&mut us, Some(("eth1", "192.1.2.23", "192.1.2.253")));
    assert_eq!(us.eroutes().len(), 1);
    let open = us.history.as_ref().unwrap().iter().any(Vec::is_empty);
    assert!(!open, "{:?}", us.history);
    let group = us.engine.connections().configured("private").unwrap();
    assert_eq!(group.this.nexthop, Some(addr("192.1.2.253")));
}

/// Road warriors of a gateway that is itself known by the default route.
#[test]
fn b2_a_template_moves_and_its_instances_go() {
    let mut west = Gateway::at("192.1.2.45");
    let mut road = net_to_net("road");
    road.left.host = Host::Live(Live::DefaultRoute);
    road.left.live_nexthop = Some(Live::DefaultRoute);
    road.right = whack::End::new(Host::Any);
    let id = west.add(road);
    routes(&mut west, Some(("eth1", "192.1.2.45", "192.1.2.254")));
    let conn = west.engine.connections().get(id).unwrap();
    assert_eq!((conn.kind, conn.oriented()), (Kind::Template, true));
    let peer = "192.1.2.99:500".parse().unwrap();
    let instance = west.engine.conns.instantiate(id, peer, None, None);
    assert!(instance.is_some());
    routes(&mut west, Some(("eth1", "192.1.2.46", "192.1.2.254")));
    assert_eq!(west.engine.connections().len(), 1);
    let conn = west.engine.connections().get(id).unwrap();
    assert_eq!(conn.this.host, Some(addr("192.1.2.46")));
}

#[test]
fn g9_up_says_what_is_wrong_with_the_address() {
    let mut west = Gateway::at("192.1.2.99");
    west.add(net_to_net("net"));
    assert_eq!(west.status_of(initiate(false)), 22);
    let nobody = "we have no ipsecN interface for either end of this connection";
    assert!(west.said.join("\n").ends_with(nobody), "{:?}", west.said);
    let problem = "ERROR: bind() for eth1/ipsec0 192.1.2.45:500 failed. Errno 98: Address in use; charon (pid 7) has it";
    let other = "ERROR: bind() for eth2/ipsec1 192.1.2.4:500 failed. Errno 98: Address in use";
    let problems = vec![other.to_owned(), problem.to_owned()];
    west.give(Event::Problems(problems));
    for request in [initiate(false), Request::Route { name: "net".into() }] {
        assert_eq!(west.status_of(request), 22);
        assert!(
            west.said
                .join("\n")
                .ends_with(&format!("{nobody}: {problem}")),
            "{:?}",
            west.said
        );
    }
    assert!(west.status_text().contains(&format!("problem: {problem}")));
    west.give(Event::Problems(Vec::new()));
    assert!(!west.status_text().contains("problem:"));
}
