// SPDX-License-Identifier: GPL-2.0

//! News of other devices: their coming and going, their MTU, their addresses.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_ulong, c_void};

use super::rtnl::Rtnl;
use super::{c, device};
use crate::host::Host;

type Callback = unsafe extern "C" fn(*mut c::notifier_block, c_ulong, *mut c_void) -> c_int;

struct Block(UnsafeCell<c::notifier_block>);
// SAFETY: it belongs to the kernel from registration on.
unsafe impl Sync for Block {}

const fn block(call: Callback) -> Block {
    // SAFETY: all zero is an empty block.
    Block(UnsafeCell::new(c::notifier_block {
        notifier_call: Some(call),
        ..unsafe { core::mem::zeroed() }
    }))
}

static DEVICES: Block = block(device_event);
static ADDRESSES4: Block = block(address4_event);
static ADDRESSES6: Block = block(address6_event);

/// Under RTNL.
///
/// # Safety
/// By the chain of net devices, with its `netdev_notifier_info`.
unsafe extern "C" fn device_event(
    _: *mut c::notifier_block,
    event: c_ulong,
    info: *mut c_void,
) -> c_int {
    // SAFETY: the kernel gives this chain a netdev_notifier_info of a device that is alive, in a
    // namespace that is.
    let (device, index, host) = unsafe {
        let device = c::klips_h_notified_device(info);
        (
            device,
            c::klips_h_device_ifindex(device) as u32,
            Host::of(c::klips_h_device_net(device)),
        )
    };
    // SAFETY: this chain is called with RTNL held.
    let rtnl = unsafe { Rtnl::held() };
    if event == c::netdev_cmd_NETDEV_CHANGEMTU as c_ulong {
        // SAFETY: the chain's device is registered.
        unsafe { own_mtu(&rtnl, device) };
    }
    if event == c::netdev_cmd_NETDEV_CHANGENAME as c_ulong {
        // SAFETY: the chain's device is registered.
        unsafe { own_name(&rtnl, device) };
    }
    let Some(host) = host else {
        return 0;
    };
    if event == c::netdev_cmd_NETDEV_UP as c_ulong {
        // SAFETY: the chain's device is registered.
        if let Some(look) = unsafe { device::look(&rtnl, device) } {
            crate::device::came_up(&rtnl, host, &look);
        }
    }
    if !host.is_attached(index) {
        return 0;
    }
    if event == c::netdev_cmd_NETDEV_UNREGISTER as c_ulong {
        crate::device::gone(&rtnl, host, index);
        return 0;
    }
    // SAFETY: the chain's device is registered.
    if let Some(look) = unsafe { device::look(&rtnl, device) } {
        crate::device::update(&rtnl, host, look.physical);
    }
    0
}

/// The MTU of a device was changed: news for the core if it is an ipsecN.
///
/// # Safety
/// `device` is a registered device.
unsafe fn own_mtu(rtnl: &Rtnl, device: *mut c::net_device) {
    // SAFETY: by this function's condition, and an ipsecN is asked for its owner only.
    let owner = unsafe {
        let look = device::look(rtnl, device).filter(|look| look.is_ours);
        look.and_then(|look| Some((device::owner(device)?, look.physical.mtu)))
    };
    if let Some(((host, id), mtu)) = owner {
        crate::device::own_changed(rtnl, host, id, mtu);
    }
}

/// A device has another name: news for the core if it is an ipsecN.
///
/// # Safety
/// `device` is a registered device.
unsafe fn own_name(rtnl: &Rtnl, device: *mut c::net_device) {
    // SAFETY: by this function's condition, and an ipsecN is asked for its owner only.
    let owner = unsafe {
        let look = device::look(rtnl, device).filter(|look| look.is_ours);
        look.and_then(|look| Some((device::owner(device)?, look.physical.name)))
    };
    if let Some(((host, id), name)) = owner {
        host.write(None, |klips, _| klips.device_renamed(id, name));
    }
}

/// # Safety
/// By the chain of IPv4 addresses, with its `in_ifaddr`.
unsafe extern "C" fn address4_event(
    _: *mut c::notifier_block,
    _: c_ulong,
    address: *mut c_void,
) -> c_int {
    // SAFETY: the kernel gives this chain an in_ifaddr of a device that is alive.
    if let Some(host) =
        unsafe { Host::of(c::klips_h_device_net(c::klips_h_inetaddr_device(address))) }
    {
        host.refresh_soon();
    }
    0
}

/// In any context, under RCU.
///
/// # Safety
/// By the chain of IPv6 addresses, with its `inet6_ifaddr`.
unsafe extern "C" fn address6_event(
    _: *mut c::notifier_block,
    _: c_ulong,
    address: *mut c_void,
) -> c_int {
    // SAFETY: the kernel gives this chain an inet6_ifaddr of a device that is alive.
    if let Some(host) =
        unsafe { Host::of(c::klips_h_device_net(c::klips_h_inet6addr_device(address))) }
    {
        host.refresh_soon();
    }
    0
}

/// Begins to listen. May sleep.
pub(super) fn register() -> Result<(), i32> {
    // SAFETY: the blocks are static and registered once a load.
    let error = unsafe { c::register_netdevice_notifier(DEVICES.0.get()) };
    if error != 0 {
        return Err(error);
    }
    // SAFETY: as above; these two cannot fail.
    unsafe {
        c::register_inetaddr_notifier(ADDRESSES4.0.get());
        c::register_inet6addr_notifier(ADDRESSES6.0.get());
    }
    Ok(())
}

/// Stops listening. May sleep.
pub(super) fn unregister() {
    // SAFETY: registered before.
    unsafe {
        c::unregister_inet6addr_notifier(ADDRESSES6.0.get());
        c::unregister_inetaddr_notifier(ADDRESSES4.0.get());
        c::unregister_netdevice_notifier(DEVICES.0.get());
    }
}
