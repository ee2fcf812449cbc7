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
use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
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

impl proc::Sink for Text {
    fn octets(&mut self, octets: &[u8]) -> fmt::Result {
        // SAFETY: made in `show` only, of a file that is being read.
        match unsafe { c::seq_write(self.0, octets.as_ptr().cast(), octets.len()) } {
            0 => Ok(()),
            // The buffer is full: seq_file has noted it and will ask again.
            _ => Err(fmt::Error),
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        proc::Sink::octets(self, text.as_bytes())
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
    if make(host).is_none() {
        stop(host);
        return Err(ENOMEM.to_errno());
    }
    Ok(())
}

/// Makes directories, files and links; `None` where one cannot be made.
fn make(host: &'static Host) -> Option<()> {
    let net = host.net.as_ptr();
    let mut directories = [ptr::null_mut(); proc::DIRECTORIES.len()];
    // SAFETY: the host's namespace is alive and has had its /proc/net since before any module's;
    // names, operations and parents live as long as the entries, which `stop` takes away.
    unsafe {
        let root = (*net).proc_net;
        for (n, (name, parent)) in proc::DIRECTORIES.iter().enumerate() {
            let parent = parent.map_or(Some(&root), |parent| directories.get(parent))?;
            *directories.get_mut(n)? = present(c::klips_h_proc_dir(net, name.as_ptr(), *parent))?;
        }
        for (number, (directory, name, text)) in proc::FILES.iter().enumerate() {
            let parent = directory.map_or(Some(&root), |parent| directories.get(parent))?;
            present(c::proc_create_net_data_write(
                name.as_ptr(),
                proc::MODE,
                *parent,
                OPERATIONS.0.get(),
                matches!(text, proc::Text::Birth(_)).then_some(write),
                size_of::<Reading>() as c_uint,
                ptr::without_provenance_mut(number),
            ))?;
        }
        for (name, target) in &proc::LINKS {
            present(c::proc_symlink(name.as_ptr(), root, target.as_ptr()))?;
        }
    }
    Some(())
}

fn present<T>(made: *mut T) -> Option<*mut T> {
    (!made.is_null()).then_some(made)
}

/// Takes them away, those that are there, when nobody is in them any more.
pub(crate) fn stop(host: &Host) {
    let remove = |name: &CStr| {
        // SAFETY: as in `make`; a name that is not there is only looked for.
        unsafe { c::remove_proc_subtree(name.as_ptr(), (*host.net.as_ptr()).proc_net) };
    };
    proc::LINKS.iter().for_each(|(name, _)| remove(name));
    let beside = proc::FILES.iter().filter(|(directory, ..)| directory.is_none());
    beside.for_each(|(_, name, _)| remove(name));
    remove(proc::DIRECTORIES[0].0);
}

/// What was written to a file, all of one system call.
///
/// # Safety
/// By the kernel, for a file that was opened with these operations, with `len` readable octets.
unsafe extern "C" fn write(file: *mut c::file, octets: *mut c_char, len: usize) -> c_int {
    // SAFETY: the file's namespace is alive during the call; by this function's condition.
    let (host, number, octets) = unsafe {
        let seq = c::klips_h_file_seq(file);
        (
            Host::of(c::klips_h_seq_net(seq)),
            c::klips_h_seq_number(seq),
            core::slice::from_raw_parts(octets.cast::<u8>(), len),
        )
    };
    match host {
        Some(host) if proc::take(host, number, octets) => 0,
        _ => EINVAL.to_errno(),
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
