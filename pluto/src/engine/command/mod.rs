//! What whack asks. Each request is carried out here or handed to the part that can; replies go to the
//! client that asked, and it is let go when nothing that it waits for is left.

use std::collections::HashMap;

use whack::{ExitStatus, Rc};

use super::event::{Action, ClientId};
use super::Engine;

/// The clients that are waiting, and for how many things each.
#[derive(Debug, Default)]
pub struct Clients(HashMap<ClientId, Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    holds: usize,
    status: ExitStatus,
}

impl Engine {
    /// Says a line to a client, as it is.
    pub(crate) fn reply(&mut self, client: ClientId, rc: Rc, text: String) {
        let Some(waiting) = self.clients.0.get_mut(&client) else { return };
        waiting.status.note(rc.code());
        self.act(Action::Reply { client, code: rc.code(), text });
    }

    /// The client waits for one more thing; pair with [`Engine::release_client`].
    pub(crate) fn hold_client(&mut self, client: ClientId) {
        if let Some(waiting) = self.clients.0.get_mut(&client) {
            waiting.holds += 1;
        }
    }

    /// One thing that the client waited for is over; after the last one it is told to exit with the status that the lines
    /// it got add up to.
    pub(crate) fn release_client(&mut self, client: ClientId) {
        let Some(waiting) = self.clients.0.get_mut(&client) else { return };
        waiting.holds = waiting.holds.saturating_sub(1);
        if waiting.holds == 0 {
            let status = waiting.status.get();
            self.clients.0.remove(&client);
            self.act(Action::Finish { client, status });
        }
    }
}
