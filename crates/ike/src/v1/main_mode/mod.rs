//! Main Mode (RFC 2409 section 5): six messages that make an ISAKMP SA, with preshared secrets or
//! RSA signatures. The states of the initiator are in `initiator`, those of the responder in
//! `responder` and, before the peer has returned its cookie, in `half_open`.

mod auth;
mod half_open;
mod initiator;
mod responder;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::sync::Arc;

use rand::CryptoRng;
use rsa::{RsaPrivateKey, RsaPublicKey};

use super::error::{Error, Refused};
use super::ident::Identity;
use super::info::Informational;
use super::isakmp::IsakmpSa;
use super::job::{Job, JobResult};
use super::nat::{Nat, NatOffer};
use crate::crypto::Secret;
use crate::proposal::{IkePolicy, IkeTransform};
use crate::wire::Cookie;

pub use half_open::{Answer, CookieSecret, HalfOpen};
pub use initiator::{I1, I2, I3, initiate};
pub use responder::R2;

/// With what we prove who we are; what is missing can't be used.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The secret shared with the peer.
    pub psk: Option<Arc<Secret>>,
    /// Our private key.
    pub rsa: Option<Arc<RsaPrivateKey>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (psk, rsa) = (self.psk.is_some(), self.rsa.is_some());
        write!(f, "Credentials {{ psk: {psk}, rsa: {rsa} }}")
    }
}

/// What the initiator brings.
#[derive(Clone, Debug)]
pub struct Initiate {
    /// What to offer.
    pub policy: IkePolicy,
    /// Who we say we are.
    pub my_id: Identity,
    /// With what we prove it.
    pub credentials: Credentials,
    /// Whether to tell the peer that we remember no SA with it.
    pub initial_contact: bool,
    /// NAT traversal.
    pub nat: NatOffer,
    /// Whether the first message is to be as short as it can be, since nobody knows who gets it: what need not be said in it is
    /// said in the third.
    pub brief: bool,
}

/// What the engine decides once the peer has named itself.
#[derive(Clone)]
pub struct Verdict {
    /// The peer's public keys, to be tried in turn; of no use with preshared secrets.
    pub peer_keys: Vec<RsaPublicKey>,
    /// Responder only: who we say we are.
    pub my_id: Identity,
    /// Responder only: with what we sign.
    pub my_key: Option<Arc<RsaPrivateKey>>,
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Verdict {{ {} peer keys, my_id: {} }}",
            self.peer_keys.len(),
            self.my_id
        )
    }
}

/// What comes next in an exchange.
#[derive(Debug)]
pub enum Step {
    /// Send this, and wait for the peer's answer. Until then it may be sent again and again.
    Send {
        /// The datagram.
        message: Vec<u8>,
        /// The exchange.
        next: Waiting,
    },
    /// Compute this, and come back.
    Compute {
        /// To be run, on any thread.
        job: Job,
        /// The exchange.
        then: Computing,
    },
    /// The peer has named itself: find its key, or refuse.
    Identify(Identified),
    /// There is an ISAKMP SA.
    Done(Box<Established>),
}

/// The outcome of Main Mode.
#[derive(Debug)]
pub struct Established {
    /// The last message, from the responder only; again for duplicates of MI3.
    pub message: Option<Vec<u8>>,
    /// What was established.
    pub sa: Arc<IsakmpSa>,
    /// The peer says that it remembers no SA with us (RFC 2407 section 4.6.3.3).
    pub initial_contact: bool,
    /// Which of [`Verdict::peer_keys`] made the peer's signature.
    pub peer_key: Option<usize>,
}

/// An exchange that waits for a datagram.
#[derive(Debug)]
pub enum Waiting {
    /// Sent MI1, expecting MR1.
    I1(Box<I1>),
    /// Sent MI2, expecting MR2.
    I2(Box<I2>),
    /// Sent MI3, expecting MR3.
    I3(Box<I3>),
    /// Sent MR2, expecting MI3.
    R2(Box<R2>),
}

impl Waiting {
    /// What was found out about NAT between the two; known from the second message of each side on.
    pub fn nat(&self) -> Nat {
        match self {
            Self::I1(_) => Nat::default(),
            Self::I2(state) => state.nat(),
            Self::I3(state) => state.nat(),
            Self::R2(state) => state.nat(),
        }
    }

    /// The initiator's cookie and the key that all messages from MI3 on are encrypted with, for a key log (`--keylogfile`) and
    /// nothing else; known with the second message of each side.
    pub fn encryption_key(&self) -> Option<(Cookie, &Secret)> {
        match self {
            Self::I1(_) | Self::I2(_) => None,
            Self::I3(state) => Some(state.encryption_key()),
            Self::R2(state) => Some(state.encryption_key()),
        }
    }

    /// There is an SA with the peer since this exchange began: INITIAL-CONTACT would make the peer delete it.
    pub fn met_meanwhile(&mut self) {
        match self {
            Self::I1(state) => state.met_meanwhile(),
            Self::I2(state) => state.met_meanwhile(),
            Self::I3(_) | Self::R2(_) => {}
        }
    }

