// SPDX-License-Identifier: GPL-2.0

//! Out: a packet that was routed to ipsecN, until it leaves by the physical device.

use klips::{DeviceId, Outbound};

use crate::host::Host;
use crate::sys::skb::{PreparedSkb, Skb};

/// How often more room may be asked for: once by each SA group that the packet goes through.
const TRIES: usize = 4;

/// Takes what the stack sends by ipsecN: maybe many packets that it left to be cut. Any context but
/// hard interrupts.
pub(crate) fn start(host: &Host, device: DeviceId, packet: Skb) {
    match packet.segments() {
        Some(mut segments) => {
            while let Some(packet) = segments.take() {
                transmit(host, device, packet);
            }
        }
        None => host.devices.count_tx_dropped(device),
    }
}

/// Decides about `packet`, and does what was decided. Any context but hard interrupts.
pub(crate) fn transmit(host: &Host, device: DeviceId, packet: Skb) {
    let room = host.room_of(device);
    let Some(mut packet) = packet.prepare(room.link + room.head, room.tail) else {
        host.devices.count_tx_dropped(device);
        return;
    };
    for _ in 0..TRIES {
        // What the link layer wants is kept back, so that there is no copy for want of it behind
        // us.
        let verdict = host.read(|klips, cx| {
            packet.with_packet(room.link, |packet| klips.outbound(cx, device, packet))
        });
        match verdict {
            Some(Outbound::Room { head, tail }) => {
                host.need_room(device, head, tail);
                if !packet.expand(room.link + head, tail) {
                    break;
                }
            }
            verdict => return act(host, device, packet, verdict),
        }
    }
    host.devices.count_tx_dropped(device);
}

/// Does what was decided; the tables are open.
pub(crate) fn act(host: &Host, device: DeviceId, packet: PreparedSkb, verdict: Option<Outbound>) {
    match verdict {
        Some(Outbound::Transmit { physical, mtu } | Outbound::Pass { physical, mtu }) => {
            send(host, device, packet, physical, mtu)
        }
        Some(Outbound::Icmp) => packet.answer(&host.net),
        Some(Outbound::Inject) => host.devices.deliver(device, packet.into(), false),
        Some(Outbound::Trap) => host.trap_soon(device, packet.into()),
        // Only where a writer was before us: to be asked again.
        Some(Outbound::Room { .. }) => transmit(host, device, packet.into()),
        // The core has counted these.
        Some(Outbound::Held | Outbound::Drop(_)) | None => {}
    }
}

/// Sends the packet by the route that device number `physical` has for it; in fragments where it is
/// bigger than `mtu`.
fn send(host: &Host, device: DeviceId, mut packet: PreparedSkb, physical: u32, mtu: u32) {
    let len = packet.bytes().len();
    if len <= mtu as usize {
        if !packet.transmit(&host.net, &host.routes, physical) {
            not_sent(host, device, len);
        }
        return;
    }
    let link = host.room_of(device).link;
    // A piece is routed and queued as the whole would have been.
    let tag = packet.tag();
    let mut all = true;
    let pieces = packet.with_packet(0, |packet| {
        klips::packet::transmit(packet, mtu, |piece| {
            match PreparedSkb::new(link, piece, 0, tag) {
                Ok(piece) => all &= piece.transmit(&host.net, &host.routes, physical),
                Err(_) => all = false,
            }
        })
    });
    if !all || pieces.is_none_or(|pieces| pieces == 0) {
        not_sent(host, device, len);
    }
}

/// Counts a packet that was to go out and did not, wholly: there is no route by the device, it is
/// down, or its queue is full.
fn not_sent(host: &Host, device: DeviceId, len: usize) {
    host.read(|klips, _| klips.device(device).stats.not_sent(len as u64));
}
