//! What stands where no tunnel does: the shunt that a policy asks for after a failure, for a bounded time, with the reason; and
//! the memory of gateways that did not answer, and of those that once had a tunnel with us.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use ipsec_dns::LookupError;
use ipsec_types::{MagicSpi, Port, ProtoPort, Subnet};

use super::{Oppo, Pair};
use crate::engine::connection::{Clients, FailureShunt, Kind, Policy};
use crate::engine::room::give_back;
use crate::engine::route::{Flow, flow_of};
use crate::engine::{Engine, Time};

/// DNS says that there is no key: as long as its answer holds, within these limits.
const NO_RECORD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(900));
/// DNS says nothing, or nothing that counts.
const NO_ANSWER: Duration = Duration::from_secs(60);
/// The same while nothing passes: what is used is looked up again soon, at no flow's cost.
const NO_ANSWER_CLOSED: Duration = Duration::from_secs(15);
/// Negotiation failed.
const NO_TUNNEL: Duration = Duration::from_secs(300);
/// There was too much to do.
pub(super) const CROWDED: Duration = Duration::from_secs(10);
/// A gateway that does not answer is not tried for another client meanwhile.
const GATEWAY_FAILED: Duration = Duration::from_secs(120);
/// Negotiation failed with a gateway that is known, while nothing passes. It boots, or a link is down: it will be back.
const KNOWN_FAILED: Duration = Duration::from_secs(30);
/// How long a gateway is known after a tunnel with it came up.
const KNOWN: Duration = Duration::from_secs(24 * 3600);
/// Gateways of one kind that are remembered at most.
const MAX_GATEWAYS: usize = 10_000;
/// The port of name servers.
pub(super) const DOMAIN: u16 = 53;

/// Gateways of which something is remembered, until when; the earliest goes first.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    until: HashMap<IpAddr, Time>,
    order: BTreeSet<(Time, IpAddr)>,
}

impl Gateways {
    /// Remembers a gateway for a while.
    pub(super) fn insert(&mut self, now: Time, gateway: IpAddr, life: Duration) {
        let until = now + life;
        if let Some(old) = self.until.insert(gateway, until) {
            self.order.remove(&(old, gateway));
        }
        self.order.insert((until, gateway));
        while let Some((first, gateway)) = self.order.first().copied()
            && (first <= now || self.order.len() > MAX_GATEWAYS)
        {
            self.order.pop_first();
            self.until.remove(&gateway);
        }
        give_back(&mut self.until);
    }

    /// Whether a gateway is remembered.
    pub(super) fn contains(&self, now: Time, gateway: IpAddr) -> bool {
        self.until.get(&gateway).is_some_and(|until| *until > now)
    }

    /// Forgets a gateway.
    pub(super) fn remove(&mut self, gateway: IpAddr) {
        if let Some(until) = self.until.remove(&gateway) {
            self.order.remove(&(until, gateway));
        }
    }
}

/// What a policy puts where no tunnel could be made. One that says nothing lets pass, as opportunism always has.
pub(super) fn shunt_of(policy: &Policy) -> MagicSpi {
    match policy.failure {
        FailureShunt::None | FailureShunt::Pass => MagicSpi::Pass,
        FailureShunt::Drop => MagicSpi::Drop,
        FailureShunt::Reject => MagicSpi::Reject,
    }
}

/// What stands where DNS has said this of a destination. Records that are wrong, or whose signatures are, deny what other failures let
/// pass (RFC 4322 section 3.2.4): else whoever spoils an answer has the packets in the clear.
pub(super) fn shunt_after(error: &LookupError, policy: MagicSpi) -> MagicSpi {
    match (error, policy) {
        (LookupError::Bogus { .. } | LookupError::Malformed { .. }, MagicSpi::Pass) => {
            MagicSpi::Drop
        }
        _ => policy,
    }
}

/// How long an answer that is none counts, where `shunt` stands meanwhile.
pub(super) fn life_of(error: &LookupError, shunt: MagicSpi) -> Duration {
    match error {
        LookupError::NoRecord { ttl, .. } => (*ttl).clamp(NO_RECORD.0, NO_RECORD.1),
        error if error.is_final() => NO_RECORD.1,
        _ => after_silence(shunt),
    }
}

