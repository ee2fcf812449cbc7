// SPDX-License-Identifier: GPL-2.0

//! One big buffer a CPU, for what cannot be done in the packet's own.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::c;
use super::gate::Inside;

/// How long each buffer is.
const SIZE: usize = crate::receive::SCRATCH;

/// Makes them. May sleep.
pub(super) fn init() -> Result<(), i32> {
    // SAFETY: called once, at load, where sleeping is allowed.
    match unsafe { c::klips_h_scratch_init(SIZE as _) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Gives them back, once nothing of the module runs.
pub(super) fn exit() {
    // SAFETY: called last of all, when nobody can have taken one.
    unsafe { c::klips_h_scratch_exit() }
}

/// This CPU's buffer, taken: nobody else on the CPU finds it until it is dropped. It is tied to the
/// proof that the CPU stays the same.
pub(crate) struct Scratch<'a> {
    at: NonNull<u8>,
    inside: PhantomData<&'a Inside>,
}

impl<'a> Scratch<'a> {
    /// Takes it; `None` where it is taken already.
    pub(crate) fn take(_: &'a Inside) -> Option<Self> {
        // SAFETY: inside the gate the CPU stays the same and nothing interrupts that comes here.
        let at = unsafe { c::klips_h_swap_scratch(core::ptr::null_mut()) };
        Some(Self {
            at: NonNull::new(at.cast())?,
            inside: PhantomData,
        })
    }
}

impl Deref for Scratch<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: SIZE bytes from load to unload, zeroed when made, and self's alone.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), SIZE) }
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), SIZE) }
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // SAFETY: still the CPU it was taken on; its place is empty since.
        unsafe { c::klips_h_swap_scratch(self.at.as_ptr().cast()) };
    }
}
