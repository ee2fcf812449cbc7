//! Whack clients: what each waits for, and the exit status that the lines it was told add up to.

use std::collections::HashMap;

use whack::{ExitStatus, Rc};

use crate::engine::Engine;
use crate::engine::event::{Action, ClientId};

/// The clients that are there, and for how many things each waits.
#[derive(Debug, Default)]
pub(crate) struct Clients(HashMap<ClientId, Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    holds: usize,
    status: ExitStatus,
}

impl Clients {
    /// A client that waits for its request to be read.
    pub(super) fn arrive(&mut self, client: ClientId) {
        self.0.entry(client).or_default().holds += 1;
    }

    pub(super) fn leave(&mut self, client: ClientId) {
        self.0.remove(&client);
    }
}

impl Engine {
    /// Says a line to a client, as it is.
    pub(crate) fn reply(&mut self, client: ClientId, rc: Rc, text: String) {
        let Some(waiting) = self.clients.0.get_mut(&client) else {
            return;
        };
        waiting.status.note(rc.code());
        self.act(Action::Reply {
            client,
            code: rc.code(),
            text,
        });
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
        let Some(waiting) = self.clients.0.get_mut(&client) else {
            return;
        };
        waiting.holds = waiting.holds.saturating_sub(1);
        if waiting.holds == 0 {
            let status = waiting.status.get();
            self.clients.0.remove(&client);
            self.act(Action::Finish { client, status });
        }
    }
}
