// SPDX-License-Identifier: GPL-2.0

//! Growable arrays and boxes whose growth can fail and never sleeps.
//!
//! The tables change with softirqs off. What is small comes from kmalloc; what is large comes from
//! what the writer provided beforehand ([`super::provision`]), since large pieces cannot be had for
//! certain without sleeping.

use core::mem::{align_of, size_of};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use klips::NoMemory;

use super::{c, provision};

/// The longest piece that kmalloc gives under all but the worst conditions, in bytes.
const SMALL: usize = 16 * 1024;

/// A `Vec` of the kernel.
pub(crate) struct KernelVec<T> {
    at: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its elements and nothing else, as `Vec` does.
unsafe impl<T: Send> Send for KernelVec<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for KernelVec<T> {}

impl<T> KernelVec<T> {
    /// Memory for `capacity` elements; neither is zero.
    fn allocate(capacity: usize) -> Result<NonNull<T>, NoMemory> {
        let bytes = capacity.checked_mul(size_of::<T>()).ok_or(NoMemory)?;
        // kmalloc aligns to 8, but sizes that are powers of two to themselves; vmalloc to pages.
        let bytes = if align_of::<T>() > 8 {
            bytes.checked_next_power_of_two().ok_or(NoMemory)?
        } else {
            bytes
        };
        let at: *mut T = if bytes <= SMALL || !provision::is_open() {
            // SAFETY: any size may be asked for in any context.
            unsafe { c::klips_h_kmalloc_atomic(bytes) }.cast()
        } else {
            provision::take_memory(bytes).ok_or(NoMemory)?.cast()
        };
        debug_assert!(at as usize % align_of::<T>() == 0);
        NonNull::new(at).ok_or(NoMemory)
    }

    fn grow(&mut self, least: usize) -> Result<(), NoMemory> {
        if size_of::<T>() == 0 {
            self.capacity = usize::MAX;
            return Ok(());
        }
        let capacity = least.max(self.capacity.saturating_mul(2));
        let at = Self::allocate(capacity)?;
        // SAFETY: both are valid for `len` elements and apart; the old ones are moved and not
        // dropped.
        unsafe { core::ptr::copy_nonoverlapping(self.at.as_ptr(), at.as_ptr(), self.len) };
        self.free();
        (self.at, self.capacity) = (at, capacity);
        Ok(())
    }

    fn free(&mut self) {
        if size_of::<T>() != 0 && self.capacity != 0 {
            // SAFETY: it came from kmalloc or kvmalloc; where softirqs are off the kernel defers
            // vfree by itself.
            unsafe { c::klips_h_kvfree(self.at.as_ptr().cast()) };
        }
        self.capacity = 0;
    }
}

impl<T> Deref for KernelVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` elements are initialised, and borrowed with self.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for KernelVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and self is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl<T> klips::Vector<T> for KernelVec<T> {
    fn new() -> Self {
        Self {
            at: NonNull::dangling(),
            len: 0,
            capacity: 0,
        }
    }

    fn try_reserve(&mut self, additional: usize) -> Result<(), NoMemory> {
        let least = self.len.checked_add(additional).ok_or(NoMemory)?;
        if least <= self.capacity {
            return Ok(());
        }
        self.grow(least)
    }

    fn try_push(&mut self, value: T) -> Result<(), NoMemory> {
        self.try_reserve(1)?;
        // SAFETY: there is room for one more behind the `len` elements.
        unsafe { self.at.as_ptr().add(self.len).write(value) };
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: this element was initialised, and is outside the array from now on.
        Some(unsafe { self.at.as_ptr().add(self.len).read() })
    }

    fn clear(&mut self) {
        let all: *mut [T] = &mut **self;
        self.len = 0;
        // SAFETY: these were the elements; nothing can reach them any more.
        unsafe { core::ptr::drop_in_place(all) };
    }
}

impl<T> Drop for KernelVec<T> {
    fn drop(&mut self) {
        klips::Vector::clear(self);
        self.free();
    }
}
