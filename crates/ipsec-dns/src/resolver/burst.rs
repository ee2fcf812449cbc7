//! When the validator begins anew: after many look-ups it knows more of strange zones than of those that are asked for again.

use super::lock;
use std::sync::Mutex;

/// So many look-ups are a burst.
const BURST: usize = 256;

#[derive(Default)]
pub(super) struct Burst {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Look-ups since the validator began.
    asked: usize,
    /// It began because of a burst, of which the rest may have come since: that is less than one, and would stay.
    after_burst: bool,
}

impl Burst {
    /// One more look-up.
    pub(super) fn count(&self) {
        let mut seen = lock(&self.seen);
        seen.asked = seen.asked.saturating_add(1);
    }

    /// Whether the validator is to begin anew; to be asked now and then, when no look-up runs. It counts as done.
    pub(super) fn is_over(&self) -> bool {
        let mut seen = lock(&self.seen);
        let burst = seen.asked >= BURST;
        let anew = burst || (seen.after_burst && seen.asked > 0);
        seen.after_burst = burst;
        if anew {
            seen.asked = 0;
        }
        anew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(burst: &Burst, times: usize) {
        (0..times).for_each(|_| burst.count());
    }

    #[test]
    fn few_look_ups_change_nothing_until_they_are_many() {
        let burst = Burst::default();
        for _ in 0..4 {
            assert!(!burst.is_over());
            ask(&burst, BURST / 4);
        }
        assert!(burst.is_over());
        assert!(!burst.is_over());
    }

    #[test]
    fn the_rest_of_a_burst_goes_too() {
        let burst = Burst::default();
        ask(&burst, 10_000);
        assert!(burst.is_over());
        ask(&burst, 100);
        assert!(burst.is_over());
        ask(&burst, 100);
        assert!(!burst.is_over());
    }
}
