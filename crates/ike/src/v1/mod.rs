//! The exchanges of IKEv1 (RFC 2408, 2409) as state machines: datagrams in, datagrams and computations
//! out. No I/O, no clock, no timers, no table of states: that is the engine's. Randomness is passed in.
//!
//! A state is a value. Handling a message consumes it and gives a `Step`: something to send and the next
//! state, or a [`Job`] with a continuation that is resumed with its [`JobResult`], or the exchange's outcome.
//! A message that is refused leaves the state as it was ([`Refused`]), since anyone can forge one.
//!
//! - [`main_mode`]: [`main_mode::initiate`] → `Send` → [`main_mode::Waiting::handle`] … `Identify` … `Done` with an
//!   [`IsakmpSa`]. The responder starts with [`main_mode::HalfOpen::respond`].
//! - [`quick`]: [`quick::initiate`] over an [`IsakmpSa`], or [`quick::Offer::read`] as responder.
//! - [`info`]: notifications and deletes, as methods of [`IsakmpSa`].
//! - [`vendor`]: what peers say they are.

mod error;
mod ident;
pub mod info;
mod isakmp;
mod job;
pub mod main_mode;
mod message;
mod nat;
pub mod quick;
mod seen;
pub mod vendor;

pub use error::{Error, Refused};
pub use ident::{Client, Identity, IdentityError, Span};
pub use isakmp::{IsakmpSa, Role};
pub use job::{Job, JobResult};
pub use message::VENDOR_ID;
pub use nat::{Nat, NatMethod, NatOffer, fuzz_nat};
pub use seen::Seen;
