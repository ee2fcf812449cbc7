//! Which connections an IKE SA may serve.
//!
//! An IKE SA keeps the [`Proof`] on which it stands. [`Engine::serves`] is the one place that decides whether an IKE SA with
//! this proof may serve a connection: as responder and as initiator, for a Quick Mode, for a switch by identity in Main Mode,
//! for re-use, for rekeying, and for opportunism. An IKE SA serves a connection only if that connection would have accepted
//! exactly this proof. For opportunism [`speaker::speaker`] decides besides whether the peer speaks for its client.
//!
//! Not here: which secrets and keys there are (`policy`, `peer_key`), and who asks DNS (`oppo::vetting`).

use core::fmt;

use ike::crypto::{Hash, Secret, ct_eq};
use ike::proposal::IkeSuite;
use ike::v1::IsakmpSa;
use ipsec_dns::Security;
use ipsec_keys::PublicKey;
use rand::CryptoRng;

use super::policy::known_id;
use super::table::State;
use crate::engine::connection::StateId;
use crate::engine::limiter::shown;
use crate::engine::{Connection, Engine, Id, KnownId};

pub(crate) mod speaker;
#[cfg(test)]
mod tests;

/// Where a public key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `leftrsasigkey=0s...`, or whack.
    Configured,
    /// DNS, asked when the connection was loaded (`%dnsonload`).
    OnLoad(Security),
    /// DNS, asked for the identity that the peer has shown (`%dnsondemand`).
    OnDemand(Security),
    /// DNS, asked for a destination: the key of whoever speaks for that, under any identity (opportunism).
    Delegation(Security),
}

impl Origin {
    /// Whether DNSSEC has proved the key, or a person has configured it.
    pub(crate) fn trusted(self) -> bool {
        match self {
            Self::Configured => true,
            Self::OnLoad(by) | Self::OnDemand(by) | Self::Delegation(by) => by >= Security::Secure,
        }
    }

    /// What the list of public keys says of it.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Configured => "",
            _ if self.trusted() => ", from DNS, signed",
            _ => ", from DNS, not signed",
        }
    }
}

/// A public key of a peer, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownKey {
    pub(crate) key: PublicKey,
    pub(crate) origin: Origin,
}

/// A fingerprint of a preshared secret, keyed anew with each start of the daemon. Two are compared in constant time.
#[derive(Clone)]
pub(crate) struct Fingerprint(Secret);

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        ct_eq(self.0.expose(), other.0.expose())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(hidden)")
    }
}

/// Makes fingerprints of secrets.
pub(super) struct Fingerprints(Secret);

impl Fingerprints {
    /// With a key of its own.
    pub(super) fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut key = vec![0; 32];
        rng.fill_bytes(&mut key);
        Self(Secret::new(key))
    }

    /// The fingerprint of a secret.
    pub(super) fn of(&self, secret: &Secret) -> Fingerprint {
        Fingerprint(Hash::SHA2_256.prf(self.0.expose(), &[secret.expose()]))
    }
}

impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprints(hidden)")
    }
}

/// By what a peer has been authenticated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Means {
    /// The secret with this fingerprint.
    Secret(Fingerprint),
    /// A signature with this key.
    Key(KnownKey),
    /// A signature whose key is still to be found: Main Mode chooses the connection first.
    Signature,
}

/// The proof on which an IKE SA stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proof {
    /// Secret or key.
    pub(crate) means: Means,
    /// The identity that we have shown.
    pub(crate) my_id: KnownId,
    /// The identity that the peer has shown.
    pub(crate) peer_id: KnownId,
    /// Cipher, hash and group agreed on.
    pub(crate) suite: IkeSuite,
}

impl Proof {
    /// The proof of an IKE SA that has just been established; `None` if it has shown nothing that a connection could name.
    pub(super) fn of(
        sa: &IsakmpSa,
        key: Option<KnownKey>,
        secret: Option<Fingerprint>,
    ) -> Option<Self> {
        let means = if sa.agreed().by_signature() {
            Means::Key(key?)
        } else {
            Means::Secret(secret?)
        };
        Some(Self {
            means,
            my_id: known_id(sa.my_id())?,
            peer_id: known_id(sa.peer_id())?,
            suite: sa.agreed().suite(),
        })
    }

