//! Each proof against each connection, and the ways by which an IKE SA comes to serve one: a peer that knows the secret of a
//! group tries for connections that it was not given for.

use ike::proposal::{IkeAlgorithms, IkeSuite};
use whack::{Host, Request};

use super::*;
use crate::engine::Event;
use crate::engine::tests::gateway::{Gateway, addr, net, net_to_net};
use crate::engine::tests::pair::Pair;

/// Keys that nobody has the private half of: only who has which matters here.
fn key(n: u8) -> PublicKey {
    let mut modulus = vec![0x55; 256];
    (modulus[0], modulus[9]) = (0x85, n);
    PublicKey::new(&modulus, &[1, 0, 1]).unwrap()
}

fn id(text: &str) -> KnownId {
    text.parse::<Id>().unwrap().known().unwrap().clone()
}

fn suite(list: &str) -> IkeSuite {
    IkeAlgorithms::parse(list).unwrap().suites[0]
}

fn secrets(gateway: &mut Gateway, text: &str) {
    let (secrets, problems) = ipsec_keys::Secrets::parse("ipsec.secrets", text);
    assert_eq!(problems, []);
    gateway.give(Event::Secrets {
        secrets: Box::new(secrets),
        problems: Vec::new(),
    });
}

/// A connection of east's: `peer` is the peer's identity, none for whoever comes.
fn conn(
    name: &str,
    peer: Option<&str>,
    change: impl FnOnce(&mut whack::Connection),
) -> whack::Connection {
    let mut conn = net_to_net(name);
    conn.left.id = peer.map(Into::into);
    if peer.is_none() {
        conn.left.host = Host::Any;
        conn.right.nexthop = None;
    }
    change(&mut conn);
    conn
}

fn by_rsa(conn: &mut whack::Connection) {
    conn.policy.psk = false;
    conn.policy.rsasig = true;
}

const SECRETS: &str = "\
@east @west: PSK \"of west\"
@east @other: PSK \"of other\"
@east @admin: PSK \"of admin\"
@east %any: PSK \"group\"
";

fn tabled() -> Gateway {
    let mut east = Gateway::at("192.1.2.23");
    secrets(&mut east, SECRETS);
    let from_dns = |conn: &mut whack::Connection| {
        by_rsa(conn);
        conn.left.key_from_dns_on_demand = true;
    };
    let ike = |list: &'static str| move |conn: &mut whack::Connection| conn.ike = Some(list.into());
    for made in [
        conn("psk", Some("@west"), |_| {}),
        conn("rsa", Some("@west"), by_rsa),
        conn("both", Some("@west"), |conn| conn.policy.rsasig = true),
        conn("never", Some("@west"), |conn| {
            conn.policy = whack::Policy {
                shunt: whack::Shunt::Pass,
                tunnel: true,
                ..whack::Policy::default()
            };
        }),
        conn("dns", Some("@dns"), from_dns),
        conn("signed", Some("@dns"), |conn| {
            from_dns(conn);
            conn.policy.dnssec = true;
        }),
        conn("unlisted", Some("@dns"), by_rsa),
        conn("loaded", Some("@load"), by_rsa),
        conn("loaded-signed", Some("@load"), |conn| {
            by_rsa(conn);
            conn.policy.dnssec = true;
        }),
        conn("road", None, |_| {}),
        conn("north", Some("@west"), |conn| {
            conn.right.id = Some("@north".into())
        }),
        conn("strict", Some("@west"), ike("aes256-sha2_512-ecp384!")),
        conn("loose", Some("@west"), ike("aes256-sha2_512-ecp384")),
        conn("old", Some("@west"), ike("3des-sha1-modp1024")),
    ] {
        east.add(made);
    }
    let known = |n, origin| KnownKey {
        key: key(n),
        origin,
    };
    for (who, key) in [
        ("@west", known(1, Origin::Configured)),
        ("@load", known(6, Origin::OnLoad(Security::Insecure))),
        ("@load", known(7, Origin::OnLoad(Security::Secure))),
    ] {
        let who: Id = who.parse().unwrap();
        east.call(|engine, _| {
            engine.keys_known(crate::engine::About::default(), &who, true, vec![key])
        });
    }
    east
}

