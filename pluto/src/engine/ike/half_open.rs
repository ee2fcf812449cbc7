//! Strangers: first messages are answered from a bounded table of small records. A state is made only when the
//! peer has returned our cookie, which one that forges its address never sees.

use core::net::{IpAddr, SocketAddr};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use ike::v1::main_mode::{CookieSecret, HalfOpen, Step};
use ike::v1::{Error, Seen, vendor};
use ike::wire::{Cookie, Header};
use whack::Rc;

use super::IkeTimer;
use super::table::{Exchange, Name, State};
use crate::engine::connection::{ConnId, Kind};
use crate::engine::event::Action;
use crate::engine::limiter::Cause;
use crate::engine::{About, Engine, Time, Timer};

/// Most records altogether; at most some 9 kilobytes each, a few hundred octets usually.
const MAX_RECORDS: usize = 2000;
/// Most records of one address.
const MAX_PER_SOURCE: usize = 40;
/// How long an initiator may take to return the cookie.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a cookie secret lasts.
const SECRET_LIFE: Duration = Duration::from_secs(3600);
/// How many connections with different demands are tried for a first message.
const MAX_TRIES: usize = 8;

pub(super) type Key = (Cookie, Cookie, SocketAddr);

#[derive(Debug)]
struct Record {
    half: HalfOpen,
    conn: ConnId,
    peer: vendor::Peer,
    since: Time,
}

/// The records, oldest first in `order` and in each queue of `per_source`.
#[derive(Debug, Default)]
pub(super) struct HalfOpens {
    secret: Option<CookieSecret>,
    records: HashMap<Key, Record>,
    order: VecDeque<(Time, Key)>,
    per_source: HashMap<IpAddr, VecDeque<Key>>,
    /// When it was last told that records had to go.
    told: Option<Time>,
}

impl HalfOpens {
    fn remove(&mut self, key: &Key) -> Option<Record> {
        let record = self.records.remove(key)?;
        let source = key.2.ip();
        if let Some(keys) = self.per_source.get_mut(&source) {
            keys.retain(|k| k != key);
            if keys.is_empty() {
                self.per_source.remove(&source);
            }
        }
        Some(record)
    }

    fn insert(&mut self, key: Key, record: Record) {
        self.per_source
            .entry(key.2.ip())
            .or_default()
            .push_back(key);
        self.order.push_back((record.since, key));
        self.records.insert(key, record);
    }

    /// Makes room for one more of `source`: the oldest go, for an honest initiator returns its cookie before a flood gets that
    /// far, while one that comes during a flood must not find the door shut. Whether any had to go.
    fn make_room(&mut self, source: IpAddr) -> bool {
        let oldest = self
            .per_source
            .get(&source)
            .filter(|keys| keys.len() >= MAX_PER_SOURCE)
            .and_then(|keys| keys.front().copied());
        if let Some(key) = oldest {
            return self.remove(&key).is_some();
        }
        let mut gone = false;
        while self.records.len() >= MAX_RECORDS {
            let Some((_, key)) = self.order.pop_front() else {
                break;
            };
            gone |= self.remove(&key).is_some();
        }
        gone
    }

    /// The connection of a record.
    pub(super) fn conn_of(&self, key: &Key) -> Option<ConnId> {
        self.records.get(key).map(|record| record.conn)
    }

    fn expire(&mut self, now: Time) {
        while let Some((since, key)) = self.order.front().copied() {
            if now - since < PATIENCE && self.order.len() <= 2 * MAX_RECORDS {
                break;
            }
            self.order.pop_front();
            if self
                .records
                .get(&key)
                .is_some_and(|record| record.since == since)
            {
                self.remove(&key);
            }
        }
    }
}

impl Engine {
    /// MI1.
    pub(super) fn first_message(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) {
        self.limiter.blame(Some(Cause::FirstMessage));
        let about = About::from(remote);
        self.ike.half_open.expire(now);
        if self.ike.half_open.secret.is_none() {
            self.ike.half_open.secret = Some(CookieSecret::new(&mut *self.rng));
            self.timers
                .set(now + SECRET_LIFE, Timer::Ike(IkeTimer::CookieSecret));
        }
        let Ok(header) = Header::new_checked(bytes) else {
            return;
        };
        let half = match self.choose(local, remote, bytes) {
            Ok(found) => found,
            Err((conn, text, error)) => {
                let about = conn.map_or(about, |conn| About {
                    conn: Some(conn),
                    ..about
                });
                self.loglog(about, Rc::LogSerious, text);
                if let Some(error) = error {
                    let cookies = (header.initiator, Cookie::ZERO);
                    self.notify_in_clear(now, local, remote, cookies, error.notify());
                }
                return;
            }
        };
        let (conn, half) = half;
        let (initiator, responder) = half.cookies();
        let key = (initiator, responder, remote);
        let message = half.mr1().to_vec();
        if !self.ike.half_open.records.contains_key(&key) {
            if self.ike.half_open.make_room(remote.ip()) {
                self.tell_crowded(now, remote);
            }
            let about = About {
                conn: Some(conn),
                ..about
            };
            self.log(about, "responding to Main Mode");
            let mut peer = vendor::Peer::default();
            let vendors = peer.learn(bytes);
            self.tell_vendors(about, &vendors);
            let since = now;
            let record = Record {
                half,
                conn,
                peer,
                since,
            };
            self.ike.half_open.insert(key, record);
            self.timers
                .set(now + PATIENCE, Timer::Ike(IkeTimer::HalfOpen));
        }
        self.act(Action::Send {
            local,
            remote,
            bytes: message,
        });
    }

