//! Puts one packet through the core's outbound side and does what the verdict says.

use std::sync::RwLockReadGuard;

use klips::packet::{HEADROOM, Packet, TAILROOM, transmit};
use klips::{Context, DeviceId, Klips, Outbound};

use crate::home::{Pending, UserHome};
use crate::host::Host;
use crate::raw::outgoing::{self, Buffer, Outgoing};
use crate::tun::{TunQueue, VnetHeader};

/// What sending on one device by one thread needs.
pub struct Emitter {
    device: DeviceId,
    outgoing: Outgoing,
    work: Buffer,
    spare: Buffer,
    stack: TunQueue,
}

/// The tables, unlocked in between when a packet needs them for writing.
pub struct Tables<'a> {
    host: &'a Host,
    guard: Option<RwLockReadGuard<'a, Klips<UserHome>>>,
    now: u64,
}

impl<'a> Tables<'a> {
    /// Locks the tables for reading.
    #[must_use]
    pub fn read(host: &'a Host) -> Self {
        Self {
            host,
            guard: None,
            now: host.now(),
        }
    }

    fn decide(
        &mut self,
        pending: &mut Pending,
        device: DeviceId,
        packet: &mut Packet<'_>,
    ) -> Outbound {
        let mut cx = Context {
            home: &self.host.home,
            now: self.now,
            out: pending,
        };
        let guard = self.guard.get_or_insert_with(|| self.host.read());
        match guard.outbound(&mut cx, device, packet) {
            Outbound::Trap => {
                self.guard = None;
                self.host.write().trap(&mut cx, device, packet)
            }
            verdict => verdict,
        }
    }
}

impl Emitter {
    /// For `device`, sending by `outgoing`; ICMP errors go to `stack` as packets received on the device.
    #[must_use]
    pub fn new(device: DeviceId, outgoing: Outgoing, stack: TunQueue) -> Self {
        Self {
            device,
            outgoing,
            work: outgoing::buffer(),
            spare: outgoing::buffer(),
            stack,
        }
    }

    /// Lets `fill` write a packet (answering its length) into the work buffer, and sends it; `false` when `fill` had none.
    pub fn emit(
        &mut self,
        tables: &mut Tables<'_>,
        pending: &mut Pending,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let room = self.work.len() - TAILROOM;
        let Some(length) = self.work.get_mut(HEADROOM..room).and_then(fill) else {
            return false;
        };
        let Some(mut packet) = Packet::new(&mut self.work, HEADROOM, HEADROOM + length) else {
            return false;
        };
        match tables.decide(pending, self.device, &mut packet) {
            Outbound::Transmit { mtu, .. } | Outbound::Pass { mtu, .. } => {
                let range = packet.range();
                if range.len() <= mtu as usize {
                    self.outgoing.push(&mut self.work, range);
                } else {
                    let (outgoing, spare) = (&mut self.outgoing, &mut self.spare);
                    let pieces =
                        transmit(&mut packet, mtu, |piece| outgoing.push_copy(piece, spare));
                    if pieces == 0 {
                        tracing::debug!(device = %self.device, mtu, "packet too big and not to be fragmented");
                    }
                }
            }
            Outbound::Icmp => {
                let range = packet.range();
                self.to_stack(range);
            }
            Outbound::Drop(reason) => tracing::trace!(device = %self.device, "dropped: {reason}"),
            // There always is room.
            Outbound::Held | Outbound::Trap | Outbound::Room { .. } => {}
        }
        true
    }

    fn to_stack(&self, range: std::ops::Range<usize>) {
        let Some(packet) = self.work.get(range) else {
            return;
        };
        let mut frame = VnetHeader::default().emit().to_vec();
        frame.extend_from_slice(packet);
        if let Err(error) = self.stack.write(&frame) {
            tracing::debug!(device = %self.device, "ICMP error not delivered: {error}");
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self) {
        self.outgoing.flush();
    }
}
