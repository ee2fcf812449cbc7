//! What may come in the clear: a packet whose way back is an eroute to an SA, or to a shunt that does not let pass, must have
//! come through an SA (RFC 4301 section 5.2).
//!
//! Not here: packets that come out of SAs (`inbound`), and how a home finds the packets to ask about.

use core::net::IpAddr;

use ipsec_types::Packet as Shown;

use crate::device::{DeviceId, MAX_DEVICES, Stats};
use crate::eroute::Eroute;
use crate::home::Home;
use crate::klips::Klips;
use crate::natt::IKE_PORTS;
use crate::packet::ip::protocol;
use crate::packet::{Hidden, IpHeader};
use crate::stat::Way;
use crate::verdict::DropReason;

/// ICMPv6's neighbour discovery (RFC 4861), which no router forwards: its hop limit must be 255.
const NEIGHBOUR_DISCOVERY: core::ops::RangeInclusive<u8> = 133..=137;

/// See [`Klips::arrived_clear`].
pub(crate) fn arrived<H: Home>(
    klips: &Klips<H>,
    on: u32,
    start: &[u8],
    local: bool,
    back_by_ipsec: impl FnOnce(IpAddr, IpAddr) -> bool,
) -> Result<(), DropReason> {
    if !klips.sysctl().inbound_policy_check || klips.eroutes.is_empty() {
        return Ok(());
    }
    // What has no addresses the stack drops.
    let Some((header, shown, hidden)) = IpHeader::shown(start) else {
        return Ok(());
    };
    if local && is_for_ipsec(&header, &shown, start) {
        return Ok(());
    }
    let quoted = header.quoted_by_error(start);
    if local && quoted.is_some_and(|(outer, shown, _)| is_outer(&outer, &shown)) {
        return Ok(());
    }
    // An error goes by what it is about: what went in the clear is answered in the clear, and nothing else.
    let there = quoted.and_then(|(_, shown, hidden)| covering(klips, shown, hidden));
    let Some((eroute, way)) = there.or_else(|| covering(klips, shown.reversed(), hidden)) else {
        return Ok(());
    };
    if eroute.lets_in() || !back_by_ipsec(way.src, way.dst) {
        return Ok(());
    }
    count(klips, on);
    Err(DropReason::Clear)
}

/// The eroute of a packet that goes this way.
fn covering<H: Home>(klips: &Klips<H>, way: Shown, hidden: Hidden) -> Option<(&Eroute<H>, Shown)> {
    let eroute = klips.eroutes.lookup_hidden(&way, hidden)?;
    Some((eroute, way))
}

/// What is for KLIPS, for the key daemon, or for the link: it has its own protection, or none can be had for it.
fn is_for_ipsec(header: &IpHeader, shown: &Shown, packet: &[u8]) -> bool {
    match header.protocol {
        protocol::ESP | protocol::AH | protocol::COMP => true,
        protocol::UDP => IKE_PORTS.contains(&shown.dport),
        protocol::ICMPV6 => {
            let kind = packet.get(header.payload);
            header.ttl == 255 && kind.is_some_and(|kind| NEIGHBOUR_DISCOVERY.contains(kind))
        }
        _ => false,
    }
}

/// Whether an ICMP error quotes an outer packet, or IKE: routers between the gateways speak of nothing else, and who hears them looks
/// whether they may be believed.
fn is_outer(quoted: &IpHeader, shown: &Shown) -> bool {
    match quoted.protocol {
        protocol::ESP | protocol::AH | protocol::COMP => true,
        protocol::UDP => IKE_PORTS.contains(&shown.sport),
        _ => false,
    }
}

/// Counts the packet, and shows it with the device that it should have come by: the one on the physical device that it came by, or
/// else the first.
fn count<H: Home>(klips: &Klips<H>, on: u32) {
    klips.count_drop(Way::In, DropReason::Clear);
    let attached = || {
        let all = (0..MAX_DEVICES).filter_map(DeviceId::new);
        all.filter_map(|id| Some((id, klips.device(id).physical.as_ref()?.index)))
    };
    let there = attached().find(|(_, index)| *index == on);
    if let Some((id, _)) = there.or_else(|| attached().next()) {
        Stats::add(&klips.device(id).stats.rx_dropped, 1);
    }
}
