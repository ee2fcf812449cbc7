//! Whose Main Mode gets how much of us. A peer that has returned our cookie has an address, and no more: its second message costs us a
//! Diffie-Hellman computation, up to a tenth of a second. Such messages wait their turn (`queue`), a bounded number of them; a state is
//! made when the turn has come, and of these too there are so many (`begun`). Peers that are known go before strangers, have room that
//! strangers can't take, and computations of theirs and of ours never wait behind a stranger's (`Urgency`).
//!
//! Not here: first messages, which cost next to nothing (`half_open`).

mod begun;
mod queue;

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;
use std::collections::HashMap;

use ike::v1::Error;
use ike::v1::main_mode::Step;
use ike::wire::Cookie;
use whack::Rc;

use self::begun::Begun;
use self::queue::{Queue, Rank, Slots, Waiting};
use super::table::{Exchange, Name, State};
use crate::engine::connection::{ConnId, Kind, StateId};
use crate::engine::event::{JobId, Urgency};
use crate::engine::limiter::Cause;
use crate::engine::{About, Engine, Time};

/// Longest second message, in octets: a public value of 8,192 bits with a nonce, and what else may come along.
const MAX_MESSAGE: usize = 4096;
/// Addresses that have proved themselves and are remembered.
const MAX_MET: usize = 4096;

/// Who waits, who has begun, and who is known.
#[derive(Debug, Default)]
pub(super) struct Admission {
    queue: Queue,
    begun: Begun,
    /// Addresses of peers that have proved who they are, and when they did last.
    met: HashMap<IpAddr, Time>,
}

/// After which answer to its first message a peer goes on, by number and serial number.
pub(super) type After = (NonZeroU16, u64);

impl Engine {
    /// MI2, perhaps: answers whether it brings a cookie of ours back.
    pub(super) fn cookie_returned(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        cookies: (Cookie, Cookie),
        bytes: &[u8],
    ) -> bool {
        let Some((_, kept)) = self.ike.answers.returned(remote, cookies) else {
            return false;
        };
        let conn = kept.conn;
        self.limiter.blame(Some(Cause::Exchange));
        if bytes.len() > MAX_MESSAGE {
            let text = format!(
                "second Main Mode message has {} octets, which is more than {MAX_MESSAGE}",
                bytes.len()
            );
            self.loglog(About::conn(conn), Rc::LogSerious, text);
            return true;
        }
        let rank = self.rank(now, local, remote);
        self.ike.admission.queue.put(Waiting {
            local,
            remote,
            cookies,
            bytes: bytes.to_vec(),
            since: now,
            rank,
        });
        self.admit_waiting(now);
        true
    }

    /// Whether an address is that of a peer that is known.
    fn rank(&self, now: Time, local: SocketAddr, remote: SocketAddr) -> Rank {
        let (ours, addr) = (self.ike_side(local), remote.ip());
        let mut configured = self.conns.between(ours, remote);
        let known = configured.any(|conn| conn.kind == Kind::Permanent)
            || self.ike.admission.met.contains_key(&addr)
            || self.ike.states.phase2_with(addr).next().is_some();
        let queue = &self.ike.admission.queue;
        if known && !queue.overdrawn(now, addr.into()) {
            Rank::Known
        } else {
            Rank::Stranger
        }
    }

    /// Goes on with the messages whose turn has come.
    fn admit_waiting(&mut self, now: Time) {
        let strangers = self.config.stranger_jobs.max(1);
        let slots = Slots {
            all: 4 * strangers,
            strangers,
        };
        while let Some(waiting) = self.ike.admission.queue.next(now, slots) {
            self.admit(now, waiting);
        }
    }

