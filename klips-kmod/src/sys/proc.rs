// SPDX-License-Identifier: GPL-2.0

//! Files under `/proc/net` of a namespace whose text is made part by part, however long it gets.
//!
//! The kernel's seq_file asks for a part, keeps it until it was read, and asks for the next; a part
//! that does not fit its buffer it asks for again with a buffer twice the size. So a part is made
//! from where it begins ([`Reading::at`]), and only going on moves that. Why it is sound: a
//! [`Reading`] is memory of zeros that the kernel makes for each opened file and whose first part
//! it writes itself; calls for one file come one at a time. An opened file holds its namespace for
//! as long as a call lasts, and removing an entry waits for calls under way before it is gone.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_uint, c_void};
use core::fmt;
use core::mem::size_of;
use core::ptr;

use kernel::prelude::*;
use klips::ProcCursor;

use crate::host::Host;
use crate::proc;
use crate::sys::c;

/// One opened file.
#[repr(C)]
struct Reading {
    net: c::seq_net_private,
    /// Number of the part at hand, from 0.
    number: c::loff_t,
    /// Where the part at hand begins.
    at: ProcCursor,
    /// Where it ends, once it was made.
    end: ProcCursor,
    /// Whether there may be more behind it.
    more: bool,
    /// Whether the part at hand is behind the last.
    over: bool,
}

/// The buffer of a file being read.
struct Text(*mut c::seq_file);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: made in `show` only, of a file that is being read.
        match unsafe { c::seq_write(self.0, text.as_ptr().cast(), text.len()) } {
            0 => Ok(()),
            // The buffer is full: seq_file has noted it and will ask again.
            _ => Err(fmt::Error),
        }
    }
}

/// The operations of every file.
struct Operations(UnsafeCell<c::seq_operations>);

// SAFETY: nobody writes to it.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(UnsafeCell::new(c::seq_operations {
    start: Some(begin),
    stop: Some(end),
    next: Some(next),
    show: Some(show),
}));

/// Makes the files of a namespace, all or none.
pub(crate) fn start(host: &'static Host) -> Result<(), c_int> {
    let made = proc::FILES
        .iter()
        .enumerate()
        .all(|(number, (name, mode, _))| {
            // SAFETY: the host's namespace is alive and has had its /proc/net since before any
            // module's; name and operations are static.
            let file = unsafe {
                c::proc_create_net_data(
                    name.as_ptr(),
                    *mode,
                    (*host.net.as_ptr()).proc_net,
                    OPERATIONS.0.get(),
                    size_of::<Reading>() as c_uint,
                    ptr::without_provenance_mut(number),
                )
            };
            !file.is_null()
        });
    if !made {
        stop(host);
        return Err(ENOMEM.to_errno());
    }
    Ok(())
}

/// Takes them away, those that are there, when nobody is in them any more.
pub(crate) fn stop(host: &Host) {
    for (name, ..) in &proc::FILES {
        // SAFETY: as in `start`; a name that is not there is only looked for.
        unsafe { c::remove_proc_subtree(name.as_ptr(), (*host.net.as_ptr()).proc_net) };
    }
}

/// # Safety
/// `file` is one of ours, and no other reference to its state is in use.
unsafe fn reading<'a>(file: *mut c::seq_file) -> &'a mut Reading {
    // SAFETY: opened with room for a `Reading` of zeros, which are one; ours alone, by the caller.
    unsafe { &mut *(*file).private.cast() }
}

/// Where part `*number` begins: the first one, or the one that reading stopped before.
///
/// # Safety
/// By seq_file, for a file that was opened with these operations; its calls for one file come one
/// at a time.
unsafe extern "C" fn begin(file: *mut c::seq_file, number: *mut c::loff_t) -> *mut c_void {
    // SAFETY: seq_file's calls for one file come one at a time.
    let (reading, number) = unsafe { (reading(file), *number) };
    if number == 0 {
        (reading.number, reading.at, reading.over) = (0, ProcCursor::default(), false);
    } else if number != reading.number || reading.over {
        return ptr::null_mut();
    }
    ptr::from_mut(reading).cast()
}

/// # Safety
/// By seq_file, for a file that was opened with these operations; its calls for one file come one
/// at a time.
unsafe extern "C" fn next(
    file: *mut c::seq_file,
    _: *mut c_void,
    number: *mut c::loff_t,
) -> *mut c_void {
    // SAFETY: as in `begin`.
    let reading = unsafe { reading(file) };
    (reading.number, reading.at, reading.over) = (reading.number + 1, reading.end, !reading.more);
    // SAFETY: seq_file's own number.
    unsafe { *number = reading.number };
    if reading.over {
        ptr::null_mut()
    } else {
        ptr::from_mut(reading).cast()
    }
}

/// # Safety
/// By seq_file, for a file that was opened with these operations; its calls for one file come one
/// at a time.
unsafe extern "C" fn end(_: *mut c::seq_file, _: *mut c_void) {}

/// # Safety
/// By seq_file, for a file that was opened with these operations; its calls for one file come one
/// at a time.
unsafe extern "C" fn show(file: *mut c::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: as in `begin`; the file's namespace is alive during the call.
    let (reading, host, table) = unsafe {
        (
            reading(file),
            Host::of(c::klips_h_seq_net(file)),
            c::klips_h_seq_number(file),
        )
    };
    (reading.end, reading.more) = (reading.at, false);
    // A namespace that is ending has no text any more.
    let Some(host) = host else { return 0 };
    let mut end = reading.at;
    if let Ok(more) = proc::write(host, table, &mut end, &mut Text(file)) {
        (reading.end, reading.more) = (end, more);
    }
    0
}
