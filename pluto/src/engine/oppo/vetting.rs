//! May a peer have a tunnel for its client, and we for ours? DNS must say so, whoever begins. Until then a Quick Mode waits here: the
//! first message of the peer's, or one that we want to begin over an ISAKMP SA while what we know of the client is out of date.
//!
//! Not here: the decision itself (`ike::authority::speaker`).

use std::collections::HashMap;
use std::sync::Arc;

use ike::v1::quick::Offer;
use ipsec_dns::{Gateway, LookupError, Query};
use ipsec_types::Subnet;
use whack::Rc;

use super::delegation::delegates;
use super::gateway_of;
use super::lookup::{Asker, Found};
use super::shares::peer_of;
use crate::engine::connection::{Clients, ConnId, Kind, StateId};
use crate::engine::ike::Pending;
use crate::engine::ike::authority::Proof;
use crate::engine::ike::authority::speaker::{Claim, Mute, Pins, Records, Says, Standing, speaker};
use crate::engine::{About, Engine, Time};

/// Quick Modes that wait for DNS at most.
const MAX_VETTINGS: usize = 512;

/// Who asks, as Main Mode has proved.
#[derive(Clone, Debug)]
pub(crate) struct Claimant {
    /// Over which ISAKMP SA.
    pub(crate) under: StateId,
    /// Where it is.
    pub(crate) remote: core::net::SocketAddr,
    /// Our end of it.
    pub(crate) local: core::net::SocketAddr,
    /// What it has proved.
    pub(crate) proof: Arc<Proof>,
}

/// A Quick Mode that DNS has confirmed.
#[derive(Debug)]
pub(crate) struct Confirmed {
    /// With whom.
    pub(crate) claimant: Claimant,
    /// By which policy.
    pub(crate) template: ConnId,
    /// For whom.
    pub(crate) clients: Clients,
    /// Which keys the peer may have.
    pins: Pins,
}

/// What is to be done about a Quick Mode.
#[derive(Debug)]
pub(crate) enum Vetted {
    /// No opportunistic connection is for it.
    NotOurs,
    /// It may go on.
    Yes(Box<Confirmed>),
    /// DNS must be asked.
    Ask(Box<Vetting>),
}

/// What waits.
#[derive(Debug)]
enum Then {
    /// The peer's first message is to be answered.
    Answer(Option<(Offer, Vec<u8>)>),
    /// Ours is to be sent.
    Begin(Pending),
}

/// A Quick Mode that waits for DNS.
#[derive(Debug)]
pub(crate) struct Vetting {
    template: ConnId,
    claimant: Claimant,
    clients: Clients,
    /// What DNS would call the peer by its identity.
    name: Option<Gateway>,
    /// Whether we may speak for our client.
    ours: bool,
    /// What DNS has said of the peer's.
    records: Records,
    /// What it is being asked of that.
    asking: Option<Query>,
    then: Then,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(crate) struct Vettings {
    last: u64,
    open: HashMap<u64, Vetting>,
}

/// What DNS has said of a peer while Main Mode went on, in case it will speak for its own address.
#[derive(Debug)]
pub(crate) struct Foretold {
    at: core::net::IpAddr,
    name: Gateway,
    records: Records,
    until: Time,
}

impl Foretold {
    fn claim(&self) -> Claim<'_> {
        Claim {
            client: self.at,
            at: self.at,
            name: Some(&self.name),
            key: None,
            dnssec: false,
            standing: None,
        }
    }
}

impl Engine {
    /// Whether a peer may have a tunnel for these clients by opportunism.
    pub(crate) fn vet(
        &mut self,
        now: Time,
        claimant: Claimant,
        clients: &Clients,
    ) -> Result<Vetted, String> {
        let Some(template) = self.conns.opportunistic_for(claimant.local, clients) else {
            return Ok(Vetted::NotOurs);
        };
        if claimant.proof.key().is_none() {
            return Ok(Vetted::NotOurs);
        }
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
        let template = template.id();
        let records = self.take_foretold(now, &claimant, clients);
        let vetting = Vetting {
            template,
            name: gateway_of(&claimant.proof.peer_id),
            claimant,
            clients: *clients,
            ours,
            records,
            asking: None,
            then: Then::Answer(None),
        };
        match self.speaks(now, &vetting) {
            Err(why) => Err(unconfirmed(&vetting, false, &why.to_string())),
            Ok(Says::Speaks(pins)) if ours => Ok(Vetted::Yes(Box::new(vetting.confirmed(pins)))),
            Ok(_) if self.oppo.vettings.open.len() >= MAX_VETTINGS => {
                Err("too many tunnels are waiting for DNS".to_owned())
            }
            Ok(_) => Ok(Vetted::Ask(Box::new(vetting))),
        }
    }