/// What `serves` says: nothing, or a part of the reason.
#[test]
fn a1_an_ike_sa_serves_what_would_have_accepted_its_proof_and_nothing_else() {
    let east = tabled();
    let mark = |secret: &str| {
        let secret = Secret::new(secret.as_bytes().to_vec());
        Means::Secret(east.engine.ike.fingerprints.of(&secret))
    };
    let signed = |n, origin| {
        Means::Key(KnownKey {
            key: key(n),
            origin,
        })
    };
    let usual = "aes128-sha2_256-modp2048";
    let (of_west, group) = (mark("of west"), mark("group"));
    let listed = || signed(1, Origin::Configured);
    let dns = |by| signed(3, Origin::OnDemand(by));
    let named = |by| signed(3, Origin::Delegation(by));
    let (bad, good) = (Security::Insecure, Security::Secure);
    let rows = [
        // The secret: the one that the connection wants of this peer.
        (&of_west, "@west", usual, "psk", ""),
        (&of_west, "@WEST.", usual, "psk", ""),
        (
            &group,
            "@west",
            usual,
            "psk",
            "wants another preshared secret for '@east' and '@west'",
        ),
        (
            &mark("of other"),
            "@west",
            usual,
            "psk",
            "wants another preshared secret",
        ),
        (
            &of_west,
            "@west",
            usual,
            "rsa",
            "wants authby=rsasig, and this peer was authenticated by preshared secret",
        ),
        (&of_west, "@west", usual, "both", ""),
        (&of_west, "@west", usual, "never", "it is a shunt"),
        (
            &of_west,
            "@other",
            usual,
            "psk",
            "is for the peer '@west', and this peer is '@other'",
        ),
        (
            &of_west,
            "@west",
            usual,
            "north",
            "is for our identity '@north'",
        ),
        // A template for whoever comes: the secret of the group, unless the peer has one of its own.
        (&group, "@anybody", usual, "road", ""),
        (&group, "192.0.2.9", usual, "road", ""),
        (&of_west, "@west", usual, "road", ""),
        (
            &group,
            "@admin",
            usual,
            "road",
            "wants another preshared secret for '@east' and '@admin'",
        ),
        (
            &of_west,
            "@anybody",
            usual,
            "road",
            "wants another preshared secret",
        ),
        // The key: one that is listed for the identity.
        (&listed(), "@west", usual, "rsa", ""),
        (&listed(), "@west", usual, "both", ""),
        (
            &listed(),
            "@west",
            usual,
            "psk",
            "wants authby=secret, and this peer was authenticated by RSA signature",
        ),
        (
            &signed(2, Origin::Configured),
            "@west",
            usual,
            "rsa",
            "wants another RSA key of '@west'",
        ),
        (
            &signed(2, Origin::OnDemand(good)),
            "@west",
            usual,
            "rsa",
            "wants another RSA key",
        ),
        (
            &listed(),
            "@dns",
            usual,
            "unlisted",
            "wants another RSA key",
        ),
        // From DNS: only where that is asked, and signed where that is wanted.
        (&dns(bad), "@dns", usual, "dns", ""),
        (&dns(good), "@dns", usual, "dns", ""),
        (&dns(bad), "@dns", usual, "signed", "wants one (dnssec=yes)"),
        (&dns(good), "@dns", usual, "signed", ""),
        (
            &dns(good),
            "@dns",
            usual,
            "unlisted",
            "wants another RSA key",
        ),
        // A key that DNS has for a destination proves no identity.
        (&named(good), "@dns", usual, "dns", "wants another RSA key"),
        (
            &named(good),
            "@dns",
            usual,
            "signed",
            "wants another RSA key",
        ),
        // %dnsonload: listed, and still from DNS.
        (
            &signed(6, Origin::OnLoad(bad)),
            "@load",
            usual,
            "loaded",
            "",
        ),
        (
            &signed(6, Origin::Configured),
            "@load",
            usual,
            "loaded-signed",
            "wants one (dnssec=yes)",
        ),
        (
            &signed(7, Origin::OnLoad(bad)),
            "@load",
            usual,
            "loaded-signed",
            "",
        ),
        // The algorithms: with `!' those of the list, without what is accepted beside it.
        (
            &of_west,
            "@west",
            usual,
            "strict",
            "does not allow aes128-sha2_256-modp2048 (ike=)",
        ),
        (&of_west, "@west", "aes256-sha2_512-ecp384", "strict", ""),
        (&of_west, "@west", usual, "loose", ""),
        (
            &of_west,
            "@west",
            "3des-sha1-modp1024",
            "loose",
            "does not allow 3des-sha1-modp1024",
        ),
        (&of_west, "@west", "3des-sha1-modp1024", "old", ""),
        (
            &of_west,
            "@west",
            "3des-sha1-modp1024",
            "psk",
            "does not allow 3des-sha1-modp1024",
        ),
    ];
    for (means, peer, agreed, name, expected) in rows {
        let proof = Proof {
            means: means.clone(),
            my_id: id("@east"),
            peer_id: id(peer),
            suite: suite(agreed),
        };
        let conn = east.engine.conns.configured(name).unwrap();
        let said = east.engine.serves(&proof, conn);
        let said = said.map_or_else(|why| why.to_string(), |()| String::new());
        let as_expected = said.contains(expected) && said.is_empty() == expected.is_empty();
        assert!(
            as_expected,
            "{peer} {agreed} for {name}: {said:?}, not {expected:?}"
        );
    }
}

