//! Notifications and deletes: sent, and honoured when the peer has proved to have sent them.

use core::net::SocketAddr;
use std::time::Duration;

use ike::proposal::read_responder_lifetime;
use ike::v1::info::{Deletion, Informational, Notification, notify_in_clear};
use ike::wire::{Cookie, Notify, NotifyType, Protocol};
use rand::Rng;
use whack::Rc;

use super::refusal::REPLACE_DELAY;
use super::table::Due;
use crate::engine::connection::StateId;
use crate::engine::event::Action;
use crate::engine::limiter::Cause;
use crate::engine::{Engine, Time};

/// Payloads of one message of which each may have a line of its own in the log.
const PAYLOADS_TOLD: usize = 20;
/// Notifications in the clear in one second, all peers together.
const CLEAR_PER_SECOND: u32 = 20;

impl Engine {
    /// Tells a peer in the clear what was wrong. Rarely enough to be of no use against a third party, and never longer
    /// than what it sent.
    pub(super) fn notify_in_clear(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        cookies: (Cookie, Cookie),
        kind: NotifyType,
    ) {
        let budget = match self.ike.notify_budget {
            Some((since, left)) if now - since < Duration::from_secs(1) => (since, left),
            _ => (now, CLEAR_PER_SECOND),
        };
        let (since, Some(left)) = (budget.0, budget.1.checked_sub(1)) else {
            return;
        };
        self.ike.notify_budget = Some((since, left));
        let message_id = self.rng.next_u32();
        let bytes = notify_in_clear(
            cookies,
            &Notify::new(Protocol::ISAKMP, &[], kind),
            message_id,
        );
        self.act(Action::Send {
            local,
            remote,
            bytes,
        });
    }

    /// Tells the peer over an ISAKMP SA what was wrong in a Quick Mode.
    /// `offered` are protocols and SPIs of the initiator's offer: the first tells the peer which exchange is meant.
    pub(super) fn notify_protected(
        &mut self,
        under: StateId,
        offered: &[(Protocol, u32)],
        kind: NotifyType,
    ) {
        let (protocol, spi) = match offered.first() {
            Some((protocol, spi)) => (*protocol, spi.to_be_bytes().to_vec()),
            None => (Protocol::ISAKMP, Vec::new()),
        };
        self.send_notify(under, &Notify::new(protocol, &spi, kind));
    }

    /// Sends a notification over an ISAKMP SA.
    pub(super) fn send_notify(&mut self, under: StateId, notify: &Notify<'_>) {
        let Some(message_id) = self.new_message_id(under) else {
            return;
        };
        let Some(state) = self.ike.states.get(under) else {
            return;
        };
        let Some(sa) = state.isakmp() else { return };
        let bytes = sa.notify(notify, message_id);
        let action = Action::Send {
            local: state.local,
            remote: state.remote,
            bytes,
        };
        self.act(action);
    }

    /// Tells the peer that SAs are gone.
    pub(super) fn send_delete(&mut self, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (local, remote) = (state.local, state.remote);
        if state.name.isakmp_established() {
            let Some(message_id) = self.new_message_id(id) else {
                return;
            };
            if let Some(sa) = self.ike.states.get(id).and_then(|state| state.isakmp()) {
                let bytes = sa.delete_isakmp(message_id);
                self.act(Action::Send {
                    local,
                    remote,
                    bytes,
                });
            }
            return;
        }
        let sas = state.inbound_spis();
        if sas.is_empty() {
            return;
        }
        let preferred = state.under.map(|(under, _)| under);
        let usable = |id: StateId| {
            self.ike
                .states
                .get(id)
                .is_some_and(|state| state.isakmp().is_some())
        };
        let Some(under) = preferred
            .filter(|id| usable(*id))
            .or_else(|| self.established_for(id))
        else {
            return;
        };
        let Some(message_id) = self.new_message_id(under) else {
            return;
        };
        if let Some(sa) = self.ike.states.get(under).and_then(|state| state.isakmp()) {
            let bytes = sa.delete_ipsec(&sas, message_id);
            self.act(Action::Send {
                local,
                remote,
                bytes,
            });
        }
    }

