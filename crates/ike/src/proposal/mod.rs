//! Negotiation: what a connection allows in phase 1 ([`IkePolicy`]) and phase 2 ([`IpsecPolicy`]), turned into SA payloads
//! and held against a peer's. No cryptography and no state: exchanges keep the results.

mod algorithms;
mod attributes;
mod ike;
mod ipsec;
mod ipsec_transform;
mod refusal;
#[cfg(test)]
mod tests;

pub use algorithms::{AlgorithmError, EspAlgorithms, EspSuite, IkeAlgorithms, IkeSuite, parse_ah};
pub use attributes::{LIFE_MAXIMUM, Lifetimes};
pub use ike::{IkePolicy, IkeTransform};
pub use ipsec::{AhChoice, EspChoice, IpcompChoice, IpsecChoice, IpsecPolicy, Spis};
pub use refusal::{AnswerError, NoProposal, Refusal, Refused};
