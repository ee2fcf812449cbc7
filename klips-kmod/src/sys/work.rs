// SPDX-License-Identifier: GPL-2.0

//! Work that is done later, in process context.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::c;
use crate::host::Host;

/// Work of a host. The kernel's part is first, so that a pointer to it is one to the whole.
#[repr(C)]
pub(crate) struct Work {
    work: UnsafeCell<c::work_struct>,
    host: AtomicPtr<Host>,
    task: fn(&Host),
}

/// The same after a delay.
#[repr(C)]
pub(crate) struct Delayed {
    work: UnsafeCell<c::delayed_work>,
    host: AtomicPtr<Host>,
    task: fn(&Host),
}

// SAFETY: the kernel's part is changed by the kernel's functions alone, which are made for it.
unsafe impl Sync for Work {}
// SAFETY: as above; before `init` there is nothing to share.
unsafe impl Send for Work {}
// SAFETY: as for Work.
unsafe impl Sync for Delayed {}
// SAFETY: as for Work.
unsafe impl Send for Delayed {}

/// # Safety
/// By the workqueue, for the work of a [`Work`] that `init` has filled in.
unsafe extern "C" fn run(work: *mut c::work_struct) {
    // SAFETY: only `Work::init` names this function, with a work_struct that is the first field of
    // a Work that stays where it is and is cancelled before it goes.
    let work = unsafe { &*work.cast::<Work>() };
    // SAFETY: set by `init` to the host that holds the work, and cancels it before it goes.
    if let Some(host) = unsafe { work.host.load(Ordering::Acquire).as_ref() } {
        (work.task)(host);
    }
}

/// # Safety
/// By the workqueue, for the work of a [`Delayed`] that `init` has filled in.
unsafe extern "C" fn run_delayed(work: *mut c::work_struct) {
    // SAFETY: as in `run`; a delayed_work begins with its work_struct.
    let work = unsafe { &*work.cast::<Delayed>() };
    // SAFETY: as in `run`.
    if let Some(host) = unsafe { work.host.load(Ordering::Acquire).as_ref() } {
        (work.task)(host);
    }
}

impl Work {
    /// Work that calls `task`.
    pub(crate) fn new(task: fn(&Host)) -> Self {
        Self {
            work: UnsafeCell::new(c::work_struct::default()),
            host: AtomicPtr::default(),
            task,
        }
    }

    /// Makes it ready, once its host is where it will stay.
    pub(crate) fn init(&self, host: &'static Host) {
        if !self.host.load(Ordering::Acquire).is_null() {
            return;
        }
        // SAFETY: it is in `host`, which stays; nobody uses it before it has its host.
        unsafe { c::klips_h_init_work(self.work.get(), Some(run)) };
        self.host
            .store(core::ptr::from_ref(host).cast_mut(), Ordering::Release);
    }

    /// Has it run. Any context.
    pub(crate) fn soon(&self) {
        if !self.host.load(Ordering::Acquire).is_null() {
            // SAFETY: `init` was called.
            unsafe { c::klips_h_schedule_work(self.work.get()) };
        }
    }

    /// Waits until it has run, if it was to.
    pub(crate) fn cancel(&self) {
        if !self.host.load(Ordering::Acquire).is_null() {
            // SAFETY: `init` was called; the caller may sleep.
            unsafe { c::cancel_work_sync(self.work.get()) };
        }
    }
}

impl Delayed {
    /// Work that calls `task`.
    pub(crate) fn new(task: fn(&Host)) -> Self {
        Self {
            work: UnsafeCell::new(c::delayed_work::default()),
            host: AtomicPtr::default(),
            task,
        }
    }

    /// Makes it ready, once its host is where it will stay.
    pub(crate) fn init(&self, host: &'static Host) {
        if !self.host.load(Ordering::Acquire).is_null() {
            return;
        }
        // SAFETY: it is in `host`, which stays; nobody uses it before it has its host.
        unsafe { c::klips_h_init_delayed_work(self.work.get(), Some(run_delayed)) };
        self.host
            .store(core::ptr::from_ref(host).cast_mut(), Ordering::Release);
    }

    /// Has it run after `ms` milliseconds.
    pub(crate) fn after(&self, ms: u32) {
        if !self.host.load(Ordering::Acquire).is_null() {
            // SAFETY: `init` was called.
            unsafe { c::klips_h_schedule_delayed_work(self.work.get(), ms) };
        }
    }

    /// Waits until it has run, and keeps it from running again.
    pub(crate) fn cancel(&self) {
        if !self.host.load(Ordering::Acquire).is_null() {
            // SAFETY: `init` was called; the caller may sleep. Work that schedules itself is
            // stopped too.
            unsafe { c::cancel_delayed_work_sync(self.work.get()) };
        }
    }
}
