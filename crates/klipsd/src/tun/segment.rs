//! Cuts one unsegmented TCP or UDP packet, as a TUN with segmentation offload hands it over, into
//! packets of the flow's own size, and completes checksums that were left to us. Inverse of `coalesce`.

use super::checksum;
use super::ipv::Layout;
use super::vnet::{self, VnetHeader};

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Why a packet with its virtio-net header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The IP header is cut short or contradicts itself.
    #[error("not an IP packet")]
    NotIp,
    /// The virtio-net header names places outside the packet.
    #[error("virtio-net header points outside the packet")]
    Outside,
    /// An offload that klipsd did not ask for.
    #[error("segmentation type {0} was not asked for")]
    Type(u8),
}

/// The packets that one TUN read stands for, in order.
#[derive(Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    plan: Plan,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    /// The packet is one packet; its checksum may be open.
    Whole { checksum: Option<(usize, usize)> },
    /// Payload from `headers` on, `size` octets each, `at` being the next.
    Cut {
        layout: Layout,
        headers: usize,
        size: usize,
        at: usize,
        index: u16,
    },
}

impl<'a> Segments<'a> {
    /// Looks at a packet behind its header.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn new(header: &VnetHeader, packet: &'a [u8]) -> Result<Self, SegmentError> {
        let plan = match header.gso_type & !vnet::GSO_ECN {
            vnet::GSO_NONE => whole(header, packet)?,
            vnet::GSO_TCPV4 | vnet::GSO_TCPV6 => cut(header, packet, TCP)?,
            vnet::GSO_UDP_L4 => cut(header, packet, UDP)?,
            other => return Err(SegmentError::Type(other)),
        };
        Ok(Self {
            packet,
            plan,
            done: false,
        })
    }

    /// How many packets are still to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        match self.plan {
            _ if self.done => 0,
            Plan::Whole { .. } => 1,
            Plan::Cut {
                layout, size, at, ..
            } => layout.total.saturating_sub(at).div_ceil(size).max(1),
        }
    }

    /// The packet before it is cut: what all of them show of addresses, protocol and ports.
    #[must_use]
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// Writes the next packet to the start of `out`, and returns its length; `None` at the end, or
    /// when `out` is too small for it.
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        if self.done {
            return None;
        }
        match self.plan {
            Plan::Whole { checksum } => {
                self.done = true;
                let to = out.get_mut(..self.packet.len())?;
                to.copy_from_slice(self.packet);
                if let Some((start, offset)) = checksum {
                    complete(to, start, offset);
                }
                Some(to.len())
            }
            Plan::Cut {
                layout,
                headers,
                size,
                at,
                index,
            } => {
                let end = (at + size).min(layout.total);
                let last = end == layout.total;
                let length = headers + (end - at);
                let to = out.get_mut(..length)?;
                to[..headers].copy_from_slice(&self.packet[..headers]);
                to[headers..].copy_from_slice(&self.packet[at..end]);
                fix_headers(to, &layout, at - headers, index, last);
                self.plan = Plan::Cut {
                    layout,
                    headers,
                    size,
                    at: end,
                    index: index.wrapping_add(1),
                };
                self.done = last;
                Some(length)
            }
        }
    }
}

fn whole(header: &VnetHeader, packet: &[u8]) -> Result<Plan, SegmentError> {
    let mut checksum = None;
    if header.flags & vnet::NEEDS_CSUM != 0 {
        let start = usize::from(header.csum_start);
        let offset = usize::from(header.csum_offset);
        if start + offset + 2 > packet.len() {
            return Err(SegmentError::Outside);
        }
        checksum = Some((start, offset));
    }
    Ok(Plan::Whole { checksum })
}

/// The field at `offset` holds the pseudo-header sum, so summing all of it completes the checksum.
fn complete(packet: &mut [u8], start: usize, offset: usize) {
    let mut check = !checksum::sum(&packet[start..], 0);
    // RFC 768: a computed zero goes out as all ones; zero would say "no checksum".
    if check == 0 && offset == 6 {
        check = 0xffff;
    }
    packet[start + offset..start + offset + 2].copy_from_slice(&check.to_be_bytes());
}

fn cut(header: &VnetHeader, packet: &[u8], protocol: u8) -> Result<Plan, SegmentError> {
    let layout = Layout::new_checked(packet).ok_or(SegmentError::NotIp)?;
    let transport = usize::from(header.csum_start);
    // csum_start tells where TCP begins even behind IPv6 extension headers.
    if transport < layout.header || (layout.version == 4 && layout.protocol != protocol) {
        return Err(SegmentError::Outside);
    }
    let length = match protocol {
        TCP => usize::from(packet.get(transport + 12).ok_or(SegmentError::Outside)? >> 4) * 4,
        _ => 8,
    };
    let minimum = if protocol == TCP { 20 } else { 8 };
    let headers = transport + length;
    let size = usize::from(header.gso_size);
    if length < minimum || headers > layout.total || size == 0 {
        return Err(SegmentError::Outside);
    }
    let layout = Layout {
        header: transport,
        protocol,
        ..layout
    };
    Ok(Plan::Cut {
        layout,
        headers,
        size,
        at: headers,
        index: 0,
    })
}

