//! Opportunism between two gateways that know nothing of each other but what DNS says, with the real KLIPS core on both.

use std::sync::OnceLock;
use std::time::Duration;

use ipsec_dns::{Answer, Delegation, Gateway as Speaker, LookupError, Query, Security, Source};
use ipsec_keys::{PrivateKey, PublicKey, secrets::secret_entry};
use klips::Outbound;
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::{Failure, Host, Request, Shunt};

use super::gateway::{Gateway, addr, net, net_to_net};
use super::pair::Pair;
use crate::engine::Event;

const EAST: &str = "192.1.2.23";
const WEST: &str = "192.1.2.45";

fn keys() -> &'static [PrivateKey] {
    static KEYS: OnceLock<Vec<PrivateKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut rng = StdRng::seed_from_u64(4);
        let key = |_| PrivateKey::generate(&mut rng, 1024).unwrap();
        (0..3).map(key).collect()
    })
}

fn answer() -> Answer {
    Answer {
        delegations: Vec::new(),
        keys: Vec::new(),
        addresses: Vec::new(),
        security: Security::Secure,
        ttl: Duration::from_secs(3600),
        aliases: Vec::new(),
        faults: Vec::new(),
    }
}

/// `right=%opportunistic` at `host`, for `client` behind it.
fn to_anyone(name: &str, host: &str, client: Option<&str>) -> whack::Connection {
    let mut conn = net_to_net(name);
    conn.left = whack::End::new(Host::Addr(addr(host)));
    conn.left.nexthop = Some(addr("192.1.2.254"));
    conn.left.updown = Some("ipsec _updown".into());
    conn.left.client = client.map(net);
    conn.right = whack::End::new(Host::Opportunistic);
    conn.right.client = Some(net("0.0.0.0/0"));
    conn.right.key_from_dns_on_demand = true;
    conn.policy = whack::Policy {
        rsasig: true,
        encrypt: true,
        tunnel: true,
        pfs: true,
        opportunistic: true,
        dont_rekey: true,
        failure: Failure::Pass,
        ..Default::default()
    };
    conn.lifetimes.ipsec = 3600;
    conn
}

/// Secrets of a gateway: its own key.
fn own_key(gateway: &mut Gateway, key: &PrivateKey) {
    let text = secret_entry(&[], key, "host", "today").to_string();
    let (secrets, problems) = ipsec_keys::Secrets::parse("secrets", &text);
    assert!(problems.is_empty(), "{problems:?}");
    gateway.give(Event::Secrets {
        secrets: Box::new(secrets),
        problems: Vec::new(),
    });
}

struct Dns<'a>(&'a mut Pair);

impl Dns<'_> {
    fn set(&mut self, query: Query, result: Result<Answer, LookupError>) {
        for gateway in [&mut self.0.east, &mut self.0.west] {
            gateway.dns.insert(query.clone(), result.clone());
        }
    }

    /// `client`'s record names `speaker`.
    fn delegate(
        &mut self,
        client: &str,
        speaker: &str,
        key: Option<&PublicKey>,
        security: Security,
    ) {
        let delegation = Delegation {
            precedence: 10,
            gateway: Speaker::parse(speaker).unwrap(),
            key: key.cloned(),
            source: Source::Txt,
        };
        let answer = Answer {
            delegations: vec![delegation],
            security,
            ..answer()
        };
        self.set(Query::Delegation(addr(client)), Ok(answer));
    }

    fn key(&mut self, speaker: &str, key: &PublicKey, security: Security) {
        let answer = Answer {
            keys: vec![key.clone()],
            security,
            ..answer()
        };
        self.set(Query::Keys(Speaker::parse(speaker).unwrap()), Ok(answer));
    }
}

/// Two full opportunists with a net behind each, and their records.
fn opportunists(security: Security) -> Pair {
    let mut pair = Pair::bare();
    let [east, west] = [keys()[0].public(), keys()[1].public()];
    let mut dns = Dns(&mut pair);
    dns.delegate(EAST, EAST, Some(east), security);
    dns.delegate(WEST, WEST, Some(west), security);
    dns.delegate("10.0.2.1", EAST, Some(east), security);
    dns.delegate("10.0.1.1", WEST, Some(west), security);
    dns.key(EAST, east, security);
    dns.key(WEST, west, security);
    for (gateway, host, client, key) in [
        (&mut pair.east, EAST, "10.0.2.0/24", &keys()[0]),
        (&mut pair.west, WEST, "10.0.1.0/24", &keys()[1]),
    ] {
        own_key(gateway, key);
        gateway.add(to_anyone("me-to-anyone", host, None));
        gateway.add(to_anyone("net-to-anyone", host, Some(client)));
        assert_eq!(gateway.route("me-to-anyone"), 0);
        assert_eq!(gateway.route("net-to-anyone"), 0);
    }
    pair
}

