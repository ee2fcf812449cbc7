//! Datagrams: to which state they belong, duplicates, and those that belong to none.

use core::net::SocketAddr;

use ike::v1::Error;
use ike::v1::info::Informational;
use ike::v1::quick::Offer;
use ike::wire::{Cookie, ExchangeType, Header, NotifyType, PayloadType};
use whack::Rc;

use super::table::{Exchange, Name, State};
use crate::engine::connection::StateId;
use crate::engine::event::{Action, JobId};
use crate::engine::limiter::Cause;
use crate::engine::{About, Engine, Time};

/// How often one reply is sent again for the same message.
const MAX_RESENDS: u32 = 10;
/// Messages of an exchange of ours that are refused before the next retransmission.
const MAX_REFUSED_AT_A_TIME: u32 = 64;
/// Quick Modes of a peer under one ISAKMP SA at a time that wait for a computation, the kernel, or QI2.
const MAX_WAITING: usize = 256;
/// Messages kept that come before the ISAKMP SA stands, and the longest of them.
const MAX_EARLY: usize = 4;
const MAX_EARLY_OCTETS: usize = 4096;

impl Engine {
    /// An IKE datagram came in.
    pub(crate) fn ike_datagram(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) {
        if !self.listening {
            return;
        }
        let header = match Header::new_checked(bytes) {
            Ok(header) => header,
            Err(error) => {
                self.log(About::from(remote), error.to_string());
                return;
            }
        };
        if header.next_payload == PayloadType::FRAGMENT && !header.flags.encryption {
            self.fragment_datagram(now, local, remote, bytes);
            return;
        }
        match header.exchange {
            ExchangeType::MAIN_MODE => self.main_mode_datagram(now, local, remote, &header, bytes),
            ExchangeType::QUICK_MODE => {
                self.quick_mode_datagram(now, local, remote, &header, bytes)
            }
            ExchangeType::INFORMATIONAL => {
                self.informational_datagram(now, local, remote, &header, bytes)
            }
            other => {
                self.log(
                    About::from(remote),
                    format!("unsupported exchange type {other} in message"),
                );
                let cookies = (header.initiator, header.responder);
                self.notify_in_clear(
                    now,
                    local,
                    remote,
                    cookies,
                    NotifyType::UNSUPPORTED_EXCHANGE_TYPE,
                );
            }
        }
    }

    fn main_mode_datagram(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        header: &Header,
        bytes: &[u8],
    ) {
        let about = About::from(remote);
        if header.message_id != 0 {
            let text = format!(
                "Message ID was {:#010x} but should be zero in Main Mode",
                header.message_id
            );
            self.log(about, text);
            return;
        }
        let cookies = (header.initiator, header.responder);
        if header.responder.is_zero() {
            if header.flags.encryption {
                self.log(
                    about,
                    "initial Main Mode message is invalid: its Encrypted Flag is on",
                );
            } else if self.ike.states.by_cookies(cookies).is_none() {
                self.first_message(now, local, remote, header, bytes);
            }
            return;
        }
        let known = self.ike.states.by_cookies(cookies);
        let state = known.or_else(|| self.ike.states.by_cookies((header.initiator, Cookie::ZERO)));
        if let Some(id) = state.filter(|id| self.may_come(*id, local, remote)) {
            self.carry_on(now, id, (local, remote), bytes);
        } else if !self.cookie_returned(now, local, remote, cookies, bytes) {
            self.log(about, "Main Mode message is part of an unknown exchange");
            self.notify_in_clear(now, local, remote, cookies, NotifyType::INVALID_COOKIE);
        }
    }