    /// Whether a tunnel may be asked for over the ISAKMP SA of `under`: the peer must speak for its client still. `None`: DNS is asked, or
    /// has said no.
    pub(crate) fn may_begin(
        &mut self,
        now: Time,
        under: StateId,
        quick: Pending,
    ) -> Option<Pending> {
        let conn = self.conns.get(quick.conn);
        let conn = conn.filter(|conn| conn.policy.opportunistic && conn.kind == Kind::Instance);
        let found = conn.and_then(|conn| Some((conn.template?, conn.clients()?)));
        let (Some((template, clients)), Some(claimant)) = (found, self.claimant(under)) else {
            return Some(quick);
        };
        let vetting = Vetting {
            template,
            name: gateway_of(&claimant.proof.peer_id),
            claimant,
            clients,
            ours: true,
            records: Records::default(),
            asking: None,
            then: Then::Begin(quick),
        };
        self.go_on(now, None, vetting)
    }

    /// What the records say, as far as they are known.
    fn speaks(&self, now: Time, vetting: &Vetting) -> Result<Says, Mute> {
        speaker(now, &self.claim(vetting), &vetting.records)
    }

    fn claim<'a>(&'a self, vetting: &'a Vetting) -> Claim<'a> {
        let clients = &vetting.clients;
        let known = self
            .conns
            .opportunistic_between(clients.ours, clients.theirs);
        let standing = known.and_then(|id| {
            let at = self.conns.get(id)?.that.host?;
            let pins = self.oppo.pins.get(&id)?;
            Some(Standing { at, pins })
        });
        let template = self.conns.get(vetting.template);
        Claim {
            client: clients.theirs.addr(),
            at: vetting.claimant.remote.ip(),
            name: vetting.name.as_ref(),
            key: vetting.claimant.proof.key().map(|known| &known.key),
            dnssec: template.is_none_or(|conn| conn.policy.dnssec),
            standing,
        }
    }

    /// Asks DNS; the offer waits.
    pub(crate) fn ask_about(
        &mut self,
        now: Time,
        mut vetting: Box<Vetting>,
        offer: Offer,
        bytes: &[u8],
    ) {
        vetting.then = Then::Answer(Some((offer, bytes.to_vec())));
        let (ours, known) = (vetting.clients.ours.addr(), vetting.ours);
        self.oppo.vettings.last += 1;
        let id = self.oppo.vettings.last;
        self.go_on(now, Some(id), *vetting);
        if !known && self.oppo.vettings.open.contains_key(&id) {
            self.look_up(now, Query::Delegation(ours), Asker::VetOurs(id));
        }
    }

    /// DNS has answered about one of the clients.
    pub(super) fn vet_answered(
        &mut self,
        now: Time,
        id: u64,
        ours: bool,
        query: &Query,
        found: &Found,
    ) {
        let Some(mut vetting) = self.oppo.vettings.open.remove(&id) else {
            return;
        };
        if ours {
            match self.we_speak(&vetting, found) {
                Err(why) => return self.not_confirmed(now, id, vetting, true, &why),
                Ok(Some(query)) => {
                    self.oppo.vettings.open.insert(id, vetting);
                    return self.look_up(now, query, Asker::VetOurs(id));
                }
                Ok(None) => vetting.ours = true,
            }
        } else {
            let mut records = core::mem::take(&mut vetting.records);
            records.add(&self.claim(&vetting), query, found);
            vetting.records = records;
        }
        let under = vetting.claimant.under;
        if let Some(quick) = self.go_on(now, Some(id), vetting) {
            self.quick_begin(now, under, &quick);
        }
    }

    /// Whether we may speak for our client; a further question where that needs one.
    fn we_speak(&self, vetting: &Vetting, found: &Found) -> Result<Option<Query>, String> {
        let answer = found.as_ref().map_err(ToString::to_string)?;
        let template = self
            .conns
            .get(vetting.template)
            .ok_or("the connection went away")?;
        let (gateway, key) = self.ourselves(template)?;
        let proved = delegates(vetting.clients.ours.addr(), answer, &gateway, &key)?;
        Ok((!proved).then_some(Query::Keys(gateway)))
    }

