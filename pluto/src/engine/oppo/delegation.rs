//! What the records of a client say: who speaks for it, with which key.
//!
//! Not here: asking for them (`lookup`), and what comes of them (`initiate`, `respond`).

use core::net::{IpAddr, Ipv4Addr};
use std::collections::VecDeque;

use ipsec_dns::{Answer, Gateway, Query, Source};
use ipsec_keys::PublicKey;

use super::lookup::Found;
use crate::engine::Time;
use crate::engine::ike::authority::speaker::{Claim, Mute, Pins, Records, Says, speaker};

/// Gateways that are tried for one destination.
const MAX_GATEWAYS: usize = 4;

/// A gateway that DNS names, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) gateway: Gateway,
    pub(super) place: Option<IpAddr>,
    /// For whom.
    client: IpAddr,
    records: Records,
}

impl Candidate {
    fn claim(&self, dnssec: bool) -> Claim<'_> {
        Claim {
            client: self.client,
            // A gateway that has a name only may be anywhere.
            at: self.place.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            name: Some(&self.gateway),
            key: None,
            dnssec,
            standing: None,
        }
    }

    /// Which keys it may have, or what is to be asked first.
    pub(super) fn keys(&self, now: Time, dnssec: bool) -> Result<Says, Mute> {
        speaker(now, &self.claim(dnssec), &self.records)
    }

    /// The same once all is known.
    pub(super) fn pins(&self, now: Time, dnssec: bool) -> Option<Pins> {
        match self.keys(now, dnssec) {
            Ok(Says::Speaks(pins)) => Some(pins),
            _ => None,
        }
    }

    /// DNS has told its keys.
    pub(super) fn learn_keys(&mut self, found: &Found) {
        let mut records = core::mem::take(&mut self.records);
        let query = Query::Keys(self.gateway.clone());
        records.add(&self.claim(false), &query, found);
        self.records = records;
    }
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

/// The gateways that the records of a client name, those of one gateway together, the lowest precedence first.
pub(super) fn candidates(client: IpAddr, answer: &Answer) -> VecDeque<Candidate> {
    let mut found: VecDeque<Candidate> = VecDeque::new();
    for delegation in &answer.delegations {
        let place = match &delegation.gateway {
            Gateway::Address(addr) => Some(*addr),
            // In a TXT record it is whoever has that name, wherever it is, so that only it can begin.
            Gateway::Name(_) if delegation.source == Source::Txt => continue,
            Gateway::Name(_) => None,
        };
        let known = found.iter().any(|c| c.gateway == delegation.gateway);
        if !known && found.len() < MAX_GATEWAYS {
            let mut candidate = Candidate {
                gateway: delegation.gateway.clone(),
                place,
                client,
                records: Records::default(),
            };
            let mut own = answer.clone();
            own.delegations.retain(|one| one.is_to(&candidate.gateway));
            let mut records = Records::default();
            let query = Query::Delegation(client);
            records.add(&candidate.claim(false), &query, &Ok(own));
            candidate.records = records;
            found.push_back(candidate);
        }
    }
    found
}