#[test]
fn a1_a_proof_shows_no_secret() {
    let east = tabled();
    let secret = Secret::new(b"of west".to_vec());
    let mark = east.engine.ike.fingerprints.of(&secret);
    assert!(mark == east.engine.ike.fingerprints.of(&secret.clone()));
    let shown = format!("{mark:?} {:?}", east.engine.ike.fingerprints);
    assert_eq!(shown, "Fingerprint(hidden) Fingerprints(hidden)");
    // Another start makes other fingerprints.
    let north = Gateway::at("192.1.2.24");
    assert!(mark != north.engine.ike.fingerprints.of(&secret));
}

/// East as a company has it: whoever knows the secret of the group may have `road`, and nothing else.
fn company() -> Pair {
    let mut pair = Pair::bare();
    let east_net = |name: &str, peer: Option<&str>, subnet: &str| {
        let mut conn = conn(name, peer, |conn| conn.left.host = Host::Any);
        conn.right.nexthop = None;
        conn.left.client = None;
        conn.right.client = Some(net(subnet));
        conn
    };
    let road = east_net("road", None, "10.0.2.0/24");
    let admin = east_net("admin", Some("@admin"), "10.50.0.0/24");
    let mut strict = east_net("strict", Some("@strict"), "10.52.0.0/24");
    strict.ike = Some("aes256-sha2_512-ecp384!".into());
    let mut branch = east_net("branch", Some("@branch"), "10.51.0.0/24");
    by_rsa(&mut branch);
    branch.left.host = Host::Addr(addr("192.1.2.45"));
    for conn in [road, admin, strict, branch] {
        pair.east.add(conn);
    }
    secrets(
        &mut pair.east,
        "@east %any: PSK \"group\"\n@east @admin: PSK \"of admin\"\n",
    );
    pair
}

/// West comes with an identity, a subnet of east's that it wants, and perhaps an `ike=`.
fn comes(pair: &mut Pair, who: &str, subnet: &str, ike: Option<&str>) -> bool {
    let mut conn = conn("mine", Some(who), |conn| conn.left.client = None);
    conn.right.client = Some(net(subnet));
    conn.right.nexthop = None;
    conn.ike = ike.map(Into::into);
    conn.lifetimes.keying_tries = 1;
    pair.west.ask(Request::Delete {
        name: "mine".into(),
    });
    pair.settle();
    pair.west.add(conn);
    secrets(&mut pair.west, &format!("{who} @east: PSK \"group\"\n"));
    pair.up("mine") == 0
}

