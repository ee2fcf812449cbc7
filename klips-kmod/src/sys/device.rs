// SPDX-License-Identifier: GPL-2.0

//! Net devices: ipsecN, which are ours, and the physical ones, which are looked at.

use core::ffi::{CStr, c_int};
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::prelude::*;
use klips::device::{MAX_ADDRESSES, MAX_DEVICES, Name};
use klips::{DeviceId, Physical};

use super::c;
use super::net::Net;
use super::rtnl::Rtnl;
use super::skb::Skb;
use crate::host::Host;

struct Operations(c::net_device_ops);
// SAFETY: never written.
unsafe impl Sync for Operations {}
static OPERATIONS: Operations = Operations(c::net_device_ops {
    ndo_uninit: Some(c::klips_h_device_uninit),
    ndo_start_xmit: Some(start_xmit),
    ndo_get_stats64: Some(get_stats),
    ndo_siocdevprivate: Some(crate::sys::ioctl::private),
    // SAFETY: an operation that is not there is null.
    ..unsafe { core::mem::zeroed() }
});

/// The host that an ipsecN belongs to, and its N.
///
/// # Safety
/// `device` is an ipsecN that is registered.
pub(crate) unsafe fn owner<'a>(device: *const c::net_device) -> Option<(&'a Host, DeviceId)> {
    // SAFETY: an ipsecN's private part is a klips_device, and its host unregisters it before it
    // ends.
    unsafe {
        let ours = c::klips_h_device_priv(device);
        Some((
            (*ours).host.cast::<Host>().as_ref()?,
            DeviceId::new((*ours).number as usize)?,
        ))
    }
}

/// # Safety
/// By the stack, softirqs off, for a device whose operations these are; the packet is ours from
/// then on.
unsafe extern "C" fn start_xmit(
    skb: *mut c::sk_buff,
    device: *mut c::net_device,
) -> c::netdev_tx_t {
    let Some(skb) = core::ptr::NonNull::new(skb) else {
        return 0;
    };
    // SAFETY: the stack gives the packet up to us.
    let packet = unsafe { Skb::from_raw(skb) };
    // SAFETY: the stack transmits by registered devices only, and these operations are ipsecN's.
    if let Some((host, id)) = unsafe { owner(device) } {
        crate::transmit::start(host, id, packet);
    }
    0
}

/// # Safety
/// By the stack, for a registered device whose operations these are; `to` is the caller's, zeroed.
unsafe extern "C" fn get_stats(device: *mut c::net_device, to: *mut c::rtnl_link_stats64) {
    // SAFETY: called for registered devices, and these operations are ipsecN's.
    let Some((host, id)) = (unsafe { owner(device) }) else {
        return;
    };
    // Not through a reference: netlink's attributes are aligned to 4 only.
    // SAFETY: the caller's, zeroed.
    let mut all = unsafe { to.read_unaligned() };
    host.read(|klips, _| {
        let s = &klips.device(id).stats;
        let get = |n: &core::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        (all.rx_packets, all.rx_bytes) = (get(&s.rx_packets), get(&s.rx_bytes));
        (all.rx_errors, all.rx_dropped) = (get(&s.rx_errors), get(&s.rx_dropped));
        (all.tx_packets, all.tx_bytes) = (get(&s.tx_packets), get(&s.tx_bytes));
        (all.tx_errors, all.tx_dropped) = (get(&s.tx_errors), get(&s.tx_dropped));
    });
    // SAFETY: as above.
    unsafe { to.write_unaligned(all) };
}

/// Whether a device is an ipsecN.
///
/// # Safety
/// `device` is alive.
pub(super) unsafe fn is_ours(device: *const c::net_device) -> bool {
    // SAFETY: by this function's condition.
    unsafe { c::klips_h_device_is_ours(device, &OPERATIONS.0) }
}

/// How many a new namespace gets: the module's parameter.
pub(crate) fn usual_count() -> usize {
    // SAFETY: reads a parameter.
    unsafe { c::klips_h_device_count() as usize }
}

/// A host's ipsecN.
pub(crate) struct Devices([AtomicPtr<c::net_device>; MAX_DEVICES]);

impl Devices {
    /// None.
    pub(crate) fn new() -> Self {
        Self(Default::default())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0
            .iter()
            .filter(|slot| !slot.load(Ordering::Acquire).is_null())
            .count()
    }

    /// Makes those of ipsec0 to ipsecN-1 that there are not. On an error those made stay, for
    /// [`Self::stop`]. May sleep; not under RTNL.
    pub(crate) fn start(&self, host: &'static Host, count: usize) -> Result<(), c_int> {
        for (n, slot) in self.0.iter().enumerate().take(count) {
            if !slot.load(Ordering::Acquire).is_null() {
                continue;
            }
            // SAFETY: the namespace is alive; `host` outlives the device, since it stops it.
            let device = unsafe {
                let at = core::ptr::from_ref(host).cast_mut().cast();
                c::klips_h_device_new(host.net.as_ptr(), n as u32, &OPERATIONS.0, at)
            };
            if device.is_null() {
                return Err(ENOMEM.to_errno());
            }
            // SAFETY: new and not registered yet. Of two that are made at a time by one name one is
            // refused here.
            let error = unsafe { c::klips_h_device_register(device) };
            if error != 0 {
                // SAFETY: not registered.
                unsafe { c::klips_h_device_free(device) };
                pr_err!(
                    "ipsec{} cannot be made, error {}; has a network namespace another device of that name?\n",
                    n,
                    error
                );
                return Err(error);
            }
            slot.store(device, Ordering::Release);
        }
        Ok(())
    }

