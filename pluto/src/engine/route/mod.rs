//! Who owns which route and eroute, what shunt stands where there is no tunnel, and the updown commands that tell the
//! system. PF_KEY messages themselves are made in `kernel`.

mod lane;
mod plan;
mod shunt;
mod updown;

use whack::Rc;

use super::connection::{Clients, ConnId, Connection, Kind, Routing, StateId};
use super::event::ClientId;
use super::kernel::{InstallError, Installed, Path};
use super::log::About;
use super::time::Time;
use super::{Engine, Id};

pub(crate) use lane::{Act, LaneKey, Lanes, Op, Step};
pub(crate) use shunt::{Flow, Shunts, clients_of_flow, flow_of};
pub(crate) use updown::Updowns;
use updown::without_tunnel;

fn route_error(text: impl Into<String>) -> InstallError {
    InstallError::Route(text.into())
}

impl Engine {
    /// Gateways and clients of a connection, if it is one that can be routed.
    pub(crate) fn path_of(&self, id: ConnId) -> Result<Path, InstallError> {
        let conn = self.conns.get(id).ok_or(InstallError::Gone)?;
        if !conn.policy.never_negotiate() && !conn.policy.has_ipsec() {
            return Err(route_error("cannot route an ISAKMP-only connection"));
        }
        if conn.kind == Kind::Template && !conn.policy.opportunistic {
            return Err(route_error(format!(
                "cannot route template policy of {}",
                conn.policy
            )));
        }
        let local = conn.this.host.filter(|_| conn.oriented());
        let local = local.ok_or_else(|| {
            route_error("we have no ipsecN interface for either end of this connection")
        })?;
        if conn.this.nexthop.is_none() {
            return Err(route_error(
                "cannot route connection without knowing our nexthop",
            ));
        }
        let clients = conn
            .clients()
            .ok_or_else(|| route_error("cannot route connection without knowing its clients"))?;
        Ok(Path {
            local,
            remote: conn
                .that
                .host
                .unwrap_or_else(|| ipsec_types::unspecified(local)),
            flow: flow_of(&clients),
            check_arrivals: !conn.policy.disable_arrival_check,
        })
    }

    /// Whether route and eroute of a connection are free for it: of the same interface as others have, and with clients of its
    /// own. The next hop of a route into ipsecN is for show: KLIPS sends what it makes by the route to the peer.
    pub(crate) fn may_own_eroute(&self, conn: &Connection) -> Result<(), InstallError> {
        let by_other = |id: Option<ConnId>| {
            id.filter(|id| *id != conn.id())
                .and_then(|id| self.conns.get(id))
        };
        if let Some(other) = by_other(self.conns.route_owner(conn))
            && !routes_agree(other, conn)
            && !supersedes(conn, other)
        {
            return Err(route_error(format!(
                "cannot route -- route already in use for {}",
                other.tag()
            )));
        }
        if let Some(other) = by_other(self.conns.eroute_owner(conn)) {
            // A block of one address has the same clients as what is made for it.
            let under_it = other.kind == Kind::Template
                && (conn.template == Some(other.id()) || conn.policy.opportunistic);
            if !under_it && !supersedes(conn, other) {
                let owner = other.live.eroute_owner.map_or(0, |state| state.0);
                return Err(route_error(format!(
                    "cannot install eroute -- it is in use for {} #{owner}",
                    other.tag()
                )));
            }
        }
        Ok(())
    }

    /// A peer that has proved who it is wants the clients for which there is a tunnel to elsewhere: that tunnel is out of date. A tunnel
    /// from other clients of ours to the same client of a peer shares the route, whoever its peer is.
    pub(crate) fn free_route_to_client(&mut self, now: Time, id: ConnId) {
        // Each round releases one; a connection is released once.
        for _ in 0..self.conns.len() {
            let Some(conn) = self.conns.get(id).filter(|conn| conn.that.has_client) else {
                return;
            };
            let other = self.conns.eroute_owner(conn).filter(|other| *other != id);
            let Some(other) = other.and_then(|other| self.conns.get(other)) else {
                return;
            };
            // Behind one NAT, peers differ by their ports.
            let compatible = other.that.host == conn.that.host
                && other.that.host_port == conn.that.host_port
                && other.interface == conn.interface;
            if compatible || other.kind == Kind::Template || other.routing() != Routing::Tunnel {
                return;
            }
            let (other_id, tag) = (other.id(), other.tag());
            let permanent = other.kind == Kind::Permanent;
            let peer = other
                .that
                .host
                .map(|host| host.to_string())
                .unwrap_or_default();
            self.loglog(
                About::conn(id),
                Rc::LogSerious,
                format!("route to peer's client conflicts with {tag} {peer}; releasing old connection to free the route"),
            );
            self.release_connection(now, other_id);
            if permanent {
                // Its route goes in this lane before ours comes.
                return;
            }
        }
    }

