//! Answers remembered for as long as their TTL says, failures briefly.

use super::{Outcome, lock};
use crate::{LookupError, Query};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// No answer is kept longer, whatever its TTL.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// That there is nothing is believed for this long at most, as long as what stands on it. RFC 2308 section 5 would allow some hours.
const LONGEST_NOTHING: Duration = Duration::from_secs(900);
/// How long a failure counts: long enough for a burst of packets to ask once.
const FAILURE: Duration = Duration::from_secs(5);

/// Answers with more gateways and keys than this are not kept: thousands of them would fill the memory.
const MOST: usize = 16;

pub(super) struct AnswerCache {
    capacity: usize,
    known: Mutex<HashMap<Query, (Instant, Outcome)>>,
}

impl AnswerCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            known: Mutex::default(),
        }
    }

    /// What is known, its TTL lowered by its age.
    pub(super) fn get(&self, query: &Query, now: Instant) -> Option<Outcome> {
        let mut known = lock(&self.known);
        let (until, outcome) = known.get(query)?;
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            known.remove(query);
            return None;
        }
        let mut outcome = outcome.clone();
        match &mut outcome {
            Ok(answer) => answer.ttl = left,
            Err(LookupError::NoRecord { ttl, .. }) => *ttl = left,
            Err(_) => {}
        }
        Some(outcome)
    }

    pub(super) fn put(&self, query: &Query, outcome: &Outcome, now: Instant) {
        let life = match outcome {
            Ok(answer) if answer.delegations.len() + answer.keys.len() > MOST => return,
            Ok(answer) => answer.ttl.min(LONGEST),
            Err(LookupError::NoRecord { ttl, .. }) => (*ttl).min(LONGEST_NOTHING),
            Err(LookupError::Busy { .. } | LookupError::NoServer { .. }) => return,
            Err(_) => FAILURE,
        };
        if life.is_zero() {
            return;
        }
        let mut known = lock(&self.known);
        if known.len() >= self.capacity {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() >= self.capacity {
            // All are current: half go, any half, which is rare and costs one question each.
            let mut keep = false;
            known.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        known.insert(query.clone(), (now + life, outcome.clone()));
    }

    /// Forgets what is out of date, and gives its room back.
    pub(super) fn tidy(&self, now: Instant) {
        let mut known = lock(&self.known);
        known.retain(|_, (until, _)| *until > now);
        if known.len() < known.capacity() / 4 {
            known.shrink_to_fit();
        }
    }

    pub(super) fn clear(&self) {
        lock(&self.known).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Security;

    fn nothing(query: &Query, seconds: u64) -> Outcome {
        Err(LookupError::NoRecord {
            name: query.name(),
            records: query.records(),
            security: Security::Secure,
            ttl: Duration::from_secs(seconds),
        })
    }

    #[test]
    fn answers_age_and_go() {
        let cache = AnswerCache::new(10);
        let query = Query::Delegation("192.0.2.1".parse().unwrap());
        let start = Instant::now();
        cache.put(&query, &nothing(&query, 60), start);
        let at = |s| cache.get(&query, start + Duration::from_secs(s));
        assert_eq!(at(20), Some(nothing(&query, 40)));
        assert_eq!(at(60), None);
        cache.put(&query, &nothing(&query, 0), start);
        assert_eq!(at(0), None);
    }

    #[test]
    fn what_is_out_of_date_takes_no_room() {
        let cache = AnswerCache::new(10_000);
        let start = Instant::now();
        for host in 0..10_000u32 {
            let query = Query::Delegation(std::net::Ipv4Addr::from(host).into());
            cache.put(&query, &nothing(&query, 7200), start);
        }
        cache.tidy(start + Duration::from_secs(10));
        assert_eq!(lock(&cache.known).len(), 10_000);
        cache.tidy(start + LONGEST_NOTHING);
        assert_eq!(lock(&cache.known).capacity(), 0);
    }

    #[test]
    fn it_stays_bounded() {
        let cache = AnswerCache::new(100);
        for host in 0..=u16::MAX {
            let query = Query::Delegation(std::net::Ipv4Addr::from(u32::from(host)).into());
            cache.put(&query, &nothing(&query, 60), Instant::now());
        }
        assert!(lock(&cache.known).len() <= 100);
    }
}
