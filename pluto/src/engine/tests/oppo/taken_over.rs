//! Somebody on the path has the peer's address redirected to himself. He is `@evil.example`, with a KEY in a signed zone of his own, and wants the
//! tunnel of a host that DNSSEC speaks for.

use super::*;

const EVIL: &str = "@evil.example";

/// East's address has become the attacker's: his gateway, with his key. He believes whatever helps.
pub(super) fn attacker() -> Gateway {
    let mut evil = Gateway::at(EAST);
    evil.engine.rng = Box::new(StdRng::seed_from_u64(666));
    own_key(&mut evil, &keys()[2]);
    let [west, own] = [keys()[1].public(), keys()[2].public()];
    let record = |speaker: &str, key: &PublicKey| Answer {
        delegations: vec![delegation(speaker, Some(key))],
        ..answer()
    };
    let key_of = |key: &PublicKey| Answer {
        keys: vec![key.clone()],
        ..answer()
    };
    let dns = [
        (Query::Delegation(addr(WEST)), record(WEST, west)),
        (Query::Delegation(addr("10.0.1.1")), record(WEST, west)),
        (Query::Delegation(addr("10.0.2.1")), record(EVIL, own)),
        (Query::Keys(Speaker::parse(WEST).unwrap()), key_of(west)),
        (Query::Keys(Speaker::parse(EVIL).unwrap()), key_of(own)),
    ];
    evil.dns = dns.map(|(query, found)| (query, Ok(found))).into();
    for (name, client) in [("evil", None), ("evil-net", Some("10.0.2.0/24"))] {
        let mut conn = to_anyone(name, EAST, client);
        conn.left.id = Some(EVIL.into());
        evil.add(conn);
        assert_eq!(evil.route(name), 0);
    }
    evil
}

fn delegation(speaker: &str, key: Option<&PublicKey>) -> Delegation {
    Delegation {
        precedence: 10,
        gateway: Speaker::parse(speaker).unwrap(),
        key: key.cloned(),
        source: Source::Txt,
    }
}

/// Two opportunists with signed records; the policies of west are these, and the attacker's key is in DNS.
pub(super) fn victims(dnssec: bool, failure: Failure) -> Pair {
    let mut pair = opportunists(Security::Secure);
    for (name, client) in [
        ("me-to-anyone", None),
        ("net-to-anyone", Some("10.0.1.0/24")),
    ] {
        pair.west.ask(Request::Delete { name: name.into() });
        let mut conn = to_anyone(name, WEST, client);
        conn.policy.dnssec = dnssec;
        conn.policy.failure = failure;
        pair.west.add(conn);
        assert_eq!(pair.west.route(name), 0);
    }
    let own = keys()[2].public().clone();
    Dns(&mut pair).key(EVIL, &own, Security::Secure);
    pair
}

/// All that the attacker does is for these; he has no SA in the end, and west none for them.
#[track_caller]
fn nothing_is_his(pair: &Pair, story: &str) {
    // East's place is his at the moment.
    assert_eq!(
        pair.east.sas(),
        Vec::<String>::new(),
        "{story}\n{}",
        trace(pair)
    );
}

#[test]
fn h1_an_address_with_records_is_not_taken_before_there_is_a_tunnel() {
    for (ours, theirs) in [(WEST, EAST), ("10.0.1.1", EAST), (WEST, "10.0.2.1")] {
        for dnssec in [true, false] {
            for west_begins in [true, false] {
                let story =
                    format!("{ours} to {theirs}, dnssec {dnssec}, west begins {west_begins}");
                let mut pair = victims(dnssec, Failure::Drop);
                pair.east = attacker();
                if west_begins {
                    pair.west.send(ours, theirs);
                    pair.settle();
                }
                pair.east.send(theirs, ours);
                pair.settle();
                pair.sleep(30);
                nothing_is_his(&pair, &story);
                assert!(pair.west.sas().is_empty(), "{story}\n{}", trace(&pair));
            }
        }
    }
}