#[test]
fn a1_the_secret_of_a_group_opens_the_connection_of_the_group_only() {
    let mut pair = company();
    assert!(
        comes(&mut pair, "@rw", "10.0.2.0/24", None),
        "{:?}",
        pair.east.log
    );
    // Somebody else's subnet, in one's own name.
    for subnet in ["10.50.0.0/24", "10.51.0.0/24", "10.52.0.0/24"] {
        assert!(!comes(&mut pair, "@rw", subnet, None), "{subnet}");
    }
    // In the name of somebody who has another secret, a key, or better algorithms: not even an ISAKMP SA, for whatever subnet.
    for (who, own) in [
        ("@admin", "10.50.0.0/24"),
        ("@branch", "10.51.0.0/24"),
        ("@strict", "10.52.0.0/24"),
    ] {
        for subnet in [own, "10.0.2.0/24"] {
            pair.east.log.clear();
            assert!(
                !comes(&mut pair, who, subnet, Some("aes128-sha2_256-ecp256")),
                "{who}"
            );
            let refused = format!("no suitable connection for peer '{who}': \"{}\"", &who[1..]);
            assert!(
                pair.east.log.iter().any(|line| line.contains(&refused)),
                "{refused}: {:#?}",
                pair.east.log
            );
        }
    }
    let texts = [
        (
            "@admin",
            "wants another preshared secret for '@east' and '@admin'",
        ),
        (
            "@branch",
            "wants authby=rsasig, and this peer was authenticated by preshared secret",
        ),
        ("@strict", "does not allow aes128-sha2_256-ecp256 (ike=)"),
    ];
    for (who, text) in texts {
        pair.east.log.clear();
        comes(
            &mut pair,
            who,
            "10.0.2.0/24",
            Some("aes128-sha2_256-ecp256"),
        );
        assert!(
            pair.east.log.iter().any(|line| line.contains(text)),
            "{:#?}",
            pair.east.log
        );
    }
    // Who is meant gets in.
    assert!(
        comes(
            &mut pair,
            "@strict",
            "10.52.0.0/24",
            Some("aes256-sha2_512-ecp384")
        ),
        "{:?}",
        pair.east.log
    );
}

/// `strict` is held against what was agreed on also where it is the peer's own connection, and east is told to begin.
#[test]
fn a2_algorithms_are_held_against_the_connection_that_the_identity_shows() {
    let mut pair = company();
    for ike in [
        "aes128-sha2_256-ecp256",
        "3des-sha1-modp1536",
        "aes256-sha2_512-ecp256",
    ] {
        assert!(
            !comes(&mut pair, "@strict", "10.52.0.0/24", Some(ike)),
            "{ike}"
        );
        assert!(pair.east.sas().is_empty());
    }
    assert!(comes(
        &mut pair,
        "@strict",
        "10.52.0.0/24",
        Some("aes256-sha2_512-ecp384")
    ));
}

/// An ISAKMP SA by secret is there: what wants a key, another secret or better algorithms of the same peer begins its own, in both roles.
#[test]
fn a1_the_initiator_begins_anew_where_the_isakmp_sa_does_not_serve() {
    let mut pair = Pair::new();
    assert_eq!(pair.up("net-to-net"), 0);
    let other = |name: &str, subnet: &str, change: fn(&mut whack::Connection)| {
        let mut conn = conn(name, Some("@west"), change);
        conn.left.client = Some(net(subnet));
        conn.lifetimes.keying_tries = 1;
        conn
    };
    pair.add(other("second", "10.0.3.0/24", |_| {}));
    pair.add(other("strict", "10.0.4.0/24", |conn| {
        conn.ike = Some("aes256-sha2_512-ecp384!".into())
    }));
    pair.add(other("by-key", "10.0.5.0/24", by_rsa));
    let main_modes = |pair: &Pair| {
        let begun = |line: &&String| line.contains("initiating Main Mode");
        pair.west.log.iter().filter(begun).count()
    };
    assert_eq!(pair.up("second"), 0);
    assert_eq!(main_modes(&pair), 1, "the same proof serves");
    assert_eq!(pair.up("strict"), 0, "{:?}", pair.west.said);
    assert_eq!(
        main_modes(&pair),
        2,
        "stricter algorithms need an ISAKMP SA of their own"
    );
    assert_ne!(pair.up("by-key"), 0);
    assert!(
        pair.west
            .said
            .iter()
            .any(|line| line.contains("unable to locate my private key")),
        "{:?}",
        pair.west.said
    );
    // The stricter ISAKMP SA serves the others, now and when they are replaced.
    pair.west.ask(Request::Terminate {
        name: "second".into(),
    });
    pair.settle();
    assert_eq!(pair.up("second"), 0);
    assert_eq!(main_modes(&pair), 2);
}

