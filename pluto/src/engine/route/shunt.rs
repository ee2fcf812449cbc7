//! Shunts that belong to no connection: `%hold`s for whose packets none was found, and what opportunism puts between two hosts that
//! can have no tunnel, for a bounded time.

use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use ipsec_types::{MagicSpi, Selector};

use super::lane::Op;
use crate::engine::Engine;
use crate::engine::connection::Clients;
use crate::engine::room::give_back;
use crate::engine::time::Time;
use crate::engine::timers::Timer;

/// What an eroute catches.
pub(crate) type Flow = Selector;

/// Until the removal of a `%hold` is tried again.
const AGAIN: Duration = Duration::from_secs(120);
/// Shunts that there may be; then the one whose time is over first goes.
const MAX_BARE: usize = 32_768;

/// A shunt without a connection.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    pub(crate) since: Time,
    /// When it goes; never if none.
    pub(crate) until: Option<Time>,
    pub(crate) kind: MagicSpi,
    pub(crate) why: String,
}

/// What the kernel holds that no eroute of a connection covers. Those whose time is over are found without looking at the others.
#[derive(Debug, Default)]
pub(crate) struct Shunts {
    bare: HashMap<Flow, Bare>,
    ends: BTreeSet<(Time, Flow)>,
}

impl Shunts {
    /// Shunts without a connection.
    pub(crate) fn bare(&self) -> impl Iterator<Item = (&Flow, &Bare)> {
        self.bare.iter()
    }

    /// All gone with the kernel that had them.
    pub(crate) fn clear(&mut self) {
        self.bare.clear();
        self.ends.clear();
    }

    fn insert(&mut self, flow: Flow, bare: Bare) {
        let until = bare.until;
        self.remove(&flow);
        self.ends.extend(until.map(|until| (until, flow)));
        self.bare.insert(flow, bare);
    }

    fn remove(&mut self, flow: &Flow) {
        if let Some(Bare {
            until: Some(until), ..
        }) = self.bare.remove(flow)
        {
            self.ends.remove(&(until, *flow));
        }
    }
}

/// The eroute of these clients.
pub(crate) fn flow_of(clients: &Clients) -> Flow {
    Selector {
        src: clients.ours,
        dst: clients.theirs,
        proto: clients.our_protoport.proto,
        sport: clients.our_protoport.port.0,
        dport: clients.their_protoport.port.0,
    }
}

impl Engine {
    /// Puts a shunt between two hosts, in place of a `%hold` perhaps, whose packet then goes or is dropped; after `life` it is
    /// taken away, and what is below catches the next packet.
    pub(crate) fn set_bare(
        &mut self,
        now: Time,
        flow: Flow,
        kind: MagicSpi,
        why: &str,
        life: Option<Duration>,
    ) {
        let bare = Bare {
            since: now,
            until: life.map(|life| now + life),
            kind,
            why: why.to_owned(),
        };
        self.shunts.insert(flow, bare);
        if self.shunts.ends.len() > MAX_BARE
            && let Some((_, first)) = self.shunts.ends.first().copied()
        {
            self.drop_bare(now, first);
        }
        self.wake_for_shunts();
        self.enqueue(now, Some(flow.dst), Op::Bare(flow, kind));
    }

    /// Takes a shunt without a connection away.
    pub(crate) fn drop_bare(&mut self, now: Time, flow: Flow) {
        if let Some(bare) = self.shunts.bare.get(&flow).cloned() {
            // Its time is over, whatever becomes of the request.
            self.shunts.insert(
                flow,
                Bare {
                    until: None,
                    ..bare
                },
            );
            self.enqueue(now, Some(flow.dst), Op::DropBare(flow));
        }
    }

    /// Removes a `%hold` of the kernel for which no connection was found: nobody would ever release it.
    pub(crate) fn drop_bare_hold(&mut self, now: Time, flow: Flow, why: &'static str) {
        let bare = Bare {
            since: now,
            until: Some(now + AGAIN),
            kind: MagicSpi::Hold,
            why: why.to_owned(),
        };
        self.shunts.insert(flow, bare);
        self.wake_for_shunts();
        self.enqueue(now, Some(flow.dst), Op::DropBare(flow));
    }

    /// A shunt without a connection is gone.
    pub(super) fn bare_gone(&mut self, flow: &Flow) {
        self.shunts.remove(flow);
        give_back(&mut self.shunts.bare);
    }

    /// Whether there is a shunt of its own for these packets.
    pub(super) fn has_bare(&self, flow: &Flow) -> bool {
        self.shunts.bare.contains_key(flow)
    }

    /// Whether it is of this kind.
    pub(super) fn bare_is(&self, flow: &Flow, kind: MagicSpi) -> bool {
        self.shunts
            .bare
            .get(flow)
            .is_some_and(|bare| bare.kind == kind)
    }

    /// Those that go after some time.
    pub(crate) fn passing_shunts(&self) -> Vec<Flow> {
        self.shunts.ends.iter().map(|(_, flow)| *flow).collect()
    }

    fn wake_for_shunts(&mut self) {
        if let Some((first, _)) = self.shunts.ends.first() {
            self.timers.set(*first, Timer::ShuntScan);
        }
    }

    /// Removes shunts that have had their time.
    pub(crate) fn scan_shunts(&mut self, now: Time) {
        while let Some((until, flow)) = self.shunts.ends.first().copied()
            && until <= now
        {
            self.drop_bare(now, flow);
        }
        self.wake_for_shunts();
    }
}
