//! AH (RFC 4302; on the wire the same as RFC 2402): an authenticator over the whole packet, fields that routers change taken
//! as zero.

use subtle::ConstantTimeEq;

use crate::esp::{accept_replay, check_replay, sequence_at};
use crate::home::{Home, MAX_MAC, Mac};
use crate::numbers::Numbers;
use crate::packet::ip::{patch, protocol, set};
use crate::packet::{IpHeader, Packet};
use crate::sadb::{Auth, Sa, SaErrors, Transform};
use crate::transform::MAX_ICV;
use crate::verdict::DropReason;

/// Next header, length, reserved, SPI, sequence number.
const HEADER: usize = 12;
/// The longest IP header, with options or extension headers, that is taken.
const MAX_IP: usize = 512;

/// How long an AH is: IPv6 wants a multiple of 8 bytes, IPv4 of 4, which every ICV is (RFC 4302 section 2.2).
pub(crate) fn length(icv: usize, v4: bool) -> usize {
    let length = HEADER + icv;
    if v4 {
        length
    } else {
        length.next_multiple_of(8)
    }
}

fn auth<H: Home>(sa: &Sa<H>) -> Result<&Auth<H>, DropReason> {
    match &sa.transform {
        Transform::Ah(auth) => Ok(auth),
        _ => Err(DropReason::SaNotReady),
    }
}

/// Puts an AH between the IP header and its payload.
pub(crate) fn seal<H: Home>(
    sa: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
    numbers: &mut Numbers<'_, H>,
) -> Result<(), DropReason> {
    let auth = auth(sa)?;
    if header.fragment {
        return Err(DropReason::Fragment);
    }
    let sequence = numbers.next(sa).ok_or(DropReason::SequenceWrapped)?;
    let at = header.payload;
    let ah = length(auth.row.icv, header.is_v4());
    packet.insert(at, ah).map_err(|_| DropReason::NoRoom)?;
    let bytes = packet.bytes_mut();
    set(bytes, at, &[header.protocol, (ah / 4 - 2) as u8, 0, 0]);
    set(bytes, at + 4, &sa.id.spi.to_be_bytes());
    set(bytes, at + 8, &(sequence as u32).to_be_bytes());
    bytes
        .get_mut(at + HEADER..at + ah)
        .ok_or(DropReason::NoRoom)?
        .fill(0);
    patch(bytes, header.protocol_at, protocol::AH);
    let mac = compute(sa, auth, header, bytes, sequence)?;
    set(
        bytes,
        at + HEADER,
        mac.get(..auth.row.icv).ok_or(DropReason::Home)?,
    );
    Ok(())
}

