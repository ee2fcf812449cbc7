//! Who owns which route and eroute, what shunt stands where there is no tunnel, and the updown commands that tell the
//! system. PF_KEY messages themselves are made in `kernel`.

use super::Engine;
use super::connection::ConnId;
use super::time::Time;

/// Updown commands: one at a time for each connection.
#[derive(Debug, Default)]
pub struct Updowns {}

impl Engine {
    /// Deletes an instance if no state and no shunt is left of it. Call after a state is gone.
    pub(crate) fn connection_discard(&mut self, now: Time, conn: ConnId) {
        let _ = (now, conn);
        todo!()
    }

    /// The negotiation of `conn` has failed for good: its hold becomes the failure shunt, or the trap again.
    pub(crate) fn negotiation_failed(&mut self, now: Time, conn: ConnId) {
        let _ = (now, conn);
        todo!()
    }

    /// Drops the states of a connection and its route; an instance is deleted.
    pub(crate) fn release_connection(&mut self, now: Time, conn: ConnId) {
        let _ = (now, conn);
        todo!()
    }
}