    /// The key by which the peer was authenticated, if it was one.
    pub(crate) fn key(&self) -> Option<&KnownKey> {
        match &self.means {
            Means::Key(key) => Some(key),
            Means::Secret(_) | Means::Signature => None,
        }
    }
}

/// Why an IKE SA may not serve a connection. The text follows the connection's name in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// `type=passthrough`, `authby=never` and the like.
    #[error("negotiates nothing: it is a shunt")]
    Shunt,
    /// The IKE SA was made in another name of ours.
    #[error("is for our identity '{wanted}', and we have been '{shown}' to this peer")]
    OurId { wanted: String, shown: String },
    /// The peer is somebody else.
    #[error("is for the peer '{wanted}', and this peer is '{shown}'")]
    PeerId { wanted: String, shown: String },
    /// `authby=` does not allow the method.
    #[error("wants authby={allowed}, and this peer was authenticated by {used}")]
    Method {
        allowed: &'static str,
        used: &'static str,
    },
    /// Another preshared secret belongs to these identities.
    #[error("wants another preshared secret for '{mine}' and '{theirs}' than this peer has")]
    Secret { mine: String, theirs: String },
    /// The key is not one of those that are listed.
    #[error(
        "wants another RSA key of '{theirs}' than {key_id}, by which this peer was authenticated"
    )]
    Key { theirs: String, key_id: String },
    /// `dnssec=yes`, and the key came from DNS without a signature.
    #[error(
        "refuses key {key_id}, which came from DNS without a signature, and wants one (dnssec=yes)"
    )]
    NotSigned { key_id: String },
    /// `ike=` does not allow the algorithms.
    #[error("does not allow {suite} (ike=), which was agreed on with this peer")]
    Suite { suite: IkeSuite },
}

impl Unfit {
    /// Whether the connection is for other identities, so that the IKE SA has nothing to do with it.
    pub(super) fn is_of_others(&self) -> bool {
        matches!(self, Self::OurId { .. } | Self::PeerId { .. } | Self::Shunt)
    }
}

/// An identity for the log: a peer may call itself anything.
fn named(id: &KnownId) -> String {
    shown(&Id::Known(id.clone()))
}

fn authby(conn: &Connection) -> &'static str {
    match (conn.policy.psk, conn.policy.rsasig) {
        (true, true) => "secret|rsasig",
        (true, false) => "secret",
        (false, true) => "rsasig",
        (false, false) => "never",
    }
}

