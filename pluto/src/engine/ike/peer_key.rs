//! With which keys a peer may prove who it is: those that are configured, those that DNS named for the destination that made us
//! begin, or those that DNS has for the identity that it shows.

use ike::v1::Error;
use ike::v1::main_mode::Verdict;
use ipsec_dns::{Gateway, Security};
use rsa::RsaPublicKey;

use super::authority::{KnownKey, Origin};
use crate::engine::connection::{ConnId, StateId};
use crate::engine::limiter::shown;
use crate::engine::oppo::{Claimant, Found, gateway_of};
use crate::engine::{Connection, Engine, Id, Time};

/// Peers that have returned our cookie and whose keys are being looked up, at most.
const MAX_OPEN: usize = 512;

/// What was decided about a peer.
pub(super) enum Judged {
    Known(Verdict),
    /// First its key must be looked up.
    AskDns(Gateway),
}

/// Keys that a peer may have, in both forms, in the same order.
#[derive(Default)]
pub(super) struct PeerKeys {
    pub(super) rsa: Vec<RsaPublicKey>,
    pub(super) public: Vec<KnownKey>,
}

pub(super) enum Keys {
    Known(PeerKeys),
    AskDns(Gateway),
}

fn both(keys: impl IntoIterator<Item = KnownKey>) -> PeerKeys {
    let usable = keys
        .into_iter()
        .filter_map(|known| Some((known.key.to_rsa().ok()?, known)));
    let (rsa, public) = usable.unzip();
    PeerKeys { rsa, public }
}

impl Engine {
    /// The keys that the peer of a state may have; `found` is what DNS has answered, once it was asked.
    pub(super) fn keys_of_peer(
        &self,
        conn: ConnId,
        peer: &Id,
        found: Option<&Found>,
    ) -> Result<Keys, Error> {
        // Whoever begins: what is pinned is for these keys.
        if let Some(pins) = self.pinned(conn) {
            return Ok(Keys::Known(both(pins.iter().cloned())));
        }
        let listed = self.public_keys_of(peer);
        let conn = self.conns.get(conn);
        let from_dns = conn.is_some_and(|conn| conn.that.key_from_dns);
        // Opportunism looks at signatures once it is known for whom a tunnel is asked.
        let wanted = conn.is_some_and(|conn| conn.policy.dnssec && !conn.policy.opportunistic);
        if !listed.is_empty() || !from_dns {
            let will_do = |known: &&KnownKey| !wanted || known.origin.trusted();
            let keys: Vec<KnownKey> = listed.iter().filter(will_do).cloned().collect();
            if keys.is_empty() && !listed.is_empty() {
                let peer = shown(peer);
                return Err(Error::Refused(format!(
                    "the RSA public key of '{peer}' came from DNS without a signature (%dnsonload), and dnssec=yes wants one"
                )));
            }
            return Ok(Keys::Known(both(keys)));
        }
        let unknown = |why: String| {
            let peer = shown(peer);
            Error::Refused(format!(
                "no RSA public key known for '{peer}'; DNS search for KEY failed ({why})"
            ))
        };
        let Some(found) = found else {
            let gateway = peer.known().and_then(gateway_of);
            let gateway = gateway.ok_or_else(|| {
                unknown(
                    "an identity of this kind can't be looked up: an address or a name can"
                        .to_owned(),
                )
            })?;
            if self.peers_looked_up() >= MAX_OPEN {
                return Err(unknown("too many keys are being looked up".to_owned()));
            }
            return Ok(Keys::AskDns(gateway));
        };
        let answer = found.as_ref().map_err(|error| unknown(error.to_string()))?;
        let secure = answer.security >= Security::Secure;
        if wanted && !secure {
            return Err(unknown(
                "the answer is not signed, and dnssec=yes wants that".to_owned(),
            ));
        }
        let origin = Origin::OnDemand(answer.security);
        let keys = answer.keys.iter().cloned();
        Ok(Keys::Known(both(keys.map(|key| KnownKey { key, origin }))))
    }

    /// The peer has proved a key. If what stands between its gateway and ours is pinned to that key the ISAKMP SA is for that, as one that we
    /// have begun would be.
    pub(super) fn come_home(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let Some(proof) = state.proof.as_ref().filter(|_| !state.name.initiator()) else {
            return;
        };
        let (local, remote) = (self.ike_side(state.local), state.remote);
        let peer = Id::Known(proof.peer_id.clone());
        let home = self
            .conns
            .named(local, remote, &peer)
            .find(|conn| self.pinned(conn.id()).is_some() && self.serves(proof, conn).is_ok());
        if let Some(home) = home.map(Connection::id) {
            self.move_state(now, id, home);
        }
    }

    /// Where the peer of a Main Mode is that it has begun, if that is for opportunism.
    pub(crate) fn peer_of_opportunism(&self, state: StateId) -> Option<core::net::IpAddr> {
        let state = self.ike.states.get(state)?;
        let conn = self.conns.get(state.conn)?;
        let remote = state.came.map_or(state.remote, |(_, remote)| remote);
        (conn.policy.opportunistic && !state.name.initiator()).then_some(remote.ip())
    }

    /// Who asks for tunnels over an ISAKMP SA.
    pub(crate) fn claimant(&self, under: StateId) -> Option<Claimant> {
        let state = self.ike.states.get(under)?;
        Some(Claimant {
            under,
            remote: state.remote,
            local: self.ike_side(state.local),
            proof: state.proof.clone()?,
        })
    }
}
