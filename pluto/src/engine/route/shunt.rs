//! Shunts that belong to no connection: `%hold`s for whose packets none was found, and what opportunism puts between two hosts that
//! can have no tunnel, for a bounded time.

use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use ipsec_types::{MagicSpi, Port, ProtoPort, Selector};

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

/// Whether a shunt is looked at before it goes, and what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It goes in any case.
    Fixed,
    /// Nobody has looked yet.
    Unseen,
    /// So many packets had met it when half of its time was over.
    Seen(u32),
}

/// A shunt without a connection.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    pub(crate) since: Time,
    /// When it goes; never if none.
    pub(crate) until: Option<Time>,
    pub(crate) kind: MagicSpi,
    pub(crate) why: String,
    used: Use,
    /// When something is done about it; its place in the order.
    due: Option<Time>,
}

/// What the kernel holds that no eroute of a connection covers. Those whose time is over are found without looking at the others.
#[derive(Debug, Default)]
pub(crate) struct Shunts {
    bare: HashMap<Flow, Bare>,
    order: BTreeSet<(Time, Flow)>,
}

impl Shunts {
    /// Shunts without a connection.
    pub(crate) fn bare(&self) -> impl Iterator<Item = (&Flow, &Bare)> {
        self.bare.iter()
    }

    /// All gone with the kernel that had them.
    pub(crate) fn clear(&mut self) {
        self.bare.clear();
        self.order.clear();
    }

    fn insert(&mut self, flow: Flow, bare: Bare) {
        self.remove(&flow);
        self.order.extend(bare.due.map(|due| (due, flow)));
        self.bare.insert(flow, bare);
    }

    fn remove(&mut self, flow: &Flow) -> Option<Bare> {
        let bare = self.bare.remove(flow)?;
        if let Some(due) = bare.due {
            self.order.remove(&(due, *flow));
        }
        Some(bare)
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

/// The clients of this eroute.
pub(crate) fn clients_of_flow(flow: &Flow) -> Clients {
    let proto_port = |port| ProtoPort {
        proto: flow.proto,
        port: Port(port),
    };
    Clients {
        ours: flow.src,
        our_protoport: proto_port(flow.sport),
        theirs: flow.dst,
        their_protoport: proto_port(flow.dport),
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
        let until = life.map(|life| now + life);
        let bare = Bare {
            since: now,
            until,
            kind,
            why: why.to_owned(),
            used: Use::Fixed,
            due: until,
        };
        self.put_bare(now, flow, bare, true);
    }

    /// The same for what DNS or a gateway has said: where packets meet it in the second half of its time it stays, and
    /// `oppo_ask_again` finds out what holds now (RFC 4322 section 3.2.7). A shunt of this kind that stands is not touched.
    pub(crate) fn set_verdict(
        &mut self,
        now: Time,
        flow: Flow,
        kind: MagicSpi,
        why: &str,
        life: Duration,
    ) {
        let stands = self.shunts.bare.get(&flow).filter(|bare| bare.kind == kind);
        let since = stands.map(|bare| bare.since);
        let bare = Bare {
            since: since.unwrap_or(now),
            until: Some(now + life),
            kind,
            why: why.to_owned(),
            used: Use::Unseen,
            due: Some(now + life / 2),
        };
        self.put_bare(now, flow, bare, since.is_none());
    }

    fn put_bare(&mut self, now: Time, flow: Flow, bare: Bare, is_new: bool) {
        let kind = bare.kind;
        self.shunts.insert(flow, bare);
        if self.shunts.order.len() > MAX_BARE
            && let Some((_, first)) = self.shunts.order.first().copied()
        {
            self.drop_bare(now, first);
        }
        self.wake_for_shunts();
        if is_new {
            self.enqueue(now, Some(flow.dst), Op::Bare(flow, kind));
        }
    }

    /// What stands is to stand for so long more while something else is found out.
    pub(crate) fn extend_verdict(&mut self, now: Time, flow: Flow, life: Duration) {
        if let Some(bare) = self.shunts.remove(&flow) {
            let bare = Bare {
                until: Some(now + life),
                used: Use::Unseen,
                due: Some(now + life / 2),
                ..bare
            };
            self.put_bare(now, flow, bare, false);
        }
    }

    /// Takes a shunt without a connection away.
    pub(crate) fn drop_bare(&mut self, now: Time, flow: Flow) {
        if let Some(bare) = self.shunts.bare.get(&flow).cloned() {
            // Its time is over, whatever becomes of the request.
            self.shunts.insert(
                flow,
                Bare {
                    until: None,
                    due: None,
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
            used: Use::Fixed,
            due: Some(now + AGAIN),
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
    pub(crate) fn has_bare(&self, flow: &Flow) -> bool {
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
        let passing = |(flow, bare): (&Flow, &Bare)| bare.until.map(|_| *flow);
        self.shunts.bare.iter().filter_map(passing).collect()
    }

    fn wake_for_shunts(&mut self) {
        if let Some((first, _)) = self.shunts.order.first() {
            self.timers.set(*first, Timer::ShuntScan);
        }
    }

    /// Removes shunts that have had their time, and asks KLIPS for the use of those that may stay.
    pub(crate) fn scan_shunts(&mut self, now: Time) {
        while let Some((due, flow)) = self.shunts.order.first().copied()
            && due <= now
        {
            self.shunts.order.pop_first();
            let Some(bare) = self.shunts.bare.get_mut(&flow) else {
                continue;
            };
            bare.due = None;
            if bare.used == Use::Fixed || !self.ask_shunt_use(now, flow) {
                self.drop_bare(now, flow);
            }
        }
        self.wake_for_shunts();
    }

    /// KLIPS has told how many packets have met a shunt; none: it is not there, or KLIPS does not say.
    pub(crate) fn shunt_use_told(&mut self, now: Time, flow: Flow, packets: Option<u32>) {
        let Some(bare) = self.shunts.bare.get_mut(&flow) else {
            return;
        };
        let (Some(until), None) = (bare.until, bare.due) else {
            return;
        };
        match (bare.used, packets) {
            (Use::Unseen, Some(packets)) => {
                bare.used = Use::Seen(packets);
                bare.due = Some(until);
                self.shunts.order.insert((until, flow));
                self.wake_for_shunts();
            }
            (Use::Seen(before), Some(packets)) if packets != before => {
                self.oppo_ask_again(now, flow);
            }
            _ => self.drop_bare(now, flow),
        }
    }
}