/// First while the tunnel is there, then when the attacker's silence has taken it down.
#[test]
fn h1_a_tunnel_is_not_taken_while_it_stands_nor_after() {
    for (ours, theirs) in [(WEST, EAST), (WEST, "10.0.2.1")] {
        for dnssec in [true, false] {
            let story = format!("{ours} to {theirs}, dnssec {dnssec}");
            let mut pair = victims(dnssec, Failure::Drop);
            pair.west.send(ours, theirs);
            pair.settle();
            pair.carries(theirs, ours);
            let before = pair.west.eroutes();
            let mut honest = std::mem::replace(&mut pair.east, attacker());
            pair.east.send(theirs, ours);
            pair.settle();
            nothing_is_his(&pair, &story);
            assert_eq!(pair.west.eroutes(), before, "{story}\n{}", trace(&pair));
            // The real one is still there.
            std::mem::swap(&mut pair.east, &mut honest);
            pair.carries(theirs, ours);
            std::mem::swap(&mut pair.east, &mut honest);
            for n in 0..400 {
                pair.west.send(ours, theirs);
                if n % 40 == 0 {
                    pair.east = attacker();
                    pair.east.engine.rng = Box::new(StdRng::seed_from_u64(n));
                    pair.east.send(theirs, ours);
                }
                pair.sleep(1);
                nothing_is_his(&pair, &story);
            }
            assert!(pair.west.sas().is_empty(), "{story}\n{}", trace(&pair));
            let clear = |v: &Outbound| matches!(v, Outbound::Pass { .. });
            assert!(!pair.west.released.iter().any(clear), "{story}");
            // East comes back, and is met again.
            pair.east = opportunists(Security::Secure).east;
            pair.east.engine.rng = Box::new(StdRng::seed_from_u64(77));
            pair.east.send(theirs, ours);
            pair.settle();
            pair.carries(theirs, ours);
        }
    }
}

/// The attacker makes DNS fail for whoever asks about east.
#[test]
fn h1_a_look_up_that_fails_confirms_nothing() {
    let name = || Query::Delegation(addr(EAST)).name();
    let fails = [
        LookupError::Bogus {
            name: name(),
            why: "signature expired".to_owned(),
        },
        LookupError::Timeout {
            name: name(),
            after: Duration::from_secs(6),
        },
        LookupError::Malformed {
            name: name(),
            what: "no key".to_owned(),
        },
    ];
    for error in fails {
        for both in [false, true] {
            let mut pair = victims(false, Failure::Drop);
            pair.west
                .dns
                .insert(Query::Delegation(addr(EAST)), Err(error.clone()));
            if both {
                let keys = Query::Keys(Speaker::parse(EAST).unwrap());
                pair.west.dns.insert(keys, Err(error.clone()));
            }
            pair.east = attacker();
            pair.east.send(EAST, WEST);
            pair.settle();
            nothing_is_his(&pair, &error.to_string());
        }
    }
}

/// East's TXT record names it without a key: the key is the one under its own name, whatever the attacker calls himself.
#[test]
fn h1_a_record_without_a_key_means_the_key_of_the_gateway_that_it_names() {
    for client in [EAST, "10.0.2.1"] {
        let with = || {
            let mut pair = victims(true, Failure::Drop);
            Dns(&mut pair).delegate(client, EAST, None, Security::Secure);
            pair
        };
        let mut pair = with();
        pair.east.send(client, WEST);
        pair.settle();
        pair.carries(client, WEST);
        let mut pair = with();
        pair.east = attacker();
        pair.east.send(client, WEST);
        pair.settle();
        nothing_is_his(&pair, client);
    }
}

/// A host whose only record is a KEY under its own address (RFC 4322 section 5.3), and one that has none.
#[test]
fn h1_a_host_without_a_record_speaks_for_itself_as_far_as_the_policy_says() {
    for dnssec in [true, false] {
        let mut pair = victims(dnssec, Failure::Drop);
        pair.west.dns.remove(&Query::Delegation(addr(EAST)));
        if dnssec {
            let name = Query::Delegation(addr(EAST)).name();
            let none = LookupError::NoRecord {
                name,
                records: "TXT",
                security: Security::Secure,
                ttl: Duration::from_secs(300),
            };
            pair.west
                .dns
                .insert(Query::Delegation(addr(EAST)), Err(none));
        }
        let with_key = pair.west.dns.clone();
        pair.east.send(EAST, WEST);
        pair.settle();
        pair.carries(EAST, WEST);
        // Its KEY is another.
        let mut pair = victims(dnssec, Failure::Drop);
        pair.west.dns = with_key.clone();
        pair.east = attacker();
        pair.east.send(EAST, WEST);
        pair.settle();
        nothing_is_his(&pair, "KEY");
        // It has none: nothing says who it is.
        let mut pair = victims(dnssec, Failure::Drop);
        pair.west.dns = with_key;
        let key = Query::Keys(Speaker::parse(EAST).unwrap());
        pair.west.dns.remove(&key);
        pair.east = attacker();
        pair.east.send(EAST, WEST);
        pair.settle();
        assert_eq!(pair.east.sas().is_empty(), dnssec, "{}", trace(&pair));
    }
}

