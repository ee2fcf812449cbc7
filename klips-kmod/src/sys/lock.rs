// SPDX-License-Identifier: GPL-2.0

//! The lock of per-SA and per-eroute state.
//!
//! A word of its own and not the kernel's spinlock, because an SA moves when its table grows, and
//! no lock of the kernel may. It is taken inside the gate only, where softirqs and preemption are
//! off, is held for some dozen instructions, and nothing else is taken under it; so it can neither
//! be waited for by what it interrupted nor be part of a cycle.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use klips::NoMemory;

/// A spin lock around `T`.
pub(crate) struct SpinLock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

impl<T> SpinLock<T> {
    /// A lock around `value`.
    pub(crate) const fn around(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }
}

// SAFETY: one holder at a time reaches the value.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> klips::Lock<T> for SpinLock<T> {
    fn new(value: T) -> Result<Self, NoMemory> {
        Ok(Self::around(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        while self
            .held
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            core::hint::spin_loop();
        }
        // SAFETY: `held` went from false to true here, so nobody else is in this function with this
        // lock.
        let answer = f(unsafe { &mut *self.value.get() });
        self.held.store(false, Ordering::Release);
        answer
    }
}
