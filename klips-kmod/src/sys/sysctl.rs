// SPDX-License-Identifier: GPL-2.0

//! The files of `/proc/sys/net/ipsec` of a namespace, each one number.
//!
//! Why it is sound: the table that the kernel reads is in the host, which stays where it is and
//! takes the table back from the kernel (and waits for calls under way) before it goes. Entries
//! carry their namespace, which outlives them.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_int, c_uint, c_void};
use core::mem::{size_of, zeroed};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::prelude::*;

use crate::host::Host;
use crate::sys::c;
use crate::sysctl::{self, NAMES};

/// The files of a namespace.
pub(crate) struct Switches {
    table: UnsafeCell<[c::ctl_table; NAMES.len()]>,
    header: AtomicPtr<c::ctl_table_header>,
}

// SAFETY: the table is written before the kernel has it, and then is the kernel's, which reads it
// under its own locks.
unsafe impl Send for Switches {}
// SAFETY: as above.
unsafe impl Sync for Switches {}

impl Switches {
    /// None yet.
    pub(crate) fn new() -> Self {
        // SAFETY: an entry of zeros has neither name nor handler.
        Self {
            table: UnsafeCell::new(unsafe { zeroed() }),
            header: AtomicPtr::default(),
        }
    }

    /// Makes them. `self` is the host's own.
    pub(crate) fn start(&'static self, host: &'static Host) -> Result<(), c_int> {
        if !self.header.load(Ordering::Acquire).is_null() {
            return Err(EEXIST.to_errno());
        }
        let net = host.net.as_ptr();
        // SAFETY: the kernel does not have the table; one thread brings a host up.
        let table = unsafe { &mut *self.table.get() };
        for (entry, name) in table.iter_mut().zip(&NAMES) {
            entry.procname = name.as_ptr();
            entry.mode = 0o644;
            entry.proc_handler = Some(handle);
            entry.extra1 = net.cast();
        }
        // SAFETY: the namespace is alive; the table stays where it is until `stop`.
        let header = unsafe {
            c::register_net_sysctl_sz(
                net,
                c"net/ipsec".as_ptr(),
                self.table.get().cast(),
                NAMES.len(),
            )
        };
        self.header.store(header, Ordering::Release);
        if header.is_null() {
            Err(ENOMEM.to_errno())
        } else {
            Ok(())
        }
    }

    /// Takes them away, when nobody is in them any more.
    pub(crate) fn stop(&self) {
        let header = self.header.swap(ptr::null_mut(), Ordering::AcqRel);
        if !header.is_null() {
            // SAFETY: registered by `start`, and taken back once.
            unsafe { c::unregister_net_sysctl_table(header) };
        }
    }
}

/// Reads or writes one file: the kernel converts between text and a number of ours.
///
/// # Safety
/// By the kernel, for an entry of a table of ours that is registered, with a buffer of `*len`
/// octets.
unsafe extern "C" fn handle(
    entry: *const c::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    at: *mut c::loff_t,
) -> c_int {
    // SAFETY: an entry of ours, registered, so its name is static and its namespace lives and has
    // its host.
    let (host, name) = unsafe {
        (
            Host::of((*entry).extra1.cast()),
            CStr::from_ptr((*entry).procname),
        )
    };
    let (Some(host), Ok(name)) = (host, name.to_str()) else {
        return EINVAL.to_errno();
    };
    let Ok(mut value) = sysctl::get(host, name) else {
        return EINVAL.to_errno();
    };
    // SAFETY: a copy of the entry that points to our number for this call; the rest is what the
    // kernel called us with.
    let result = unsafe {
        let mut number = ptr::read(entry);
        number.data = ptr::from_mut(&mut value).cast();
        number.maxlen = size_of::<c_uint>() as c_int;
        c::proc_douintvec(&number, write, buffer, len, at)
    };
    if result != 0 || write == 0 {
        return result;
    }
    match sysctl::set(host, name, value) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
