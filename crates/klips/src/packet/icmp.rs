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
    let kind = packet.get(header.payload..header.total);
    let kind = kind.and_then(|payload| payload.first());
    // A redirect (5 and 137) counts like an error, and so does what is too short to tell.
    let is_error = match (header.protocol, kind) {
        (protocol::ICMP, Some(kind)) => !matches!(kind, 0 | 8 | 9 | 10 | 13..=18),
        (protocol::ICMPV6, Some(kind)) => *kind < 128 || *kind == REDIRECT_V6,
        (protocol::ICMP | protocol::ICMPV6, None) => true,
        _ => false,
    };
    !is_error && !header.later_fragment && is_one_host(header.src) && is_one_host(header.dst)
}

/// ICMPv6's redirect (RFC 4861 section 4.5), which is no error by its number.
const REDIRECT_V6: u8 = 137;

/// Whether an address is of one host on a network: not of none, of many, of the machine itself, or reserved (RFC 1122 section
/// 3.2.1.3).
fn is_one_host(address: IpAddr) -> bool {
    let reserved = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.octets()[0] >= 224,
        IpAddr::V6(_) => false,
    };
    !(reserved || address.is_unspecified() || address.is_multicast() || address.is_loopback())
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
