//! What the records of a client say: who speaks for it, with which key.
//!
//! Not here: asking for them (`lookup`), and what comes of them (`initiate`, `respond`).

use core::net::IpAddr;
use std::collections::VecDeque;

use ipsec_dns::{Answer, Delegation, Gateway, Source};
use ipsec_keys::PublicKey;

/// Gateways that are tried for one destination.
const MAX_GATEWAYS: usize = 4;

/// A gateway that DNS names, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) gateway: Gateway,
    pub(super) place: Option<IpAddr>,
    pub(super) keys: Vec<PublicKey>,
}

/// Whether a client's records say that `gateway` with `key` speaks for it. False: they do, but without a key, which is to be
/// looked up with the gateway.
pub(super) fn delegates(
    client: IpAddr,
    answer: &Answer,
    gateway: &Gateway,
    key: &PublicKey,
) -> Result<bool, String> {
    if answer.delegations.is_empty() {
        return if answer.keys.contains(key) {
            Ok(true)
        } else {
            Err(format!(
                "all keys in DNS of {gateway} are other ones than ours"
            ))
        };
    }
    named(client, answer, gateway, key)
}

/// Whether a client's records name `gateway` with `key`. False: without one, so that the one that belongs to the gateway counts.
pub(super) fn named(
    client: IpAddr,
    answer: &Answer,
    gateway: &Gateway,
    key: &PublicKey,
) -> Result<bool, String> {
    let to_it = answer.delegations.iter().filter(|d| d.is_to(gateway));
    let keys: Vec<Option<&PublicKey>> = to_it.map(|d| d.key.as_ref()).collect();
    if keys.is_empty() {
        Err(format!(
            "no record for {client} names {gateway} as its gateway"
        ))
    } else if keys.contains(&Some(key)) {
        Ok(true)
    } else if keys.contains(&None) {
        Ok(false)
    } else {
        Err(format!(
            "the record for {client} names {gateway} with another key"
        ))
    }
}

/// The gateways that records name, those of one gateway together, the lowest precedence first.
pub(super) fn candidates(delegations: &[Delegation]) -> VecDeque<Candidate> {
    let mut found: VecDeque<Candidate> = VecDeque::new();
    for delegation in delegations {
        let place = match &delegation.gateway {
            Gateway::Address(addr) => Some(*addr),
            // In a TXT record it is whoever has that name, wherever it is, so that only it can begin.
            Gateway::Name(_) if delegation.source == Source::Txt => continue,
            Gateway::Name(_) => None,
        };
        if let Some(known) = found.iter_mut().find(|c| c.gateway == delegation.gateway) {
            known.keys.extend(delegation.key.clone());
        } else if found.len() < MAX_GATEWAYS {
            found.push_back(Candidate {
                gateway: delegation.gateway.clone(),
                place,
                keys: delegation.key.clone().into_iter().collect(),
            });
        }
    }
    found
}
