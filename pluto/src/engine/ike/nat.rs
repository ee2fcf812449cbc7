//! NAT between us and a peer: going over to port 4500, following a peer that is seen at another address or port, and
//! keep-alives. How NAT is found out is in `ike::v1`; ESP in UDP is KLIPS'.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use ike::v1::{Nat, NatOffer};

use super::IkeTimer;
use super::table::State;
use crate::engine::connection::{ConnId, IKE_PORT, Kind, StateId};
use crate::engine::event::Action;
use crate::engine::{About, Connection, Engine, Time, Timer};

impl Engine {
    /// Whether `local` is where messages with the non-ESP marker come.
    fn is_nat_port(&self, local: SocketAddr) -> bool {
        self.config.nat.traversal && local.port() == self.config.nat.port
    }

    /// Our address with the port that connections are known by, whichever of our two a message came to.
    pub(super) fn ike_side(&self, local: SocketAddr) -> SocketAddr {
        if self.is_nat_port(local) {
            SocketAddr::new(local.ip(), IKE_PORT)
        } else {
            local
        }
    }

    /// What a connection brings to a Main Mode between `local` and `remote`.
    pub(super) fn nat_offer(
        &self,
        conn: &Connection,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> NatOffer {
        NatOffer {
            enabled: self.offers_nat_traversal(),
            force: conn.policy.force_encaps,
            local,
            remote,
        }
    }

    pub(super) fn offers_nat_traversal(&self) -> bool {
        self.config.nat.traversal && self.config.nat.port_floating
    }

    /// Where a Main Mode of ours begins: at port 500, or where the peer behind its NAT is reached.
    pub(super) fn ends_for(
        &self,
        conn: &Connection,
        replaces: Option<StateId>,
    ) -> Option<(SocketAddr, SocketAddr)> {
        let old = replaces.and_then(|id| self.ike.states.get(id));
        if let Some(old) = old.filter(|old| old.nat.used().is_some()) {
            return Some((old.local, old.remote));
        }
        let (local, remote) = (conn.this.host?, conn.that.host?);
        let floated = conn.kind == Kind::Instance
            && conn.that.host_port != IKE_PORT
            && self.config.nat.traversal;
        let port = if floated {
            self.config.nat.port
        } else {
            conn.this.host_port
        };
        Some((
            SocketAddr::new(local, port),
            SocketAddr::new(remote, conn.that.host_port),
        ))
    }

    /// Main Mode has found out whether there is a NAT; the initiator goes over to port 4500 with its third message
    /// (RFC 3947 section 4).
    pub(super) fn nat_found(&mut self, id: StateId, nat: Nat, initiator: bool) {
        let port = self.config.nat.port;
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        if nat.method.is_none() || state.nat == nat {
            return;
        }
        state.nat = nat;
        let floats = initiator && nat.used().is_some() && state.local.port() != port;
        let (local, remote) = (state.local.ip(), state.remote.ip());
        if let Some(method) = nat.method {
            self.log(
                self.about(id),
                format!("NAT-Traversal: Result using {method}: {nat}"),
            );
        }
        if floats {
            let ends = (SocketAddr::new(local, port), SocketAddr::new(remote, port));
            self.ike.states.set_ends(id, ends);
        }
    }

    /// Whether a Main Mode of ours was for opportunistic tunnels of this host itself, and has found a NAT in front of it. No gateway of a stranger
    /// gives a tunnel to an address that means this host on this side of the NAT only, so it ends here, and whoever waits is told at once.
    /// The peer is not known yet and may have invented the NAT: it decides for its own destinations only.
    pub(super) fn gives_up_behind_nat(&mut self, now: Time, id: StateId) -> bool {
        let Some(state) = self.ike.states.get(id).filter(|state| state.nat.us) else {
            return false;
        };
        let for_this_host = |id: ConnId| {
            self.conns.get(id).is_some_and(|conn| {
                conn.kind == Kind::Instance
                    && conn.policy.opportunistic
                    && conn.this.client_is_host()
            })
        };
        let gateway = state.remote.ip();
        let mut waiting = state.pending.iter().map(|pending| pending.conn);
        if !for_this_host(state.conn) || !waiting.all(for_this_host) {
            return false;
        }
        let why = self.oppo_behind_nat(now, gateway);
        self.give_gateway_up(now, id, &why);
        true
    }

    /// Whether a message for a state may come from here. With NAT traversal a peer may turn up elsewhere; whether it is the
    /// peer, its message proves.
    pub(super) fn may_come(&self, id: StateId, local: SocketAddr, remote: SocketAddr) -> bool {
        self.ike.states.get(id).is_some_and(|state| {
            state.remote == remote
                || (state.nat.used().is_some()
                    && (state.remote.ip() == remote.ip() || self.is_nat_port(local)))
        })
    }

    /// Whether a Main Mode has gone over to port 4500, so that what still comes for it to another port is old (RFC 3947 section 4).
    pub(super) fn has_left(&self, id: StateId, local: SocketAddr) -> bool {
        self.ike.states.get(id).is_some_and(|state| {
            state.name.is_phase1() && self.is_nat_port(state.local) && !self.is_nat_port(local)
        })
    }

    /// Whether the peer of a state has this address.
    pub(super) fn is_at(&self, id: StateId, addr: core::net::IpAddr) -> bool {
        self.ike
            .states
            .get(id)
            .is_some_and(|state| state.remote.ip() == addr)
    }

    /// A peer has proved that it is here now. If a NAT can have moved it, everything that we have with it follows.
    pub(super) fn peer_is_at(
        &mut self,
        now: Time,
        id: StateId,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (old, floating) = (
            state.remote,
            state.established.is_none() && state.name.is_phase1(),
        );
        if (state.local, old) == (local, remote) || state.nat.used().is_none() {
            return;
        }
        // Only a NAT in front of the peer gives it another address. Where there is none, a genuine message from elsewhere is one
        // that somebody was faster with, and to follow it would lose the peer (RFC 7296 section 2.23). In Main Mode the peer goes
        // over to the other port by itself.
        let follows = state.nat.peer || floating && old.ip() == remote.ip();
        if !follows {
            return;
        }
        let conn = state.conn;
        let moving: Vec<StateId> = if floating {
            vec![id]
        } else {
            self.states_with(id, old)
        };
        if !floating {
            self.log(
                self.about(id),
                format!("NAT-Traversal: peer has moved from {old} to {remote}"),
            );
        }
        let mut conns = BTreeSet::from([conn]);
        for other in moving {
            let Some(state) = self.ike.states.get(other) else {
                continue;
            };
            conns.insert(state.conn);
            // Which of our sockets it came to is this state's matter alone.
            let ours = if other == id { local } else { state.local };
            let phase1 = state.name.is_phase1();
            self.ike.states.set_ends(other, (ours, remote));
            if !phase1 {
                self.remap_ipsec_sa(now, other, remote);
            }
        }
        for conn in conns {
            self.instance_is_at(conn, old, remote);
        }
    }

    /// The states with the same peer, seen at the same place as `id` was.
    fn states_with(&self, id: StateId, at: SocketAddr) -> Vec<StateId> {
        let states = &self.ike.states;
        let there = |state: &&State| {
            state.remote == at
                && state.nat.used().is_some()
                && (state.id == id || self.same_peer(id, state.id))
        };
        states
            .phase1_with(at.ip())
            .filter(there)
            .chain(states.phase2_with(at.ip()).filter(there))
            .map(|state| state.id)
            .collect()
    }

    /// An instance is known by where its peer is.
    fn instance_is_at(&mut self, conn: ConnId, old: SocketAddr, new: SocketAddr) {
        let moves = self.conns.get(conn).is_some_and(|conn| {
            conn.kind == Kind::Instance
                && conn.that.host == Some(old.ip())
                && conn.that.host_port == old.port()
        });
        if moves {
            self.conns.edit(conn, |conn| {
                conn.that.host = Some(new.ip());
                conn.that.host_port = new.port();
            });
        }
    }

    /// KLIPS has had an authentic packet of the peer's from elsewhere.
    pub(crate) fn ike_new_mapping(&mut self, now: Time, id: StateId, remote: SocketAddr) {
        if let Some(local) = self.ike.states.get(id).map(|state| state.local) {
            self.peer_is_at(now, id, local, remote);
        }
    }

    /// Sees to it that keep-alives are sent, if a state needs them.
    pub(super) fn want_keep_alives(&mut self, now: Time, id: StateId) {
        let wanted = self
            .ike
            .states
            .get(id)
            .is_some_and(|state| self.needs_keep_alives(state));
        let timer = Timer::Ike(IkeTimer::KeepAlive);
        if wanted && self.timers.deadline(&timer).is_none() {
            self.timers.set(now + self.config.nat.keep_alive, timer);
        }
    }

    /// Keep-alives hold a mapping in the NAT in front of us; one in front of the peer is the peer's business.
    fn needs_keep_alives(&self, state: &State) -> bool {
        let nat = &state.nat;
        state.established.is_some()
            && nat.used().is_some()
            && (nat.us || nat.forced || self.config.nat.force_keep_alive)
            && !self.config.nat.keep_alive.is_zero()
    }

    /// Sends one to each peer that needs it (RFC 3948 section 4), and comes again while there are such.
    pub(super) fn keep_alive_timer(&mut self, now: Time) {
        let ends: BTreeSet<(SocketAddr, SocketAddr)> = self
            .ike
            .states
            .iter()
            .filter(|state| self.needs_keep_alives(state))
            .map(|state| (state.local, state.remote))
            .collect();
        if ends.is_empty() {
            return;
        }
        for (local, remote) in ends {
            self.act(Action::KeepAlive { local, remote });
        }
        let next = now + self.config.nat.keep_alive;
        self.timers.set(next, Timer::Ike(IkeTimer::KeepAlive));
    }

    /// What `whack --status` says about NAT traversal.
    pub(crate) fn nat_status(&self) -> Vec<String> {
        let nat = &self.config.nat;
        if !nat.traversal {
            return vec!["NAT-Traversal: off (nat_traversal=no)".to_owned()];
        }
        let floating = if nat.port_floating {
            ""
        } else {
            "; not offered (--disable_port_floating)"
        };
        let seconds = nat.keep_alive.as_secs();
        let mut lines = vec![format!(
            "NAT-Traversal: on, port {}, keep-alives every {seconds}s{}{floating}",
            nat.port,
            if nat.force_keep_alive { ", forced" } else { "" },
        )];
        let private = self.conns.virtual_private();
        let list = |excluded| {
            let nets: Vec<String> = private
                .0
                .iter()
                .filter(|net| net.excluded == excluded)
                .map(|net| net.subnet.to_string())
                .collect();
            (nets.len(), nets.join(", "))
        };
        if !private.0.is_empty() {
            let ((allowed, allow), (denied, deny)) = (list(false), list(true));
            lines.push("virtual_private (%priv):".to_owned());
            lines.push(format!("- allowed {allowed} subnets: {allow}"));
            lines.push(format!("- disallowed {denied} subnets: {deny}"));
        }
        lines
    }

    /// Warns where a connection wants private addresses and none are.
    pub(crate) fn check_virtual(&mut self, id: ConnId) {
        let lacking = self.conns.get(id).is_some_and(|conn| {
            conn.that.virt.as_ref().is_some_and(|virt| virt.private)
                && self.conns.virtual_private().is_empty()
        });
        if lacking {
            let text = "%priv is in this connection's vhost: or vnet:, and virtual_private= in config setup is empty: no private address will be accepted";
            self.loglog(About::conn(id), whack::Rc::LogSerious, text);
        }
    }
}