    /// Says, once a minute at most, that somebody begins many Main Modes.
    fn tell_crowded(&mut self, now: Time, remote: SocketAddr) {
        let told = &mut self.ike.half_open.told;
        if told.is_none_or(|then| now - then >= PATIENCE) {
            *told = Some(now);
            let text = format!(
                "too many Main Modes begun and not carried on, lately by {}: forgetting the oldest",
                remote.ip()
            );
            self.log(About::default(), text);
        }
    }

    /// A connection whose policy finds something acceptable in MI1.
    #[allow(clippy::type_complexity)]
    fn choose(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) -> Result<(ConnId, HalfOpen), (Option<ConnId>, String, Option<Error>)> {
        let Some(secret) = &self.ike.half_open.secret else {
            return Err((None, String::new(), None));
        };
        let mut tried = HashSet::new();
        let mut problem = None;
        let ours = self.ike_side(local);
        let candidates = self
            .conns
            .between(ours, remote)
            .chain(self.conns.for_any_peer(ours));
        for conn in candidates.filter(|conn| {
            conn.oriented() && conn.kind != Kind::Group && conn.kind != Kind::GoingAway
        }) {
            if conn.policy.never_negotiate() {
                continue;
            }
            if !tried.insert((
                conn.policy.psk,
                conn.policy.rsasig,
                conn.algorithms.ike.clone(),
            )) {
                continue;
            }
            let policy = super::policy::ike_policy(conn);
            match HalfOpen::respond(bytes, remote, &policy, secret, self.offers_nat_traversal()) {
                Ok(half) => return Ok((conn.id(), half)),
                Err(error) => {
                    problem.get_or_insert((Some(conn.id()), error.to_string(), Some(error)));
                }
            }
            if tried.len() == MAX_TRIES {
                break;
            }
        }
        Err(problem.unwrap_or_else(|| {
            let text = format!(
                "initial Main Mode message received on {}:{} but no connection has been authorized",
                local.ip(),
                local.port()
            );
            (None, text, None)
        }))
    }

    /// MI2: the peer has returned our cookie, and gets a state.
    pub(super) fn cookie_returned(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        cookies: (Cookie, Cookie),
        bytes: &[u8],
    ) -> bool {
        self.limiter.blame(Some(Cause::Exchange));
        let key = (cookies.0, cookies.1, remote);
        let Some(record) = self.ike.half_open.records.get(&key) else {
            return false;
        };
        let Some(conn) = self.conns.get(record.conn) else {
            return false;
        };
        let psk = if record.half.chosen().by_signature() {
            None
        } else {
            self.preshared_secret(conn)
        };
        let secret = psk.as_deref().map(|psk| self.ike.fingerprints.of(psk));
        let (conn_id, template) = (conn.id(), conn.kind == Kind::Template);
        let peer = record.peer;
        let offer = self.nat_offer(conn, local, remote);
        let step = record.half.handle(bytes, psk, offer, &mut *self.rng);
        let (job, then) = match step {
            Ok(Step::Compute { job, then }) => (job, then),
            Ok(_) => return true,
            Err(error) => {
                let text = match (&error, self.conns.get(conn_id)) {
                    (Error::NoSecret, Some(conn)) => self.no_secret(conn),
                    _ => error.to_string(),
                };
                self.loglog(About::conn(conn_id), Rc::LogSerious, text);
                self.notify_in_clear(now, local, remote, cookies, error.notify());
                return true;
            }
        };
        self.ike.half_open.remove(&key);
        let conn_id = if template {
            match self.conns.instantiate(conn_id, remote, None, None) {
                Some(instance) => instance,
                None => return true,
            }
        } else {
            conn_id
        };
        let id = self.ike.states.next_id();
        let mut state = State::new(id, conn_id, Name::MainR1, local, remote, now);
        state.cookies = cookies;
        state.secret = secret;
        state.peer = peer;
        state.exchange = Exchange::MainJob(then);
        state.working_on = Some(bytes.to_vec());
        state.seen = Seen::default();
        self.ike.states.insert(state);
        self.state_added(conn_id);
        self.log(
            About::conn(conn_id).state(id),
            if template {
                format!("responding to Main Mode from unknown peer {}", remote.ip())
            } else {
                "transition from state STATE_MAIN_R1 to state STATE_MAIN_R2".to_owned()
            },
        );
        self.hand_out(id, job);
        true
    }

    /// Forgets records whose time is over.
    pub(super) fn half_open_timer(&mut self, now: Time) {
        self.ike.half_open.expire(now);
        if let Some((since, _)) = self.ike.half_open.order.front() {
            self.timers
                .set(*since + PATIENCE, Timer::Ike(IkeTimer::HalfOpen));
        }
    }

    /// Draws a new cookie secret. Records that exist go on with the cookies they have.
    pub(super) fn cookie_secret_timer(&mut self, now: Time) {
        self.ike.half_open.secret = Some(CookieSecret::new(&mut *self.rng));
        self.timers
            .set(now + SECRET_LIFE, Timer::Ike(IkeTimer::CookieSecret));
    }
}
