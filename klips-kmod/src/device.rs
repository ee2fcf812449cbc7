// SPDX-License-Identifier: GPL-2.0

//! ipsecN and their physical devices: attached, detached, and followed through what happens to
//! them.
//!
//! A physical device that goes down keeps its ipsecN: its routes are gone meanwhile, so nothing
//! leaves. Where one is taken away ipsecN stays, closed, with the routes to it, until there is another
//! of the same name.

use core::ffi::CStr;

use kernel::prelude::*;
use klips::device::MAX_DEVICES;
use klips::{DeviceError, DeviceId, Physical};

use crate::host::Host;
use crate::sys::device;
use crate::sys::rtnl::Rtnl;

/// Why a device could not be attached or detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachError {
    /// There is no such physical device.
    NoDevice,
    /// The physical device is an ipsecN.
    Itself,
    /// The core refuses.
    Core(DeviceError),
}

impl AttachError {
    /// As an errno, positive.
    pub(crate) fn errno(self) -> i32 {
        -match self {
            Self::NoDevice => ENXIO,
            Self::Core(DeviceError::Busy) => EBUSY,
            Self::Core(DeviceError::NotAttached) => ENODEV,
            Self::Itself | Self::Core(DeviceError::BadMtu) => EINVAL,
        }
        .to_errno()
    }
}

fn ids() -> impl Iterator<Item = DeviceId> {
    (0..MAX_DEVICES).filter_map(DeviceId::new)
}

/// Says that a device has more addresses than the core keeps.
fn warn_of_addresses(now: &Physical) {
    if let Some(too_many) = now.too_many(None) {
        pr_warn!("{}\n", too_many);
    }
}

/// Attaches ipsecN to the device called `name`; `mtu` is what ipsecN is to show instead of its
/// default.
pub(crate) fn attach(
    rtnl: &Rtnl,
    host: &Host,
    id: DeviceId,
    name: &CStr,
    mtu: Option<u32>,
) -> Result<(), AttachError> {
    let look = device::look_up(rtnl, &host.net, name).ok_or(AttachError::NoDevice)?;
    if look.is_ours {
        return Err(AttachError::Itself);
    }
    host.write(None, |klips, _| klips.attach(id, look.physical, mtu))
        .map_err(AttachError::Core)?;
    warn_of_addresses(&look.physical);
    host.note_link(id, look.link_header);
    show(rtnl, host, id);
    Ok(())
}

/// Takes ipsecN off its device.
pub(crate) fn detach(rtnl: &Rtnl, host: &Host, id: DeviceId) -> Result<(), AttachError> {
    host.write(None, |klips, _| klips.detach(id))
        .map_err(AttachError::Core)?;
    show(rtnl, host, id);
    Ok(())
}

/// Takes all ipsecN off their devices.
pub(crate) fn clear(rtnl: &Rtnl, host: &Host) {
    host.write(None, |klips, _| klips.clear());
    ids().for_each(|id| show(rtnl, host, id));
}

/// Has so many ipsecN in this namespace: those above go, detached. May sleep; not under RTNL.
pub(crate) fn set_count(host: &'static Host, count: usize) -> Result {
    if count > MAX_DEVICES {
        return Err(EINVAL);
    }
    host.devices.stop(count);
    // Now nobody can attach them again.
    Rtnl::with(|rtnl| {
        for id in ids().skip(count) {
            let _ = detach(rtnl, host, id);
        }
    });
    host.devices.start(host, count).map_err(Error::from_errno)
}

/// Brings what is seen of ipsecN up to what the tables say.
fn show(rtnl: &Rtnl, host: &Host, id: DeviceId) {
    host.note_attached();
    // Without a physical device there is no MTU to show. Below IPv4's smallest the stack would forget
    // ipsecN's addresses and the routes to it, and packets would leave by others, in the clear.
    let mtu = host.read(|klips, _| klips.device(id).mtu());
    if mtu != 0 {
        host.devices.set_mtu(rtnl, id, mtu);
    }
}

/// Physical device number `index` goes away. By number, since a name that is no text is
/// one that we cannot know.
pub(crate) fn gone(_: &Rtnl, host: &Host, index: u32) {
    for id in ids().filter(|id| host.physical_of(*id) == index) {
        pr_info!(
            "the physical device of {} is gone: {} drops packets until there is another of that name\n",
            id,
            id
        );
    }
    host.write(None, |klips, _| klips.physical_gone(index));
    host.note_attached();
}

/// A device has come up: an ipsecN may wait for one of its name.
pub(crate) fn came_up(rtnl: &Rtnl, host: &Host, look: &device::Look) {
    let name = look.physical.name;
    let waiting = host.read(|klips, _| klips.waiting_for(name.as_str()));
    let Some((id, mtu)) = waiting.filter(|_| !look.is_ours) else {
        return;
    };
    if host
        .write(None, |klips, _| klips.attach(id, look.physical, mtu))
        .is_ok()
    {
        pr_info!("{} is attached to the new {}\n", id, name.as_str());
        warn_of_addresses(&look.physical);
        host.note_link(id, look.link_header);
        show(rtnl, host, id);
    }
}

/// Somebody gave ipsecN an MTU.
pub(crate) fn own_changed(_: &Rtnl, host: &Host, id: DeviceId, mtu: u32) {
    if host.read(|klips, _| klips.device(id).mtu() != mtu) {
        host.write(None, |klips, _| klips.device_changed(id, mtu));
    }
}

/// A physical device may have changed.
pub(crate) fn update(_: &Rtnl, host: &Host, now: Physical) {
    let differs = |p: &Physical| {
        p.index == now.index
            && (p.name != now.name
                || p.mtu != now.mtu
                || p.addresses != now.addresses
                || p.left_out != now.left_out)
    };
    let news = host.read(|klips, _| {
        ids().find_map(|id| {
            let known = klips.device(id).physical.as_ref().filter(|p| differs(p))?;
            Some(now.too_many(Some(known)))
        })
    });
    if let Some(too_many) = news {
        if let Some(too_many) = too_many {
            pr_warn!("{}\n", too_many);
        }
        host.write(None, |klips, _| klips.physical_changed(now));
    }
}

/// Looks at all attached devices again.
pub(crate) fn refresh(host: &Host) {
    Rtnl::with(|rtnl| {
        for id in ids() {
            if let Some(look) = device::look_at(rtnl, &host.net, host.physical_of(id)) {
                update(rtnl, host, look.physical);
            }
        }
    });
}
