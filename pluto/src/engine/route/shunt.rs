//! Shunts that belong to no connection: `%hold`s for whose packets none was found.

use core::time::Duration;
use std::collections::HashMap;

use ipsec_types::{MagicSpi, Selector};

use super::lane::Op;
use crate::engine::Engine;
use crate::engine::connection::Clients;
use crate::engine::time::Time;
use crate::engine::timers::Timer;

/// What an eroute catches.
pub(crate) type Flow = Selector;

/// How often shunts without a connection are looked at.
const SCAN_INTERVAL: Duration = Duration::from_secs(120);
/// How long they may stay.
const PATIENCE: Duration = Duration::from_secs(900);

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
}

impl Shunts {
    /// Shunts without a connection.
    pub(crate) fn bare(&self) -> impl Iterator<Item = (&Flow, &Bare)> {
        self.bare.iter()
    }

    /// All gone with the kernel that had them.
    pub(crate) fn clear(&mut self) {
        self.bare.clear();
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
        self.shunts.bare.insert(
            flow,
            Bare {
                since: now,
                kind: MagicSpi::Hold,
                why,
            },
        );
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