    /// One step further: what is not known is asked. A Quick Mode of ours that may begin is answered.
    fn go_on(&mut self, now: Time, id: Option<u64>, mut vetting: Vetting) -> Option<Pending> {
        let says = self.speaks(now, &vetting);
        let id = id.unwrap_or_else(|| {
            self.oppo.vettings.last += 1;
            self.oppo.vettings.last
        });
        match says {
            Err(why) => self.not_confirmed(now, id, vetting, false, &why.to_string()),
            Ok(Says::Speaks(pins)) if vetting.ours => return self.confirmed(now, vetting, pins),
            Ok(Says::Speaks(_)) => {
                self.oppo.vettings.open.insert(id, vetting);
            }
            Ok(Says::Ask(query)) => {
                let asked = vetting.asking.as_ref() == Some(&query);
                vetting.asking = Some(query.clone());
                self.oppo.vettings.open.insert(id, vetting);
                if !asked {
                    self.look_up(now, query, Asker::VetTheirs(id));
                }
            }
        }
        None
    }

    /// DNS has confirmed all.
    fn confirmed(&mut self, now: Time, vetting: Vetting, pins: Pins) -> Option<Pending> {
        let (local, clients) = (vetting.claimant.local, vetting.clients);
        let policy = self.conns.opportunistic_for(local, &clients);
        if policy.is_none_or(|policy| policy.id() != vetting.template) {
            let (peer, client) = (vetting.claimant.remote.ip(), clients.theirs);
            let text = format!("{peer}: the policy for {client} has changed");
            self.not_vetted(now, vetting, text);
            return None;
        }
        match vetting.then {
            Then::Answer(Some((offer, bytes))) => {
                let confirmed = Confirmed {
                    claimant: vetting.claimant,
                    template: vetting.template,
                    clients,
                    pins,
                };
                self.ike_vetted(now, &confirmed, offer, &bytes);
                None
            }
            Then::Answer(None) => None,
            Then::Begin(quick) => {
                self.pin(quick.conn, pins);
                Some(quick)
            }
        }
    }

    fn not_confirmed(&mut self, now: Time, id: u64, vetting: Vetting, ours: bool, why: &str) {
        self.forget_lookups(&[Asker::VetOurs(id), Asker::VetTheirs(id)]);
        let text = unconfirmed(&vetting, ours, why);
        self.not_vetted(now, vetting, text);
    }

    fn not_vetted(&mut self, now: Time, vetting: Vetting, text: String) {
        let under = vetting.claimant.under;
        match vetting.then {
            Then::Answer(offer) => {
                self.ike_not_vetted(now, under, offer.map(|(offer, _)| offer), text);
            }
            Then::Begin(quick) => {
                let about = About::conn(quick.conn).watched_by(quick.client);
                self.loglog(about, Rc::OppoFailure, &text);
                self.oppo_wrong_key(now, quick.conn, &text);
                if let Some(client) = quick.client {
                    self.release_client(client);
                }
            }
        }
    }

    /// The keys that the peer of an instance may have.
    pub(super) fn pin(&mut self, conn: ConnId, pins: Pins) {
        let pins = match self.oppo.pins.get(&conn) {
            Some(old) => old.renewed(pins),
            None => pins,
        };
        self.oppo.pins.insert(conn, pins);
    }

    /// A peer has named itself in Main Mode, and its key is being looked up. If it will speak for itself, this is asked as well: it
    /// is known when Quick Mode comes.
    pub(super) fn foretell(&mut self, now: Time, state: StateId, name: &Gateway) {
        let Some(at) = self.peer_of_opportunism(state) else {
            return;
        };
        let foretold = Foretold {
            at,
            name: name.clone(),
            records: Records::default(),
            until: now,
        };
        self.oppo.foretold.insert(state, foretold);
        self.look_up(now, Query::Delegation(at), Asker::Foretold(state));
    }

    /// DNS has answered one of these questions.
    pub(super) fn foretold(&mut self, now: Time, state: StateId, query: &Query, found: &Found) {
        // What failed is asked again when it matters.
        let counts = matches!(found, Ok(_) | Err(LookupError::NoRecord { .. }));
        if let Some(mut foretold) = self.oppo.foretold.remove(&state).filter(|_| counts) {
            let mut records = core::mem::take(&mut foretold.records);
            records.add(&foretold.claim(), query, found);
            foretold.until = records.until(now);
            foretold.records = records;
            self.oppo.foretold.insert(state, foretold);
        }
    }

