// SPDX-License-Identifier: GPL-2.0

//! One network namespace's KLIPS: its tables, its devices, its PF_KEY sockets, and the way to each.
//!
//! Not here: what becomes of packets (`transmit`, `receive`), or anything unsafe (`sys`).

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};

use kernel::prelude::*;
use klips::device::MAX_DEVICES;
use klips::{Context, DeviceId, Klips};

use crate::home::{self, KernelHome, Said};
use crate::pfkey::{SocketId, Sockets};
use crate::proc::Births;
use crate::sys::device::Devices;
use crate::sys::gate::Gate;
use crate::sys::hooks::Hooks;
use crate::sys::net::Net;
use crate::sys::proc;
use crate::sys::provision::Stash;
use crate::sys::skb::{Chain, Queue, Routes, Skb};
use crate::sys::sysctl::Switches;
use crate::sys::work::{Delayed, Work};

/// How many packets wait to be put before the writer because they met a trap.
const MAX_TRAPPED: u32 = 256;
/// How many SAs are aged at one closing of the gate.
const TICK: usize = 1024;
/// Between two agings, in milliseconds.
const TICK_MS: u32 = 1000;

/// One namespace's KLIPS.
pub(crate) struct Host {
    /// Its namespace.
    pub(crate) net: Net,
    /// Its ipsecN.
    pub(crate) devices: Devices,
    /// Its PF_KEY sockets.
    pub(crate) sockets: Sockets,
    /// For each ipsecN the number of the physical device; 0: none. So that a packet that is not for
    /// us need not go to the gate.
    physical: [AtomicU32; MAX_DEVICES],
    /// For each ipsecN what room its packets need.
    rooms: [AtomicRoom; MAX_DEVICES],
    /// Routes that its packets went by.
    pub(crate) routes: Routes,
    /// Its birth packets.
    pub(crate) births: Births,
    /// Its `/proc/sys/net/ipsec`.
    switches: Switches,
    icmp: Hooks,
    clear: Hooks,
    tables: Gate<Klips<KernelHome>>,
    trapped: Queue,
    trap: Work,
    tick: Delayed,
    refresh: Work,
}

/// The room around packets that an ipsecN needs, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    /// For the physical device's link layer, before all else.
    pub(crate) link: usize,
    /// For the headers of its SA groups.
    pub(crate) head: usize,
    /// For padding and authenticators.
    pub(crate) tail: usize,
}

#[derive(Default)]
struct AtomicRoom {
    link: AtomicU32,
    head: AtomicU32,
    tail: AtomicU32,
}

impl Host {
    /// An empty one. It begins to live with [`Self::start`], once it is where it will stay.
    pub(crate) fn new(net: Net) -> Result<Self> {
        Ok(Self {
            net,
            devices: Devices::new(),
            sockets: Sockets::new(),
            physical: Default::default(),
            rooms: Default::default(),
            routes: Routes::new().map_err(|_| ENOMEM)?,
            births: Births::new(),
            switches: Switches::new(),
            icmp: crate::sys::icmp::hooks(),
            clear: crate::sys::clear::hooks(),
            tables: Gate::new(Klips::new).map_err(|_| ENOMEM)?,
            trapped: Queue::new(),
            trap: Work::new(Self::do_trapped),
            tick: Delayed::new(Self::do_tick),
            refresh: Work::new(crate::device::refresh),
        })
    }

    /// Brings up what runs by itself and what user space sees. On an error [`Self::stop`] is to be
    /// called all the same.
    pub(crate) fn start(&'static self) -> Result<(), i32> {
        self.trapped.init();
        self.trap.init(self);
        self.refresh.init(self);
        self.tick.init(self);
        self.devices
            .start(self, crate::sys::device::usual_count())?;
        proc::start(self)?;
        self.switches.start(self)?;
        self.icmp.start(self)?;
        self.clear.start(self)?;
        self.tick.after(TICK_MS);
        Ok(())
    }

