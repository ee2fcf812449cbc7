//! What a peer can get wrong in an exchange, and which notification tells it so. Mistakes in the
//! octets themselves are `wire::ParseError`.

use thiserror::Error;

use super::ident::IdentityError;
use crate::crypto::DhError;
use crate::proposal::{AnswerError, NoProposal};
use crate::wire::{NotifyType, ParseError, Unexpected};

/// Why a message was refused. The exchange goes on as if it had never come.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The octets are no ISAKMP message.
    #[error("malformed message: {0}")]
    Parse(#[from] ParseError),
    /// Payloads are missing, or have no business there.
    #[error("malformed message: {0}")]
    Payloads(#[from] Unexpected),
    /// Header fields that this exchange cannot have.
    #[error("message is invalid because its {0}")]
    Header(&'static str),
    /// In clear where it must not be.
    #[error("packet rejected: should have been encrypted")]
    NotEncrypted,
    /// The encrypted part is empty or no multiple of the cipher's block.
    #[error(
        "malformed message: {len} encrypted octets are not a multiple of encryption blocksize {block}"
    )]
    BlockSize {
        /// Octets behind the header.
        len: usize,
        /// Block of the cipher.
        block: usize,
    },
    /// The first encrypted message of a peer decrypts to nonsense, and the key came from a preshared secret.
    #[error("probable authentication failure (mismatch of preshared secrets?): {0}")]
    WrongSecret(ParseError),
    /// No offered proposal will do.
    #[error("{0}")]
    NoProposal(#[from] NoProposal),
    /// The peer's answer is not among what we offered.
    #[error("{0}")]
    NotOffered(#[from] AnswerError),
    /// A public value of the wrong length, or one that gives no secret.
    #[error("KE payload: {0}")]
    Ke(#[from] DhError),
    /// The identification payload.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// The peer may not be who it says, or is not who it should be; the text names both.
    #[error("{0}")]
    Refused(String),
    /// HASH_I or HASH_R of Main Mode does not match.
    #[error("received Hash Payload does not match computed value (mismatch of preshared secrets?)")]
    AuthHash,
    /// SIG_I or SIG_R matches none of the keys tried.
    #[error("Signature check (on {id}) failed (wrong key?); tried {tried} key(s)")]
    Signature {
        /// Who claimed to have signed.
        id: String,
        /// How many keys were tried.
        tried: usize,
    },
    /// The peer authenticates by signature and no public key of its is known.
    #[error("no RSA public key known for '{0}'")]
    NoPublicKey(String),
    /// We must sign and cannot.
    #[error("unable to locate my private key for RSA Signature")]
    NoPrivateKey,
    /// The peer wants preshared secrets, and there is none for it.
    #[error("no preshared secret for the peer")]
    NoSecret,
    /// HASH(1), HASH(2) or HASH(3) of a protected message does not match.
    #[error("received HASH({which}) does not match computed value in {message}")]
    Hash {
        /// 1, 2 or 3.
        which: u8,
        /// The message, `Quick I1`.
        message: &'static str,
    },
    /// A PFS answer or request without a KE payload, or the reverse.
    #[error("{0}")]
    Pfs(&'static str),
    /// One of these, in a message that nothing proves to be the peer's.
    #[error("{0}")]
    Unproved(Box<Error>),
    /// The responder's client identities differ from ours.
    #[error("peer's client IDs returned don't match my proposal")]
    Clients,
}

impl Error {
    pub(super) fn unproved(self) -> Self {
        Self::Unproved(Box::new(self))
    }

    /// Whether a message of Quick Mode in which this was wrong has the peer's hash all the same: the peer has sent it so, and would again.
    pub fn is_proved(&self) -> bool {
        !matches!(self, Self::Unproved(_) | Self::Hash { .. })
    }

    /// The notification that tells the peer of its mistake.
    pub fn notify(&self) -> NotifyType {
        match self {
            Self::Parse(error) => error.notify(),
            Self::Payloads(error) => error.notify(),
            Self::Unproved(error) => error.notify(),
            Self::Header(_) | Self::BlockSize { .. } => NotifyType::PAYLOAD_MALFORMED,
            Self::WrongSecret(_) => NotifyType::PAYLOAD_MALFORMED,
            Self::NotEncrypted => NotifyType::INVALID_FLAGS,
            Self::NoProposal(_) | Self::Pfs(_) => NotifyType::NO_PROPOSAL_CHOSEN,
            Self::NotOffered(_) => NotifyType::BAD_PROPOSAL_SYNTAX,
            Self::Ke(_) => NotifyType::INVALID_KEY_INFORMATION,
            Self::Identity(_) | Self::Refused(_) | Self::Clients => {
                NotifyType::INVALID_ID_INFORMATION
            }
            Self::AuthHash | Self::Hash { .. } => NotifyType::INVALID_HASH_INFORMATION,
            Self::Signature { .. } => NotifyType::INVALID_SIGNATURE,
            Self::NoPublicKey(_) => NotifyType::INVALID_KEY_INFORMATION,
            Self::NoPrivateKey | Self::NoSecret => NotifyType::AUTHENTICATION_FAILED,
        }
    }
}

/// A refused message together with the state as it was before.
#[derive(Debug)]
pub struct Refused<S> {
    /// The exchange, waiting for a better message.
    pub state: S,
    /// What was wrong.
    pub error: Error,
}
