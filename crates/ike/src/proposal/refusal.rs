//! Why a transform, a proposal or a peer's answer is not taken, precisely enough to be put right by whoever reads the log.

use super::algorithms::{EspSuite, IkeSuite};
use crate::crypto::{AuthAlg, CipherRefusal, EspCipher, EspRefusal, Group};
use crate::wire::{
    AuthAlgorithm, AuthMethod, Encapsulation, GroupId, NotifyType, OakleyHash, Protocol,
};
use core::fmt;

/// Why one transform or proposal is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Phase 1 cipher.
    #[error(transparent)]
    Cipher(#[from] CipherRefusal),
    /// ESP cipher.
    #[error(transparent)]
    EspCipher(#[from] EspRefusal),
    /// Phase 1 hash.
    #[error("{0} is not implemented; OAKLEY_SHA2_256, 384 and 512, OAKLEY_SHA and OAKLEY_MD5 are")]
    Hash(OakleyHash),
    /// Group.
    #[error("{0} is not implemented; groups 2, 5, 14 to 21 and 31 are")]
    Group(GroupId),
    /// A group described by its own prime or curve.
    #[error("groups described by attributes are not taken, only numbered ones")]
    PrivateGroup,
    /// Authentication method.
    #[error("{0} is not allowed for this connection")]
    AuthMethod(AuthMethod),
    /// Phase 1 algorithms that we know and the connection does not allow.
    #[error("{0} is not allowed by ike= or the defaults")]
    IkeSuite(IkeSuite),
    /// ESP algorithms that we know and the connection does not allow.
    #[error("{0} is not allowed by esp=")]
    EspSuite(EspSuite),
    /// Authenticator of ESP or AH.
    #[error("{0} is not implemented; HMAC with SHA-2, SHA-1 and MD5, AES-XCBC and AES-CMAC are")]
    AuthAlgorithm(AuthAlgorithm),
    /// An authenticator of AH that we know and the connection does not allow.
    #[error("{0} is not allowed for AH here")]
    AhAuth(AuthAlg),
    /// An authenticator beside a cipher that needs none.
    #[error("{0} authenticates what it encrypts, and goes with no authenticator")]
    AuthTwice(EspCipher),
    /// Algorithms that we know and this KLIPS lacks.
    #[error("KLIPS cannot do this here")]
    NotInKlips,
    /// Sequence numbers of the other length.
    #[error("{}", if *.wanted {
        "no EXTENDED_SEQUENCE_NUMBER, this connection wants it (esn=yes)"
    } else {
        "EXTENDED_SEQUENCE_NUMBER, this connection does without (esn=no)"
    })]
    Esn {
        /// Whether the connection wants 64 bits.
        wanted: bool,
    },
    /// Transform id that the protocol lacks.
    #[error("transform id {id} of {protocol} is not implemented")]
    TransformId {
        /// Protocol.
        protocol: Protocol,
        /// Number.
        id: u8,
    },
    /// An AH transform whose id and authenticator disagree.
    #[error("AH transform id {id} does not go with authentication algorithm {auth}")]
    AhMismatch {
        /// Transform id.
        id: u8,
        /// Attribute.
        auth: u32,
    },
    /// An attribute that must be there is not.
    #[error("attribute {0} is missing")]
    Missing(&'static str),
    /// An attribute stands twice.
    #[error("attribute {0} is repeated")]
    Repeated(String),
    /// An attribute we do not know; taking the transform would promise more than we do.
    #[error("attribute {0} is not supported")]
    Attribute(String),
    /// An attribute whose value makes no sense.
    #[error("attribute {0} has an impossible value")]
    Value(String),
    /// A life type without duration or the reverse.
    #[error("life type and life duration do not come in pairs")]
    Lifetime,
    /// Encapsulation.
    #[error("{found}, this connection wants {wanted}")]
    Encapsulation {
        /// Offered.
        found: Encapsulation,
        /// As the connection's type= says.
        wanted: Encapsulation,
    },
    /// No group for perfect forward secrecy.
    #[error("no GROUP_DESCRIPTION, this connection wants perfect forward secrecy (pfs=yes)")]
    PfsMissing,
    /// A group that the connection does not allow.
    #[error("{0} is not allowed for perfect forward secrecy here")]
    PfsGroup(Group),
    /// AH and ESP of a bundle name different groups.
    #[error("protocols of one proposal name different groups")]
    Bundle,
    /// A protocol of a bundle has no acceptable transform.
    #[error("no {0} transform in it is acceptable")]
    NothingLeft(Protocol),
    /// A protocol that has no place in this phase.
    #[error("{0} has no place in this exchange")]
    Protocol(Protocol),
    /// The same protocol twice in one proposal.
    #[error("{0} stands twice in one proposal")]
    ProtocolTwice(Protocol),
    /// An SPI that may not be used (below 256).
    #[error("SPI {0:#x} is reserved")]
    Spi(u32),
    /// A CPI that is not for negotiation: well-known, reserved or private.
    #[error(
        "CPI {0:#x} of IPCOMP is not for negotiation, those from 0x100 to 0xefff are (RFC 3173)"
    )]
    Cpi(u32),
    /// The connection wants encryption.
    #[error("no ESP, this connection wants encryption")]
    NeedsEsp,
    /// The connection wants authentication.
    #[error("neither AH nor ESP, this connection wants authentication")]
    NeedsAh,
    /// ESP that anyone could alter.
    #[error("ESP without authentication, and no AH with it")]
    NoAuthentication,
}

/// One transform that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Number of the proposal.
    pub proposal: u8,
    /// Its protocol, or `Protocol::NONE` where the proposal as a whole is meant.
    pub protocol: Protocol,
    /// Number of the transform, if one is to blame.
    pub transform: Option<u8>,
    /// Why.
    pub why: Refusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal {}", self.proposal)?;
        if self.protocol != Protocol::NONE {
            write!(f, " {}", self.protocol)?;
        }
        if let Some(number) = self.transform {
            write!(f, " transform {number}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Nothing in a peer's offer is acceptable; each of its transforms with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no acceptable proposal: {}", join(.refused))]
pub struct NoProposal {
    /// In the peer's order, at most one for each transform and proposal.
    pub refused: Vec<Refused>,
}

/// Reasons told in one line; a peer can have 255 transforms refused, and logs are read by people.
const MAX_TOLD: usize = 16;

fn join(refused: &[Refused]) -> String {
    let mut told: Vec<String> = refused
        .iter()
        .take(MAX_TOLD)
        .map(Refused::to_string)
        .collect();
    if refused.len() > MAX_TOLD {
        told.push(format!("and {} more", refused.len() - MAX_TOLD));
    }
    told.join("; ")
}

impl NoProposal {
    /// The notification type that tells the peer so.
    pub const fn notify(&self) -> NotifyType {
        NotifyType::NO_PROPOSAL_CHOSEN
    }
}

/// A peer's answer that is not one of our offers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// More or less than one choice.
    #[error(
        "answer holds {proposals} proposals and {transforms} transforms, must be one choice from our offer"
    )]
    NotOne {
        /// Proposals with different numbers.
        proposals: usize,
        /// Transforms of the proposal with most of them.
        transforms: usize,
    },
    /// The answer cannot be read.
    #[error("answer: {0}")]
    Refused(Refused),
    /// A readable choice that we did not offer.
    #[error("answer chooses what was not offered: {0}")]
    NotOffered(String),
}

impl AnswerError {
    /// The notification type that tells the peer so.
    pub const fn notify(&self) -> NotifyType {
        NotifyType::BAD_PROPOSAL_SYNTAX
    }
}
