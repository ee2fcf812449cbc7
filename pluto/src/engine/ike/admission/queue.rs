//! Second messages of Main Mode that wait for their computation, and whose turn it is. Each source has a turn as others have, however
//! much it sends: known peers go first, then who has cost least lately, then who has waited longest.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ike::wire::Cookie;

use crate::engine::Time;
use crate::engine::event::JobId;
use crate::engine::room::take;

/// Messages that wait at most: of one source, and of all known peers or all strangers.
const MAX_OF_SOURCE: usize = 16;
const MAX_OF_RANK: usize = 512;
/// After this time an initiator has sent its message again, or given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sources whose cost is remembered.
const MAX_ACCOUNTS: usize = 4096;
/// What a source has cost counts half after this time.
const HALF_LIFE: f64 = 10.0;
/// A known address that has cost more than these seconds of computation without proving anything is a stranger.
const CREDIT: f64 = 1.0;
/// The least that a computation counts, in seconds.
const LEAST_COST: f64 = 0.001;
/// A computation that takes longer than this has got lost.
const LOST: Duration = Duration::from_secs(60);

/// Who shares turns and bounds: an IPv4 address, or the /64 that a host with IPv6 has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine::ike) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(addr: IpAddr) -> Self {
        Self(match addr {
            IpAddr::V4(_) => addr,
            IpAddr::V6(addr) => Ipv6Addr::from(u128::from(addr) >> 64 << 64).into(),
        })
    }
}

/// Whose messages go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine::ike) enum Rank {
    /// An address that a connection names, or that has proved itself before.
    Known,
    /// Any other.
    Stranger,
}

/// A second message with its cookie, which it has from us.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) cookies: (Cookie, Cookie),
    pub(super) bytes: Vec<u8>,
    pub(super) since: Time,
    pub(super) rank: Rank,
}

/// What a source has cost, and when that was reckoned.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    seconds: f64,
    at: Time,
}

impl Account {
    fn now(&self, now: Time) -> f64 {
        self.seconds * 0.5f64.powf((now - self.at).as_secs_f64() / HALF_LIFE)
    }
}

#[derive(Debug)]
struct Running {
    source: Source,
    rank: Rank,
    since: Time,
}

/// How many computations for responders may run: for all, and of these for strangers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    pub(super) all: usize,
    pub(super) strangers: usize,
}

/// What waits, what runs, and what it has cost.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<(Rank, Source), VecDeque<Waiting>>,
    running: HashMap<JobId, Running>,
    accounts: HashMap<Source, Account>,
}

impl Queue {
    /// Takes a message. Where too many wait, the oldest of the source that has most of them goes.
    pub(super) fn put(&mut self, waiting: Waiting) {
        let rank = waiting.rank;
        let key = (rank, Source::from(waiting.remote.ip()));
        let queue = self.waiting.entry(key).or_default();
        if let Some(again) = queue.iter_mut().find(|w| w.cookies == waiting.cookies) {
            again.bytes = waiting.bytes;
            return;
        }
        queue.push_back(waiting);
        if queue.len() > MAX_OF_SOURCE {
            queue.pop_front();
        } else if self.waiting_of(rank) > MAX_OF_RANK {
            let of_rank = self.waiting.iter_mut().filter(|((r, _), _)| *r == rank);
            if let Some((_, longest)) = of_rank.max_by_key(|(_, queue)| queue.len()) {
                longest.pop_front();
            }
        }
    }

    fn waiting_of(&self, rank: Rank) -> usize {
        let of_rank = self.waiting.iter().filter(|((r, _), _)| *r == rank);
        of_rank.map(|(_, queue)| queue.len()).sum()
    }

    /// The message whose turn it is, if there is one and something may run.
    pub(super) fn next(&mut self, now: Time, slots: Slots) -> Option<Waiting> {
        self.running.retain(|_, running| now - running.since < LOST);
        self.waiting.retain(|_, queue| {
            queue.retain(|waiting| now - waiting.since < PATIENCE);
            !queue.is_empty()
        });
        let strangers = self.running.values().filter(|r| r.rank == Rank::Stranger);
        let strangers_may = strangers.count() < slots.strangers;
        if self.running.len() >= slots.all {
            return None;
        }
        let cost = |source: &Source| self.accounts.get(source).map_or(0.0, |a| a.now(now));
        let candidates = self.waiting.iter().filter_map(|((rank, source), queue)| {
            let first = queue.front()?;
            (*rank == Rank::Known || strangers_may)
                .then(|| (*rank, cost(source), first.since, *source))
        });
        let (rank, _, _, source) = candidates.min_by(|a, b| {
            let by_cost = a.1.total_cmp(&b.1);
            a.0.cmp(&b.0)
                .then(by_cost)
                .then((a.2, a.3).cmp(&(b.2, b.3)))
        })?;
        self.waiting.get_mut(&(rank, source))?.pop_front()
    }

    /// A computation for a source has begun.
    pub(super) fn started(&mut self, now: Time, job: JobId, source: Source, rank: Rank) {
        let since = now;
        self.running.insert(
            job,
            Running {
                source,
                rank,
                since,
            },
        );
    }

    /// A computation has ended, if it was one of these.
    pub(super) fn ended(&mut self, now: Time, job: JobId) -> bool {
        let Some(running) = take(&mut self.running, &job) else {
            return false;
        };
        if self.accounts.len() >= MAX_ACCOUNTS && !self.accounts.contains_key(&running.source) {
            self.accounts
                .retain(|_, account| account.now(now) > LEAST_COST);
            let least = self.accounts.iter();
            let least = least.min_by(|a, b| a.1.now(now).total_cmp(&b.1.now(now)));
            if let Some(source) = least.map(|(source, _)| *source)
                && self.accounts.len() >= MAX_ACCOUNTS
            {
                self.accounts.remove(&source);
            }
        }
        let account = self.accounts.entry(running.source).or_default();
        let took = (now - running.since).as_secs_f64().max(LEAST_COST);
        *account = Account {
            seconds: account.now(now) + took,
            at: now,
        };
        true
    }

