//! SA payload with its proposals and transforms (RFC 2408 sections 3.4 to 3.6, RFC 2407 section 4.6.1).
//! Parsed into owned values, because negotiation keeps offers and compares answers with them. Choosing is in `proposal`.

use super::attribute::{self, Attribute};
use super::error::{ErrorKind, ParseError};
use super::ipsec_doi::SIT_IDENTITY_ONLY;
use super::numbers::{Doi, PayloadType, Protocol};
use super::reader::Reader;

/// Most proposals in one SA payload.
pub const MAX_PROPOSALS: usize = 32;

/// Most transforms in one SA payload, all proposals together; ike-scan's largest habitual offers have below 100.
pub const MAX_TRANSFORMS: usize = 255;

/// The body of an SA payload: IPsec DOI, SIT_IDENTITY_ONLY, and proposals in order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sa {
    /// Proposals; those with equal numbers are offered together (AH and ESP, for instance).
    pub proposals: Vec<Proposal>,
}

/// One protocol of one proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Number; equal numbers mean "and", different ones "or".
    pub number: u8,
    /// Protocol.
    pub protocol: Protocol,
    /// SPI: 0 to 16 octets for ISAKMP, 4 for AH and ESP, 2 or 4 for IPCOMP.
    pub spi: Vec<u8>,
    /// Transforms in order of preference, at least one.
    pub transforms: Vec<Transform>,
}

/// One transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Number, growing within the proposal.
    pub number: u8,
    /// Transform id; its meaning depends on the protocol.
    pub id: u8,
    /// Attributes in the order sent.
    pub attributes: Vec<Attribute>,
}

impl Sa {
    /// Reads the body of an SA payload (all after its generic header).
    ///
    /// # Errors
    /// Foreign DOI or situation, bad lengths, counts, numbering or SPI sizes; offsets count from the start of `body`.
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        Self::read(&mut Reader::new(PayloadType::SA, body, 0))
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, ParseError> {
        let at = r.offset();
        let doi = r.u32()?;
        if doi != Doi::IPSEC.0 {
            return Err(r.error_at(at, ErrorKind::Doi(doi)));
        }
        let situation = r.u32()?;
        if situation != SIT_IDENTITY_ONLY {
            return Err(r.error_at(at + 4, ErrorKind::Situation(situation)));
        }
        r.blame(PayloadType::PROPOSAL);
        let mut sa = Self::default();
        let mut budget = MAX_TRANSFORMS;
        loop {
            if sa.proposals.len() == MAX_PROPOSALS {
                return Err(r.error(ErrorKind::TooMany {
                    what: "proposals",
                    limit: MAX_PROPOSALS,
                }));
            }
            let (proposal, more) = Proposal::read(r, sa.proposals.last(), &mut budget)?;
            sa.proposals.push(proposal);
            match more {
                true => continue,
                false if r.is_empty() => return Ok(sa),
                false => {
                    let (field, max) = (r.remaining(), 0);
                    return Err(r.error(ErrorKind::PayloadLength { field, min: 0, max }));
                }
            }
        }
    }

    /// The body of an SA payload, without generic header: what HASH_I and HASH_R call SAi_b.
    ///
    /// Lengths that do not fit 16 bits cannot come from parsed or offered values; such parts would be cut.
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&Doi::IPSEC.0.to_be_bytes());
        out.extend_from_slice(&SIT_IDENTITY_ONLY.to_be_bytes());
        for (i, proposal) in self.proposals.iter().enumerate() {
            let more = i + 1 < self.proposals.len();
            proposal.emit(
                &mut out,
                if more {
                    PayloadType::PROPOSAL
                } else {
                    PayloadType::NONE
                },
            );
        }
        out
    }
}

/// What follows in a chain of proposals or transforms: more of the same, or nothing.
fn more(
    r: &Reader<'_>,
    at: usize,
    next: PayloadType,
    own: PayloadType,
) -> Result<bool, ParseError> {
    match next {
        PayloadType::NONE => Ok(false),
        next if next == own => Ok(true),
        found => {
            let expected = if own == PayloadType::PROPOSAL {
                "a proposal or nothing"
            } else {
                "a transform or nothing"
            };
            Err(r.error_at(at, ErrorKind::UnexpectedPayload { found, expected }))
        }
    }
}

