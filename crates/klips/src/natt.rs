//! ESP in UDP (RFC 3948): the UDP header put on and taken off, peers that are heard from elsewhere, and the checksums of
//! transport mode behind a NAT.
//!
//! Not here: IKE and keep-alives on the same port, which never get here, and what becomes of a peer that moved: that is the
//! key daemon's to decide.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::Ordering;

use pfkey::request::Ids;
use pfkey::{MAX_MESSAGE_LEN, SaType};

use crate::home::{Context, Home};
use crate::packet::ip::{emit_dst, emit_src, patch, protocol, set};
use crate::packet::{IpHeader, Packet, checksum};
use crate::pfkey_seam::Audience;
use crate::sadb::Sa;
use crate::verdict::DropReason;

/// IKE's ports (RFC 2408 section 2.5.1, RFC 3947 section 4).
pub(crate) const IKE_PORTS: [u16; 2] = [500, 4500];
/// Length of a UDP header, in bytes.
pub(crate) const UDP_HEADER: usize = 8;

/// Between which ports an ESP SA goes in UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// Source port of its packets.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Where what goes out goes: the address in the SA's name, until the peer has moved.
    pub dst: IpAddr,
    /// The peer's address as it knows itself, where it said so.
    pub original: Option<IpAddr>,
}

/// Puts a UDP header in front of what follows the IP header.
pub(crate) fn wrap(encap: &Encap, packet: &mut Packet<'_>) -> Result<(), DropReason> {
    let header = IpHeader::new_checked(packet.bytes()).map_err(|_| DropReason::Malformed)?;
    let at = header.payload;
    packet
        .insert(at, UDP_HEADER)
        .map_err(|_| DropReason::NoRoom)?;
    let bytes = packet.bytes_mut();
    let len = u16::try_from(bytes.len() - at).map_err(|_| DropReason::NoRoom)?;
    set(bytes, at, &encap.sport.to_be_bytes());
    set(bytes, at + 2, &encap.dport.to_be_bytes());
    set(bytes, at + 4, &len.to_be_bytes());
    set(bytes, at + 6, &[0, 0]);
    if header.dst != encap.dst {
        emit_dst(bytes, encap.dst);
    }
    patch(bytes, header.protocol_at, protocol::UDP);
    // IPv4 does without a checksum (RFC 3948 section 2.1); IPv6 has none to do without.
    if !header.is_v4() {
        let sum = sum_of(bytes, header.src, encap.dst, at, protocol::UDP);
        set(bytes, at + 6, &nonzero(sum).to_be_bytes());
    }
    Ok(())
}

/// The SPI of an ESP packet in UDP.
pub(crate) fn spi(header: &IpHeader, packet: &[u8]) -> Option<u32> {
    packet
        .get(header.payload + UDP_HEADER..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
        .filter(|spi| *spi != 0)
}

/// Takes the UDP header off an ESP packet, and answers whence it came. Its checksum is not looked at: ESP has its own, and NATs
/// get this one wrong (RFC 3948 section 2.1).
pub(crate) fn unwrap(header: &IpHeader, packet: &mut Packet<'_>) -> Result<SocketAddr, DropReason> {
    spi(header, packet.bytes()).ok_or(DropReason::WrongProtocol)?;
    let at = header.payload;
    let udp: [u8; UDP_HEADER] = packet
        .bytes()
        .get(at..)
        .and_then(|b| b.first_chunk())
        .copied()
        .ok_or(DropReason::Malformed)?;
    let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    if len < UDP_HEADER || at + len > packet.len() {
        return Err(DropReason::Malformed);
    }
    packet.truncate(at + len);
    packet
        .remove(at, UDP_HEADER)
        .map_err(|_| DropReason::Malformed)?;
    patch(packet.bytes_mut(), header.protocol_at, protocol::ESP);
    Ok(SocketAddr::new(
        header.src,
        u16::from_be_bytes([udp[0], udp[1]]),
    ))
}

/// A number for a place, never 0. Two places may share one only in IPv6, and then a move is noticed later.
fn fingerprint(at: SocketAddr) -> u64 {
    let addr = match at.ip() {
        IpAddr::V4(addr) => u64::from(addr.to_bits()),
        IpAddr::V6(addr) => {
            let bits = addr.to_bits();
            ((bits >> 64) as u64).rotate_left(23) ^ bits as u64
        }
    };
    (addr.rotate_left(17) ^ u64::from(at.port())).max(1)
}

/// An authentic packet on an inbound SA has come from `from`. If that is another place than the last one's, key daemons hear
/// of it, once.
pub(crate) fn heard<H: Home>(cx: &mut Context<'_, H>, sa: &Sa<H>, encap: &Encap, from: SocketAddr) {
    let now = fingerprint(from);
    let last = sa.heard_from.load(Ordering::Relaxed);
    if last == now {
        return;
    }
    sa.heard_from.store(now, Ordering::Relaxed);
    let known = SocketAddr::new(sa.source, encap.sport);
    let moved = if last == 0 { from != known } else { true };
    if !moved {
        return;
    }
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let built = pfkey::request::nat_t_new_mapping(&mut buffer, Ids::default(), &sa.id, known, from);
    if let Ok(message) = built {
        let satype = SaType::from(sa.id.proto).number();
        let _ = cx.out.pfkey(Audience::Registered(satype), message);
    }
}

/// A peer in transport mode that has moved keeps the address that its SA was agreed with: the eroutes and sockets of this host know
/// it by that, and what it sends from elsewhere is not to pass for somebody else's.
pub(crate) fn keep_source<H: Home>(sa: &Sa<H>, header: &mut IpHeader, packet: &mut Packet<'_>) {
    if sa.source.is_unspecified() || header.src == sa.source {
        return;
    }
    header.src = sa.source;
    emit_src(packet.bytes_mut(), sa.source);
}

/// Makes the checksum of a transport-mode packet right again, whose addresses a NAT has changed on the way (RFC 3948 section
/// 3.1.2, the second way). What the sender summed is intact, because ESP has authenticated it.
pub(crate) fn mend(header: &IpHeader, packet: &mut Packet<'_>) {
    let at = header.payload;
    let place = match header.protocol {
        protocol::TCP => at + 16,
        protocol::UDP => at + 6,
        protocol::ICMPV6 if !header.is_v4() => at + 2,
        _ => return,
    };
    let bytes = packet.bytes_mut();
    let Some(old) = bytes.get(place..place + 2) else {
        return;
    };
    // A UDP packet without checksum stays without.
    if header.protocol == protocol::UDP && header.is_v4() && old == [0, 0] {
        return;
    }
    set(bytes, place, &[0, 0]);
    let sum = sum_of(bytes, header.src, header.dst, at, header.protocol);
    let sum = if header.protocol == protocol::UDP {
        nonzero(sum)
    } else {
        sum
    };
    set(bytes, place, &sum.to_be_bytes());
}

/// In UDP a sum of 0 is written as its other form, since 0 means none.
fn nonzero(sum: u16) -> u16 {
    if sum == 0 { 0xffff } else { sum }
}

/// The checksum over a pseudo header and all from `at` on.
fn sum_of(bytes: &[u8], src: IpAddr, dst: IpAddr, at: usize, protocol: u8) -> u16 {
    let body = bytes.get(at..).unwrap_or(&[]);
    let len = (body.len() as u32).to_be_bytes();
    let tail = [len[0], len[1], len[2], len[3], 0, 0, 0, protocol];
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            checksum(&[&src.octets(), &dst.octets(), &tail, body])
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            checksum(&[&src.octets(), &dst.octets(), &tail, body])
        }
        _ => 0,
    }
}
