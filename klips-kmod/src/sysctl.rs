// SPDX-License-Identifier: GPL-2.0

//! `/proc/sys/net/ipsec`: the core's switches, and how many ipsecN there are. How the kernel reads
//! and writes them is `sys::sysctl`'s.

use core::ffi::CStr;

use kernel::prelude::*;

use crate::host::Host;

/// The names of the switches and of one counter, as the core knows them but for the last: how many ipsecN this
/// namespace has. 0 leaves the names to klipsd, which wants them for devices of its own.
pub(crate) const NAMES: [&CStr; 19] = [
    c"inbound_policy_check",
    c"icmp",
    c"tos",
    c"hidetos",
    c"fragicmp",
    c"icmp_limited",
    c"debug_tunnel",
    c"debug_netlink",
    c"debug_xform",
    c"debug_eroute",
    c"debug_spi",
    c"debug_radij",
    c"debug_esp",
    c"debug_ah",
    c"debug_rcv",
    c"debug_pfkey",
    c"debug_ipcomp",
    c"debug_verbose",
    c"devices",
];

const _: () = assert!(NAMES.len() == 7 + klips::DEBUG_NAMES.len());

/// What switch `name` is set to.
pub(crate) fn get(host: &Host, name: &str) -> Result<u32> {
    if name == "devices" {
        return Ok(host.devices.count() as u32);
    }
    host.read(|klips, _| klips.sysctl_get(name))
        .map_err(|_| EINVAL)
}

/// Sets switch `name`: EINVAL for a value it does not take, EEXIST where another device has the
/// name of an ipsecN. May sleep.
pub(crate) fn set(host: &'static Host, name: &str, value: u32) -> Result {
    if name == "devices" {
        return crate::device::set_count(host, value as usize);
    }
    host.write(None, |klips, _| klips.sysctl_set(name, value))
        .map_err(|_| EINVAL)
}
