//! Who may ask now: a bound for all lookups, and smaller ones for lookups of one zone, so that a slow zone stalls no other.

use super::{Limits, lock};
use crate::{LookupError, Name};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct Shares {
    all: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    of_a_zone: usize,
    zones: Mutex<HashMap<Name, Weak<Semaphore>>>,
}

/// A place that is held; dropped when the lookup is over.
pub(super) struct Place {
    _all: OwnedSemaphorePermit,
    _near: OwnedSemaphorePermit,
    _far: OwnedSemaphorePermit,
}

impl Shares {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.at_once)),
            waiting: Arc::new(Semaphore::new(limits.waiting)),
            of_a_zone: limits.of_a_zone,
            zones: Mutex::default(),
        }
    }

    /// Waits for a place, first come first served within a zone, for at most `limit`.
    pub(super) async fn enter(&self, name: &Name, limit: Duration) -> Result<Place, LookupError> {
        let busy = || LookupError::Busy { name: name.clone() };
        let ticket = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        // Neighbours in a zone have all but the first label in common; whole networks all but two.
        let near = name.parent().unwrap_or_else(|| name.clone());
        let far = near.parent().unwrap_or_else(|| near.clone());
        let near = self.zone(near, self.of_a_zone);
        let far = self.zone(far, self.of_a_zone.saturating_mul(2));
        let entered = async {
            // The narrow ones first: who waits for them holds nothing that others want.
            Some(Place {
                _near: near.acquire_owned().await.ok()?,
                _far: far.acquire_owned().await.ok()?,
                _all: Arc::clone(&self.all).acquire_owned().await.ok()?,
            })
        };
        let place = tokio::time::timeout(limit, entered).await.ok().flatten();
        drop(ticket);
        place.ok_or_else(busy)
    }

    /// Forgets zones of which nothing is looked up.
    pub(super) fn tidy(&self) {
        let mut zones = lock(&self.zones);
        zones.retain(|_, zone| zone.strong_count() > 0);
        let kept = zones.len();
        zones.shrink_to(2 * kept);
    }

    fn zone(&self, name: Name, size: usize) -> Arc<Semaphore> {
        let mut zones = lock(&self.zones);
        if let Some(zone) = zones.get(&name).and_then(Weak::upgrade) {
            return zone;
        }
        if zones.len() >= 1024 && zones.len().is_power_of_two() {
            zones.retain(|_, zone| zone.strong_count() > 0);
        }
        let zone = Arc::new(Semaphore::new(size));
        zones.insert(name, Arc::downgrade(&zone));
        zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(address: &str) -> Name {
        Name::reverse(address.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_zone_leaves_room_for_others() {
        let shares = Shares::new(&Limits {
            at_once: 10,
            of_a_zone: 2,
            waiting: 3,
            ..Limits::default()
        });
        let limit = Duration::from_secs(1);
        let one = shares.enter(&name("192.0.2.1"), limit).await.ok().unwrap();
        let _two = shares.enter(&name("192.0.2.2"), limit).await.ok().unwrap();
        assert!(shares.enter(&name("192.0.2.3"), limit).await.is_err());
        assert!(shares.enter(&name("198.51.100.1"), limit).await.is_ok());
        drop(one);
        assert!(shares.enter(&name("192.0.2.3"), limit).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded() {
        let shares = Arc::new(Shares::new(&Limits {
            of_a_zone: 1,
            waiting: 2,
            ..Limits::default()
        }));
        let limit = Duration::from_secs(5);
        let held = shares.enter(&name("192.0.2.1"), limit).await.ok().unwrap();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let shares = Arc::clone(&shares);
                tokio::spawn(async move { shares.enter(&name("192.0.2.2"), limit).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        let refused = shares.enter(&name("198.51.100.1"), limit).await;
        assert!(matches!(refused, Err(LookupError::Busy { .. })));
        drop(held);
        for waiter in waiters {
            assert!(waiter.await.unwrap());
        }
    }
}