fn has(gateway: &Gateway, eroute: &str) -> bool {
    gateway.eroutes().iter().any(|e| e.starts_with(eroute))
}

fn went_encrypted(gateway: &Gateway) -> bool {
    gateway
        .released
        .iter()
        .any(|v| matches!(v, Outbound::Transmit { .. }))
}

fn trace(pair: &Pair) -> String {
    format!(
        "west\n{}\neast\n{}\n{:?}\n{:?}",
        pair.west.log.join("\n"),
        pair.east.log.join("\n"),
        pair.west.eroutes(),
        pair.east.eroutes()
    )
}

#[test]
fn the_first_packet_goes_encrypted() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => tun0x"),
        "{}",
        trace(&pair)
    );
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
    assert!(
        has(&pair.west, "10.0.1.1/32 -> 10.0.2.1/32 => tun0x"),
        "{}",
        trace(&pair)
    );
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
fn both_ends_begin_at_once() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.sleep(70);
    pair.carries(EAST, WEST);
    assert!(
        pair.west.eroutes().len() == 3 && pair.east.eroutes().len() == 3,
        "{}",
        trace(&pair)
    );
}

/// What becomes of a packet to a destination without a tunnel, by policy.
fn after_failure(failure: Failure, spoil: impl Fn(&mut Pair)) -> (Pair, Vec<Outbound>) {
    let mut pair = opportunists(Security::Secure);
    for name in ["me-to-anyone", "net-to-anyone"] {
        pair.west.ask(Request::Delete { name: name.into() });
    }
    let mut conn = to_anyone("policy", WEST, None);
    conn.policy.failure = failure;
    pair.west.add(conn);
    pair.west.route("policy");
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
    let dead = |pair: &mut Pair| {
        pair.west.dns_waits = true;
    };
    let wrong_key = |pair: &mut Pair| {
        let other = keys()[2].public().clone();
        Dns(pair).delegate(EAST, EAST, Some(&other), Security::Secure);
    };
    let silent = |pair: &mut Pair| pair.cut = true;
    type Spoil<'a> = &'a dyn Fn(&mut Pair);
    let cases: [(&str, Spoil<'_>); 5] = [
        ("no record", &no_record),
        ("bogus", &bogus),
        ("DNS dead", &dead),
        ("wrong key", &wrong_key),
        ("no IKE", &silent),
    ];
    for (what, spoil) in cases {
        let (_, released) = after_failure(Failure::Pass, spoil);
        assert!(
            !released.is_empty() && released.iter().all(|v| matches!(v, Outbound::Pass { .. })),
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
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.0.2.9/32 => %pass"),
        "{}",
        trace(&pair)
    );
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
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => %pass"),
        "{}",
        trace(&pair)
    );
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
    assert!(
        has(&pair.west, "10.0.1.1/32 -> 10.0.2.1/32 => tun"),
        "{}",
        trace(&pair)
    );
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
    assert!(
        has(&pair.west, "10.0.1.1/32 -> 10.0.2.1/32 => %pass"),
        "{}",
        trace(&pair)
    );
    let status = pair.west.status_text();
    assert!(status.contains("(wrong key?)"), "{status}");
    // The same gateway speaks for others with the right key.
    pair.west.send("10.0.1.1", "10.0.2.2");
    pair.settle();
    assert!(
        has(&pair.west, "10.0.1.1/32 -> 10.0.2.2/32 => tun"),
        "{}",
        trace(&pair)
    );
}

#[test]
fn a_gateway_that_has_forgotten_its_tunnels_is_met_again() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    let before = pair.datagrams;
    // Nothing is sent, and nobody asked.
    pair.sleep(300);
    assert!(pair.datagrams - before <= 2, "{}", trace(&pair));
    // East is another one now, of the same name and key.
    let fresh = opportunists(Security::Secure);
    pair.east = fresh.east;
    let mut waited = 0;
    while waited < 200 && has(&pair.west, &format!("{WEST}/32 -> {EAST}/32 => tun")) {
        pair.west.send(WEST, EAST);
        pair.sleep(5);
        waited += 5;
    }
    assert!((45..=110).contains(&waited), "{waited} {}", trace(&pair));
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn idle_tunnels_go_and_come_again() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    for _ in 0..10 {
        pair.sleep(100);
        pair.carries(EAST, WEST);
    }
    let conns = pair.west.engine.connections().len();
    pair.sleep(1500);
    assert_eq!(pair.west.eroutes().len(), 2, "{}", trace(&pair));
    assert_eq!(pair.east.eroutes().len(), 2, "{}", trace(&pair));
    assert!(pair.west.engine.connections().len() < conns);
    assert!(pair.west.sas().is_empty() && pair.east.sas().is_empty());
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.carries(EAST, WEST);
}

#[test]
fn used_tunnels_are_made_anew_in_time() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    for _ in 0..900 {
        pair.sleep(10);
        pair.carries(EAST, WEST);
    }
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

