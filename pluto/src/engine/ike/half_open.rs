//! First messages of Main Mode. What is kept of them is the answer, not the sender: all who send the same message, but for its
//! cookie, get the same answer, and our cookie tells which answer that was. So there is no record of a peer that somebody who forges
//! its address could push out, and a million first messages take the room of one.
//!
//! Answers that a peer has gone on with and proved who it is stay longest; of the others, chance says which go when the table
//! is full, so that nobody can aim at one. Not here: whose second message is worth a computation, which is `admission`'s.

use core::net::SocketAddr;
use core::num::NonZeroU16;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ike::v1::main_mode::{Answer, CookieSecret, HalfOpen};
use ike::v1::{Error, vendor};
use ike::wire::{Cookie, Header};
use rand::CryptoRng;
use whack::Rc;

use super::IkeTimer;
use crate::engine::connection::{ConnId, Kind};
use crate::engine::event::Action;
use crate::engine::limiter::Cause;
use crate::engine::{About, Connection, Engine, Time, Timer};

/// Most answers, and most octets of all of them. An answer takes a kilobyte, usually.
const MAX_ANSWERS: usize = 4096;
const MAX_OCTETS: usize = 4 << 20;
/// Most answers that are kept because a peer has proved itself after them.
const MAX_PROVED: usize = 1024;
/// Longest first message that is read, in octets.
const MAX_MESSAGE: usize = 12 << 10;
/// How long a secret makes cookies. They are taken for as long again.
const SECRET_LIFE: Duration = Duration::from_secs(60);
/// Cookies that one secret may see returned. Beyond it there is a new one, sooner.
const MAX_RETURNED: usize = 32 << 10;
/// How many connections with different demands are tried for a first message.
const MAX_TRIES: usize = 8;

/// An answer to all first messages that are like one.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) half: HalfOpen,
    pub(super) conn: ConnId,
    /// What the sender says that it is and can do.
    pub(super) peer: vendor::Peer,
    pub(super) vendors: Vec<String>,
    serial: u64,
    message: (ConnId, Vec<u8>),
    /// The connections were so when it was made.
    changes: u64,
    proved: bool,
}

impl Kept {
    fn size(&self) -> usize {
        let vendors: usize = self.vendors.iter().map(|name| name.capacity() + 24).sum();
        size_of::<Self>() + self.half.size() + 2 * self.message.1.capacity() + vendors
    }
}

/// A secret, and the cookies that have come back and count no more.
#[derive(Debug)]
struct Secret {
    secret: CookieSecret,
    returned: HashSet<Cookie>,
    asked: bool,
}

/// The answers, each at its number.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The secret that makes cookies, then the one before.
    secrets: Vec<Secret>,
    kept: Vec<Option<Kept>>,
    free: Vec<NonZeroU16>,
    /// By the connection that is tried first, and the message from the responder's cookie on.
    by_message: HashMap<(ConnId, Vec<u8>), NonZeroU16>,
    octets: usize,
    proved: usize,
    serial: u64,
}

/// Where in the table a number is.
fn place(number: NonZeroU16) -> usize {
    usize::from(number.get()) - 1
}

impl Answers {
    fn get(&self, number: NonZeroU16) -> Option<&Kept> {
        self.kept.get(place(number))?.as_ref()
    }

    fn remove(&mut self, number: NonZeroU16) {
        let Some(kept) = self.kept.get_mut(place(number)).and_then(Option::take) else {
            return;
        };
        self.octets -= kept.size();
        self.proved -= usize::from(kept.proved);
        if self.by_message.get(&kept.message) == Some(&number) {
            self.by_message.remove(&kept.message);
        }
        self.free.push(number);
    }

    /// One of those that may go, by chance.
    fn victim(&self, rng: &mut dyn CryptoRng) -> Option<NonZeroU16> {
        let count = u32::try_from(self.kept.len()).ok().filter(|n| *n > 0)?;
        let start = rng.next_u32() % count;
        let numbers = (start..count).chain(0..start);
        let mut numbers = numbers.filter_map(|n| NonZeroU16::new(u16::try_from(n + 1).ok()?));
        let may_go = |number: &NonZeroU16| self.get(*number).is_some_and(|kept| !kept.proved);
        numbers.find(may_go)
    }

