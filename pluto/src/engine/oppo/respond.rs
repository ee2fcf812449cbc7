//! A peer that we have not met asks for a tunnel: the key by which it proved itself came from DNS, and DNS must say that it
//! speaks for its client and we for ours. Until then its first message of Quick Mode waits here.

use std::collections::HashMap;
use std::sync::Arc;

use ike::v1::quick::Offer;
use ipsec_dns::{Gateway, Query, Security};
use ipsec_types::Subnet;
use whack::Rc;

use super::delegation::{delegates, named};
use super::gateway_of;
use super::lookup::{Asker, Found, believed};
use crate::engine::connection::{Clients, ConnId, Kind, StateId};
use crate::engine::event::ClientId;
use crate::engine::ike::authority::{KnownKey, Origin, Proof};
use crate::engine::{About, Engine, Id, Time};

/// First messages of Quick Mode that wait for DNS at most.
const MAX_VETTINGS: usize = 512;

/// Who asks, as Main Mode has proved.
#[derive(Clone, Debug)]
pub(crate) struct Claimant {
    /// Over which ISAKMP SA.
    pub(crate) under: StateId,
    /// For which connection that was made.
    pub(crate) base: ConnId,
    /// Where it is.
    pub(crate) remote: core::net::SocketAddr,
    /// Our end of it.
    pub(crate) local: core::net::SocketAddr,
    /// What it has proved.
    pub(crate) proof: Arc<Proof>,
}

/// What is to be done about a Quick Mode.
#[derive(Debug)]
pub(crate) enum Vetted {
    /// No opportunistic connection is for it.
    NotOurs,
    /// It may go on, with this template.
    Yes(ConnId),
    /// DNS must be asked.
    Ask(Box<Vetting>),
}

/// A Quick Mode that waits for DNS.
#[derive(Debug)]
pub(crate) struct Vetting {
    template: ConnId,
    claimant: Claimant,
    clients: Clients,
    ours: bool,
    theirs: bool,
    offer: Option<(Offer, Vec<u8>)>,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(crate) struct Vettings {
    last: u64,
    open: HashMap<u64, Vetting>,
}

impl Engine {
    /// Whether a peer may have a tunnel for these clients by opportunism.
    pub(crate) fn vet(&self, claimant: Claimant, clients: &Clients) -> Result<Vetted, String> {
        let Some(template) = self.conns.opportunistic_for(claimant.local, clients) else {
            return Ok(Vetted::NotOurs);
        };
        let Some(key) = claimant.proof.key().map(|known| &known.key) else {
            return Ok(Vetted::NotOurs);
        };
        let host = |net: &Subnet| *net == Subnet::host(net.addr());
        if !host(&clients.ours) || !host(&clients.theirs) {
            return Err("an opportunistic tunnel is for two single addresses".to_owned());
        }
        if let Err(why) = self.serves(&claimant.proof, template) {
            return Err(format!(
                "the ISAKMP SA does not serve {0}: {0} {why}",
                template.tag()
            ));
        }
        let ours = template.this.host == Some(clients.ours.addr());
        // What comes from an address itself needs no record: Main Mode went there and back. What was found by looking up this very
        // address has been vetted.
        let known = self
            .conns
            .opportunistic_between(clients.ours, clients.theirs);
        let pinned = known.is_some_and(|id| {
            self.conns
                .get(id)
                .is_some_and(|conn| conn.that.host == Some(claimant.remote.ip()))
                && self
                    .pinned(id)
                    .is_some_and(|pins| pins.iter().any(|pin| pin.key == *key))
        });
        let theirs = pinned || claimant.remote.ip() == clients.theirs.addr();
        if ours && theirs {
            return Ok(Vetted::Yes(template.id()));
        }
        if self.oppo.vettings.open.len() >= MAX_VETTINGS {
            return Err("too many tunnels are waiting for DNS".to_owned());
        }
        Ok(Vetted::Ask(Box::new(Vetting {
            template: template.id(),
            claimant,
            clients: *clients,
            ours,
            theirs,
            offer: None,
        })))
    }

    /// Asks DNS; the offer waits.
    pub(crate) fn ask_about(
        &mut self,
        now: Time,
        mut vetting: Box<Vetting>,
        offer: Offer,
        bytes: &[u8],
    ) {
        vetting.offer = Some((offer, bytes.to_vec()));
        let (ours, theirs) = (vetting.clients.ours.addr(), vetting.clients.theirs.addr());
        let (ours_known, theirs_known) = (vetting.ours, vetting.theirs);
        let vettings = &mut self.oppo.vettings;
        vettings.last += 1;
        let id = vettings.last;
        vettings.open.insert(id, *vetting);
        if !ours_known {
            self.look_up(now, Query::Delegation(ours), Asker::VetOurs(id));
        }
        if !theirs_known {
            self.look_up(now, Query::Delegation(theirs), Asker::VetTheirs(id));
        }
    }

