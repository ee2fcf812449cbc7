// SPDX-License-Identifier: GPL-2.0

//! In: an ESP, AH or IPCOMP packet for this host, until what was inside appears on ipsecN.

use klips::packet::{HEADROOM, MAX_PACKET};
use klips::{Inbound, Packet};

use crate::host::Host;
use crate::sys::scratch::Scratch;
use crate::sys::skb::{PreparedSkb, Skb};

/// How much buffer a packet needs that may grow to any size.
pub(crate) const SCRATCH: usize = HEADROOM + MAX_PACKET;

/// Undoes the IPsec of `packet`, which begins at its IP header and came in by device number
/// `physical`, and gives what was inside to the stack. In softirq context.
pub(crate) fn receive(host: &Host, physical: u32, packet: Skb) {
    match packet.prepare(0, 0) {
        Some(packet) => open(host, physical, packet),
        None => host.count_refused(physical),
    }
}

fn open(host: &Host, physical: u32, mut packet: PreparedSkb) {
    // `None`: it may grow.
    let verdict = host.read(|klips, cx| {
        if klips.may_inflate(packet.bytes()) {
            return None;
        }
        packet.with_packet(0, |packet| klips.inbound(cx, physical, packet))
    });
    match verdict {
        Some(Inbound::Deliver { device }) => host.devices.deliver(device, packet.into(), true),
        // The core has counted it.
        Some(Inbound::Drop(_)) => {}
        None => receive_growing(host, physical, &packet),
    }
}

/// Octets of a UDP header.
const UDP_HEADER: u16 = 8;

/// The same for ESP in UDP, whose UDP header the stack has taken out of the IP header's length:
/// puts it back, since the core looks at the packet as it came.
pub(crate) fn receive_from_udp(host: &Host, physical: u32, packet: Skb) {
    let Some(mut packet) = packet.prepare(0, 0) else {
        return host.count_refused(physical);
    };
    packet.with_packet(0, |packet| {
        let bytes = packet.bytes_mut();
        let at = if bytes.first().is_some_and(|b| b >> 4 == 4) {
            2
        } else {
            4
        };
        if let Some(length) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut::<2>()) {
            *length = u16::from_be_bytes(*length)
                .saturating_add(UDP_HEADER)
                .to_be_bytes();
        }
    });
    open(host, physical, packet);
}

/// The same for a packet that may hold compressed data: in a big buffer of this CPU, because how
/// big it gets shows only when it is too late to make room.
fn receive_growing(host: &Host, physical: u32, packet: &PreparedSkb) {
    let tag = packet.tag();
    let done = host.read(|klips, cx| {
        let bytes = packet.bytes();
        let end = HEADROOM.checked_add(bytes.len())?;
        let mut buffer = Scratch::take(cx.home)?;
        buffer.get_mut(HEADROOM..end)?.copy_from_slice(bytes);
        let mut packet = Packet::new(&mut buffer, HEADROOM, end)?;
        Some(match klips.inbound(cx, physical, &mut packet) {
            Inbound::Deliver { device } => {
                Some((device, PreparedSkb::new(0, packet.bytes(), 0, tag)))
            }
            Inbound::Drop(_) => None,
        })
    });
    match done {
        Some(Some((device, Ok(packet)))) => host.devices.deliver(device, packet.into(), true),
        Some(Some((device, Err(_)))) => host.devices.count_rx_dropped(device),
        // The core has counted it.
        Some(None) => {}
        None => host.count_refused(physical),
    }
}
