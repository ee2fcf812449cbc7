//! The ISAKMP header (RFC 2408 section 3.1): 28 octets that open every message, and the cookies in it.
//! The payloads behind it are in `message`.

use super::error::{ErrorKind, ParseError};
use super::numbers::{ExchangeType, PayloadType};
use super::reader::Reader;
use core::fmt;

/// Octets of the ISAKMP header.
pub const HEADER_LEN: usize = 28;

/// An ISAKMP cookie; all zero means "not yet chosen".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cookie(pub [u8; 8]);

impl Cookie {
    /// The responder cookie of a first message.
    pub const ZERO: Self = Self([0; 8]);

    /// Whether the cookie is not yet chosen.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 8]
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Header flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Flags {
    /// Payloads are encrypted.
    pub encryption: bool,
    /// Commit bit: wait for CONNECTED before using the SA.
    pub commit: bool,
    /// Authentication only: an informational message that is hashed and not encrypted.
    pub auth_only: bool,
}

impl Flags {
    /// Only the encryption flag.
    pub const ENCRYPTED: Self = Self {
        encryption: true,
        commit: false,
        auth_only: false,
    };

    const fn to_u8(self) -> u8 {
        self.encryption as u8 | (self.commit as u8) << 1 | (self.auth_only as u8) << 2
    }
}

/// The ISAKMP header, version 1.0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Initiator cookie, never zero in a received header.
    pub initiator: Cookie,
    /// Responder cookie, zero in a first message.
    pub responder: Cookie,
    /// Type of the first payload; after encryption, of the first encrypted one.
    pub next_payload: PayloadType,
    /// Exchange type; unknown values are passed on for the caller to refuse.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: Flags,
    /// Message id, 0 in phase 1.
    pub message_id: u32,
    /// Octets of the whole message, header included. The builder fills it in.
    pub length: u32,
}

impl Header {
    /// A header to build a message from; first payload and length are filled in by the builder.
    pub fn new(
        initiator: Cookie,
        responder: Cookie,
        exchange: ExchangeType,
        message_id: u32,
    ) -> Self {
        Self {
            initiator,
            responder,
            next_payload: PayloadType::NONE,
            exchange,
            flags: Flags::default(),
            message_id,
            length: 0,
        }
    }

    /// Reads and checks the header of a whole datagram: version, flags, initiator cookie, and that the length field is
    /// the datagram's length. The payloads are not looked at, so this also serves encrypted messages.
    ///
    /// # Errors
    /// Every departure from the above, see [`ErrorKind`].
    pub fn new_checked(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(PayloadType::NONE, datagram, 0);
        r.need(HEADER_LEN)?;
        let initiator = Cookie(r.array()?);
        let responder = Cookie(r.array()?);
        let next_payload = PayloadType(r.u8()?);
        let version = r.u8()?;
        if version >> 4 != 1 {
            return Err(r.error_at(17, ErrorKind::MajorVersion(version >> 4)));
        }
        if version & 0xf != 0 {
            return Err(r.error_at(17, ErrorKind::MinorVersion(version & 0xf)));
        }
        let exchange = ExchangeType(r.u8()?);
        let flags = r.u8()?;
        if flags & !7 != 0 {
            return Err(r.error_at(19, ErrorKind::Flags(flags)));
        }
        let flags = Flags {
            encryption: flags & 1 != 0,
            commit: flags & 2 != 0,
            auth_only: flags & 4 != 0,
        };
        let message_id = r.u32()?;
        let length = r.u32()?;
        if length as usize != datagram.len() {
            let kind = ErrorKind::MessageLength {
                field: length as usize,
                received: datagram.len(),
            };
            return Err(r.error_at(24, kind));
        }
        if initiator.is_zero() {
            return Err(r.error_at(0, ErrorKind::ZeroCookie));
        }
        Ok(Self {
            initiator,
            responder,
            next_payload,
            exchange,
            flags,
            message_id,
            length,
        })
    }

    /// The 28 octets.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&self.initiator.0);
        out[8..16].copy_from_slice(&self.responder.0);
        out[16] = self.next_payload.0;
        out[17] = 0x10;
        out[18] = self.exchange.0;
        out[19] = self.flags.to_u8();
        out[20..24].copy_from_slice(&self.message_id.to_be_bytes());
        out[24..].copy_from_slice(&self.length.to_be_bytes());
        out
    }
}
