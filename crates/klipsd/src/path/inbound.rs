//! The threads of one physical device's raw sockets, and of those for all other devices: IPsec packets for this host, and routers'
//! "too big".

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use klips::device::MAX_DEVICES;
use klips::{Context, Inbound, Packet};

use crate::home::Pending;
use crate::host::{Host, Writers};
use crate::raw::{Elsewhere, Incoming, Protocol, RawError, icmp};
use crate::sys::stop::Stop;
use crate::tun::Coalescer;

/// The receiving threads of one physical device; they end when this is dropped.
pub struct Receivers {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
    elsewhere: Vec<Elsewhere>,
}

impl Receivers {
    /// Opens the sockets on `device`, interface index `index`, and starts the threads: ESP of each family in its own, the rest in one.
    ///
    /// # Errors
    /// See [`RawError`]. No IPv6 in the system is no error.
    pub fn start(host: &Arc<Host>, device: &str, index: u32) -> Result<Self, RawError> {
        let mut groups = vec![Vec::new(), Vec::new(), Vec::new()];
        for v6 in [false, true] {
            for protocol in Protocol::ALL {
                let group = if matches!(protocol, Protocol::Esp | Protocol::EspInUdp) {
                    usize::from(v6)
                } else {
                    2
                };
                match Incoming::open(device, protocol, v6) {
                    Ok(socket) => groups[group].push(socket),
                    Err(RawError::Io { error, .. }) if v6 && no_family(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let io = |error| RawError::Io {
            device: device.to_owned(),
            error,
        };
        let stop = Arc::new(Stop::new().map_err(io)?);
        let mut receivers = Self {
            stop: stop.clone(),
            threads: Vec::new(),
            elsewhere: Vec::new(),
        };
        for (sockets, name) in groups.into_iter().zip(["esp4", "esp6", "ah-comp-icmp"]) {
            let thread = thread(host, index, format!("{name}-{device}"), sockets, &stop);
            receivers.threads.push(thread.map_err(io)?);
        }
        Ok(receivers)
    }

    /// The same, in one thread, for all devices but `devices`, to which an ipsecN is attached: routes need not be the same both ways.
    ///
    /// # Errors
    /// See [`RawError`].
    pub fn elsewhere(host: &Arc<Host>, devices: &[u32]) -> Result<Self, RawError> {
        let (mut sockets, mut handles) = (Vec::new(), Vec::new());
        for v6 in [false, true] {
            for protocol in Protocol::ALL {
                match Incoming::elsewhere(devices, protocol, v6) {
                    Ok((socket, handle)) => {
                        sockets.push(socket);
                        handles.push(handle);
                    }
                    Err(RawError::Io { error, .. }) if v6 && no_family(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let io = |error| RawError::Io {
            device: "any device".to_owned(),
            error,
        };
        let stop = Arc::new(Stop::new().map_err(io)?);
        let started = thread(host, NOWHERE, "elsewhere".to_owned(), sockets, &stop);
        Ok(Self {
            threads: vec![started.map_err(io)?],
            stop,
            elsewhere: handles,
        })
    }

    /// Has those of [`Self::elsewhere`] leave out these devices from now on.
    pub fn leave_out(&self, devices: &[u32]) {
        for handle in &self.elsewhere {
            if let Err(error) = handle.leave_out(devices) {
                tracing::warn!("the filter of a raw socket can't be changed: {error}");
            }
        }
    }
}

/// No device has this number.
const NOWHERE: u32 = 0;

fn thread(
    host: &Arc<Host>,
    index: u32,
    name: String,
    sockets: Vec<Incoming>,
    stop: &Arc<Stop>,
) -> io::Result<JoinHandle<()>> {
    let (host, stop) = (host.clone(), stop.clone());
    std::thread::Builder::new()
        .name(name)
        .spawn(move || Receiver::new(host, index).run(sockets, &stop))
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.stop.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn no_family(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
    )
}

struct Receiver {
    host: Arc<Host>,
    physical: u32,
    joined: [Option<Coalescer>; MAX_DEVICES],
    pending: Pending,
}

impl Receiver {
    fn new(host: Arc<Host>, physical: u32) -> Self {
        Self {
            host,
            physical,
            joined: Default::default(),
            pending: Pending::default(),
        }
    }

    fn run(mut self, mut sockets: Vec<Incoming>, stop: &Stop) {
        loop {
            let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
            if sockets.is_empty() || !stop.wait(&fds) {
                return;
            }
            for socket in &mut sockets {
                self.drain(socket);
            }
        }
    }

    fn drain(&mut self, socket: &mut Incoming) {
        match socket.recv() {
            Ok(0) => {}
            Ok(count) if socket.protocol == Protocol::Icmp => self.too_big(socket, count),
            Ok(count) => self.batch(socket, count),
            // ENETDOWN comes once per going down; the socket works again when the device is up.
            Err(error) => tracing::debug!("raw socket: {error}"),
        }
    }

    fn too_big(&self, socket: &mut Incoming, count: usize) {
        let v6 = socket.v6;
        for index in 0..count {
            let Some(arrived) = socket.get(index) else {
                continue;
            };
            let Some(packet) = arrived.buffer.get(arrived.start..arrived.end) else {
                continue;
            };
            let message = if v6 {
                packet
                    .get(crate::raw::header6::LEN..)
                    .and_then(icmp::parse_v6)
            } else {
                icmp::parse_v4(packet)
            };
            if let Some(message) = message {
                self.host
                    .read()
                    .path_mtu(self.host.now(), message.quoted, message.mtu);
            }
        }
    }

    fn batch(&mut self, socket: &mut Incoming, count: usize) {
        let host = self.host.clone();
        let writers = host.writers();
        {
            let klips = host.read();
            let mut cx = Context {
                home: &host.home,
                now: host.now(),
                out: &mut self.pending,
            };
            for index in 0..count {
                let Some(arrived) = socket.get(index) else {
                    continue;
                };
                let Some(mut packet) = Packet::new(arrived.buffer, arrived.start, arrived.end)
                else {
                    continue;
                };
                // What others' SAs are for is nothing to count.
                if self.physical == NOWHERE && !klips.knows(packet.bytes()) {
                    continue;
                }
                match klips.inbound(&mut cx, self.physical, &mut packet) {
                    Inbound::Deliver { device } => {
                        let Some(Some(to)) = writers.get(device.index()) else {
                            continue;
                        };
                        let Some(joined) = self.joined.get_mut(device.index()) else {
                            continue;
                        };
                        let joined = joined.get_or_insert_default();
                        joined.push(packet.bytes(), &mut |frame| to.write(frame));
                    }
                    Inbound::Drop(reason) => tracing::trace!("inbound dropped: {reason}"),
                }
            }
        }
        self.flush(&writers);
        host.settle(&mut self.pending, None);
    }

    fn flush(&mut self, writers: &[Option<Arc<Writers>>]) {
        for (joined, to) in self.joined.iter_mut().zip(writers) {
            if let Some(joined) = joined {
                joined.flush(&mut |frame| {
                    if let Some(to) = to {
                        to.write(frame);
                    }
                });
            }
        }
    }
}
