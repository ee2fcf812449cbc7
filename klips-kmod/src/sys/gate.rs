// SPDX-License-Identifier: GPL-2.0

//! The tables' lock: readers on their own CPU, one writer that keeps them all out. See [`super`].

use core::cell::{RefCell, UnsafeCell};
use core::marker::PhantomData;
use core::ptr::NonNull;

use klips::NoMemory;

use super::c;
use super::provision::{self, Stash};

/// Proof that this CPU is inside a gate: softirqs and preemption are off, so what belongs to the
/// CPU is the holder's alone until the proof ends. There is none to be had but by entering, and it
/// leaves neither the call that it was lent to nor the CPU.
pub(crate) struct Inside(PhantomData<*mut ()>);

impl Inside {
    /// Runs `f` as it would run inside a gate, without one: for what is not shared yet.
    fn alone<R>(f: impl FnOnce(&Self) -> R) -> R {
        // SAFETY: no condition; undone below on the same CPU.
        unsafe { c::klips_h_pin() };
        let answer = f(&Self(PhantomData));
        // SAFETY: done above.
        unsafe { c::klips_h_unpin() };
        answer
    }
}

/// A value behind a gate.
pub(crate) struct Gate<T> {
    gate: NonNull<c::klips_gate>,
    value: UnsafeCell<T>,
}

// SAFETY: readers share the value, and the one writer has it alone.
unsafe impl<T: Send + Sync> Sync for Gate<T> {}
// SAFETY: the gate's memory belongs to it alone, as the value does.
unsafe impl<T: Send> Send for Gate<T> {}

impl<T> Gate<T> {
    /// A gate around what `make` makes, which must not sleep. May sleep itself.
    pub(crate) fn new(make: impl FnOnce(&Inside) -> Result<T, NoMemory>) -> Result<Self, NoMemory> {
        let value = Inside::alone(make)?;
        // SAFETY: called where sleeping is allowed.
        let gate = unsafe { c::klips_h_gate_new() };
        Ok(Self {
            gate: NonNull::new(gate).ok_or(NoMemory)?,
            value: UnsafeCell::new(value),
        })
    }

    /// Reads. `f` runs with softirqs off and must not sleep, nor come back to this gate.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&T, &Inside) -> R) -> R {
        // SAFETY: the gate lives as long as self; leave follows on the same CPU, since preemption
        // is off between.
        unsafe { c::klips_h_gate_enter(self.gate.as_ptr()) };
        // SAFETY: this CPU's lock is held, so no writer is inside.
        let answer = f(unsafe { &*self.value.get() }, &Inside(PhantomData));
        // SAFETY: entered above.
        unsafe { c::klips_h_gate_leave(self.gate.as_ptr()) };
        answer
    }

    /// Begins writing: no other writer until the answer is dropped. May sleep.
    pub(crate) fn writer(&self) -> Writer<'_, T> {
        // SAFETY: the gate lives as long as self; process context is this function's condition.
        unsafe { c::klips_h_gate_lock_writers(self.gate.as_ptr()) };
        Writer(self)
    }
}

impl<T> Drop for Gate<T> {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference to the gate any more.
        unsafe { c::klips_h_gate_free(self.gate.as_ptr()) }
    }
}

/// The one writer of a gate.
pub(crate) struct Writer<'a, T>(&'a Gate<T>);

impl<T> Writer<'_, T> {
    /// Closes the gate and writes, with what `stash` has in reach. `f` must not sleep.
    pub(crate) fn write<R>(
        &mut self,
        stash: &RefCell<Stash>,
        f: impl FnOnce(&mut T, &Inside) -> R,
    ) -> R {
        // SAFETY: the writers' mutex is held, as a Writer is proof of.
        unsafe { c::klips_h_gate_close(self.0.gate.as_ptr()) };
        // All CPUs' locks are held, so no reader is inside, and self is the only writer.
        let inside = Inside(PhantomData);
        // SAFETY: as above.
        let answer = provision::with(stash, || f(unsafe { &mut *self.0.value.get() }, &inside));
        // SAFETY: closed above.
        unsafe { c::klips_h_gate_open(self.0.gate.as_ptr()) };
        answer
    }
}

impl<T> Drop for Writer<'_, T> {
    fn drop(&mut self) {
        // SAFETY: locked when self was made.
        unsafe { c::klips_h_gate_unlock_writers(self.0.gate.as_ptr()) }
    }
}
