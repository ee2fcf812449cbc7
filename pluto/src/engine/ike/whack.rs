//! What people ask of the IKE part: up, down, status.

use core::net::IpAddr;
use core::time::Duration;

use whack::Rc;

use super::IkeTimer;
use super::table::{Exchange, Pending, State};
use crate::engine::connection::{ConnId, Kind, StateId};
use crate::engine::event::ClientId;
use crate::engine::{About, Connection, Engine, Time, Timer};

/// A person who asks for a connection is not made to wait for a peer that has been silent for longer than this.
const SILENT: Duration = Duration::from_secs(30);

impl Engine {
    /// Negotiates a connection; `client` watches and is held until it is up or has failed.
    pub(crate) fn ike_initiate(&mut self, now: Time, conn: ConnId, client: Option<ClientId>) {
        if let Some(client) = client {
            self.hold_client(client);
        }
        let quick = Pending {
            conn,
            client,
            tries: 1,
            replaces: None,
        };
        self.initiate(now, quick);
    }

    /// The same because a person asks for it: an ISAKMP SA over which the peer has been silent for a while may be all that is left of a
    /// life that the peer has forgotten.
    pub(crate) fn ike_initiate_asked(&mut self, now: Time, conn: ConnId, client: Option<ClientId>) {
        if let Some(under) = self.phase1_for(conn, true)
            && self
                .last_heard(under)
                .is_some_and(|heard| now - heard > SILENT)
            && let Some(state) = self.ike.states.get_mut(under)
        {
            state.doubted = true;
        }
        self.ike_initiate(now, conn, client);
    }

    /// Over an ISAKMP SA that is there or being made, or else over a new one. A hold of its client is used up.
    pub(super) fn initiate(&mut self, now: Time, quick: Pending) {
        let (conn, client) = (quick.conn, quick.client);
        let has_ipsec = self
            .conns
            .get(conn)
            .is_some_and(|conn| conn.policy.has_ipsec());
        match self.phase1_for(conn, false) {
            None if has_ipsec => self.initiate_anew(now, quick),
            None => self.begin_main(now, conn, client, quick.tries, None, Vec::new()),
            Some(phase1) if has_ipsec => {
                let Some(state) = self.ike.states.get_mut(phase1) else {
                    return;
                };
                if state.isakmp().is_some() {
                    self.quick_initiate(now, phase1, quick);
                } else {
                    state
                        .pending
                        .retain(|other| other.conn != conn || other.client.is_some());
                    state.pending.push(quick);
                    let about = About::conn(conn).watched_by(client);
                    self.tell_complaint(phase1, about);
                }
            }
            Some(_) => {
                if let Some(client) = client {
                    self.release_client(client);
                }
            }
        }
    }

    /// Over a new ISAKMP SA, whatever there is: the peer may know nothing of it any more.
    fn initiate_anew(&mut self, now: Time, quick: Pending) {
        let (conn, client, tries) = (quick.conn, quick.client, quick.tries);
        if let Some(client) = client {
            self.hold_client(client);
        }
        self.begin_main(now, conn, client, tries, None, vec![quick]);
    }

    /// Starts Main Mode, or says why not.
    pub(super) fn begin_main(
        &mut self,
        now: Time,
        conn: ConnId,
        client: Option<ClientId>,
        tries: u32,
        replaces: Option<StateId>,
        pending: Vec<Pending>,
    ) {
        let waiting: Vec<(ConnId, Option<ClientId>)> =
            pending.iter().map(|p| (p.conn, p.client)).collect();
        if let Err(text) = self.main_initiate(now, conn, client, tries, replaces, pending) {
            self.loglog(About::conn(conn).watched_by(client), Rc::LogSerious, text);
            for (conn, client) in waiting.into_iter().chain([(conn, client)]) {
                self.negotiation_failed(now, conn);
                if let Some(client) = client {
                    self.release_client(client);
                }
            }
        }
    }

    /// The newest ISAKMP SA between the same gateways that may serve a connection. One being negotiated may only
    /// where we are the initiator, since then its identities are known.
    pub(crate) fn phase1_for(&self, conn: ConnId, established: bool) -> Option<StateId> {
        let conn = self.conns.get(conn)?;
        let peer = conn.that.host?;
        let fits = |state: &State, base: &Connection| {
            base.this.host == conn.this.host
                && base.that.host_port == conn.that.host_port
                && match state.isakmp() {
                    Some(_) => self.state_serves(state.id, conn).is_ok(),
                    None => self.will_serve(base, conn),
                }
        };
        let usable = |state: &&State| match state.isakmp() {
            Some(_) => established || !state.doubted,
            None => {
                !established
                    && state.name.initiator()
                    && !matches!(state.exchange, Exchange::Refused)
            }
        };
        let mut states = self.ike.states.phase1_with(peer).filter(usable);
        let ready: Option<&State> = states.find(|state| {
            self.conns
                .get(state.conn)
                .is_some_and(|conn| fits(state, conn))
        });
        ready.map(|state| state.id)
    }

