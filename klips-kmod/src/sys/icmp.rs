// SPDX-License-Identifier: GPL-2.0

//! ICMP errors about ESP in UDP, of which no handler of a protocol hears.

use core::ffi::c_uint;
use core::sync::atomic::{AtomicBool, Ordering};

use super::c;
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
        match unsafe { c::klips_h_icmp_listen(host.net.as_ptr(), Some(heard)) } {
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
