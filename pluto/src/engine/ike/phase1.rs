//! Main Mode, carried on step by step.

use core::cell::RefCell;
use core::net::IpAddr;
use std::sync::Arc;

use ike::v1::main_mode::{self, Credentials, Established, Identified, Step, Verdict, Waiting};
use ike::v1::{Error, Seen};
use ike::wire::Cookie;
use rand::Rng;
use whack::Rc;

use super::authority::{Means, Proof};
use super::peer_key::{Judged, Keys, PeerKeys};
use super::policy::{identity, ike_policy, known_id};
use super::table::{Due, Exchange, Name, Pending, State};
use super::timer::FIRST_DELAY;
use crate::engine::connection::{ConnId, Kind, StateId};
use crate::engine::event::{Action, ClientId, Job, JobId};
use crate::engine::limiter::shown;
use crate::engine::oppo::Found;
use crate::engine::{About, Connection, Engine, Id, Time};

/// Messages of an exchange that are refused before it ends, where the peer has begun it: what a wrong secret has encrypted comes some
/// thirteen times, by the peer's timer and in answer to ours.
const MAX_REFUSED: u32 = 20;

impl Engine {
    /// Starts Main Mode for a connection; `pending` are the Quick Modes to follow.
    pub(super) fn main_initiate(
        &mut self,
        now: Time,
        conn_id: ConnId,
        client: Option<ClientId>,
        tries: u32,
        replaces: Option<StateId>,
        pending: Vec<Pending>,
    ) -> Result<StateId, String> {
        let Some(conn) = self.conns.get(conn_id) else {
            return Err("no such connection".to_owned());
        };
        let Some((local, remote)) = self.ends_for(conn, replaces) else {
            return Err("cannot initiate connection without knowing peer IP address".to_owned());
        };
        let mut policy = ike_policy(conn);
        let brief = self.brief_for(now, conn);
        let first_wait = self.patience_with(now, conn_id, 0).flatten();
        let is_brief = brief.is_some();
        policy.algorithms = brief.unwrap_or(policy.algorithms);
        let credentials = Credentials {
            psk: conn
                .policy
                .psk
                .then(|| self.preshared_secret(conn))
                .flatten(),
            rsa: conn.policy.rsasig.then(|| self.private_key(conn)).flatten(),
        };
        policy.auth.retain(|method| match *method {
            ike::wire::AuthMethod::RSA_SIG => credentials.rsa.is_some(),
            _ => credentials.psk.is_some(),
        });
        if policy.auth.is_empty() {
            return Err(if conn.policy.rsasig {
                self.no_private_key(conn)
            } else {
                self.no_secret(conn)
            });
        }
        let my_id = self.my_known_id(conn).ok_or("no identity for our end")?;
        let secret = credentials.psk.as_deref();
        let secret = secret.map(|secret| self.ike.fingerprints.of(secret));
        let nat = self.nat_offer(conn, local, remote);
        let known_peer = self
            .ike
            .states
            .phase1_with(remote.ip())
            .any(|state| state.name.isakmp_established())
            || self.ike.states.phase2_with(remote.ip()).next().is_some();
        let mut cookie = [0; 8];
        self.rng.fill_bytes(&mut cookie);
        let request = main_mode::Initiate {
            policy,
            my_id: identity(&my_id),
            credentials,
            initial_contact: !known_peer,
            nat,
            brief: is_brief,
        };
        let (waiting, message) = main_mode::initiate(request, Cookie(cookie));
        let id = self.ike.states.next_id();
        let mut state = State::new(id, conn_id, Name::MainI1, local, remote, now);
        state.cookies = (Cookie(cookie), Cookie::ZERO);
        state.secret = secret;
        state.exchange = Exchange::Main(Waiting::I1(Box::new(waiting)));
        state.client = client;
        state.tries = tries;
        state.pending = pending;
        state.seen = Seen::started(message.clone());
        self.ike.states.insert(state);
        self.state_added(conn_id);
        let about = self.about(id);
        match replaces {
            None => {
                self.log(about, "initiating Main Mode");
                self.whack_log(about, Rc::NewState(4), "STATE_MAIN_I1: initiate");
            }
            Some(old) => {
                self.log(about, format!("initiating Main Mode to replace {old}"));
                self.whack_log(
                    about,
                    Rc::NewState(4),
                    format!("STATE_MAIN_I1: initiate, replacing {old}"),
                );
            }
        }
        self.act(Action::Send {
            local,
            remote,
            bytes: message,
        });
        let wait = first_wait.unwrap_or(FIRST_DELAY);
        self.schedule(now, id, Due::Retransmit, wait);
        Ok(id)
    }

