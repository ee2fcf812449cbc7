// SPDX-License-Identifier: GPL-2.0

//! Netfilter's hooks in a namespace, registered once and taken back once.
//!
//! Not here: who is called by them (`icmp`, `clear`).

use core::sync::atomic::{AtomicBool, Ordering};

use super::c;
use crate::host::Host;

/// Hooks of one kind in one namespace.
pub(crate) struct Hooks {
    there: AtomicBool,
    register: unsafe fn(*mut c::net) -> i32,
    take_back: unsafe extern "C" fn(*mut c::net),
}

impl Hooks {
    /// Not registered yet.
    ///
    /// # Safety
    /// `register` may be called with any namespace that is alive, and what it has registered may
    /// call for as long as the module is there; `take_back` may be called where `register` has
    /// answered 0, once for each time, and nobody calls afterwards.
    pub(super) const unsafe fn new(
        register: unsafe fn(*mut c::net) -> i32,
        take_back: unsafe extern "C" fn(*mut c::net),
    ) -> Self {
        Self { there: AtomicBool::new(false), register, take_back }
    }

    /// Registers them in the host's namespace, until [`Self::stop`]. May sleep.
    pub(crate) fn start(&self, host: &Host) -> Result<(), i32> {
        // SAFETY: the namespace is alive; by the condition on `new`.
        match unsafe { (self.register)(host.net.as_ptr()) } {
            0 => {
                self.there.store(true, Ordering::Release);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Takes them back; nobody is called afterwards. May sleep.
    pub(crate) fn stop(&self, host: &Host) {
        if self.there.swap(false, Ordering::AcqRel) {
            // SAFETY: the namespace is alive, and the hooks are registered there, for they are
            // taken back once; by the condition on `new`.
            unsafe { (self.take_back)(host.net.as_ptr()) }
        }
    }
}