/// What waits for a Main Mode is asked again when it stands.
#[test]
fn a1_the_secret_that_is_changed_while_sas_live_is_the_one_that_counts() {
    let mut pair = Pair::new();
    let mut second = net_to_net("second");
    second.left.client = Some(net("10.0.3.0/24"));
    second.lifetimes.keying_tries = 1;
    pair.add(second);
    assert_eq!(pair.up("net-to-net"), 0);
    // East no longer knows the secret by which the ISAKMP SA was made: what comes over it is refused.
    secrets(&mut pair.east, "@east @west: PSK \"changed\"\n");
    assert_ne!(pair.up("second"), 0);
    let text = "does not serve \"second\": \"second\" wants another preshared secret";
    assert!(
        pair.east.log.iter().any(|line| line.contains(text)),
        "{:#?}",
        pair.east.log
    );
    // Both know the new one: a new ISAKMP SA is made.
    secrets(&mut pair.west, "@east @west: PSK \"changed\"\n");
    assert_eq!(pair.up("second"), 0, "{:?}", pair.west.said);
    pair.carries("10.0.2.1", "10.0.3.1");
    // What the old one made may still be deleted over it.
    pair.west.ask(Request::Terminate {
        name: "net-to-net".into(),
    });
    pair.settle();
    assert_eq!(pair.east.sas().len(), 4, "{:?}", pair.east.sas());
}

/// A road warrior that is known by %any and shows a name can be begun with from here: its instance finds the secret.
#[test]
fn g1_a_road_warrior_with_a_name_is_rekeyed_from_both_ends() {
    for (me, line) in [("@east", "@east %any"), ("192.1.2.23", "192.1.2.23 %any")] {
        let mut pair = Pair::bare();
        let mut road = net_to_net("road");
        road.left = whack::End::new(Host::Any);
        road.right.nexthop = None;
        road.right.id = Some(me.into());
        road.lifetimes = whack::Lifetimes {
            ike: 120,
            ipsec: 60,
            rekey_margin: 10,
            rekey_fuzz: 0,
            keying_tries: 0,
        };
        pair.east.add(road.clone());
        road.left.host = Host::Addr(addr("192.1.2.45"));
        road.left.id = Some("@rw".into());
        // West leaves rekeying to east.
        road.policy.dont_rekey = true;
        road.lifetimes.ike = 3600;
        road.lifetimes.ipsec = 3600;
        pair.west.add(road);
        secrets(&mut pair.east, &format!("{line}: PSK \"group\"\n"));
        secrets(&mut pair.west, &format!("@rw {me}: PSK \"group\"\n"));
        assert_eq!(pair.up("road"), 0, "{:?}", pair.east.log);
        for _ in 0..30 {
            pair.sleep(20);
            pair.carries("10.0.2.1", "192.1.2.45");
        }
        assert!(
            pair.east
                .log
                .iter()
                .any(|line| line.contains("initiating Main Mode to replace")),
            "{:#?}",
            pair.east.log
        );
        assert!(
            !pair
                .east
                .log
                .iter()
                .any(|line| line.contains("no preshared secret"))
        );
    }
}

/// The same for a connection for any peer that names it.
#[test]
fn g13_any_stands_for_a_named_road_warrior() {
    let mut pair = Pair::bare();
    let mut road = net_to_net("road");
    road.left.host = Host::Any;
    road.left.id = Some("@name".into());
    road.left.client = None;
    road.right.id = None;
    road.right.nexthop = None;
    pair.east.add(road.clone());
    road.left.host = Host::Addr(addr("192.1.2.45"));
    pair.west.add(road);
    secrets(&mut pair.east, "192.1.2.23 %any : PSK \"group\"\n");
    secrets(&mut pair.west, "@name 192.1.2.23 : PSK \"group\"\n");
    assert_eq!(
        pair.up("road"),
        0,
        "{:?}\n{:?}",
        pair.west.said,
        pair.east.log
    );
}