    /// Takes those from number `first` on away; when it is done no packet is in them. May sleep;
    /// not under RTNL.
    pub(crate) fn stop(&self, first: usize) {
        for slot in self.0.iter().skip(first) {
            let device = slot.swap(core::ptr::null_mut(), Ordering::AcqRel);
            if !device.is_null() {
                // SAFETY: registered by `start`. Unregistering waits for RCU and for the last
                // reference, so that nobody is left.
                unsafe {
                    c::unregister_netdev(device);
                    c::klips_h_device_free(device);
                }
            }
        }
    }

    /// Runs `f` on the device of this number, if there is one, under RCU.
    fn with(&self, id: DeviceId, f: impl FnOnce(*mut c::net_device)) {
        // SAFETY: no condition; unlocked below.
        unsafe { c::klips_h_rcu_read_lock() };
        if let Some(slot) = self.0.get(id.index()) {
            let device = slot.load(Ordering::Acquire);
            if !device.is_null() {
                f(device);
            }
        }
        // SAFETY: locked above.
        unsafe { c::klips_h_rcu_read_unlock() };
    }

    /// Gives `packet` to the stack as one that ipsecN received; `secured`: through SAs.
    pub(crate) fn deliver(&self, id: DeviceId, packet: Skb, secured: bool) {
        self.with(id, |device| {
            // SAFETY: the device is not freed before an RCU grace period; the stack takes the
            // packet over.
            unsafe { c::klips_h_deliver(device, packet.into_raw(), secured) }
        });
    }

    /// Has the stack leave at least so much room before and after packets for it from now on.
    pub(crate) fn need_room(&self, id: DeviceId, head: usize, tail: usize) {
        // SAFETY: the device is not freed before an RCU grace period.
        self.with(id, |device| unsafe {
            c::klips_h_device_need_room(device, head as u32, tail as u32)
        });
    }

    /// Counts a packet that was dropped on its way out outside the core.
    pub(crate) fn count_tx_dropped(&self, id: DeviceId) {
        // SAFETY: the device is not freed before an RCU grace period.
        self.with(id, |device| unsafe {
            c::klips_h_device_count_drop(device, true)
        });
    }

    /// Counts a packet that was dropped on its way in outside the core.
    pub(crate) fn count_rx_dropped(&self, id: DeviceId) {
        // SAFETY: the device is not freed before an RCU grace period.
        self.with(id, |device| unsafe {
            c::klips_h_device_count_drop(device, false)
        });
    }

    /// Has ipsecN show this MTU.
    pub(crate) fn set_mtu(&self, _: &Rtnl, id: DeviceId, mtu: u32) {
        if let Some(slot) = self.0.get(id.index()) {
            let device = slot.load(Ordering::Acquire);
            if !device.is_null() {
                // SAFETY: RTNL is held, so nobody unregisters the device.
                unsafe { c::dev_set_mtu(device, mtu as c_int) };
            }
        }
    }
}

/// What may be known of a device that is not ours.
pub(crate) struct Look {
    /// As the core wants it.
    pub(crate) physical: Physical,
    /// It is an ipsecN.
    pub(crate) is_ours: bool,
    /// The room before a packet that its link layer needs, in bytes.
    pub(crate) link_header: u32,
}

/// Looks at a device.
///
/// # Safety
/// `device` is a registered device.
pub(super) unsafe fn look(_: &Rtnl, device: *mut c::net_device) -> Option<Look> {
    let mut raw = [[0u8; 17]; MAX_ADDRESSES];
    // SAFETY: by this function's condition; the array is as long as is said.
    let (index, mtu, name, count, is_ours, link_header) = unsafe {
        (
            c::klips_h_device_ifindex(device) as u32,
            c::klips_h_device_mtu(device),
            CStr::from_ptr(c::klips_h_device_name(device)),
            c::klips_h_addresses(device, raw.as_mut_ptr(), MAX_ADDRESSES as u32) as usize,
            c::klips_h_device_is_ours(device, &OPERATIONS.0),
            c::klips_h_device_link_header(device),
        )
    };
    let mut physical = Physical::new(index, Name::new(name.to_str().ok()?)?, mtu, &[]);
    physical.left_out = count.saturating_sub(MAX_ADDRESSES);
    for (raw, to) in raw.iter().take(count).zip(&mut physical.addresses) {
        *to = match raw[0] {
            4 => Some([raw[1], raw[2], raw[3], raw[4]].into()),
            _ => raw[1..].first_chunk::<16>().map(|bytes| (*bytes).into()),
        };
    }
    Some(Look {
        physical,
        is_ours,
        link_header,
    })
}

/// Looks at the device of this name.
pub(crate) fn look_up(rtnl: &Rtnl, net: &Net, name: &CStr) -> Option<Look> {
    // SAFETY: RTNL is held, so the device stays.
    unsafe {
        let device = c::__dev_get_by_name(net.as_ptr(), name.as_ptr());
        if device.is_null() {
            None
        } else {
            look(rtnl, device)
        }
    }
}

/// Looks at the device of this number.
pub(crate) fn look_at(rtnl: &Rtnl, net: &Net, index: u32) -> Option<Look> {
    // SAFETY: RTNL is held, so the device stays.
    unsafe {
        let device = c::__dev_get_by_index(net.as_ptr(), index as c_int);
        if device.is_null() {
            None
        } else {
            look(rtnl, device)
        }
    }
}