    /// Whether a first message of opportunism to this address is under way.
    pub(crate) fn first_message_open(&self, gateway: IpAddr) -> bool {
        let mut states = self.ike.states.phase1_with(gateway);
        states
            .any(|s| s.name == super::table::Name::MainI1 && self.is_opportunistic_instance(s.conn))
    }

    /// Whether there is an ISAKMP SA with this address.
    pub(crate) fn has_isakmp_sa(&self, peer: IpAddr) -> bool {
        let mut states = self.ike.states.phase1_with(peer);
        states.any(|state| state.isakmp().is_some())
    }

    /// Deletes all states of a connection, telling the peer. An ISAKMP SA that others use goes over to one of them.
    pub(crate) fn ike_terminate(&mut self, now: Time, conn: ConnId) {
        self.drop_pending(conn);
        let states = self.ike.states.of_conn(conn);
        let (phase1, phase2): (Vec<StateId>, Vec<StateId>) = states.into_iter().partition(|id| {
            self.ike
                .states
                .get(*id)
                .is_some_and(|state| state.name.is_phase1())
        });
        for id in phase2 {
            self.delete_state(now, id, true);
        }
        for id in phase1 {
            match self
                .other_user(id, conn)
                .filter(|_| !self.is_shutting_down())
            {
                Some(other) => {
                    self.move_state(now, id, other);
                    if let Some(live) = self.conns.live_mut(other) {
                        live.newest_isakmp = live.newest_isakmp.max(Some(id));
                    }
                }
                None => self.delete_state(now, id, true),
            }
        }
    }

    /// Another connection whose IPsec SAs were made, or are to be made, over an ISAKMP SA.
    fn other_user(&self, id: StateId, conn: ConnId) -> Option<ConnId> {
        let state = self.ike.states.get(id)?;
        let alive = |id: &ConnId| {
            self.conns
                .get(*id)
                .is_some_and(|conn| conn.kind != Kind::GoingAway)
        };
        let alive = |id: &ConnId| {
            let serves = |conn| !matches!(self.state_serves(state.id, conn), Err(Some(_)));
            alive(id) && self.conns.get(*id).is_some_and(serves)
        };
        let waiting = state.pending.iter().map(|pending| pending.conn);
        let users = self.ike.states.phase2_with(state.remote.ip());
        let users = users
            .filter(|user| user.under.is_some_and(|(under, _)| under == id))
            .map(|user| user.conn);
        waiting
            .chain(users)
            .filter(|other| *other != conn)
            .find(alive)
    }

    fn drop_pending(&mut self, conn: ConnId) {
        let Some(peer) = self.conns.get(conn).and_then(|conn| conn.that.host) else {
            return;
        };
        let holders: Vec<StateId> = self
            .ike
            .states
            .phase1_with(peer)
            .map(|state| state.id)
            .collect();
        for id in holders {
            let Some(state) = self.ike.states.get_mut(id) else {
                continue;
            };
            let (gone, kept): (Vec<Pending>, Vec<Pending>) = core::mem::take(&mut state.pending)
                .into_iter()
                .partition(|pending| pending.conn == conn);
            state.pending = kept;
            for client in gone.into_iter().filter_map(|pending| pending.client) {
                self.release_client(client);
            }
        }
    }

    /// Deletes one state; answers whether there was one.
    pub(crate) fn ike_delete_state(&mut self, now: Time, id: StateId) -> bool {
        let there = self.ike.states.get(id).is_some();
        if there {
            self.log(self.about(id), "deleting state");
            self.delete_state(now, id, true);
        }
        there
    }

    /// A peer is said to have crashed: its states go, and connections that are meant to be up are negotiated anew.
    pub(crate) fn ike_crash(&mut self, now: Time, peer: IpAddr) {
        let states = &self.ike.states;
        let all: Vec<(StateId, ConnId)> = states
            .phase2_with(peer)
            .chain(states.phase1_with(peer))
            .map(|state| (state.id, state.conn))
            .collect();
        let mut again = Vec::new();
        for (id, conn) in all {
            self.log(
                self.about(id),
                format!("peer {peer} is said to have crashed: deleting state {id}"),
            );
            let wanted = self
                .conns
                .get(conn)
                .is_some_and(|conn| conn.live.wanted.up && conn.kind == Kind::Permanent);
            if wanted && !again.contains(&conn) {
                again.push(conn);
            }
            self.delete_state(now, id, false);
        }
        for conn in again {
            self.ike_initiate(now, conn, None);
        }
    }

    /// The peer may have given up the tunnel of a connection that is meant to be up: it is negotiated anew from the beginning, while what is
    /// there goes on.
    pub(crate) fn ike_renew(&mut self, now: Time, conn: ConnId) {
        let Some(conn) = self.conns.get(conn).filter(|conn| conn.live.wanted.up) else {
            return;
        };
        let quick = Pending {
            conn: conn.id(),
            client: None,
            tries: 1,
            replaces: conn.live.newest_ipsec,
        };
        if quick.replaces.is_some() {
            self.initiate_anew(now, quick);
        }
    }