impl Proposal {
    fn read(
        r: &mut Reader<'_>,
        previous: Option<&Self>,
        budget: &mut usize,
    ) -> Result<(Self, bool), ParseError> {
        let generic = r.generic()?;
        let more = more(r, generic.offset, generic.next, PayloadType::PROPOSAL)?;
        let mut body = generic.body;
        let at = body.offset();
        let number = body.u8()?;
        if let Some(p) = previous.filter(|p| number < p.number) {
            let kind = ErrorKind::Order {
                what: "proposal",
                previous: p.number,
                found: number,
            };
            return Err(body.error_at(at, kind));
        }
        let protocol = Protocol(body.u8()?);
        let spi_len = usize::from(body.u8()?);
        check_spi_len(protocol, spi_len).map_err(|kind| body.error_at(at + 2, kind))?;
        let count = usize::from(body.u8()?);
        let spi = body.bytes(spi_len)?.to_vec();
        let transforms = Transform::read_all(&mut body, budget)?;
        if transforms.len() != count {
            let kind = ErrorKind::TransformCount {
                field: count,
                found: transforms.len(),
            };
            return Err(body.error_at(at + 3, kind));
        }
        Ok((
            Self {
                number,
                protocol,
                spi,
                transforms,
            },
            more,
        ))
    }

    fn emit(&self, out: &mut Vec<u8>, next: PayloadType) {
        let start = open(out, next);
        out.extend_from_slice(&[
            self.number,
            self.protocol.0,
            self.spi.len() as u8,
            self.transforms.len() as u8,
        ]);
        out.extend_from_slice(&self.spi);
        for (i, transform) in self.transforms.iter().enumerate() {
            let more = i + 1 < self.transforms.len();
            transform.emit(
                out,
                if more {
                    PayloadType::TRANSFORM
                } else {
                    PayloadType::NONE
                },
            );
        }
        close(out, start);
    }
}

impl Transform {
    fn read_all(r: &mut Reader<'_>, budget: &mut usize) -> Result<Vec<Self>, ParseError> {
        r.blame(PayloadType::TRANSFORM);
        let mut out: Vec<Self> = Vec::new();
        loop {
            if *budget == 0 {
                return Err(r.error(ErrorKind::TooMany {
                    what: "transforms",
                    limit: MAX_TRANSFORMS,
                }));
            }
            *budget -= 1;
            let generic = r.generic()?;
            let more = more(r, generic.offset, generic.next, PayloadType::TRANSFORM)?;
            let mut body = generic.body;
            let at = body.offset();
            let number = body.u8()?;
            if let Some(p) = out.last().filter(|p| number <= p.number) {
                let kind = ErrorKind::Order {
                    what: "transform",
                    previous: p.number,
                    found: number,
                };
                return Err(body.error_at(at, kind));
            }
            let id = body.u8()?;
            // RESERVED2 is not checked: some peers leave rubbish there and it means nothing.
            body.u16()?;
            let attributes = attribute::parse_all(&mut body)?;
            out.push(Self {
                number,
                id,
                attributes,
            });
            match more {
                true => continue,
                false if r.is_empty() => return Ok(out),
                false => {
                    return Err(r.error(ErrorKind::PayloadLength {
                        field: r.remaining(),
                        min: 0,
                        max: 0,
                    }));
                }
            }
        }
    }

    fn emit(&self, out: &mut Vec<u8>, next: PayloadType) {
        let start = open(out, next);
        out.extend_from_slice(&[self.number, self.id, 0, 0]);
        self.attributes.iter().for_each(|a| a.emit(out));
        close(out, start);
    }
}

/// SPI sizes: RFC 2408 section 2.4 (ISAKMP up to 16), RFC 2407 section 4.4 (AH and ESP 4), RFC 2407 section 4.4.5 and
/// RFC 3173 section 2.4 (IPCOMP 2, or 4 with the CPI in the low half).
fn check_spi_len(protocol: Protocol, len: usize) -> Result<(), ErrorKind> {
    let (ok, expected) = match protocol {
        Protocol::ISAKMP => (len <= 16, "0 to 16"),
        Protocol::AH | Protocol::ESP => (len == 4, "4"),
        Protocol::IPCOMP => (len == 2 || len == 4, "2 or 4"),
        _ => (len <= 16, "at most 16"),
    };
    if ok {
        Ok(())
    } else {
        Err(ErrorKind::SpiSize {
            found: len,
            expected,
        })
    }
}

/// Starts a generic payload header and returns where it begins.
pub(super) fn open(out: &mut Vec<u8>, next: PayloadType) -> usize {
    let start = out.len();
    out.extend_from_slice(&[next.0, 0, 0, 0]);
    start
}

/// Fills in the length of the payload begun at `start`.
pub(super) fn close(out: &mut [u8], start: usize) {
    let len = ((out.len() - start) as u16).to_be_bytes();
    out[start + 2..start + 4].copy_from_slice(&len);
}
