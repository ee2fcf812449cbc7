// SPDX-License-Identifier: GPL-2.0

//! What a router says of ESP in UDP that is too big. How its message is heard is `sys::icmp`'s.

const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// "Fragmentation needed" (RFC 1191 section 4).
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
/// "Packet too big" (RFC 4443 section 3.2).
const PACKET_TOO_BIG: u8 = 2;
/// Octets of an ICMP header, and of an IPv6 one.
const HEADER: usize = 8;
const IPV6: usize = 40;

/// A router did not let through a packet of UDP.
pub(crate) struct TooBig<'a> {
    /// Where the message is, from the IP header's start.
    pub(crate) at: usize,
    /// The start of the packet that did not pass.
    pub(crate) quoted: &'a [u8],
    /// What would have passed, in octets; 0: it does not say.
    pub(crate) mtu: u32,
}

impl<'a> TooBig<'a> {
    /// Reads the start of an IP packet: one that says so, or else `None`. Its sum is not looked at.
    pub(crate) fn read(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        let (at, protocol) = match first >> 4 {
            4 => (usize::from(first & 15) * 4, *packet.get(9)?),
            _ => (IPV6, *packet.get(6)?),
        };
        let message = packet.get(at..)?;
        let head: &[u8; HEADER] = message.first_chunk()?;
        let quoted = message.get(HEADER..)?;
        let (right, mtu, inner) = match protocol {
            ICMP => (
                head.starts_with(&FRAGMENTATION_NEEDED),
                u16::from_be_bytes([head[6], head[7]]).into(),
                *quoted.get(9)?,
            ),
            ICMPV6 => (
                head[0] == PACKET_TOO_BIG,
                u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
                *quoted.get(6)?,
            ),
            _ => return None,
        };
        (right && inner == UDP).then_some(Self { at, quoted, mtu })
    }
}
