//! The ten-byte virtio-net header (virtio 1.2, 5.1.6) before each packet on a TUN queue, in host byte order.

/// Length of the header on the wire.
pub const LEN: usize = 10;

/// `flags`: the checksum at `csum_start + csum_offset` holds the pseudo-header sum only.
pub const NEEDS_CSUM: u8 = 1;
/// `flags`: the checksum was verified.
pub const DATA_VALID: u8 = 2;

/// `gso_type`: an ordinary packet.
pub const GSO_NONE: u8 = 0;
/// `gso_type`: TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// `gso_type`: TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// `gso_type`: UDP datagrams of `gso_size` each.
pub const GSO_UDP_L4: u8 = 5;
/// Bit in `gso_type`: CWR is set, for the first segment only.
pub const GSO_ECN: u8 = 0x80;

/// The header's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// `NEEDS_CSUM`, `DATA_VALID`.
    pub flags: u8,
    /// One of `GSO_*`, perhaps with `GSO_ECN`.
    pub gso_type: u8,
    /// Length of the headers that each segment repeats; a hint only.
    pub hdr_len: u16,
    /// Payload octets per segment.
    pub gso_size: u16,
    /// Where the checksummed part begins, from the packet's start.
    pub csum_start: u16,
    /// Where the checksum is, from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Splits what a TUN read gave into header and packet; `None` when it is shorter than a header.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<(Self, &[u8])> {
        let (head, packet) = data.split_first_chunk::<LEN>()?;
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *head;
        let header = Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        };
        Some((header, packet))
    }

    /// The header's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let header = VnetHeader {
            flags: NEEDS_CSUM,
            gso_type: GSO_TCPV6 | GSO_ECN,
            hdr_len: 74,
            gso_size: 1428,
            csum_start: 40,
            csum_offset: 16,
        };
        let mut wire = header.emit().to_vec();
        wire.extend_from_slice(b"rest");
        assert_eq!(VnetHeader::parse(&wire), Some((header, &b"rest"[..])));
        assert_eq!(VnetHeader::parse(&wire[..LEN - 1]), None);
    }
}
