//! Operations on routes, eroutes and SAs, one after another wherever they could meet: all that concerns
//! one peer client goes through one lane. An operation is a list of steps; if one fails, the steps before it are
//! taken back and the operation has failed as a whole. What the steps are is decided in `plan`.

use std::collections::{HashMap, VecDeque};

use ipsec_types::{MagicSpi, Subnet};

use super::shunt::{Flow, flow_of};
use super::updown::Verb;
use crate::engine::Engine;
use crate::engine::connection::{ConnId, Routing, StateId};
use crate::engine::event::ClientId;
use crate::engine::kernel::{InstallError, Installed, Request};
use crate::engine::room::take;
use crate::engine::time::Time;

/// The peer client whose route the operations are about.
pub(crate) type LaneKey = Option<Subnet>;

/// Something to be done as a whole or not at all.
#[derive(Debug)]
pub(crate) enum Op {
    /// Install SAs, and except for `Inbound` the eroute and the route to them.
    Install(StateId, Installed),
    /// Delete the SAs of a state, and put a shunt in place of its eroute.
    DeleteSas(StateId),
    /// Route a connection, with the shunt of its policy.
    Trap(ConnId, Option<ClientId>),
    /// Take shunt and route away.
    Unroute(ConnId, Option<ClientId>),
    /// A packet waits in a `%hold` of the kernel while the connection is negotiated.
    Hold(ConnId, Flow),
    /// The negotiation failed.
    Failed(ConnId),
    /// Take the connection out of the table.
    Forget(ConnId, Option<ClientId>),
    /// Close the way to the peer's client, of which it is not known yet by what device it leads.
    Close(ConnId),
    /// Make the route again, where it may have been lost.
    RenewRoute(ConnId),
    /// Find out again which end is ours.
    Reorient(ConnId),
    /// Give a connection the addresses that were found for it.
    Rehost(ConnId),
    /// Put a shunt that belongs to no connection in place of what stands there.
    Bare(Flow, MagicSpi),
    /// Remove a shunt that belongs to no connection.
    DropBare(Flow),
    /// Send what goes out by the SAs of a state to where the peer is now.
    Remap(StateId),
    /// Let a client go that waits until all before this is done.
    Release(ClientId),
    /// Tell a change of policy groups that the lane has done what it had to do before.
    Mark(u64),
}

/// One thing to do, outside or in the tables.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Ask the kernel.
    Kernel(Request),
    /// Run the updown command of a connection.
    Updown(ConnId, Verb),
    /// Write down how far a connection is taken care of.
    Routing(ConnId, Routing),
    /// Write down whether the way is closed without a route.
    Closed(ConnId, bool),
    /// Write down whose SAs the eroute leads to.
    EroutedTo(ConnId, Option<StateId>),
    /// The SAs of a state are no more.
    SasGone(StateId),
    /// A shunt that belonged to no connection is no more.
    BareGone(Flow),
}

/// A step of an operation.
#[derive(Debug)]
pub(crate) struct Step {
    act: Act,
    undo: Option<Act>,
    may_fail: bool,
}

impl Step {
    /// Must succeed; `undo` takes it back.
    pub(crate) fn must(act: Act, undo: Option<Act>) -> Self {
        Self {
            act,
            undo,
            may_fail: false,
        }
    }

    /// Is tried, and goes on in any case.
    pub(crate) fn attempt(act: Act) -> Self {
        Self {
            act,
            undo: None,
            may_fail: true,
        }
    }
}

#[derive(Debug)]
struct Running {
    op: Op,
    steps: VecDeque<Step>,
    undo: Vec<Act>,
    failed: Option<InstallError>,
    /// The step that something outside is busy with.
    busy: Option<Step>,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Op>,
    current: Option<Running>,
}

/// All lanes that have something to do.
#[derive(Debug, Default)]
pub(crate) struct Lanes(HashMap<LaneKey, Lane>);

impl Lanes {
    pub(crate) fn idle(&self) -> bool {
        self.0.is_empty()
    }
}

impl Engine {
    /// Appends an operation to its lane and starts what can be started.
    pub(crate) fn enqueue(&mut self, now: Time, key: LaneKey, op: Op) {
        self.lanes.0.entry(key).or_default().queue.push_back(op);
        self.pump(now, key);
    }

    /// The step that the lane was busy with is over.
    pub(crate) fn step_done(&mut self, now: Time, key: LaneKey, result: Result<(), InstallError>) {
        let Some(running) = self
            .lanes
            .0
            .get_mut(&key)
            .and_then(|lane| lane.current.as_mut())
        else {
            return;
        };
        let Some(step) = running.busy.take() else {
            return;
        };
        running.settle(step, result);
        self.pump(now, key);
    }

