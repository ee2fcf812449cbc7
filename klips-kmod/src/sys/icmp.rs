// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about ESP in UDP, of which no handler of a protocol hears.

use core::ffi::c_uint;

use super::c;
use super::hooks::Hooks;
use crate::host::Host;
use crate::icmp::TooBig;

/// An IP header, an ICMP header, and what is quoted: an IP header, a UDP header and an SPI.
const START: usize = 60 + 8 + 60 + 8 + 4;

/// An ICMP message came for this host. In softirq context under RCU.
///
/// # Safety
/// By the helper's hook, with a received packet that has its device and its network header.
unsafe extern "C" fn heard(skb: *mut c::sk_buff, hook: c_uint) {
    let mut start = [0; START];
    // SAFETY: a received packet, of which so many bytes are copied at most.
    let len = unsafe { c::klips_h_skb_peek(skb, start.as_mut_ptr(), START as u32) };
    let start = start.get(..len as usize).unwrap_or_default();
    let Some(told) = TooBig::read(start) else {
        return;
    };
    // SAFETY: the packet has its device, which is alive under RCU; it is only summed.
    let host = unsafe {
        let device = (*skb)
            .__bindgen_anon_1
            .__bindgen_anon_1
            .__bindgen_anon_1
            .dev;
        let host = Host::of(c::klips_h_device_net(device));
        host.filter(|host| host.is_any_attached())
            .filter(|_| c::klips_h_icmp_sum(skb, hook, told.at as u32))
    };
    if let Some(host) = host {
        host.read(|klips, cx| klips.path_mtu(cx.now, told.quoted, told.mtu));
    }
}

/// # Safety
/// The namespace is alive.
unsafe fn listen(net: *mut c::net) -> i32 {
    // SAFETY: by this function's condition; whoever is told finds the host by itself or not at all.
    unsafe { c::klips_h_icmp_listen(net, Some(heard)) }
}

/// The hooks by which ICMP messages are heard of in a namespace.
pub(crate) fn hooks() -> Hooks {
    // SAFETY: the helper's own pair, and `heard` finds the host by itself or not at all.
    unsafe { Hooks::new(listen, c::klips_h_icmp_stop) }
}