/// A key that was fetched when the connection was loaded is from DNS for ever: dnssec=yes holds for it, and nothing else of it changes.
#[test]
fn a4_a_key_from_dns_on_load_keeps_its_state() {
    use ipsec_dns::{Answer, Gateway as Speaker, Query};
    use rand::SeedableRng;
    let mut rng = rand::rngs::StdRng::seed_from_u64(4);
    let keys = [0, 1].map(|_| ipsec_keys::PrivateKey::generate(&mut rng, 1024).unwrap());
    let own = |gateway: &mut Gateway, n: usize| {
        let text = ipsec_keys::secrets::secret_entry(&[], &keys[n], "host", "today");
        let (secrets, _) = ipsec_keys::Secrets::parse("secrets", &text);
        gateway.give(Event::Secrets {
            secrets: Box::new(secrets),
            problems: Vec::new(),
        });
    };
    let rows = [
        (false, Security::Insecure, true),
        (false, Security::Secure, true),
        (true, Security::Insecure, false),
        (true, Security::Secure, true),
    ];
    for (dnssec, security, expected) in rows {
        let mut pair = Pair::bare();
        let mut made = conn("made", Some("@west"), by_rsa);
        made.lifetimes.keying_tries = 1;
        pair.west.add(made.clone());
        made.policy.dnssec = dnssec;
        pair.east.add(made);
        own(&mut pair.east, 0);
        own(&mut pair.west, 1);
        let answer = Answer {
            delegations: Vec::new(),
            keys: vec![keys[1].public().clone()],
            addresses: Vec::new(),
            security,
            ttl: core::time::Duration::from_secs(3600),
            aliases: Vec::new(),
            faults: Vec::new(),
        };
        let query = Query::Keys(Speaker::parse("@west").unwrap());
        pair.east.dns.insert(query, Ok(answer));
        let public = |id: &str, key: Option<String>| Request::PublicKey {
            id: id.into(),
            add: false,
            alg: whack::PubkeyAlg::Rsa,
            key,
        };
        pair.east.ask(public("@west", None));
        let warned = pair
            .east
            .said
            .join("\n")
            .contains("will not take it, for it says dnssec=yes");
        assert_eq!(warned, !expected, "{:?}", pair.east.said);
        pair.west
            .ask(public("@east", Some(keys[0].public().to_text())));
        assert_eq!(
            pair.up("made") == 0,
            expected,
            "{dnssec} {security:?}: {:#?}",
            pair.east.log
        );
        let text = "came from DNS without a signature (%dnsonload), and dnssec=yes wants one";
        let refused = pair.east.log.iter().any(|line| line.contains(text));
        assert_eq!(refused, !expected, "{:#?}", pair.east.log);
        pair.east.ask(Request::List {
            class: whack::ListClass::PublicKeys,
            utc: false,
        });
        let note = match security {
            Security::Secure => "(expires never), from DNS, signed",
            Security::Insecure => "(expires never), from DNS, not signed",
        };
        assert!(
            pair.east.said.iter().any(|line| line.ends_with(note)),
            "{:?}",
            pair.east.said
        );
        // Configured as well, it no longer depends on DNS.
        pair.east
            .ask(public("@west", Some(keys[1].public().to_text())));
        assert_eq!(pair.up("made"), 0, "{:#?}", pair.east.log);
    }
}

/// What a road warrior has chosen within leftsubnetwithin= is not to be had by another, whole, in part, or with what is around it.
#[test]
fn a7_a_subnet_within_a_range_is_of_whoever_has_it() {
    let mut pair = Pair::bare();
    let mut east = conn("within", None, |_| {});
    east.left.client = Some(net("10.9.0.0/16"));
    east.left.client_within = true;
    pair.east.add(east);
    secrets(&mut pair.east, "@east %any: PSK \"group\"\n");
    secrets(&mut pair.west, ": PSK \"group\"\n");
    let mut asks = |name: &str, who: &str, subnet: &str| {
        let mut conn = conn(name, Some(who), |_| {});
        conn.left.client = Some(net(subnet));
        conn.right.nexthop = None;
        conn.lifetimes.keying_tries = 1;
        pair.west.add(conn);
        let up = pair.up(name) == 0;
        let text = "has 10.9.1.0/24 already, for another peer than '@two'";
        let refused = pair.east.log.iter().any(|line| line.contains(text));
        assert!(up || refused, "{name}: {:#?}", pair.east.log);
        pair.east.log.clear();
        up
    };
    assert!(asks("one", "@one", "10.9.1.0/24"));
    assert!(!asks("same", "@two", "10.9.1.0/24"));
    assert!(!asks("part", "@two", "10.9.1.128/25"));
    assert!(!asks("around", "@two", "10.9.0.0/22"));
    assert!(asks("beside", "@two", "10.9.2.0/24"));
    assert!(asks("own-part", "@ONE.", "10.9.1.64/26"), "it is its own");
    assert_eq!(pair.up("one"), 0);
}
