// SPDX-License-Identifier: GPL-2.0

//! RTNL, the mutex under which net devices come, go and change.

use core::marker::PhantomData;

use super::c;

/// Proof that this thread holds RTNL.
pub(crate) struct Rtnl(PhantomData<*mut ()>);

impl Rtnl {
    /// Runs `f` with it held. May sleep; waits for ever where it is held already.
    pub(crate) fn with<R>(f: impl FnOnce(&Self) -> R) -> R {
        // SAFETY: process context; unlocked below.
        unsafe { c::klips_h_rtnl_lock() };
        let answer = f(&Self(PhantomData));
        // SAFETY: locked above.
        unsafe { c::klips_h_rtnl_unlock() };
        answer
    }

    /// The proof, for a function that the kernel calls with RTNL held.
    ///
    /// # Safety
    /// RTNL is held by this thread until the answer is dropped.
    pub(super) unsafe fn held() -> Self {
        Self(PhantomData)
    }
}
