//! The anti-replay window of an incoming SA (RFC 4303 section 3.4.3), as the ring of words of RFC 6479.
//!
//! Not here: sequence numbers on the way out, which are one counter in the SA.

const WORDS: usize = 8;
const BITS: u64 = 64;

/// The widest window, in packets: one word of the ring is always being reused.
pub const MAX_WINDOW: u32 = (WORDS as u32 - 1) * BITS as u32;

/// A window of sequence numbers seen, of 32 bits or, under ESN, of 64. A packet is [`Replay::check`]ed before its authenticator is,
/// and [`Replay::accept`]ed after.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    window: u32,
    highest: u64,
    ring: [u64; WORDS],
    /// The most that a packet was ahead of the one before it by.
    pub max_difference: u64,
}

impl Replay {
    /// A window of `window` packets, at most [`MAX_WINDOW`]. 0: no protection.
    pub fn new(window: u32) -> Self {
        Self {
            window: window.min(MAX_WINDOW),
            ..Self::default()
        }
    }

    /// The same of another width.
    pub(crate) fn with_window(self, window: u32) -> Self {
        Self {
            window: window.min(MAX_WINDOW),
            ..self
        }
    }

    /// Takes all numbers up to `sequence` as seen.
    pub(crate) fn resume(&mut self, sequence: u64) {
        self.highest = sequence;
        self.ring = [u64::MAX; WORDS];
        // The word at work is empty above the highest number.
        self.ring[(sequence / BITS) as usize % WORDS] = u64::MAX >> (BITS - 1 - sequence % BITS);
    }

    /// The highest sequence number accepted.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The window's width, in packets.
    pub fn window(&self) -> u32 {
        self.window
    }

    /// The sequence number of 64 bits whose lower half came in a packet: the one within the window or less than 2^32 above it
    /// (RFC 4303 appendix A2.1). `None` when there is none, before the first and after the last.
    pub fn extend(&self, low: u32) -> Option<u64> {
        let (high, top) = (self.highest >> 32, self.highest as u32);
        let bottom = top.wrapping_sub(self.window.saturating_sub(1));
        let high = match (bottom <= top, low >= bottom) {
            (true, true) | (false, false) => high,
            (true, false) => high + 1,
            (false, true) => high.checked_sub(1)?,
        };
        (high <= u32::MAX.into()).then_some(high << 32 | u64::from(low))
    }

    /// Whether a packet of this number may be new.
    pub fn check(&self, sequence: u64) -> bool {
        if self.window == 0 {
            return true;
        }
        if sequence == 0 {
            return false;
        }
        if sequence > self.highest {
            return true;
        }
        self.highest - sequence < self.window.into() && !self.seen(sequence)
    }

    /// Notes that an authentic packet of this number arrived; false when it is no new one after all (another thread was faster).
    pub fn accept(&mut self, sequence: u64) -> bool {
        if !self.check(sequence) {
            return false;
        }
        if sequence > self.highest {
            let (old, new) = (self.highest / BITS, sequence / BITS);
            for word in 1..=(new - old).min(WORDS as u64) {
                self.ring[(old.wrapping_add(word) as usize) % WORDS] = 0;
            }
            self.max_difference = self.max_difference.max(sequence - self.highest);
            self.highest = sequence;
        }
        self.ring[(sequence / BITS) as usize % WORDS] |= 1 << (sequence % BITS);
        true
    }

    fn seen(&self, sequence: u64) -> bool {
        self.ring[(sequence / BITS) as usize % WORDS] & (1 << (sequence % BITS)) != 0
    }