    /// DNS has answered about one of the clients.
    pub(super) fn vet_answered(&mut self, now: Time, id: u64, ours: bool, found: &Found) {
        let Some(vetting) = self.oppo.vettings.open.get(&id) else {
            return;
        };
        match self.confirmed(vetting, ours, found) {
            Err(why) => {
                if let Some(vetting) = self.oppo.vettings.open.remove(&id) {
                    self.forget_lookups(&[Asker::VetOurs(id), Asker::VetTheirs(id)]);
                    self.not_confirmed(now, vetting, ours, &why);
                }
            }
            Ok(Some(query)) => self.look_up(now, query, Asker::VetOurs(id)),
            Ok(None) => {
                let done = self.oppo.vettings.open.get_mut(&id).is_some_and(|vetting| {
                    vetting.ours |= ours;
                    vetting.theirs |= !ours;
                    vetting.ours && vetting.theirs
                });
                if done && let Some(vetting) = self.oppo.vettings.open.remove(&id) {
                    let Vetting {
                        claimant,
                        template,
                        clients,
                        offer,
                        ..
                    } = vetting;
                    let policy = self.conns.opportunistic_for(claimant.local, &clients);
                    if policy.is_none_or(|policy| policy.id() != template) {
                        let text = format!(
                            "{}: the policy for {} has changed",
                            claimant.remote.ip(),
                            clients.theirs
                        );
                        self.ike_not_vetted(
                            now,
                            claimant.under,
                            offer.map(|(offer, _)| offer),
                            text,
                        );
                    } else if let Some((offer, bytes)) = offer {
                        self.ike_vetted(now, &claimant, template, &clients, offer, &bytes);
                    }
                }
            }
        }
    }

    /// Whether an answer confirms what is claimed; a further question where it needs one.
    fn confirmed(
        &self,
        vetting: &Vetting,
        ours: bool,
        found: &Found,
    ) -> Result<Option<Query>, String> {
        let answer = found.as_ref().map_err(ToString::to_string)?;
        let template = self
            .conns
            .get(vetting.template)
            .ok_or("the connection went away")?;
        if ours {
            let (gateway, key) = self.ourselves(template)?;
            let proved = delegates(vetting.clients.ours.addr(), answer, &gateway, &key)?;
            return Ok((!proved).then_some(Query::Keys(gateway)));
        }
        believed(answer, template.policy.dnssec)?;
        let peer = self
            .conns
            .get(vetting.claimant.base)
            .map(|conn| conn.that.id.clone());
        let peer = peer.and_then(|id| self.resolve_id(&id));
        let gateway = peer.as_ref().and_then(gateway_of);
        let gateway = gateway.ok_or("the peer's identity can't be in DNS")?;
        let key = vetting.claimant.proof.key().ok_or("the peer has no key")?;
        // A record without a key will do: the key was looked up with the gateway's identity.
        named(vetting.clients.theirs.addr(), answer, &gateway, &key.key)?;
        Ok(None)
    }

    fn not_confirmed(&mut self, now: Time, vetting: Vetting, ours: bool, why: &str) {
        let (which, client) = if ours {
            ("our", vetting.clients.ours.addr())
        } else {
            ("his", vetting.clients.theirs.addr())
        };
        let text = format!(
            "gateway {} wants connection with {client} as {which} client, but DNS fails to confirm delegation: {why}",
            vetting.claimant.remote.ip()
        );
        let offer = vetting.offer.map(|(offer, _)| offer);
        self.ike_not_vetted(now, vetting.claimant.under, offer, text);
    }

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
        self.look_up(now, Query::Keys(gateway), Asker::Peer(state));
    }

    /// Peers in Main Mode for whose key DNS is being asked.
    pub(crate) fn peers_looked_up(&self) -> usize {
        self.oppo.peers.len()
    }

    /// A state is gone; nobody waits for what it asked.
    pub(crate) fn oppo_state_gone(&mut self, state: StateId) {
        self.forget_use(state);
        if self.oppo.peers.remove(&state) {
            self.forget_lookups(&[Asker::Peer(state)]);
        }
        if self.oppo.vettings.open.is_empty() {
            return;
        }
        let under: Vec<u64> = self
            .oppo
            .vettings
            .open
            .iter()
            .filter(|(_, vetting)| vetting.claimant.under == state)
            .map(|(id, _)| *id)
            .collect();
        for id in under {
            self.oppo.vettings.open.remove(&id);
            self.forget_lookups(&[Asker::VetOurs(id), Asker::VetTheirs(id)]);
        }
    }

    /// An instance for what has been vetted: the one that is there, or a new one. What other gateways had for the same hosts goes.
    pub(crate) fn vetted_instance(
        &mut self,
        now: Time,
        claimant: &Claimant,
        template: ConnId,
        clients: &Clients,
    ) -> Result<ConnId, String> {
        let gone = || "the connection went away".to_owned();
        let base = self.conns.get(claimant.base).ok_or_else(gone)?;
        let peer_id = base.that.id.clone();
        if let Some(known) = self
            .conns
            .opportunistic_between(clients.ours, clients.theirs)
        {
            let known_conn = self.conns.get(known).ok_or_else(gone)?;
            if known_conn.that.host == Some(claimant.remote.ip()) {
                // What DNS has pinned to other keys is not handed over.
                return match self.serves(&claimant.proof, known_conn) {
                    Ok(()) => Ok(known),
                    Err(why) => Err(format!(
                        "the ISAKMP SA does not serve {0}: {0} {why}",
                        known_conn.tag()
                    )),
                };
            }
            self.release_connection(now, known);
        }
        let made = self.conns.oppo_instantiate(
            template,
            claimant.remote,
            Some(&peer_id),
            clients.ours,
            clients.theirs,
        );
        let made = made.ok_or_else(gone)?;
        if let Some(known) = claimant.proof.key() {
            let origin = Origin::Delegation(if known.origin.trusted() {
                Security::Secure
            } else {
                Security::Insecure
            });
            let key = known.key.clone();
            self.oppo.pins.insert(made, vec![KnownKey { key, origin }]);
        }
        debug_assert!(
            self.conns
                .get(made)
                .is_some_and(|conn| conn.kind == Kind::Instance)
        );
        Ok(made)
    }
}
