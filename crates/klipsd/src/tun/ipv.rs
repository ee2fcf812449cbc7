//! Just enough of an IPv4 or IPv6 header to find the transport header: lengths, addresses, protocol.
//! What a packet means is the core's business.

/// Where a packet's parts are; every range lies within the packet it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// 6 for IPv6, 4 for IPv4.
    pub version: u8,
    /// Length of the IP header with its options; transport begins there.
    pub header: usize,
    /// Length by the IP header; octets beyond it are link padding.
    pub total: usize,
    /// Protocol of what follows `header`.
    pub protocol: u8,
    /// Whether it is a fragment, whose transport header must not be read.
    pub fragment: bool,
}

impl Layout {
    /// Reads the header; `None` when the packet is cut short or its lengths contradict each other.
    #[must_use]
    pub fn new_checked(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::v4(packet),
            6 => Self::v6(packet),
            _ => None,
        }
    }

    fn v4(packet: &[u8]) -> Option<Self> {
        let head = packet.first_chunk::<20>()?;
        let header = usize::from(head[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if header < 20 || total < header || packet.len() < total {
            return None;
        }
        let fragment = u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0;
        Some(Self {
            version: 4,
            header,
            total,
            protocol: head[9],
            fragment,
        })
    }

    fn v6(packet: &[u8]) -> Option<Self> {
        let head = packet.first_chunk::<40>()?;
        let total = 40 + usize::from(u16::from_be_bytes([head[4], head[5]]));
        if packet.len() < total {
            return None;
        }
        Some(Self {
            version: 6,
            header: 40,
            total,
            protocol: head[6],
            fragment: head[6] == 44,
        })
    }

    /// Source and destination address octets, one after the other.
    #[must_use]
    pub fn addresses<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let range = if self.version == 4 { 12..20 } else { 8..40 };
        packet.get(range).unwrap_or(&[])
    }
}
