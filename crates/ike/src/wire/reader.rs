//! A cursor over octets of a message that answers every shortage with a [`ParseError`] naming the place.
//! It knows lengths only; meaning is in the payload files.

use super::error::{ErrorKind, ParseError};
use super::numbers::PayloadType;

/// Reads forward through `data`, which starts `base` octets into the message.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    payload: PayloadType,
    data: &'a [u8],
    base: usize,
    pos: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: PayloadType, data: &'a [u8], base: usize) -> Self {
        Self {
            payload,
            data,
            base,
            pos: 0,
        }
    }

    /// The same octets, blamed on another payload.
    pub(super) fn blame(&mut self, payload: PayloadType) {
        self.payload = payload;
    }

    pub(super) fn remaining(&self) -> usize {
        self.data.len() - self.pos
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Octets from the start of the message to the next one read.
    pub(super) fn offset(&self) -> usize {
        self.base + self.pos
    }

    /// An error about the octet `at` from the start of the message.
    pub(super) fn error_at(&self, at: usize, kind: ErrorKind) -> ParseError {
        ParseError::new(self.payload, at, kind)
    }

    /// An error about the next octet.
    pub(super) fn error(&self, kind: ErrorKind) -> ParseError {
        self.error_at(self.offset(), kind)
    }

    pub(super) fn need(&self, len: usize) -> Result<(), ParseError> {
        match self.remaining() {
            found if found < len => Err(self.error(ErrorKind::Truncated { found, needed: len })),
            _ => Ok(()),
        }
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        self.need(len)?;
        let taken = self.data.get(self.pos..self.pos + len).unwrap_or_default();
        self.pos += len;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ParseError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, ParseError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ParseError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        let taken = self.data.get(self.pos..).unwrap_or_default();
        self.pos = self.data.len();
        taken
    }

    /// Reads a generic payload header (RFC 2408 section 3.2) and returns the next payload's type and a reader over
    /// the payload's body, together with the raw payload including its generic header.
    pub(super) fn generic(&mut self) -> Result<Generic<'a>, ParseError> {
        let start = self.offset();
        let max = self.remaining();
        let mut head = self.clone();
        let next = PayloadType(head.u8()?);
        let reserved = head.u8()?;
        if reserved != 0 {
            return Err(self.error_at(start + 1, ErrorKind::Reserved(reserved)));
        }
        let length = usize::from(head.u16()?);
        if length < 4 || length > max {
            return Err(self.error_at(
                start + 2,
                ErrorKind::PayloadLength {
                    field: length,
                    min: 4,
                    max,
                },
            ));
        }
        let raw = self.bytes(length)?;
        let body = Reader::new(self.payload, raw.get(4..).unwrap_or_default(), start + 4);
        Ok(Generic {
            next,
            raw,
            body,
            offset: start,
        })
    }
}

/// One payload cut out of a chain.
pub(super) struct Generic<'a> {
    pub(super) next: PayloadType,
    pub(super) raw: &'a [u8],
    pub(super) body: Reader<'a>,
    pub(super) offset: usize,
}