    /// A source has proved who it is: what it has cost is forgiven.
    pub(super) fn forgive(&mut self, source: Source) {
        take(&mut self.accounts, &source);
    }

    /// Whether a known address has cost more than a known peer does.
    pub(super) fn overdrawn(&self, now: Time, source: Source) -> bool {
        let account = self.accounts.get(&source);
        account.is_some_and(|account| account.now(now) > CREDIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: Slots = Slots {
        all: 2,
        strangers: 1,
    };

    fn at(ms: u64) -> Time {
        Time::from_zero(Duration::from_millis(ms))
    }

    fn message(addr: &str, n: u64, rank: Rank, since: Time) -> Waiting {
        Waiting {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: SocketAddr::new(addr.parse().unwrap(), 500),
            cookies: (Cookie(n.to_be_bytes()), Cookie([9; 8])),
            bytes: vec![0; 100],
            since,
            rank,
        }
    }

    fn run(queue: &mut Queue, now: Time, n: u64) -> Option<IpAddr> {
        let next = queue.next(now, SLOTS)?;
        let addr = next.remote.ip();
        queue.started(now, JobId(n), addr.into(), next.rank);
        Some(addr)
    }

    /// Fifty sources send six a second each for ten seconds, a computation takes 80 ms; a newcomer is next, and then again as any other.
    #[test]
    fn d1_who_has_cost_nothing_yet_is_next() {
        let mut queue = Queue::default();
        let mut busy: Option<(u64, Time)> = None;
        let mut served: HashMap<IpAddr, usize> = HashMap::new();
        let mut newcomer = None;
        for ms in 0..10_000u64 {
            let now = at(ms);
            if ms % 10 < 3 {
                let addr = format!("10.0.0.{}", 1 + (ms / 10 * 3 + ms % 10) % 50);
                queue.put(message(&addr, ms, Rank::Stranger, now));
            }
            if ms == 8_000 {
                queue.put(message("192.0.2.9", ms, Rank::Stranger, now));
            }
            if busy.is_some_and(|(_, since)| now - since >= Duration::from_millis(80)) {
                let (job, _) = busy.take().unwrap();
                assert!(queue.ended(now, JobId(job)));
            }
            if busy.is_none()
                && let Some(addr) = run(&mut queue, now, ms)
            {
                busy = Some((ms, now));
                *served.entry(addr).or_default() += 1;
                if addr == "192.0.2.9".parse::<IpAddr>().unwrap() {
                    newcomer.get_or_insert(ms);
                }
            }
            assert!(queue.waiting_of(Rank::Stranger) <= MAX_OF_RANK);
        }
        assert!(newcomer.unwrap() <= 8_080, "{newcomer:?}");
        assert_eq!(served.len(), 51);
        let (least, most) = (served.values().min(), served.values().max());
        assert!(*most.unwrap() <= 4 && *least.unwrap() >= 1, "{served:?}");
    }

    #[test]
    fn d1_known_peers_go_first_and_have_room_that_strangers_cannot_take() {
        let mut queue = Queue::default();
        for n in 0..2000 {
            let addr = format!("10.0.{}.{}", n / 200, n % 200);
            queue.put(message(&addr, n, Rank::Stranger, at(0)));
        }
        assert_eq!(queue.waiting_of(Rank::Stranger), MAX_OF_RANK);
        assert!(run(&mut queue, at(1), 1).is_some());
        assert_eq!(run(&mut queue, at(1), 2), None, "one stranger at a time");
        queue.put(message("192.0.2.9", 1, Rank::Known, at(2)));
        assert_eq!(run(&mut queue, at(2), 3), "192.0.2.9".parse().ok());
        assert_eq!(run(&mut queue, at(2), 4), None);
        queue.ended(at(100), JobId(1));
        queue.put(message("192.0.2.8", 1, Rank::Known, at(101)));
        assert_eq!(run(&mut queue, at(102), 5), "192.0.2.8".parse().ok());
        // What waits too long has been sent again by then.
        assert!(queue.ended(at(6000), JobId(3)) && !queue.ended(at(6000), JobId(3)));
        assert_eq!(run(&mut queue, at(6000), 6), None);
        assert!(queue.waiting.is_empty());
    }

    #[test]
    fn one_source_fills_its_own_queue_and_a_message_again_takes_no_room() {
        let mut queue = Queue::default();
        for n in 0..300 {
            queue.put(message("10.0.0.1", n, Rank::Stranger, at(0)));
        }
        assert_eq!(queue.waiting_of(Rank::Stranger), MAX_OF_SOURCE);
        for _ in 0..3 {
            queue.put(message("2001:db8::1", 1, Rank::Stranger, at(0)));
            queue.put(message("2001:db8::2", 2, Rank::Stranger, at(0)));
        }
        assert_eq!(queue.waiting_of(Rank::Stranger), MAX_OF_SOURCE + 2);
        assert_eq!(queue.waiting.len(), 2, "one /64 is one source");
        let source = Source::from("10.0.0.1".parse::<IpAddr>().unwrap());
        queue.started(at(0), JobId(1), source, Rank::Known);
        queue.ended(at(2000), JobId(1));
        assert!(queue.overdrawn(at(2000), source) && !queue.overdrawn(at(13_000), source));
        queue.forgive(source);
        assert!(!queue.overdrawn(at(2000), source));
    }
}
