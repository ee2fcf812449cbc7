//! IPCOMP (RFC 3173) with DEFLATE (RFC 2394): compressing the payload of an IP packet, in place.

use core::sync::atomic::Ordering;

use crate::home::{Home, NoMemory};
use crate::packet::ip::{patch, protocol, set};
use crate::packet::{IpHeader, Packet};
use crate::sadb::Sa;
use crate::verdict::DropReason;

/// Next header, flags, CPI.
const HEADER: usize = 4;
/// Payloads below this, in bytes, are not worth a try (RFC 3173 section 2.2): KLIPS' figure.
const THRESHOLD: usize = 90;

/// Compresses what follows the IP header, or leaves the packet as it is when that would not make it smaller.
pub(crate) fn compress<H: Home>(
    home: &H,
    sa: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let at = header.payload;
    let plain = packet.len() - at;
    if header.fragment || plain < THRESHOLD {
        return Ok(());
    }
    let buffer = packet.with_tailroom(at);
    let Ok(packed) = home.deflate(buffer, plain) else {
        return Ok(());
    };
    if packed + HEADER >= plain {
        // The header eats the gain. What deflate made of it is easily undone.
        let back = home.inflate(buffer, packed);
        return if back == Ok(plain) {
            Ok(())
        } else {
            Err(DropReason::Home)
        };
    }
    packet.truncate(at + packed);
    packet.insert(at, HEADER).map_err(|_| DropReason::NoRoom)?;
    let bytes = packet.bytes_mut();
    set(bytes, at, &[header.protocol, 0]);
    set(bytes, at + 2, &(sa.id.spi.0 as u16).to_be_bytes());
    patch(bytes, header.protocol_at, protocol::COMP);
    count(sa, plain, packed);
    Ok(())
}

/// The CPI of an IPCOMP packet.
pub(crate) fn cpi(header: &IpHeader, packet: &[u8]) -> Option<u32> {
    packet
        .get(header.payload + 2..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b).into())
}

/// Decompresses what follows the IP header; into the packet's tail room and no further.
pub(crate) fn decompress<H: Home>(
    home: &H,
    sa: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let at = header.payload;
    let inner = *packet.bytes().get(at).ok_or(DropReason::Malformed)?;
    packet
        .remove(at, HEADER)
        .map_err(|_| DropReason::Malformed)?;
    let packed = packet.len() - at;
    let plain = home
        .inflate(packet.with_tailroom(at), packed)
        .map_err(|_| DropReason::BadCompression)?;
    packet
        .set_len(at + plain)
        .map_err(|_| DropReason::BadCompression)?;
    patch(packet.bytes_mut(), header.protocol_at, inner);
    count(sa, plain, packed);
    Ok(())
}

fn count<H: Home>(sa: &Sa<H>, plain: usize, packed: usize) {
    sa.ratio[0].fetch_add(plain as u64, Ordering::Relaxed);
    sa.ratio[1].fetch_add(packed as u64, Ordering::Relaxed);
}

impl From<NoMemory> for DropReason {
    fn from(_: NoMemory) -> Self {
        Self::Home
    }
}
