//! What each operation consists of, decided at the moment it starts, from who owns what then.

use core::net::SocketAddr;

use ipsec_types::{MagicSpi, SaId};

use super::lane::{Act, Op, Step};
use super::shunt::{Flow, clients_of_flow};
use super::updown::{Verb, without_tunnel};
use super::{is_block, routes_agree};
use crate::engine::Engine;
use crate::engine::connection::{
    ConnId, Connection, FailureShunt, Kind, Routing, Shunt, StateId, Wanted,
};
use crate::engine::kernel::{Half, InstallError, Installed, Request};

type Plan = Result<Vec<Step>, InstallError>;

/// The shunt that the policy of a connection asks for.
fn of_policy(conn: &Connection) -> MagicSpi {
    match conn.policy.shunt {
        Shunt::Trap => MagicSpi::Trap,
        Shunt::Pass => MagicSpi::Pass,
        Shunt::Drop => MagicSpi::Drop,
        Shunt::Reject => MagicSpi::Reject,
    }
}

/// The shunt of a connection that is not negotiated at the moment. Packets bring up only what somebody wants: what
/// was taken down stays down, and what is sent there is dropped (ipsec_auto(8), --down).
fn prospective(conn: &Connection) -> MagicSpi {
    match of_policy(conn) {
        MagicSpi::Trap if conn.live.wanted == Wanted::default() => MagicSpi::Drop,
        shunt => shunt,
    }
}

/// The shunt after a failure, and how that is called.
fn after_failure(conn: &Connection) -> (Routing, MagicSpi) {
    match conn.policy.failure {
        FailureShunt::None => (Routing::Prospective, prospective(conn)),
        FailureShunt::Pass => (Routing::Failure, MagicSpi::Pass),
        FailureShunt::Drop => (Routing::Failure, MagicSpi::Drop),
        FailureShunt::Reject => (Routing::Failure, MagicSpi::Reject),
    }
}

impl Engine {
    pub(super) fn plan(&self, op: &Op) -> Plan {
        match *op {
            Op::Install(state, what) => self.plan_install(state, what),
            Op::DeleteSas(state) => Ok(self.plan_delete(state)),
            Op::Trap(conn, _) => self.plan_trap(conn),
            Op::Unroute(conn, _) => self.plan_unroute(conn),
            Op::Hold(conn, flow) => Ok(self.plan_hold(conn, flow)),
            Op::Failed(conn) => Ok(self.plan_failed(conn)),
            Op::Remap(state) => Ok(self.plan_remap(state)),
            Op::Bare(flow, kind) => Ok(self.plan_bare(flow, kind)),
            Op::DropBare(flow) => Ok(self.plan_drop_bare(flow)),
            Op::Close(conn) => Ok(self.plan_close(conn)),
            Op::RenewRoute(conn) => Ok(self.plan_renew_route(conn)),
            Op::Rehost(conn) => Ok(self.plan_rehost(conn)),
            Op::Forget(..) | Op::Reorient(_) | Op::Release(_) | Op::Mark(_) => Ok(Vec::new()),
        }
    }

    /// A shunt of its own, unless it has been taken back meanwhile.
    fn plan_bare(&self, flow: Flow, kind: MagicSpi) -> Vec<Step> {
        if self.bare_is(&flow, kind) {
            vec![Step::must(Act::Kernel(Request::shunt(flow, kind)), None)]
        } else {
            Vec::new()
        }
    }

    /// What stands there may be a connection's by now.
    fn plan_drop_bare(&self, flow: Flow) -> Vec<Step> {
        if !self.has_bare(&flow) {
            return Vec::new();
        }
        vec![
            Step::attempt(Act::Kernel(self.uncover(flow, None))),
            Step::attempt(Act::BareGone(flow)),
        ]
    }

    /// Takes an eroute away, or puts in its place what a connection other than `gone` has for the same packets.
    fn uncover(&self, flow: Flow, gone: Option<ConnId>) -> Request {
        let clients = clients_of_flow(&flow);
        let stands = self.conns.standing_for(&clients, gone);
        let said = stands.and_then(|owner| self.eroute_of(owner).ok());
        said.map_or(Request::DelFlow(flow), |said| Request::AddFlow(flow, said))
    }

