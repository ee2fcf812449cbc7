//! What is asked of DNS, and who waits for it. One question is asked once, however many wait, and is given up with a time-out if
//! the driver does not answer.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, HashSet};

use ipsec_dns::{Answer, LookupError, Query, Security};
use whack::Rc;

use super::Pair;
use crate::engine::connection::StateId;
use crate::engine::event::{Action, ClientId, LookupId};
use crate::engine::limiter::Cause;
use crate::engine::room::take;
use crate::engine::timers::Timer;
use crate::engine::{About, Engine, Id, Time};

/// Longer than the resolver takes at worst.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers about ourselves that are remembered.
const MAX_OURS: usize = 256;
/// How long one stands in for a failure after its time (RFC 8767 section 5).
const STALE: Duration = Duration::from_secs(24 * 3600);

/// What DNS has answered.
pub(crate) type Found = Result<Answer, LookupError>;

/// Who waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// A destination: whether we may speak for our client.
    Ours(Pair),
    /// A destination: who speaks for it.
    Theirs(Pair),
    /// A destination: the key of its gateway.
    GatewayKey(Pair),
    /// A destination: where its gateway is.
    GatewayAddress(Pair),
    /// A Main Mode: the key of the peer that has named itself.
    Peer(StateId),
    /// A Main Mode: who speaks for the peer's own address.
    Foretold(StateId),
    /// A Quick Mode: whether we may speak for our client.
    VetOurs(u64),
    /// A Quick Mode: whether the peer may speak for its own.
    VetTheirs(u64),
    /// `%myid`: who speaks for this address of ours.
    MyAddress(IpAddr),
    /// `%myid`: the key under the host's name.
    MyName,
    /// Whether the resolver lives.
    Probe,
    /// A connection that is loaded: a key for this identity.
    Load(Id, Option<ClientId>, bool),
}

#[derive(Debug)]
struct Waiting {
    query: Query,
    askers: Vec<Asker>,
}

/// A good answer about ourselves.
#[derive(Debug)]
struct Known {
    answer: Answer,
    fresh_until: Time,
}

/// The questions that are open, and what DNS said of us when it last said something.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    ours: HashMap<Query, Known>,
    last: u64,
    by_query: HashMap<Query, LookupId>,
    open: HashMap<LookupId, Waiting>,
    /// What each waits for.
    by_asker: HashMap<Asker, HashSet<LookupId>>,
}

/// Whether DNS has failed to answer, and an answer that it once gave may stand in (RFC 8767).
fn is_failure(error: &LookupError) -> bool {
    !matches!(error, LookupError::NoRecord { .. })
}

impl Lookups {
    /// Remembers a good answer about ourselves.
    pub(super) fn remember(&mut self, now: Time, query: Query, answer: &Answer) {
        if self.ours.len() >= MAX_OURS && !self.ours.contains_key(&query) {
            let first = self.ours.iter().min_by_key(|(_, known)| known.fresh_until);
            if let Some(first) = first.map(|(query, _)| query.clone()) {
                self.ours.remove(&first);
            }
        }
        let known = Known {
            fresh_until: now + answer.ttl,
            answer: answer.clone(),
        };
        self.ours.insert(query, known);
    }

    /// The last good answer to a question about ourselves, within its time or a day after it.
    pub(super) fn recall(&self, now: Time, query: &Query, stale: bool) -> Option<Answer> {
        let known = self.ours.get(query)?;
        let until = known.fresh_until + if stale { STALE } else { Duration::ZERO };
        (now < until).then(|| known.answer.clone())
    }

    fn take(&mut self, id: LookupId) -> Option<Waiting> {
        let waiting = take(&mut self.open, &id)?;
        take(&mut self.by_query, &waiting.query);
        for asker in &waiting.askers {
            if let Some(of) = self.by_asker.get_mut(asker) {
                of.remove(&id);
                if of.is_empty() {
                    take(&mut self.by_asker, asker);
                }
            }
        }
        Some(waiting)
    }

    /// An asker waits no longer; the questions for which nobody waits now.
    fn leave(&mut self, asker: &Asker) -> Vec<LookupId> {
        let mut unwanted = Vec::new();
        for id in self.by_asker.remove(asker).unwrap_or_default() {
            if let Some(waiting) = self.open.get_mut(&id) {
                waiting.askers.retain(|other| other != asker);
                if waiting.askers.is_empty() {
                    unwanted.push(id);
                }
            }
        }
        unwanted
    }
}

