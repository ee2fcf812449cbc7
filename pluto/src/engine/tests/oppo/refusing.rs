//! Gateways that say no: the policy's shunt stands at once, and nobody else pays for it.

use super::*;

/// Two opportunists of whom west asks for ever, as `conn %default` in the sample file has it, or as often as is said here.
fn with_keying_tries(tries: u32, failure: Failure) -> Pair {
    let mut pair = opportunists(Security::Secure);
    for name in ["me-to-anyone", "net-to-anyone"] {
        pair.west.ask(Request::Delete { name: name.into() });
    }
    for (name, client) in [("me", None), ("net", Some("10.0.1.0/24"))] {
        let mut conn = to_anyone(name, WEST, client);
        conn.lifetimes.keying_tries = tries;
        conn.policy.failure = failure;
        pair.west.add(conn);
        pair.west.route(name);
    }
    pair
}

/// The record of `client`, which east does not speak for, names east with east's key.
fn claim(pair: &mut Pair, client: &str) {
    Dns(pair).delegate(client, EAST, Some(keys()[0].public()), Security::Secure);
}

#[test]
fn h4_h6_what_is_refused_is_not_repeated_and_the_shunt_stands_at_once() {
    for tries in [0, 1, 3] {
        for (failure, shunt) in [(Failure::Pass, "%pass"), (Failure::Drop, "%drop")] {
            let mut pair = with_keying_tries(tries, failure);
            claim(&mut pair, "45.0.0.1");
            pair.west.send(WEST, "45.0.0.1");
            pair.settle();
            pair.west_has(&format!("192.1.2.45/32 -> 45.0.0.1/32 => {shunt}"));
            let asked = pair.datagrams;
            pair.sleep(250);
            assert!(pair.datagrams - asked <= 2, "{}", trace(&pair));
            let begun = |pair: &Pair| {
                let log = pair.west.log.iter();
                log.filter(|line| line.contains("initiating Quick Mode"))
                    .count()
            };
            assert_eq!(begun(&pair), 1, "{}", trace(&pair));
        }
    }
}

#[test]
fn h6_silence_in_any_exchange_holds_nothing_for_long() {
    for answered in 0..6 {
        let mut pair = with_keying_tries(0, Failure::Pass);
        pair.west.send(WEST, EAST);
        for _ in 0..answered {
            pair.carry_one(true);
            pair.carry_one(false);
        }
        if has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => tun") {
            continue;
        }
        pair.cut = true;
        pair.sleep(31);
        pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %pass");
    }
}

#[test]
fn h3_a_refusal_counts_for_the_client_it_was_about() {
    let mut pair = with_keying_tries(0, Failure::Drop);
    claim(&mut pair, "45.0.0.1");
    pair.west.send(WEST, "45.0.0.1");
    pair.settle();
    pair.west_has("192.1.2.45/32 -> 45.0.0.1/32 => %drop");
    // The same gateway, for whom it speaks.
    pair.west.send(WEST, "10.0.2.1");
    pair.settle();
    pair.carries("10.0.2.1", WEST);
    // And while there are tunnels.
    claim(&mut pair, "45.0.0.2");
    pair.west.send("10.0.1.1", "45.0.0.2");
    pair.settle();
    pair.west_has("10.0.1.1/32 -> 45.0.0.2/32 => %drop");
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn h3_a_gateway_with_an_isakmp_sa_is_not_dead_whatever_is_lost() {
    let mut pair = with_keying_tries(0, Failure::Drop);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    // Another destination's record names the gateway with another key, and what goes to it meanwhile is lost.
    let wrong = keys()[2].public();
    Dns(&mut pair).delegate("45.0.0.1", EAST, Some(wrong), Security::Secure);
    pair.cut = true;
    pair.west.send(WEST, "45.0.0.1");
    pair.sleep(20);
    pair.west_has("192.1.2.45/32 -> 45.0.0.1/32 => %drop");
    pair.cut = false;
    pair.west.send(WEST, "10.0.2.1");
    pair.settle();
    pair.carries("10.0.2.1", WEST);
}
