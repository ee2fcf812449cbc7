// SPDX-License-Identifier: GPL-2.0

//! Netfilter's hooks for packets that arrive in the clear, and where their answers would go.

use core::ffi::c_uint;
use core::net::IpAddr;

use super::hooks::Hooks;
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

/// # Safety
/// The namespace is alive.
unsafe fn watch(net: *mut c::net) -> i32 {
    // SAFETY: by this function's condition; whoever is asked finds the host by itself or not at
    // all.
    unsafe { c::klips_h_clear_watch(net, Some(arrived)) }
}

/// The hooks by which packets that arrive in the clear are asked about in a namespace.
pub(crate) fn hooks() -> Hooks {
    // SAFETY: the helper's own pair, and `arrived` finds the host by itself or not at all.
    unsafe { Hooks::new(watch, c::klips_h_clear_stop) }
}
