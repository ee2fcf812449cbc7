//! Opportunism: policy groups and their files (`groups`, `regroup`), tunnels to whoever has a key in DNS (`initiate`), the keys
//! of whoever comes (`respond`), and belief that a peer speaks for its client (`vetting`); what DNS is asked (`lookup`) and how
//! long packets wait for it (`patience`); what stands where no tunnel does (`failure`), and when tunnels that nobody uses go (`idle`);
//! who we are to them if nobody has said (`my_id`), and a NAT in front of us (`nat`). What strangers can cause is bounded: what is sent
//! to gateways that never answered (`strangers`), who makes room when there is too much to do (`room`), and what one peer may have (`shares`).
//!
//! Not here: the exchanges (`ike`), routes and eroutes (`route`), and the resolver, which is the driver's.

mod delegation;
mod failure;
mod figures;
mod gateway;
mod groups;
mod idle;
mod initiate;
mod lookup;
mod my_id;
mod nat;
mod patience;
mod regroup;
mod respond;
mod room;
mod shares;
mod strangers;
mod vetting;

use core::net::IpAddr;
use std::collections::{HashMap, HashSet};

use ipsec_dns::{Gateway, Name};
use ipsec_keys::{Id as KnownId, PublicKey};

use super::connection::{ConnId, StateId};
use super::ike::authority::KnownKey;
use super::ike::authority::speaker::Pins;
use super::{Connection, Engine, Time};

pub(crate) use groups::Groups;
pub(crate) use lookup::Found;
pub(crate) use vetting::{Claimant, Confirmed, Vetted};

/// Our client and the peer's.
pub(crate) type Pair = (IpAddr, IpAddr);

/// What has been done so far, for simulations and for whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions put to DNS.
    pub lookups: u64,
    /// Destinations that packets asked for.
    pub destinations: u64,
    /// Main Modes begun by us.
    pub initiated: u64,
}

/// All that opportunism remembers; the field `Engine::oppo`.
#[derive(Debug, Default)]
pub(crate) struct Oppo {
    pub(crate) groups: Groups,
    lookups: lookup::Lookups,
    attempts: HashMap<Pair, initiate::Attempt>,
    /// Which keys the peer of an instance may have, as DNS said.
    pins: HashMap<ConnId, Pins>,
    /// Gateways with which a negotiation has failed, until when.
    failed: failure::Gateways,
    /// Gateways that had a tunnel with us, until when that counts.
    known: failure::Gateways,
    line: room::Line,
    shares: shares::Shares,
    strangers: strangers::Strangers,
    resolver: patience::ResolverLife,
    vettings: vetting::Vettings,
    /// What DNS says of peers in Main Mode, in case they speak for themselves.
    foretold: HashMap<StateId, vetting::Foretold>,
    /// Main Modes for which DNS is being asked.
    peers: HashSet<StateId>,
    name_servers: Vec<IpAddr>,
    guarded: Vec<super::route::Flow>,
    usage: idle::Usages,
    my_id: my_id::Guess,
    nat: Option<nat::Seen>,
    pub(crate) counts: Counts,
    figures: figures::Figures,
}

/// The gateway that an identity stands for in DNS; only addresses and names can be looked up.
pub(crate) fn gateway_of(id: &KnownId) -> Option<Gateway> {
    match id {
        KnownId::Address(addr) => Some(Gateway::Address(*addr)),
        KnownId::Fqdn(name) => Name::parse(name).ok().map(Gateway::Name),
        KnownId::UserFqdn(_) | KnownId::KeyId(_) => None,
    }
}

impl Engine {
    /// What opportunism has done so far.
    pub fn opportunism(&self) -> Counts {
        self.oppo.counts
    }

    /// Who we are in a connection, as DNS would know us, and the public half of our key.
    fn ourselves(&self, conn: &Connection) -> Result<(Gateway, PublicKey), String> {
        let me = self
            .resolve_id(&conn.this.id)
            .or_else(|| conn.this.host.map(KnownId::Address))
            .ok_or("no identity for our end")?;
        let gateway = gateway_of(&me).ok_or_else(|| {
            format!("our identity {me} can't be looked up in DNS: an address or @NAME can")
        })?;
        let anyone = match conn.this.host {
            Some(host) if host.is_ipv6() => KnownId::any6(),
            _ => KnownId::any4(),
        };
        let key = self.secrets.rsa(&me, &anyone).ok_or_else(|| {
            format!("we don't know our own RSA key: `ipsec newhostkey' makes one for {me} in ipsec.secrets")
        })?;
        Ok((gateway, key.secret.public().clone()))
    }

    /// Keys that the peer of an instance may have; none for other connections.
    pub(super) fn pinned(&self, conn: ConnId) -> Option<&[KnownKey]> {
        self.oppo.pins.get(&conn).map(|pins| &pins.keys[..])
    }

    /// Whether the peer of an instance may have one of these keys too.
    fn shares_a_pin(&self, conn: ConnId, keys: &[KnownKey]) -> bool {
        self.pinned(conn)
            .is_some_and(|pins| pins.iter().any(|pin| keys.iter().any(|k| k.key == pin.key)))
    }

    /// A connection is deleted.
    pub(super) fn oppo_forget(&mut self, now: Time, conn: ConnId) {
        self.leave_queue(conn);
        self.gives_share_back(conn);
        self.oppo.pins.remove(&conn);
        self.attempt_abandoned(now, conn);
    }
}
