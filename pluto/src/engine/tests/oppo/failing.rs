//! What stands where DNS or the gateway gives no tunnel, and whom nobody believes.

use super::*;

/// Two opportunists, of whom west has the connection "policy" alone, routed.
fn with_policy(failure: Failure) -> Pair {
    let mut pair = opportunists(Security::Secure);
    for name in ["me-to-anyone", "net-to-anyone"] {
        pair.west.ask(Request::Delete { name: name.into() });
    }
    let mut conn = to_anyone("policy", WEST, None);
    conn.policy.failure = failure;
    pair.west.add(conn);
    pair.west.route("policy");
    pair
}

/// What becomes of a packet to a destination without a tunnel, by policy.
fn after_failure(failure: Failure, spoil: impl Fn(&mut Pair)) -> (Pair, Vec<Outbound>) {
    let mut pair = with_policy(failure);
    pair.west.released.clear();
    spoil(&mut pair);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.sleep(300);
    let released = std::mem::take(&mut pair.west.released);
    (pair, released)
}

#[test]
fn without_a_tunnel_the_policy_decides() {
    let theirs = || Query::Delegation(addr(EAST));
    let no_record = |pair: &mut Pair| {
        pair.west.dns.remove(&theirs());
    };
    let bogus = |pair: &mut Pair| {
        let (name, why) = (theirs().name(), "signature expired".to_owned());
        pair.west
            .dns
            .insert(theirs(), Err(LookupError::Bogus { name, why }));
    };
    let malformed = |pair: &mut Pair| {
        let (name, what) = (theirs().name(), "no key".to_owned());
        let error = LookupError::Malformed { name, what };
        pair.west.dns.insert(theirs(), Err(error));
    };
    let dead = |pair: &mut Pair| {
        pair.west.dns_waits = true;
    };
    let wrong_key = |pair: &mut Pair| {
        let other = keys()[2].public().clone();
        Dns(pair).delegate(EAST, EAST, Some(&other), Security::Secure);
    };
    let silent = |pair: &mut Pair| pair.cut = true;
    type Spoil<'a> = &'a dyn Fn(&mut Pair);
    let cases: [(&str, Spoil<'_>); 6] = [
        ("no record", &no_record),
        ("bogus", &bogus),
        ("malformed", &malformed),
        ("DNS dead", &dead),
        ("wrong key", &wrong_key),
        ("no IKE", &silent),
    ];
    for (what, spoil) in cases {
        let (_, released) = after_failure(Failure::Pass, spoil);
        // RFC 4322 section 3.2.4: what is spoiled is denied.
        let passes = !matches!(what, "bogus" | "malformed");
        assert!(
            released.is_empty() != passes
                && released.iter().all(|v| matches!(v, Outbound::Pass { .. })),
            "{what}: {released:?}"
        );
        for failure in [Failure::Drop, Failure::Reject] {
            let (pair, released) = after_failure(failure, spoil);
            assert!(
                !released
                    .iter()
                    .any(|v| matches!(v, Outbound::Pass { .. } | Outbound::Transmit { .. })),
                "{what}: {released:?} {}",
                trace(&pair)
            );
        }
    }
}

#[test]
fn a_shunt_has_its_reason_and_its_end() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, "192.0.2.9");
    pair.west_has("192.1.2.45/32 -> 192.0.2.9/32 => %pass");
    let status = pair.west.status_text();
    assert!(status.contains("192.1.2.45/32:0 -0-> 192.0.2.9/32:0 => %pass 0    no TXT X-IPsec-Server or IPSECKEY record for 9.2.0.192.in-addr.arpa in DNS (not signed) (since 0 s, for 300 s more)"), "{status}");
    let asked = pair.west.asked.len();
    pair.west.send(WEST, "192.0.2.9");
    assert_eq!(pair.west.asked.len(), asked, "it is remembered");
    pair.west.sleep(301);
    assert_eq!(pair.west.eroutes().len(), 2, "{}", trace(&pair));
    pair.west.send(WEST, "192.0.2.9");
    assert!(pair.west.asked.len() > asked, "traffic asks again");
}

