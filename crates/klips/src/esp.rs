//! ESP (RFC 4303; on the wire the same as RFC 2406): sealing and opening the payload of an IP packet, in place.
//!
//! The IP header in front stays, with its protocol, length and checksum made right; a tunnel's outer header comes from `ipip`.

use subtle::ConstantTimeEq;

use crate::home::{Cipher, Home, Lock, MAX_MAC, Mac};
use crate::packet::ip::{patch, protocol, set};
use crate::packet::{IpHeader, Packet};
use crate::sadb::{Auth, Crypt, Sa, SaErrors, Transform};
use crate::transform::{MAX_ICV, MAX_IV};
use crate::verdict::DropReason;

/// SPI and sequence number.
const HEADER: usize = 8;

/// The fixed sizes of one SA's ESP, in bytes.
struct Layout {
    iv: usize,
    block: usize,
    icv: usize,
}

impl Layout {
    fn of<H: Home>(crypt: Option<&Crypt<H>>, auth: Option<&Auth<H>>) -> Self {
        Self {
            iv: crypt.map_or(0, |c| c.row.iv),
            block: crypt.map_or(4, |c| c.row.block.max(4)),
            icv: auth.map_or(0, |a| a.row.icv),
        }
    }
}

/// The keyed parts of an SA's ESP.
type Parts<'a, H> = (Option<&'a Crypt<H>>, Option<&'a Auth<H>>);

fn parts<H: Home>(sa: &Sa<H>) -> Result<Parts<'_, H>, DropReason> {
    match &sa.transform {
        Transform::Esp { crypt, auth } => Ok((crypt.as_ref(), auth.as_ref())),
        _ => Err(DropReason::SaNotReady),
    }
}

/// Encrypts and authenticates what follows the IP header.
pub(crate) fn seal<H: Home>(
    sa: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let (crypt, auth) = parts(sa)?;
    let layout = Layout::of(crypt, auth);
    if header.fragment {
        return Err(DropReason::Fragment);
    }
    let sequence = sa.next_sequence().ok_or(DropReason::SequenceWrapped)?;
    let at = header.payload;
    let plain = packet.len() - at;
    let padding = (plain + 2).next_multiple_of(layout.block) - (plain + 2);
    packet
        .extend_back(padding + 2 + layout.icv)
        .map_err(|_| DropReason::NoRoom)?;
    packet
        .insert(at, HEADER + layout.iv)
        .map_err(|_| DropReason::NoRoom)?;

    let bytes = packet.bytes_mut();
    let end = bytes.len() - layout.icv;
    trailer(bytes.get_mut(..end), padding, header.protocol);
    set(bytes, at, &sa.id.spi.to_be_bytes());
    set(bytes, at + 4, &sequence.to_be_bytes());
    if let Some(crypt) = crypt {
        encrypt(
            sa,
            crypt,
            sequence,
            bytes.get_mut(at + HEADER..end).ok_or(DropReason::NoRoom)?,
        )?;
    }
    patch(bytes, header.protocol_at, protocol::ESP);
    if let Some(auth) = auth {
        let mut mac = [0; MAX_MAC];
        let signed = bytes.get(at..end).ok_or(DropReason::NoRoom)?;
        auth.mac
            .mac(&[signed], &mut mac)
            .map_err(|_| DropReason::Home)?;
        set(bytes, end, mac.get(..layout.icv).ok_or(DropReason::Home)?);
    }
    Ok(())
}

/// Padding 1, 2, 3, …, its length, and the protocol of what is inside (RFC 4303 section 2.4).
fn trailer(bytes: Option<&mut [u8]>, padding: usize, protocol: u8) {
    let Some(bytes) = bytes else { return };
    let from = bytes.len().saturating_sub(padding + 2);
    for (n, byte) in bytes.iter_mut().skip(from).enumerate() {
        *byte = match n {
            n if n < padding => n as u8 + 1,
            n if n == padding => padding as u8,
            _ => protocol,
        };
    }
}

/// Encrypts `data`, which begins with room for the IV.
///
/// The IV is the encryption of a number used once (NIST SP 800-38A appendix C): CBC over [number, plaintext] with IV zero has
/// that as its first block and chains on from it, so it is one call.
fn encrypt<H: Home>(
    sa: &Sa<H>,
    crypt: &Crypt<H>,
    sequence: u32,
    data: &mut [u8],
) -> Result<(), DropReason> {
    let iv = crypt.row.iv;
    let mut number = sa.iv_seed;
    if let Some(last) = number.get_mut(..iv).and_then(|n| n.last_chunk_mut::<4>()) {
        *last = (u32::from_be_bytes(*last) ^ sequence).to_be_bytes();
    }
    set(data, 0, number.get(..iv).unwrap_or(&[]));
    let zero = [0; MAX_IV];
    let zero = zero.get(..iv).unwrap_or(&[]);
    crypt
        .cipher
        .encrypt(zero, data)
        .map_err(|_| DropReason::Home)
}

