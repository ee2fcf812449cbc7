//! Quick Mode (RFC 2409 section 5.5): three messages over an ISAKMP SA that make IPsec SAs. The
//! initiator's states are in `initiator`, the responder's in `responder`, the keys in `keymat`.
//! Any number of them run over one ISAKMP SA, told apart by their message ids.

mod hash;
mod initiator;
mod keymat;
mod responder;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use super::error::{Error, Refused};
use super::ident::Client;
use super::isakmp::IsakmpSa;
use super::job::{Job, JobResult};
use crate::proposal::{IpsecPolicy, Spis};

pub use initiator::{I1, initiate};
pub use keymat::{Agreed, AhSa, EspSa, IpcompSa, Keys};
pub use responder::{Offer, R1, Selected};

const MESSAGE_ID_ZERO: Error = Error::Header("message ID is zero");
const NO_SA: Error = Error::Header("SA payload is missing");

/// What the initiator brings.
#[derive(Clone, Debug)]
pub struct Initiate {
    /// New for this ISAKMP SA, and not 0.
    pub message_id: u32,
    /// What to offer.
    pub policy: IpsecPolicy,
    /// SPIs that we chose, for what comes in.
    pub spis: Spis,
    /// Ours and the peer's; `None` where the SAs are for the two gateways themselves.
    pub clients: Option<(Client, Client)>,
    /// Our address and the peer's, as we see them.
    pub hosts: (IpAddr, IpAddr),
}

/// What comes next in an exchange.
#[derive(Debug)]
pub enum Step {
    /// Compute this, and come back.
    Compute {
        /// To be run, on any thread.
        job: Job,
        /// The exchange.
        then: Computing,
    },
    /// Initiator: send QI1, and wait for QR1.
    Send {
        /// The datagram.
        message: Vec<u8>,
        /// The exchange.
        next: Waiting,
    },
    /// Responder: install the inbound SAs, then send QR1, and wait for QI2. All keys are known.
    Answer {
        /// The datagram.
        message: Vec<u8>,
        /// The exchange.
        next: Waiting,
        /// What was agreed on.
        agreed: Box<Agreed>,
    },
    /// Initiator: install all SAs, send QI2, and done.
    Finish {
        /// The datagram.
        message: Vec<u8>,
        /// What was agreed on.
        agreed: Box<Agreed>,
    },
    /// Responder: install the outbound SAs, and done.
    Confirmed,
}

/// An exchange that waits for a datagram.
#[derive(Debug)]
pub enum Waiting {
    /// Sent QI1, expecting QR1.
    I1(Box<I1>),
    /// Sent QR1, expecting QI2.
    R1(Box<R1>),
}

impl Waiting {
    /// Takes the next message of the peer.
    ///
    /// # Errors
    /// A message that is not what the exchange waits for; the exchange comes back as it was.
    pub fn handle(self, datagram: &[u8]) -> Result<Step, Refused<Self>> {
        match self {
            Self::I1(state) => state.handle(datagram),
            Self::R1(state) => state.handle(datagram),
        }
    }
}

/// An exchange that waits for a [`Job`].
#[derive(Debug)]
pub struct Computing(Continuation);

#[derive(Debug)]
enum Continuation {
    /// Initiator: our public value for QI1.
    MakeQi1(Box<initiator::Start>),
    /// Initiator: the shared secret of PFS.
    ShareI(Box<initiator::Qr1>),
    /// Responder: our public value for QR1 and the shared secret of PFS.
    ShareR(Box<responder::Qi1>),
}

impl Computing {
    /// Goes on with what the job computed.
    ///
    /// # Errors
    /// The computation shows the peer's message to be wrong. `None` for the state where there is
    /// none to go back to.
    pub fn resume(self, result: JobResult) -> Result<Step, Refused<Option<Waiting>>> {
        match self.0 {
            Continuation::MakeQi1(state) => state.resume(result),
            Continuation::ShareI(state) => state.resume(result),
            Continuation::ShareR(state) => state.resume(result),
        }
    }
}

/// The ISAKMP SA under an exchange, shared by all that run over it.
type Under = Arc<IsakmpSa>;