/// Makes copied headers right for the segment whose payload begins `offset` octets into the flow.
fn fix_headers(segment: &mut [u8], layout: &Layout, offset: usize, index: u16, last: bool) {
    let total = segment.len();
    let transport = layout.header;
    if layout.version == 4 {
        segment[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        let id = u16::from_be_bytes([segment[4], segment[5]]).wrapping_add(index);
        segment[4..6].copy_from_slice(&id.to_be_bytes());
        segment[10..12].fill(0);
        let check = checksum::finish(&segment[..transport], 0);
        segment[10..12].copy_from_slice(&check.to_be_bytes());
    } else {
        segment[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
    }
    let body = &mut segment[transport..];
    let field = if layout.protocol == TCP {
        let sequence =
            u32::from_be_bytes([body[4], body[5], body[6], body[7]]).wrapping_add(offset as u32);
        body[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !last {
            body[13] &= !FIN_PSH;
        }
        if index > 0 {
            body[13] &= !CWR;
        }
        16
    } else {
        let length = body.len() as u16;
        body[4..6].copy_from_slice(&length.to_be_bytes());
        6
    };
    body[field..field + 2].fill(0);
    let pseudo = checksum::pseudo(
        layout.addresses(segment),
        layout.protocol,
        total - transport,
    );
    let body = &mut segment[transport..];
    let mut check = checksum::finish(body, pseudo);
    if check == 0 && layout.protocol == UDP {
        check = 0xffff;
    }
    body[field..field + 2].copy_from_slice(&check.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::coalesce::tests::{tcp4, verify_tcp};
    use super::*;

    #[test]
    fn tcp_is_cut_and_every_segment_verifies() {
        let payload: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
        let big = tcp4(1000, 0x18, &payload);
        let header = VnetHeader {
            flags: vnet::NEEDS_CSUM,
            gso_type: vnet::GSO_TCPV4,
            hdr_len: 40,
            gso_size: 1460,
            csum_start: 20,
            csum_offset: 16,
        };
        let mut segments = Segments::new(&header, &big).unwrap();
        let mut out = vec![0u8; 2000];
        let mut joined = Vec::new();
        let mut flags = Vec::new();
        while let Some(length) = segments.next_into(&mut out) {
            let segment = &out[..length];
            assert!(verify_tcp(segment));
            assert_eq!(checksum::sum(&segment[..20], 0), 0xffff);
            let sequence = u32::from_be_bytes(segment[24..28].try_into().unwrap());
            assert_eq!(sequence as usize, 1000 + joined.len());
            flags.push(segment[33]);
            joined.extend_from_slice(&segment[40..]);
        }
        assert_eq!(joined, payload);
        assert_eq!(flags, [0x10, 0x10, 0x10, 0x18]);
    }

    #[test]
    fn partial_checksum_is_completed() {
        let mut packet = tcp4(7, 0x10, b"hello");
        let pseudo = checksum::pseudo(&packet[12..20], 6, packet.len() - 20);
        packet[36..38].copy_from_slice(&pseudo.to_be_bytes());
        let header = VnetHeader {
            flags: vnet::NEEDS_CSUM,
            csum_start: 20,
            csum_offset: 16,
            ..VnetHeader::default()
        };
        let mut out = vec![0u8; 100];
        let length = Segments::new(&header, &packet)
            .unwrap()
            .next_into(&mut out)
            .unwrap();
        assert!(verify_tcp(&out[..length]));
    }

    #[test]
    fn contradicting_headers_are_refused() {
        let packet = tcp4(7, 0x10, b"hello");
        let outside = VnetHeader {
            flags: vnet::NEEDS_CSUM,
            csum_start: 60,
            ..VnetHeader::default()
        };
        assert_eq!(
            Segments::new(&outside, &packet).unwrap_err(),
            SegmentError::Outside
        );
        let zero = VnetHeader {
            gso_type: vnet::GSO_TCPV4,
            csum_start: 20,
            ..VnetHeader::default()
        };
        assert_eq!(
            Segments::new(&zero, &packet).unwrap_err(),
            SegmentError::Outside
        );
        let ufo = VnetHeader {
            gso_type: 3,
            ..VnetHeader::default()
        };
        assert_eq!(
            Segments::new(&ufo, &packet).unwrap_err(),
            SegmentError::Type(3)
        );
    }

    #[test]
    fn no_mutated_header_panics() {
        let packet = tcp4(7, 0x18, &[5; 3000]);
        let mut out = vec![0u8; 70_000];
        let mut state = 0x1234_5678_u32;
        for _ in 0..20_000 {
            let mut bytes = VnetHeader {
                flags: 1,
                gso_type: 1,
                hdr_len: 40,
                gso_size: 1460,
                csum_start: 20,
                csum_offset: 16,
            }
            .emit()
            .to_vec();
            bytes.extend_from_slice(&packet);
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % 60;
                bytes[at] = state as u8;
            }
            let (header, packet) = VnetHeader::parse(&bytes).unwrap();
            if let Ok(mut segments) = Segments::new(&header, packet) {
                while segments.next_into(&mut out).is_some() {}
            }
        }
    }
}