    /// Hands a computation out; meanwhile nothing is retransmitted.
    pub(super) fn hand_out(&mut self, id: StateId, job: ike::v1::Job) -> JobId {
        let job = Job::new(job.what(), move || job.run()).urgent(self.urgency(id));
        let job = self.start_job(job);
        self.ike.jobs.insert(job, id);
        job
    }

    /// An exchange has come one step further.
    pub(super) fn main_step(&mut self, now: Time, id: StateId, step: Step) {
        match step {
            Step::Compute { job, then } => {
                if let Some(state) = self.ike.states.get_mut(id) {
                    state.exchange = Exchange::MainJob(then);
                    self.hand_out(id, job);
                }
            }
            Step::Send { message, next } => self.main_send(now, id, message, next),
            Step::Identify(identified) => self.main_identify(now, id, identified),
            Step::Done(established) => self.main_done(now, id, *established),
        }
    }

    /// A message was refused, and the exchange is as it was. Without `state` it is over.
    pub(super) fn main_refused(
        &mut self,
        now: Time,
        id: StateId,
        state: Option<Waiting>,
        error: &Error,
    ) {
        self.tell_refused(id, error);
        let Some(entry) = self.ike.states.get_mut(id) else {
            return;
        };
        entry.working_on = None;
        entry.refused += 1;
        let hopeless = entry.refused >= MAX_REFUSED && !entry.name.initiator();
        let (local, remote) = entry.came.take().unwrap_or((entry.local, entry.remote));
        let cookies = entry.cookies;
        let (conn, initiator) = (entry.conn, entry.name.initiator());
        match state {
            // To ask a peer that has another key again would change nothing.
            Some(_)
                if initiator
                    && matches!(error, Error::Signature { .. })
                    && self.pinned(conn).is_some() =>
            {
                self.wrong_key(now, id, error)
            }
            // Whoever guesses gets no further guess for one computation of ours.
            Some(_) if hopeless => {
                self.log(
                    self.about(id),
                    "too many messages refused: ending the exchange",
                );
                self.delete_state(now, id, false);
            }
            Some(waiting) => {
                if let Some(entry) = self.ike.states.get_mut(id) {
                    entry.exchange = Exchange::Main(waiting);
                }
            }
            None => self.delete_state(now, id, false),
        }
        if !cookies.1.is_zero() {
            self.notify_in_clear(now, local, remote, cookies, error.notify());
        }
    }

    /// The gateway that DNS names has proved to have another key than DNS names: whoever waits for it goes elsewhere.
    fn wrong_key(&mut self, now: Time, id: StateId, error: &Error) {
        self.give_gateway_up(now, id, &error.to_string());
    }