    /// Takes the next message of the peer.
    ///
    /// # Errors
    /// A message that is not what the exchange waits for; the exchange comes back as it was.
    pub fn handle(self, datagram: &[u8], rng: &mut dyn CryptoRng) -> Result<Step, Refused<Self>> {
        match self {
            Self::I1(state) => state.handle(datagram, rng),
            Self::I2(state) => state.handle(datagram),
            Self::I3(state) => state.handle(datagram),
            Self::R2(state) => state.handle(datagram),
        }
    }

    /// Reads a protected informational message that comes while the initiator waits for MR3: a peer that will not go on says so.
    /// `None` where there are no keys yet, or none that a peer would use.
    ///
    /// # Errors
    /// A message that is malformed, or that the peer did not send.
    pub fn read_informational(&self, datagram: &[u8]) -> Option<Result<Objection, Error>> {
        match self {
            Self::I3(state) => Some(state.read_informational(datagram)),
            Self::I1(_) | Self::I2(_) | Self::R2(_) => None,
        }
    }
}

/// What a responder says in place of MR3.
#[derive(Debug)]
pub struct Objection {
    /// Its words.
    pub said: Informational,
    /// Only one that knows the preshared secret can have sent it. Where signatures authenticate, somebody in the middle could.
    pub genuine: bool,
    /// MI3 has not come to it, or it could not read it: its words are encrypted from the exchange's first IV on (RFC 2409 appendix B).
    pub before_mi3: bool,
}

/// An exchange that waits for a [`Job`].
#[derive(Debug)]
pub struct Computing(Continuation);

/// Where an exchange goes on with what was computed.
#[derive(Debug)]
enum Continuation {
    /// Initiator: our own public value, for MI2.
    MakeMi2(Box<initiator::Mr1>),
    /// Initiator: the shared secret, for MI3.
    Share(Box<initiator::Mr2>),
    /// Initiator: our signature in MI3.
    SignMi3(Box<initiator::Signing>),
    /// Initiator: the responder's signature.
    VerifyMr3(Box<initiator::Mr3>),
    /// Responder: our public value and the shared secret, for MR2.
    MakeMr2(Box<responder::Mi2>),
    /// Responder: the initiator's signature.
    VerifyMi3(Box<responder::Mi3>),
    /// Responder: our signature in MR3.
    SignMr3(Box<responder::Signing>),
}

impl Computing {
    /// Goes on with what the job computed.
    ///
    /// # Errors
    /// The computation shows the peer's message to be wrong: the exchange comes back as it was
    /// before that message. `None` for the state where there was none yet (a half-open responder,
    /// whose record the engine still has).
    pub fn resume(
        self,
        result: JobResult,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Option<Waiting>>> {
        match self.0 {
            Continuation::MakeMi2(state) => state.resume(result, rng),
            Continuation::Share(state) => state.resume(result, rng),
            Continuation::SignMi3(state) => state.resume(result),
            Continuation::VerifyMr3(state) => state.resume(result),
            Continuation::MakeMr2(state) => state.resume(result, rng),
            Continuation::VerifyMi3(state) => state.resume(result, rng),
            Continuation::SignMr3(state) => state.resume(result),
        }
    }
}

/// An exchange whose peer has said who it is, and waits for the engine to say whether that will do.
#[derive(Debug)]
pub struct Identified(Naming);

#[derive(Debug)]
enum Naming {
    Responder(Box<initiator::Mr3>),
    Initiator(Box<responder::Mi3>),
}

impl Identified {
    /// Who the peer says it is.
    pub fn peer(&self) -> &Identity {
        match &self.0 {
            Naming::Responder(state) => state.peer(),
            Naming::Initiator(state) => state.peer(),
        }
    }

    /// Cipher, hash, group and method that were agreed on.
    pub fn agreed(&self) -> &IkeTransform {
        match &self.0 {
            Naming::Responder(state) => state.agreed(),
            Naming::Initiator(state) => state.agreed(),
        }
    }

    /// Whether it proves that with a signature (else with the preshared secret).
    pub fn by_signature(&self) -> bool {
        match &self.0 {
            Naming::Responder(state) => state.by_signature(),
            Naming::Initiator(state) => state.by_signature(),
        }
    }

    /// Goes on with the peer's keys.
    ///
    /// # Errors
    /// The peer fails to prove its identity, or we have nothing to prove ours with.
    pub fn accept(
        self,
        verdict: Verdict,
        rng: &mut dyn CryptoRng,
    ) -> Result<Step, Refused<Waiting>> {
        match self.0 {
            Naming::Responder(state) => state.accept(verdict),
            Naming::Initiator(state) => state.accept(verdict, rng),
        }
    }

    /// Refuses the peer, for the reason in `error`; the exchange comes back as it was.
    pub fn refuse(self, error: Error) -> Refused<Waiting> {
        let state = match self.0 {
            Naming::Responder(state) => Waiting::I3(state.back()),
            Naming::Initiator(state) => Waiting::R2(state.back()),
        };
        Refused { state, error }
    }
}
