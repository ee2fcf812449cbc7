// SPDX-License-Identifier: GPL-2.0

//! Netfilter's hooks for packets that arrive in the clear, and where their answers would go.

use core::ffi::c_uint;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering};

use super::net::Net;
use super::{c, device};
use crate::host::Host;

const _: () = assert!(klips::packet::SHOWING <= c::KLIPS_SHOWING as usize);

/// # Safety
/// By the hooks, in softirq context under RCU, with a namespace, a device in it, and `len` readable
/// octets at `start`.
unsafe extern "C" fn arrived(
    net: *const c::net,
    by: *const c::net_device,
    start: *const u8,
    len: c_uint,
    local: bool,
) -> bool {
    // SAFETY: by this function's condition; the host is used only under RCU.
    let (host, index, start) = unsafe {
        // What came out of an SA appears on ipsecN.
        if device::is_ours(by) {
            return true;
        }
        let Some(host) = Host::of(net) else { return true };
        let start = core::slice::from_raw_parts(start, len as usize);
        (host, c::klips_h_device_ifindex(by) as u32, start)
    };
    crate::clear::may_go_on(host, index, start, local)
}

/// Whether the stack would send a packet from one address to another by an ipsecN, or has no way
/// for it but a blackhole. In softirq context under RCU.
pub(crate) fn goes_by_ipsec(net: &Net, from: IpAddr, to: IpAddr) -> bool {
    // SAFETY: the namespace is alive; the addresses are as long as their family's; the device is
    // alive under RCU.
    unsafe {
        let by = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                c::klips_h_way4(net.as_ptr(), from.octets().as_ptr(), to.octets().as_ptr())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                c::klips_h_way6(net.as_ptr(), from.octets().as_ptr(), to.octets().as_ptr())
            }
            _ => return false,
        };
        by.is_null() || device::is_ours(by)
    }
}

/// Whether a namespace is watched.
pub(crate) struct Watch(AtomicBool);

impl Watch {
    /// Not yet.
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Watches the host's namespace from now on, until [`Self::stop`]. May sleep.
    pub(crate) fn start(&self, host: &Host) -> Result<(), i32> {
        // SAFETY: the namespace is alive, and whoever is asked finds the host by itself or not at
        // all.
        match unsafe { c::klips_h_clear_watch(host.net.as_ptr(), Some(arrived)) } {
            0 => {
                self.0.store(true, Ordering::Release);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Ends it; nobody is asked anything afterwards. May sleep.
    pub(crate) fn stop(&self, host: &Host) {
        if self.0.swap(false, Ordering::AcqRel) {
            // SAFETY: the namespace is alive, and the hooks are registered there, for they are
            // taken back once.
            unsafe { c::klips_h_clear_stop(host.net.as_ptr()) }
        }
    }
}
