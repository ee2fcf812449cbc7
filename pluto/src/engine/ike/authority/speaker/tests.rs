//! Each claim against each kind of record.

use super::*;

const PEER: &str = "192.0.2.1";
const BEHIND: &str = "192.0.22.1";

/// Keys that nobody has the private half of: only which is which matters here.
fn key(n: u8) -> PublicKey {
    let mut modulus = vec![0x55; 256];
    (modulus[0], modulus[9]) = (0x85, n);
    PublicKey::new(&modulus, &[1, 0, 1]).unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn gateway(text: &str) -> Gateway {
    Gateway::parse(text).unwrap()
}

fn answer(security: Security) -> Answer {
    Answer {
        delegations: Vec::new(),
        keys: Vec::new(),
        addresses: Vec::new(),
        security,
        ttl: Duration::from_secs(300),
        aliases: Vec::new(),
        faults: Vec::new(),
    }
}

/// What the client's zone has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    PeerAndKey,
    /// The gateway's KEY record has the peer's key.
    PeerWithoutKey,
    /// It has another.
    PeerWithoutKeyHasOther,
    Another,
    AnotherWithPeersKey,
    OtherKey,
    /// No record of its own, and under the client's name a KEY record with the peer's key.
    NoneButKey,
    NoneButOtherKey,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dns {
    Answers(Security),
    Bogus,
    Timeout,
}

fn fails(dns: Dns, query: &Query) -> LookupError {
    let name = query.name();
    match dns {
        Dns::Timeout => LookupError::Timeout {
            name,
            after: Duration::from_secs(6),
        },
        Dns::Bogus => LookupError::Bogus {
            name,
            why: "expired".into(),
        },
        Dns::Answers(security) => LookupError::NoRecord {
            name,
            records: query.records(),
            security,
            ttl: Duration::from_secs(300),
        },
    }
}

fn look_up(has: Has, dns: Dns, query: &Query) -> Result<Answer, LookupError> {
    let Dns::Answers(security) = dns else {
        return Err(fails(dns, query));
    };
    let record = |to: &str, key| {
        let delegations = vec![Delegation {
            precedence: 10,
            gateway: gateway(to),
            key,
            source: Source::Txt,
        }];
        Ok(Answer {
            delegations,
            ..answer(security)
        })
    };
    let keys = |n| {
        Ok(Answer {
            keys: vec![key(n)],
            ..answer(security)
        })
    };
    match (query, has) {
        (Query::Delegation(_), Has::PeerAndKey) => record(PEER, Some(key(1))),
        (Query::Delegation(_), Has::PeerWithoutKey | Has::PeerWithoutKeyHasOther) => {
            record(PEER, None)
        }
        (Query::Delegation(_), Has::Another) => record("192.0.2.99", Some(key(9))),
        (Query::Delegation(_), Has::AnotherWithPeersKey) => record("192.0.2.99", Some(key(1))),
        (Query::Delegation(_), Has::OtherKey) => record(PEER, Some(key(9))),
        (Query::Keys(_), Has::PeerWithoutKey | Has::NoneButKey) => keys(1),
        (Query::Keys(_), Has::PeerWithoutKeyHasOther | Has::NoneButOtherKey) => keys(9),
        _ => Err(fails(dns, query)),
    }
}

/// Asks until nothing is to be asked.
fn decide(claim: &Claim<'_>, has: Has, dns: Dns) -> Result<Pins, Mute> {
    let mut records = Records::default();
    for _ in 0..4 {
        match speaker(Time::ZERO, claim, &records)? {
            Says::Speaks(pins) => return Ok(pins),
            Says::Ask(query) => {
                let found = look_up(has, dns, &query);
                records.add(claim, &query, &found);
            }
        }
    }
    panic!("asks for ever: {claim:?} {has:?}");
}

fn pins(n: u8, security: Security, until: u64) -> Pins {
    Pins {
        gateway: gateway(PEER),
        keys: vec![pin(key(n), security)],
        until: Time::ZERO + Duration::from_secs(until),
    }
}

/// Rows: who, what the zone has; what is said without an instance (signed and `dnssec=yes`, signed, unsigned and `dnssec=yes`, unsigned);
/// and with an instance that is pinned to another key.
const ROWS: [(&str, Has, &str, &str); 18] = [
    (PEER, Has::PeerAndKey, "yyny", "yynn"),
    (PEER, Has::PeerWithoutKey, "yyny", "yynn"),
    (PEER, Has::PeerWithoutKeyHasOther, "nnnn", "nnnn"),
    (PEER, Has::Another, "nnnn", "nnnn"),
    (PEER, Has::AnotherWithPeersKey, "nnnn", "nnnn"),
    (PEER, Has::OtherKey, "nnnn", "nnnn"),
    (PEER, Has::NoneButKey, "yyny", "yynn"),
    (PEER, Has::NoneButOtherKey, "nnnn", "nnnn"),
    (PEER, Has::None, "nyny", "nnnn"),
    (BEHIND, Has::PeerAndKey, "yyny", "yynn"),
    (BEHIND, Has::PeerWithoutKey, "yyny", "yynn"),
    (BEHIND, Has::PeerWithoutKeyHasOther, "nnnn", "nnnn"),
    (BEHIND, Has::Another, "nnnn", "nnnn"),
    (BEHIND, Has::AnotherWithPeersKey, "nnnn", "nnnn"),
    (BEHIND, Has::OtherKey, "nnnn", "nnnn"),
    (BEHIND, Has::NoneButKey, "nnnn", "nnnn"),
    (BEHIND, Has::NoneButOtherKey, "nnnn", "nnnn"),
    (BEHIND, Has::None, "nnnn", "nnnn"),
];

const COLUMNS: [(Security, bool); 4] = [
    (Security::Secure, true),
    (Security::Secure, false),
    (Security::Insecure, true),
    (Security::Insecure, false),
];

#[test]
fn h1_who_speaks_for_an_address_is_what_its_own_records_say() {
    let theirs = key(1);
    // The peer calls itself by its address, or by a name in a zone of its own.
    for name in [gateway(PEER), gateway("@evil.example")] {
        for (client, has, alone, against) in ROWS {
            for (n, (security, dnssec)) in COLUMNS.into_iter().enumerate() {
                let claim = |standing| Claim {
                    client: addr(client),
                    at: addr(PEER),
                    name: Some(&name),
                    key: Some(&theirs),
                    dnssec,
                    standing,
                };
                let standing = |pins| {
                    Some(Standing {
                        at: addr(PEER),
                        pins,
                    })
                };
                let story = format!("{client} {has:?} {security:?} dnssec {dnssec} as {name}");
                let said = |text: &str| &text[n..=n] == "y";
                let dns = Dns::Answers(security);
                let stale = [
                    pins(1, Security::Secure, 0),
                    pins(9, Security::Secure, 0),
                    pins(9, Security::Insecure, 0),
                ];
                let fresh = pins(1, Security::Secure, 9);
                let fresh_other = pins(9, Security::Insecure, 9);
                for (standing, expected) in [
                    (None, said(alone)),
                    (standing(&stale[0]), said(alone)),
                    (standing(&stale[1]), said(against)),
                    (standing(&stale[2]), said(against)),
                    // What was found a moment ago is not asked again.
                    (standing(&fresh), true),
                    (standing(&fresh_other), said(against)),
                ] {
                    let decided = decide(&claim(standing), has, dns);
                    let story = format!("{story}, there is {standing:?}: {decided:?}");
                    assert_eq!(decided.is_ok(), expected, "{story}");
                    if let Ok(pins) = decided {
                        assert!(pins.of(&theirs).is_some(), "{story}");
                    }
                    for dns in [Dns::Bogus, Dns::Timeout] {
                        let decided = decide(&claim(standing), has, dns);
                        let fresh = standing.is_some_and(|there| *there.pins == fresh);
                        assert_eq!(decided.is_ok(), fresh, "{story}: {dns:?}");
                    }
                }
                // Before Main Mode: with which keys may the gateway come? Without a record there is none.
                let before = Claim {
                    key: None,
                    ..claim(None)
                };
                let none = [Has::NoneButKey, Has::NoneButOtherKey, Has::None].contains(&has);
                let decided = decide(&before, has, dns);
                let is_peer = decided
                    .as_ref()
                    .is_ok_and(|pins| pins.of(&theirs).is_some());
                assert_eq!(is_peer, said(alone) && !none, "{story}: {decided:?}");
                for dns in [Dns::Bogus, Dns::Timeout] {
                    assert!(decide(&before, has, dns).is_err(), "{story}: {dns:?}");
                }
            }
        }
    }
}

/// What the weakest answer of all was worth.
#[test]
fn h1_pins_are_as_strong_as_the_answers() {
    let theirs = key(1);
    let name = gateway("@x.example");
    let mut claim = Claim {
        client: addr(PEER),
        at: addr(PEER),
        name: Some(&name),
        key: Some(&theirs),
        dnssec: false,
        standing: None,
    };
    let named = Answer {
        delegations: vec![Delegation {
            precedence: 10,
            gateway: name.clone(),
            key: None,
            source: Source::Txt,
        }],
        ..answer(Security::Secure)
    };
    let of_name = Answer {
        keys: vec![key(1)],
        ..answer(Security::Insecure)
    };
    let mut records = Records::default();
    records.add(&claim, &Query::Delegation(addr(PEER)), &Ok(named));
    records.add(&claim, &Query::Keys(name.clone()), &Ok(of_name));
    let Ok(Says::Speaks(weak)) = speaker(Time::ZERO, &claim, &records) else {
        panic!("{:?}", speaker(Time::ZERO, &claim, &records));
    };
    assert!(!weak.of(&theirs).unwrap().origin.trusted());
    claim.dnssec = true;
    assert_eq!(speaker(Time::ZERO, &claim, &records), Err(Mute::NotSigned));
    // What was proved once stays proved, of this key.
    let strong = pins(1, Security::Secure, 0);
    assert!(strong.renewed(weak).of(&theirs).unwrap().origin.trusted());
}

/// The name in an IPSECKEY record is where the gateway is, not who: its key tells that.
#[test]
fn h1_a_place_in_an_ipseckey_record_is_no_name() {
    let (theirs, other) = (key(1), key(9));
    for (has, expected) in [(&theirs, true), (&other, false)] {
        let claim = Claim {
            client: addr(PEER),
            at: addr(PEER),
            name: None,
            key: Some(&theirs),
            dnssec: true,
            standing: None,
        };
        let named = Answer {
            delegations: vec![Delegation {
                precedence: 10,
                gateway: gateway("@gw.example"),
                key: Some(has.clone()),
                source: Source::IpsecKey,
            }],
            ..answer(Security::Secure)
        };
        let mut records = Records::default();
        records.add(&claim, &Query::Delegation(addr(PEER)), &Ok(named));
        assert_eq!(speaker(Time::ZERO, &claim, &records).is_ok(), expected);
    }
}