    fn quick_mode_datagram(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        header: &Header,
        bytes: &[u8],
    ) {
        let about = About::from(remote);
        let cookies = (header.initiator, header.responder);
        if header.responder.is_zero() {
            self.log(
                about,
                "Quick Mode message is invalid because it has a Responder Cookie of 0",
            );
            return;
        }
        let Some(under) = self
            .ike
            .states
            .by_cookies(cookies)
            .filter(|id| self.may_come(*id, local, remote))
        else {
            self.log(
                about,
                "Quick Mode message is for a non-existent (expired?) ISAKMP SA",
            );
            self.notify_in_clear(now, local, remote, cookies, NotifyType::INVALID_COOKIE);
            return;
        };
        if let Some(id) = self.ike.states.by_message(under, header.message_id) {
            self.carry_on(now, id, (local, remote), bytes);
            return;
        }
        self.blame_for(under);
        let about = self.about(under);
        if self.keep_early(under, local, remote, bytes) {
            return;
        }
        let Some(sa) = self
            .ike
            .states
            .get(under)
            .and_then(|state| state.isakmp().cloned())
        else {
            let text =
                "Quick Mode message is unacceptable because it is for an incomplete ISAKMP SA";
            self.loglog(about, Rc::LogSerious, text);
            return;
        };
        if self.message_id_used(under, header.message_id) {
            let text = format!(
                "Quick Mode I1 message is unacceptable because it uses a previously used Message ID {:#010x} (perhaps this is a duplicated packet)",
                header.message_id
            );
            self.loglog(about, Rc::LogSerious, text);
            return;
        }
        if !self.takes_message_ids(now, under) {
            return;
        }
        if self.answers_enough(under) {
            let text = "too many Quick Modes at a time: the peer has to send again";
            self.loglog_useless(about, Rc::LogSerious, text);
            return;
        }
        if header.flags.commit {
            self.log(about, "IKE message has the Commit Flag set but Pluto doesn't implement this feature; ignoring flag");
        }
        match Offer::read(&sa, bytes) {
            Ok(offer) => {
                self.proved();
                self.use_message_id(now, under, header.message_id);
                self.peer_is_at(now, under, local, remote);
                self.quick_offer(now, under, offer, bytes);
            }
            // The peer's own mistake: it would only make it again.
            Err(error) if error.is_proved() => {
                self.proved();
                self.use_message_id(now, under, header.message_id);
                self.peer_is_at(now, under, local, remote);
                self.heard(now, under);
                self.loglog_useless(about, Rc::LogSerious, error.to_string());
                self.notify_protected(under, &[], error.notify());
            }
            Err(error) => self.loglog(about, Rc::LogSerious, error.to_string()),
        }
    }

    fn informational_datagram(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        header: &Header,
        bytes: &[u8],
    ) {
        let cookies = (header.initiator, header.responder);
        let known = self.ike.states.by_cookies(cookies);
        let known = known.or_else(|| self.ike.states.by_cookies((header.initiator, Cookie::ZERO)));
        // What proves nothing must at least come from the peer's address.
        let known = known.filter(|id| {
            self.may_come(*id, local, remote)
                && (header.flags.encryption || self.is_at(*id, remote.ip()))
        });
        let about = known.map_or(About::default(), |id| self.about(id));
        let about = About {
            from: Some(remote),
            ..about
        };
        if !header.flags.encryption {
            match Informational::in_clear(bytes) {
                Ok(said) => {
                    for notification in said.notifications {
                        if !self.unknown_in_clear(now, about, known, remote, &notification) {
                            self.complained_in_clear(about, known, &notification);
                        }
                    }
                    for _ in said.deletions {
                        self.loglog(
                            about,
                            Rc::LogSerious,
                            "ignoring Delete SA payload: not encrypted",
                        );
                    }
                }
                Err(error) => self.log(about, error.to_string()),
            }
            return;
        }
        if let Some(id) = known {
            self.blame_for(id);
        }
        let Some(id) = known else {
            self.log(
                about,
                "Informational Exchange is for an unknown (expired?) SA",
            );
            return;
        };
        if let Some(Exchange::Main(waiting)) = self.ike.states.get(id).map(|state| &state.exchange)
            && let Some(said) = waiting.read_informational(bytes)
        {
            match said {
                Ok(objection) => self.complained_before_identity(now, id, objection),
                Err(_) if self.keep_early(id, local, remote, bytes) => {}
                Err(error) => self.log(about, error.to_string()),
            }
            return;
        }
        if self.keep_early(id, local, remote, bytes) {
            return;
        }
        let Some(sa) = self
            .ike
            .states
            .get(id)
            .and_then(|state| state.isakmp().cloned())
        else {
            let text = "encrypted Informational Exchange message is invalid because it is for incomplete ISAKMP SA";
            self.loglog(about, Rc::LogSerious, text);
            return;
        };
        if self.message_id_used(id, header.message_id) {
            let text = format!(
                "Informational Exchange message is invalid because it has a previously used Message ID ({:#010x})",
                header.message_id
            );
            self.loglog(about, Rc::LogSerious, text);
            return;
        }
        if !self.takes_message_ids(now, id) {
            return;
        }
        match sa.read_informational(bytes) {
            Ok(said) => {
                self.proved();
                self.use_message_id(now, id, header.message_id);
                self.peer_is_at(now, id, local, remote);
                self.informed(now, id, said);
            }
            Err(error) => self.loglog(about, Rc::LogSerious, error.to_string()),
        }
    }

