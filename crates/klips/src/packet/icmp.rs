//! ICMP errors that the core answers with (RFC 792, RFC 4443), built in the place of the packet they are about.

use core::net::IpAddr;

use super::ip::{IpHeader, emit, protocol, set};
use super::{NoRoom, Packet, checksum};

/// What is wrong with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Communication administratively prohibited.
    Prohibited,
    /// Too big: the biggest that would pass, in bytes.
    TooBig(u32),
}

/// How much of the packet an ICMPv4 error quotes at most, so that it stays within 576 bytes (RFC 1812 section 4.3.2.3).
const QUOTE_V4: usize = 576 - 28;
/// … and ICMPv6, within 1280 (RFC 4443 section 2.4).
const QUOTE_V6: usize = 1280 - 48;

/// Whether an ICMP error may be sent about this packet (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)).
pub fn may_answer(header: &IpHeader, packet: &[u8]) -> bool {
    let kind = packet.get(header.payload).copied().unwrap_or(0);
    let is_error = match header.protocol {
        protocol::ICMP => !matches!(kind, 0 | 8 | 9 | 10 | 13..=18),
        protocol::ICMPV6 => kind < 128,
        _ => false,
    };
    let broadcast = header.dst == IpAddr::from([255, 255, 255, 255]);
    let nobody = |a: IpAddr| a.is_unspecified() || a.is_multicast();
    !is_error && !header.later_fragment && !broadcast && !nobody(header.src) && !nobody(header.dst)
}

/// The head room that [`answer`] needs at most, in bytes: IPv6's header and ICMP's.
pub const HEADERS: usize = 48;

/// Turns `packet` into the ICMP error about itself, from `from` (of the packet's family) to its sender.
pub fn answer(
    packet: &mut Packet<'_>,
    header: &IpHeader,
    from: IpAddr,
    problem: Problem,
) -> Result<(), NoRoom> {
    let (ip_len, quote, proto) = if header.is_v4() {
        (20, QUOTE_V4, protocol::ICMP)
    } else {
        (40, QUOTE_V6, protocol::ICMPV6)
    };
    let (kind, code, rest) = match (header.is_v4(), problem) {
        (true, Problem::Prohibited) => (3, 13, 0),
        (true, Problem::TooBig(mtu)) => (3, 4, mtu.min(0xffff)),
        (false, Problem::Prohibited) => (1, 1, 0),
        (false, Problem::TooBig(mtu)) => (2, 0, mtu),
    };
    packet.truncate(header.total.min(quote));
    packet.extend_front(ip_len + 8)?;
    let bytes = packet.bytes_mut();
    emit(bytes, from, header.src, proto, 0, 64, 0);
    let len = (bytes.len() - ip_len) as u32;
    let icmp = bytes.get_mut(ip_len..).ok_or(NoRoom)?;
    set(icmp, 0, &[kind, code, 0, 0]);
    set(icmp, 4, &rest.to_be_bytes());
    let sum = match (from, header.src) {
        (IpAddr::V6(from), IpAddr::V6(to)) => checksum(&[
            &from.octets(),
            &to.octets(),
            &len.to_be_bytes(),
            &[0, 0, 0, proto],
            icmp,
        ]),
        _ => checksum(&[icmp]),
    };
    set(icmp, 2, &sum.to_be_bytes());
    Ok(())
}
