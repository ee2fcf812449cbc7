//! Following the physical devices: their MTU, addresses and names go to the core as they change, and ipsecN is
//! detached when its physical device is gone.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use klips::{DeviceId, Physical};

use super::Host;
use crate::link::{self, Watch};
use crate::sys::stop::Stop;

impl Host {
    /// Follows until told to stop.
    pub fn follow(&self, watch: &Watch, stop: &Stop) {
        while stop.wait(&[watch.as_fd()]) {
            if watch.drain() {
                self.refresh();
            }
        }
    }

    /// Looks at every attached physical device again.
    pub fn refresh(&self) {
        let mut gone = Vec::new();
        {
            let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
            for (number, slot) in attached.iter_mut().enumerate() {
                let (Some(known), Some(device)) = (slot, DeviceId::new(number)) else {
                    continue;
                };
                let (shown, called) = {
                    let klips = self.read();
                    let own = klips.device(device);
                    (own.mtu(), own.name)
                };
                if let Some(own) =
                    link::name_of(known.index).and_then(|name| link::look(&name).ok())
                {
                    if own.physical.mtu != shown {
                        self.write().device_changed(device, own.physical.mtu);
                    }
                    let usual = own.physical.name.as_str() == device.to_string();
                    if called != (!usual).then_some(own.physical.name) {
                        self.write().device_renamed(device, own.physical.name);
                    }
                }
                let now =
                    link::name_of(known.physical.index).and_then(|name| link::look(&name).ok());
                match now.filter(|now| now.physical.index == known.physical.index) {
                    None => {
                        gone.push((device, format!("{} is gone", known.physical.name.as_str())))
                    }
                    Some(_) if link::name_of(known.index).is_none() => {
                        gone.push((device, "the device was deleted".to_owned()));
                    }
                    Some(now) if differs(&known.physical, &now.physical) => {
                        known.physical = now.physical;
                        self.write().physical_changed(now.physical);
                        tracing::debug!("{} changed", now.physical.name.as_str());
                    }
                    Some(_) => {}
                }
            }
        }
        for (device, why) in gone {
            tracing::warn!("{device}: {why}; detaching");
            if let Err(error) = self.detach(&device.to_string()) {
                tracing::debug!("{error}");
            }
        }
    }
}

fn differs(a: &Physical, b: &Physical) -> bool {
    a.name != b.name || a.mtu != b.mtu || a.addresses != b.addresses
}