    /// Whether as many Quick Modes of the peer wait under an ISAKMP SA as may.
    fn answers_enough(&self, under: StateId) -> bool {
        let Some(peer) = self.ike.states.get(under).map(|state| state.remote.ip()) else {
            return true;
        };
        let waits = |state: &&State| {
            matches!(state.name, Name::QuickR0 | Name::QuickR1)
                && state.under.is_some_and(|(over, _)| over == under)
        };
        let waiting = self.ike.states.phase2_with(peer).filter(waits);
        waiting.take(MAX_WAITING).count() == MAX_WAITING
    }

    /// A message under an ISAKMP SA that the peer has and we don't yet: MR3 is on its way, or its signature is being checked.
    /// Such messages are kept until then, a few of them. Answers whether this is one.
    fn keep_early(
        &mut self,
        id: StateId,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let state = self.ike.states.get_mut(id);
        let Some(state) = state.filter(|state| {
            state.name == Name::MainI3
                && state.early.len() < MAX_EARLY
                && bytes.len() <= MAX_EARLY_OCTETS
        }) else {
            return false;
        };
        let again = state.early.iter().any(|(_, _, early)| early == bytes);
        if !again {
            state.early.push((local, remote, bytes.to_vec()));
        }
        true
    }

    /// The ISAKMP SA stands: what came under it before counts now.
    pub(super) fn take_early(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        for (local, remote, bytes) in core::mem::take(&mut state.early) {
            self.limiter.blame(Some(Cause::Stray));
            self.ike_datagram(now, local, remote, &bytes);
        }
        self.proved();
    }

    /// A message for an exchange that is under way, or over.
    fn carry_on(&mut self, now: Time, id: StateId, came: (SocketAddr, SocketAddr), bytes: &[u8]) {
        self.blame_for(id);
        if self.has_left(id, came.0) {
            let about = self.about(id);
            self.log(about, "discarding old message of Main Mode at port 500");
            return;
        }
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        if state.seen.is_duplicate(bytes) {
            self.duplicate(id, came);
            return;
        }
        match &state.exchange {
            // Somebody reads along and sends messages in the peer's name: our next retransmission begins anew.
            Exchange::Main(_) if state.refused >= MAX_REFUSED_AT_A_TIME => return,
            Exchange::Main(_) | Exchange::Quick(_) => {}
            // Busy with what may be the same message: the peer sends it again if it was another.
            _ => return,
        }
        match core::mem::replace(&mut state.exchange, Exchange::Nothing) {
            Exchange::Main(waiting) => {
                state.working_on = Some(bytes.to_vec());
                state.came = Some(came);
                match waiting.handle(bytes, &mut *self.rng) {
                    Ok(step) => self.main_step(now, id, step),
                    Err(refused) => self.main_refused(now, id, Some(refused.state), &refused.error),
                }
            }
            Exchange::Quick(waiting) => {
                state.working_on = Some(bytes.to_vec());
                match waiting.handle(bytes) {
                    Ok(step) => {
                        // Its hash was right.
                        self.proved();
                        self.peer_is_at(now, id, came.0, came.1);
                        if let Some((under, _)) = self.ike.states.get(id).and_then(|s| s.under) {
                            self.peer_is_at(now, under, came.0, came.1);
                        }
                        self.quick_step(now, id, step);
                    }
                    Err(refused) => {
                        self.quick_refused(now, id, Some(refused.state), &refused.error)
                    }
                }
            }
            other => state.exchange = other,
        }
    }