    /// Routes a connection: the shunt of its policy catches its packets from now on.
    pub(crate) fn route_connection(&mut self, now: Time, id: ConnId, client: Option<ClientId>) {
        let about = About::conn(id).watched_by(client);
        if self
            .conns
            .get(id)
            .is_some_and(|conn| conn.kind == Kind::Group)
        {
            self.route_group(now, id, client, true);
            return;
        }
        if let Some(live) = self.conns.live_mut(id) {
            live.wanted.routed = true;
        }
        match self.path_of(id) {
            Ok(path) => {
                if let Some(client) = client {
                    self.hold_client(client);
                }
                self.enqueue(now, Some(path.flow.dst), Op::Trap(id, client));
            }
            Err(error) => {
                self.loglog(about, Rc::Route, error.to_string());
                self.whack_log(about, Rc::Route, "could not route");
            }
        }
    }

    /// Routes a connection that is wanted routed, unless it already is.
    pub(crate) fn route_again(&mut self, now: Time, id: ConnId) {
        if let Ok(path) = self.path_of(id) {
            self.enqueue(now, Some(path.flow.dst), Op::Trap(id, None));
        }
    }

    /// Closes the way to the peer's client of a connection that can't be routed yet.
    pub(crate) fn close(&mut self, now: Time, id: ConnId) {
        if let Some(conn) = self.conns.get(id)
            && without_tunnel(conn) == "drop"
        {
            let lane = conn.that.client;
            self.enqueue(now, lane, Op::Close(id));
        }
    }

    /// Makes the route of a connection again: the system takes routes along with the addresses and devices that they use.
    pub(crate) fn renew_route(&mut self, now: Time, id: ConnId) {
        if let Some(conn) = self.conns.get(id)
            && conn.routing().routed()
            && self.conns.route_owner(conn) == Some(id)
        {
            let lane = conn.that.client;
            self.enqueue(now, lane, Op::RenewRoute(id));
        }
    }

