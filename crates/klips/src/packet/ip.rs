//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers: read once and checked, then patched in place.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;

/// IP protocol numbers that the data path knows.
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ESP.
    pub const ESP: u8 = 50;
    /// AH.
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// No next header (RFC 8200 section 4.7), and in ESP a dummy packet.
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// IPCOMP.
    pub const COMP: u8 = 108;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDPLITE: u8 = 136;
}

/// The most IPv6 extension headers that are followed before a packet counts as malformed.
const MAX_EXTENSIONS: usize = 8;

/// Why bytes are no IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer bytes than the header needs.
    Truncated,
    /// The version is neither 4 nor 6.
    Version(u8),
    /// The header length is below 20 or beyond the packet.
    HeaderLength,
    /// The total length is below the header's or beyond the bytes.
    TotalLength,
    /// IPv6 extension headers run beyond the packet, or there are more than 8.
    Extensions,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("shorter than an IP header"),
            Self::Version(v) => write!(f, "IP version {v}, not 4 or 6"),
            Self::HeaderLength => f.write_str("IP header length out of range"),
            Self::TotalLength => f.write_str("IP total length out of range"),
            Self::Extensions => f.write_str("IPv6 extension headers out of range"),
        }
    }
}

impl core::error::Error for Malformed {}

/// What an IP header says, and where what follows it begins. Only [`IpHeader::new_checked`] makes one, so its offsets lie
/// within the packet it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The protocol of the payload, after IPv6 extension headers.
    pub protocol: u8,
    /// Offset of the byte that names [`Self::protocol`].
    pub protocol_at: usize,
    /// Offset of the payload, after options and extension headers.
    pub payload: usize,
    /// Length of the packet as the header gives it.
    pub total: usize,
    /// TOS, or traffic class.
    pub tos: u8,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// IPv4 DF. IPv6 packets are always so.
    pub dont_fragment: bool,
    /// Whether this is a fragment (first ones too).
    pub fragment: bool,
    /// Whether this is a fragment other than the first, so the payload starts with no header.
    pub later_fragment: bool,
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

impl IpHeader {
    /// Reads the header of the IP packet that starts at `bytes[0]`. `bytes` may be longer than the packet.
    pub fn new_checked(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.first().map(|b| b >> 4) {
            Some(4) => Self::v4(bytes),
            Some(6) => Self::v6(bytes),
            Some(v) => Err(Malformed::Version(v)),
            None => Err(Malformed::Truncated),
        }
    }

    fn v4(bytes: &[u8]) -> Result<Self, Malformed> {
        let h: &[u8; 20] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        let payload = usize::from(h[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([h[2], h[3]]));
        if payload < 20 || payload > bytes.len() {
            return Err(Malformed::HeaderLength);
        }
        if total < payload || total > bytes.len() {
            return Err(Malformed::TotalLength);
        }
        let frag = u16::from_be_bytes([h[6], h[7]]);
        Ok(Self {
            src: IpAddr::V4(Ipv4Addr::new(h[12], h[13], h[14], h[15])),
            dst: IpAddr::V4(Ipv4Addr::new(h[16], h[17], h[18], h[19])),
            protocol: h[9],
            protocol_at: 9,
            payload,
            total,
            tos: h[1],
            ttl: h[8],
            dont_fragment: frag & 0x4000 != 0,
            fragment: frag & 0x3fff != 0,
            later_fragment: frag & 0x1fff != 0,
        })
    }

    fn v6(bytes: &[u8]) -> Result<Self, Malformed> {
        let h: &[u8; 40] = bytes.first_chunk().ok_or(Malformed::Truncated)?;
        let total = 40 + usize::from(u16::from_be_bytes([h[4], h[5]]));
        let packet = bytes.get(..total).ok_or(Malformed::TotalLength)?;
        let address = |at: usize| {
            let bytes: [u8; 16] = h
                .get(at..)
                .and_then(|b| b.first_chunk())
                .copied()
                .unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from(bytes))
        };
        let mut header = Self {
            src: address(8),
            dst: address(24),
            protocol: h[6],
            protocol_at: 6,
            payload: 40,
            total,
            tos: h[0] << 4 | h[1] >> 4,
            ttl: h[7],
            dont_fragment: true,
            fragment: false,
            later_fragment: false,
        };
        header.skip_extensions(packet)?;
        Ok(header)
    }