/// East calls itself by a name whose KEY is in a zone that nobody has signed, and there the attacker puts his. He is not taken for the one to whom the
/// tunnel is pinned, and what he says of SAs is not believed.
#[test]
fn h1_pins_hold_against_the_peers_own_name() {
    let mut pair = victims(false, Failure::Drop);
    let [east, evil] = [keys()[0].public().clone(), keys()[2].public().clone()];
    let named = "@east.example";
    let mut dns = Dns(&mut pair);
    dns.delegate(EAST, named, Some(&east), Security::Secure);
    dns.key(named, &east, Security::Insecure);
    pair.east.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut conn = to_anyone("by-name", EAST, None);
    conn.left.id = Some(named.into());
    pair.east.add(conn);
    assert_eq!(pair.east.route("by-name"), 0);
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.carries(EAST, WEST);
    let before = (pair.west.eroutes(), pair.west.sas());
    pair.sleep(10);
    Dns(&mut pair).key(named, &evil, Security::Insecure);
    let mut honest = std::mem::replace(&mut pair.east, attacker());
    for name in ["evil", "evil-net"] {
        pair.east.ask(Request::Delete { name: name.into() });
    }
    let mut conn = to_anyone("as-east", EAST, None);
    conn.left.id = Some(named.into());
    pair.east.add(conn);
    let key = Answer {
        keys: vec![evil.clone()],
        ..answer()
    };
    pair.east
        .dns
        .insert(Query::Keys(Speaker::parse(named).unwrap()), Ok(key));
    assert_eq!(pair.east.route("as-east"), 0);
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.sleep(5);
    nothing_is_his(&pair, "by name");
    assert_eq!(
        (pair.west.eroutes(), pair.west.sas()),
        before,
        "{}",
        trace(&pair)
    );
    std::mem::swap(&mut pair.east, &mut honest);
    pair.carries(EAST, WEST);
}

/// A client moves to another gateway, by signed records: what the old one had goes. By unsigned ones the tunnel stays with the old one.
#[test]
fn h1_what_stands_gives_way_to_signed_records_only() {
    for security in [Security::Secure, Security::Insecure] {
        let mut pair = opportunists(security);
        pair.west.send(WEST, "10.0.2.1");
        pair.settle();
        pair.carries("10.0.2.1", WEST);
        let before = pair.west.eroutes();
        let evil = keys()[2].public().clone();
        let mut dns = Dns(&mut pair);
        dns.key(EVIL, &evil, security);
        dns.delegate("10.0.2.1", EVIL, Some(&evil), security);
        let new = attacker();
        pair.east = new;
        pair.east.send("10.0.2.1", WEST);
        pair.settle();
        if security == Security::Secure {
            assert!(!pair.east.sas().is_empty(), "{}", trace(&pair));
            pair.carries("10.0.2.1", WEST);
        } else {
            nothing_is_his(&pair, "unsigned");
            assert_eq!(pair.west.eroutes(), before);
        }
    }
}

/// What was found is out of date: DNS is asked before a Quick Mode of ours too, and who speaks for the client no longer gets none.
#[test]
fn h1_a_tunnel_is_made_anew_only_if_the_records_still_name_the_peer() {
    for names_it in [true, false] {
        let mut pair = opportunists(Security::Secure);
        pair.west.ask(Request::Delete {
            name: "me-to-anyone".into(),
        });
        let mut conn = to_anyone("me-to-anyone", WEST, None);
        conn.lifetimes.ipsec = 7200;
        pair.west.add(conn);
        assert_eq!(pair.west.route("me-to-anyone"), 0);
        pair.west.send(WEST, EAST);
        pair.settle();
        let asked = |pair: &Pair| {
            let all = pair.west.asked.iter();
            all.filter(|(_, query)| *query == Query::Delegation(addr(EAST)))
                .count()
        };
        assert_eq!(asked(&pair), 1);
        if !names_it {
            let other = keys()[2].public().clone();
            Dns(&mut pair).delegate(EAST, EAST, Some(&other), Security::Secure);
        }
        for _ in 0..720 {
            pair.sleep(10);
            if names_it {
                pair.carries(EAST, WEST);
            } else {
                pair.west.send(WEST, EAST);
                pair.east.send(EAST, WEST);
            }
        }
        assert!(asked(&pair) >= 2, "{}", trace(&pair));
        assert_eq!(
            has(&pair.west, &format!("{WEST}/32 -> {EAST}/32 => tun")),
            names_it,
            "{}",
            trace(&pair)
        );
    }
}

/// The look-up of the peer's own address goes on beside that of its key: Quick Mode waits for neither.
#[test]
fn h1_a_peer_that_speaks_for_itself_is_looked_up_while_main_mode_goes_on() {
    let mut pair = opportunists(Security::Secure);
    pair.east.dns_waits = true;
    pair.west.send(WEST, EAST);
    pair.settle();
    let asked: Vec<Query> = pair
        .east
        .asked
        .iter()
        .map(|(_, query)| query.clone())
        .collect();
    let keys = Query::Keys(Speaker::parse(WEST).unwrap());
    assert!(
        asked.len() == 2 && asked.contains(&keys) && asked.contains(&Query::Delegation(addr(WEST))),
        "{asked:?}"
    );
    pair.east.dns_answers();
    pair.east.dns_waits = true;
    pair.settle();
    pair.carries(EAST, WEST);
    assert!(pair.east.asked.is_empty(), "{:?}", pair.east.asked);
}
