//! IP in IP (RFC 2003, RFC 2473, RFC 4213): the outer header of a tunnel, in all four combinations of families.

use crate::home::Home;
use crate::packet::ip::{emit, protocol, rechecksum_v4, set};
use crate::packet::{IpHeader, Packet};
use crate::sadb::Sa;
use crate::verdict::DropReason;

/// The TTL of outer headers, as KLIPS sets it.
const TTL: u8 = 64;
/// DF, in the first byte of IPv4's flags.
const DONT_FRAGMENT: u8 = 0x40;

/// Puts the tunnel's header in front. `whole`: routers must not fragment it; `hidetos`: its TOS is 0, else the inner packet's.
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
    let tos = if hidetos { 0 } else { header.tos };
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

/// Takes the tunnel's header off, and answers the inner one.
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
    Ok(inner)
}
