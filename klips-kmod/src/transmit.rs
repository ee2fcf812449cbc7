//! Out: a packet that was routed to ipsecN, until it leaves by the physical device.

use klips::{DeviceId, Outbound};
use klips::packet::{HEADROOM, TAILROOM};

use crate::host::Host;
use crate::sys::skb::Skb;

/// Room for the link layer's header in packets that are made here.
const LINK_HEADER: usize = 64;

/// Decides about `packet`, and does what was decided. Any context but hard interrupts.
pub(crate) fn transmit(host: &Host, device: DeviceId, mut packet: Skb) {
    if !packet.prepare(HEADROOM, TAILROOM) {
        host.devices.count_tx_dropped(device);
        return;
    }
    let verdict = host.read(|klips, cx| packet.with_packet(|packet| klips.outbound(cx, device, packet)));
    act(host, device, packet, verdict);
}

/// Does what was decided; the tables are open.
pub(crate) fn act(host: &Host, device: DeviceId, packet: Skb, verdict: Option<Outbound>) {
    match verdict {
        Some(Outbound::Transmit { physical, mtu } | Outbound::Pass { physical, mtu }) => send(host, device, packet, physical, mtu),
        Some(Outbound::Icmp) => host.devices.deliver(device, packet),
        Some(Outbound::Trap) => host.trap_soon(device, packet),
        // The core has counted these.
        Some(Outbound::Held | Outbound::Drop(_)) | None => {}
    }
}

/// Sends the packet by the route that device number `physical` has for it; in fragments where it is bigger than `mtu`.
fn send(host: &Host, device: DeviceId, mut packet: Skb, physical: u32, mtu: u32) {
    let len = packet.bytes().len();
    if len <= mtu as usize {
        if !packet.transmit(host.net, physical) {
            not_sent(host, device, len);
        }
        return;
    }
    let mut all = true;
    let pieces = packet.with_packet(|packet| {
        klips::packet::transmit(packet, mtu, |piece| match Skb::new(LINK_HEADER, piece, 0) {
            Ok(piece) => all &= piece.transmit(host.net, physical),
            Err(_) => all = false,
        })
    });
    if !all || pieces.is_none_or(|pieces| pieces == 0) {
        not_sent(host, device, len);
    }
}

/// Counts a packet that was to go out and did not, wholly: there is no route by the device, it is down, or its queue is full.
fn not_sent(host: &Host, device: DeviceId, len: usize) {
    host.read(|klips, _| klips.device(device).stats.not_sent(len as u64));
}
