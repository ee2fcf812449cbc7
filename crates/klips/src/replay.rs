//! The anti-replay window of an incoming SA (RFC 4303 section 3.4.3), as the ring of words of RFC 6479.
//!
//! Not here: sequence numbers on the way out, which are one counter in the SA.

const WORDS: usize = 8;
const BITS: u32 = 64;

/// The widest window, in packets: one word of the ring is always being reused.
pub const MAX_WINDOW: u32 = (WORDS as u32 - 1) * BITS;

/// A window of sequence numbers seen. A packet is [`Replay::check`]ed before its authenticator is, and
/// [`Replay::accept`]ed after.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    window: u32,
    highest: u32,
    ring: [u64; WORDS],
    /// The most that a packet was ahead of the one before it by.
    pub max_difference: u32,
}

impl Replay {
    /// A window of `window` packets, at most [`MAX_WINDOW`]. 0: no protection.
    pub fn new(window: u32) -> Self {
        Self {
            window: window.min(MAX_WINDOW),
            ..Self::default()
        }
    }

    /// The highest sequence number accepted.
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// The window's width, in packets.
    pub fn window(&self) -> u32 {
        self.window
    }

    /// Whether a packet of this number may be new.
    pub fn check(&self, sequence: u32) -> bool {
        if self.window == 0 {
            return true;
        }
        if sequence == 0 {
            return false;
        }
        if sequence > self.highest {
            return true;
        }
        self.highest - sequence < self.window && !self.seen(sequence)
    }

    /// Notes that an authentic packet of this number arrived; false when it is no new one after all (another thread was faster).
    pub fn accept(&mut self, sequence: u32) -> bool {
        if !self.check(sequence) {
            return false;
        }
        if sequence > self.highest {
            let (old, new) = (self.highest / BITS, sequence / BITS);
            for word in 1..=(new - old).min(WORDS as u32) {
                self.ring[(old.wrapping_add(word) as usize) % WORDS] = 0;
            }
            self.max_difference = self.max_difference.max(sequence - self.highest);
            self.highest = sequence;
        }
        self.ring[(sequence / BITS) as usize % WORDS] |= 1 << (sequence % BITS);
        true
    }

    fn seen(&self, sequence: u32) -> bool {
        self.ring[(sequence / BITS) as usize % WORDS] & (1 << (sequence % BITS)) != 0
    }

    /// The last 64 numbers as `/proc/net/ipsec_spi` shows them: bit 0 is the highest.
    pub fn recent(&self) -> u64 {
        let oldest = self.window.min(64).min(self.highest);
        (0..oldest)
            .filter(|n| self.seen(self.highest - n))
            .fold(0, |bits, n| bits | 1 << n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the plainest possible model: a list of all numbers accepted.
    fn compare(window: u32, numbers: impl Iterator<Item = u32>) {
        let mut replay = Replay::new(window);
        let mut seen = std::collections::BTreeSet::new();
        for n in numbers {
            let highest = seen.last().copied().unwrap_or(0);
            let new = n != 0 && !seen.contains(&n) && n.saturating_add(window) > highest;
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
        let mut x = 12345u32;
        let mut random = move |n: u32| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) % n
        };
        for window in [1, 32, 64, 128, 255, MAX_WINDOW] {
            let mut base = 1;
            let mut numbers = std::vec::Vec::new();
            for _ in 0..5000 {
                base += random(4);
                numbers.push((base + random(600)).saturating_sub(300));
                if random(500) == 0 {
                    base += random(2000);
                }
            }
            compare(window, numbers.into_iter());
        }
    }

    #[test]
    fn ends() {
        let mut replay = Replay::new(64);
        assert!(!replay.accept(0));
        assert!(replay.accept(u32::MAX));
        assert!(!replay.accept(u32::MAX));
        assert!(replay.accept(u32::MAX - 63));
        assert!(!replay.accept(u32::MAX - 64));
        assert_eq!(replay.recent(), 1 << 63 | 1);
        let mut none = Replay::new(0);
        assert!(none.accept(5) && none.accept(5));
    }
}
