//! Timers of states: sending again, replacing before the end, and the end.

use std::time::Duration;

use rand::Rng;
use whack::Rc;

use super::IkeTimer;
use super::table::{Due, Exchange, Name, Pending};
use crate::engine::connection::{ConnId, Kind, Routing, StateId};
use crate::engine::event::{Action, JobId, JobResult};
use crate::engine::{About, Engine, Time, Timer};

/// Until the first retransmission; each further wait is twice as long.
pub(super) const FIRST_DELAY: Duration = Duration::from_millis(500);
/// With them a message has about a minute, as FreeS/WAN's 10, 20 and 40 seconds gave it, but one lost packet costs half a second.
const MAX_RETRANSMISSIONS: u32 = 6;
/// After so many copies of a first Quick Mode message without any answer the ISAKMP SA is in doubt: 3.5 seconds.
const UNANSWERED: u32 = 2;
/// Of the first message, where keying is to be tried for ever: a quarter of an hour, all further waits being the longest.
const MAX_RETRANSMISSIONS_INITIAL: u32 = 30;
/// Of what goes to a gateway that DNS names, for whose answer somebody's packet waits: a quarter of a minute.
const MAX_RETRANSMISSIONS_OPPORTUNISTIC: u32 = 4;

impl Engine {
    /// Sets the timer of a state.
    pub(super) fn schedule(&mut self, now: Time, id: StateId, due: Due, delay: Duration) {
        if let Some(state) = self.ike.states.get_mut(id) {
            state.due = Some(due);
            self.timers
                .set(now + delay, Timer::Ike(IkeTimer::State(id)));
        }
    }

    /// Stops the timer of a state.
    pub(super) fn cancel(&mut self, id: StateId) {
        self.timers.cancel(&Timer::Ike(IkeTimer::State(id)));
        if let Some(state) = self.ike.states.get_mut(id) {
            state.due = None;
        }
    }

    /// A timer fired.
    pub(crate) fn ike_timer(&mut self, now: Time, timer: IkeTimer) {
        match timer {
            IkeTimer::State(id) => self.state_timer(now, id),
            IkeTimer::Liveness(id) => self.liveness_timer(now, id),
            IkeTimer::Trial(id) => self.trial_timer(now, id),
            IkeTimer::CookieSecret => self.cookie_secret_timer(now),
            IkeTimer::KeepAlive => self.keep_alive_timer(now),
        }
    }

    fn state_timer(&mut self, now: Time, id: StateId) {
        let Some(due) = self
            .ike
            .states
            .get_mut(id)
            .and_then(|state| state.due.take())
        else {
            return;
        };
        match due {
            Due::Retransmit => self.retransmit(now, id),
            Due::Replace | Due::ReplaceIfUsed => {
                let state = self.ike.states.get(id);
                let (margin, tries) = state.map_or((Duration::ZERO, 1), |state| {
                    (state.margin, state.successor.unwrap_or(1))
                });
                if self.is_newest(id) && (due == Due::Replace || self.is_worth_it(now, id)) {
                    self.replace(now, id, tries);
                }
                self.schedule(now, id, Due::Expire, margin);
            }
            Due::Retry => self.retry(now, id),
            Due::Expire => {
                let Some(state) = self.ike.states.get(id) else {
                    return;
                };
                let kind = if state.name.is_phase1() {
                    "ISAKMP"
                } else {
                    "IPsec"
                };
                if self.is_newest(id) {
                    let dont = self
                        .conns
                        .get(state.conn)
                        .is_some_and(|conn| conn.policy.dont_rekey);
                    let why = if dont { "--dontrekey" } else { "LATEST!" };
                    self.log(self.about(id), format!("{kind} SA expired ({why})"));
                }
                self.delete_state(now, id, true);
            }
        }
    }

    /// Whether SAs with `rekey=no` are to be replaced all the same, since they are used. ISAKMP SAs of opportunism are made anew
    /// when an IPsec SA needs one.
    fn is_worth_it(&self, now: Time, id: StateId) -> bool {
        let Some(state) = self.ike.states.get(id) else {
            return false;
        };
        if state.name.is_phase1() {
            return !self.is_opportunistic_instance(state.conn);
        }
        self.worth_replacing(now, id)
    }

