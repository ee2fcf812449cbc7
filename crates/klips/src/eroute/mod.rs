//! Eroutes: which SA group, or which shunt, a packet goes through.
//!
//! Not here: what happens then (`outbound`), or the text of `/proc/net/ipsec_eroute` (`proc`).

mod table;

use core::sync::atomic::{AtomicU64, Ordering};

use ipsec_types::{SaId, Selector};

use crate::device::DeviceId;
use crate::home::{Home, Lock, NoMemory, Vector};
use crate::ident::Ident;

pub use table::{AddError, Eroutes};

/// The packet that a `%hold` keeps: always the last one that came.
pub struct Held<H: Home> {
    /// The ipsec device it was routed to; `None`: no packet.
    device: Option<DeviceId>,
    packet: H::Vec<u8>,
}

/// One eroute.
pub struct Eroute<H: Home> {
    /// Which packets it is for.
    pub selector: Selector,
    /// The first SA of the group they go through, or a shunt.
    pub target: SaId,
    /// The process that made it; 0: KLIPS itself, out of a trap.
    pub pid: u32,
    /// Whether KLIPS made it itself, to hold packets that met a trap.
    pub own_hold: bool,
    /// Whose traffic it is, by the key daemon; goes into ACQUIRE.
    pub ident_src: Ident<H>,
    /// And whose it is with.
    pub ident_dst: Ident<H>,
    packets: AtomicU64,
    last_used: AtomicU64,
    held: H::Lock<Held<H>>,
}

impl<H: Home> Eroute<H> {
    /// An eroute that nothing has used yet, made at `now`.
    pub fn new(selector: Selector, target: SaId, pid: u32, now: u64) -> Result<Self, NoMemory> {
        Ok(Self {
            selector,
            target,
            pid,
            own_hold: false,
            ident_src: Ident::none(),
            ident_dst: Ident::none(),
            packets: AtomicU64::new(0),
            last_used: AtomicU64::new(now),
            held: H::Lock::new(Held {
                device: None,
                packet: H::Vec::new(),
            })?,
        })
    }

    /// How many packets it was found for.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// When it was last found for a packet, or made; seconds since 1970.
    pub fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// Counts a packet.
    pub fn count(&self, now: u64) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.last_used.store(now, Ordering::Relaxed);
    }

    /// Keeps a copy of `packet` in the place of any kept before.
    pub fn hold(&self, device: DeviceId, packet: &[u8]) -> Result<(), NoMemory> {
        self.held.with(|held| {
            held.device = None;
            held.packet.clear();
            held.packet.try_reserve(packet.len())?;
            for byte in packet {
                held.packet.try_push(*byte)?;
            }
            held.device = Some(device);
            Ok(())
        })
    }

    /// Takes the held packet out, if there is one, and gives it to `f`.
    pub fn release(&self, f: impl FnOnce(DeviceId, &[u8])) {
        let taken = self.held.with(|held| {
            let device = held.device.take()?;
            Some((device, core::mem::replace(&mut held.packet, H::Vec::new())))
        });
        if let Some((device, packet)) = taken {
            f(device, &packet);
        }
    }
}
