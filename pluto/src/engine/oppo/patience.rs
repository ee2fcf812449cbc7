//! How long packets wait for what DNS says, and how the verdict that stands is looked up again.
//!
//! A packet waits for DNS for three seconds at most: then what the policy says of failures stands, and the look-up goes on
//! without it. If the resolver has said nothing meanwhile, of this or anything else, it is held to be dead: nothing waits for it until it
//! answers, which it is asked for now and then.

use core::net::Ipv4Addr;
use core::time::Duration;

use ipsec_dns::Query;
use rand::Rng;

use super::failure::{self, shunt_of};
use super::lookup::Asker;
use super::{Oppo, Pair};
use crate::engine::connection::Kind;
use crate::engine::route::{Flow, clients_of_flow};
use crate::engine::timers::Timer;
use crate::engine::{About, Engine, Time};

/// Until a resolver that says nothing is asked for something that it knows.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// Until a packet waits no longer for DNS.
const DNS_WAIT: Duration = Duration::from_secs(3);
/// Until an attempt for which packets are held is over, whatever its gateways do.
const LONGEST: Duration = Duration::from_secs(30);
/// How often a dead resolver is asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// How far an attempt's patience has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Fresh,
    Probed,
    DnsOver,
}

/// What is known of the resolver's life.
#[derive(Debug, Default)]
pub(crate) struct ResolverLife {
    /// When it last said something.
    heard: Option<Time>,
    /// It is held to be dead.
    dead: bool,
}

impl Oppo {
    /// Whether the resolver is held to be dead.
    pub(super) fn resolver_is_dead(&self) -> bool {
        self.resolver.dead
    }
}

impl Engine {
    /// A name server has said something.
    pub(crate) fn resolver_says(&mut self, now: Time) {
        self.oppo.resolver.heard = Some(now);
        if core::mem::take(&mut self.oppo.resolver.dead) {
            self.timers.cancel(&Timer::Resolver);
            self.forget_lookups(&[Asker::Probe]);
            self.log(About::default(), "DNS answers again");
        }
    }

    /// Time to ask a dead resolver whether it is back.
    pub(crate) fn resolver_timer(&mut self, now: Time) {
        if self.oppo.resolver.dead {
            self.timers.set(now + PROBE_EVERY, Timer::Resolver);
            self.forget_lookups(&[Asker::Probe]);
            self.probe_resolver(now);
        }
    }

    /// Asks for what nobody has asked for before, and every resolver knows by itself (RFC 6303 section 4.2).
    fn probe_resolver(&mut self, now: Time) {
        let [_, b, c, d] = self.rng.next_u32().to_be_bytes();
        let query = Query::Delegation(Ipv4Addr::new(127, b, c, d).into());
        self.look_up(now, query, Asker::Probe);
    }

    /// An attempt has begun, for which a packet is held or not.
    pub(super) fn begin_patience(&mut self, now: Time, pair: Pair) {
        self.timers.set(now + PROBE_AFTER, Timer::Attempt(pair));
        if self.oppo.resolver_is_dead() {
            self.wait_no_longer(now, pair, "DNS does not answer");
        }
    }

    /// An attempt has lasted for a while.
    pub(crate) fn attempt_timer(&mut self, now: Time, pair: Pair) {
        let Some(attempt) = self.oppo.attempts.get_mut(&pair) else {
            return;
        };
        let begun = attempt.begun;
        let asks_dns = attempt.conn.is_none();
        let silent = self.oppo.resolver.heard.is_none_or(|heard| heard < begun);
        match attempt.patience {
            Patience::Fresh => {
                attempt.patience = Patience::Probed;
                self.timers.set(begun + DNS_WAIT, Timer::Attempt(pair));
                if asks_dns && silent {
                    self.probe_resolver(now);
                }
                if asks_dns {
                    self.recall_ours(now, pair);
                }
            }
            Patience::Probed => {
                attempt.patience = Patience::DnsOver;
                self.timers.set(begun + LONGEST, Timer::Attempt(pair));
                if asks_dns && silent {
                    self.resolver_died(now);
                }
                if asks_dns {
                    self.wait_no_longer(now, pair, "DNS has not answered for 3 s");
                }
            }
            Patience::DnsOver if attempt.held => {
                let why = "no tunnel within 30 s".to_owned();
                let life = failure::after_negotiation();
                match attempt.conn {
                    Some(conn) => {
                        attempt.waiting.clear();
                        self.instance_failed(now, conn, why, life);
                    }
                    None => self.attempt_failed_for(now, pair, &why, life),
                }
            }
            Patience::DnsOver => {}
        }
    }

    /// Nothing has come from the resolver since an attempt began that has waited for it: nobody waits any longer.
    fn resolver_died(&mut self, now: Time) {
        if core::mem::replace(&mut self.oppo.resolver.dead, true) {
            return;
        }
        let text = "DNS does not answer: destinations without a tunnel get what their policy says of failures at once";
        self.log(About::default(), text);
        self.timers.set(now + PROBE_EVERY, Timer::Resolver);
        let asking = self.oppo.attempts.iter();
        let asking = asking.filter(|(_, attempt)| attempt.held && attempt.conn.is_none());
        let pairs: Vec<Pair> = asking.map(|(pair, _)| *pair).collect();
        for pair in pairs {
            self.wait_no_longer(now, pair, "DNS does not answer");
        }
    }

    /// What is held for an attempt gets the verdict on failures; the attempt goes on.
    pub(super) fn wait_no_longer(&mut self, now: Time, pair: Pair, why: &str) {
        let Some(attempt) = self.oppo.attempts.get_mut(&pair).filter(|a| a.held) else {
            return;
        };
        let Some(conn) = self.conns.get(attempt.template) else {
            return;
        };
        attempt.held = false;
        attempt.stands = true;
        let flow = attempt.flow;
        let shunt = shunt_of(&conn.policy);
        self.line_up(pair);
        self.set_verdict(now, flow, shunt, why, failure::after_silence(shunt));
    }

    /// Packets meet a verdict whose time is over: it stays until DNS has been asked again (RFC 4322 section 3.2.7).
    pub(crate) fn oppo_ask_again(&mut self, now: Time, flow: Flow) {
        let clients = clients_of_flow(&flow);
        let policy = self.conns.policy_for(&clients);
        let policy = policy.filter(|p| p.policy.opportunistic && p.kind == Kind::Template);
        let Some((template, shunt)) = policy.map(|p| (p.id(), shunt_of(&p.policy))) else {
            return self.drop_bare(now, flow);
        };
        let pair = (flow.src.addr(), flow.dst.addr());
        self.extend_verdict(now, flow, failure::after_silence(shunt));
        if self.oppo.attempts.contains_key(&pair) || !self.make_room(now, true) {
            return;
        }
        self.begin_attempt(now, template, pair, (flow, false, true), None);
    }
}
