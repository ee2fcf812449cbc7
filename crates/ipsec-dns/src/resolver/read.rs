//! From records to an answer.

use super::Outcome;
use super::follow::Found;
use crate::record::{ipseckey, key, txt};
use crate::{Answer, Delegation, Gateway, LookupError, Query, RecordError, Security};
use hickory_net::proto::rr::{RData, RecordType};
use hickory_net::proto::serialize::binary::BinEncodable;
use ipsec_keys::PublicKey;
use std::net::IpAddr;
use std::time::Duration;

const IPSECKEY: RecordType = RecordType::Unknown(45);

/// Most octets of records that are read: an honest answer has some hundreds.
const MAX_OCTETS: usize = 64 * 1024;

/// The kinds of records that answer a query.
pub(super) fn types(query: &Query) -> &'static [RecordType] {
    match query {
        Query::Delegation(_) => &[RecordType::TXT, IPSECKEY],
        Query::Keys(_) => &[RecordType::KEY, IPSECKEY, RecordType::TXT],
        Query::Addresses(_) => &[RecordType::A, RecordType::AAAA],
    }
}

/// Puts together what was found of each kind. Records that are good count, whatever became of the other kinds.
pub(super) fn answer(query: &Query, found: Vec<Result<Found, LookupError>>) -> Outcome {
    let mut gathered = Gathered::default();
    let mut errors = Vec::new();
    for kind in found {
        match kind {
            Ok(found) => gathered.take(query, &found),
            Err(error) => errors.push(error),
        }
    }
    let Gathered {
        mut delegations,
        addresses,
        keys,
        faults,
        ..
    } = gathered;
    delegations.sort_by_key(|d| d.precedence);
    let mut own_keys: Vec<PublicKey> = Vec::new();
    if let Query::Keys(gateway) = query {
        let delegated = delegations
            .iter()
            .filter(|d| d.is_to(gateway))
            .filter_map(|d| d.key.clone());
        for key in delegated.chain(keys) {
            if !own_keys.contains(&key) {
                own_keys.push(key);
            }
        }
        delegations.clear();
    }
    if delegations.is_empty() && own_keys.is_empty() && addresses.is_empty() {
        return Err(none(query, errors, faults, gathered.security, gathered.ttl));
    }
    Ok(Answer {
        delegations,
        keys: own_keys,
        addresses,
        security: gathered.security.unwrap_or(Security::Insecure),
        ttl: gathered.ttl.unwrap_or_default(),
        aliases: gathered.aliases,
        faults,
    })
}

/// Of several reasons the one that a person can do most about.
fn none(
    query: &Query,
    mut errors: Vec<LookupError>,
    faults: Vec<String>,
    security: Option<Security>,
    ttl: Option<Duration>,
) -> LookupError {
    errors.sort_by_key(|error| match error {
        LookupError::Bogus { .. } => 0,
        LookupError::TooMuch { .. } | LookupError::AliasLoop { .. } => 1,
        LookupError::Malformed { .. } => 2,
        LookupError::NoRecord { .. } => 4,
        _ => 3,
    });
    let only_absent = errors
        .iter()
        .all(|e| matches!(e, LookupError::NoRecord { .. }));
    if only_absent && let Some(what) = faults.into_iter().next() {
        return LookupError::Malformed {
            name: query.name(),
            what,
        };
    }
    let absent = errors.iter().find_map(|error| match error {
        LookupError::NoRecord { name, .. } => Some(name.clone()),
        _ => None,
    });
    let nothing = LookupError::NoRecord {
        name: absent.unwrap_or_else(|| query.name()),
        records: query.records(),
        security: security.unwrap_or(Security::Insecure),
        ttl: ttl.unwrap_or_default(),
    };
    // Records of other purposes may be beside kinds that are absent: the shorter time counts.
    if only_absent {
        return errors.into_iter().fold(nothing, shorter);
    }
    errors.into_iter().next().unwrap_or(nothing)
}

fn shorter(a: LookupError, b: LookupError) -> LookupError {
    match (a, b) {
        (
            LookupError::NoRecord {
                name,
                records,
                security,
                ttl,
            },
            LookupError::NoRecord {
                security: security_b,
                ttl: ttl_b,
                ..
            },
        ) => LookupError::NoRecord {
            name,
            records,
            // The first one is made up where no record was found at all.
            security: if ttl.is_zero() {
                security_b
            } else {
                security.min(security_b)
            },
            ttl: if ttl.is_zero() { ttl_b } else { ttl.min(ttl_b) },
        },
        (a, _) => a,
    }
}

/// The name in a PTR record.
pub(super) fn pointer(record: &RData) -> Option<crate::Name> {
    let RData::PTR(name) = record else {
        return None;
    };
    super::follow::from_wire(&name.0).ok()
}

/// The mailbox in an SOA record: its first label is the local part. None if it could not stand in a mail's head.
pub(super) fn mailbox(record: &RData) -> Option<String> {
    let RData::SOA(soa) = record else { return None };
    let local = core::str::from_utf8(soa.rname.iter().next()?).ok()?;
    let domain = super::follow::from_wire(&soa.rname.base_name()).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    (!local.is_empty() && local.chars().all(plain)).then(|| format!("{local}@{domain}"))
}

#[derive(Default)]
struct Gathered {
    delegations: Vec<Delegation>,
    keys: Vec<PublicKey>,
    addresses: Vec<IpAddr>,
    security: Option<Security>,
    ttl: Option<Duration>,
    aliases: Vec<crate::Name>,
    faults: Vec<String>,
    octets: usize,
}

impl Gathered {
    fn take(&mut self, query: &Query, found: &Found) {
        self.security = Some(
            self.security
                .map_or(found.security, |s| s.min(found.security)),
        );
        self.ttl = Some(self.ttl.map_or(found.ttl, |t| t.min(found.ttl)));
        if self.aliases.is_empty() {
            self.aliases.clone_from(&found.aliases);
        }
        let owner = match query {
            Query::Delegation(address) => Gateway::Address(*address),
            Query::Keys(gateway) => gateway.clone(),
            Query::Addresses(name) => Gateway::Name(name.clone()),
        };
        for record in &found.records {
            if let Err(error) = self.record(found.kind, record, &owner)
                && self.faults.len() < Answer::MAX_FAULTS
            {
                self.faults.push(error.to_string());
            }
        }
    }

    fn record(
        &mut self,
        kind: RecordType,
        record: &RData,
        owner: &Gateway,
    ) -> Result<(), RecordError> {
        match record {
            RData::A(a) => self.addresses.push(a.0.into()),
            RData::AAAA(aaaa) => self.addresses.push(aaaa.0.into()),
            _ => return self.rdata(kind, record, owner),
        }
        Ok(())
    }

    fn rdata(
        &mut self,
        kind: RecordType,
        record: &RData,
        owner: &Gateway,
    ) -> Result<(), RecordError> {
        let rdata = match record {
            RData::Unknown { rdata, .. } => rdata.anything.to_vec(),
            other => other.to_bytes().unwrap_or_default(),
        };
        self.octets += rdata.len();
        if self.octets > MAX_OCTETS {
            return Ok(());
        }
        match kind {
            RecordType::TXT => self.delegations.extend(txt::from_rdata(&rdata)?),
            RecordType::KEY => self.keys.push(key::from_rdata(&rdata)?),
            _ => self.delegations.push(ipseckey::from_rdata(&rdata, owner)?),
        }
        Ok(())
    }
}
