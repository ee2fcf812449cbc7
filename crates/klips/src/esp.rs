//! ESP (RFC 4303; on the wire the same as RFC 2406): sealing and opening the payload of an IP packet, in place.
//!
//! The IP header in front stays, with its protocol, length and checksum made right; a tunnel's outer header comes from `ipip`.

use subtle::ConstantTimeEq;

use crate::home::{Aead, Cipher, CryptoError, Home, Lock, MAX_MAC, Mac, NONCE};
use crate::numbers::Numbers;
use crate::packet::ip::{patch, protocol, set};
use crate::packet::{IpHeader, Packet};
use crate::sadb::{Auth, Crypt, Keyed, Sa, SaErrors, Salt, Transform};
use crate::transform::{COUNTER_IV, MAX_ICV, MAX_IV, Mode, padded};
use crate::verdict::DropReason;

/// SPI and sequence number.
const HEADER: usize = 8;

/// The fixed sizes of one SA's ESP, in bytes.
pub(crate) struct Layout {
    pub(crate) iv: usize,
    pub(crate) block: usize,
    pub(crate) icv: usize,
}

impl Layout {
    pub(crate) fn of<H: Home>(crypt: Option<&Crypt<H>>, auth: Option<&Auth<H>>) -> Self {
        Self {
            iv: crypt.map_or(0, |c| c.row.iv),
            block: crypt.map_or(4, |c| c.row.block),
            icv: auth.map_or(0, |a| a.row.icv) + crypt.map_or(0, |c| c.row.icv),
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
    numbers: &mut Numbers<'_, H>,
) -> Result<(), DropReason> {
    let (crypt, auth) = parts(sa)?;
    let layout = Layout::of(crypt, auth);
    if header.fragment {
        return Err(DropReason::Fragment);
    }
    let sequence = numbers.next(sa).ok_or(DropReason::SequenceWrapped)?;
    let at = header.payload;
    let plain = packet.len() - at;
    let padding = padded(plain + 2, layout.block) - (plain + 2);
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
    set(bytes, at + 4, &(sequence as u32).to_be_bytes());
    patch(bytes, header.protocol_at, protocol::ESP);
    let esp = bytes.get_mut(at..).ok_or(DropReason::NoRoom)?;
    if let Some(crypt) = crypt {
        encrypt(sa, crypt, sequence, esp, end - at).map_err(|_| DropReason::Home)?;
    }
    if let Some(auth) = auth {
        let (signed, icv) = esp
            .split_at_mut_checked(end - at)
            .ok_or(DropReason::NoRoom)?;
        let mac = authenticator(sa, auth, signed, sequence)?;
        icv.copy_from_slice(mac.get(..icv.len()).ok_or(DropReason::Home)?);
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

/// Encrypts in place, in `esp` from the SPI on, and up to `end`, behind which is room for an AEAD's ICV.
fn encrypt<H: Home>(
    sa: &Sa<H>,
    crypt: &Crypt<H>,
    sequence: u64,
    esp: &mut [u8],
    end: usize,
) -> Result<(), CryptoError> {
    match &crypt.keyed {
        Keyed::Null => Ok(()),
        Keyed::Cipher(cipher) => {
            let data = esp.get_mut(HEADER..end).ok_or(CryptoError::BadLength)?;
            if crypt.row.mode == Mode::Ctr {
                let iv = sa.counter_iv(sequence);
                set(data, 0, &iv);
                let data = data.get_mut(COUNTER_IV..).ok_or(CryptoError::BadLength)?;
                return cipher.encrypt(&counter_block(&crypt.salt, iv), data);
            }
            // The IV is the encryption of a number used once (NIST SP 800-38A appendix C): CBC over [number, plaintext] with IV
            // zero has that as its first block and chains on from it, so it is one call.
            let mut number = sa.iv_seed;
            if let Some(last) = number
                .get_mut(..crypt.row.iv)
                .and_then(|n| n.last_chunk_mut::<8>())
            {
                *last = (u64::from_be_bytes(*last) ^ sequence).to_be_bytes();
            }
            set(data, 0, number.get(..crypt.row.iv).unwrap_or(&[]));
            let zero = [0; MAX_IV];
            cipher.encrypt(zero.get(..crypt.row.iv).unwrap_or(&[]), data)
        }
        Keyed::Aead(aead) => {
            let iv = sa.counter_iv(sequence);
            set(esp, HEADER, &iv);
            with_aad(esp, sa.unsent(sequence), |aad, data| {
                aead.seal(&nonce(&crypt.salt, iv), aad, data)
            })
        }
    }
}

/// Decrypts in place, and for an AEAD authenticates, in `esp` from the SPI on; but for an AEAD it ends at `end`.
fn decrypt<H: Home>(
    sa: &Sa<H>,
    crypt: &Crypt<H>,
    sequence: u64,
    esp: &mut [u8],
    end: usize,
) -> Result<(), CryptoError> {
    let start = HEADER + crypt.row.iv;
    let counter_iv = || {
        let iv = esp.get(HEADER..).and_then(|b| b.first_chunk()).copied();
        iv.ok_or(CryptoError::BadLength)
    };
    match &crypt.keyed {
        Keyed::Null => Ok(()),
        Keyed::Cipher(cipher) => {
            let mut iv = [0; MAX_IV];
            if crypt.row.mode == Mode::Ctr {
                iv = counter_block(&crypt.salt, counter_iv()?);
            } else {
                let sent = esp.get(HEADER..start).ok_or(CryptoError::BadLength)?;
                set(&mut iv, 0, sent);
            }
            let length = if crypt.row.mode == Mode::Ctr {
                MAX_IV
            } else {
                crypt.row.iv
            };
            let iv = iv.get(..length).ok_or(CryptoError::BadLength)?;
            let data = esp.get_mut(start..end).ok_or(CryptoError::BadLength)?;
            cipher.decrypt(iv, data)
        }
        Keyed::Aead(aead) => {
            let nonce = nonce(&crypt.salt, counter_iv()?);
            with_aad(esp, sa.unsent(sequence), |aad, data| {
                aead.open(&nonce, aad, data)
            })
        }
    }
}

/// The first counter block of a packet (RFC 3686 section 4).
fn counter_block(salt: &Salt, iv: [u8; COUNTER_IV]) -> [u8; MAX_IV] {
    let mut block = [0; MAX_IV];
    set(&mut block, 0, &nonce(salt, iv));
    set(&mut block, NONCE, &[0, 0, 0, 1]);
    block
}

/// RFC 4106 section 4, RFC 7634 section 2.
fn nonce(salt: &Salt, iv: [u8; COUNTER_IV]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    set(&mut nonce, 0, &salt.0);
    set(&mut nonce, salt.0.len(), &iv);
    nonce
}

/// Runs `f` with what an AEAD authenticates besides the data, SPI and sequence number, of which ESN has the half that is not sent in
/// the middle (RFC 4106 section 5); and with the data behind the IV. Both are in the packet's own buffer: the longer form is laid
/// over the IV for a while.
fn with_aad<R>(
    esp: &mut [u8],
    unsent: Option<[u8; 4]>,
    f: impl FnOnce(&[u8], &mut [u8]) -> Result<R, CryptoError>,
) -> Result<R, CryptoError> {
    let (head, data) = esp
        .split_first_chunk_mut::<{ HEADER + COUNTER_IV }>()
        .ok_or(CryptoError::BadLength)?;
    let Some(unsent) = unsent else {
        return f(&head[..HEADER], data);
    };
    let sent = *head;
    set(head, 4, &unsent);
    set(head, HEADER, &sent[4..HEADER]);
    let done = f(&head[..HEADER + 4], data);
    *head = sent;
    done
}

/// The MAC over `signed`, and the half of the sequence number that is not sent (RFC 4303 section 2.2.1).
fn authenticator<H: Home>(
    sa: &Sa<H>,
    auth: &Auth<H>,
    signed: &[u8],
    sequence: u64,
) -> Result<[u8; MAX_MAC], DropReason> {
    let mut mac = [0; MAX_MAC];
    let done = match sa.unsent(sequence) {
        Some(unsent) => auth.mac.mac(&[signed, &unsent], &mut mac),
        None => auth.mac.mac(&[signed], &mut mac),
    };
    done.map(|()| mac).map_err(|_| DropReason::Home)
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
    let end = len - layout.icv;
    let bytes = packet.bytes_mut();
    let sequence = check_replay(sa, sequence_at(bytes, at + 4)?)?;
    let esp = bytes.get_mut(at..).ok_or(DropReason::BadCiphertext)?;
    if let Some(auth) = auth {
        verify(sa, auth, esp, end - at, sequence)?;
    }
    if let Some(crypt) = crypt {
        decrypt(sa, crypt, sequence, esp, end - at).map_err(|error| refused(sa, error))?;
    }
    accept_replay(sa, sequence)?;
    let start = at + HEADER + layout.iv;
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
    esp: &[u8],
    end: usize,
    sequence: u64,
) -> Result<(), DropReason> {
    let (signed, icv) = esp.split_at_checked(end).ok_or(DropReason::BadCiphertext)?;
    let mac = authenticator(sa, auth, signed, sequence)?;
    let right = mac
        .get(..auth.row.icv)
        .is_some_and(|m| bool::from(m.ct_eq(icv)));
    if right {
        Ok(())
    } else {
        Err(refused(sa, CryptoError::BadTag))
    }
}

fn refused<H: Home>(sa: &Sa<H>, error: CryptoError) -> DropReason {
    if error != CryptoError::BadTag {
        return DropReason::Home;
    }
    SaErrors::add(&sa.errors.auth);
    DropReason::BadAuthenticator
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

/// The whole of the sequence number that came in a packet, if the window takes it; before the authenticator is checked.
pub(crate) fn check_replay<H: Home>(sa: &Sa<H>, low: u32) -> Result<u64, DropReason> {
    let number = sa.replay.with(|r| {
        let number = if sa.is_esn() {
            r.extend(low)
        } else {
            Some(low.into())
        };
        number.filter(|n| r.check(*n))
    });
    replayed(sa, number)
}

/// Puts the number into the window; after the authenticator was found right.
pub(crate) fn accept_replay<H: Home>(sa: &Sa<H>, sequence: u64) -> Result<(), DropReason> {
    let new = sa.replay.with(|r| r.accept(sequence));
    replayed(sa, new.then_some(()))
}

fn replayed<H: Home, T>(sa: &Sa<H>, new: Option<T>) -> Result<T, DropReason> {
    new.ok_or_else(|| {
        SaErrors::add(&sa.errors.replay);
        DropReason::Replay
    })
}

const _: () = assert!(MAX_ICV <= MAX_MAC && NONCE + 4 == MAX_IV);
