//! Turns to send. Threads seal packets side by side; each SA's packets leave in the order of their sequence numbers.
//!
//! A receiver drops what comes later than its replay window is wide, 32 packets by RFC 4303 section 3.4.3. So whoever takes
//! sequence numbers takes a place in line at the same moment, and sends when all before it have sent, as WireGuard does. All SAs
//! with one far end are in the same line, others may be in another: those never wait for each other.

use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many lines there are. More than threads, so that few far ends share one.
const LANES: usize = 64;

/// Which line; lines are waited for in ascending order, so that two threads never wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId(usize);

/// All lines.
pub struct Lanes([Lane; LANES]);

#[derive(Default)]
struct Lane {
    places: Mutex<Places>,
    moved: Condvar,
}

#[derive(Default)]
struct Places {
    /// The next place that is given out.
    next: u64,
    /// Whose turn it is.
    turn: u64,
    /// Threads that wait for their turn.
    waiting: usize,
}

/// A place in a line. When it is dropped, the next one's turn comes; not before its own has come.
pub struct Turn<'a> {
    lane: &'a Lane,
    place: u64,
}

impl Default for Lanes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Lane::default()))
    }
}

impl Lanes {
    /// The line of the SAs to `peer`.
    #[must_use]
    pub fn of(&self, peer: IpAddr) -> LaneId {
        let number = match peer.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() ^ (v6.to_bits() >> 64)) as u64,
        };
        // The golden ratio's multiples are far apart for neighbours (Knuth 6.4).
        LaneId((number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % LANES)
    }

    /// Takes a place in the line. Nobody else takes one while `number` runs, which is to take the sequence numbers.
    pub fn line_up(&self, lane: LaneId, number: impl FnOnce()) -> Turn<'_> {
        let lane = &self.0[lane.0];
        let mut places = lane.lock();
        number();
        let place = places.next;
        places.next += 1;
        Turn { lane, place }
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, place: u64) -> MutexGuard<'_, Places> {
        let mut places = self.lock();
        while places.turn != place {
            places.waiting += 1;
            places = self
                .moved
                .wait(places)
                .unwrap_or_else(PoisonError::into_inner);
            places.waiting -= 1;
        }
        places
    }
}

impl Turn<'_> {
    /// Waits for the turn and does `send`.
    pub fn take(self, send: impl FnOnce()) {
        drop(self.lane.wait(self.place));
        send();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut places = self.lane.wait(self.place);
        places.turn += 1;
        if places.waiting > 0 {
            self.lane.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Threads that take numbers by the batch from two SAs, dawdle, and send: every number comes once and in order, a thread that
    /// dies between the two holds nobody up, and nobody waits for somebody who waits for it.
    #[test]
    fn e1_numbers_leave_in_their_order() {
        let lanes = Lanes::default();
        let peers: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let ids = peers.map(|peer| lanes.of(peer));
        assert_ne!(ids[0], ids[1]);
        let counters = [AtomicU64::new(0), AtomicU64::new(0)];
        let wires = [Mutex::new(Vec::new()), Mutex::new(Vec::new())];
        std::thread::scope(|scope| {
            for thread in 0..6u64 {
                let (lanes, counters, wires, ids) = (&lanes, &counters, &wires, &ids);
                scope.spawn(move || {
                    let mut random = thread.wrapping_mul(0x9e37_79b9) + 1;
                    for _ in 0..300 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let mut order: Vec<usize> = (0..2)
                            .filter(|n| random >> n & 1 == 1 || random & 12 == 0)
                            .collect();
                        order.sort_by_key(|n| ids[*n]);
                        let mut batch = Vec::new();
                        for which in order {
                            let count = 1 + random % 64;
                            let mut first = 0;
                            let turn = lanes.line_up(ids[which], || {
                                first = counters[which].fetch_add(count, Ordering::Relaxed);
                            });
                            batch.push((which, turn, first..first + count));
                        }
                        for _ in 0..random % 4 {
                            std::thread::yield_now();
                        }
                        for (which, turn, numbers) in batch {
                            let send = || wires[which].lock().unwrap().extend(numbers);
                            turn.take(send);
                        }
                    }
                });
            }
        });
        for (wire, counter) in wires.into_iter().zip(counters) {
            let sent = wire.into_inner().unwrap();
            assert_eq!(sent.len() as u64, counter.into_inner());
            assert!(sent.iter().copied().eq(0..sent.len() as u64));
        }
    }

    #[test]
    fn e1_a_place_that_is_given_up_holds_nobody_up() {
        let lanes = Lanes::default();
        let lane = lanes.of("2001:db8::1".parse().unwrap());
        let first = lanes.line_up(lane, || ());
        let second = lanes.line_up(lane, || ());
        let sent = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| second.take(|| sent.store(1, Ordering::Relaxed)));
            let died = scope.spawn(|| first.take(|| panic!("on purpose"))).join();
            assert!(died.is_err());
        });
        assert_eq!(sent.into_inner(), 1);
    }
}
