//! A packet asks for its tunnel, and what is asked of DNS for it.

use super::*;

#[test]
fn the_first_packet_goes_encrypted() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => tun0x");
    assert!(
        has(&pair.east, "192.1.2.23/32 -> 192.1.2.45/32 => tun0x"),
        "{}",
        trace(&pair)
    );
    assert!(went_encrypted(&pair.west), "{:?}", pair.west.released);
    pair.carries(EAST, WEST);
    let status = pair.west.status_text();
    assert!(
        status.contains("\"me-to-anyone\"[1]: 192.1.2.45---192.1.2.254...192.1.2.23; erouted"),
        "{status}"
    );
    // The template's route is to everybody, and loses against that of a net that the gateway is on.
    assert!(
        pair.west.verbs[2..]
            .iter()
            .any(|verb| verb.starts_with("route-host")),
        "{:?}",
        pair.west.verbs
    );
}

#[test]
fn gateways_speak_for_their_nets() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    pair.west_has("10.0.1.1/32 -> 10.0.2.1/32 => tun0x");
    assert!(went_encrypted(&pair.west));
    pair.carries("10.0.2.1", "10.0.1.1");
    let log = pair.west.log.join("\n");
    assert!(log.contains("\"net-to-anyone\"[1] 10.0.1.1/32=== ...192.1.2.23===10.0.2.1/32 #1: initiating Main Mode"), "{log}");
    // A second pair of hosts needs no second Main Mode.
    pair.west.send("10.0.1.1", EAST);
    pair.settle();
    pair.carries(EAST, "10.0.1.1");
    let mains = pair
        .west
        .log
        .iter()
        .filter(|l| l.contains("initiating Main Mode"))
        .count();
    assert_eq!(mains, 1, "{}", trace(&pair));
}

#[test]
fn one_who_is_known_by_name_only_can_begin() {
    let mut pair = opportunists(Security::Secure);
    // Initiate only: leftid=@west.example.com, with a KEY record there and nothing in the reverse map.
    let west = keys()[1].public().clone();
    let mut dns = Dns(&mut pair);
    dns.key("@west.example.com", &west, Security::Secure);
    dns.0.west.dns.remove(&Query::Delegation(addr(WEST)));
    dns.0.east.dns.remove(&Query::Delegation(addr(WEST)));
    dns.0
        .east
        .dns
        .remove(&Query::Keys(Speaker::Address(addr(WEST))));
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut conn = to_anyone("by-name", WEST, None);
    conn.left.id = Some("@west.example.com".into());
    pair.west.add(conn);
    pair.west.route("by-name");
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn many_packets_ask_once() {
    let mut pair = opportunists(Security::Secure);
    pair.west.dns_waits = true;
    for _ in 0..20 {
        pair.west.send(WEST, EAST);
    }
    assert_eq!(
        pair.west.asked.len(),
        2,
        "our key and their gateway: {:?}",
        pair.west.asked
    );
    assert!(
        pair.west
            .status_text()
            .contains("=> %hold 0    looking up in DNS")
    );
    pair.west.dns_answers();
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn whack_asks_for_a_pair() {
    let mut pair = opportunists(Security::Secure);
    let oppo = |there: &str| Request::OpportunisticInitiate {
        here: addr(WEST),
        there: addr(there),
    };
    let client = pair.west.ask(oppo(EAST));
    pair.settle();
    let status = pair.west.finished.iter().find(|(id, _)| *id == client);
    assert_eq!(
        status.map(|(_, status)| *status),
        Some(0),
        "{:?}",
        pair.west.said
    );
    pair.carries(EAST, WEST);
    assert_eq!(pair.west.status_of(oppo("192.0.2.9")), 33);
    assert!(
        pair.west.said[0]
            .contains("033 Can not opportunistically initiate for 192.1.2.45 to 192.0.2.9: no TXT"),
        "{:?}",
        pair.west.said
    );
}

#[test]
fn name_servers_never_wait_for_themselves() {
    let mut pair = opportunists(Security::Secure);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut private = to_anyone("private", WEST, None);
    private.policy.failure = Failure::Drop;
    pair.west.add(private);
    pair.west.route("private");
    pair.west.give(Event::NameServers(vec![addr("192.0.2.53")]));
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.0.2.53/32:53 => %pass:17"),
        "{:?}",
        pair.west.eroutes()
    );
    // All else to it waits.
    pair.west.dns_waits = true;
    assert!(
        matches!(
            pair.west.send(WEST, "192.0.2.53"),
            Outbound::Held | Outbound::Drop(_)
        ),
        "{:?}",
        pair.west.eroutes()
    );
    pair.west.give(Event::NameServers(Vec::new()));
    assert!(!has(&pair.west, "192.1.2.45/32 -> 192.0.2.53/32:53"));
}
