//! Following the physical devices: their MTU, addresses and names go to the core as they change, and ipsecN is
//! closed while its physical device is gone, and attached to the next one of that name.

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use ipsec_daemon::Changes;
use klips::{DeviceId, Physical};

use super::Host;
use super::attach::warn_of_addresses;
use crate::link;
use crate::sys::stop::Stop;

impl Host {
    /// Follows until told to stop.
    pub fn follow(self: &Arc<Self>, watch: &Changes, stop: &Stop) {
        while stop.wait(&[watch.as_fd()]) {
            if watch.drain() {
                self.refresh();
            }
        }
    }

    /// Looks at every attached physical device again.
    pub fn refresh(self: &Arc<Self>) {
        for (device, news) in self.news() {
            match news {
                News::Vanished(name) => {
                    tracing::warn!("{name} is gone; {device} waits for a device of that name");
                    self.rest(device);
                }
                News::Deleted => {
                    tracing::warn!("{device}: the device was deleted; detaching");
                    if let Err(error) = self.detach(&device.to_string()) {
                        tracing::debug!("{error}");
                    }
                }
                News::Back(name, mtu) => {
                    let mtu = mtu.and_then(|mtu| u16::try_from(mtu).ok());
                    if let Err(error) = self.attach(&device.to_string(), &name, mtu) {
                        tracing::warn!("{device} not attached to {name}, which is back: {error}");
                    }
                }
            }
        }
    }

    /// What has become of the devices. Those that are still there are brought up to date.
    fn news(&self) -> Vec<(DeviceId, News)> {
        let mut found = Vec::new();
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, slot) in attached.iter_mut().enumerate() {
            let (Some(known), Some(device)) = (slot, DeviceId::new(number)) else {
                continue;
            };
            let Some(own) = link::name_of(known.index) else {
                found.push((device, News::Deleted));
                continue;
            };
            let name = known.physical.name.as_str();
            if known.rests {
                let waiting = self.read().waiting_for(name);
                if let Some((_, mtu)) = waiting.filter(|_| link::look_up(name).is_ok()) {
                    found.push((device, News::Back(name.to_owned(), mtu)));
                }
                continue;
            }
            let (shown, called) = {
                let klips = self.read();
                let own = klips.device(device);
                (own.mtu(), own.name)
            };
            if let Ok(own) = link::look(&own) {
                if own.physical.mtu != shown {
                    self.write().device_changed(device, own.physical.mtu);
                }
                let usual = own.physical.name.as_str() == device.to_string();
                if called != (!usual).then_some(own.physical.name) {
                    self.write().device_renamed(device, own.physical.name);
                }
            }
            let now = link::name_of(known.physical.index).and_then(|name| link::look(&name).ok());
            match now.filter(|now| now.physical.index == known.physical.index) {
                None => found.push((device, News::Vanished(name.to_owned()))),
                Some(now) if differs(&known.physical, &now.physical) => {
                    warn_of_addresses(&now.physical, Some(&known.physical));
                    known.physical = now.physical;
                    self.write().physical_changed(now.physical);
                    tracing::debug!("{} changed", now.physical.name.as_str());
                }
                Some(_) => {}
            }
        }
        found
    }
}

/// What has become of an attached device.
enum News {
    /// Its physical device, of this name, is no more.
    Vanished(String),
    /// Somebody deleted ipsecN itself.
    Deleted,
    /// There is a device again of the name that it waits for; the MTU that it was attached with.
    Back(String, Option<u32>),
}

fn differs(a: &Physical, b: &Physical) -> bool {
    a.name != b.name || a.mtu != b.mtu || a.addresses != b.addresses || a.left_out != b.left_out
}
