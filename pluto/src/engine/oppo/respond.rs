//! Keys of peers that we have not met: looked up when a connection is loaded (`%dnsonload`), or when a peer has named itself.
//!
//! Not here: whether a peer may speak for its client (`vetting`).

use ipsec_dns::{Gateway, Query};
use whack::Rc;

use super::gateway_of;
use super::lookup::{Asker, Found};
use crate::engine::connection::StateId;
use crate::engine::event::ClientId;
use crate::engine::ike::authority::{KnownKey, Origin};
use crate::engine::{About, Engine, Id, Time};

impl Engine {
    /// DNS has answered with the key of an identity (`%dnsonload`).
    pub(super) fn key_loaded(
        &mut self,
        id: &Id,
        client: Option<ClientId>,
        add: bool,
        found: &Found,
    ) {
        let about = client.map_or(About::default(), About::client);
        match found {
            Err(error) => self.loglog(about, Rc::NoKey, format!("no public key for {id}: {error}")),
            Ok(answer) => {
                let origin = Origin::OnLoad(answer.security);
                let new = answer.keys.iter().cloned();
                let new = new.map(|key| KnownKey { key, origin }).collect();
                self.keys_known(about, id, add, new);
            }
        }
        if let Some(client) = client {
            self.release_client(client);
        }
    }

    /// Looks a key up for a connection that is loaded; the client waits.
    pub(crate) fn load_key(&mut self, now: Time, id: &Id, client: ClientId, add: bool) {
        let gateway = self.resolve_id(id).as_ref().and_then(gateway_of);
        match gateway {
            None => self.loglog(
                About::client(client),
                Rc::NoKey,
                format!("no public key given for {id}, and that can't be looked up in DNS: an address or @NAME can"),
            ),
            Some(gateway) => {
                self.hold_client(client);
                self.look_up(now, Query::Keys(gateway), Asker::Load(id.clone(), Some(client), add));
            }
        }
    }

    /// Looks up the key of a peer that has named itself in Main Mode.
    pub(crate) fn look_up_peer(&mut self, now: Time, gateway: Gateway, state: StateId) {
        self.oppo.peers.insert(state);
        self.foretell(now, state, &gateway);
        self.look_up(now, Query::Keys(gateway), Asker::Peer(state));
    }

    /// Peers in Main Mode for whose key DNS is being asked.
    pub(crate) fn peers_looked_up(&self) -> usize {
        self.oppo.peers.len()
    }
}
