//! Who speaks for an address by opportunism: the address' own records decide, at every Quick Mode and in both roles.
//!
//! [`speaker`] is asked by the initiator before Main Mode (with which keys may the gateway come that the records name?), and
//! by both roles at Quick Mode (may the peer, which has proved this key, have a tunnel for this client?). A record must name
//! the peer and its key. A record without a key means the key of the gateway that it names, looked up under that name. Main Mode that
//! went to an address and back proves nothing: somebody on the path answers for any address.
//!
//! Not here: what the peer has proved, and whether that will do for a connection at all (`authority`), and who asks DNS
//! (`oppo::respond`, `oppo::initiate`).

use core::net::IpAddr;
use core::time::Duration;

use ipsec_dns::{Answer, Delegation, Gateway, LookupError, Query, Security, Source};
use ipsec_keys::PublicKey;

use super::{KnownKey, Origin};
use crate::engine::Time;

#[cfg(test)]
mod tests;

/// How long an answer of DNS is good for more than one question, whatever its TTL is: one exchange at least, an hour at most.
const VALID: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// Gateways of one client whose keys are looked up, of those that name one peer.
const MAX_KEYS_ASKED: usize = 4;

/// The keys that the peer of an instance may have, as the records of its client have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pins {
    /// The gateway that the records name.
    pub(crate) gateway: Gateway,
    /// Its keys.
    pub(crate) keys: Vec<KnownKey>,
    /// Until when the records need not be looked at again.
    pub(crate) until: Time,
}

impl Pins {
    /// What is known of a key, if it is one of these.
    pub(crate) fn of(&self, key: &PublicKey) -> Option<&KnownKey> {
        self.keys.iter().find(|pin| pin.key == *key)
    }

    /// These, found anew. What DNSSEC has proved once of a key it keeps.
    pub(crate) fn renewed(&self, mut new: Self) -> Self {
        for pin in &mut new.keys {
            if self.of(&pin.key).is_some_and(|old| old.origin.trusted()) {
                pin.origin = Origin::Delegation(Security::Secure);
            }
        }
        new
    }
}

/// The instance that is there for the same two hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    /// Where its peer is.
    pub(crate) at: IpAddr,
    /// Which keys that may have.
    pub(crate) pins: &'a Pins,
}

/// What is claimed: that a peer speaks for an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The address.
    pub(crate) client: IpAddr,
    /// Where the peer is.
    pub(crate) at: IpAddr,
    /// By what else records may name it: the identity that it has shown, or the name by which we have found it.
    pub(crate) name: Option<&'a Gateway>,
    /// The key that it has proved; none before Main Mode.
    pub(crate) key: Option<&'a PublicKey>,
    /// Whether the policy wants signed answers.
    pub(crate) dnssec: bool,
    /// What is there already.
    pub(crate) standing: Option<Standing<'a>>,
}

impl Claim<'_> {
    fn names(&self, gateway: &Gateway) -> bool {
        *gateway == Gateway::Address(self.at)
            || self.name == Some(gateway)
            || self
                .standing
                .is_some_and(|standing| standing.at == self.at && standing.pins.gateway == *gateway)
    }

    /// Whether a record may be about this peer. The name in an IPSECKEY record is a place (RFC 4025 section 2.5), so that the key alone
    /// tells who is meant.
    fn may_be(&self, record: &Delegation) -> bool {
        let place = record.source == Source::IpsecKey && matches!(record.gateway, Gateway::Name(_));
        let key_fits = self.key.is_none_or(|key| record.key.as_ref() == Some(key));
        self.names(&record.gateway) || place && record.key.is_some() && key_fits
    }

    fn believed(&self, security: Security) -> Result<(), Mute> {
        if self.dnssec && security < Security::Secure {
            return Err(Mute::NotSigned);
        }
        Ok(())
    }
}

/// What DNS has answered about a client, and about the gateways that its records name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    client: Option<Result<Answer, LookupError>>,
    keys: Vec<(Gateway, Result<Answer, LookupError>)>,
}

impl Records {
    /// One answer more. Of the records of a client those are kept that name this peer.
    pub(crate) fn add(
        &mut self,
        claim: &Claim<'_>,
        query: &Query,
        found: &Result<Answer, LookupError>,
    ) {
        let mut found = found.clone();
        if let Ok(answer) = &mut found {
            answer.faults.clear();
            answer.aliases.clear();
            answer.delegations.retain(|one| claim.may_be(one));
        }
        match query {
            Query::Delegation(client) if *client == claim.client => self.client = Some(found),
            Query::Keys(gateway) => {
                self.keys.retain(|(known, _)| known != gateway);
                self.keys.push((gateway.clone(), found));
            }
            Query::Delegation(_) | Query::Addresses(_) => {}
        }
    }

    /// How long all of them hold.
    pub(crate) fn until(&self, now: Time) -> Time {
        let all = self.client.iter().chain(self.keys.iter().map(|(_, f)| f));
        let least = all.map(ttl).min().unwrap_or(VALID.0);
        now + least.clamp(VALID.0, VALID.1)
    }

    fn keys_of(&self, gateway: &Gateway) -> Option<&Result<Answer, LookupError>> {
        let known = self.keys.iter().find(|(known, _)| known == gateway);
        known.map(|(_, found)| found)
    }
}

fn ttl(found: &Result<Answer, LookupError>) -> Duration {
    match found {
        Ok(answer) => answer.ttl,
        Err(LookupError::NoRecord { ttl, .. }) => *ttl,
        Err(_) => Duration::ZERO,
    }
}

/// What is to be done about a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It is true of a peer with one of these keys.
    Speaks(Pins),
    /// DNS must be asked first.
    Ask(Query),
}

