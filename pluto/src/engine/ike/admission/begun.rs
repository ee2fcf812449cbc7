//! Exchanges that others have begun and in which they have not yet proved who they are: so many of one source, so many of all
//! strangers, and as many again of known peers. Beyond that the oldest of the source that has most of them ends.

use std::collections::{HashMap, VecDeque};

use super::queue::{Rank, Source};
use crate::engine::connection::StateId;
use crate::engine::room::take;

/// Of one source; a NAT may have many peers behind it, but each needs this only between MI2 and MI3.
const MAX_OF_SOURCE: usize = 16;
const MAX_OF_RANK: usize = 256;

/// The exchanges by source, oldest first.
#[derive(Debug, Default)]
pub(super) struct Begun {
    by_source: HashMap<(Rank, Source), VecDeque<StateId>>,
    keys: HashMap<StateId, (Rank, Source)>,
}

impl Begun {
    /// One more; which one has to end for it, if one has.
    pub(super) fn add(&mut self, id: StateId, rank: Rank, source: Source) -> Option<StateId> {
        let key = (rank, source);
        self.keys.insert(id, key);
        let queue = self.by_source.entry(key).or_default();
        queue.push_back(id);
        if queue.len() > MAX_OF_SOURCE {
            return queue.front().copied();
        }
        let of_rank = || self.by_source.iter().filter(|((r, _), _)| *r == rank);
        if of_rank().map(|(_, queue)| queue.len()).sum::<usize>() <= MAX_OF_RANK {
            return None;
        }
        // Of those with most, the one whose oldest is oldest.
        let most = of_rank().max_by_key(|(_, q)| (q.len(), core::cmp::Reverse(q.front())));
        most.and_then(|(_, queue)| queue.front().copied())
    }

    /// The exchange has ended, or its peer has proved who it is.
    pub(super) fn remove(&mut self, id: StateId) {
        let Some(key) = take(&mut self.keys, &id) else {
            return;
        };
        if let Some(queue) = self.by_source.get_mut(&key) {
            queue.retain(|other| *other != id);
            if queue.is_empty() {
                take(&mut self.by_source, &key);
            }
        }
    }

    /// Whose exchange this is.
    pub(super) fn rank(&self, id: StateId) -> Option<Rank> {
        self.keys.get(&id).map(|(rank, _)| *rank)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn add(begun: &mut Begun, n: u64, rank: Rank, addr: &str) -> Option<StateId> {
        let ended = begun.add(StateId(n), rank, addr.parse::<IpAddr>().unwrap().into());
        if let Some(ended) = ended {
            begun.remove(ended);
        }
        ended
    }

    #[test]
    fn d1_a_flood_ends_its_own_exchanges() {
        let mut begun = Begun::default();
        add(&mut begun, 1, Rank::Stranger, "192.0.2.9");
        add(&mut begun, 2, Rank::Known, "192.0.2.8");
        for n in 0..2000 {
            add(&mut begun, 1000 + n, Rank::Stranger, "10.0.0.1");
        }
        assert_eq!(begun.len(), MAX_OF_SOURCE + 2);
        for n in 0..5000 {
            let addr = format!("10.0.1.{}", n % 50);
            add(&mut begun, 10_000 + n, Rank::Stranger, &addr);
        }
        assert_eq!(begun.len(), MAX_OF_RANK + 1);
        assert_eq!(begun.rank(StateId(1)), Some(Rank::Stranger));
        assert_eq!(begun.rank(StateId(2)), Some(Rank::Known));
        for n in 0..20_000 {
            begun.remove(StateId(n));
        }
        assert!(begun.by_source.is_empty() && begun.len() == 0);
    }
}