    /// An established ISAKMP SA with the same peer as a state of phase 2.
    fn established_for(&self, id: StateId) -> Option<StateId> {
        let conn = self.ike.states.get(id)?.conn;
        self.phase1_for(conn, true)
    }

    /// What a peer has proved to have said.
    pub(super) fn informed(&mut self, now: Time, id: StateId, said: Informational) {
        let (mut payloads, mut unknown) = (0, Vec::new());
        for notification in said.notifications {
            self.one_more_payload(&mut payloads);
            if notification.kind == NotifyType::INITIAL_CONTACT {
                self.honour_initial_contact(now, id);
                continue;
            }
            if matches!(
                notification.kind,
                NotifyType::R_U_THERE | NotifyType::R_U_THERE_ACK
            ) {
                self.liveness_said(now, id, &notification);
                continue;
            }
            self.heard(now, id);
            if notification.kind == NotifyType::RESPONDER_LIFETIME {
                self.lifetime_said(now, id, &notification);
                continue;
            }
            if self.unknown_to_peer(now, id, &notification) {
                // An SA that is gone has nothing more to say.
                if self.ike.states.get(id).is_none() {
                    return;
                }
                continue;
            }
            if !(notification.kind.is_error() && self.complained(now, id, &notification)) {
                let text = format!("ignoring informational payload, type {}", notification.kind);
                self.loglog_useless(self.about(id), Rc::LogSerious, text);
            }
        }
        for deletion in said.deletions {
            self.one_more_payload(&mut payloads);
            if self.ike.states.get(id).is_none() {
                break;
            }
            if let Err(what) = self.honour_delete(now, id, deletion) {
                unknown.push(what);
            }
        }
        if let Some(first) = unknown.first() {
            let more = match unknown.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more of the same message"),
            };
            let text = format!("ignoring Delete SA payload: {first}{more}");
            self.loglog_useless(self.about(id), Rc::LogSerious, text);
        }
    }

    /// A message that a peer has proved to have sent has one more payload. Lines about the first are written in any case.
    fn one_more_payload(&mut self, count: &mut usize) {
        *count += 1;
        let cause = (*count > PAYLOADS_TOLD).then_some(Cause::Peer);
        self.limiter.blame(cause);
    }

    /// The peer lets an SA live shorter than was offered (RFC 2407 section 4.6.3.1).
    fn lifetime_said(&mut self, now: Time, id: StateId, said: &Notification) {
        let spi = <[u8; 4]>::try_from(&said.spi[..]).map(u32::from_be_bytes);
        let peer = self.ike.states.get(id).map(|state| state.remote.ip());
        let meant = match (said.protocol, spi, peer) {
            (Protocol::ISAKMP, ..) => Some(id),
            (protocol, Ok(spi), Some(peer)) => self.ike.states.by_spi_out(peer, protocol, spi),
            _ => None,
        };
        let seconds = read_responder_lifetime(&said.data);
        let state = meant.and_then(|id| self.ike.states.get_mut(id));
        let (Some(seconds), Some(state)) = (seconds, state) else {
            let text = "ignoring RESPONDER_LIFETIME: it names no life, or an SA that we don't have";
            self.loglog_useless(self.about(id), Rc::LogSerious, text);
            return;
        };
        if seconds >= state.life_seconds {
            return;
        }
        state.life_seconds = seconds;
        let (meant, due) = (state.id, state.due);
        self.tell_life(meant, seconds);
        if matches!(due, Some(Due::Replace | Due::ReplaceIfUsed | Due::Expire)) {
            self.schedule_replacement(now, meant);
        }
    }

    pub(super) fn tell_life(&mut self, id: StateId, seconds: u32) {
        let text = format!("the peer lets the SA live {seconds} s, shorter than was offered");
        self.log(self.about(id), text);
    }

    /// The peer has deleted an SA.
    ///
    /// # Errors
    /// What it names is nothing of ours: says what that is.
    pub(super) fn honour_delete(
        &mut self,
        now: Time,
        id: StateId,
        deletion: Deletion,
    ) -> Result<(), String> {
        let about = self.about(id);
        match deletion {
            Deletion::Isakmp(initiator, responder) => {
                let named = self.ike.states.by_cookies((initiator, responder));
                let Some(other) = named.filter(|other| self.same_peer(id, *other)) else {
                    return Err("ISAKMP SA not found (maybe expired)".to_owned());
                };
                let text = format!("received Delete SA payload: deleting ISAKMP State {other}");
                self.loglog(about, Rc::LogSerious, text);
                let tunnels = self.tunnels_with(other);
                self.delete_state(now, other, false);
                self.put_on_trial(now, &tunnels);
            }
            Deletion::Ipsec {
                protocol: Protocol::IPCOMP,
                ..
            } => {}
            Deletion::Ipsec { protocol, spi } => {
                let peer = self.ike.states.get(id).map(|state| state.remote.ip());
                let named = peer.and_then(|peer| self.ike.states.by_spi_out(peer, protocol, spi));
                let Some(other) = named.filter(|other| self.same_peer(id, *other)) else {
                    return Err(format!(
                        "{protocol} SA({spi:#010x}) not found (maybe expired)"
                    ));
                };
                self.ipsec_deleted_by_peer(now, other, spi);
            }
            Deletion::Unknown(protocol) => {
                return Err(format!("unknown Protocol ID ({protocol})"));
            }
        }
        Ok(())
    }

    /// The peer no longer takes what we send with an SA. The last one of a connection that is meant to be up is replaced.
    pub(super) fn ipsec_deleted_by_peer(&mut self, now: Time, id: StateId, spi: u32) {
        let about = self.about(id);
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let wanted = self
            .conns
            .get(state.conn)
            .is_some_and(|conn| conn.live.newest_ipsec == Some(id) && conn.live.wanted.up);
        let replacing = state.successor.is_some();
        if wanted && replacing {
            self.loglog(
                about,
                Rc::LogSerious,
                format!("received Delete SA payload: already replacing IPSEC State {id}"),
            );
            return;
        }
        let conn = state.conn;
        let next = self.next_after_delete(now, id).filter(|_| wanted);
        let Some((pause, attempt)) = next else {
            let text =
                format!("received Delete SA({spi:#010x}) payload: deleting IPSEC State {id}");
            self.loglog(about, Rc::LogSerious, text);
            self.delete_state(now, id, false);
            if wanted {
                self.loglog(about, Rc::LogSerious, "giving up, as keyingtries= says");
                self.negotiation_failed(now, conn);
            }
            return;
        };
        let text = format!(
            "received Delete SA payload: replace IPSEC State {id} in {} seconds",
            pause.as_secs()
        );
        self.loglog(about, Rc::LogSerious, text);
        if let Some(state) = self.ike.states.get_mut(id) {
            state.successor = Some(attempt);
            state.margin = REPLACE_DELAY;
        }
        self.schedule(now, id, Due::Replace, pause);
    }

    /// The peer remembers no SA from before this one: neither do we.
    pub(super) fn honour_initial_contact(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (peer, created) = (state.remote.ip(), state.created);
        let old = |other: &&super::table::State| {
            other.id != id
                && other.established.is_some_and(|since| since < created)
                && self.same_peer(id, other.id)
        };
        let states = &self.ike.states;
        let stale: Vec<StateId> = states
            .phase2_with(peer)
            .filter(old)
            .chain(states.phase1_with(peer).filter(old))
            .map(|s| s.id)
            .collect();
        if stale.is_empty() {
            return;
        }
        self.log(
            self.about(id),
            format!(
                "peer says INITIAL-CONTACT: deleting {} states of before",
                stale.len()
            ),
        );
        for other in stale {
            self.delete_state(now, other, false);
        }
    }

    /// Whether two states are with the same peer, by address and identity; where the first is an ISAKMP SA, also by its proof.
    pub(super) fn same_peer(&self, a: StateId, b: StateId) -> bool {
        let state_of = |id| {
            self.ike
                .states
                .get(id)
                .and_then(|state| Some((state, self.conns.get(state.conn)?)))
        };
        match (state_of(a), state_of(b)) {
            (Some((state_a, a)), Some((state_b, b))) => {
                state_a.remote.ip() == state_b.remote.ip()
                    && a.that.id.same(&b.that.id)
                    && self.speaks_for(state_a, state_b)
            }
            _ => false,
        }
    }
}