    /// What waits for a Main Mode with a gateway that opportunism has found goes elsewhere.
    pub(super) fn give_gateway_up(&mut self, now: Time, id: StateId, why: &str) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let mut conns = vec![state.conn];
        for pending in core::mem::take(&mut state.pending) {
            conns.push(pending.conn);
            if let Some(client) = pending.client {
                self.release_client(client);
            }
        }
        conns.dedup();
        for conn in conns {
            self.oppo_wrong_key(now, conn, why);
        }
        self.delete_state(now, id, false);
    }

    fn main_send(&mut self, now: Time, id: StateId, message: Vec<u8>, next: Waiting) {
        let (name, cookies) = match &next {
            Waiting::I1(_) => (Name::MainI1, None),
            Waiting::I2(state) => (Name::MainI2, Some(state.cookies())),
            Waiting::I3(_) => (Name::MainI3, None),
            Waiting::R2(state) => (Name::MainR2, Some(state.cookies())),
        };
        if let Some(cookies) = cookies {
            self.ike.states.set_cookies(id, cookies);
        }
        if let Some((initiator, key)) = next.encryption_key() {
            self.log_ike_key(initiator, key.expose());
        }
        if matches!(next, Waiting::I3(_) | Waiting::R2(_)) {
            self.nat_found(id, next.nat(), matches!(next, Waiting::I3(_)));
        }
        if matches!(next, Waiting::I3(_)) && self.gives_up_behind_nat(now, id) {
            return;
        }
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        state.exchange = Exchange::Main(next);
        let peer = state.remote.ip();
        self.advance(now, id, name, Some(message));
        self.schedule(now, id, Due::Retransmit, FIRST_DELAY);
        if name == Name::MainI2 {
            self.oppo_gateway_answered(now, peer);
        }
    }

    /// A state reaches `name`, and `message` is sent. Tells those who watch.
    pub(super) fn advance(&mut self, now: Time, id: StateId, name: Name, message: Option<Vec<u8>>) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        state.name = name;
        state.retransmits = 0;
        state.resends = 0;
        state.refused = 0;
        let mut vendors = Vec::new();
        if let Some(received) = state.working_on.take() {
            if name.is_phase1() {
                vendors = state.peer.learn(&received);
            }
            state.seen.received(&received);
        }
        state.seen.sent(message.clone());
        if name.isakmp_established() || name.ipsec_established() {
            state.established = Some(now);
        }
        let details = if name.ipsec_established() {
            sa_details(state)
        } else {
            String::new()
        };
        let (local, remote) = (state.local, state.remote);
        if let Some(bytes) = message {
            self.act(Action::Send {
                local,
                remote,
                bytes,
            });
        }
        let about = self.about(id);
        self.tell_vendors(about, &vendors);
        let text = format!("{}: {}", name.text(), name.story());
        if name.isakmp_established() || name.ipsec_established() {
            self.log(about, format!("{}{details}", name.story()));
            self.whack_log(about, Rc::Success, text);
        } else {
            self.whack_log(about, Rc::NewState(name.number()), text);
        }
    }

    /// What the peer says that it is.
    pub(super) fn tell_vendors(&mut self, about: About, names: &[String]) {
        if !names.is_empty() {
            let text = format!("received Vendor ID payloads [{}]", names.join("] ["));
            self.log(about, text);
        }
    }

    /// The peer has named itself.
    fn main_identify(&mut self, now: Time, id: StateId, identified: Identified) {
        let about = self.about(id);
        let peer = identified.peer();
        let text = format!("Peer ID is {}: '{}'", peer.kind(), shown(peer));
        self.log(about, text);
        self.main_judge(now, id, identified, None);
    }

    /// DNS has been asked for the key of a peer that has named itself.
    pub(crate) fn ike_peer_keys(&mut self, now: Time, id: StateId, found: &Found) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        match core::mem::replace(&mut state.exchange, Exchange::Nothing) {
            Exchange::Identifying(identified) => self.main_judge(now, id, *identified, Some(found)),
            other => state.exchange = other,
        }
    }

    fn main_judge(
        &mut self,
        now: Time,
        id: StateId,
        identified: Identified,
        found: Option<&Found>,
    ) {
        let peer = identified.peer();
        let judged = match known_id(peer) {
            Some(peer) => self.judge(id, &Id::Known(peer), &identified, found),
            None => Err(Error::Refused(format!(
                "no suitable connection for peer '{}'",
                shown(peer)
            ))),
        };
        let outcome = match judged {
            Err(error) => Err(identified.refuse(error)),
            Ok((conn, verdict)) => {
                if let Some(conn) = conn {
                    self.move_state(now, id, conn);
                }
                match verdict {
                    Judged::Known(verdict) => identified.accept(verdict, &mut *self.rng),
                    Judged::AskDns(gateway) => {
                        if let Some(state) = self.ike.states.get_mut(id) {
                            state.exchange = Exchange::Identifying(Box::new(identified));
                            self.look_up_peer(now, gateway, id);
                        }
                        return;
                    }
                }
            }
        };
        match outcome {
            Ok(step) => self.main_step(now, id, step),
            Err(refused) => self.main_refused(now, id, Some(refused.state), &refused.error),
        }
    }

    /// Whether a peer will do, for which other connection perhaps, and with which keys.
    fn judge(
        &mut self,
        id: StateId,
        peer: &Id,
        identified: &Identified,
        found: Option<&Found>,
    ) -> Result<(Option<ConnId>, Judged), Error> {
        let refused = |text: String| Error::Refused(text);
        let by_signature = identified.by_signature();
        let state = self
            .ike
            .states
            .get(id)
            .ok_or_else(|| refused("state is gone".to_owned()))?;
        let conn = self
            .conns
            .get(state.conn)
            .ok_or_else(|| refused("connection is gone".to_owned()))?;
        let (mut chosen, mut moved) = (conn.id(), None);
        if state.name.initiator() {
            let expected = self.resolve_id(&conn.that.id);
            // Whoever has the key that DNS names for the destination may call itself what it likes.
            let any = self.pinned(conn.id()).is_some();
            if let Some(expected) =
                expected.filter(|expected| !any && !Id::Known(expected.clone()).same(peer))
            {
                return Err(refused(format!(
                    "we require peer to have ID '{expected}', but peer declares '{}'",
                    shown(peer)
                )));
            }
        } else {
            let remote = state.came.map_or(state.remote, |(_, remote)| remote);
            let found = self.connection_of(id, peer, identified)?;
            chosen = match found {
                (template, Kind::Template) => self
                    .conns
                    .instantiate(template, remote, Some(peer), None)
                    .ok_or_else(|| refused("no suitable connection".to_owned()))?,
                (found, _) => found,
            };
            moved = (chosen != self.ike.states.get(id).map_or(chosen, |state| state.conn))
                .then_some(chosen);
        }
        let conn = self
            .conns
            .get(chosen)
            .ok_or_else(|| refused("connection is gone".to_owned()))?;
        let my_id = self
            .my_known_id(conn)
            .ok_or_else(|| refused("no identity for our end".to_owned()))?;
        let mut keys = PeerKeys::default();
        if by_signature {
            keys = match self.keys_of_peer(chosen, peer, found)? {
                Keys::Known(keys) => keys,
                Keys::AskDns(gateway) => return Ok((moved, Judged::AskDns(gateway))),
            };
        }
        let conn = self
            .conns
            .get(chosen)
            .ok_or_else(|| refused("connection is gone".to_owned()))?;
        let verdict = Verdict {
            peer_keys: keys.rsa,
            my_id: identity(&my_id),
            my_key: if by_signature {
                self.private_key(conn)
            } else {
                None
            },
        };
        if let Some(state) = self.ike.states.get_mut(id) {
            state.peer_keys = keys.public;
        }
        Ok((moved, Judged::Known(verdict)))
    }

    /// The responder's connection for a peer that has named itself, or the template for it. The method and the secret were
    /// chosen before the name was known, so that the connection must accept them, and the algorithms agreed on.
    fn connection_of(
        &self,
        id: StateId,
        peer: &Id,
        identified: &Identified,
    ) -> Result<(ConnId, Kind), Error> {
        let state = self.ike.states.get(id);
        let conn = state.and_then(|state| self.conns.get(state.conn));
        let known = conn.and_then(|conn| Some((self.my_known_id(conn)?, peer.known()?.clone())));
        let (Some(state), Some(conn), Some((my_id, peer_id))) = (state, conn, known) else {
            return Err(Error::Refused("connection is gone".to_owned()));
        };
        let means = match (&state.secret, identified.by_signature()) {
            (_, true) => Means::Signature,
            (Some(secret), false) => Means::Secret(secret.clone()),
            (None, false) => return Err(Error::NoSecret),
        };
        let claim = Proof {
            means,
            my_id,
            peer_id,
            suite: identified.agreed().suite(),
        };
        let unfit = RefCell::new(None);
        let acceptable = |other: &Connection| {
            let fits = self.serves(&claim, other);
            if let Err(why) = &fits {
                let text = || format!("{} {why}", other.tag());
                unfit.borrow_mut().get_or_insert_with(text);
            }
            // Which key the peer has is not known yet, so that it comes to nothing that is pinned.
            let pinned = self.pinned(other.id()).is_some();
            other.oriented() && fits.is_ok() && !pinned
        };
        let (local, remote) = state.came.unwrap_or((state.local, state.remote));
        let local = self.ike_side(local);
        let no = |why: Option<String>| {
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            let peer = shown(peer);
            Error::Refused(format!("no suitable connection for peer '{peer}'{why}"))
        };
        if !identified.by_signature() {
            // The secret of a group proves nobody for whom there is a connection of its own.
            let mut own = self.conns.named(local, remote, peer).peekable();
            if own.peek().is_some() && !own.any(acceptable) {
                return Err(no(unfit.take()));
            }
            unfit.take();
        }
        let found = self
            .conns
            .refine(conn.id(), local, remote, peer, acceptable);
        let found = found.map(|found| (found.id(), found.kind));
        found.ok_or_else(|| no(unfit.take()))
    }

    /// A state goes over to another connection.
    pub(super) fn move_state(&mut self, now: Time, id: StateId, conn: ConnId) {
        if let Some(old) = self.ike.states.set_conn(id, conn)
            && old != conn
        {
            self.state_added(conn);
            self.state_gone(now, old, id);
        }
    }

    fn main_done(&mut self, now: Time, id: StateId, established: Established) {
        self.proved();
        if let Some((local, remote)) = self.ike.states.get_mut(id).and_then(|s| s.came.take()) {
            self.peer_is_at(now, id, local, remote);
        }
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        state.exchange = Exchange::Isakmp(Arc::clone(&established.sa));
        // Of the keys that the peer might have, the one that it has.
        let keys = core::mem::take(&mut state.peer_keys);
        let key = established.peer_key.and_then(|n| keys.into_iter().nth(n));
        state.proof = Proof::of(&established.sa, key, state.secret.take()).map(Arc::new);
        state.life_seconds = established.sa.agreed().life_seconds();
        let name = if state.name.initiator() {
            Name::MainI4
        } else {
            Name::MainR3
        };
        self.come_home(now, id);
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (conn, peer) = (state.conn, state.remote.ip());
        let weak = state.proof.as_ref().and_then(|proof| {
            let key = &proof.key()?.key;
            Some(format!(
                "the peer's RSA key {}: {}",
                key.key_id(),
                key.warning()?
            ))
        });
        if let Some(text) = weak {
            self.log(self.about(id), text);
        }
        self.met_meanwhile(peer);
        self.peer_is_met(now, id);
        self.advance(now, id, name, established.message);
        self.schedule_replacement(now, id);
        self.want_keep_alives(now, id);
        self.isakmp_sa_established(now, conn, id);
        if established.initial_contact {
            self.honour_initial_contact(now, id);
        }
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let pending = core::mem::take(&mut state.pending);
        for quick in pending {
            self.quick_initiate(now, id, quick);
        }
        self.release_state_client(id);
        self.take_early(now, id);
    }

    /// What we have begun with a peer that has begun with us as well, and was faster.
    fn met_meanwhile(&mut self, peer: IpAddr) {
        let others: Vec<StateId> = self.ike.states.phase1_with(peer).map(|s| s.id).collect();
        for other in others {
            if let Some(State {
                exchange: Exchange::Main(waiting),
                ..
            }) = self.ike.states.get_mut(other)
            {
                waiting.met_meanwhile();
            }
        }
    }

    /// Whoever watches a state is let go.
    pub(super) fn release_state_client(&mut self, id: StateId) {
        if let Some(client) = self
            .ike
            .states
            .get_mut(id)
            .and_then(|state| state.client.take())
        {
            self.release_client(client);
        }
    }
}

/// ` {ESP=>0x… <0x…}`: what goes out, and what comes in.
fn sa_details(state: &State) -> String {
    let parts: Vec<String> = state
        .sas
        .iter()
        .map(|(protocol, spi_in, spi_out)| {
            let name = match *protocol {
                ike::wire::Protocol::ESP => "ESP",
                ike::wire::Protocol::AH => "AH",
                _ => "IPCOMP",
            };
            format!("{name}=>{spi_out:#010x} <{spi_in:#010x}")
        })
        .collect();
    let mut text = parts.join(" ");
    if state.nat.used().is_some() && !parts.is_empty() {
        let oa = state.peer_oa.map_or("none".to_owned(), |oa| oa.to_string());
        text += &format!(" NATOA={oa} NATD={}", state.remote);
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!(" {{{text}}}")
    }
}
