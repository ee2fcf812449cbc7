//! The engine's ordered queue of timers. One entry a timer: setting a timer that is
//! already set moves it. What a timer means is decided in `mod.rs`.

use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};

use super::connection::{ConnId, StateId};
use super::event::LookupId;
use super::ike::IkeTimer;
use super::room::take;
use super::time::Time;

/// What fires.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// A timer of the IKE part.
    Ike(IkeTimer),
    /// Tell how many lines of the log were left out.
    LinesLeftOut,
    /// The time of a bare shunt is over.
    ShuntScan,
    /// The kernel never answered the PF_KEY request of this sequence number.
    KernelSilent(u32),
    /// The driver never answered this question to DNS.
    Lookup(LookupId),
    /// A destination has been looked up or negotiated for a while: our client and the peer's.
    Attempt((IpAddr, IpAddr)),
    /// Ask whether a dead resolver is back.
    Resolver,
    /// Ask DNS once more who we are.
    MyId,
    /// Try again to do what is wanted of a connection.
    Pursue(ConnId),
    /// Look the name of a host up again.
    HostName(String),
    /// The clients that wait for names have waited long enough.
    HostWaiters,
    /// Look whether the tunnel of this state is used.
    Use(StateId),
}

/// Timers ordered by deadline, first set first among equals.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeMap<(Time, u64), Timer>,
    keys: HashMap<Timer, (Time, u64)>,
    next: u64,
}

impl Timers {
    /// Sets `timer` to fire at `deadline`, moving it if it was set.
    pub fn set(&mut self, deadline: Time, timer: Timer) {
        self.cancel(&timer);
        let key = (deadline, self.next);
        self.next += 1;
        self.keys.insert(timer.clone(), key);
        self.queue.insert(key, timer);
    }

    /// Forgets `timer`; tells whether it was set.
    pub fn cancel(&mut self, timer: &Timer) -> bool {
        take(&mut self.keys, timer).is_some_and(|key| self.queue.remove(&key).is_some())
    }

    /// When `timer` will fire.
    pub fn deadline(&self, timer: &Timer) -> Option<Time> {
        self.keys.get(timer).map(|key| key.0)
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Time> {
        self.queue.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes the earliest timer whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let entry = self.queue.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let timer = entry.remove();
        take(&mut self.keys, &timer);
        Some(timer)
    }

    /// Every timer in order of deadline.
    pub fn iter(&self) -> impl Iterator<Item = (Time, &Timer)> {
        self.queue.iter().map(|(key, timer)| (key.0, timer))
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: u64) -> Time {
        Time::from_zero(Duration::from_millis(ms))
    }

    #[test]
    fn fire_in_order_and_only_when_due() {
        let mut timers = Timers::default();
        timers.set(at(20), Timer::KernelSilent(2));
        timers.set(at(10), Timer::KernelSilent(1));
        timers.set(at(20), Timer::ShuntScan);
        assert_eq!(timers.next_deadline(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(20)), Some(Timer::KernelSilent(1)));
        assert_eq!(timers.pop_due(at(20)), Some(Timer::KernelSilent(2)));
        assert_eq!(timers.pop_due(at(20)), Some(Timer::ShuntScan));
        assert!(timers.is_empty());
    }

    #[test]
    fn setting_again_moves() {
        let mut timers = Timers::default();
        timers.set(at(10), Timer::ShuntScan);
        timers.set(at(30), Timer::ShuntScan);
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.deadline(&Timer::ShuntScan), Some(at(30)));
        assert!(timers.cancel(&Timer::ShuntScan));
        assert!(!timers.cancel(&Timer::ShuntScan));
    }
}
