//! Notification and delete payloads (RFC 2408 sections 3.14 and 3.15, RFC 2407 section 4.6.3).
//! Acting on them is the engine's business.

use super::error::{ErrorKind, ParseError};
use super::numbers::{Doi, NotifyType, Protocol};
use super::reader::Reader;

/// Most SPIs in one delete payload.
pub const MAX_DELETE_SPIS: usize = 255;

/// A notification payload's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify<'a> {
    /// Domain of interpretation; errors about the DOI itself may carry a foreign one.
    pub doi: Doi,
    /// Protocol of the SA spoken of.
    pub protocol: Protocol,
    /// Its SPI: both cookies (16 octets) for ISAKMP, 4 octets for AH and ESP, or empty.
    pub spi: &'a [u8],
    /// Notification type.
    pub kind: NotifyType,
    /// Data; attributes for RESPONDER-LIFETIME, a 4-octet number for REPLAY-STATUS.
    pub data: &'a [u8],
}

impl<'a> Notify<'a> {
    /// A notification under the IPsec DOI without data.
    pub const fn new(protocol: Protocol, spi: &'a [u8], kind: NotifyType) -> Self {
        Self {
            doi: Doi::IPSEC,
            protocol,
            spi,
            kind,
            data: &[],
        }
    }

    pub(super) fn read(r: &mut Reader<'a>) -> Result<Self, ParseError> {
        let doi = Doi(r.u32()?);
        let protocol = Protocol(r.u8()?);
        let spi_len = usize::from(r.u8()?);
        let kind = NotifyType(r.u16()?);
        let spi = r.bytes(spi_len)?;
        Ok(Self {
            doi,
            protocol,
            spi,
            kind,
            data: r.rest(),
        })
    }

    /// The body of a notification payload.
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = self.doi.0.to_be_bytes().to_vec();
        out.extend_from_slice(&[self.protocol.0, self.spi.len() as u8]);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(self.spi);
        out.extend_from_slice(self.data);
        out
    }
}

/// A delete payload's content. SPIs are those of the sender's inbound SAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// Domain of interpretation.
    pub doi: Doi,
    /// Protocol of the deleted SAs.
    pub protocol: Protocol,
    spi_len: u8,
    spis: &'a [u8],
}

impl<'a> Delete<'a> {
    /// Announces the end of SAs under the IPsec DOI; `spis` are the SPIs one after another, each `spi_len` octets (16 for
    /// ISAKMP: both cookies; 4 for AH and ESP; 2 for IPCOMP). Returns `None` if they do not divide evenly.
    pub const fn new(protocol: Protocol, spi_len: u8, spis: &'a [u8]) -> Option<Self> {
        if spi_len == 0 || !spis.len().is_multiple_of(spi_len as usize) {
            return None;
        }
        if spis.len() / spi_len as usize > MAX_DELETE_SPIS {
            return None;
        }
        Some(Self {
            doi: Doi::IPSEC,
            protocol,
            spi_len,
            spis,
        })
    }

    pub(super) fn read(r: &mut Reader<'a>) -> Result<Self, ParseError> {
        let at = r.offset();
        let doi = Doi(r.u32()?);
        let protocol = Protocol(r.u8()?);
        let spi_len = r.u8()?;
        let expected = match protocol {
            Protocol::ISAKMP if spi_len != 16 => Some("16"),
            Protocol::AH | Protocol::ESP if spi_len != 4 => Some("4"),
            Protocol::IPCOMP if spi_len != 2 && spi_len != 4 => Some("2 or 4"),
            _ if spi_len == 0 => Some("at least 1"),
            _ => None,
        };
        if let Some(expected) = expected {
            let found = usize::from(spi_len);
            return Err(r.error_at(at + 5, ErrorKind::SpiSize { found, expected }));
        }
        let count = usize::from(r.u16()?);
        if count > MAX_DELETE_SPIS {
            return Err(r.error_at(
                at + 6,
                ErrorKind::TooMany {
                    what: "SPIs",
                    limit: MAX_DELETE_SPIS,
                },
            ));
        }
        let spis = r.rest();
        if spis.len() != count * usize::from(spi_len) {
            let (found, needed) = (spis.len(), count * usize::from(spi_len));
            return Err(r.error_at(at + 8, ErrorKind::Truncated { found, needed }));
        }
        Ok(Self {
            doi,
            protocol,
            spi_len,
            spis,
        })
    }

    /// Octets of each SPI.
    pub const fn spi_len(&self) -> usize {
        self.spi_len as usize
    }

    /// The SPIs, each [`spi_len`](Self::spi_len) octets.
    pub fn spis(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.spis.chunks_exact(usize::from(self.spi_len).max(1))
    }

    /// The body of a delete payload.
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = self.doi.0.to_be_bytes().to_vec();
        out.extend_from_slice(&[self.protocol.0, self.spi_len]);
        out.extend_from_slice(&(self.spis().len() as u16).to_be_bytes());
        out.extend_from_slice(self.spis);
        out
    }
}
