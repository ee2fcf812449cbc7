//! Fragmenting an outer packet in its own buffer (RFC 791, RFC 8200 section 4.5).

use super::Packet;
use super::ip::{IpHeader, protocol, rechecksum_v4, set};

/// The head room that fragmenting IPv6 needs, in bytes.
pub const FRAGMENT_HEADER: usize = 8;

/// Sends the packet through `send`, in fragments where it is bigger than `mtu` (in bytes) and may be fragmented: IPv4
/// without DF, and IPv6 (by a fragment header, which only the source may add: we are). Answers how many pieces were sent; 0 when
/// it is too big and must not be fragmented, or is no IP packet.
///
/// Fragmenting works in the packet's own buffer, so the packet is spent afterwards.
pub fn transmit(packet: &mut Packet<'_>, mtu: u32, mut send: impl FnMut(&[u8])) -> usize {
    let mtu = mtu as usize;
    if packet.len() <= mtu {
        send(packet.bytes());
        return 1;
    }
    let Ok(header) = IpHeader::new_checked(packet.bytes()) else {
        return 0;
    };
    match header.is_v4() {
        true if header.dont_fragment => 0,
        true => fragment_v4(packet, header, mtu, send),
        // A packet that has a fragment header already was fragmented by its sender to what the path takes.
        false if header.fragment => 0,
        false => fragment_v6(packet, header, mtu, send),
    }
}

/// Calls `piece(offset, length, more)` for each piece of `total` bytes, all but the last a multiple of 8 and at most `room`.
fn pieces(total: usize, room: usize, mut piece: impl FnMut(usize, usize, bool)) -> usize {
    let room = room & !7;
    if room == 0 {
        return 0;
    }
    let (mut offset, mut count) = (0, 0);
    while offset < total {
        let len = room.min(total - offset);
        piece(offset, len, offset + len < total);
        offset += len;
        count += 1;
    }
    count
}

fn fragment_v4(
    packet: &mut Packet<'_>,
    header: IpHeader,
    mtu: usize,
    mut send: impl FnMut(&[u8]),
) -> usize {
    let bytes = packet.bytes_mut();
    let hlen = header.payload;
    let mut ip = [0u8; 60];
    if hlen > ip.len() || header.total > bytes.len() {
        return 0;
    }
    ip[..hlen].copy_from_slice(&bytes[..hlen]);
    let flags = u16::from_be_bytes([ip[6], ip[7]]);
    pieces(
        header.total - hlen,
        mtu.saturating_sub(hlen),
        |offset, len, more| {
            // The header of a piece is laid over the end of the one before, which has gone out.
            let Some(piece) = bytes.get_mut(offset..offset + hlen + len) else {
                return;
            };
            set(piece, 0, &ip[..hlen]);
            let more = if more { 0x2000 } else { flags & 0x2000 };
            let field = more | ((flags & 0x1fff) + (offset / 8) as u16) & 0x1fff;
            set(piece, 2, &((hlen + len) as u16).to_be_bytes());
            set(piece, 6, &field.to_be_bytes());
            rechecksum_v4(piece);
            send(piece);
            if offset == 0 {
                strip_uncopied_options(&mut ip[20..hlen]);
            }
        },
    )
}

/// Later fragments carry only options with the copied bit (RFC 791 section 3.1); the others become no-operations.
fn strip_uncopied_options(options: &mut [u8]) {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        let len = match kind {
            0 => return,
            1 => 1,
            _ => options.get(at + 1).map_or(0, |l| usize::from(*l)),
        };
        if len == 0 || at + len > options.len() {
            return;
        }
        if kind & 0x80 == 0 {
            options[at..at + len].fill(1);
        }
        at += len;
    }
}

fn fragment_v6(
    packet: &mut Packet<'_>,
    header: IpHeader,
    mtu: usize,
    mut send: impl FnMut(&[u8]),
) -> usize {
    // Our outer packets have no extension headers but IPsec's, so all after the 40 bytes may be cut.
    if packet.insert(40, FRAGMENT_HEADER).is_err() {
        return 0;
    }
    let bytes = packet.bytes_mut();
    let Some(ip) = bytes.first_chunk::<40>().copied() else {
        return 0;
    };
    // The SPI, sequence number and IV behind it make the identification differ from packet to packet.
    let mut id = [0u8; 4];
    for (n, byte) in bytes.get(48..60).unwrap_or(&[]).iter().enumerate() {
        id[n % 4] ^= byte;
    }
    pieces(
        header.total - 40,
        mtu.saturating_sub(48),
        |offset, len, more| {
            let Some(piece) = bytes.get_mut(offset..offset + 48 + len) else {
                return;
            };
            set(piece, 0, &ip);
            set(piece, 4, &((8 + len) as u16).to_be_bytes());
            set(piece, 6, &[protocol::FRAGMENT]);
            let field = offset as u16 | u16::from(more);
            set(piece, 40, &[ip[6], 0]);
            set(piece, 42, &field.to_be_bytes());
            set(piece, 44, &id);
            send(piece);
        },
    )
}
