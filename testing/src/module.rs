//! klips.ko in the running test kernel: loaded, taken out, and who uses it.

use std::ffi::{CStr, CString};
use std::fs::{self, File};

use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

const NAME: &CStr = c"klips";

/// The module's file, as `testing/kernels/run` tells.
fn file() -> File {
    let path = fs::read_to_string("/run/result/module").expect("a test kernel with the module");
    File::open(path.trim()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Loads it.
///
/// # Errors
/// The kernel's.
pub fn load() -> nix::Result<()> {
    load_with("")
}

/// Loads it with these parameters.
///
/// # Errors
/// The kernel's.
pub fn load_with(parameters: &str) -> nix::Result<()> {
    let parameters = CString::new(parameters).expect("text");
    finit_module(file(), &parameters, ModuleInitFlags::empty())
}

/// Takes it out.
///
/// # Errors
/// `EAGAIN` while it is in use.
pub fn unload() -> nix::Result<()> {
    delete_module(NAME, DeleteModuleFlags::O_NONBLOCK)
}

/// How many use it, by the kernel's count.
pub fn users() -> u32 {
    let path = "/sys/module/klips/refcnt";
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim().parse().expect("a number")
}