    /// Makes a state for an exchange, and hands its computation out.
    fn admit(&mut self, now: Time, waiting: Waiting) {
        let Waiting {
            local,
            remote,
            cookies,
            bytes,
            rank,
            ..
        } = waiting;
        self.limiter.blame(Some(Cause::Exchange));
        let Some((number, kept)) = self.ike.answers.returned(remote, cookies) else {
            return;
        };
        let after = (number, kept.serial());
        let Some(conn) = self.conns.get(kept.conn) else {
            return;
        };
        let psk = if kept.half.chosen().by_signature() {
            None
        } else {
            self.preshared_secret(conn)
        };
        let secret = psk.as_deref().map(|psk| self.ike.fingerprints.of(psk));
        let (conn_id, template) = (conn.id(), conn.kind == Kind::Template);
        let (peer, vendors) = (kept.peer, kept.vendors.clone());
        let offer = self.nat_offer(conn, local, remote);
        let step = kept
            .half
            .handle(cookies, &bytes, psk, offer, &mut *self.rng);
        let (job, then) = match step {
            Ok(Step::Compute { job, then }) => (job, then),
            Ok(_) => return,
            Err(error) => {
                let text = match (&error, self.conns.get(conn_id)) {
                    (Error::NoSecret, Some(conn)) => self.no_secret(conn),
                    _ => error.to_string(),
                };
                self.loglog(About::conn(conn_id), Rc::LogSerious, text);
                self.notify_in_clear(now, local, remote, cookies, error.notify());
                return;
            }
        };
        self.ike.answers.spent(cookies.1, &mut *self.rng);
        let Some(conn_id) = self.begin_with(conn_id, template, remote) else {
            return;
        };
        let id = self.ike.states.next_id();
        let mut state = State::new(id, conn_id, Name::MainR1, local, remote, now);
        state.cookies = cookies;
        state.secret = secret;
        state.peer = peer;
        state.after = Some(after);
        state.exchange = Exchange::MainJob(then);
        state.working_on = Some(bytes);
        self.ike.states.insert(state);
        self.state_added(conn_id);
        let about = About::conn(conn_id).state(id);
        self.log(
            about,
            if template {
                format!("responding to Main Mode from unknown peer {}", remote.ip())
            } else {
                "transition from state STATE_MAIN_R1 to state STATE_MAIN_R2".to_owned()
            },
        );
        self.tell_vendors(about, &vendors);
        let source = remote.ip().into();
        let ended = self.ike.admission.begun.add(id, rank, source);
        let job = self.hand_out(id, job);
        self.ike.admission.queue.started(now, job, source, rank);
        if let Some(ended) = ended {
            let text =
                "too many exchanges of this kind are begun and not carried on: ending the oldest";
            self.log(self.about(ended), text);
            self.delete_state(now, ended, false);
        }
    }

    /// The connection that an exchange is for: an instance of its own where it is a template.
    fn begin_with(&mut self, conn: ConnId, template: bool, remote: SocketAddr) -> Option<ConnId> {
        if template {
            self.conns.instantiate(conn, remote, None, None)
        } else {
            Some(conn)
        }
    }

    /// A computation has ended: if it was for one of these, others may have their turn.
    pub(super) fn turn_over(&mut self, now: Time, job: JobId) {
        if self.ike.admission.queue.ended(now, job) {
            self.admit_waiting(now);
        }
    }

    /// An exchange has ended without proof.
    pub(super) fn no_longer_begun(&mut self, id: StateId) {
        self.ike.admission.begun.remove(id);
    }

    /// The peer of a Main Mode has proved who it is.
    pub(super) fn peer_is_met(&mut self, now: Time, id: StateId) {
        self.no_longer_begun(id);
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (addr, after) = (state.remote.ip(), state.after);
        if let Some((number, serial)) = after {
            self.ike.answers.keep(number, serial);
        }
        let Admission { met, queue, .. } = &mut self.ike.admission;
        queue.forgive(addr.into());
        if met.len() >= MAX_MET
            && !met.contains_key(&addr)
            && let Some(oldest) = met.iter().min_by_key(|(_, at)| **at).map(|(addr, _)| *addr)
        {
            met.remove(&oldest);
        }
        met.insert(addr, now);
    }

    /// How urgent a computation for a state is.
    pub(super) fn urgency(&self, id: StateId) -> Urgency {
        match self.ike.admission.begun.rank(id) {
            None => Urgency::Ours,
            Some(Rank::Known) => Urgency::Known,
            Some(Rank::Stranger) => Urgency::Stranger,
        }
    }
}
