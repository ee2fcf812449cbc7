//! A message as a header and a chain of payloads (RFC 2408 sections 3.1, 3.2 and 5). Checked once; afterwards nothing here
//! can fail. Which payloads an exchange wants in which order is said by the exchange, with [`Message::expect`].

use super::error::{ErrorKind, ParseError};
use super::header::{HEADER_LEN, Header};
use super::id::Id;
use super::notify::{Delete, Notify};
use super::numbers::{CertEncoding, PayloadType};
use super::reader::{Generic, Reader};
use super::sa::Sa;

/// Most payloads in one message; Main Mode with many vendor ids and NAT traversal stays below 30.
pub const MAX_PAYLOADS: usize = 64;

/// A certificate or certificate request, kept opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cert<'a> {
    /// Encoding.
    pub encoding: CertEncoding,
    /// Certificate, or the distinguished name of the authority asked for (may be empty in a request).
    pub data: &'a [u8],
}

/// What a payload holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Security association.
    Sa(Sa),
    /// Public Diffie-Hellman value.
    Ke(&'a [u8]),
    /// Identification.
    Id(Id<'a>),
    /// Certificate.
    Cert(Cert<'a>),
    /// Certificate request.
    CertReq(Cert<'a>),
    /// Hash.
    Hash(&'a [u8]),
    /// Signature.
    Sig(&'a [u8]),
    /// Nonce, 8 to 256 octets.
    Nonce(&'a [u8]),
    /// Notification.
    Notify(Notify<'a>),
    /// Delete.
    Delete(Delete<'a>),
    /// Vendor ID.
    VendorId(&'a [u8]),
    /// A type not interpreted here (NAT-D, Mode Config, unknown ones).
    Opaque(&'a [u8]),
}

/// One payload of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Its type.
    pub kind: PayloadType,
    /// Octets from the start of the message to its generic header.
    pub offset: usize,
    /// The payload with its generic header.
    pub raw: &'a [u8],
    /// What it holds.
    pub content: Content<'a>,
}

impl<'a> Payload<'a> {
    /// The payload without its generic header, the form with suffix `_b` in RFC 2409's hashes.
    pub fn body(&self) -> &'a [u8] {
        self.raw.get(4..).unwrap_or_default()
    }
}

/// A checked message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    header: Header,
    payloads: Vec<Payload<'a>>,
    bytes: &'a [u8],
    end: usize,
}

impl<'a> Message<'a> {
    /// Reads a datagram in clear text.
    ///
    /// # Errors
    /// A bad header, the encryption flag, or a malformed payload.
    pub fn new_checked(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let header = Header::new_checked(datagram)?;
        if header.flags.encryption {
            return Err(ParseError::new(
                PayloadType::NONE,
                19,
                ErrorKind::EncryptionFlag { found: true },
            ));
        }
        Self::chain(header, datagram)
    }

    /// Reads a datagram whose part behind the header was encrypted and has been decrypted in place; the encryption flag
    /// is still set. Padding may follow the last payload.
    ///
    /// # Errors
    /// A bad header, no encryption flag, or a malformed payload (most often: a wrong key).
    pub fn new_decrypted(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let header = Header::new_checked(datagram)?;
        if !header.flags.encryption {
            return Err(ParseError::new(
                PayloadType::NONE,
                19,
                ErrorKind::EncryptionFlag { found: false },
            ));
        }
        Self::chain(header, datagram)
    }

    fn chain(header: Header, bytes: &'a [u8]) -> Result<Self, ParseError> {
        let body = bytes.get(HEADER_LEN..).unwrap_or_default();
        let mut r = Reader::new(PayloadType::NONE, body, HEADER_LEN);
        let mut next = header.next_payload;
        let mut next_at = 16;
        let mut payloads = Vec::new();
        while next != PayloadType::NONE {
            if payloads.len() == MAX_PAYLOADS {
                return Err(r.error(ErrorKind::TooMany {
                    what: "payloads",
                    limit: MAX_PAYLOADS,
                }));
            }
            if next == PayloadType::PROPOSAL || next == PayloadType::TRANSFORM {
                let kind = ErrorKind::UnexpectedPayload {
                    found: next,
                    expected: "a payload that may stand alone",
                };
                return Err(r.error_at(next_at, kind));
            }
            r.blame(next);
            let generic = r.generic()?;
            (next_at, next) = {
                let following = generic.next;
                payloads.push(Self::read(next, generic)?);
                (payloads.last().map_or(0, |p| p.offset), following)
            };
        }
        Ok(Self {
            header,
            payloads,
            bytes,
            end: r.offset(),
        })
    }

    fn read(kind: PayloadType, generic: Generic<'a>) -> Result<Payload<'a>, ParseError> {
        let Generic {
            raw,
            mut body,
            offset,
            ..
        } = generic;
        let content = match kind {
            PayloadType::SA => Content::Sa(Sa::read(&mut body)?),
            PayloadType::KE => Content::Ke(non_empty(&mut body)?),
            PayloadType::ID => Content::Id(Id::read(&mut body)?),
            PayloadType::CERT => Content::Cert(Cert::read(&mut body)?),
            PayloadType::CERTREQ => Content::CertReq(Cert::read(&mut body)?),
            PayloadType::HASH => Content::Hash(non_empty(&mut body)?),
            PayloadType::SIG => Content::Sig(non_empty(&mut body)?),
            PayloadType::NONCE => match body.remaining() {
                8..=256 => Content::Nonce(body.rest()),
                len => return Err(body.error(ErrorKind::NonceLength(len))),
            },
            PayloadType::NOTIFY => Content::Notify(Notify::read(&mut body)?),
            PayloadType::DELETE => Content::Delete(Delete::read(&mut body)?),
            PayloadType::VID => Content::VendorId(body.rest()),
            _ => Content::Opaque(body.rest()),
        };
        Ok(Payload {
            kind,
            offset,
            raw,
            content,
        })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// All payloads in the order sent.
    pub fn payloads(&self) -> &[Payload<'a>] {
        &self.payloads
    }

    /// The whole message.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Octets of the message up to the end of the last payload, without padding.
    pub const fn end(&self) -> usize {
        self.end
    }

    /// All payloads behind `payload`, with generic headers and without padding: what HASH(1) and HASH(2) cover when
    /// `payload` is the hash payload.
    pub fn after(&self, payload: &Payload<'_>) -> &'a [u8] {
        self.bytes
            .get(payload.offset + payload.raw.len()..self.end)
            .unwrap_or_default()
    }

    /// Payloads of one type.
    pub fn of_kind(&self, kind: PayloadType) -> impl Iterator<Item = &Payload<'a>> {
        self.payloads.iter().filter(move |p| p.kind == kind)
    }

    /// The first payload of one type.
    pub fn find(&self, kind: PayloadType) -> Option<&Payload<'a>> {
        self.of_kind(kind).next()
    }

    /// The SA payload, with its body as HASH_I wants it.
    pub fn sa(&self) -> Option<(&Sa, &'a [u8])> {
        self.payloads.iter().find_map(|p| match &p.content {
            Content::Sa(sa) => Some((sa, p.body())),
            _ => None,
        })
    }

    /// The peer's public Diffie-Hellman value.
    pub fn ke(&self) -> Option<&'a [u8]> {
        self.payloads.iter().find_map(|p| match p.content {
            Content::Ke(data) => Some(data),
            _ => None,
        })
    }

    /// The nonce.
    pub fn nonce(&self) -> Option<&'a [u8]> {
        self.payloads.iter().find_map(|p| match p.content {
            Content::Nonce(data) => Some(data),
            _ => None,
        })
    }

    /// The hash.
    pub fn hash(&self) -> Option<&'a [u8]> {
        self.payloads.iter().find_map(|p| match p.content {
            Content::Hash(data) => Some(data),
            _ => None,
        })
    }

    /// The signature.
    pub fn sig(&self) -> Option<&'a [u8]> {
        self.payloads.iter().find_map(|p| match p.content {
            Content::Sig(data) => Some(data),
            _ => None,
        })
    }

    /// Identification payloads in order (one in phase 1, none or two in Quick Mode), each with its body.
    pub fn ids(&self) -> impl Iterator<Item = (Id<'a>, &'a [u8])> + '_ {
        self.payloads.iter().filter_map(|p| match p.content {
            Content::Id(id) => Some((id, p.body())),
            _ => None,
        })
    }

    /// Notifications in order.
    pub fn notifications(&self) -> impl Iterator<Item = Notify<'a>> + '_ {
        self.payloads.iter().filter_map(|p| match p.content {
            Content::Notify(n) => Some(n),
            _ => None,
        })
    }

    /// Deletes in order.
    pub fn deletes(&self) -> impl Iterator<Item = Delete<'a>> + '_ {
        self.payloads.iter().filter_map(|p| match p.content {
            Content::Delete(d) => Some(d),
            _ => None,
        })
    }

    /// Vendor ids in order.
    pub fn vendor_ids(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.payloads.iter().filter_map(|p| match p.content {
            Content::VendorId(v) => Some(v),
            _ => None,
        })
    }

    /// Checks which payloads there are against what an exchange wants at this point: see [`Expect`].
    ///
    /// # Errors
    /// The first departure.
    pub fn expect(&self, expect: &Expect<'_>) -> Result<(), Unexpected> {
        let first = self.payloads.first().map(|p| p.kind);
        if let Some(want) = expect.first.filter(|want| first != Some(*want)) {
            return Err(Unexpected::First {
                found: first.unwrap_or(PayloadType::NONE),
                expected: want,
            });
        }
        for (kind, min, max) in expect.counts {
            let found = self.of_kind(*kind).count();
            if found < *min || found > *max {
                return Err(Unexpected::Count {
                    kind: *kind,
                    found,
                    min: *min,
                    max: *max,
                });
            }
        }
        let foreign = self.payloads.iter().find(|p| {
            !matches!(
                p.kind,
                PayloadType::VID | PayloadType::NOTIFY | PayloadType::DELETE
            ) && !expect.counts.iter().any(|(kind, ..)| *kind == p.kind)
                && !expect.tolerated.contains(&p.kind)
        });
        foreign.map_or(Ok(()), |p| {
            Err(Unexpected::Foreign {
                kind: p.kind,
                offset: p.offset,
            })
        })
    }
}

/// Of a message in clear text that begins with a hash: the hash, and all payloads behind it, which it covers. Only types and lengths are
/// looked at, so that it can be told who has sent a message before it is told what is wrong with it.
pub fn hashed(message: &[u8]) -> Option<(&[u8], &[u8])> {
    if Header::new_checked(message).ok()?.next_payload != PayloadType::HASH {
        return None;
    }
    let (mut next, hash, behind) = cut(message.get(HEADER_LEN..)?)?;
    let mut rest = behind;
    while next != PayloadType::NONE {
        (next, _, rest) = cut(rest)?;
    }
    Some((hash, behind.get(..behind.len() - rest.len())?))
}

/// The type that follows, the body of the first payload, and what is behind it.
fn cut(chain: &[u8]) -> Option<(PayloadType, &[u8], &[u8])> {
    let [next, _, high, low, ..] = *chain else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (payload, rest) = chain.split_at_checked(length)?;
    Some((PayloadType(next), payload.get(4..)?, rest))
}

/// Which payloads a message should have. Vendor ids, notifications and deletes may always come along.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expect<'a> {
    /// Type the chain must begin with (the SA in a first message, the hash in phase 2).
    pub first: Option<PayloadType>,
    /// Type, least and greatest number of such payloads.
    pub counts: &'a [(PayloadType, usize, usize)],
    /// Types that are let pass unread.
    pub tolerated: &'a [PayloadType],
}

/// How a message departs from [`Expect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    /// It begins with another payload.
    #[error("message begins with {found}, must begin with {expected}")]
    First {
        /// What it begins with.
        found: PayloadType,
        /// What it must begin with.
        expected: PayloadType,
    },
    /// Too few or too many of a type.
    #[error("{found} payloads of type {kind}, must be {min} to {max}")]
    Count {
        /// The type.
        kind: PayloadType,
        /// How many there are.
        found: usize,
        /// Least number.
        min: usize,
        /// Greatest number.
        max: usize,
    },
    /// A type that has no business here.
    #[error("payload {kind} at octet {offset} is not expected in this message")]
    Foreign {
        /// The type.
        kind: PayloadType,
        /// Octets from the start of the message.
        offset: usize,
    },
}

impl Unexpected {
    /// The notification type that tells the peer so.
    pub const fn notify(&self) -> super::NotifyType {
        match self {
            Self::Foreign { .. } => super::NotifyType::INVALID_PAYLOAD_TYPE,
            _ => super::NotifyType::PAYLOAD_MALFORMED,
        }
    }
}

impl<'a> Cert<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, ParseError> {
        Ok(Self {
            encoding: CertEncoding(r.u8()?),
            data: r.rest(),
        })
    }
}

fn non_empty<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], ParseError> {
    if r.is_empty() {
        Err(r.error(ErrorKind::Empty))
    } else {
        Ok(r.rest())
    }
}
