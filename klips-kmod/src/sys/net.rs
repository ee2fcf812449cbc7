// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: each has its host, from its beginning to its end.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::prelude::*;
use klips::Vector as _;

use super::alloc::KernelVec;
use super::c;
use crate::host::Host;

/// A namespace. Held by its host, so it is alive wherever a host is.
pub(crate) struct Net(*mut c::net);

// SAFETY: a struct net is shared by all CPUs.
unsafe impl Send for Net {}
// SAFETY: as above.
unsafe impl Sync for Net {}

impl Net {
    /// For the wrappers of this room.
    pub(super) fn as_ptr(&self) -> *mut c::net {
        self.0
    }
}

struct Number(UnsafeCell<core::ffi::c_uint>);
// SAFETY: the kernel writes it at registration, before anybody reads it.
unsafe impl Sync for Number {}
static NUMBER: Number = Number(UnsafeCell::new(0));

struct Operations(UnsafeCell<c::pernet_operations>);
// SAFETY: it belongs to the kernel from registration on.
unsafe impl Sync for Operations {}
static OPERATIONS: Operations = Operations(UnsafeCell::new(c::pernet_operations {
    init: Some(init),
    pre_exit: Some(pre_exit),
    exit: Some(exit),
    id: NUMBER.0.get(),
    size: core::mem::size_of::<Slot>(),
    // SAFETY: all zero is what an operation that is not there, and an empty list, look like.
    ..unsafe { core::mem::zeroed() }
}));

/// What of ours a namespace holds.
struct Slot {
    visible: AtomicPtr<Host>,
    owned: AtomicPtr<Host>,
}

/// The slot of a namespace.
///
/// # Safety
/// `net` is a namespace, and the operations are registered.
unsafe fn slot<'a>(net: *const c::net) -> Option<&'a Slot> {
    // SAFETY: by this function's condition; the kernel makes the slot, zeroed, before `init`, and
    // keeps it as long as the namespace.
    unsafe {
        c::klips_h_net_slot(net, *NUMBER.0.get())
            .cast::<Slot>()
            .as_ref()
    }
}

impl Host {
    /// The host of a namespace, if it has one.
    ///
    /// # Safety
    /// `net` is a namespace that is alive. The answer is used only under RCU, or while something is
    /// there that [`Host::stop`] takes away or waits for, or that keeps the namespace from ending
    /// and the module from unloading.
    pub(crate) unsafe fn of<'a>(net: *const c::net) -> Option<&'a Host> {
        // SAFETY: a slot holds null or a host that `exit` frees an RCU grace period after
        // `pre_exit` emptied it.
        unsafe { slot(net)?.visible.load(Ordering::Acquire).as_ref() }
    }
}

unsafe extern "C" fn init(net: *mut c::net) -> c_int {
    match begin(Net(net)) {
        Ok(host) => {
            // SAFETY: the kernel gave us a namespace, whose slot is empty.
            if let Some(slot) = unsafe { slot(net) } {
                slot.owned.store(host, Ordering::Release);
                slot.visible.store(host, Ordering::Release);
            }
            0
        }
        Err(error) => error,
    }
}

fn begin(net: Net) -> Result<*mut Host, c_int> {
    let mut room = KernelVec::new();
    let host = Host::new(net).map_err(|error| error.to_errno())?;
    room.try_push(host).map_err(|_| ENOMEM.to_errno())?;
    let host: *mut Host = room.as_mut_ptr();
    core::mem::forget(room);
    // SAFETY: it stays in this memory until `end`, and nothing that `start` begins outlives `stop`.
    if let Err(error) = unsafe { (*host).start() } {
        // SAFETY: nobody else knows of it yet.
        unsafe { end(host) };
        return Err(error);
    }
    Ok(host)
}

/// # Safety
/// By the kernel, for a namespace that `init` was called for.
unsafe extern "C" fn pre_exit(net: *mut c::net) {
    // SAFETY: the kernel gave us a namespace.
    if let Some(slot) = unsafe { slot(net) } {
        slot.visible.store(core::ptr::null_mut(), Ordering::Release);
    }
}

/// An RCU grace period after `pre_exit`: no packet and no notifier has the host any more.
///
/// # Safety
/// By the kernel, for a namespace that `init` was called for, an RCU grace period after `pre_exit`.
unsafe extern "C" fn exit(net: *mut c::net) {
    // SAFETY: the kernel gave us a namespace.
    let host =
        unsafe { slot(net) }.map(|slot| slot.owned.swap(core::ptr::null_mut(), Ordering::AcqRel));
    if let Some(host) = host.filter(|host| !host.is_null()) {
        // SAFETY: it came out of `begin`, and nobody can find it since the grace period.
        unsafe { end(host) };
    }
}

/// Gives every namespace its host, those that there are and those to come. May sleep.
pub(super) fn register() -> Result<(), c_int> {
    // SAFETY: the operations are static, and this is called once a load.
    match unsafe { c::register_pernet_device(OPERATIONS.0.get()) } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Ends all hosts. May sleep.
pub(super) fn unregister() {
    // SAFETY: registered before.
    unsafe { c::unregister_pernet_device(OPERATIONS.0.get()) }
}

/// Ends what `begin` began, and gives the memory back.
///
/// # Safety
/// `host` came out of `begin`, and nobody refers to it but what [`Host::stop`] takes away.
unsafe fn end(host: *mut Host) {
    // SAFETY: by this function's condition.
    unsafe {
        (*host).stop();
        core::ptr::drop_in_place(host);
        c::klips_h_kvfree(host.cast());
    }
}
