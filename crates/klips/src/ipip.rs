//! IP in IP (RFC 2003, RFC 2473, RFC 4213): the outer header of a tunnel, in all four combinations of families, and
//! congestion that routers mark there (RFC 6040).

use crate::home::Home;
use crate::packet::ip::{emit, protocol, rechecksum_v4, set, set_tos};
use crate::packet::{IpHeader, Packet};
use crate::sadb::Sa;
use crate::verdict::DropReason;

/// The TTL of outer headers, as KLIPS sets it.
const TTL: u8 = 64;
/// The ECN field of TOS or traffic class, and its values (RFC 3168 section 5).
const ECN: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const CE: u8 = 3;
/// DF, in the first byte of IPv4's flags.
const DONT_FRAGMENT: u8 = 0x40;

/// Puts the tunnel's header in front. `whole`: routers must not fragment it; `hidetos`: its DSCP is 0, else the inner packet's. The ECN
/// field is always the inner packet's ("normal mode", RFC 6040 section 4.1).
pub(crate) fn wrap<H: Home>(
    sa: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
    whole: bool,
    hidetos: bool,
) -> Result<(), DropReason> {
    let (len, inner) = (
        if sa.id.dst.is_ipv4() { 20 } else { 40 },
        if header.is_v4() {
            protocol::IPIP
        } else {
            protocol::IPV6
        },
    );
    packet.extend_front(len).map_err(|_| DropReason::NoRoom)?;
    let tos = if hidetos {
        header.tos & ECN
    } else {
        header.tos
    };
    emit(
        packet.bytes_mut(),
        sa.source,
        sa.id.dst,
        inner,
        tos,
        TTL,
        sa.next_ip_id(),
    );
    if whole && sa.id.dst.is_ipv4() {
        set(packet.bytes_mut(), 6, &[DONT_FRAGMENT]);
        rechecksum_v4(packet.bytes_mut());
    }
    Ok(())
}

/// The inner ECN field of a packet that leaves the tunnel (RFC 6040 section 4.2, figure 4); `None`: drop it.
fn congestion(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (CE, _) | (_, CE) => Some(CE),
        (_, ECT_1) => Some(ECT_1),
        (inner, _) => Some(inner),
    }
}

/// Takes the tunnel's header off, and answers the inner one, with what the outer one says of congestion.
pub(crate) fn unwrap(header: &IpHeader, packet: &mut Packet<'_>) -> Result<IpHeader, DropReason> {
    packet
        .remove(0, header.payload)
        .map_err(|_| DropReason::Malformed)?;
    let inner = IpHeader::new_checked(packet.bytes()).map_err(|_| DropReason::Malformed)?;
    let named = if inner.is_v4() {
        protocol::IPIP
    } else {
        protocol::IPV6
    };
    if header.protocol != named {
        return Err(DropReason::Malformed);
    }
    packet.truncate(inner.total);
    let ecn = congestion(inner.tos & ECN, header.tos & ECN).ok_or(DropReason::Congestion)?;
    if ecn == inner.tos & ECN {
        return Ok(inner);
    }
    let tos = inner.tos & !ECN | ecn;
    set_tos(packet.bytes_mut(), tos);
    Ok(IpHeader { tos, ..inner })
}
