//! Data attributes of transforms and of RESPONDER-LIFETIME notifications (RFC 2408 section 3.3): a type and a value that
//! is two octets (TV) or a counted string (TLV). What types and values mean is in `oakley` and `ipsec_doi`.

use super::error::{ErrorKind, ParseError};
use super::reader::Reader;

/// Most attributes a transform may have; the assigned ones are fewer than 20.
pub const MAX_ATTRIBUTES: usize = 32;

/// Longest variable attribute accepted, in octets (a private MODP prime of 8192 bits).
pub const MAX_ATTRIBUTE_LEN: usize = 1024;

/// A value as it stood on the wire; kept so that an answer repeats an offer unmodified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// TV: two octets.
    Basic(u16),
    /// TLV: a counted string, big-endian where it is a number.
    Variable(Vec<u8>),
}

/// One data attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Type, 15 bits, without the format bit.
    pub kind: u16,
    /// Value.
    pub value: AttributeValue,
}

impl Attribute {
    /// A two-octet attribute.
    pub const fn basic(kind: u16, value: u16) -> Self {
        Self {
            kind,
            value: AttributeValue::Basic(value),
        }
    }

    /// A number in the shorter form that holds it: TV up to 65535, else TLV of four octets.
    pub fn number(kind: u16, value: u32) -> Self {
        match u16::try_from(value) {
            Ok(v) => Self::basic(kind, v),
            Err(_) => Self {
                kind,
                value: AttributeValue::Variable(value.to_be_bytes().to_vec()),
            },
        }
    }

    /// The value as a number, whichever form it came in; `None` if empty or more than 32 bits.
    pub fn as_u32(&self) -> Option<u32> {
        match &self.value {
            AttributeValue::Basic(v) => Some(u32::from(*v)),
            AttributeValue::Variable(bytes) => {
                let significant = match bytes.iter().position(|b| *b != 0) {
                    Some(first) => bytes.get(first..)?,
                    None if bytes.is_empty() => return None,
                    None => return Some(0),
                };
                (significant.len() <= 4)
                    .then(|| significant.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
            }
        }
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        match &self.value {
            AttributeValue::Basic(v) => {
                out.extend_from_slice(&(self.kind | 0x8000).to_be_bytes());
                out.extend_from_slice(&v.to_be_bytes());
            }
            AttributeValue::Variable(bytes) => {
                let len = bytes.len().min(MAX_ATTRIBUTE_LEN);
                out.extend_from_slice(&(self.kind & 0x7fff).to_be_bytes());
                out.extend_from_slice(&(len as u16).to_be_bytes());
                out.extend_from_slice(&bytes[..len]);
            }
        }
    }
}

/// Reads attributes until `r` is empty.
pub(super) fn parse_all(r: &mut Reader<'_>) -> Result<Vec<Attribute>, ParseError> {
    let mut out = Vec::new();
    while !r.is_empty() {
        if out.len() == MAX_ATTRIBUTES {
            return Err(r.error(ErrorKind::TooMany {
                what: "attributes",
                limit: MAX_ATTRIBUTES,
            }));
        }
        let at = r.offset();
        let kind = r.u16()?;
        let value = r.u16()?;
        out.push(if kind & 0x8000 != 0 {
            Attribute::basic(kind & 0x7fff, value)
        } else {
            let len = usize::from(value);
            let max = r.remaining().min(MAX_ATTRIBUTE_LEN);
            if len > max {
                return Err(r.error_at(
                    at + 2,
                    ErrorKind::PayloadLength {
                        field: len,
                        min: 0,
                        max,
                    },
                ));
            }
            Attribute {
                kind,
                value: AttributeValue::Variable(r.bytes(len)?.to_vec()),
            }
        });
    }
    Ok(out)
}

/// Reads a bare list of attributes, as the data of a RESPONDER-LIFETIME notification holds it.
///
/// # Errors
/// A cut-off attribute or too many of them; offsets count from the start of `data`.
pub fn parse_attributes(data: &[u8]) -> Result<Vec<Attribute>, ParseError> {
    parse_all(&mut Reader::new(super::PayloadType::NOTIFY, data, 0))
}

/// Writes a bare list of attributes, the reverse of [`parse_attributes`].
pub fn emit_attributes(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = Vec::new();
    attributes.iter().for_each(|a| a.emit(&mut out));
    out
}