    /// A whack client went away.
    pub(crate) fn ike_whack_gone(&mut self, client: ClientId) {
        let ids: Vec<StateId> = self.ike.states.iter().map(|state| state.id).collect();
        for id in ids {
            let Some(state) = self.ike.states.get_mut(id) else {
                continue;
            };
            if state.client == Some(client) {
                state.client = None;
            }
            for pending in state
                .pending
                .iter_mut()
                .filter(|pending| pending.client == Some(client))
            {
                pending.client = None;
            }
        }
    }

    /// Deletes everything, telling the peers.
    pub(crate) fn ike_shutdown(&mut self, now: Time) {
        let (phase1, phase2): (Vec<&State>, Vec<&State>) = self
            .ike
            .states
            .iter()
            .partition(|state| state.name.is_phase1());
        let all: Vec<StateId> = phase2
            .into_iter()
            .chain(phase1)
            .map(|state| state.id)
            .collect();
        // All peers are told before anything is taken down, which may take longer than somebody wants to wait.
        for id in &all {
            self.send_delete(*id);
        }
        for id in all {
            self.delete_state(now, id, false);
        }
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// The lines of `whack --status` about states.
    pub(crate) fn ike_status(&self, now: Time) -> Vec<String> {
        let mut states: Vec<(&Connection, &State)> = self
            .ike
            .states
            .iter()
            .filter_map(|state| Some((self.conns.get(state.conn)?, state)))
            .collect();
        states.sort_by(|(a, x), (b, y)| {
            (&a.name, a.instance_serial, x.id).cmp(&(&b.name, b.instance_serial, y.id))
        });
        states
            .into_iter()
            .flat_map(|(conn, state)| self.state_status(now, conn, state))
            .collect()
    }

    /// What a connection's newest SAs use, in libreswan's words.
    pub(crate) fn newest_algorithms(&self, conn: &Connection) -> Vec<String> {
        let name = format!("\"{}\"{}", conn.name, conn.instance_tag());
        let state = |id: Option<StateId>| self.ike.states.get(id?);
        let mut lines = Vec::new();
        if let Some(sa) = state(conn.live.newest_isakmp).and_then(|state| state.isakmp()) {
            let suite = sa.agreed().suite().official();
            lines.push(format!("{name}:   IKE algorithm newest: {suite}"));
        }
        let Some(suite) = state(conn.live.newest_ipsec).and_then(|state| state.suite) else {
            return lines;
        };
        let group = match (suite.pfs, conn.algorithms.pfs_group) {
            (None, _) => "<N/A>",
            (Some(_), None) => "<Phase1>",
            (Some(group), Some(_)) => group.official(),
        };
        if let Some(esp) = suite.esp {
            let esp = esp.official();
            lines.push(format!(
                "{name}:   ESP algorithm newest: {esp}; pfsgroup={group}"
            ));
        }
        if let Some(ah) = suite.ah {
            let ah = ah.official();
            lines.push(format!(
                "{name}:   AH algorithm newest: {ah}; pfsgroup={group}"
            ));
        }
        lines
    }

    fn state_status(&self, now: Time, conn: &Connection, state: &State) -> Vec<String> {
        let id = state.id;
        let deadline = self.timers.deadline(&Timer::Ike(IkeTimer::State(id)));
        let left = deadline.map_or(0, |deadline| now.until(deadline).as_secs());
        let due = state.due.map_or("EVENT_NULL", |due| due.text());
        let flag = |on: bool, text: &'static str| if on { text } else { "" };
        let mut lines = vec![format!(
            "{id}: {} {} ({}); {due} in {left}s{}{}{}",
            conn.tag(),
            state.name.text(),
            state.name.story(),
            flag(conn.live.newest_isakmp == Some(id), "; newest ISAKMP"),
            flag(conn.live.newest_ipsec == Some(id), "; newest IPSEC"),
            flag(conn.live.eroute_owner == Some(id), "; eroute owner"),
        )];
        if state.name.ipsec_established() {
            let saids: String = self
                .saids_of(id)
                .iter()
                .map(|said| format!(" {said}"))
                .collect();
            lines.push(format!("{id}: {}{saids}", conn.tag()));
        }
        lines.extend(state.pending.iter().filter_map(|pending| {
            Some(format!(
                "{id}: pending Phase 2 for {}",
                self.conns.get(pending.conn)?.tag()
            ))
        }));
        lines
    }

    fn saids_of(&self, id: StateId) -> Vec<ipsec_types::SaId> {
        use crate::engine::kernel::Half;
        let Some(record) = self.kernel.record(id) else {
            return Vec::new();
        };
        let pairs = record
            .saids(Half::Out)
            .into_iter()
            .zip(record.saids(Half::In));
        pairs
            .rev()
            .flat_map(<[ipsec_types::SaId; 2]>::from)
            .collect()
    }
}
