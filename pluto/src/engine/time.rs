//! The engine's own monotonic time. The driver reads the clock; the engine only
//! compares and adds, so that a simulation can run a day in a millisecond.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment, as the time since the driver's own zero (usually daemon start).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The driver's zero.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The moment `since_zero` after the driver's zero.
    pub const fn from_zero(since_zero: Duration) -> Self {
        Self(since_zero)
    }

    /// Time since the driver's zero.
    pub const fn since_zero(self) -> Duration {
        self.0
    }

    /// How long until `later`; zero if `later` has passed.
    pub fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Time since `earlier`; zero if `earlier` is in fact later.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.0.as_secs_f64())
    }
}
