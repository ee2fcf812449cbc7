//! How much is said in the log about packets that anybody may send: so many lines a second, then a count of the rest.

use std::time::Duration;

use super::Time;

/// Lines a second about packets that belong to no state.
const LINES_PER_SECOND: u32 = 20;

/// What is left of this second's lines.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    since: Option<Time>,
    lines: u32,
    left_out: u64,
}

impl Strangers {
    /// A packet came in. If a new second has begun, answers how many lines were left out before it.
    pub(crate) fn packet(&mut self, now: Time) -> u64 {
        let same = self
            .since
            .is_some_and(|since| now - since < Duration::from_secs(1));
        if same {
            return 0;
        }
        self.since = Some(now);
        self.lines = 0;
        core::mem::take(&mut self.left_out)
    }

    /// Whether one more line may be written.
    pub(crate) fn may_be_told(&mut self) -> bool {
        if self.lines < LINES_PER_SECOND {
            self.lines += 1;
            return true;
        }
        self.left_out += 1;
        false
    }
}