    /// Takes all of that down again; afterwards nothing refers to the host. May sleep.
    pub(crate) fn stop(&self) {
        self.clear.stop(self);
        self.icmp.stop(self);
        self.switches.stop();
        proc::stop(self);
        self.devices.stop(0);
        self.refresh.cancel();
        self.tick.cancel();
        self.trap.cancel();
    }

    fn context<'a>(home: &'a KernelHome, said: &'a mut Said) -> Context<'a, KernelHome> {
        Context {
            home,
            now: crate::sys::now(),
            out: said,
        }
    }

    /// Reads the tables: the packet path, `/proc`. `f` must not sleep.
    pub(crate) fn read<R>(
        &self,
        f: impl FnOnce(&Klips<KernelHome>, &mut Context<'_, KernelHome>) -> R,
    ) -> R {
        self.read_for(None, f)
    }

    /// The same where nothing is said and no time is asked for: for each packet that the stack
    /// handles.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&Klips<KernelHome>) -> R) -> R {
        self.tables.read(|klips, _| f(klips))
    }

    /// Reads for a request of `sender`'s.
    pub(crate) fn read_for<R>(
        &self,
        sender: Option<SocketId>,
        f: impl FnOnce(&Klips<KernelHome>, &mut Context<'_, KernelHome>) -> R,
    ) -> R {
        let mut said = Said::default();
        let answer = self
            .tables
            .read(|klips, home| f(klips, &mut Self::context(home, &mut said)));
        self.tell(sender, &mut said);
        self.let_go(&mut said);
        answer
    }

    /// Writes the tables; process context only. `f` runs again from the start, and what it said is
    /// forgotten, for as long as it lacks memory or a transform object that had to be made first: a
    /// core call that fails for lack of memory has changed nothing.
    pub(crate) fn write<R>(
        &self,
        sender: Option<SocketId>,
        mut f: impl FnMut(&mut Klips<KernelHome>, &mut Context<'_, KernelHome>) -> R,
    ) -> R {
        let stash = RefCell::new(Stash::default());
        let (answer, mut said, mut writer) = loop {
            let mut said = Said::default();
            let mut writer = self.tables.writer();
            let answer = writer.write(&stash, |klips, home| {
                f(klips, &mut Self::context(home, &mut said))
            });
            if !stash.borrow().lacked() {
                break (answer, said, writer);
            }
            // Making a transform may take a module's loading, and large memory may take reclaim:
            // nobody waits for that but us.
            drop(writer);
            if stash.borrow_mut().provide().is_err() {
                stash.borrow_mut().give_up();
            }
        };
        // Still the only writer, so that listeners hear of changes in the order they were made in.
        let mut unheard = self.tell(sender, &mut said);
        while let Some(acquire) = unheard.take() {
            writer.write(&stash, |klips, _| klips.acquire_lost(acquire.bytes()));
        }
        drop(writer);
        self.let_go(&mut said);
        answer
    }

    /// Gives what was said to whom it is for. Answers the ACQUIREs that nobody will hear who wants
    /// to.
    fn tell(&self, sender: Option<SocketId>, said: &mut Said) -> Chain {
        let mut unheard = Chain::default();
        while let Some(mut message) = said.messages.take() {
            let audience = home::audience(&mut message);
            if !self.sockets.broadcast(audience, sender, &message) && is_acquire(&message) {
                unheard.put(message);
            }
        }
        if said.lost && crate::sys::may_log() {
            pr_warn!("no memory for what KLIPS had to say or send\n");
        }
        unheard
    }

    fn let_go(&self, said: &mut Said) {
        while let Some(mut packet) = said.released.take() {
            if let Some(device) = home::device(&mut packet) {
                crate::transmit::transmit(self, device, packet);
            }
        }
    }

    /// Whether an ipsecN is attached to physical device number `index`.
    pub(crate) fn is_attached(&self, index: u32) -> bool {
        index != 0
            && self
                .physical
                .iter()
                .any(|p| p.load(Ordering::Relaxed) == index)
    }

    /// Whether any ipsecN is attached to anything.
    pub(crate) fn is_any_attached(&self) -> bool {
        self.physical.iter().any(|p| p.load(Ordering::Relaxed) != 0)
    }

    /// Counts a packet that came by device number `physical` and was lost before the core saw it:
    /// at the ipsecN that is attached there, or else at the first that is attached.
    pub(crate) fn count_refused(&self, physical: u32) {
        let at = |right: &dyn Fn(u32) -> bool| {
            self.physical
                .iter()
                .position(|p| right(p.load(Ordering::Relaxed)))
        };
        let number = at(&|p| p == physical).or_else(|| at(&|p| p != 0));
        if let Some(device) = number.and_then(DeviceId::new) {
            self.devices.count_rx_dropped(device);
        }
    }

    /// The number of the physical device of `device`; 0: none.
    pub(crate) fn physical_of(&self, device: DeviceId) -> u32 {
        self.physical
            .get(device.index())
            .map_or(0, |p| p.load(Ordering::Relaxed))
    }

    /// The room that packets of `device` need, as far as is known.
    pub(crate) fn room_of(&self, device: DeviceId) -> Room {
        let get = |n: &AtomicU32| n.load(Ordering::Relaxed) as usize;
        let room = self.rooms.get(device.index());
        room.map_or(
            Room {
                link: 0,
                head: 0,
                tail: 0,
            },
            |r| Room {
                link: get(&r.link),
                head: get(&r.head),
                tail: get(&r.tail),
            },
        )
    }

    /// Notes that a packet of `device` lacked room: from now on the stack leaves as much.
    pub(crate) fn need_room(&self, device: DeviceId, head: usize, tail: usize) {
        if let Some(room) = self.rooms.get(device.index()) {
            room.head.fetch_max(head as u32, Ordering::Relaxed);
            room.tail.fetch_max(tail as u32, Ordering::Relaxed);
            self.devices.need_room(
                device,
                room.link.load(Ordering::Relaxed) as usize + head,
                tail,
            );
        }
    }

    /// Notes the room that the link layer of the device needs which `device` is attached to.
    pub(crate) fn note_link(&self, device: DeviceId, header: u32) {
        if let Some(room) = self.rooms.get(device.index()) {
            room.link.store(header, Ordering::Relaxed);
        }
    }

    /// Brings the numbers of the physical devices up to date after an attach or detach.
    pub(crate) fn note_attached(&self) {
        self.read(|klips, _| {
            for (n, index) in self.physical.iter().enumerate() {
                let now = DeviceId::new(n)
                    .and_then(|id| klips.device(id).physical)
                    .map_or(0, |p| p.index);
                index.store(now, Ordering::Relaxed);
            }
        });
    }

    /// Has the addresses and MTUs of the physical devices looked at again, soon. Any context.
    pub(crate) fn refresh_soon(&self) {
        self.refresh.soon();
    }

    /// Has a packet that met a trap put before the writer. Any context.
    pub(crate) fn trap_soon(&self, device: DeviceId, mut packet: Skb) {
        home::set_device(&mut packet, device);
        if self.trapped.put(packet, MAX_TRAPPED).is_err() {
            self.devices.count_tx_dropped(device);
        }
        self.trap.soon();
    }

    fn do_trapped(&self) {
        while let Some(mut packet) = self.trapped.take() {
            let Some(device) = home::device(&mut packet) else {
                continue;
            };
            let Some(mut packet) = packet.prepare(0, 0) else {
                self.devices.count_tx_dropped(device);
                continue;
            };
            let verdict = self.write(None, |klips, cx| {
                packet.with_packet(0, |packet| klips.trap(cx, device, packet))
            });
            crate::transmit::act(self, device, packet, verdict);
        }
    }

    fn do_tick(&self) {
        let mut left = self.read(|klips, _| klips.sadb().len()).max(1);
        while left != 0 {
            let step = left.min(TICK);
            self.write(None, |klips, cx| klips.tick(cx, step));
            left -= step;
        }
        self.tick.after(TICK_MS);
    }
}

fn is_acquire(message: &Skb) -> bool {
    pfkey::Header::parse(message.bytes()).is_ok_and(|h| h.msg_type == pfkey::MsgType::Acquire as u8)
}
