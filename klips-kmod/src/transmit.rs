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
    if packet.bytes().len() <= mtu as usize {
        return packet.transmit(host.net, physical);
    }
    let pieces = packet.with_packet(|packet| {
        klips::packet::transmit(packet, mtu, |piece| match Skb::new(LINK_HEADER, piece, 0) {
            Ok(piece) => piece.transmit(host.net, physical),
            Err(_) => host.devices.count_tx_dropped(device),
        })
    });
    if pieces == Some(0) {
        host.devices.count_tx_dropped(device);
    }
}
