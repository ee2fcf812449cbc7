//! Attaching ipsecN to a physical device: makes the TUN device, the sockets and the threads, and takes them down.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use klips::{DeviceError, DeviceId, Physical};

use super::Host;
use crate::home::Pending;
use crate::link::{self, LinkError};
use crate::path::emit::Emitter;
use crate::path::inbound::Receivers;
use crate::path::outbound;
use crate::raw::answer::Answers;
use crate::raw::{Outgoing, RawError};
use crate::sys::stop::Stop;
use crate::tun::ipv::Layout;
use crate::tun::vnet;
use crate::tun::{Tun, TunError, TunQueue, device};

/// Why a device could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The ipsecN side.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The physical side.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The raw sockets.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// The core refused.
    #[error("{device}: {error}")]
    Device {
        /// Which ipsecN.
        device: String,
        /// The core's reason.
        error: DeviceError,
    },
    /// An ipsecN as physical device.
    #[error("{0} is an IPsec interface itself: attach to the physical interface below it")]
    NotPhysical(String),
    /// No threads or descriptors left.
    #[error("{device}: cannot start its threads: {error}")]
    Threads {
        /// Which ipsecN.
        device: DeviceId,
        /// The system's answer.
        error: io::Error,
    },
}

/// What packets for ipsecN need: its TUN queues for those that arrive, and an emitter for held ones that are released.
pub struct Writers {
    device: DeviceId,
    queues: Vec<TunQueue>,
    emitter: Mutex<Emitter>,
}

impl Writers {
    /// Gives a frame to the host's stack. One flow always takes the same queue, since the kernel sends the flow's
    /// answers to the queue that it came by.
    pub fn write(&self, frame: &[u8]) {
        let Some(queue) = self.queues.get(flow(frame) % self.queues.len().max(1)) else {
            return;
        };
        if let Err(error) = queue.write(frame) {
            tracing::debug!(device = %self.device, "packet not delivered: {error}");
        }
    }

    /// Sends a packet that was held.
    pub fn send(&self, host: &Host, pending: &mut Pending, packet: &[u8]) {
        let mut emitter = self.emitter.lock().unwrap_or_else(PoisonError::into_inner);
        emitter.emit_one(host, pending, packet);
    }
}

/// A number that is the same for all packets of a flow.
fn flow(frame: &[u8]) -> usize {
    let packet = frame.get(vnet::LEN..).unwrap_or(&[]);
    let Some(layout) = Layout::new_checked(packet) else {
        return 0;
    };
    let ports = if layout.fragment {
        None
    } else {
        packet.get(layout.header..layout.header + 4)
    };
    layout
        .addresses(packet)
        .iter()
        .chain(ports.unwrap_or(&[]))
        .fold(0usize, |sum, octet| {
            sum.wrapping_mul(31).wrapping_add(usize::from(*octet))
        })
}

/// Says that a device has more addresses than the core keeps, unless it had `before`.
pub(super) fn warn_of_addresses(now: &Physical, before: Option<&Physical>) {
    if let Some(too_many) = now.too_many(before) {
        tracing::warn!("{too_many}");
    }
}

/// An attached device: its threads end when this is dropped.
pub struct Attached {
    /// What it is attached to, as last told to the core.
    pub physical: Physical,
    /// Interface index of ipsecN itself.
    pub index: u32,
    /// The physical device has vanished. ipsecN stays, so that the routes to it do; what is sent there is dropped.
    pub rests: bool,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
    receivers: Option<Arc<Receivers>>,
    /// Keeps ipsecN while nobody reads from it.
    _queue: TunQueue,
}

impl Attached {
    /// Ends the threads and the sockets of a physical device that has vanished.
    pub fn rest(&mut self) {
        self.rests = true;
        self.end_threads();
        self.receivers = None;
    }

    fn end_threads(&mut self) {
        self.stop.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.end_threads();
    }
}

