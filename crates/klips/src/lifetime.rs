//! Lifetimes of an SA (RFC 2367 section 2.3.2): what is used up, and the soft and hard limits.
//!
//! Not here: the EXPIRE messages and the deletion that follow (`sadb`, `tick`).

use core::sync::atomic::{AtomicU64, Ordering};

/// One set of limits; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Allocations. KLIPS counts an SA as one.
    pub allocations: u32,
    /// Bytes processed.
    pub bytes: u64,
    /// Seconds since the SA was added.
    pub addtime: u64,
    /// Seconds since the SA was first used.
    pub usetime: u64,
    /// Packets processed.
    pub packets: u32,
}

/// Where an SA stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Within all limits.
    Fresh,
    /// A soft limit is passed: time to negotiate a new one.
    Soft,
    /// A hard limit is passed: not to be used any more.
    Hard,
}

/// The lifetimes of one SA. What is used up is counted by many threads at once.
#[derive(Debug, Default)]
pub struct Lifetime {
    /// Soft limits.
    pub soft: Limits,
    /// Hard limits.
    pub hard: Limits,
    /// When the SA was added, in seconds of [`crate::Context::now`], as all times here are.
    pub added: u64,
    bytes: AtomicU64,
    packets: AtomicU64,
    /// When it was first and last used; 0 before.
    first_use: AtomicU64,
    last_use: AtomicU64,
}

impl Lifetime {
    /// Nothing used, from `now` on.
    pub fn new(soft: Limits, hard: Limits, now: u64) -> Self {
        Self {
            soft,
            hard,
            added: now,
            ..Self::default()
        }
    }

    /// Bytes processed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Packets processed.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// When the SA was first used; 0: not yet.
    pub fn first_use(&self) -> u64 {
        self.first_use.load(Ordering::Relaxed)
    }

    /// When the SA was last used; 0: not yet.
    pub fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Goes on with what `old` has used up and when; the limits stay.
    pub(crate) fn continue_from(&mut self, old: &Self) {
        self.added = old.added;
        *self.bytes.get_mut() = old.bytes();
        *self.packets.get_mut() = old.packets();
        *self.first_use.get_mut() = old.first_use();
        *self.last_use.get_mut() = old.last_use();
    }

    /// Counts a packet of `bytes` bytes.
    pub fn count(&self, bytes: usize, now: u64) {
        // The machine may be in its first second, and 0 says that there was no use yet.
        let now = now.max(1);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.packets.fetch_add(1, Ordering::Relaxed);
        // Who loses this race has the same time, or one second's difference. An exchange locks memory, so it is tried once.
        if self.first_use() == 0 {
            let _ = self
                .first_use
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.last_use.store(now, Ordering::Relaxed);
    }

    /// Where the SA stands now. As in KLIPS a limit is passed when more than it is used.
    pub fn standing(&self, now: u64) -> Standing {
        if self.beyond(&self.hard, now) {
            Standing::Hard
        } else if self.beyond(&self.soft, now) {
            Standing::Soft
        } else {
            Standing::Fresh
        }
    }

    fn beyond(&self, limits: &Limits, now: u64) -> bool {
        let over = |used: u64, limit: u64| limit != 0 && used > limit;
        let first_use = self.first_use();
        let in_use = if first_use == 0 {
            0
        } else {
            now.saturating_sub(first_use)
        };
        over(self.bytes(), limits.bytes)
            || over(self.packets(), limits.packets.into())
            || over(now.saturating_sub(self.added), limits.addtime)
            || over(in_use, limits.usetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit() {
        let limit = |soft: Limits, hard: Limits| Lifetime::new(soft, hard, 1000);
        let l = limit(
            Limits {
                bytes: 100,
                ..Limits::default()
            },
            Limits {
                bytes: 200,
                ..Limits::default()
            },
        );
        l.count(100, 1000);
        assert_eq!(l.standing(1_000_000), Standing::Fresh);
        l.count(1, 1000);
        assert_eq!(l.standing(1000), Standing::Soft);
        l.count(100, 1000);
        assert_eq!(l.standing(1000), Standing::Hard);

        let l = limit(
            Limits {
                packets: 1,
                ..Limits::default()
            },
            Limits {
                packets: 2,
                ..Limits::default()
            },
        );
        l.count(0, 1000);
        assert_eq!(l.standing(1000), Standing::Fresh);
        l.count(0, 1000);
        assert_eq!(l.standing(1000), Standing::Soft);
        l.count(0, 1000);
        assert_eq!(l.standing(1000), Standing::Hard);

        let l = limit(
            Limits {
                addtime: 10,
                ..Limits::default()
            },
            Limits {
                addtime: 20,
                ..Limits::default()
            },
        );
        assert_eq!(l.standing(1010), Standing::Fresh);
        assert_eq!(l.standing(1011), Standing::Soft);
        assert_eq!(l.standing(1021), Standing::Hard);

        let l = limit(
            Limits {
                usetime: 10,
                ..Limits::default()
            },
            Limits {
                usetime: 20,
                ..Limits::default()
            },
        );
        assert_eq!(l.standing(5000), Standing::Fresh);
        l.count(1, 5000);
        l.count(1, 5009);
        assert_eq!((l.first_use(), l.last_use()), (5000, 5009));
        assert_eq!(l.standing(5011), Standing::Soft);
        assert_eq!(l.standing(5021), Standing::Hard);
    }
}
