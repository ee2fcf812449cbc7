//! How the engine drives IKE: the table of states, their timers and retransmissions, who
//! may say what to whom. The exchanges themselves are `ike::v1`; connections, routes and the
//! kernel belong to the rest of the engine.
//!
//! `receive` sorts datagrams to states, `half_open` answers first messages, `admission` says whose turn it is after that, `phase1` and `phase2` carry exchanges
//! on, `fragment` cuts messages to pieces and puts them together, `inform` sends and honours notifications and deletes,
//! `install` hands the kernel what was agreed on, `refusal` ends what the peer refuses, `stale` hears of SPIs and cookies that a peer does not know, `dpd` finds dead peers, `trial` tunnels that peers have dropped, `message_ids` knows which have been used, `nat` follows those behind NAT, `timer` retransmits and replaces,
//! `authority` decides which connections an IKE SA may serve, `whack` is what people ask for, `policy` turns a connection into proposals and finds secrets, `table` remembers it all.

mod admission;
pub(crate) mod authority;
mod dpd;
pub(super) mod fragment;
mod half_open;
mod inform;
mod install;
mod limits;
mod message_ids;
mod nat;
mod peer_key;
mod phase1;
mod phase2;
mod policy;
mod receive;
mod refusal;
mod stale;
mod table;
mod timer;
mod trial;
mod whack;

use std::collections::HashMap;
use std::sync::Arc;

use ike::v1::IsakmpSa;
use rand::CryptoRng;

use super::Engine;
use super::connection::StateId;
use super::event::JobId;
use super::time::Time;
use admission::Admission;
use authority::Fingerprints;
use fragment::Fragments;
use half_open::Answers;
use table::{State, States};

pub(crate) use table::Pending;

/// The timers of the IKE part, fired as `Engine::ike_timer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeTimer {
    /// The one event of a state: retransmit, replace, expire, discard.
    State(StateId),
    /// Look whether the peer of an IPsec SA's state is alive.
    Liveness(StateId),
    /// Look what a tunnel carries that its peer may have dropped.
    Trial(StateId),
    /// Draw a new secret for responder cookies (EVENT_REINIT_SECRET).
    CookieSecret,
    /// Send NAT keep-alives (EVENT_NAT_T_KEEPALIVE).
    KeepAlive,
}

/// All that the IKE part of the engine remembers; the field `Engine::ike`.
#[derive(Debug)]
pub struct Ike {
    states: States,
    jobs: HashMap<JobId, StateId>,
    answers: Answers,
    admission: Admission,
    fragments: Fragments,
    /// Notifications in the clear that may still be sent in the second that began at the time given.
    notify_budget: Option<(Time, u32)>,
    fingerprints: Fingerprints,
}

impl Ike {
    /// Nothing yet.
    pub(super) fn new(rng: &mut dyn CryptoRng) -> Self {
        Self {
            states: States::default(),
            jobs: HashMap::new(),
            answers: Answers::default(),
            admission: Admission::default(),
            fragments: Fragments::default(),
            notify_budget: None,
            fingerprints: Fingerprints::new(rng),
        }
    }
}

impl Engine {
    /// The ISAKMP SAs that stand, for tests and fuzzing: messages that no peer of ours would send are sealed under them.
    pub fn isakmp_sas(&self) -> impl Iterator<Item = &Arc<IsakmpSa>> {
        self.ike.states.iter().filter_map(State::isakmp)
    }

    /// The cookies of all exchanges of phase 1.
    #[cfg(test)]
    pub(super) fn cookies_of_states(&self) -> Vec<(ike::wire::Cookie, ike::wire::Cookie)> {
        let phase1 = self.ike.states.iter().filter(|s| s.name.is_phase1());
        phase1.map(|state| state.cookies).collect()
    }
}