impl Host {
    /// Makes `ipsecN` and attaches it to the physical interface `physical`. `mtu`: what it is to show (`overridemtu`).
    ///
    /// # Errors
    /// See [`AttachError`]; nothing has changed then.
    pub fn attach(
        self: &Arc<Self>,
        name: &str,
        physical: &str,
        mtu: Option<u16>,
    ) -> Result<(), AttachError> {
        let device = device_id(name)?;
        if device::parse_name(physical).is_ok() {
            return Err(AttachError::NotPhysical(physical.to_owned()));
        }
        let physical = link::look_up(physical)?;
        let refused = |error| AttachError::Device {
            device: name.to_owned(),
            error,
        };
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        self.write()
            .attach(device, physical, mtu.map(u32::from))
            .map_err(refused)?;
        let sharing = attached
            .iter()
            .flatten()
            .find(|a| a.physical.index == physical.index && !a.rests);
        let receivers = sharing.and_then(|a| a.receivers.clone());
        match self.start(device, physical, mtu, receivers) {
            Ok((new, writers)) => {
                attached[device.index()] = Some(new);
                self.set_writers(device, Some(writers));
                self.receive_elsewhere(&attached[..]);
                tracing::info!("{name} attached to {}", physical.name.as_str());
                warn_of_addresses(&physical, None);
                Ok(())
            }
            Err(error) => {
                let _ = self.write().detach(device);
                Err(error)
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        device: DeviceId,
        physical: Physical,
        mtu: Option<u16>,
        receivers: Option<Arc<Receivers>>,
    ) -> Result<(Attached, Arc<Writers>), AttachError> {
        let threads_error = |error| AttachError::Threads { device, error };
        let name = device.to_string();
        let on = physical.name.as_str();
        let mut tun = Tun::open(&name, self.workers, mtu.unwrap_or(device::DEFAULT_MTU))?;
        quieten(&name);
        let index =
            nix::net::if_::if_nametoindex(name.as_str()).map_err(|e| threads_error(e.into()))?;
        let receivers = match receivers {
            Some(shared) => shared,
            None => Arc::new(Receivers::start(self, on, physical.index)?),
        };
        let queues = tun.take_queues();
        let copies = || {
            queues
                .iter()
                .map(TunQueue::try_clone)
                .collect::<io::Result<Vec<_>>>()
        };
        let copy = || {
            queues
                .first()
                .map_or_else(|| Err(io::ErrorKind::NotFound.into()), TunQueue::try_clone)
        };
        let outgoing = Outgoing::open(on, physical.index)?;
        let answers = Arc::new(Answers::open().map_err(threads_error)?);
        let emitter = |copy| {
            let outgoing = outgoing.share().map_err(threads_error)?;
            Ok::<_, AttachError>(Emitter::new(device, outgoing, copy, answers.clone()))
        };
        let writers = Arc::new(Writers {
            device,
            queues: copies().map_err(threads_error)?,
            emitter: Mutex::new(emitter(copy().map_err(threads_error)?)?),
        });
        let stop = Arc::new(Stop::new().map_err(threads_error)?);
        let mut new = Attached {
            physical,
            index,
            rests: false,
            stop: stop.clone(),
            threads: Vec::new(),
            receivers: Some(receivers),
            _queue: copy().map_err(threads_error)?,
        };
        for (number, queue) in queues.into_iter().enumerate() {
            let emitter = emitter(queue.try_clone().map_err(threads_error)?)?;
            let (host, stop) = (self.clone(), stop.clone());
            let thread = std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || outbound::run(&host, &queue, emitter, &stop))
                .map_err(threads_error)?;
            new.threads.push(thread);
        }
        Ok((new, writers))
    }

    /// Detaches `ipsecN`, which vanishes.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn detach(&self, name: &str) -> Result<(), AttachError> {
        let device = self.device_named(name)?;
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |error| AttachError::Device {
            device: name.to_owned(),
            error,
        };
        self.write().detach(device).map_err(refused)?;
        self.set_writers(device, None);
        attached[device.index()] = None;
        self.receive_elsewhere_again(&attached[..]);
        tracing::info!("{name} detached");
        Ok(())
    }