    fn insert(&mut self, kept: Kept, rng: &mut dyn CryptoRng) -> NonZeroU16 {
        let size = kept.size();
        while self.octets + size > MAX_OCTETS
            || (self.free.is_empty() && self.kept.len() >= MAX_ANSWERS)
        {
            match self.victim(rng) {
                Some(number) => self.remove(number),
                None => break,
            }
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.kept.push(None);
            // No more than MAX_ANSWERS, which is less than the type holds, and at least one.
            u16::try_from(self.kept.len())
                .ok()
                .and_then(NonZeroU16::new)
                .unwrap_or(NonZeroU16::MIN)
        });
        self.octets += size;
        self.by_message.insert(kept.message.clone(), number);
        self.kept[place(number)] = Some(kept);
        number
    }

    fn cookie(
        &mut self,
        number: NonZeroU16,
        peer: SocketAddr,
        initiator: Cookie,
    ) -> Option<Cookie> {
        let serial = self.get(number)?.serial;
        let newest = self.secrets.first_mut()?;
        newest.asked = true;
        Some(
            newest
                .secret
                .cookie(peer, initiator, Answer { number, serial }),
        )
    }

    /// The answer that a peer has had, if it returns the cookie that it got with it and has not done so before.
    pub(super) fn returned(
        &self,
        peer: SocketAddr,
        cookies: (Cookie, Cookie),
    ) -> Option<(NonZeroU16, &Kept)> {
        let number = Answer::number_in(cookies.1)?;
        let kept = self.get(number)?;
        let answer = Answer {
            number,
            serial: kept.serial,
        };
        let ours = self.secrets.iter().any(|secret| {
            secret.secret.fits(cookies.1, peer, cookies.0, answer)
                && !secret.returned.contains(&cookies.1)
        });
        ours.then_some((number, kept))
    }

    /// A cookie has come back with what is worth a computation, and does not count again.
    pub(super) fn spent(&mut self, cookie: Cookie, rng: &mut dyn CryptoRng) {
        for secret in &mut self.secrets {
            secret.returned.insert(cookie);
        }
        let newest = self.secrets.first();
        if newest.is_some_and(|newest| newest.returned.len() >= MAX_RETURNED) {
            self.next_secret(rng);
        }
    }

    fn next_secret(&mut self, rng: &mut dyn CryptoRng) {
        self.secrets.truncate(1);
        let next = Secret {
            secret: CookieSecret::new(rng),
            returned: HashSet::new(),
            asked: false,
        };
        self.secrets.insert(0, next);
    }

    /// A peer has proved who it is after this answer.
    pub(super) fn keep(&mut self, number: NonZeroU16, serial: u64) {
        if self.proved < MAX_PROVED
            && let Some(kept) = self.kept.get_mut(place(number)).and_then(Option::as_mut)
            && kept.serial == serial
            && !kept.proved
        {
            kept.proved = true;
            self.proved += 1;
        }
    }
}

impl Kept {
    /// What [`Answers::keep`] knows it by.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }
}

/// Why a first message is refused: under which connection, in what words, with which notification.
type Refusal = (Option<ConnId>, String, Option<Error>);

impl Engine {
    /// MI1.
    pub(super) fn first_message(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        header: &Header,
        bytes: &[u8],
    ) {
        self.limiter.blame(Some(Cause::FirstMessage));
        let initiator = header.initiator;
        if self.ike.answers.secrets.is_empty() {
            self.ike.answers.next_secret(&mut *self.rng);
            self.timers
                .set(now + SECRET_LIFE, Timer::Ike(IkeTimer::CookieSecret));
        }
        let number = match self.answer_to(local, remote, bytes) {
            Ok(number) => number,
            Err((conn, text, error)) => {
                let about = About {
                    conn,
                    ..About::from(remote)
                };
                self.loglog(about, Rc::LogSerious, text);
                if let Some(error) = error {
                    let cookies = (initiator, Cookie::ZERO);
                    self.notify_in_clear(now, local, remote, cookies, error.notify());
                }
                return;
            }
        };
        let Some(cookie) = self.ike.answers.cookie(number, remote, initiator) else {
            return;
        };
        let cookies = (initiator, cookie);
        // Late, or again: its exchange has come further.
        if self.ike.states.by_cookies(cookies).is_some() {
            return;
        }
        let Some(kept) = self.ike.answers.get(number) else {
            return;
        };
        let (conn, bytes) = (kept.conn, kept.half.mr1(cookies));
        let about = About {
            conn: Some(conn),
            ..About::from(remote)
        };
        self.log(about, "responding to Main Mode");
        self.act(Action::Send {
            local,
            remote,
            bytes,
        });
    }

