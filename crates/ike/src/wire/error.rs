//! What can be wrong with a message, where, and which notification tells the sender so.
//! Whether to send that notification at all is the engine's business.

use super::numbers::{IdType, NotifyType, PayloadType};
use thiserror::Error;

/// A refused message: which payload, at which octet of the message, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} at octet {offset}: {kind}", place(.payload))]
pub struct ParseError {
    /// The payload being read, `PayloadType::NONE` for the ISAKMP header.
    pub payload: PayloadType,
    /// Octets from the start of the message (the header included).
    pub offset: usize,
    /// What is wrong.
    pub kind: ErrorKind,
}

fn place(payload: &PayloadType) -> String {
    match *payload {
        PayloadType::NONE => "ISAKMP header".to_owned(),
        other => format!("payload {other}"),
    }
}

/// The ways in which a message can be malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fewer octets than the structure needs.
    #[error("{found} octets, needs at least {needed}")]
    Truncated {
        /// Octets there are.
        found: usize,
        /// Octets there should be.
        needed: usize,
    },
    /// The header's length field differs from the octets received.
    #[error("length field says {field}, {received} octets were received")]
    MessageLength {
        /// The length field.
        field: usize,
        /// The datagram's length.
        received: usize,
    },
    /// A length field inside the message does not fit what surrounds it.
    #[error("length field says {field}, must be {min} to {max}")]
    PayloadLength {
        /// The length field.
        field: usize,
        /// Least sensible value.
        min: usize,
        /// Octets left in what surrounds it.
        max: usize,
    },
    /// Major version other than 1.
    #[error("major version {0}, only 1 is spoken here")]
    MajorVersion(u8),
    /// Minor version other than 0.
    #[error("minor version {0}, only 0 is spoken here")]
    MinorVersion(u8),
    /// Flag bits outside encryption, commit and authentication only.
    #[error("flags {0:#04x}, only the low three bits are defined")]
    Flags(u8),
    /// The initiator cookie is zero.
    #[error("initiator cookie is zero")]
    ZeroCookie,
    /// A reserved field holds a value.
    #[error("reserved field holds {0:#04x}, must be zero")]
    Reserved(u8),
    /// The encryption flag is set where clear text is parsed, or the other way round.
    #[error("encryption flag is {}, must be {}", set(*.found), set(!*.found))]
    EncryptionFlag {
        /// Whether the flag is set.
        found: bool,
    },
    /// A payload type that may not stand here (proposal or transform in the chain, or other payloads in an SA).
    #[error("next payload {found}, expected {expected}")]
    UnexpectedPayload {
        /// The type found.
        found: PayloadType,
        /// What may stand here.
        expected: &'static str,
    },
    /// More parts than a sane message has.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A count field differs from the parts that follow.
    #[error("{field} transforms announced, {found} found")]
    TransformCount {
        /// The number in the proposal's header.
        field: usize,
        /// Transforms that follow.
        found: usize,
    },
    /// A number that must grow from part to part does not.
    #[error("{what} number {found} follows {previous}, must not be less")]
    Order {
        /// "proposal" or "transform".
        what: &'static str,
        /// The number before.
        previous: u8,
        /// The number found.
        found: u8,
    },
    /// Not the IPsec DOI.
    #[error("domain of interpretation {0}, only IPsec (1) is spoken here")]
    Doi(u32),
    /// Not SIT_IDENTITY_ONLY.
    #[error("situation {0:#x}, only SIT_IDENTITY_ONLY (1) is spoken here")]
    Situation(u32),
    /// SPI size that the protocol cannot have.
    #[error("SPI of {found} octets, expected {expected}")]
    SpiSize {
        /// The size field.
        found: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// An identification type nobody defined.
    #[error("identification type {0} is unknown")]
    UnknownId(IdType),
    /// Identification data of a wrong length for its type.
    #[error("{id_type} data of {found} octets, expected {expected}")]
    IdLength {
        /// The identification type.
        id_type: IdType,
        /// Octets found.
        found: usize,
        /// Octets that would be right.
        expected: usize,
    },
    /// A mask with holes, or a range whose end is before its start.
    #[error("{0} is not a subnet or range: the mask has holes or the end precedes the start")]
    IdValue(IdType),
    /// A nonce outside 8 to 256 octets (RFC 2409 section 5).
    #[error("nonce of {0} octets, must be 8 to 256")]
    NonceLength(usize),
    /// An empty payload where data is needed.
    #[error("payload is empty")]
    Empty,
}

fn set(flag: bool) -> &'static str {
    if flag { "set" } else { "clear" }
}

impl ParseError {
    pub(super) fn new(payload: PayloadType, offset: usize, kind: ErrorKind) -> Self {
        Self {
            payload,
            offset,
            kind,
        }
    }

    /// The notification type that tells the peer what is wrong (RFC 2408 section 5).
    pub fn notify(&self) -> NotifyType {
        match self.kind {
            ErrorKind::MessageLength { .. } => NotifyType::UNEQUAL_PAYLOAD_LENGTHS,
            ErrorKind::MajorVersion(_) => NotifyType::INVALID_MAJOR_VERSION,
            ErrorKind::MinorVersion(_) => NotifyType::INVALID_MINOR_VERSION,
            ErrorKind::Flags(_) | ErrorKind::EncryptionFlag { .. } => NotifyType::INVALID_FLAGS,
            ErrorKind::ZeroCookie => NotifyType::INVALID_COOKIE,
            ErrorKind::UnexpectedPayload { .. } => NotifyType::INVALID_PAYLOAD_TYPE,
            ErrorKind::TransformCount { .. } | ErrorKind::Order { .. } => {
                NotifyType::BAD_PROPOSAL_SYNTAX
            }
            ErrorKind::Doi(_) => NotifyType::DOI_NOT_SUPPORTED,
            ErrorKind::Situation(_) => NotifyType::SITUATION_NOT_SUPPORTED,
            ErrorKind::SpiSize { .. } => NotifyType::INVALID_SPI,
            ErrorKind::UnknownId(_) | ErrorKind::IdLength { .. } | ErrorKind::IdValue(_) => {
                NotifyType::INVALID_ID_INFORMATION
            }
            _ => NotifyType::PAYLOAD_MALFORMED,
        }
    }
}
