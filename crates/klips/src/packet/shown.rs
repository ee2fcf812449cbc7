//! What a packet shows to selectors, whole or only its first octets, and what it hides; and what an ICMP error quotes.
//!
//! Not here: what becomes of a packet that hides something (`eroute`, `outbound`, `clear`).

use super::ip::{IpHeader, patch, protocol};

/// What of a selector's fields a packet does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// It shows all of them.
    Nothing,
    /// Its ports: it is a later fragment, or ends before them.
    Ports,
    /// Its protocol, and ports with it: a later fragment whose extension headers were in the first one, or headers that run
    /// beyond the packet.
    Protocol,
}

/// Octets that show all of a selector's fields, of most packets at least: an IPv6 header, ICMP, and the headers that it quotes.
pub const SHOWING: usize = 128;

impl IpHeader {
    /// What the first octets of a packet show to a selector, and what is hidden there: in [`SHOWING`] octets at least, or all. The
    /// header's lengths are those of what was looked at. `None`: no addresses.
    pub fn shown(bytes: &[u8]) -> Option<(Self, ipsec_types::Packet, Hidden)> {
        if let Some(header) = Self::start(bytes) {
            return Some((header, header.selector(bytes), header.hidden(bytes)));
        }
        // Extension headers that run beyond what is there. No next header: then all of it is.
        let mut fixed: [u8; 40] = *bytes.first_chunk()?;
        patch(&mut fixed, 6, super::ip::protocol::NO_NEXT);
        let header = Self::new_checked(&fixed).ok()?;
        (!header.is_v4()).then(|| (header, header.selector(&fixed), Hidden::Protocol))
    }

    /// What of a selector's fields the packet does not show.
    pub fn hidden(&self, packet: &[u8]) -> Hidden {
        use protocol::{DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};
        let in_first = matches!(self.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION);
        if self.later_fragment && !self.is_v4() && in_first {
            return Hidden::Protocol;
        }
        let end = self.total.min(packet.len());
        let short = end < self.payload.saturating_add(4);
        if self.has_ports() && (self.later_fragment || short) {
            return Hidden::Ports;
        }
        Hidden::Nothing
    }

    /// What the packet that an ICMP error is about shows to a selector (RFC 792, RFC 4443 section 2.1); `None`: this is no such error,
    /// or it went to somebody else than the sender of what it is about. Redirects are none.
    pub fn quoted_by_error(&self, packet: &[u8]) -> Option<(Self, ipsec_types::Packet, Hidden)> {
        let kind = *packet.get(self.payload)?;
        let error = match self.protocol {
            protocol::ICMP => self.is_v4() && matches!(kind, 3 | 4 | 11 | 12),
            protocol::ICMPV6 => !self.is_v4() && kind < 128,
            _ => false,
        };
        if !error || self.later_fragment {
            return None;
        }
        let end = self.total.min(packet.len());
        let quote = Self::shown(packet.get(self.payload + 8..end)?)?;
        (quote.0.src == self.dst).then_some(quote)
    }
}