    fn pump(&mut self, now: Time, key: LaneKey) {
        loop {
            let Some(lane) = self.lanes.0.get_mut(&key) else {
                return;
            };
            let Some(running) = lane.current.as_mut() else {
                let Some(op) = lane.queue.pop_front() else {
                    take(&mut self.lanes.0, &key);
                    return;
                };
                let plan = self.plan(&op);
                let (steps, failed) = match plan {
                    Ok(steps) => (steps.into(), None),
                    Err(error) => (VecDeque::new(), Some(error)),
                };
                let running = Running {
                    op,
                    steps,
                    undo: Vec::new(),
                    failed,
                    busy: None,
                };
                if let Some(lane) = self.lanes.0.get_mut(&key) {
                    lane.current = Some(running);
                }
                continue;
            };
            if running.busy.is_some() {
                return;
            }
            match running.steps.pop_front() {
                Some(step) => {
                    let act = step.act.clone();
                    running.busy = Some(step);
                    self.start(now, key, act);
                }
                None => {
                    let Some(done) = lane.current.take() else {
                        return;
                    };
                    self.finish(now, done.op, done.failed.map_or(Ok(()), Err));
                }
            }
        }
    }

    /// Starts a step; those that only write something down are over at once.
    fn start(&mut self, now: Time, key: LaneKey, act: Act) {
        let result = match act {
            Act::Kernel(request) => {
                let request = self.with_arrivals(&key, request);
                self.ask_kernel(now, key, request)
            }
            Act::Updown(conn, verb) => self.run_updown(key, conn, verb),
            other => {
                self.write_down(other);
                Some(Ok(()))
            }
        };
        let Some(result) = result else { return };
        let lane = self.lanes.0.get_mut(&key);
        if let Some(running) = lane.and_then(|lane| lane.current.as_mut())
            && let Some(step) = running.busy.take()
        {
            running.settle(step, result);
        }
    }

    /// Adds to an eroute whether what comes back may come in the clear too: where the policy lets packets go in the clear when there is
    /// no tunnel, until there is one; and always with `disablearrivalcheck=yes`.
    fn with_arrivals(&self, key: &LaneKey, request: Request) -> Request {
        let Request::AddFlow(flow, said) = request else {
            return request;
        };
        let running = self.lanes.0.get(key).and_then(|lane| lane.current.as_ref());
        let conn = running.and_then(|running| match running.op {
            Op::Install(state, _) | Op::DeleteSas(state) => {
                Some(self.kernel.record(state)?.params.conn)
            }
            Op::Trap(conn, _) | Op::Unroute(conn, _) | Op::Hold(conn, _) | Op::Failed(conn) => {
                Some(conn)
            }
            _ => None,
        });
        let policy = conn.and_then(|conn| Some(&self.conns.get(conn)?.policy));
        let waits = matches!(
            said.as_magic(),
            Some(MagicSpi::Trap | MagicSpi::TrapSubnet | MagicSpi::Hold)
        );
        if policy.is_some_and(|p| p.disable_arrival_check || waits && p.goes_in_the_clear()) {
            Request::AddFlowClearToo(flow, said)
        } else {
            request
        }
    }

    fn write_down(&mut self, act: Act) {
        match act {
            Act::Routing(conn, routing) => {
                self.conns.set_routing(conn, routing);
                // Its eroute has taken the place of a shunt that was there for the same packets.
                let clients = self.conns.get(conn).and_then(|conn| conn.clients());
                if routing.erouted()
                    && let Some(clients) = clients
                {
                    self.bare_gone(&flow_of(&clients));
                }
            }
            Act::BareGone(flow) => self.bare_gone(&flow),
            Act::Closed(conn, closed) => {
                if let Some(live) = self.conns.live_mut(conn) {
                    live.closed = closed;
                }
            }
            Act::EroutedTo(conn, state) => {
                if let Some(live) = self.conns.live_mut(conn) {
                    live.eroute_owner = state;
                }
            }
            Act::SasGone(state) => self.kernel.forget(state),
            Act::Kernel(_) | Act::Updown(..) => {}
        }
    }
}

impl Running {
    fn settle(&mut self, step: Step, result: Result<(), InstallError>) {
        match result {
            Ok(()) => self.undo.extend(step.undo),
            Err(_) if step.may_fail => {}
            Err(error) => {
                self.failed.get_or_insert(error);
                self.steps = self.undo.drain(..).rev().map(Step::attempt).collect();
            }
        }
    }
}