    fn plan_install(&self, state: StateId, what: Installed) -> Plan {
        let record = self.kernel.record(state).ok_or(InstallError::Gone)?;
        let conn = self
            .conns
            .get(record.params.conn)
            .ok_or(InstallError::Gone)?;
        if conn.kind == Kind::GoingAway {
            return Err(InstallError::Gone);
        }
        self.may_own_eroute(conn)?;
        let mut steps = Vec::new();
        if what != Installed::Outbound {
            steps.extend(record.install(Half::In));
        }
        if what == Installed::Inbound {
            steps.extend(self.hold_answers(conn, record.path.flow)?);
        }
        if what != Installed::Inbound {
            steps.extend(record.install(Half::Out));
            let said = record.eroute_said().ok_or(InstallError::Gone)?;
            steps.extend(self.plan_eroute(
                conn,
                record.path.flow,
                said,
                conn.live.eroute_owner.is_none(),
            )?);
            steps.push(Step::must(Act::Routing(conn.id(), Routing::Tunnel), None));
            steps.push(Step::must(Act::EroutedTo(conn.id(), Some(state)), None));
        }
        Ok(steps)
    }

    /// The peer may send as soon as it has our answer; what our clients say to it must wait for the outbound
    /// SAs and not leave in the clear. So hold and route stand before the answer goes.
    fn hold_answers(&self, conn: &Connection, flow: Flow) -> Plan {
        if matches!(conn.routing(), Routing::Tunnel | Routing::Hold) {
            return Ok(Vec::new());
        }
        let mut steps = self.plan_eroute(conn, flow, SaId::magic(MagicSpi::Hold), false)?;
        steps.push(Step::must(Act::Routing(conn.id(), Routing::Hold), None));
        Ok(steps)
    }

    /// The eroute of a connection to `said`; `notify` if its firewall must hear of a new tunnel. Then the route, if there is none.
    fn plan_eroute(&self, conn: &Connection, flow: Flow, said: SaId, notify: bool) -> Plan {
        let before = self.eroute_before(conn, flow)?;
        let eroute = Request::AddFlow(flow, said);
        let undo = before.unwrap_or(Request::DelFlow(flow));
        let mut steps = vec![Step::must(Act::Kernel(eroute), Some(Act::Kernel(undo)))];
        if notify {
            let down = Act::Updown(conn.id(), Verb::Down);
            steps.push(Step::must(Act::Updown(conn.id(), Verb::Up), Some(down)));
        }
        let owner = self.conns.route_owner(conn);
        let owner = owner.and_then(|id| self.conns.get(id));
        let same = |owner: &Connection| {
            let source = conn.this.source_ip;
            let to_all = conn.that.client.is_some_and(|net| net.is_all());
            routes_agree(owner, conn)
                && (source.is_none() || source == owner.this.source_ip)
                && (!to_all || owner.this.client_is_host() == conn.this.client_is_host())
                && (!is_block(conn) || without_tunnel(owner) == without_tunnel(conn))
        };
        if !owner.is_some_and(same) {
            let unroute = Act::Updown(conn.id(), Verb::Unroute);
            steps.push(Step::attempt(Act::Updown(conn.id(), Verb::Prepare)));
            steps.push(Step::must(
                Act::Updown(conn.id(), Verb::Route),
                Some(unroute),
            ));
        }
        Ok(steps)
    }

    /// What would restore the eroute that a new one replaces, if there is one.
    fn eroute_before(
        &self,
        conn: &Connection,
        flow: Flow,
    ) -> Result<Option<Request>, InstallError> {
        let Some(owner) = self
            .conns
            .eroute_owner(conn)
            .and_then(|id| self.conns.get(id))
        else {
            return Ok(None);
        };
        Ok(Some(Request::AddFlow(flow, self.eroute_of(owner)?)))
    }

    /// Where the eroute of a connection leads.
    fn eroute_of(&self, owner: &Connection) -> Result<SaId, InstallError> {
        match (owner.routing(), owner.live.eroute_owner) {
            (Routing::Tunnel, Some(state)) => {
                let record = self.kernel.record(state).ok_or(InstallError::Gone)?;
                record.eroute_said().ok_or(InstallError::Gone)
            }
            (Routing::Hold | Routing::UnroutedHold, _) => Ok(SaId::magic(MagicSpi::Hold)),
            (Routing::Failure, _) => Ok(SaId::magic(after_failure(owner).1)),
            _ => Ok(SaId::magic(prospective(owner))),
        }
    }