/// How long a failed negotiation counts.
pub(super) const fn after_negotiation() -> Duration {
    NO_TUNNEL
}

/// How long it counts that DNS says nothing, where `shunt` stands meanwhile.
pub(super) const fn after_silence(shunt: MagicSpi) -> Duration {
    match shunt {
        MagicSpi::Pass => NO_ANSWER,
        _ => NO_ANSWER_CLOSED,
    }
}

/// How long records that are of no use count.
pub(super) const fn after_records() -> Duration {
    NO_RECORD.1
}

/// The eroute between two hosts.
pub(super) fn flow_between(pair: Pair) -> Flow {
    flow_of(&clients_between(pair))
}

/// Two hosts with all that they may say.
pub(super) fn clients_between((ours, theirs): Pair) -> Clients {
    Clients {
        ours: Subnet::host(ours),
        our_protoport: ProtoPort::ANY,
        theirs: Subnet::host(theirs),
        their_protoport: ProtoPort::ANY,
    }
}

impl Oppo {
    /// A tunnel with a gateway is up.
    pub(super) fn gateway_met(&mut self, now: Time, gateway: IpAddr) {
        self.failed.remove(gateway);
        self.known.insert(now, gateway, KNOWN);
    }

    /// How long a failed negotiation counts for who wanted it: not for long where the gateway is known and nothing passes meanwhile.
    /// What passes is not held again so soon, since it would wait for a gateway that may stay away.
    pub(super) fn life_of_failure(&self, now: Time, gateway: IpAddr, shunt: MagicSpi) -> Duration {
        match shunt != MagicSpi::Pass && self.known.contains(now, gateway) {
            true => KNOWN_FAILED,
            false => NO_TUNNEL,
        }
    }

    /// A gateway does not answer: it is left alone for a while, not for long where it is known and nothing passes.
    pub(super) fn gateway_silent(&mut self, now: Time, gateway: IpAddr, shunt: MagicSpi) {
        let life = match self.life_of_failure(now, gateway, shunt) {
            KNOWN_FAILED => KNOWN_FAILED / 2,
            _ => GATEWAY_FAILED,
        };
        self.failed.insert(now, gateway, life);
    }

    /// Whether an address is one of a name server that we ask.
    pub(super) fn is_name_server(&self, addr: IpAddr) -> bool {
        self.name_servers.contains(&addr)
    }
}

impl Engine {
    /// All eroutes are gone.
    pub(crate) fn name_servers_unguarded(&mut self) {
        self.oppo.guarded.clear();
    }

    /// What goes from this host to the name servers that it asks may not wait for what they answer: where a policy would hold it, the
    /// port of name servers passes. A tunnel to a name server takes all of it, once there is one.
    pub(crate) fn guard_name_servers(&mut self, now: Time) {
        let mut wanted: BTreeSet<Flow> = BTreeSet::new();
        for server in self.oppo.name_servers.clone() {
            for ours in self.own_addresses() {
                if ours.is_ipv6() != server.is_ipv6() {
                    continue;
                }
                let clients = clients_between((ours, server));
                let opportunistic = self
                    .conns
                    .policy_for(&clients)
                    .is_some_and(|conn| conn.policy.opportunistic && conn.kind == Kind::Template);
                if opportunistic {
                    for proto in [17, 6] {
                        let port = Port(DOMAIN);
                        let clients = Clients {
                            our_protoport: ProtoPort {
                                proto,
                                port: Port::ANY,
                            },
                            their_protoport: ProtoPort { proto, port },
                            ..clients
                        };
                        wanted.insert(flow_of(&clients));
                    }
                }
            }
        }
        let old = core::mem::take(&mut self.oppo.guarded);
        for flow in old.iter().filter(|flow| !wanted.contains(*flow)) {
            self.drop_bare(now, *flow);
        }
        for flow in wanted.iter().filter(|flow| !old.contains(flow)) {
            self.set_bare(now, *flow, MagicSpi::Pass, "a name server of ours", None);
        }
        self.oppo.guarded = wanted.into_iter().collect();
    }
}
