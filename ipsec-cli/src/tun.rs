//! Whether this host can make TUN devices, which klipsd needs.

use nix::sys::stat::{SFlag, major, minor, stat};
use std::fs::OpenOptions;

const DEVICE: &str = "/dev/net/tun";
/// Its numbers in Linux' list of devices.
const NUMBERS: (u64, u64) = (10, 200);

/// Looks at the device and opens it; the error says what to do.
pub fn check() -> Result<(), String> {
    let Ok(found) = stat(DEVICE) else {
        return Err(format!(
            "no {DEVICE}: modprobe tun; in a container, pass the device in (--device {DEVICE})"
        ));
    };
    let is_device = SFlag::from_bits_truncate(found.st_mode).contains(SFlag::S_IFCHR);
    if !is_device || (major(found.st_rdev), minor(found.st_rdev)) != NUMBERS {
        return Err(format!(
            "{DEVICE} is not the TUN device: remove it, then mknod {DEVICE} c 10 200"
        ));
    }
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "{DEVICE}: {error}; root with CAP_NET_ADMIN must be able to open it"
        )),
    }
}
