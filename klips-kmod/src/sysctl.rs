//! `/proc/sys/net/ipsec`: the core's switches. How the kernel reads and writes them is `sys::sysctl`'s.

use core::ffi::CStr;

use kernel::prelude::*;

use crate::host::Host;

/// The names of the switches, as the core knows them.
pub(crate) const NAMES: [&CStr; 17] = [
    c"inbound_policy_check",
    c"icmp",
    c"tos",
    c"hidetos",
    c"fragicmp",
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
];

const _: () = assert!(NAMES.len() == 5 + klips::DEBUG_NAMES.len());

/// What switch `name` is set to.
pub(crate) fn get(host: &Host, name: &str) -> Result<u32> {
    host.read(|klips, _| klips.sysctl_get(name)).map_err(|_| EINVAL)
}

/// Sets switch `name`: EINVAL for a value it does not take.
pub(crate) fn set(host: &Host, name: &str, value: u32) -> Result {
    host.write(None, |klips, _| klips.sysctl_set(name, value)).map_err(|_| EINVAL)
}
