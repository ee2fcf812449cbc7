// SPDX-License-Identifier: GPL-2.0

//! One big buffer a CPU, for what cannot be done in the packet's own.

use super::c;

/// How long each buffer is.
const SIZE: usize = crate::receive::SCRATCH;

/// Makes them. May sleep.
pub(crate) fn init() -> Result<(), i32> {
    // SAFETY: called once, at load, where sleeping is allowed.
    match unsafe { c::klips_h_scratch_init(SIZE as _) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Gives them back, once nothing of the module runs.
pub(crate) fn exit() {
    // SAFETY: called last of all, when no packet can be in `with`.
    unsafe { c::klips_h_scratch_exit() }
}

/// Runs `f` with this CPU's buffer. Inside the gate only, and not within itself.
pub(crate) fn with<R>(f: impl FnOnce(&mut [u8]) -> Option<R>) -> Option<R> {
    // SAFETY: inside the gate softirqs and preemption are off, so nothing else on this CPU comes
    // here until `f` is done; the buffer is SIZE bytes from load to unload.
    unsafe {
        let at = c::klips_h_scratch().cast::<u8>();
        if at.is_null() {
            return None;
        }
        f(core::slice::from_raw_parts_mut(at, SIZE))
    }
}
