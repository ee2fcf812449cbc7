//! Who a gateway is that has `%myid` and was not told: its address or its name, whichever DNS has its key for.

use super::super::gateway::PID;
use super::*;
use crate::engine::Config;

const NAME: &str = "@west.example.com";

/// Two opportunists, of whom west has a host's name, no connection yet, and no records.
fn unknown_west() -> Pair {
    let mut pair = opportunists(Security::Secure);
    let dns = std::mem::take(&mut pair.west.dns);
    let config = Config {
        pid: PID,
        host_name: Some("west.example.com".into()),
        ..Config::default()
    };
    pair.west = Gateway::with(WEST, config);
    pair.west.dns = dns;
    for gateway in [&mut pair.east, &mut pair.west] {
        for query in [
            Query::Delegation(addr(WEST)),
            Query::Keys(Speaker::Address(addr(WEST))),
        ] {
            gateway.dns.remove(&query);
        }
    }
    own_key(&mut pair.west, &keys()[1]);
    pair
}

fn begin(pair: &mut Pair) {
    let mut conn = to_anyone("me-to-anyone", WEST, None);
    conn.left.id = Some("%myid".into());
    pair.west.add(conn);
    assert_eq!(pair.west.route("me-to-anyone"), 0);
}

#[track_caller]
fn west_is(pair: &mut Pair, id: &str) {
    let status = pair.west.status_text();
    let line = format!("%myid = {id}");
    assert!(status.contains(&line), "{status}\n{}", trace(pair));
}

#[test]
fn the_name_that_has_the_key() {
    let mut pair = unknown_west();
    Dns(&mut pair).key(NAME, keys()[1].public(), Security::Secure);
    begin(&mut pair);
    west_is(&mut pair, NAME);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn the_address_goes_first() {
    let mut pair = unknown_west();
    let west = keys()[1].public();
    let mut dns = Dns(&mut pair);
    dns.key(NAME, west, Security::Secure);
    dns.key(WEST, west, Security::Secure);
    // A record without a key: that is under the gateway's own name.
    dns.delegate(WEST, WEST, None, Security::Secure);
    begin(&mut pair);
    west_is(&mut pair, WEST);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn a_packet_waits_until_it_is_known() {
    let mut pair = unknown_west();
    Dns(&mut pair).key(NAME, keys()[1].public(), Security::Secure);
    pair.west.dns_waits = true;
    begin(&mut pair);
    pair.west.send(WEST, EAST);
    west_is(&mut pair, "(none)");
    let asked = |pair: &Pair, query| pair.west.asked.iter().any(|(_, asked)| *asked == query);
    assert!(!asked(&pair, Query::Keys(Speaker::Address(addr(WEST)))));
    pair.west.dns_answers();
    pair.settle();
    west_is(&mut pair, NAME);
    pair.carries(EAST, WEST);
    assert!(went_encrypted(&pair.west), "the packet has waited");
}

#[test]
fn what_dns_does_not_have_is_asked_for_again() {
    let mut pair = unknown_west();
    // Another's key under our name is not ours.
    Dns(&mut pair).key(NAME, keys()[2].public(), Security::Secure);
    begin(&mut pair);
    west_is(&mut pair, "(none)");
    Dns(&mut pair).key(NAME, keys()[1].public(), Security::Secure);
    pair.sleep(901);
    west_is(&mut pair, NAME);
    // With another key it is nobody, and without any.
    own_key(&mut pair.west, &keys()[0]);
    west_is(&mut pair, "(none)");
    own_key(&mut pair.west, &keys()[1]);
    west_is(&mut pair, NAME);
    pair.west.give(Event::Secrets {
        secrets: Box::default(),
        problems: Vec::new(),
    });
    west_is(&mut pair, "(none)");
}

#[test]
fn dns_that_fails_is_asked_again_soon() {
    let mut pair = unknown_west();
    let query = Query::Keys(Speaker::parse(NAME).unwrap());
    let failed = LookupError::ServerFailure {
        name: query.name(),
        why: "Server Failure".into(),
    };
    Dns(&mut pair).set(query, Err(failed));
    begin(&mut pair);
    pair.sleep(50);
    west_is(&mut pair, "(none)");
    Dns(&mut pair).key(NAME, keys()[1].public(), Security::Secure);
    pair.sleep(16);
    west_is(&mut pair, NAME);
}

#[test]
fn what_was_said_is_not_asked() {
    let mut pair = unknown_west();
    Dns(&mut pair).key(NAME, keys()[1].public(), Security::Secure);
    pair.west.ask(Request::MyId {
        id: "@other.example.com".into(),
    });
    begin(&mut pair);
    west_is(&mut pair, "@other.example.com");
    assert_eq!(pair.west.asked.len(), 0, "{:?}", pair.west.asked);
    // Nor does a guess outlive what is said.
    let mut pair = unknown_west();
    begin(&mut pair);
    pair.west.ask(Request::MyId {
        id: "@other.example.com".into(),
    });
    Dns(&mut pair).key(NAME, keys()[1].public(), Security::Secure);
    pair.sleep(2000);
    west_is(&mut pair, "@other.example.com");
}
