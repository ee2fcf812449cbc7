//! How the engine drives IKE: the table of states, their timers and retransmissions, who
//! may say what to whom. The exchanges themselves are `ike::v1`; connections, routes and the
//! kernel belong to the rest of the engine.

use super::connection::StateId;

/// The timers of the IKE part, fired as `Engine::ike_timer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IkeTimer {
    /// The one event of a state: retransmit, replace, expire, discard.
    State(StateId),
    /// Forget half-open exchanges that never returned their cookie.
    HalfOpen,
    /// Draw a new secret for responder cookies (EVENT_REINIT_SECRET).
    CookieSecret,
}

/// All that the IKE part of the engine remembers; the field `Engine::ike`.
#[derive(Debug, Default)]
pub struct Ike {}