    /// Takes shunt and route of a connection away.
    pub(crate) fn unroute_connection(&mut self, now: Time, id: ConnId, client: Option<ClientId>) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if conn.kind == Kind::Group {
            self.route_group(now, id, client, false);
            return;
        }
        let lane = conn.that.client;
        // Their packets come by its route; those of a permanent one are what it has left closed.
        let template = conn.kind == Kind::Permanent
            || conn.kind == Kind::Template && conn.policy.opportunistic;
        if let Some(live) = self.conns.live_mut(id) {
            live.wanted.routed = false;
        }
        self.pursued(id);
        if let Some(client) = client {
            self.hold_client(client);
        }
        if template {
            let instances: Vec<ConnId> = self.conns.instances(id).collect();
            for instance in instances {
                self.delete_connection(now, instance, client);
            }
        }
        self.enqueue(now, lane, Op::Unroute(id, client));
    }

    /// The client waits until all that is under way for the peer client of a connection is done.
    pub(crate) fn wait_for_lane(&mut self, now: Time, lane: LaneKey, client: ClientId) {
        self.hold_client(client);
        self.enqueue(now, lane, Op::Release(client));
    }

    /// A state of the IKE part is now on `conn`. Pair with [`Engine::state_gone`].
    pub(crate) fn state_added(&mut self, conn: ConnId) {
        if let Some(live) = self.conns.live_mut(conn) {
            live.states += 1;
        }
    }

    /// A state of the IKE part is no longer on `conn`; an instance without any goes.
    pub(crate) fn state_gone(&mut self, now: Time, conn: ConnId, state: StateId) {
        if let Some(live) = self.conns.live_mut(conn) {
            live.states = live.states.saturating_sub(1);
            if live.newest_isakmp == Some(state) {
                live.newest_isakmp = None;
            }
            if live.newest_ipsec == Some(state) {
                live.newest_ipsec = None;
            }
        }
        self.connection_discard(now, conn);
    }

    /// Deletes an instance if no state is left of it; others stay. For an instance that was made and never used, too.
    pub(crate) fn connection_discard(&mut self, now: Time, id: ConnId) {
        let unused = self
            .conns
            .get(id)
            .is_some_and(|conn| conn.kind == Kind::Instance && conn.live.states == 0);
        if unused {
            self.delete_connection(now, id, None);
        }
    }

    /// The negotiation of `conn` has failed for good: its hold becomes the failure shunt, or the trap again.
    pub(crate) fn negotiation_failed(&mut self, now: Time, conn: ConnId) {
        if self.oppo_negotiation_failed(now, conn) {
            return;
        }
        if let Some(lane) = self.conns.get(conn).map(|conn| conn.that.client) {
            self.enqueue(now, lane, Op::Failed(conn));
        }
    }

    fn is_opportunistic(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        conn.is_some_and(|conn| conn.policy.opportunistic && conn.kind != Kind::Instance)
    }

    /// Where a policy of opportunism comes or goes, the guards of name servers do.
    fn guard_if_opportunistic(&mut self, now: Time, id: ConnId) {
        if self.is_opportunistic(id) {
            self.guard_name_servers(now);
        }
    }

    /// Drops the states of a connection and its route; an instance is deleted.
    pub(crate) fn release_connection(&mut self, now: Time, id: ConnId) {
        match self.conns.get(id).map(|conn| conn.kind) {
            Some(Kind::Instance) => self.delete_connection(now, id, None),
            Some(Kind::Permanent | Kind::Template | Kind::Group) => {
                self.ike_terminate(now, id);
                self.unroute_connection(now, id, None);
            }
            Some(Kind::GoingAway) | None => {}
        }
    }

    /// Deletes a connection, its instances, its states and its route. Its name is free at once; the rest goes as fast as the
    /// kernel and the updown command answer, and `client` waits for it.
    pub(crate) fn delete_connection(&mut self, now: Time, id: ConnId, client: Option<ClientId>) {
        let instances: Vec<ConnId> = self.conns.instances(id).collect();
        for instance in instances {
            self.delete_connection(now, instance, client);
        }
        let Some(conn) = self
            .conns
            .get(id)
            .filter(|conn| conn.kind != Kind::GoingAway)
        else {
            return;
        };
        let text = if conn.kind == Kind::Instance {
            let number = |state: Option<StateId>| state.map_or(0, |state| state.0);
            format!(
                "deleting connection \"{}\" instance with peer {} {{isakmp=#{}/ipsec=#{}}}",
                conn.name,
                conn.that
                    .host
                    .map(|host| host.to_string())
                    .unwrap_or_default(),
                number(conn.live.newest_isakmp),
                number(conn.live.newest_ipsec)
            )
        } else {
            "deleting connection".to_owned()
        };
        let lane = conn.that.client;
        self.log(About::conn(id), text);
        self.group_instance_gone(id);
        self.oppo_forget(now, id);
        self.unfollow(id);
        self.conns.edit(id, |conn| conn.kind = Kind::GoingAway);
        self.ike_terminate(now, id);
        if let Some(client) = client {
            self.hold_client(client);
        }
        self.enqueue(now, lane, Op::Unroute(id, None));
        self.enqueue(now, lane, Op::Forget(id, client));
    }

    /// An ISAKMP SA for `conn` is established. With `uniqueids`, what the same peer had at other addresses is released.
    pub(crate) fn isakmp_sa_established(&mut self, now: Time, id: ConnId, state: StateId) {
        if let Some(live) = self.conns.live_mut(id) {
            live.newest_isakmp = Some(state);
        }
        let Some(conn) = self
            .conns
            .get(id)
            .filter(|conn| self.config.unique_ids && !conn.that.id.is_none())
        else {
            return;
        };
        let (peer_id, host): (Id, _) = (conn.that.id.clone(), conn.that.host);
        // What a NAT did to the port of an instance's peer tells one place from another; a configured port does not.
        let port = (conn.kind == Kind::Instance).then_some(conn.that.host_port);
        let elsewhere: Vec<ConnId> = self
            .conns
            .by_peer_id(&peer_id)
            .filter(|other| {
                self.conns.get(*other).is_some_and(|other| {
                    let moved = other.kind == Kind::Instance
                        && port.is_some_and(|port| port != other.that.host_port);
                    matches!(other.kind, Kind::Permanent | Kind::Instance)
                        && (other.that.host != host || moved)
                        && self.ike_serves(state, other)
                })
            })
            .collect();
        for other in elsewhere {
            self.release_connection(now, other);
        }
    }

    /// A packet hit a trap, and the kernel holds it: negotiate the connection that it belongs to.
    pub(crate) fn on_demand(&mut self, now: Time, packet: &Clients, trapped_by: Option<Flow>) {
        let ports = (packet.our_protoport.port.0, packet.their_protoport.port.0);
        let (ours, theirs, proto) = (
            packet.ours.addr(),
            packet.theirs.addr(),
            packet.our_protoport.proto,
        );
        let exact = flow_of(packet);
        // Holds are between hosts; the kernel keeps protocol and ports only if the trap had them.
        let held = match trapped_by {
            Some(trap) => Flow {
                proto: trap.proto,
                sport: trap.sport,
                dport: trap.dport,
                ..exact
            },
            None => Flow {
                proto: 0,
                sport: 0,
                dport: 0,
                ..exact
            },
        };
        let found = self
            .conns
            .for_packet(packet)
            .map(|conn| (conn.id(), conn.kind, conn.policy, conn.routing()));
        let Some((id, kind, policy, routing)) = found else {
            let text = format!(
                "Can not initiate on demand from {ours}:{} to {theirs}:{} proto={proto}: no routed connection covers this pair",
                ports.0, ports.1
            );
            self.loglog(About::default(), Rc::OppoFailure, text);
            self.drop_bare_hold(now, held, "no connection");
            return;
        };
        if kind == Kind::Template && policy.opportunistic {
            self.oppo_acquire(now, id, packet, held);
            return;
        }
        if policy.never_negotiate() || !matches!(kind, Kind::Permanent | Kind::Instance) {
            self.drop_bare_hold(now, held, "not negotiable");
            return;
        }
        let lane = self.conns.get(id).and_then(|conn| conn.that.client);
        self.enqueue(now, lane, Op::Hold(id, held));
        let under_way = matches!(
            routing,
            Routing::Hold | Routing::UnroutedHold | Routing::Tunnel
        ) && self.conns.get(id).is_some_and(|conn| conn.live.states > 0);
        if !under_way {
            self.loglog(
                About::conn(id),
                Rc::Comment,
                format!(
                    "initiate on demand from {ours}:{} to {theirs}:{} proto={proto} state: fos_start because: acquire",
                    ports.0, ports.1
                ),
            );
            self.ike_initiate(now, id, None);
        }
    }

    /// An operation is over; tell whoever asked for it.
    fn finish(&mut self, now: Time, op: Op, result: Result<(), InstallError>) {
        match op {
            Op::Install(state, what) => {
                if let Err(error) = &result
                    && let Some(conn) = self.kernel.record(state).map(|record| record.params.conn)
                {
                    self.loglog(
                        About::conn(conn).state(state),
                        Rc::LogSerious,
                        error.to_string(),
                    );
                }
                let undone = result.is_err() && what != Installed::Outbound;
                self.ike_sa_installed(now, state, what, result);
                if undone {
                    // Nothing of it is in the kernel, so nothing is to be deleted later.
                    self.kernel.forget(state);
                }
            }
            Op::Trap(id, client) => {
                let about = About::conn(id).watched_by(client);
                match result {
                    Ok(()) => self.pursued(id),
                    Err(error) => {
                        if client.is_some() || self.first_setback(id) {
                            self.loglog(about, Rc::LogSerious, error.to_string());
                        }
                        self.whack_log(about, Rc::Route, "could not route");
                        self.pursue_later(now, id);
                    }
                }
                self.release_waiting(client);
                self.guard_if_opportunistic(now, id);
            }
            Op::Unroute(id, client) => {
                if let Err(error) = result {
                    self.loglog(
                        About::conn(id).watched_by(client),
                        Rc::RtBusy,
                        error.to_string(),
                    );
                }
                self.guard_if_opportunistic(now, id);
                self.release_waiting(client);
            }
            Op::Forget(id, client) => {
                let opportunistic = self.is_opportunistic(id);
                self.conns.remove(id);
                if opportunistic {
                    self.guard_name_servers(now);
                }
                self.release_waiting(client);
            }
            Op::Reorient(id) => {
                self.orient_again(id);
                self.pursue(now, id);
            }
            Op::Close(_) => {}
            Op::RenewRoute(id) => match result {
                Ok(()) => self.pursued(id),
                // The command has said why.
                Err(_) => self.pursue_later(now, id),
            },
            Op::Release(client) => self.release_client(client),
            Op::Rehost(id) => {
                self.leave_closed(now, id);
                self.settle(now, id);
            }
            Op::Mark(change) => self.lane_passed(now, change),
            Op::DropBare(_) => {}
            Op::Bare(flow, _) => {
                if result.is_err() {
                    self.bare_gone(&flow);
                }
            }
            Op::DeleteSas(_) | Op::Hold(..) | Op::Failed(_) | Op::Remap(_) => {}
        }
    }

    fn release_waiting(&mut self, client: Option<ClientId>) {
        if let Some(client) = client {
            self.release_client(client);
        }
    }
}

/// Whether a connection is what a policy group is for one of its blocks.
fn is_block(conn: &Connection) -> bool {
    conn.kind != Kind::Instance && conn.template.is_some()
}

/// Whether the routes to a shared client are the same.
fn routes_agree(a: &Connection, b: &Connection) -> bool {
    let device = |conn: &Connection| conn.interface.as_ref().map(|i| i.virt.clone());
    device(a) == device(b)
}

/// A block that has come to a group takes over from the group that it was in, and from a tunnel that was made under that.
fn supersedes(conn: &Connection, other: &Connection) -> bool {
    let made = |conn: &Connection| conn.kind == Kind::Instance && conn.policy.opportunistic;
    is_block(conn) && (is_block(other) || made(other))
}