/// The SPI of an AH packet.
pub(crate) fn spi(header: &IpHeader, packet: &[u8]) -> Option<u32> {
    packet
        .get(header.payload + 4..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

/// Checks the AH and takes it out.
pub(crate) fn open<H: Home>(
    sa: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let auth = auth(sa)?;
    let at = header.payload;
    let bytes = packet.bytes_mut();
    let (inner, ah) = match bytes.get(at..at + HEADER) {
        Some([inner, units, ..]) => (*inner, (usize::from(*units) + 2) * 4),
        _ => return Err(DropReason::Malformed),
    };
    // Linux pads to 8 bytes under IPv4 too, unless it is told otherwise.
    let right = [header.is_v4(), false].map(|v4| length(auth.row.icv, v4));
    if !right.contains(&ah) || at + ah > bytes.len() {
        SaErrors::add(&sa.errors.size);
        return Err(DropReason::BadCiphertext);
    }
    let sequence = check_replay(sa, sequence_at(bytes, at + 8)?)?;
    let mut icv = [0; MAX_ICV];
    let icv = icv.get_mut(..auth.row.icv).ok_or(DropReason::Home)?;
    let place = bytes
        .get_mut(at + HEADER..at + HEADER + auth.row.icv)
        .ok_or(DropReason::Malformed)?;
    icv.copy_from_slice(place);
    place.fill(0);
    let mac = compute(sa, auth, header, bytes, sequence)?;
    if !mac
        .get(..icv.len())
        .is_some_and(|m| bool::from(m.ct_eq(icv)))
    {
        SaErrors::add(&sa.errors.auth);
        return Err(DropReason::BadAuthenticator);
    }
    accept_replay(sa, sequence)?;
    packet.remove(at, ah).map_err(|_| DropReason::Malformed)?;
    patch(packet.bytes_mut(), header.protocol_at, inner);
    Ok(())
}

/// The MAC over `bytes`, in which the AH's own authenticator is zero already, and the half of the sequence number that is not sent
/// (RFC 4302 section 2.5.1).
fn compute<H: Home>(
    sa: &Sa<H>,
    auth: &Auth<H>,
    header: &IpHeader,
    bytes: &[u8],
    sequence: u64,
) -> Result<[u8; MAX_MAC], DropReason> {
    let mut copy = [0; MAX_IP];
    let ip = copy
        .get_mut(..header.payload)
        .ok_or(DropReason::Malformed)?;
    let (head, rest) = bytes
        .split_at_checked(header.payload)
        .ok_or(DropReason::Malformed)?;
    ip.copy_from_slice(head);
    if header.is_v4() {
        zero_mutable_v4(ip)
    } else {
        zero_mutable_v6(ip)?
    }
    let mut mac = [0; MAX_MAC];
    let done = match sa.unsent(sequence) {
        Some(unsent) => auth.mac.mac(&[ip, rest, &unsent], &mut mac),
        None => auth.mac.mac(&[ip, rest], &mut mac),
    };
    done.map(|()| mac).map_err(|_| DropReason::Home)
}

/// RFC 4302 section 3.3.3.1.1 and appendix A.
fn zero_mutable_v4(ip: &mut [u8]) {
    set(ip, 1, &[0]);
    set(ip, 6, &[0, 0, 0]);
    set(ip, 10, &[0, 0]);
    let mut at = 20;
    while let Some(&kind) = ip.get(at) {
        let len = match kind {
            0 => return,
            1 => 1,
            _ => ip.get(at + 1).map_or(0, |l| usize::from(*l)),
        };
        let Some(option) = ip.get_mut(at..at + len).filter(|o| !o.is_empty()) else {
            // An option that runs over the end can be read in no one way, so none of it may count.
            ip.get_mut(at..).unwrap_or(&mut []).fill(0);
            return;
        };
        // No-operation, security, extended and commercial security, router alert, multi-destination delivery.
        if !matches!(kind, 1 | 130 | 133 | 134 | 148 | 149) {
            option.fill(0);
        }
        at += len;
    }
}

/// RFC 4302 section 3.3.3.1.2.
fn zero_mutable_v6(ip: &mut [u8]) -> Result<(), DropReason> {
    let mut next = *ip.get(6).ok_or(DropReason::Malformed)?;
    set(ip, 0, &[0x60, 0, 0, 0]);
    set(ip, 7, &[0]);
    let mut at = 40;
    while let Some(&following) = ip.get(at) {
        let len = ip
            .get(at + 1)
            .map_or(8, |units| (usize::from(*units) + 1) * 8);
        let extension = ip.get_mut(at..at + len).ok_or(DropReason::Malformed)?;
        match next {
            protocol::HOP_BY_HOP | protocol::DESTINATION => zero_mutable_options(extension),
            // A route not yet at its end changes on the way in a manner only its end can foretell.
            protocol::ROUTING if extension.get(3).is_some_and(|left| *left != 0) => {
                return Err(DropReason::WrongProtocol);
            }
            _ => {}
        }
        next = following;
        at += len;
    }
    Ok(())
}

/// The data of options whose third bit says that it may change on the way (RFC 8200 section 4.2).
fn zero_mutable_options(extension: &mut [u8]) {
    let mut at = 2;
    while let Some(&kind) = extension.get(at) {
        if kind == 0 {
            at += 1;
            continue;
        }
        let len = extension.get(at + 1).map_or(0, |l| usize::from(*l));
        if kind & 0x20 != 0 {
            let end = (at + 2 + len).min(extension.len());
            extension.get_mut(at + 2..end).unwrap_or(&mut []).fill(0);
        }
        at += 2 + len;
    }
}