    /// The tunnel of a state has carried nothing for long: it goes, and its ISAKMP SA with the last one.
    pub(crate) fn ike_idle(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (under, peer) = (state.under, state.remote.ip());
        self.log(self.about(id), "deleting idle opportunistic tunnel");
        self.delete_state(now, id, true);
        let Some((under, _)) = under else { return };
        let alone = !self
            .ike
            .states
            .phase2_with(peer)
            .any(|other| other.under.is_some_and(|(state, _)| state == under));
        let waited_for = self
            .ike
            .states
            .get(under)
            .is_none_or(|phase1| !phase1.pending.is_empty());
        if alone && !waited_for {
            self.delete_state(now, under, true);
        }
    }

    /// Whether no newer SA of its kind has taken a state's place.
    pub(super) fn is_newest(&self, id: StateId) -> bool {
        let Some(state) = self.ike.states.get(id) else {
            return false;
        };
        let Some(conn) = self.conns.get(state.conn) else {
            return false;
        };
        let newest = if state.name.is_phase1() {
            conn.live.newest_isakmp
        } else {
            conn.live.newest_ipsec
        };
        newest.is_none_or(|newest| newest == id)
    }

    fn retransmit(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        if !matches!(state.exchange, Exchange::Main(_) | Exchange::Quick(_)) {
            // Computing or installing: try again later.
            self.schedule(now, id, Due::Retransmit, FIRST_DELAY);
            return;
        }
        if let Some(kind) = state.complaint
            && state.name == Name::QuickI1
            && state.retransmits > 1
        {
            self.refused_by_peer(now, id, kind);
            return;
        }
        let conn = self.conns.get(state.conn);
        let opportunistic = conn.is_some_and(|conn| conn.policy.opportunistic);
        // A responder of opportunism may be looking something up.
        if state.name == Name::QuickI1
            && state.retransmits == UNANSWERED
            && !opportunistic
            && let Some((under, _)) = state.under
        {
            self.doubt(now, under);
            if self.ike.states.get(id).is_none() {
                return;
            }
        }
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let stranger = match state.name {
            Name::MainI1 => self.patience_with(now, state.conn, state.retransmits + 1),
            _ => None,
        };
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let conn = self.conns.get(state.conn);
        let for_ever = conn.is_some_and(|conn| conn.lifetimes.keying_tries == 0)
            && state.tries > 0
            && !opportunistic;
        let tunnel = conn.is_some_and(|conn| conn.routing() == Routing::Tunnel);
        let patience = if opportunistic && state.name.initiator() && !tunnel {
            MAX_RETRANSMISSIONS_OPPORTUNISTIC
        } else {
            MAX_RETRANSMISSIONS
        };
        let delay = if let Some(wait) = stranger {
            wait
        } else if state.retransmits < patience {
            Some(FIRST_DELAY * (2 << state.retransmits))
        } else if state.name == Name::MainI1
            && for_ever
            && state.retransmits < MAX_RETRANSMISSIONS_INITIAL
        {
            Some(FIRST_DELAY * (1 << MAX_RETRANSMISSIONS))
        } else {
            None
        };
        let Some(delay) = delay else {
            self.give_up(now, id);
            return;
        };
        state.retransmits += 1;
        if state.name.initiator() {
            state.refused = 0;
        }
        let silent = (state.name == Name::MainI1 && state.retransmits > 2).then_some(state.conn);
        let (local, remote, name) = (state.local, state.remote, state.name.text());
        let message = state.seen.last_sent().map(<[u8]>::to_vec);
        let about = self.about(id);
        let text = format!(
            "{name}: retransmission; will wait {}s for response",
            delay.as_secs()
        );
        self.whack_log(about, Rc::Retransmission, text);
        if let Some(bytes) = message {
            self.act(Action::Send {
                local,
                remote,
                bytes,
            });
        }
        self.schedule(now, id, Due::Retransmit, delay);
        if let Some(conn) = silent {
            // It may be elsewhere now.
            self.ask_names_of(now, conn);
        }
    }

    /// The way to the peer may be open again: what waits for its answer goes out anew, at once and then as if for the first time.
    pub(crate) fn ike_send_again(&mut self, now: Time, conn: ConnId) {
        for id in self.ike.states.of_conn(conn) {
            let Some(state) = self.ike.states.get_mut(id) else {
                continue;
            };
            // What has just been sent may still be answered.
            if state.due == Some(Due::Retransmit) && state.retransmits > 1 {
                state.retransmits = 0;
                self.schedule(now, id, Due::Retransmit, Duration::ZERO);
            }
        }
    }