    /// The number of the answer to a first message, which is the one that others have had if the message is the same.
    fn answer_to(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) -> Result<NonZeroU16, Refusal> {
        let ours = self.ike_side(local);
        let changes = self.conns.changes();
        let Some(first) = self.candidates(ours, remote).next().map(Connection::id) else {
            let text = format!(
                "initial Main Mode message received on {}:{} but no connection has been authorized",
                local.ip(),
                local.port()
            );
            return Err((None, text, None));
        };
        if bytes.len() > MAX_MESSAGE {
            let text = format!(
                "initial Main Mode message has {} octets, which is more than {MAX_MESSAGE}",
                bytes.len()
            );
            return Err((Some(first), text, None));
        }
        let message = (first, bytes[8..].to_vec());
        if let Some(number) = self.ike.answers.by_message.get(&message)
            && self
                .ike
                .answers
                .get(*number)
                .is_some_and(|kept| kept.changes == changes)
        {
            return Ok(*number);
        }
        let (conn, half) = self.choose(ours, remote, bytes)?;
        let mut peer = vendor::Peer::default();
        let vendors = peer.learn(bytes);
        let answers = &mut self.ike.answers;
        answers.serial += 1;
        let kept = Kept {
            half,
            conn,
            peer,
            vendors,
            serial: answers.serial,
            message,
            changes,
            proved: false,
        };
        Ok(answers.insert(kept, &mut *self.rng))
    }

    /// The connections that a first message may be for.
    fn candidates(
        &self,
        ours: SocketAddr,
        remote: SocketAddr,
    ) -> impl Iterator<Item = &Connection> {
        self.conns
            .between(ours, remote)
            .chain(self.conns.for_any_peer(ours))
            .filter(|conn| {
                conn.oriented()
                    && !matches!(conn.kind, Kind::Group | Kind::GoingAway)
                    && !conn.policy.never_negotiate()
            })
    }

    /// A connection whose policy finds something acceptable in MI1.
    fn choose(
        &self,
        ours: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) -> Result<(ConnId, HalfOpen), Refusal> {
        let mut tried = HashSet::new();
        let mut problem = None;
        for conn in self.candidates(ours, remote) {
            if !tried.insert((
                conn.policy.psk,
                conn.policy.rsasig,
                conn.algorithms.ike.clone(),
            )) {
                continue;
            }
            let policy = super::policy::ike_policy(conn);
            match HalfOpen::respond(bytes, &policy, self.offers_nat_traversal()) {
                Ok(half) => return Ok((conn.id(), half)),
                Err(error) => {
                    problem.get_or_insert((Some(conn.id()), error.to_string(), Some(error)));
                }
            }
            if tried.len() == MAX_TRIES {
                break;
            }
        }
        Err(problem.unwrap_or_default())
    }

