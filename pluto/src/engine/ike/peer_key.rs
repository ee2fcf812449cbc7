//! With which keys a peer may prove who it is: those that are configured, those that DNS named for the destination that made us
//! begin, or those that DNS has for the identity that it shows.

use ike::v1::Error;
use ike::v1::main_mode::Verdict;
use ipsec_dns::{Gateway, Security};
use ipsec_keys::PublicKey;
use rsa::RsaPublicKey;

use super::table::{Exchange, State};
use crate::engine::connection::{ConnId, StateId};
use crate::engine::oppo::{Claimant, Found, gateway_of};
use crate::engine::{Connection, Engine, Id};

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
    pub(super) public: Vec<PublicKey>,
    pub(super) secure: bool,
}

pub(super) enum Keys {
    Known(PeerKeys),
    AskDns(Gateway),
}

fn both(keys: &[PublicKey], secure: bool) -> PeerKeys {
    let usable = keys
        .iter()
        .filter_map(|key| Some((key.to_rsa().ok()?, key.clone())));
    let (rsa, public) = usable.unzip();
    PeerKeys {
        rsa,
        public,
        secure,
    }
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
            // Whether DNSSEC was wanted has been looked at when they were found.
            return Ok(Keys::Known(both(pins, true)));
        }
        let configured = self.public_keys_of(peer);
        let conn = self.conns.get(conn);
        let from_dns = conn.is_some_and(|conn| conn.that.key_from_dns);
        if !configured.is_empty() || !from_dns {
            return Ok(Keys::Known(both(configured, true)));
        }
        let unknown = |why: String| {
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
        let wanted = conn.is_some_and(|conn| conn.policy.dnssec && !conn.policy.opportunistic);
        if wanted && !secure {
            return Err(unknown(
                "the answer is not signed, and dnssec=yes wants that".to_owned(),
            ));
        }
        Ok(Keys::Known(both(&answer.keys, secure)))
    }

    /// Who asks for tunnels over an ISAKMP SA.
    pub(super) fn claimant(&self, under: StateId) -> Option<Claimant> {
        let state = self.ike.states.get(under)?;
        Some(Claimant {
            under,
            base: state.conn,
            remote: state.remote,
            local: self.ike_side(state.local),
            key: state
                .peer_keys
                .first()
                .cloned()
                .filter(|_| state.isakmp().is_some()),
            secure: state.secure,
        })
    }

    /// Whether the key by which the peer of an ISAKMP SA has proved itself will do for another connection: one that is configured for
    /// its identity is not to be had by another from DNS.
    pub(super) fn key_will_do(&self, state: &State, conn: &Connection) -> bool {
        let Some(key) = state.peer_keys.first() else {
            // By preshared secret.
            return self.pinned(conn.id()).is_none();
        };
        if let Some(pins) = self.pinned(conn.id()) {
            return match &state.exchange {
                Exchange::Isakmp(_) => pins.contains(key),
                _ => self.pinned(state.conn) == Some(pins),
            };
        }
        let configured = self.public_keys_of(&conn.that.id);
        configured.contains(key)
            || (configured.is_empty()
                && conn.that.key_from_dns
                && (state.secure || !conn.policy.dnssec))
    }
}
