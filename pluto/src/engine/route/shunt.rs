//! Shunts: the `%hold`s in which packets wait, and those that belong to no connection.

use core::time::Duration;
use std::collections::HashMap;

use ipsec_types::{MagicSpi, Selector};

use super::lane::Op;
use crate::engine::Engine;
use crate::engine::connection::{Clients, ConnId};
use crate::engine::time::Time;
use crate::engine::timers::Timer;

/// What an eroute catches.
pub(crate) type Flow = Selector;

/// How often shunts without a connection are looked at.
const SCAN_INTERVAL: Duration = Duration::from_secs(120);
/// How long they may stay.
const PATIENCE: Duration = Duration::from_secs(900);
/// How many packets of one connection may wait in narrow holds of their own.
const HOLDS_MAX: usize = 64;

/// A shunt without a connection.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    pub(crate) since: Time,
    pub(crate) kind: MagicSpi,
    pub(crate) why: &'static str,
}

/// What the kernel holds that no eroute of a connection covers.
#[derive(Debug, Default)]
pub(crate) struct Shunts {
    bare: HashMap<Flow, Bare>,
    waiting: HashMap<ConnId, Vec<Flow>>,
}

impl Shunts {
    /// A packet of `conn` waits.
    pub(super) fn hold(&mut self, conn: ConnId, flow: Flow) {
        let holds = self.waiting.entry(conn).or_default();
        if !holds.contains(&flow) {
            holds.push(flow);
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.waiting.remove(&conn);
    }

    /// None waits any longer.
    pub(super) fn release(&mut self, conn: ConnId) {
        self.waiting.remove(&conn);
    }

    /// Where packets of `conn` wait.
    pub(super) fn waiting(&self, conn: ConnId) -> &[Flow] {
        self.waiting.get(&conn).map_or(&[], Vec::as_slice)
    }

    /// Whether no more may wait for `conn`.
    pub(crate) fn full(&self, conn: ConnId) -> bool {
        self.waiting(conn).len() >= HOLDS_MAX
    }

    /// Shunts without a connection.
    pub(crate) fn bare(&self) -> impl Iterator<Item = (&Flow, &Bare)> {
        self.bare.iter()
    }

    /// All gone with the kernel that had them.
    pub(crate) fn clear(&mut self) {
        self.bare.clear();
        self.waiting.clear();
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
    /// Removes a `%hold` of the kernel for which no connection was found: nobody would ever release it.
    pub(crate) fn drop_bare_hold(&mut self, now: Time, flow: Flow, why: &'static str) {
        self.shunts.bare.insert(flow, Bare { since: now, kind: MagicSpi::Hold, why });
        if self.timers.deadline(&Timer::ShuntScan).is_none() {
            self.timers.set(now + SCAN_INTERVAL, Timer::ShuntScan);
        }
        self.enqueue(now, Some(flow.dst), Op::DropBare(flow));
    }

    /// A shunt without a connection is gone.
    pub(super) fn bare_gone(&mut self, flow: &Flow) {
        self.shunts.bare.remove(flow);
    }

    /// Tries again to remove shunts that have outstayed their time.
    pub(crate) fn scan_shunts(&mut self, now: Time) {
        let old: Vec<Flow> = self
            .shunts
            .bare
            .iter()
            .filter(|(_, bare)| now - bare.since > PATIENCE)
            .map(|(flow, _)| *flow)
            .collect();
        for flow in old {
            self.enqueue(now, Some(flow.dst), Op::DropBare(flow));
        }
        if !self.shunts.bare.is_empty() {
            self.timers.set(now + SCAN_INTERVAL, Timer::ShuntScan);
        }
    }
}