impl Engine {
    /// Whether an IKE SA with this proof may serve a connection, in either role.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn serves(&self, proof: &Proof, conn: &Connection) -> Result<(), Unfit> {
        if conn.policy.never_negotiate() {
            return Err(Unfit::Shunt);
        }
        self.identities_fit(proof, conn)?;
        self.means_fit(proof, conn)?;
        let allowed = match &conn.algorithms.ike {
            Some(list) => list.accepts(&proof.suite),
            None => ike::proposal::IkeAlgorithms::default().accepts(&proof.suite),
        };
        if allowed {
            Ok(())
        } else {
            Err(Unfit::Suite { suite: proof.suite })
        }
    }

    fn identities_fit(&self, proof: &Proof, conn: &Connection) -> Result<(), Unfit> {
        // By opportunism both sides are known by their keys, under whatever identity.
        let mine = self.my_known_id(conn);
        if !conn.policy.opportunistic && !mine.as_ref().is_some_and(|id| id.same(&proof.my_id)) {
            return Err(Unfit::OurId {
                wanted: mine.map_or_else(|| conn.this.id.to_string(), |id| id.to_string()),
                shown: named(&proof.my_id),
            });
        }
        let anyone = conn.that.id.is_none() || self.pinned(conn.id()).is_some();
        let theirs = self.resolve_id(&conn.that.id);
        if !anyone && !theirs.is_some_and(|id| id.same(&proof.peer_id)) {
            return Err(Unfit::PeerId {
                wanted: conn.that.id.to_string(),
                shown: named(&proof.peer_id),
            });
        }
        Ok(())
    }

    fn means_fit(&self, proof: &Proof, conn: &Connection) -> Result<(), Unfit> {
        let method = |on: bool, used| {
            let allowed = authby(conn);
            on.then_some(()).ok_or(Unfit::Method { allowed, used })
        };
        match &proof.means {
            Means::Secret(used) => {
                // Pins are keys, and a secret is none.
                let pinned = self.pinned(conn.id()).is_some();
                method(conn.policy.psk && !pinned, "preshared secret")?;
                let wanted = self.secret_for(conn, &proof.peer_id);
                if wanted.is_some_and(|secret| self.ike.fingerprints.of(&secret) == *used) {
                    Ok(())
                } else {
                    Err(Unfit::Secret {
                        mine: named(&proof.my_id),
                        theirs: named(&proof.peer_id),
                    })
                }
            }
            Means::Signature => method(conn.policy.rsasig, "RSA signature"),
            Means::Key(key) => {
                method(conn.policy.rsasig, "RSA signature")?;
                self.key_fits(key, &proof.peer_id, conn)
            }
        }
    }

    fn key_fits(&self, used: &KnownKey, peer: &KnownId, conn: &Connection) -> Result<(), Unfit> {
        let other = || Unfit::Key {
            theirs: named(peer),
            key_id: used.key.key_id(),
        };
        if let Some(pins) = self.pinned(conn.id()) {
            // Whether DNSSEC was wanted has been looked at when they were found.
            let pinned = pins.iter().any(|pin| pin.key == used.key);
            return if pinned { Ok(()) } else { Err(other()) };
        }
        let listed = self.public_keys_of(&Id::Known(peer.clone()));
        let origin = match listed.iter().find(|known| known.key == used.key) {
            Some(known) => known.origin,
            // Keys that are listed for an identity leave no place for another from DNS.
            None if listed.is_empty() && conn.that.key_from_dns => used.origin,
            None => return Err(other()),
        };
        match origin {
            // What DNS says of one destination says nothing of an identity.
            Origin::Delegation(_) if !conn.policy.opportunistic => Err(other()),
            _ if conn.policy.dnssec && !origin.trusted() => Err(Unfit::NotSigned {
                key_id: used.key.key_id(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the IKE SA of a state may serve a connection.
    ///
    /// # Errors
    /// Why not; `None` where there is no IKE SA.
    pub(super) fn state_serves(&self, id: StateId, conn: &Connection) -> Result<(), Option<Unfit>> {
        let state = self.ike.states.get(id).ok_or(None)?;
        let proof = state.proof.as_ref().ok_or(None)?;
        self.serves(proof, conn).map_err(Some)
    }

    /// Whether nothing is known by which the IKE SA of a state may not serve a connection, for the rest of the engine.
    pub(crate) fn ike_serves(&self, id: StateId, conn: &Connection) -> bool {
        !matches!(self.state_serves(id, conn), Err(Some(_)))
    }

    /// Whether the IKE SA of `speaker` may say anything of the state `about`, besides being with the same peer: of what was
    /// made over it, and of what it could serve.
    pub(super) fn speaks_for(&self, speaker: &State, about: &State) -> bool {
        let made_over = about.under.is_some_and(|(under, _)| under == speaker.id);
        let Some(proof) = speaker.proof.as_ref().filter(|_| !made_over) else {
            return true;
        };
        speaker.id == about.id
            || speaker.conn == about.conn
            || self
                .conns
                .get(about.conn)
                .is_some_and(|conn| self.serves(proof, conn).is_ok())
    }

    /// Whether an IKE SA that is being made for `base` can be expected to serve `conn`: whatever `base` accepts, `conn` must
    /// accept as well. When it stands, [`Engine::serves`] decides.
    pub(super) fn will_serve(&self, base: &Connection, conn: &Connection) -> bool {
        if base.id() == conn.id() {
            return true;
        }
        let pins = self.pinned(conn.id());
        let (offered, accepted) = (
            base.algorithms.ike.clone().unwrap_or_default(),
            conn.algorithms.ike.clone().unwrap_or_default(),
        );
        let secret = |of: &Connection| {
            let secret = self.preshared_secret(of)?;
            Some(self.ike.fingerprints.of(&secret))
        };
        base.this.id.same(&conn.this.id)
            && pins == self.pinned(base.id())
            && (pins.is_some() || base.that.id.same(&conn.that.id))
            && (!base.policy.psk || conn.policy.psk && secret(base) == secret(conn))
            && (!base.policy.rsasig
                || conn.policy.rsasig
                    && base.that.key_from_dns == conn.that.key_from_dns
                    && (base.policy.dnssec || !conn.policy.dnssec))
            && offered.suites.iter().all(|suite| accepted.accepts(suite))
    }
}
