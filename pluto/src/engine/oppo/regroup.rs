//! A change of the policy groups on its way through the lanes. First what is new is routed, over what stands for the same packets; then
//! what it replaces goes, with the tunnels and shunts for which another block has become the narrowest; then who waits is answered. So
//! at no moment does nothing stand for a block that moves from one group to another.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipsec_types::Subnet;

use super::Pair;
use super::failure::clients_between;
use super::groups::Target;
use crate::engine::connection::{ConnId, Kind, Routing};
use crate::engine::event::ClientId;
use crate::engine::route::{LaneKey, Op};
use crate::engine::{Engine, Time};

/// One change.
#[derive(Debug, Default)]
pub(super) struct Change {
    comes: BTreeMap<Target, ConnId>,
    goes: BTreeMap<Target, ConnId>,
    clients: Vec<ClientId>,
    /// All is routed, and what was replaced is on its way out.
    routed: bool,
    /// Lanes that are still busy with it.
    left: usize,
}

impl Change {
    pub(super) fn for_clients(clients: Vec<ClientId>) -> Self {
        Self {
            clients,
            ..Self::default()
        }
    }

    /// This will stand for a block.
    pub(super) fn comes(&mut self, target: Target, conn: ConnId) {
        self.comes.insert(target, conn);
    }

    /// This stood for a block, and will no longer.
    pub(super) fn goes(&mut self, target: Target, conn: ConnId) {
        self.goes.insert(target, conn);
    }

    /// Whether what stands for packets to a peer may be another policy than before. What a group closes is closed for other addresses of ours
    /// too, so that it does not count where the packets are from.
    fn touches(&self, sources: &BTreeSet<Subnet>, theirs: Subnet) -> bool {
        sources.iter().any(|source| {
            (0..=theirs.prefix()).any(|prefix| {
                Subnet::new(theirs.addr(), prefix).is_ok_and(|block| {
                    let target = (*source, block);
                    self.comes.contains_key(&target) || self.goes.contains_key(&target)
                })
            })
        })
    }
}

/// The changes under way, by number.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    open: HashMap<u64, Change>,
    last: u64,
}

impl Engine {
    /// Routes what is new.
    pub(super) fn begin_change(&mut self, now: Time, change: Change) {
        let watcher = change.clients.first().copied();
        let routed = |conn: &&ConnId| {
            let group = self.conns.get(**conn).and_then(|conn| conn.template);
            let group = group.and_then(|group| self.conns.get(group));
            group.is_some_and(|group| group.policy.grouted)
        };
        let fresh: Vec<ConnId> = change.comes.values().filter(routed).copied().collect();
        let number = self.open_change(change);
        for conn in fresh {
            let lane = self.conns.get(conn).and_then(|conn| conn.that.client);
            self.route_connection(now, conn, watcher);
            self.await_lane(now, number, lane);
        }
        self.lane_passed(now, number);
    }

    /// A change that waits for one thing: that all lanes are told of it.
    fn open_change(&mut self, mut change: Change) -> u64 {
        let changes = &mut self.oppo.groups.changes;
        change.left = 1;
        changes.last += 1;
        changes.open.insert(changes.last, change);
        changes.last
    }

    /// A change is to wait for what a lane has to do before now.
    fn await_lane(&mut self, now: Time, number: u64, lane: LaneKey) {
        if let Some(change) = self.oppo.groups.changes.open.get_mut(&number) {
            change.left += 1;
            self.enqueue(now, lane, Op::Mark(number));
        }
    }

    /// A lane has come to the mark of a change.
    pub(crate) fn lane_passed(&mut self, now: Time, number: u64) {
        let changes = &mut self.oppo.groups.changes.open;
        let Some(change) = changes.get_mut(&number) else {
            return;
        };
        change.left -= 1;
        if change.left > 0 {
            return;
        }
        let Some(change) = changes.remove(&number) else {
            return;
        };
        if change.routed {
            for client in change.clients {
                self.release_client(client);
            }
        } else {
            self.release_replaced(now, change);
        }
    }