/// Why a claim is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mute {
    /// DNS has no record, or no answer that counts.
    #[error(transparent)]
    Dns(#[from] LookupError),
    /// The answer is of a zone that is not signed.
    #[error("the answer from DNS is not signed, and dnssec=yes wants that")]
    NotSigned,
    /// Others speak for the client.
    #[error("no record for {client} names {peer} as its gateway")]
    NotNamed { client: IpAddr, peer: String },
    /// The key is another.
    #[error("the record for {client} names {peer} with another key")]
    OtherKey { client: IpAddr, peer: String },
    /// A host without a record of its own speaks for itself only where nobody wants a proof.
    #[error("{client} has no record of its own, and dnssec=yes wants one")]
    NoRecord { client: IpAddr },
    /// What stands is not handed to another key because an unsigned answer says so.
    #[error(
        "what stands between these hosts is for another key, and the records that name this one are not signed"
    )]
    Standing,
}

/// Whether a peer speaks for an address, by the address' own records.
///
/// What was found by a recent look-up of this very address counts, and an instance is pinned to it. A key that is not among
/// the pins of an instance takes its place only if signed records name that key now.
///
/// # Errors
/// Why not.
pub(crate) fn speaker(now: Time, claim: &Claim<'_>, records: &Records) -> Result<Says, Mute> {
    if let (Some(standing), Some(key)) = (claim.standing, claim.key)
        && standing.at == claim.at
        && standing.pins.until > now
        && standing.pins.of(key).is_some()
    {
        return Ok(Says::Speaks(standing.pins.clone()));
    }
    let says = match &records.client {
        None => return Ok(Says::Ask(Query::Delegation(claim.client))),
        Some(Ok(answer)) => named(now, claim, records, answer)?,
        Some(Err(LookupError::NoRecord { security, .. })) if claim.at == claim.client => {
            itself(now, claim, records, *security)?
        }
        Some(Err(error)) => return Err(error.clone().into()),
    };
    if let (Some(standing), Some(key), Says::Speaks(pins)) = (claim.standing, claim.key, &says)
        && standing.pins.of(key).is_none()
        && !pins.of(key).is_some_and(|pin| pin.origin.trusted())
    {
        return Err(Mute::Standing);
    }
    Ok(says)
}

/// The client has records: one must name the peer, with its key or the key of the gateway that it names.
fn named(now: Time, claim: &Claim<'_>, records: &Records, answer: &Answer) -> Result<Says, Mute> {
    claim.believed(answer.security)?;
    let peer = || {
        claim
            .name
            .map_or_else(|| claim.at.to_string(), ToString::to_string)
    };
    let client = claim.client;
    let to_it = || answer.delegations.iter().filter(|one| claim.may_be(one));
    let Some(gateway) = to_it().map(|one| one.gateway.clone()).next() else {
        let peer = peer();
        return Err(Mute::NotNamed { client, peer });
    };
    let mut keys = Vec::new();
    for one in to_it() {
        keys.extend(one.key.clone().map(|key| pin(key, answer.security)));
    }
    let enough = |keys: &[KnownKey]| match claim.key {
        Some(key) => keys.iter().any(|pin| pin.key == *key),
        None => !keys.is_empty(),
    };
    let mut why = Mute::OtherKey {
        client,
        peer: peer(),
    };
    for one in to_it().filter(|one| one.key.is_none()).take(MAX_KEYS_ASKED) {
        if enough(&keys) {
            break;
        }
        match records.keys_of(&one.gateway) {
            None => return Ok(Says::Ask(Query::Keys(one.gateway.clone()))),
            Some(Err(error)) => why = error.clone().into(),
            Some(Ok(of_gateway)) => {
                let security = answer.security.min(of_gateway.security);
                match claim.believed(security) {
                    Err(not) => why = not,
                    Ok(()) => {
                        keys.extend(of_gateway.keys.iter().map(|key| pin(key.clone(), security)));
                    }
                }
            }
        }
    }
    if !enough(&keys) {
        return Err(why);
    }
    let until = records.until(now);
    Ok(Says::Speaks(Pins {
        gateway,
        keys,
        until,
    }))
}

/// The client has no record, and speaks for itself (RFC 4322 section 5.3): the key under its own reverse name is its record. If there is
/// none either, it is whoever it says, where the policy leaves it at that.
fn itself(now: Time, claim: &Claim<'_>, records: &Records, absent: Security) -> Result<Says, Mute> {
    let client = claim.client;
    let gateway = Gateway::Address(client);
    let none = || Mute::NoRecord { client };
    let key = claim.key.ok_or_else(none)?;
    let keys = match records.keys_of(&gateway) {
        None => return Ok(Says::Ask(Query::Keys(gateway))),
        Some(Ok(answer)) => {
            let security = absent.min(answer.security);
            claim.believed(security)?;
            if !answer.keys.contains(key) {
                let peer = client.to_string();
                return Err(Mute::OtherKey { client, peer });
            }
            let keys = answer.keys.iter();
            keys.map(|key| pin(key.clone(), security)).collect()
        }
        Some(Err(LookupError::NoRecord { .. })) if claim.dnssec => return Err(none()),
        Some(Err(LookupError::NoRecord { .. })) => vec![pin(key.clone(), Security::Insecure)],
        Some(Err(error)) => return Err(error.clone().into()),
    };
    let until = records.until(now);
    Ok(Says::Speaks(Pins {
        gateway,
        keys,
        until,
    }))
}

fn pin(key: PublicKey, security: Security) -> KnownKey {
    let origin = Origin::Delegation(security);
    KnownKey { key, origin }
}