    /// The peer does not answer.
    fn give_up(&mut self, now: Time, id: StateId) {
        let about = self.about(id);
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (retransmits, name) = (state.retransmits, state.name);
        let Some(conn) = self.conns.get(state.conn) else {
            return;
        };
        let complaint = state.complaint.or(state.hearsay);
        let details = match name {
            Name::MainI3 => {
                ".  Possible authentication failure: no acceptable response to our first encrypted message"
            }
            Name::MainI1 => ".  No response (or no acceptable response) to our first IKE message",
            Name::QuickI1 if conn.live.newest_ipsec.is_none() => {
                ".  No acceptable response to our first Quick Mode message: perhaps peer likes no proposal"
            }
            _ => "",
        };
        let complaint = complaint
            .map(|kind| format!(".  {kind} came from the peer's address"))
            .unwrap_or_default();
        let text = format!(
            "max number of retransmissions ({retransmits}) reached {}{details}{complaint}",
            name.text()
        );
        self.loglog(about, Rc::NoRetransmission, text);
        if let Some(state) = self.ike.states.get(id)
            && state.name == Name::MainI1
            && state.complaint.is_none()
        {
            let waiting = state.pending.iter().map(|pending| pending.conn);
            let mut conns: Vec<ConnId> = waiting.chain([state.conn]).collect();
            conns.dedup();
            conns.retain(|conn| self.is_opportunistic_instance(*conn));
            self.oppo_gateway_silent(now, &conns);
        }
        self.attempt_failed(now, id, None);
    }

    /// An attempt to negotiate has failed. `keyingtries=` says whether another follows, after a pause perhaps.
    pub(super) fn attempt_failed(&mut self, now: Time, id: StateId, pause: Option<Duration>) {
        let about = self.about(id);
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (tries, conn) = (state.tries, self.conns.get(state.conn));
        // A gateway that DNS names is asked once: there may be another, or a shunt to go by (RFC 4322 section 3.2.5).
        let limit = match conn {
            Some(conn) if conn.policy.opportunistic => tries,
            conn => conn.map_or(0, |conn| conn.lifetimes.keying_tries),
        };
        if tries == 0 || tries == limit {
            self.failed(now, id);
            self.delete_state(now, id, false);
            return;
        }
        let next = tries + 1;
        let when = pause.map_or_else(String::new, |pause| format!(" in {} s", pause.as_secs()));
        let of = if limit == 0 {
            "an unlimited number".to_owned()
        } else {
            format!("at most {limit}")
        };
        let story = format!("starting keying attempt {next} of {of}{when}");
        if about.client.is_some() {
            self.loglog(about, Rc::Comment, format!("{story}, but releasing whack"));
            self.release_watchers(id);
        } else {
            self.log(about, story);
        }
        match pause {
            None => {
                self.replace(now, id, next);
                self.delete_state(now, id, false);
            }
            Some(pause) => {
                if let Some(state) = self.ike.states.get_mut(id) {
                    state.exchange = Exchange::Refused;
                    state.working_on = None;
                }
                self.schedule(now, id, Due::Retry, pause);
            }
        }
    }

    /// Lets go whoever watches a state and what waits for it.
    pub(super) fn release_watchers(&mut self, id: StateId) {
        self.release_state_client(id);
        let clients: Vec<_> = match self.ike.states.get_mut(id) {
            Some(state) => state
                .pending
                .iter_mut()
                .filter_map(|pending| pending.client.take())
                .collect(),
            None => return,
        };
        for client in clients {
            self.release_client(client);
        }
    }

    /// Keying has failed for good: of this connection, and of those that waited for it.
    fn failed(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let mut conns = vec![state.conn];
        conns.extend(state.pending.iter().map(|pending| pending.conn));
        conns.dedup();
        let (tries, ours) = (state.tries, state.name.initiator());
        if ours {
            self.convicted_go(now, &conns);
        }
        if tries == 0 {
            return;
        }
        for conn in conns {
            let has_tunnel = self
                .conns
                .get(conn)
                .is_some_and(|conn| conn.live.newest_ipsec.is_some());
            if !has_tunnel {
                self.negotiation_failed(now, conn);
            }
        }
    }

