//! Opportunism between two gateways that know nothing of each other but what DNS says, with the real KLIPS core on both.

mod asking;
mod crowded;
mod failing;
mod lasting;
mod life;
mod my_id;
mod on_the_path;
mod refusing;
mod shares;
mod strangers;
mod taken_over;

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
    // Short keys are quickly made, and warned of.
    assert!(problems.iter().all(|p| p.warning), "{problems:?}");
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

impl Pair {
    /// West has an eroute that begins so; else all that has happened is shown.
    #[track_caller]
    fn west_has(&self, eroute: &str) {
        assert!(has(&self.west, eroute), "{}", trace(self));
    }
}