    fn skip_extensions(&mut self, packet: &[u8]) -> Result<(), Malformed> {
        for _ in 0..MAX_EXTENSIONS {
            let len = match self.protocol {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION => {
                    let units = packet.get(self.payload + 1).ok_or(Malformed::Extensions)?;
                    (usize::from(*units) + 1) * 8
                }
                protocol::FRAGMENT => {
                    let frag = be16(packet, self.payload + 2).ok_or(Malformed::Extensions)?;
                    self.fragment = frag & 0xfff9 != 0;
                    self.later_fragment = frag & 0xfff8 != 0;
                    8
                }
                _ => return Ok(()),
            };
            if self.payload + len > packet.len() {
                return Err(Malformed::Extensions);
            }
            self.protocol = *packet.get(self.payload).ok_or(Malformed::Extensions)?;
            self.protocol_at = self.payload;
            self.payload += len;
            if self.later_fragment {
                // What follows is no header, whatever the chain says.
                return Ok(());
            }
        }
        Err(Malformed::Extensions)
    }

    /// The header of a packet of which maybe only the start is there; `total` says how much is.
    pub fn start(bytes: &[u8]) -> Option<Self> {
        let mut whole = [0; 128];
        let len = bytes.len().min(whole.len());
        let copy = whole.get_mut(..len)?;
        copy.copy_from_slice(bytes.get(..len)?);
        // The length fields speak of bytes that are not there.
        let protocol_at = if copy.first()? >> 4 == 4 { 9 } else { 6 };
        let protocol = *copy.get(protocol_at)?;
        patch(copy, protocol_at, protocol);
        Self::new_checked(copy).ok()
    }

    /// The header and SPI of an ESP (in UDP too) or AH packet of which an ICMP error quotes only the start. Extension headers end the search.
    pub fn quoted(bytes: &[u8]) -> Option<(Self, u32)> {
        let header = Self::start(bytes)?;
        if !header.is_v4() && header.payload != 40 {
            return None;
        }
        let at = match header.protocol {
            protocol::AH => header.payload + 4,
            protocol::UDP => header.payload + 8,
            _ => header.payload,
        };
        let spi = bytes
            .get(at..)?
            .first_chunk()
            .map(|b| u32::from_be_bytes(*b))?;
        Some((header, spi))
    }

    /// Whether ports are the first thing in its payload.
    pub(super) fn has_ports(&self) -> bool {
        use protocol::{SCTP, TCP, UDP, UDPLITE};
        matches!(self.protocol, TCP | UDP | SCTP | UDPLITE)
    }

    /// Whether the packet is IPv4.
    pub fn is_v4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// What the packet shows to an eroute or a policy: ports where it has them.
    pub fn selector(&self, packet: &[u8]) -> ipsec_types::Packet {
        let ported = self.has_ports() && !self.later_fragment;
        let ports = if ported {
            packet.get(self.payload..self.total)
        } else {
            None
        };
        let port = |at| ports.and_then(|p| be16(p, at)).unwrap_or(0);
        ipsec_types::Packet {
            src: self.src,
            dst: self.dst,
            proto: self.protocol,
            sport: port(0),
            dport: port(2),
        }
    }
}

/// Sets the length fields of the packet's header to `packet.len()`, names `protocol` at `protocol_at`, and makes the IPv4
/// checksum right again.
pub fn patch(packet: &mut [u8], protocol_at: usize, protocol: u8) {
    if let Some(byte) = packet.get_mut(protocol_at) {
        *byte = protocol;
    }
    let len = packet.len();
    if packet.first().is_some_and(|b| b >> 4 == 4) {
        set(packet, 2, &(len as u16).to_be_bytes());
        rechecksum_v4(packet);
    } else {
        set(packet, 4, &(len.saturating_sub(40) as u16).to_be_bytes());
    }
}

/// Computes the IPv4 header checksum anew.
pub fn rechecksum_v4(packet: &mut [u8]) {
    let len = packet.first().map_or(0, |b| usize::from(b & 15) * 4);
    set(packet, 10, &[0, 0]);
    let sum = packet.get(..len).map_or(0, |h| checksum(&[h]));
    set(packet, 10, &sum.to_be_bytes());
}

/// Writes `value` at `at`, if it is within `packet`.
pub(crate) fn set(packet: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = at
        .checked_add(value.len())
        .and_then(|end| packet.get_mut(at..end))
    {
        place.copy_from_slice(value);
    }
}