impl Engine {
    /// Asks DNS, or joins those who have asked the same.
    pub(super) fn look_up(&mut self, now: Time, query: Query, asker: Asker) {
        let lookups = &mut self.oppo.lookups;
        let open = lookups.by_query.get(&query).copied();
        if let Some((id, waiting)) = open.and_then(|id| Some((id, lookups.open.get_mut(&id)?))) {
            waiting.askers.push(asker.clone());
            lookups.by_asker.entry(asker).or_default().insert(id);
            return;
        }
        lookups.last += 1;
        let id = LookupId(lookups.last);
        let of = lookups.by_asker.entry(asker.clone()).or_default();
        of.insert(id);
        lookups.by_query.insert(query.clone(), id);
        let waiting = Waiting {
            query: query.clone(),
            askers: vec![asker],
        };
        lookups.open.insert(id, waiting);
        self.timers.set(now + PATIENCE, Timer::Lookup(id));
        self.oppo.counts.lookups += 1;
        self.act(Action::Lookup { id, query });
    }

    /// These need no answer any longer.
    pub(super) fn forget_lookups(&mut self, gone: &[Asker]) {
        let lookups = &mut self.oppo.lookups;
        let unwanted: Vec<LookupId> = gone.iter().flat_map(|asker| lookups.leave(asker)).collect();
        for id in unwanted {
            self.oppo.lookups.take(id);
            self.timers.cancel(&Timer::Lookup(id));
            self.act(Action::CancelLookup(id));
        }
    }

    /// The driver never answered.
    pub(crate) fn lookup_silent(&mut self, now: Time, id: LookupId) {
        let Some(name) = self.oppo.lookups.open.get(&id).map(|w| w.query.name()) else {
            return;
        };
        self.act(Action::CancelLookup(id));
        let after = PATIENCE;
        self.lookup_done(now, id, Err(LookupError::Timeout { name, after }));
    }

    /// DNS has answered.
    pub(crate) fn lookup_done(&mut self, now: Time, id: LookupId, found: Found) {
        self.timers.cancel(&Timer::Lookup(id));
        let Some(Waiting { query, askers }) = self.oppo.lookups.take(id) else {
            return;
        };
        let lookups = &mut self.oppo.lookups;
        let last_good = match &found {
            Err(error) if is_failure(error) => lookups.recall(now, &query, true),
            Err(_) => {
                lookups.ours.remove(&query);
                None
            }
            Ok(_) => None,
        };
        let unanswered = |error: &LookupError| {
            !matches!(
                error,
                LookupError::NoRecord { .. } | LookupError::Bogus { .. }
            )
        };
        self.oppo.figures.unanswered += u64::from(found.as_ref().is_err_and(unanswered));
        if let Err(error @ (LookupError::Bogus { .. } | LookupError::Malformed { .. })) = &found {
            let before = self.limiter.blame(Some(Cause::Dns));
            self.loglog(About::default(), Rc::LogSerious, error.to_string());
            self.limiter.blame(before);
        }
        let anew = last_good.is_none();
        let found = last_good.map_or(found, Ok);
        for asker in askers {
            match asker {
                Asker::Ours(pair) => self.ours_answered(now, pair, &query, &found, anew),
                Asker::Theirs(pair) => self.theirs_answered(now, pair, &found),
                Asker::GatewayKey(pair) => self.gateway_key_answered(now, pair, &found),
                Asker::GatewayAddress(pair) => self.gateway_address_answered(now, pair, &found),
                Asker::Peer(state) => {
                    self.oppo.peers.remove(&state);
                    self.foretold(now, state, &query, &found);
                    self.ike_peer_keys(now, state, &found);
                }
                Asker::Foretold(state) => self.foretold(now, state, &query, &found),
                Asker::VetOurs(id) => self.vet_answered(now, id, true, &query, &found),
                Asker::VetTheirs(id) => self.vet_answered(now, id, false, &query, &found),
                Asker::MyAddress(addr) => self.my_address_answered(now, addr, &found),
                Asker::MyName => self.my_name_answered(now, &found),
                Asker::Probe => {}
                Asker::Load(id, client, add) => self.key_loaded(&id, client, add, &found),
            }
        }
    }

    /// Our keys have changed: what DNS said of us may be about others.
    pub(crate) fn forget_own_answers(&mut self) {
        self.oppo.lookups.ours.clear();
    }

    /// The name servers that our own questions go to.
    pub(crate) fn name_servers(&mut self, now: Time, servers: Vec<IpAddr>) {
        self.oppo.name_servers = servers;
        self.guard_name_servers(now);
    }
}

/// Whether an answer may be believed by a policy that wants DNSSEC or does not.
pub(super) fn believed(answer: &Answer, dnssec: bool) -> Result<(), String> {
    if dnssec && answer.security < Security::Secure {
        return Err("the answer from DNS is not signed, and dnssec=yes wants that".to_owned());
    }
    Ok(())
}
