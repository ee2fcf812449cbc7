//! Verdicts that stay while they are looked up again, and what a dead resolver costs.

use super::*;

const NOBODY: &str = "192.0.2.9";

fn passes(gateway: &mut Gateway, to: &str) -> bool {
    matches!(gateway.send(WEST, to), Outbound::Pass { .. })
}

/// Everything is asked and nothing is answered, as by a resolver that has died: questions end after ten seconds.
fn sleep_without_dns(gateway: &mut Gateway, seconds: u64) {
    for _ in 0..seconds {
        gateway.sleep(1);
        let late: Vec<_> = gateway.asked.drain(..).collect();
        for (id, query) in late {
            let (name, after) = (query.name(), Duration::from_secs(10));
            gateway.late.push((gateway.now + after, id, name));
        }
        let now = gateway.now;
        let (over, open): (Vec<_>, Vec<_>) =
            gateway.late.drain(..).partition(|(when, ..)| *when <= now);
        gateway.late = open;
        for (_, id, name) in over {
            let after = Duration::from_secs(10);
            let result = Err(LookupError::Timeout { name, after });
            gateway.give(Event::LookupDone {
                id,
                result,
                heard: false,
            });
        }
    }
}

#[test]
fn h8_running_flows_lose_nothing_in_a_day() {
    for (failure, shunt) in [(Failure::Pass, "%pass"), (Failure::Drop, "%drop")] {
        let mut pair = opportunists(Security::Secure);
        pair.west.ask(Request::Delete {
            name: "me-to-anyone".into(),
        });
        let mut conn = to_anyone("policy", WEST, None);
        conn.policy.failure = failure;
        pair.west.add(conn);
        pair.west.route("policy");
        pair.west.send(WEST, NOBODY);
        let asked = pair.west.asked.len();
        for second in 0..86_400 {
            pair.west.sleep(1);
            if second % 5 != 0 {
                continue;
            }
            let verdict = pair.west.send(WEST, NOBODY);
            let as_policy = match failure {
                Failure::Pass => matches!(verdict, Outbound::Pass { .. }),
                _ => matches!(verdict, Outbound::Drop(_)),
            };
            assert!(as_policy, "{second}: {verdict:?}\n{}", trace(&pair));
        }
        pair.west_has(&format!("192.1.2.45/32 -> 192.0.2.9/32 => {shunt}"));
        // Asked for all the time, once in each life of the record, and forgotten once nobody cares.
        let asked = pair.west.asked.len() - asked;
        assert!((200..=2 * 86_400 / 300).contains(&asked), "{asked}");
        pair.west.sleep(600);
        assert_eq!(pair.west.eroutes().len(), 2, "{}", trace(&pair));
    }
}

#[test]
fn h8_what_gets_a_key_meanwhile_gets_its_tunnel() {
    let mut pair = opportunists(Security::Secure);
    let theirs = Query::Delegation(addr(EAST));
    let known = pair.west.dns.remove(&theirs).unwrap();
    pair.west.send(WEST, EAST);
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %pass");
    pair.west.dns.insert(theirs, known);
    for second in 0..320 {
        let verdict = pair.west.send(WEST, EAST);
        assert!(!matches!(verdict, Outbound::Drop(_)), "{second}");
        pair.sleep(1);
    }
    pair.carries(EAST, WEST);
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => tun");
}

#[test]
fn h8_a_dead_resolver_costs_one_wait_of_three_seconds() {
    let mut pair = opportunists(Security::Secure);
    let west = &mut pair.west;
    west.dns_waits = true;
    // Two at once: one wait for both.
    assert!(!passes(west, NOBODY));
    sleep_without_dns(west, 1);
    assert!(!passes(west, "192.0.2.10"));
    sleep_without_dns(west, 2);
    for to in [NOBODY, "192.0.2.10"] {
        assert!(passes(west, to), "{to}: {:?}", west.eroutes());
    }
    let released = west.released.len();
    assert_eq!(released, 2, "what was held has gone: {:?}", west.released);
    // Then nothing: neither these nor new ones wait, for as long as it is dead.
    for second in 0..600u32 {
        sleep_without_dns(west, 1);
        assert!(passes(west, NOBODY), "{second}: {:?}", west.eroutes());
        if second % 20 == 0 {
            let new = std::net::Ipv4Addr::from(0xc000_0300 + second).to_string();
            west.send(WEST, &new);
            assert!(passes(west, &new), "{second}: {:?}", west.eroutes());
        }
    }
    // It is back: what is asked for waits again and gets its tunnel.
    pair.west.dns_answers();
    pair.west.late.clear();
    pair.sleep(6);
    pair.west.released.clear();
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    assert!(went_encrypted(&pair.west), "the packet has waited");
    assert!(pair.west.log.iter().any(|line| line == "DNS answers again"));
}

/// A zone of which nothing is heard is no dead resolver.
#[test]
fn h8_a_silent_zone_is_not_a_dead_resolver() {
    let mut pair = opportunists(Security::Secure);
    pair.west.silent = vec![Query::Delegation(addr(NOBODY))];
    assert!(!passes(&mut pair.west, NOBODY));
    pair.sleep(4);
    assert!(passes(&mut pair.west, NOBODY), "{}", trace(&pair));
    pair.west.send(WEST, EAST);
    pair.settle();
    assert!(went_encrypted(&pair.west), "{}", trace(&pair));
    assert!(
        !pair
            .west
            .log
            .iter()
            .any(|line| line.contains("DNS does not"))
    );
}

/// The way to a destination without a key: one look-up, of both sides at once; nothing after that.
#[test]
fn h8_a_destination_without_a_key_costs_one_look_up() {
    let mut pair = opportunists(Security::Secure);
    let west = &mut pair.west;
    west.dns_waits = true;
    west.send(WEST, NOBODY);
    let side_by_side = west.asked.len();
    assert_eq!(side_by_side, 2, "{:?}", west.asked);
    west.dns_answers();
    assert!(passes(west, NOBODY));
    assert_eq!(west.asked.len(), 0, "no second round: {:?}", west.asked);
    for _ in 0..100 {
        assert!(passes(west, NOBODY));
    }
    assert_eq!(west.asked.len(), 0);
    assert!(west.sent.is_empty());
}
