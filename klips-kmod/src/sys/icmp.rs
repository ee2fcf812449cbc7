// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about ESP in UDP, of which no handler of a protocol hears.

use core::ffi::c_uint;
use core::sync::atomic::{AtomicBool, Ordering};

use super::c;
use crate::host::Host;

/// A router did not let through a packet that began like `quoted`. In softirq context under RCU.
unsafe extern "C" fn told(device: *const c::net_device, quoted: *const u8, len: c_uint, mtu: u32) {
    // SAFETY: the helper gives a device that is alive under RCU, and so many readable bytes.
    let (host, quoted) = unsafe {
        (
            Host::of(c::klips_h_device_net(device)),
            core::slice::from_raw_parts(quoted, len as usize),
        )
    };
    // By any device, as what it speaks of may have gone by any.
    if let Some(host) = host.filter(|host| host.is_any_attached()) {
        host.read(|klips, cx| klips.path_mtu(cx.now, quoted, mtu));
    }
}

/// Whether a namespace is listened in.
pub(crate) struct Listener(AtomicBool);

impl Listener {
    /// Not yet.
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Begins to listen in the host's namespace, until [`Self::stop`]. May sleep.
    pub(crate) fn start(&self, host: &Host) -> Result<(), i32> {
        // SAFETY: the namespace is alive, and whoever is told finds the host by itself or not at
        // all.
        match unsafe { c::klips_h_icmp_listen(host.net.as_ptr(), Some(told)) } {
            0 => {
                self.0.store(true, Ordering::Release);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Ends it; nobody is told anything afterwards. May sleep.
    pub(crate) fn stop(&self, host: &Host) {
        if self.0.swap(false, Ordering::AcqRel) {
            // SAFETY: the namespace is alive, and the hooks are registered there, for they are
            // taken back once.
            unsafe { c::klips_h_icmp_stop(host.net.as_ptr()) }
        }
    }
}
