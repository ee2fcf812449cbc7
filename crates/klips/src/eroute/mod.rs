//! Eroutes: which SA group, or which shunt, a packet goes through.
//!
//! Not here: what happens then (`outbound`), or the text of `/proc/net/ipsec_eroute` (`proc`).

mod guards;
mod table;

use core::sync::atomic::{AtomicU64, Ordering};

use ipsec_types::{MagicSpi, SaId, Selector};

use crate::device::DeviceId;
use crate::home::{Home, Lock, NoMemory, Vector};
use crate::ident::Ident;
use crate::packet::{Packet, Tag};

pub use table::{AddError, Eroutes};

/// A packet that a `%hold` keeps.
pub struct Held<H: Home> {
    /// The ipsec device it was routed to.
    pub device: DeviceId,
    /// The packet.
    pub packet: H::Vec<u8>,
    /// What the home had beside it.
    pub tag: Tag,
}

impl<H: Home> Held<H> {
    /// A copy of `packet`, which was routed to `device`.
    pub fn new(device: DeviceId, packet: &Packet<'_>) -> Result<Self, NoMemory> {
        let mut copy: H::Vec<u8> = H::Vec::new();
        copy.try_reserve(packet.len())?;
        for byte in packet.bytes() {
            copy.try_push(*byte)?;
        }
        Ok(Self {
            device,
            packet: copy,
            tag: packet.tag(),
        })
    }
}

/// What of an eroute no lookup reads.
struct Rare<H: Home> {
    own_hold: bool,
    clear_too: bool,
    idents: [Ident<H>; 2],
    /// Always the last one that came.
    held: H::Lock<Option<Held<H>>>,
}

/// One eroute. All that a packet reads and counts is in the first cache line: among 100,000 eroutes it is memory that a
/// lookup waits for.
#[repr(C, align(64))]
pub struct Eroute<H: Home> {
    /// The first SA of the group they go through, or a shunt.
    pub target: SaId,
    packets: AtomicU64,
    last_used: AtomicU64,
    /// Always one element: a box that can fail to be made.
    rare: H::Vec<Rare<H>>,
    /// Which packets it is for.
    pub selector: Selector,
    /// The process that made it; 0: KLIPS itself, out of a trap.
    pub pid: u32,
}

impl<H: Home> Eroute<H> {
    /// An eroute that nothing has used yet, made at `now`.
    pub fn new(selector: Selector, target: SaId, pid: u32, now: u64) -> Result<Self, NoMemory> {
        let held = H::Lock::new(None)?;
        let mut rare = H::Vec::new();
        rare.try_push(Rare {
            own_hold: false,
            clear_too: false,
            idents: [Ident::none(), Ident::none()],
            held,
        })?;
        Ok(Self {
            selector,
            target,
            pid,
            packets: AtomicU64::new(0),
            last_used: AtomicU64::new(now),
            rare,
        })
    }

    /// The same, made by KLIPS itself to hold packets that met a trap.
    pub fn own_hold(selector: Selector, now: u64) -> Result<Self, NoMemory> {
        let mut eroute = Self::new(selector, SaId::magic(MagicSpi::Hold), 0, now)?;
        if let Some(rare) = eroute.rare.first_mut() {
            rare.own_hold = true;
        }
        Ok(eroute)
    }

    /// Whether KLIPS made it itself, to hold packets that met a trap.
    pub fn is_own_hold(&self) -> bool {
        self.rare.first().is_some_and(|rare| rare.own_hold)
    }

    /// Whether what comes back may come in the clear too (`SADB_X_SAFLAGS_CLEAR_TOO`).
    pub fn is_clear_too(&self) -> bool {
        self.rare.first().is_some_and(|rare| rare.clear_too)
    }

    /// Whether what comes back may come in the clear: what goes out so may, and what the eroute's maker says so of.
    pub fn lets_in(&self) -> bool {
        self.is_clear_too() || self.target.as_magic() == Some(MagicSpi::Pass)
    }

    /// Sets whether what comes back may come in the clear too.
    pub fn set_clear_too(&mut self, clear_too: bool) {
        if let Some(rare) = self.rare.first_mut() {
            rare.clear_too = clear_too;
        }
    }

    /// Whose traffic it is, source and destination, by the key daemon; goes into ACQUIRE.
    pub fn idents(&self) -> Option<&[Ident<H>; 2]> {
        self.rare.first().map(|rare| &rare.idents)
    }

    /// Sets whose traffic it is.
    pub fn set_idents(&mut self, idents: [Ident<H>; 2]) {
        if let Some(rare) = self.rare.first_mut() {
            rare.idents = idents;
        }
    }

    /// How many packets it was found for.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// When it was last found for a packet, or made; seconds of [`crate::Context::now`].
    pub fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// Counts a packet.
    pub fn count(&self, now: u64) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.last_used.store(now, Ordering::Relaxed);
    }

    /// Keeps a packet in the place of any kept before.
    pub fn keep(&self, packet: Held<H>) {
        if let Some(rare) = self.rare.first() {
            // What was there is dropped with the lock open.
            let _before = rare.held.with(|held| held.replace(packet));
        }
    }

    /// Takes the held packet out, if there is one.
    pub fn release(&self) -> Option<Held<H>> {
        self.rare.first()?.held.with(Option::take)
    }
}