/// The SPI of an ESP packet.
pub(crate) fn spi(header: &IpHeader, packet: &[u8]) -> Option<u32> {
    packet
        .get(header.payload..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

/// Checks and decrypts what follows the IP header, and takes the ESP header and trailer off.
pub(crate) fn open<H: Home>(
    sa: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let (crypt, auth) = parts(sa)?;
    let layout = Layout::of(crypt, auth);
    let at = header.payload;
    let len = packet.len();
    let body = (at + HEADER + layout.iv)
        .checked_add(layout.icv)
        .and_then(|used| len.checked_sub(used));
    if !body.is_some_and(|body| body >= 2 && body % layout.block == 0) {
        SaErrors::add(&sa.errors.size);
        return Err(DropReason::BadCiphertext);
    }
    let sequence = sequence_at(packet.bytes(), at + 4)?;
    check_replay(sa, sequence)?;
    let end = len - layout.icv;
    if let Some(auth) = auth {
        verify(sa, auth, packet.bytes(), at, end)?;
    }
    accept_replay(sa, sequence)?;
    let start = at + HEADER + layout.iv;
    let bytes = packet.bytes_mut();
    if let Some(crypt) = crypt {
        let mut iv = [0; MAX_IV];
        let iv = iv.get_mut(..layout.iv).ok_or(DropReason::Home)?;
        iv.copy_from_slice(
            bytes
                .get(at + HEADER..start)
                .ok_or(DropReason::BadCiphertext)?,
        );
        let data = bytes.get_mut(start..end).ok_or(DropReason::BadCiphertext)?;
        crypt
            .cipher
            .decrypt(iv, data)
            .map_err(|_| DropReason::Home)?;
    }
    let (plain_end, inner) = strip_trailer(bytes, start, end).ok_or_else(|| {
        SaErrors::add(&sa.errors.padding);
        DropReason::BadPadding
    })?;
    packet.truncate(plain_end);
    packet
        .remove(at, HEADER + layout.iv)
        .map_err(|_| DropReason::Malformed)?;
    patch(packet.bytes_mut(), header.protocol_at, inner);
    Ok(())
}

fn verify<H: Home>(
    sa: &Sa<H>,
    auth: &Auth<H>,
    bytes: &[u8],
    at: usize,
    end: usize,
) -> Result<(), DropReason> {
    let (signed, icv) = bytes
        .get(at..)
        .and_then(|b| b.split_at_checked(end - at))
        .ok_or(DropReason::BadCiphertext)?;
    let mut mac = [0; MAX_MAC];
    auth.mac
        .mac(&[signed], &mut mac)
        .map_err(|_| DropReason::Home)?;
    let right = mac
        .get(..auth.row.icv)
        .is_some_and(|m| bool::from(m.ct_eq(icv)));
    if right {
        return Ok(());
    }
    SaErrors::add(&sa.errors.auth);
    Err(DropReason::BadAuthenticator)
}

/// Where the plaintext between `start` and `end` ends, and the protocol that it is of, if the padding is as it must be.
fn strip_trailer(bytes: &[u8], start: usize, end: usize) -> Option<(usize, u8)> {
    let plain = bytes.get(start..end)?;
    let (rest, &[padding, inner]) = plain.split_last_chunk::<2>()?;
    let (_, pad) = rest.split_at_checked(rest.len().checked_sub(padding.into())?)?;
    let right = pad
        .iter()
        .zip(1u16..)
        .all(|(byte, n)| u16::from(*byte) == n);
    right.then_some((end - 2 - pad.len(), inner))
}

/// The sequence number at `at`.
pub(crate) fn sequence_at(bytes: &[u8], at: usize) -> Result<u32, DropReason> {
    let four = bytes.get(at..).and_then(|b| b.first_chunk());
    four.map(|b| u32::from_be_bytes(*b))
        .ok_or(DropReason::Malformed)
}

/// Whether the window takes this number; before the authenticator is checked.
pub(crate) fn check_replay<H: Home>(sa: &Sa<H>, sequence: u32) -> Result<(), DropReason> {
    replayed(sa, sa.replay.with(|r| r.check(sequence)))
}

/// Puts the number into the window; after the authenticator was found right.
pub(crate) fn accept_replay<H: Home>(sa: &Sa<H>, sequence: u32) -> Result<(), DropReason> {
    replayed(sa, sa.replay.with(|r| r.accept(sequence)))
}

fn replayed<H: Home>(sa: &Sa<H>, new: bool) -> Result<(), DropReason> {
    if new {
        return Ok(());
    }
    SaErrors::add(&sa.errors.replay);
    Err(DropReason::Replay)
}

const _: () = assert!(MAX_ICV <= MAX_MAC);