/// Writes an IP header (20 bytes of IPv4 without options, or 40 of IPv6) at the start of `packet`, whose whole length goes into it.
/// `id` is IPv4's identification; DF stays clear.
pub fn emit(packet: &mut [u8], src: IpAddr, dst: IpAddr, protocol: u8, tos: u8, ttl: u8, id: u16) {
    let len = packet.len();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            set(packet, 0, &[0x45, tos]);
            set(packet, 2, &(len as u16).to_be_bytes());
            set(packet, 4, &id.to_be_bytes());
            set(packet, 6, &[0, 0, ttl, protocol]);
            set(packet, 12, &src.octets());
            set(packet, 16, &dst.octets());
            rechecksum_v4(packet);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            set(packet, 0, &[0x60 | tos >> 4, tos << 4, 0, 0]);
            set(packet, 4, &(len.saturating_sub(40) as u16).to_be_bytes());
            set(packet, 6, &[protocol, ttl]);
            set(packet, 8, &src.octets());
            set(packet, 24, &dst.octets());
        }
        // An SA with addresses of two families is refused when it is added.
        _ => {}
    }
}

/// Writes TOS, or traffic class, and makes the IPv4 checksum right again.
pub(crate) fn set_tos(packet: &mut [u8], tos: u8) {
    match packet {
        [version, second, ..] if *version >> 4 == 6 => {
            *version = 0x60 | tos >> 4;
            *second = *second & 0x0f | tos << 4;
        }
        [_, second, ..] => {
            *second = tos;
            rechecksum_v4(packet);
        }
        _ => {}
    }
}

/// Writes the source into the packet's header, if it is of the header's family, and makes the IPv4 checksum right again. Checksums of
/// what is inside are the caller's.
pub(crate) fn emit_src(packet: &mut [u8], src: IpAddr) {
    let v4 = packet.first().is_some_and(|b| b >> 4 == 4);
    match src {
        IpAddr::V4(src) if v4 => {
            set(packet, 12, &src.octets());
            rechecksum_v4(packet);
        }
        IpAddr::V6(src) if !v4 => set(packet, 8, &src.octets()),
        _ => {}
    }
}

/// Writes the destination into the packet's header, if it is of the header's family. Checksums are the caller's.
pub(crate) fn emit_dst(packet: &mut [u8], dst: IpAddr) {
    let v4 = packet.first().is_some_and(|b| b >> 4 == 4);
    match dst {
        IpAddr::V4(dst) if v4 => set(packet, 16, &dst.octets()),
        IpAddr::V6(dst) if !v4 => set(packet, 24, &dst.octets()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v4_round_trip() {
        let mut packet = [0u8; 28];
        let (src, dst) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 1, 1]));
        emit(&mut packet, src, dst, protocol::UDP, 0x10, 64, 7);
        packet[20..24].copy_from_slice(&[1, 244, 17, 148]);
        let h = IpHeader::new_checked(&packet).expect("well formed");
        assert_eq!(
            (h.src, h.dst, h.protocol, h.payload, h.total, h.tos, h.ttl),
            (src, dst, 17, 20, 28, 0x10, 64)
        );
        let s = h.selector(&packet);
        assert_eq!((s.sport, s.dport), (500, 4500));
        assert_eq!(checksum(&[&packet[..20]]), 0);
        packet[3] = 29;
        assert_eq!(IpHeader::new_checked(&packet), Err(Malformed::TotalLength));
        packet[0] = 0x44;
        assert_eq!(IpHeader::new_checked(&packet), Err(Malformed::HeaderLength));
        packet[0] = 0x50;
        assert_eq!(IpHeader::new_checked(&packet), Err(Malformed::Version(5)));
    }

    #[test]
    fn v6_extensions() {
        let mut packet = [0u8; 40 + 8 + 8 + 4];
        let (src, dst) = (IpAddr::from([1u16; 8]), IpAddr::from([2u16; 8]));
        emit(&mut packet, src, dst, protocol::DESTINATION, 0, 64, 0);
        packet[40] = protocol::FRAGMENT;
        packet[48] = protocol::UDP;
        packet[56..60].copy_from_slice(&[0, 1, 0, 2]);
        let h = IpHeader::new_checked(&packet).expect("well formed");
        assert_eq!(
            (h.protocol, h.protocol_at, h.payload, h.fragment),
            (protocol::UDP, 48, 56, false)
        );
        assert_eq!(h.selector(&packet).dport, 2);
        packet[51] = 8;
        let h = IpHeader::new_checked(&packet).expect("well formed");
        assert!(h.later_fragment);
        assert_eq!(h.selector(&packet).dport, 0);
        packet[41] = 200;
        assert_eq!(IpHeader::new_checked(&packet), Err(Malformed::Extensions));
    }
}