    /// The last 64 numbers as `/proc/net/ipsec_spi` shows them: bit 0 is the highest.
    pub fn recent(&self) -> u64 {
        let oldest = u64::from(self.window.min(64)).min(self.highest);
        (0..oldest)
            .filter(|n| self.seen(self.highest - n))
            .fold(0, |bits, n| bits | 1 << n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the plainest possible model: a list of all numbers accepted.
    fn compare(window: u32, from: u64, numbers: impl Iterator<Item = u64>) {
        let mut replay = Replay::new(window);
        replay.resume(from);
        let mut seen = std::collections::BTreeSet::new();
        for n in numbers {
            let highest = seen.last().copied().unwrap_or(from);
            let new = n > from && !seen.contains(&n) && n + u64::from(window) > highest;
            assert_eq!(
                replay.check(n),
                new,
                "window {window}, number {n}, highest {highest}"
            );
            assert_eq!(replay.accept(n), new);
            if new {
                seen.insert(n);
            }
        }
    }

    #[test]
    fn agrees_with_a_list() {
        let mut random = generator();
        for from in [0, 1000, u64::from(u32::MAX) - 2000] {
            for window in [1, 32, 64, 128, 255, MAX_WINDOW] {
                let mut base = from + 1;
                let mut numbers = std::vec::Vec::new();
                for _ in 0..5000 {
                    base += random(4);
                    numbers.push((base + random(600)).saturating_sub(300));
                    if random(500) == 0 {
                        base += random(2000);
                    }
                }
                compare(window, from, numbers.into_iter());
            }
        }
    }

    fn generator() -> impl FnMut(u64) -> u64 {
        let mut x = 12345u32;
        move |n| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u64::from(x >> 8) % n
        }
    }

    /// What is within reach of the window is found again from its lower half.
    #[test]
    fn the_unsent_half_is_found_again() {
        const TURN: u64 = 1 << 32;
        let mut random = generator();
        for window in [1, 64, 255, MAX_WINDOW] {
            let reach = u64::from(window);
            for turn in [1, 2, 77, TURN - 1] {
                for from_turn in [0, 1, reach - 1, reach, reach + 1, TURN / 2, TURN - 1] {
                    let mut replay = Replay::new(window);
                    let highest = turn * TURN + from_turn;
                    replay.resume(highest);
                    let lowest = highest - reach + 1;
                    let above = [random(1 << 24), TURN / 2, TURN - 2, TURN - 1]
                        .map(|n| lowest.checked_add(n));
                    let numbers = [lowest, highest - random(reach), highest].map(Some);
                    for number in numbers.into_iter().chain(above).flatten() {
                        assert_eq!(
                            replay.extend(number as u32),
                            Some(number),
                            "window {window}, highest {highest:#x}"
                        );
                    }
                }
            }
        }
        let mut replay = Replay::new(64);
        assert_eq!(replay.extend(1), Some(1));
        assert_eq!(replay.extend(u32::MAX), None, "before the first");
        replay.resume(u64::MAX - 5);
        assert_eq!(replay.extend(u32::MAX), Some(u64::MAX));
        assert_eq!(replay.extend(9), None, "after the last");
    }

    #[test]
    fn a_window_slides_over_the_turn() {
        let mut replay = Replay::new(64);
        replay.resume(u64::from(u32::MAX) - 1);
        let mut accept = |low: u32| replay.extend(low).is_some_and(|n| replay.accept(n));
        assert!(
            !accept(u32::MAX - 1) && !accept(u32::MAX - 20),
            "taken over as seen"
        );
        assert!(accept(3) && accept(u32::MAX) && accept(0));
        assert!(!accept(3) && !accept(u32::MAX) && !accept(0));
        assert!(accept(64) && accept(1));
    }

    #[test]
    fn ends() {
        let mut replay = Replay::new(64);
        assert!(!replay.accept(0));
        let last = u64::from(u32::MAX);
        assert!(replay.accept(last));
        assert!(!replay.accept(last));
        assert!(replay.accept(last - 63));
        assert!(!replay.accept(last - 64));
        assert_eq!(replay.recent(), 1 << 63 | 1);
        let mut none = Replay::new(0);
        assert!(none.accept(5) && none.accept(5));
    }
}