    fn plan_delete(&self, state: StateId) -> Vec<Step> {
        let Some(record) = self.kernel.record(state) else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        let conn = self.conns.get(record.params.conn);
        let owned = conn.filter(|conn| conn.live.eroute_owner == Some(state));
        let opportunistic = |conn: &&Connection| {
            conn.policy.opportunistic && matches!(conn.kind, Kind::Instance | Kind::GoingAway)
        };
        if let Some(conn) = owned.filter(opportunistic) {
            // The trap of the policy is below, and finds out anew what DNS says now.
            steps.push(Step::attempt(Act::EroutedTo(conn.id(), None)));
            steps.push(Step::attempt(Act::Updown(conn.id(), Verb::Down)));
            steps.extend(self.back_to_trap(conn, record.path.flow));
        } else if let Some(conn) = conn.filter(opportunistic) {
            if conn.live.eroute_owner.is_none() && conn.routing() == Routing::Hold {
                steps.extend(self.back_to_trap(conn, record.path.flow));
            }
        } else if let Some(conn) = owned {
            let (routing, shunt) = after_failure(conn);
            steps.push(Step::attempt(Act::EroutedTo(conn.id(), None)));
            steps.push(Step::attempt(Act::Updown(conn.id(), Verb::Down)));
            steps.push(Step::attempt(Act::Kernel(Request::shunt(
                record.path.flow,
                shunt,
            ))));
            steps.push(Step::attempt(Act::Routing(conn.id(), routing)));
        } else if let Some(conn) = conn
            && conn.live.eroute_owner.is_none()
            && conn.routing() == Routing::Hold
        {
            // An exchange that we answered was not completed.
            let (routing, shunt) = after_failure(conn);
            steps.push(Step::attempt(Act::Kernel(Request::shunt(
                record.path.flow,
                shunt,
            ))));
            steps.push(Step::attempt(Act::Routing(conn.id(), routing)));
        }
        steps.extend(record.remove(Half::Out));
        steps.extend(record.remove(Half::In));
        steps.push(Step::attempt(Act::SasGone(state)));
        steps
    }

    /// Takes the eroute of an opportunistic instance away, and its route, unless others share it.
    fn back_to_trap(&self, conn: &Connection, flow: Flow) -> Vec<Step> {
        let mut steps = vec![
            Step::attempt(Act::Kernel(self.uncover(flow, Some(conn.id())))),
            Step::attempt(Act::Routing(conn.id(), Routing::Unrouted)),
        ];
        if !self.conns.route_is_shared(conn) {
            steps.push(Step::attempt(Act::Updown(conn.id(), Verb::Unroute)));
        }
        steps
    }

    fn plan_remap(&self, state: StateId) -> Vec<Step> {
        let found = self.kernel.record(state).and_then(|record| {
            let (said, udp) = (record.esp_in_udp_out()?, record.params.udp?);
            let old = SocketAddr::new(said.dst, udp.remote.port());
            Some(Request::Remap(said, old, udp.remote))
        });
        found
            .map(|request| Step::attempt(Act::Kernel(request)))
            .into_iter()
            .collect()
    }

    fn plan_trap(&self, id: ConnId) -> Plan {
        let conn = self.live_conn(id)?;
        self.may_own_eroute(conn)?;
        if conn.routing() == Routing::Tunnel {
            return Ok(Vec::new());
        }
        let flow = self.path_of(id)?.flow;
        let said = SaId::magic(of_policy(conn));
        let mut steps = self.plan_eroute(conn, flow, said, false)?;
        steps.push(Step::must(Act::Routing(id, Routing::Prospective), None));
        Ok(steps)
    }

    fn plan_close(&self, id: ConnId) -> Vec<Step> {
        let early = |conn: &Connection| !conn.routing().routed() && !conn.live.closed;
        if !self.live_conn(id).is_ok_and(early) {
            return Vec::new();
        }
        vec![
            Step::attempt(Act::Updown(id, Verb::Close)),
            Step::attempt(Act::Closed(id, true)),
        ]
    }

    fn plan_renew_route(&self, id: ConnId) -> Vec<Step> {
        let routed = self.live_conn(id).is_ok_and(|conn| conn.routing().routed());
        let route = Step::must(Act::Updown(id, Verb::Route), None);
        routed.then_some(route).into_iter().collect()
    }