#[test]
fn a_scan_is_remembered_and_forgotten() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    for n in 0..3000u32 {
        let to = std::net::Ipv4Addr::from(0x0a80_0000 + n).to_string();
        pair.west.send(WEST, &to);
        if n % 500 == 499 {
            pair.sleep(1);
            pair.carries(EAST, WEST);
        }
    }
    assert!(pair.west.eroutes().len() > 3000);
    pair.sleep(310);
    pair.carries(EAST, WEST);
    assert_eq!(
        pair.west.eroutes().len(),
        3,
        "{}",
        pair.west.eroutes().len()
    );
}

#[test]
fn a_changed_policy_takes_the_tunnel_along() {
    use super::groups::{files, group};
    let mut pair = opportunists(Security::Secure);
    let mut at_west = |name: &str, shunt, failure, negotiated| {
        let mut conn = group(name, shunt, failure, negotiated);
        conn.left.host = Host::Addr(addr(WEST));
        pair.west.add(conn);
        pair.west.route(name);
    };
    at_west("private-or-clear", Shunt::Trap, Failure::Pass, true);
    at_west("clear", Shunt::Pass, Failure::None, false);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    files(
        &mut pair.west,
        &[("private-or-clear", &["192.1.2.0/24", "192.0.2.0/24"])],
    );
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    files(
        &mut pair.west,
        &[("private-or-clear", &["192.1.2.0/24", "192.0.3.0/24"])],
    );
    pair.carries(EAST, WEST);
    files(
        &mut pair.west,
        &[
            ("private-or-clear", &["192.1.2.0/24"]),
            ("clear", &["192.1.2.23/32"]),
        ],
    );
    pair.settle();
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => %pass"),
        "{}",
        trace(&pair)
    );
    assert!(pair.west.sas().is_empty());
    // The same where the group is routed only later.
    pair.west.ask(Request::Unroute {
        name: "clear".into(),
    });
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    pair.west.route("clear");
    pair.settle();
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => %pass"),
        "{}",
        trace(&pair)
    );
    assert!(pair.west.sas().is_empty());
}

#[test]
fn clear_or_private_answers_and_does_not_begin() {
    use super::groups::{files, group};
    let mut pair = opportunists(Security::Secure);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut conn = group("clear-or-private", Shunt::Pass, Failure::Pass, true);
    conn.left.host = Host::Addr(addr(WEST));
    pair.west.add(conn);
    pair.west.route("clear-or-private");
    files(&mut pair.west, &[("clear-or-private", &["192.1.2.23/32"])]);
    assert!(matches!(pair.west.send(WEST, EAST), Outbound::Pass { .. }));
    assert!(pair.west.asked.is_empty());
    pair.east.send(EAST, WEST);
    pair.settle();
    pair.carries(EAST, WEST);
    // When the tunnel has gone, what was there before is there again.
    pair.west.ask(Request::Terminate {
        name: "clear-or-private#192.1.2.23/32".into(),
    });
    pair.settle();
    assert!(
        matches!(pair.west.send(WEST, EAST), Outbound::Pass { .. }),
        "{}",
        trace(&pair)
    );
}

#[test]
fn a_block_of_one_address_stands_again_after_a_failure() {
    use super::groups::{files, group};
    let mut pair = opportunists(Security::Secure);
    pair.west.ask(Request::Delete {
        name: "me-to-anyone".into(),
    });
    let mut conn = group("private", Shunt::Trap, Failure::Drop, true);
    conn.left.host = Host::Addr(addr(WEST));
    pair.west.add(conn);
    pair.west.route("private");
    files(&mut pair.west, &[("private", &["192.1.2.23/32"])]);
    let theirs = Query::Delegation(addr(EAST));
    let known = pair.west.dns.remove(&theirs).unwrap();
    pair.west.send(WEST, EAST);
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => %drop"),
        "{}",
        trace(&pair)
    );
    pair.west.sleep(301);
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => %trap"),
        "{}",
        trace(&pair)
    );
    pair.west.dns.insert(theirs, known);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.carries(EAST, WEST);
    pair.sleep(2000);
    assert!(
        has(&pair.west, "192.1.2.45/32 -> 192.1.2.23/32 => %trap"),
        "{}",
        trace(&pair)
    );
}

#[test]
fn unrouted_means_that_nothing_is_left() {
    let mut pair = opportunists(Security::Secure);
    pair.west.send(WEST, EAST);
    pair.settle();
    pair.west.send(WEST, "192.0.2.9");
    for name in ["me-to-anyone", "net-to-anyone"] {
        assert_eq!(
            pair.west.status_of(Request::Unroute { name: name.into() }),
            0
        );
    }
    pair.settle();
    assert!(
        pair.west.sas().is_empty() && pair.east.sas().is_empty(),
        "{}",
        trace(&pair)
    );
    pair.west.sleep(400);
    assert!(pair.west.eroutes().is_empty(), "{}", trace(&pair));
}