    /// What is known of the client of a peer that speaks for itself. Who has a tunnel with the peer knows it better.
    fn take_foretold(&mut self, now: Time, claimant: &Claimant, clients: &Clients) -> Records {
        let at = claimant.remote.ip();
        let foretold = (clients.theirs.addr() == at)
            .then(|| self.oppo.foretold.remove(&claimant.under))
            .flatten();
        let name = gateway_of(&claimant.proof.peer_id);
        foretold
            .filter(|foretold| {
                foretold.at == at && Some(&foretold.name) == name.as_ref() && foretold.until > now
            })
            .map_or_else(Records::default, |foretold| foretold.records)
    }

    /// A state is gone; nobody waits for what it asked.
    pub(crate) fn oppo_state_gone(&mut self, state: StateId) {
        self.forget_use(state);
        if self.oppo.peers.remove(&state) {
            self.forget_lookups(&[Asker::Peer(state)]);
        }
        if self.oppo.foretold.remove(&state).is_some() {
            self.forget_lookups(&[Asker::Foretold(state)]);
        }
        if self.oppo.vettings.open.is_empty() {
            return;
        }
        let open = self.oppo.vettings.open.iter();
        let under: Vec<u64> = open
            .filter(|(_, vetting)| vetting.claimant.under == state)
            .map(|(id, _)| *id)
            .collect();
        for id in under {
            let gone = self.oppo.vettings.open.remove(&id);
            self.forget_lookups(&[Asker::VetOurs(id), Asker::VetTheirs(id)]);
            if let Some(Then::Begin(quick)) = gone.map(|vetting| vetting.then)
                && let Some(client) = quick.client
            {
                self.release_client(client);
            }
        }
    }

    /// Quick Modes of one peer that wait for DNS.
    pub(super) fn vettings_of(&self, peer: core::net::IpAddr) -> usize {
        let open = self.oppo.vettings.open.values();
        let of_peer = open.filter(|vetting| peer_of(vetting.claimant.remote.ip()) == peer);
        of_peer.count()
    }

    /// An instance for what has been vetted: the one that is there, if the peer's key is among its pins, or a new one in its place.
    pub(crate) fn vetted_instance(
        &mut self,
        now: Time,
        confirmed: &Confirmed,
    ) -> Result<ConnId, String> {
        let Confirmed {
            claimant,
            template,
            clients,
            pins,
        } = confirmed;
        let gone = || "the connection went away".to_owned();
        let key = &claimant.proof.key().ok_or("the peer has no key")?.key;
        if let Some(known) = self
            .conns
            .opportunistic_between(clients.ours, clients.theirs)
        {
            let conn = self.conns.get(known).ok_or_else(gone)?;
            let old = self.oppo.pins.get(&known);
            let its_own = old.is_some_and(|old| old.of(key).is_some());
            if conn.that.host == Some(claimant.remote.ip()) && its_own {
                if let Err(why) = self.serves(&claimant.proof, conn) {
                    let tag = conn.tag();
                    return Err(format!("the ISAKMP SA does not serve {tag}: {tag} {why}"));
                }
                self.pin(known, pins.clone());
                return Ok(known);
            }
            self.release_connection(now, known);
        }
        let made = self.conns.oppo_instantiate(
            *template,
            claimant.remote,
            Some(&crate::engine::Id::Known(claimant.proof.peer_id.clone())),
            clients.ours,
            clients.theirs,
        );
        let made = made.ok_or_else(gone)?;
        self.pin(made, pins.clone());
        debug_assert!(
            self.conns
                .get(made)
                .is_some_and(|conn| conn.kind == Kind::Instance)
        );
        Ok(made)
    }
}

impl Vetting {
    fn confirmed(self, pins: Pins) -> Confirmed {
        Confirmed {
            claimant: self.claimant,
            template: self.template,
            clients: self.clients,
            pins,
        }
    }
}

/// For the log.
fn unconfirmed(vetting: &Vetting, ours: bool, why: &str) -> String {
    let (which, client) = if ours {
        ("our", vetting.clients.ours.addr())
    } else {
        ("his", vetting.clients.theirs.addr())
    };
    let peer = vetting.claimant.remote.ip();
    format!(
        "gateway {peer} wants connection with {client} as {which} client, but DNS fails to confirm delegation: {why}"
    )
}
