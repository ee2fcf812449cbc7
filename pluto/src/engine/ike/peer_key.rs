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
use crate::engine::{Engine, Id};

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
        id: StateId,
        conn: ConnId,
        peer: &Id,
        found: Option<&Found>,
    ) -> Result<Keys, Error> {
        let initiator = self
            .ike
            .states
            .get(id)
            .is_some_and(|state| state.name.initiator());
        if let Some(pins) = self.pinned(conn).filter(|_| initiator) {
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

    /// Who asks for tunnels over an ISAKMP SA.
    pub(super) fn claimant(&self, under: StateId) -> Option<Claimant> {
        let state = self.ike.states.get(under)?;
        Some(Claimant {
            under,
            base: state.conn,
            remote: state.remote,
            local: self.ike_side(state.local),
            proof: state.proof.clone()?,
        })
    }
}