    /// A message again. It is answered where it comes from now, for a NAT may have changed that meanwhile.
    fn duplicate(&mut self, id: StateId, (local, remote): (SocketAddr, SocketAddr)) {
        let about = self.about(id);
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let already = state.name.text();
        match state.seen.last_sent() {
            // An initiator whose exchange goes on retransmits by its own timer.
            Some(message) if state.resends < MAX_RESENDS => {
                state.resends += 1;
                let action = Action::Send {
                    local,
                    remote,
                    bytes: message.to_vec(),
                };
                let text =
                    format!("retransmitting in response to duplicate packet; already {already}");
                self.loglog(about, Rc::Retransmission, text);
                self.act(action);
            }
            Some(_) => {
                let text = format!(
                    "discarding duplicate packet -- exhausted retransmission; already {already}"
                );
                self.loglog(about, Rc::LogSerious, text);
            }
            None => self.loglog(
                about,
                Rc::LogSerious,
                format!("discarding duplicate packet; already {already}"),
            ),
        }
    }

    /// Lines are about a message for this state, which has proved nothing yet.
    fn blame_for(&mut self, id: StateId) {
        let cause = match self.ike.states.get(id) {
            Some(state) if state.name.is_phase1() && !state.name.isakmp_established() => {
                if state.name.initiator() {
                    Cause::Ours
                } else {
                    Cause::Exchange
                }
            }
            _ => Cause::Unproved,
        };
        self.limiter.blame(Some(cause));
    }

    /// A message has proved to be the peer's: lines about it are no stranger's.
    pub(super) fn proved(&mut self) {
        self.limiter.blame(None);
    }

    /// Who may be behind the result of a computation: in phase 1 whoever has sent the message that it is about.
    pub(in crate::engine) fn cause_of_job(&self, job: JobId) -> Option<Cause> {
        let state = self.ike.states.get(*self.ike.jobs.get(&job)?)?;
        let unproved = state.name.is_phase1() && !state.name.isakmp_established();
        unproved.then_some(match state.name.initiator() {
            true => Cause::Ours,
            false => Cause::Exchange,
        })
    }

    /// Whether a state is an exchange that somebody has begun with us who has not proved anything yet.
    pub(in crate::engine) fn is_stranger(&self, id: StateId) -> bool {
        self.ike.states.get(id).is_some_and(|state| {
            let name = state.name;
            name.is_phase1() && !name.isakmp_established() && !name.initiator()
        })
    }

    /// What a log line about a state starts with.
    pub(super) fn about(&self, id: StateId) -> About {
        match self.ike.states.get(id) {
            Some(state) => About::conn(state.conn).state(id).watched_by(state.client),
            None => About::default(),
        }
    }

    /// Says what was wrong with a message, to people and to whoever watches by whack's code.
    pub(super) fn tell_refused(&mut self, id: StateId, error: &Error) {
        let about = self.about(id);
        self.loglog(about, Rc::LogSerious, error.to_string());
        let name = self
            .ike
            .states
            .get(id)
            .map_or("", |state| state.name.text());
        let kind = error.notify();
        self.whack_log(about, Rc::Notification(kind.0), format!("{name}: {kind}"));
    }
}