    /// All that is new is routed: what it replaces goes.
    fn release_replaced(&mut self, now: Time, mut change: Change) {
        self.keep_what_has_no_successor(now, &mut change);
        let mut lanes: BTreeSet<LaneKey> = BTreeSet::new();
        for ((_, block), conn) in &change.goes {
            let instances: Vec<ConnId> = self.conns.instances(*conn).collect();
            let of_instances = instances.iter().filter_map(|id| self.conns.get(*id));
            lanes.extend(of_instances.map(|conn| conn.that.client));
            lanes.insert(Some(*block));
            self.delete_connection(now, *conn, None);
        }
        lanes.extend(self.release_outdated(now, &change));
        change.routed = true;
        let number = self.open_change(change);
        for lane in lanes {
            self.await_lane(now, number, lane);
        }
        self.lane_passed(now, number);
    }

    /// What could not be routed leaves in place what it was to replace.
    fn keep_what_has_no_successor(&mut self, now: Time, change: &mut Change) {
        let failed = |conn: &ConnId| {
            let conn = self.conns.get(*conn);
            conn.is_some_and(|conn| {
                let group = conn.template.and_then(|group| self.conns.get(group));
                conn.routing() == Routing::Unrouted
                    && group.is_some_and(|group| group.policy.grouted)
            })
        };
        let failed: Vec<(Target, ConnId)> = change
            .comes
            .iter()
            .filter(|(target, conn)| change.goes.contains_key(*target) && failed(conn))
            .map(|(target, conn)| (*target, *conn))
            .collect();
        for (target, conn) in failed {
            self.delete_connection(now, conn, None);
            let old = change.goes.remove(&target);
            let group = old.and_then(|old| self.conns.get(old)?.template);
            if let (Some(old), Some(group)) = (old, group) {
                self.oppo.groups.targets.insert(target, (group, old));
            }
        }
    }

    /// Tunnels, shunts and attempts between hosts for which another block has become the narrowest. Their lanes are answered.
    fn release_outdated(&mut self, now: Time, change: &Change) -> Vec<LaneKey> {
        let targets = change.comes.keys().chain(change.goes.keys());
        let sources: BTreeSet<Subnet> = targets.map(|(source, _)| *source).collect();
        let outdated: Vec<ConnId> = self
            .conns
            .opportunistic_instances()
            .filter(|id| {
                self.conns.get(*id).is_some_and(|conn| {
                    let (Some(ours), Some(theirs), Some(template)) =
                        (conn.this.client, conn.that.client, conn.template)
                    else {
                        return false;
                    };
                    change.touches(&sources, theirs)
                        && self.is_outdated((ours.addr(), theirs.addr()), template)
                })
            })
            .collect();
        let mut lanes = Vec::new();
        for id in outdated {
            lanes.extend(self.conns.get(id).map(|conn| conn.that.client));
            self.release_connection(now, id);
        }
        let attempts: Vec<Pair> = self
            .oppo
            .attempts
            .iter()
            .filter(|((ours, theirs), attempt)| {
                let (ours, theirs) = (Subnet::host(*ours), Subnet::host(*theirs));
                change.touches(&sources, theirs)
                    && self.is_outdated((ours.addr(), theirs.addr()), attempt.template)
            })
            .map(|(pair, _)| *pair)
            .collect();
        for pair in attempts {
            lanes.push(Some(Subnet::host(pair.1)));
            self.attempt_outdated(now, pair);
        }
        for flow in self.passing_shunts() {
            if change.touches(&sources, flow.dst) {
                lanes.push(Some(flow.dst));
                self.drop_bare(now, flow);
            }
        }
        lanes
    }

    /// Whether a policy for two hosts is no longer the narrowest that is routed, or is gone.
    fn is_outdated(&self, pair: (IpAddr, IpAddr), template: ConnId) -> bool {
        let gone = |conn: &crate::engine::Connection| conn.kind == Kind::GoingAway;
        self.conns.get(template).is_none_or(gone)
            || self
                .conns
                .policy_for(&clients_between(pair))
                .is_some_and(|policy| policy.id() != template)
    }
}
