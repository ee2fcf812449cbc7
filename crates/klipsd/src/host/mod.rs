//! One host's KLIPS in user space: the tables behind their lock, the attached devices, and who is told
//! what. The packet threads are in `path`, the sockets that people talk to in `control`.

mod attach;
mod follow;

pub use attach::{AttachError, Writers};

use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use klips::device::MAX_DEVICES;
use klips::{Context, Klips, NoMemory};

use crate::clear::Changes;
use crate::control::listeners::{ClientId, Listeners};
use crate::home::{Pending, UserHome};
use crate::path::inbound::Receivers;
use crate::path::lanes::Lanes;
use attach::Attached;

/// Entries that one tick looks at under one lock.
const TICK_BUDGET: usize = 65_536;
/// Rounds of releasing held packets which themselves cause more; a bound, not an expectation.
const SETTLE_ROUNDS: usize = 4;

type WriterTable = [Option<Arc<Writers>>; MAX_DEVICES];

/// The host.
pub struct Host {
    /// What the core gets from user space.
    pub home: UserHome,
    /// The open PF_KEY sockets.
    pub listeners: Listeners,
    /// Whose turn it is to send.
    pub lanes: Lanes,
    klips: RwLock<Klips<UserHome>>,
    writers: RwLock<WriterTable>,
    attached: Mutex<[Option<Attached>; MAX_DEVICES]>,
    /// For packets by devices that nothing is attached to; none while nothing is attached at all.
    elsewhere: Mutex<Option<Receivers>>,
    workers: usize,
    /// Who is told how the eroutes change.
    pub eroutes: OnceLock<Changes>,
}

impl Host {
    /// Empty tables, no device; `workers` threads (and TUN queues) per ipsecN.
    ///
    /// # Errors
    /// No memory for the tables.
    pub fn new(listeners: Listeners, workers: usize) -> Result<Arc<Self>, NoMemory> {
        let home = UserHome;
        Ok(Arc::new(Self {
            home,
            listeners,
            lanes: Lanes::default(),
            klips: RwLock::new(Klips::new(&home)?),
            writers: RwLock::default(),
            attached: Mutex::default(),
            elsewhere: Mutex::default(),
            workers: workers.max(1),
            eroutes: OnceLock::new(),
        }))
    }

    /// The tables, for packets and for looking.
    pub fn read(&self) -> RwLockReadGuard<'_, Klips<UserHome>> {
        self.klips.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, for changing.
    pub fn write(&self) -> RwLockWriteGuard<'_, Klips<UserHome>> {
        self.klips.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the machine started, asleep or not; whoever sets the wall clock does not change them.
    #[must_use]
    pub fn now(&self) -> u64 {
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .map_or(0, |t| t.tv_sec().unsigned_abs())
    }

    /// The devices that packets can be given to now.
    #[must_use]
    pub fn writers(&self) -> WriterTable {
        self.writers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Does what the core wanted said and sent. `sender`: whose request it was. The tables must not be locked by the caller.
    pub fn settle(&self, pending: &mut Pending, sender: Option<ClientId>) {
        for _ in 0..SETTLE_ROUNDS {
            if pending.is_empty() {
                return;
            }
            let now = std::mem::take(pending);
            if let Some(changes) = self.eroutes.get() {
                // Nobody listens any more where it ends.
                for change in &now.eroutes {
                    let _ = changes.send(*change);
                }
            }
            for acquire in self.listeners.deliver(&now.messages, sender) {
                self.write().acquire_lost(acquire);
            }
            for (device, packet) in &now.released {
                if let Some(Some(writers)) = self.writers().get(device.index()) {
                    writers.send(self, pending, packet);
                }
            }
        }
    }

    /// Handles one PF_KEY request: a piece at a time where it is about a whole table, so that packets go on.
    pub fn request(&self, socket: &mut klips::Socket, message: &[u8]) -> Pending {
        let mut pending = Pending::default();
        let mut cx = Context {
            home: &self.home,
            now: self.now(),
            out: &mut pending,
        };
        self.write().pfkey(&mut cx, socket, message);
        while socket.is_sweeping() {
            self.write().pfkey(&mut cx, socket, message);
        }
        pending
    }

    /// Tells some more of a DUMP.
    pub fn dump_more(&self, socket: &mut klips::Socket) -> Pending {
        let mut pending = Pending::default();
        let mut cx = Context {
            home: &self.home,
            now: self.now(),
            out: &mut pending,
        };
        self.read().dump_more(&mut cx, socket);
        pending
    }

    /// A second passed.
    pub fn tick(&self) {
        let mut pending = Pending::default();
        let mut cx = Context {
            home: &self.home,
            now: self.now(),
            out: &mut pending,
        };
        self.write().tick(&mut cx, TICK_BUDGET);
        self.settle(&mut pending, None);
    }
}