    /// Draws a new cookie secret, as long as there are first messages. Cookies of the last one are taken until the next.
    pub(super) fn cookie_secret_timer(&mut self, now: Time) {
        if self.ike.answers.secrets.iter().all(|secret| !secret.asked) {
            self.ike.answers.secrets.clear();
            return;
        }
        self.ike.answers.next_secret(&mut *self.rng);
        self.timers
            .set(now + SECRET_LIFE, Timer::Ike(IkeTimer::CookieSecret));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use crate::engine::Event;
    use crate::engine::tests::pair::Pair;
    use whack::Request;

    /// West's first message, as it goes to east.
    fn first_message(pair: &mut Pair) -> (SocketAddr, SocketAddr, Vec<u8>) {
        pair.west.ask(Request::Initiate {
            name: "net-to-net".into(),
            asynchronous: false,
        });
        pair.west.sent.pop().unwrap()
    }

    /// The round trip takes a tenth of a second, in which somebody sends 2,000 first messages from west's address, and then for a minute
    /// on. In the second round no message is like another.
    #[test]
    fn d2_first_messages_with_the_address_of_a_peer_do_not_shut_it_out() {
        for different in [false, true] {
            let mut pair = Pair::new();
            let (west, east, mi1) = first_message(&mut pair);
            let forge = |pair: &mut Pair, count: u32| {
                for _ in 0..count {
                    let mut bytes = mi1.clone();
                    let n = pair.datagrams as u32;
                    pair.datagrams += 1;
                    bytes[..4].copy_from_slice(&n.to_be_bytes());
                    if different {
                        // The last octets are those of a vendor id.
                        let end = bytes.len() - 4;
                        bytes[end..].copy_from_slice(&n.to_be_bytes());
                    }
                    pair.east.give(Event::Datagram {
                        local: east,
                        remote: west,
                        bytes,
                    });
                    pair.east.sent.clear();
                }
            };
            // It may take an exchange more where chance is against it, and no two.
            let mut up = false;
            for _ in 0..3 {
                pair.west.sent.push((west, east, mi1.clone()));
                let (_, _, mi1) = pair.west.sent.pop().unwrap();
                pair.east.give(Event::Datagram {
                    local: east,
                    remote: west,
                    bytes: mi1,
                });
                let mr1 = pair.east.sent.pop().unwrap();
                forge(&mut pair, 2000);
                pair.east.sent.push(mr1);
                pair.settle();
                let id = pair.west.id("net-to-net");
                let conns = pair.west.engine.connections();
                up = conns.get(id).unwrap().live.newest_ipsec.is_some();
                if up {
                    break;
                }
            }
            assert!(up, "{:?}", pair.west.log);
            let answers = &pair.east.engine.ike.answers;
            assert!(answers.octets <= MAX_OCTETS && answers.kept.len() <= MAX_ANSWERS);
            // The answer that west has proved itself after stays.
            forge(&mut pair, 20_000);
            let answers = &pair.east.engine.ike.answers;
            assert_eq!(answers.proved, 1);
            assert!(answers.octets <= MAX_OCTETS && answers.kept.len() <= MAX_ANSWERS);
            assert_eq!(answers.kept.len() > 1, different);
        }
    }

    #[test]
    fn d2_a_cookie_counts_once_and_for_two_minutes() {
        let mut pair = Pair::new();
        let (west, east, mi1) = first_message(&mut pair);
        let cookie = |pair: &mut Pair| {
            pair.east.give(Event::Datagram {
                local: east,
                remote: west,
                bytes: mi1.clone(),
            });
            let (_, _, mr1) = pair.east.sent.pop().unwrap();
            let header = Header::new_checked(&mr1).unwrap();
            (header.initiator, header.responder)
        };
        let cookies = cookie(&mut pair);
        let returned = |pair: &Pair, from, cookies| {
            let answers = &pair.east.engine.ike.answers;
            answers.returned(from, cookies).is_some()
        };
        assert!(returned(&pair, west, cookies));
        let elsewhere = SocketAddr::new(west.ip(), 501);
        assert!(!returned(&pair, elsewhere, cookies));
        assert!(!returned(&pair, west, (Cookie([1; 8]), cookies.1)));
        pair.east.sleep(61);
        assert!(returned(&pair, west, cookies));
        let newer = cookie(&mut pair);
        assert_ne!(newer, cookies);
        let mut rng = StdRng::seed_from_u64(1);
        pair.east.engine.ike.answers.spent(newer.1, &mut rng);
        assert!(!returned(&pair, west, newer));
        pair.east.sleep(61);
        assert!(!returned(&pair, west, newer) && !returned(&pair, west, cookies));
        // Nobody asks any more: no timer is left.
        pair.east.sleep(61);
        pair.east.sleep(61);
        assert!(pair.east.engine.ike.answers.secrets.is_empty());
    }
}
