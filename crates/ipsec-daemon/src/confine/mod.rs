//! Giving up privileges, for good: capabilities, new programs, most system calls, most files, core dumps.
//!
//! It comes before the first thread is started, since capabilities are each thread's own, and before the first octet from the
//! network is read. What the kernel lacks (Landlock, seccomp) is done without; the caller says so in its log.

mod calls;
mod files;

use std::io;
use std::path::PathBuf;

use nix::sys::resource::{Resource, setrlimit};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

pub use rustix::thread::CapabilitySet as Capabilities;

/// What a daemon goes on needing.
#[derive(Clone, Debug)]
pub struct Needs {
    /// Capabilities, of those it has.
    pub capabilities: CapabilitySet,
    /// Files it reads, and directories below which it does.
    pub reads: Vec<PathBuf>,
    /// Directories below which it makes, changes and removes files, and devices and switches that it writes to.
    pub writes: Vec<PathBuf>,
    /// Address families of its sockets (`AF_*`), beside `AF_UNIX` and `AF_NETLINK`.
    pub families: Vec<i32>,
    /// A crash may leave its memory, and so its keys, in a core file (`dumpdir=`).
    pub core_files: bool,
}

/// What could not be given up.
#[derive(Debug, thiserror::Error)]
#[error("cannot give up privileges: {what}: {why}")]
pub struct ConfineError {
    what: &'static str,
    why: String,
}

impl ConfineError {
    fn new(what: &'static str, why: impl std::fmt::Display) -> Self {
        let why = why.to_string();
        Self { what, why }
    }
}

/// Gives up everything else, and answers what this kernel has no means for.
///
/// # Errors
/// See [`ConfineError`]; also where this is not the process's only thread.
pub fn confine(needs: &Needs) -> Result<Vec<&'static str>, ConfineError> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        let why = format!("there are {threads} threads already");
        return Err(ConfineError::new("threads", why));
    }
    give_up_capabilities(needs.capabilities)?;
    set_no_new_privs(true).map_err(|e| ConfineError::new("no_new_privs", e))?;
    if !needs.core_files {
        setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|e| ConfineError::new("core files", e))?;
        // Nobody but root of this user namespace may look into the memory, or attach a debugger.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|e| ConfineError::new("dumpable", e))?;
    }
    let mut lacking = Vec::new();
    if !files::restrict(&needs.reads, &needs.writes)? {
        lacking.push("Landlock");
    }
    if !calls::restrict(&needs.families)? {
        lacking.push("seccomp filters");
    }
    Ok(lacking)
}

fn give_up_capabilities(kept: CapabilitySet) -> Result<(), ConfineError> {
    let failed = |e: rustix::io::Errno| ConfineError::new("capabilities", e);
    let now = capabilities(None).map_err(failed)?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        for number in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if kept.contains(capability) {
                continue;
            }
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // Beyond the last one that this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(failed(error)),
            }
        }
    }
    match clear_ambient_capability_set() {
        // Kernels before 4.3 have no ambient set.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(failed(error)),
    }
    let left = CapabilitySets {
        effective: now.effective & kept,
        permitted: now.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, left).map_err(failed)
}

/// Whether the system's answer means that the kernel was built without.
fn not_built_in(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)
    )
}