    /// Negotiates anew what a state holds or was to hold. The state stays for as long as it lasts.
    pub(super) fn replace(&mut self, now: Time, id: StateId, tries: u32) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let (conn, client, phase1) = (state.conn, state.client.take(), state.name.is_phase1());
        let pending = core::mem::take(&mut state.pending);
        if self
            .conns
            .get(conn)
            .is_none_or(|conn| conn.kind == Kind::GoingAway)
            || self.is_shutting_down()
        {
            if let Some(client) = client {
                self.release_client(client);
            }
            return;
        }
        if phase1 {
            let pending: Vec<Pending> = pending
                .into_iter()
                .map(|p| Pending {
                    tries: p.tries.max(tries),
                    ..p
                })
                .collect();
            self.begin_main(now, conn, client, tries, Some(id), pending);
        } else {
            let quick = Pending {
                conn,
                client,
                tries,
                replaces: Some(id),
            };
            self.initiate(now, quick);
        }
    }

    /// When an SA that has just been established will be replaced. The initiator starts sooner than the responder would,
    /// by a margin with fuzz, so that both ends do not start at once.
    pub(super) fn schedule_replacement(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let Some(conn) = self.conns.get(state.conn) else {
            return;
        };
        let (policy, life) = (conn.policy, conn.lifetimes);
        let agreed = Duration::from_secs(state.life_seconds.into());
        let ours = if state.name.is_phase1() {
            life.ike
        } else {
            life.ipsec
        };
        let dictated = ours >= agreed || (policy.dont_rekey && state.name.is_phase1());
        let mut delay = if dictated { agreed } else { ours };
        let initiator = state.name.initiator();
        // Where both ends of opportunism have begun at once, each may have answered what is the newest to both.
        let either = initiator || self.is_opportunistic_instance(state.conn);
        let mut due = match (dictated && policy.dont_rekey, either) {
            (true, true) => Due::ReplaceIfUsed,
            (true, false) => Due::Expire,
            (false, _) => Due::Replace,
        };
        let mut margin = life.rekey_margin;
        if due != Due::Expire {
            if initiator {
                let fuzz = f64::from(life.rekey_fuzz) / 100.0 * f64::from(self.rng.next_u32())
                    / f64::from(u32::MAX);
                margin += margin.mul_f64(fuzz.min(100.0));
            } else {
                margin /= 2;
            }
            if delay > margin {
                delay -= margin;
            } else {
                due = Due::Expire;
            }
        }
        if let Some(state) = self.ike.states.get_mut(id) {
            state.margin = margin;
        }
        self.schedule(now, id, due, delay);
    }

    /// A computation is done.
    pub(crate) fn ike_job_done(&mut self, now: Time, job: JobId, result: JobResult) {
        let id = self.ike.jobs.remove(&job);
        if let Some(id) = id {
            self.job_of_state_done(now, id, result);
        }
        self.turn_over(now, job);
    }

    fn job_of_state_done(&mut self, now: Time, id: StateId, result: JobResult) {
        let Some(result) = result.into::<ike::v1::JobResult>() else {
            return;
        };
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        match core::mem::replace(&mut state.exchange, Exchange::Nothing) {
            Exchange::MainJob(then) => match then.resume(*result, &mut *self.rng) {
                Ok(step) => self.main_step(now, id, step),
                Err(refused) => self.main_refused(now, id, refused.state, &refused.error),
            },
            Exchange::QuickJob(then) => match then.resume(*result) {
                Ok(step) => self.quick_step(now, id, step),
                Err(refused) => self.quick_refused(now, id, refused.state, &refused.error),
            },
            other => state.exchange = other,
        }
    }

    /// Deletes a state and its SAs; with `tell`, the peer hears of it. What waited for it fails.
    pub(super) fn delete_state(&mut self, now: Time, id: StateId, tell: bool) {
        if tell {
            self.send_delete(id);
        }
        self.release_state_client(id);
        self.timers.cancel(&Timer::Ike(IkeTimer::State(id)));
        self.timers.cancel(&Timer::Ike(IkeTimer::Liveness(id)));
        self.timers.cancel(&Timer::Ike(IkeTimer::Trial(id)));
        let Some(state) = self.ike.states.remove(id) else {
            return;
        };
        self.oppo_state_gone(id);
        self.no_longer_begun(id);
        for pending in state.pending {
            if pending.conn != state.conn && self.is_opportunistic_instance(pending.conn) {
                self.negotiation_failed(now, pending.conn);
            }
            if let Some(client) = pending.client {
                self.loglog(
                    About::conn(pending.conn).watched_by(Some(client)),
                    Rc::LogSerious,
                    "no ISAKMP SA to negotiate over",
                );
                self.release_client(client);
            }
        }
        if !state.name.is_phase1() {
            self.delete_ipsec_sa(now, id);
        }
        if state.name == Name::MainI1 {
            self.first_message_over(now, state.remote.ip());
        }
        self.state_gone(now, state.conn, id);
        if state.name.isakmp_established() {
            self.undermined(now, id, state.remote.ip());
        }
    }
}