    fn plan_unroute(&self, id: ConnId) -> Plan {
        let conn = self.conns.get(id).ok_or(InstallError::Gone)?;
        if conn.routing() == Routing::Tunnel {
            return Err(InstallError::Route("cannot unroute: route busy".to_owned()));
        }
        let opened = [
            Step::attempt(Act::Closed(id, false)),
            Step::attempt(Act::Updown(id, Verb::Unroute)),
        ];
        let Ok(path) = self.path_of(id) else {
            let closed = conn.live.closed && !self.conns.route_is_shared(conn);
            return Ok(closed.then_some(opened).into_iter().flatten().collect());
        };
        let mut steps = Vec::new();
        if conn.routing().erouted() {
            let uncovered = self.uncover(path.flow, Some(id));
            steps.push(Step::attempt(Act::Kernel(uncovered)));
        }
        steps.push(Step::attempt(Act::Routing(id, Routing::Unrouted)));
        let closed = conn.routing().routed() || conn.live.closed;
        if closed && !self.conns.route_is_shared(conn) {
            steps.extend(opened);
        }
        Ok(steps)
    }

    /// A connection gets other addresses. Where a gateway is its own client, the flow that it is routed for is another one then. What goes to
    /// the peer's old address is dropped from here on, and stays so; if only our own address is another, its eroute goes, and KLIPS drops
    /// what comes by the route, which stays.
    fn plan_rehost(&self, id: ConnId) -> Vec<Step> {
        let (Ok(conn), Ok(path)) = (self.live_conn(id), self.path_of(id)) else {
            return Vec::new();
        };
        let [ours, theirs] = self.clients_that_move(conn);
        if !conn.routing().routed() || !ours && !theirs {
            return Vec::new();
        }
        if theirs {
            let closed = Request::shunt(path.flow, MagicSpi::Drop);
            return vec![Step::attempt(Act::Kernel(closed))];
        }
        let uncovered = self.uncover(path.flow, Some(id));
        vec![
            Step::attempt(Act::Kernel(uncovered)),
            Step::attempt(Act::Routing(id, Routing::Unrouted)),
        ]
    }

    /// The kernel holds packets between two hosts. All of the connection's are held from now on, and
    /// the narrow hold goes: its packet moves to the wide one, or into the tunnel if that came up meanwhile.
    fn plan_hold(&self, id: ConnId, narrow: Flow) -> Vec<Step> {
        let (Ok(conn), Ok(path)) = (self.live_conn(id), self.path_of(id)) else {
            // Nobody else would ever release what KLIPS holds.
            return vec![Step::attempt(Act::Kernel(self.uncover(narrow, None)))];
        };
        let mut steps = Vec::new();
        if matches!(conn.routing(), Routing::Prospective | Routing::Failure) {
            if narrow != path.flow {
                steps.push(Step::attempt(Act::Kernel(Request::shunt(
                    path.flow,
                    MagicSpi::Hold,
                ))));
            }
            steps.push(Step::attempt(Act::Routing(id, Routing::Hold)));
        }
        if conn.routing() == Routing::Unrouted && conn.kind == Kind::Instance {
            // The template's trap is below; what KLIPS holds is the instance's from now on.
            if narrow != path.flow {
                let hold = Request::shunt(path.flow, MagicSpi::Hold);
                steps.push(Step::attempt(Act::Kernel(hold)));
            }
            steps.push(Step::attempt(Act::Routing(id, Routing::UnroutedHold)));
        }
        if narrow != path.flow {
            steps.push(Step::attempt(Act::Kernel(Request::DelFlow(narrow))));
        }
        steps
    }

    fn plan_failed(&self, id: ConnId) -> Vec<Step> {
        let Ok(conn) = self.live_conn(id) else {
            return Vec::new();
        };
        let Ok(path) = self.path_of(id) else {
            return Vec::new();
        };
        let mut steps = Vec::new();
        match conn.routing() {
            Routing::Hold => {
                let (routing, shunt) = after_failure(conn);
                steps.push(Step::attempt(Act::Kernel(Request::shunt(path.flow, shunt))));
                steps.push(Step::attempt(Act::Routing(id, routing)));
            }
            Routing::Prospective if conn.policy.failure != FailureShunt::None => {
                let (routing, shunt) = after_failure(conn);
                steps.push(Step::attempt(Act::Kernel(Request::shunt(path.flow, shunt))));
                steps.push(Step::attempt(Act::Routing(id, routing)));
            }
            Routing::UnroutedHold => {
                let uncovered = self.uncover(path.flow, Some(id));
                steps.push(Step::attempt(Act::Kernel(uncovered)));
                steps.push(Step::attempt(Act::Routing(id, Routing::Unrouted)));
            }
            _ => {}
        }
        steps
    }

    fn live_conn(&self, id: ConnId) -> Result<&Connection, InstallError> {
        self.conns
            .get(id)
            .filter(|conn| conn.kind != Kind::GoingAway)
            .ok_or(InstallError::Gone)
    }
}