#[test]
fn unsigned_answers_are_believed_unless_dnssec_is_wanted() {
    let mut pair = opportunists(Security::Insecure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    // As an initiator.
    let mut pair = opportunists(Security::Insecure);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut strict = to_anyone("strict", WEST, None);
    strict.policy.dnssec = true;
    pair.west.add(strict.clone());
    pair.west.route("strict");
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %pass");
    assert!(pair.west.status_text().contains("dnssec=yes"));
    // As a responder.
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.sleep(400);
    assert!(
        !has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => tun"),
        "{}",
        trace(&pair)
    );
    assert!(
        pair.west
            .log
            .iter()
            .any(|l| l.contains("wants one (dnssec=yes)")),
        "{}",
        trace(&pair)
    );
}

#[test]
fn a_stranger_must_have_the_right_to_speak_for_its_client() {
    let mut pair = opportunists(Security::Secure);
    // East's DNS does not know that west speaks for 10.0.1.1.
    pair.east.dns.remove(&Query::Delegation(addr("10.0.1.1")));
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    assert!(
        !has(&pair.east, "10.0.2.1/32 -> 10.0.1.1/32 => tun"),
        "{}",
        trace(&pair)
    );
    let text = "gateway 192.1.2.45 wants connection with 10.0.1.1 as his client, but DNS fails to confirm delegation: no TXT";
    assert!(
        pair.east.log.iter().any(|l| l.contains(text)),
        "{}",
        trace(&pair)
    );
    // Nor that east speaks for 10.0.2.1.
    let mut pair = opportunists(Security::Secure);
    pair.east.dns.remove(&Query::Delegation(addr("10.0.2.1")));
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    assert!(!has(&pair.east, "10.0.2.1/32 -> 10.0.1.1/32 => tun"));
    assert!(
        pair.east
            .log
            .iter()
            .any(|l| l.contains("as our client, but DNS fails")),
        "{}",
        trace(&pair)
    );
    // And nobody is believed whose key DNS does not have.
    let mut pair = opportunists(Security::Secure);
    pair.east
        .dns
        .remove(&Query::Keys(Speaker::Address(addr(WEST))));
    pair.west.send(WEST, EAST);
    pair.settle();
    assert!(
        pair.east
            .log
            .iter()
            .any(|l| l.contains("DNS search for KEY failed")),
        "{}",
        trace(&pair)
    );
    assert!(!has(&pair.east, "192.1.2.23/32 -> 192.1.2.45/32 => tun"));
}

#[test]
fn the_next_gateway_is_tried() {
    let mut pair = opportunists(Security::Secure);
    let delegation = |precedence, gateway: &str| Delegation {
        precedence,
        gateway: Speaker::parse(gateway).unwrap(),
        key: Some(keys()[0].public().clone()),
        source: Source::Txt,
    };
    // The first is nobody, a name in a TXT record can't be reached, and the last is east.
    let delegations = vec![
        delegation(5, "192.1.2.99"),
        delegation(7, "@east"),
        delegation(10, EAST),
    ];
    let found = Answer {
        delegations,
        ..answer()
    };
    Dns(&mut pair).set(Query::Delegation(addr("10.0.2.1")), Ok(found));
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    pair.sleep(30);
    pair.west_has("10.0.1.1/32 -> 10.0.2.1/32 => tun");
    pair.carries("10.0.2.1", "10.0.1.1");
    assert!(went_encrypted(&pair.west), "the packet has waited");
}

#[test]
fn a_wrong_key_is_a_verdict() {
    let mut pair = opportunists(Security::Secure);
    let mut dns = Dns(&mut pair);
    let [right, wrong] = [keys()[0].public(), keys()[2].public()];
    dns.delegate("10.0.2.1", EAST, Some(wrong), Security::Secure);
    dns.delegate("10.0.2.2", EAST, Some(right), Security::Secure);
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    // At once, and with the reason.
    pair.west_has("10.0.1.1/32 -> 10.0.2.1/32 => %pass");
    let status = pair.west.status_text();
    assert!(status.contains("(wrong key?)"), "{status}");
    // The same gateway speaks for others with the right key.
    pair.west.send("10.0.1.1", "10.0.2.2");
    pair.settle();
    pair.west_has("10.0.1.1/32 -> 10.0.2.2/32 => tun");
}

/// How soon west asks a gateway again that has gone silent; that it was `known` is what is tried.
fn silent_for(failure: Failure, known: bool) -> (Pair, u64) {
    let mut pair = with_policy(failure);
    if known {
        pair.west.send(WEST, EAST);
        pair.settle();
        pair.carries(EAST, WEST);
        pair.west.ask(Request::Terminate {
            name: "policy".into(),
        });
        pair.settle();
    }
    pair.cut = true;
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.sleep(20);
    pair.west_has("192.1.2.45/32 -> 192.1.2.23/32 => %");
    pair.cut = false;
    let mut waited = 20;
    while waited < 400 && !has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => tun") {
        pair.west.send(WEST, EAST);
        pair.settle();
        pair.sleep(1);
        waited += 1;
    }
    (pair, waited)
}