    /// Detaches all devices.
    pub fn clear(&self) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        self.write().clear();
        for device in (0..attached.len()).filter_map(DeviceId::new) {
            self.set_writers(device, None);
            attached[device.index()] = None;
        }
        self.receive_elsewhere_again(&attached[..]);
    }

    /// The ipsec device of this name, which somebody may have given it.
    fn device_named(&self, name: &str) -> Result<DeviceId, TunError> {
        let klips = self.read();
        let renamed = |id: &DeviceId| {
            let given = klips.device(*id).name;
            given.is_some_and(|given| given.as_str() == name)
        };
        let all = (0..klips::device::MAX_DEVICES).filter_map(DeviceId::new);
        all.into_iter()
            .find(renamed)
            .map_or_else(|| device_id(name), Ok)
    }

    /// Begins to receive by devices that nothing is attached to, or leaves out those that something is attached to now.
    fn receive_elsewhere(self: &Arc<Self>, attached: &[Option<Attached>]) {
        if self.receive_elsewhere_again(attached) {
            return;
        }
        match Receivers::elsewhere(self, &numbers(attached)) {
            Ok(receivers) => *self.elsewhere() = Some(receivers),
            Err(error) => tracing::warn!("packets by other devices are not received: {error}"),
        }
    }

    /// The same where it has begun, which is the answer; ends it where nothing is attached any more.
    fn receive_elsewhere_again(&self, attached: &[Option<Attached>]) -> bool {
        let devices = numbers(attached);
        let ended = {
            let mut elsewhere = self.elsewhere();
            if let Some(receivers) = &*elsewhere
                && !devices.is_empty()
            {
                receivers.leave_out(&devices);
                return true;
            }
            elsewhere.take()
        };
        // Its thread may wait for the lock.
        drop(ended);
        false
    }

    fn elsewhere(&self) -> std::sync::MutexGuard<'_, Option<Receivers>> {
        self.elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The physical device of `device` has vanished.
    pub(super) fn rest(&self, device: DeviceId) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &mut attached[device.index()] {
            self.write().physical_gone(known.physical.index);
            self.set_writers(device, None);
            known.rest();
        }
    }

    fn set_writers(&self, device: DeviceId, writers: Option<Arc<Writers>>) {
        let mut table = self.writers.write().unwrap_or_else(PoisonError::into_inner);
        table[device.index()] = writers;
    }
}

/// The numbers of the devices that something is attached to.
fn numbers(attached: &[Option<Attached>]) -> Vec<u32> {
    attached
        .iter()
        .flatten()
        .map(|attached| attached.physical.index)
        .collect()
}

fn device_id(name: &str) -> Result<DeviceId, TunError> {
    DeviceId::from_name(name).ok_or_else(|| TunError::BadName(name.chars().take(32).collect()))
}

/// What the kernel would do by itself on a new device and must not on ipsecN: drop packets whose way back is
/// another, and send router solicitations.
fn quieten(name: &str) {
    for (file, value) in [
        ("ipv4/conf", "rp_filter=0"),
        ("ipv6/conf", "addr_gen_mode=1"),
        ("ipv6/conf", "accept_ra=0"),
    ] {
        let Some((key, value)) = value.split_once('=') else {
            continue;
        };
        let path = format!("/proc/sys/net/{file}/{name}/{key}");
        if let Err(error) = std::fs::write(&path, value) {
            tracing::debug!("{path} not set to {value}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_first() {
        let error = device_id("eth0").unwrap_err().to_string();
        assert!(error.contains("ipsec0"), "{error}");
        assert_eq!(device_id("ipsec9").unwrap().index(), 9);
    }
}