/// Where nothing passes, a gateway that had a tunnel with us is asked again after half a minute: it boots, or a link was down. Where packets
/// pass they would be held each time.
#[test]
fn a_known_gateway_is_asked_again_soon_while_nothing_passes() {
    for (failure, known, expected) in [
        (Failure::Drop, true, 40..=60),
        (Failure::Reject, true, 40..=60),
        (Failure::Drop, false, 300..=330),
        (Failure::Pass, true, 300..=330),
    ] {
        let (pair, waited) = silent_for(failure, known);
        assert!(
            expected.contains(&waited),
            "{failure:?} {known} {waited} {}",
            trace(&pair)
        );
    }
}

/// DNS fails for a while. Where nothing passes meanwhile, what is used has its tunnel soon after the records' return.
#[test]
fn a_failure_of_dns_is_over_soon_while_nothing_passes() {
    for (failure, expected) in [
        (Failure::Drop, 0..=20),
        (Failure::Reject, 0..=20),
        (Failure::Pass, 40..=60),
    ] {
        let about = Query::Delegation(addr(EAST));
        let mut pair = with_policy(failure);
        let right = pair.west.dns[&about].clone();
        let failed = LookupError::ServerFailure {
            name: about.name(),
            why: "Server Failure".into(),
        };
        pair.west.dns.insert(about.clone(), Err(failed));
        let until = |pair: &mut Pair, seconds: u32| {
            for waited in 0..seconds {
                if has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => tun") {
                    return waited;
                }
                pair.west.send(WEST, EAST);
                pair.settle();
                pair.sleep(1);
            }
            seconds
        };
        assert_eq!(until(&mut pair, 65), 65);
        pair.west.dns.insert(about, right);
        let waited = until(&mut pair, 400);
        assert!(
            expected.contains(&waited),
            "{failure:?} {waited} {}",
            trace(&pair)
        );
    }
}

/// Whoever has a zone can have as many wrong records as he likes.
#[test]
fn wrong_records_write_few_lines() {
    let mut pair = with_policy(Failure::Pass);
    for n in 0..1000u32 {
        let to = std::net::Ipv4Addr::from(0x0a80_0000 + n);
        let query = Query::Delegation(to.into());
        let (name, what) = (query.name(), "no key".to_owned());
        pair.west
            .dns
            .insert(query, Err(LookupError::Malformed { name, what }));
        pair.west.send(WEST, &to.to_string());
        pair.settle();
    }
    let lines = pair.west.log.len();
    assert!((50..100).contains(&lines), "{lines} {}", trace(&pair));
}
