//! One question, followed through CNAME records, with what DNSSEC says of each step.

use super::{Validator, upstream};
use crate::{LookupError, Name, NameError, Query, Security};
use hickory_net::proto::dnssec::Proof;
use hickory_net::proto::op::{DnsRequestOptions, DnsResponse, Query as Question, ResponseCode};
use hickory_net::proto::rr::{Name as WireName, RData, Record, RecordType};
use hickory_net::xfer::{DnsHandle, FirstAnswer};
use hickory_net::{DnsError, NetError};
use std::time::Duration;

/// Most aliases that are followed.
pub(super) const MAX_ALIASES: usize = 8;
/// Most records of one kind.
const MAX_RECORDS: usize = 200;

/// Records of one kind.
pub(super) struct Found {
    pub(super) kind: RecordType,
    pub(super) records: Vec<RData>,
    pub(super) security: Security,
    pub(super) ttl: Duration,
    pub(super) aliases: Vec<Name>,
}

/// The record that makes a name an alias, and what of: a DNAME above it (RFC 6672), else its CNAME. The CNAME that servers put beside
/// a DNAME is their own work and has no signature.
pub(super) fn alias<'a>(name: &WireName, records: &'a [Record]) -> Option<(&'a Record, WireName)> {
    let renamed = records
        .iter()
        .find_map(|record| Some((record, renamed(name, record)?)));
    renamed.or_else(|| {
        records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *name => Some((record, target.0.clone())),
            _ => None,
        })
    })
}

/// What a DNAME record makes of a name below its own: the part above is exchanged.
pub(super) fn renamed(name: &WireName, record: &Record) -> Option<WireName> {
    let RData::Unknown {
        code: RecordType::DNAME,
        rdata,
    } = &record.data
    else {
        return None;
    };
    if !record.name.zone_of(name) || record.name == *name {
        return None;
    }
    let (target, _) = Name::from_wire(&rdata.anything).ok()?;
    let below = name.iter().count() - record.name.iter().count();
    let labels = name.iter().take(below);
    let mut renamed = WireName::from_labels(labels)
        .ok()?
        .append_domain(&to_wire(&target))
        .ok()?;
    renamed.set_fqdn(true);
    Some(renamed)
}

/// Asks for the records of one kind that answer the query.
pub(super) async fn records(
    validator: &Validator,
    query: &Query,
    kind: RecordType,
) -> Result<Found, LookupError> {
    let walk = Walk {
        validator,
        query,
        kind,
    };
    walk.run().await
}

struct Walk<'a> {
    validator: &'a Validator,
    query: &'a Query,
    kind: RecordType,
}

/// An answer to one name: its records, or where to look instead, or nothing.
enum Step {
    Records(Vec<RData>, Security, u32),
    Alias(WireName, Security, u32),
    Nothing(Security, u32),
}

impl Walk<'_> {
    async fn run(&self) -> Result<Found, LookupError> {
        let mut name = to_wire(&self.query.name());
        let mut aliases = Vec::new();
        let mut seen = vec![name.clone()];
        let mut security = Security::Secure;
        let mut ttl = u32::MAX;
        let mut message: Option<DnsResponse> = None;
        loop {
            let known = message.as_ref().and_then(|m| self.in_message(&name, m));
            let step = match known {
                Some(step) => step?,
                None => {
                    let (step, response) = self.ask(&name).await?;
                    message = response;
                    step
                }
            };
            match step {
                Step::Records(records, found, life) => {
                    return Ok(Found {
                        kind: self.kind,
                        records,
                        security: security.min(found),
                        ttl: Duration::from_secs(ttl.min(life).into()),
                        aliases,
                    });
                }
                Step::Nothing(found, life) => {
                    return Err(LookupError::NoRecord {
                        name: aliases.pop().unwrap_or_else(|| self.query.name()),
                        records: self.query.records(),
                        security: security.min(found),
                        ttl: Duration::from_secs(ttl.min(life).into()),
                    });
                }
                Step::Alias(target, found, life) => {
                    security = security.min(found);
                    ttl = ttl.min(life);
                    if seen.contains(&target) || aliases.len() >= MAX_ALIASES {
                        return Err(LookupError::AliasLoop {
                            name: self.query.name(),
                            limit: MAX_ALIASES,
                        });
                    }
                    aliases.push(from_wire(&target).map_err(|error| LookupError::Malformed {
                        name: self.query.name(),
                        what: format!("an alias of a name that can't be used: {error}"),
                    })?);
                    seen.push(target.clone());
                    name = target;
                }
            }
        }
    }

    /// What a validated message says of a name, if it has records of it.
    fn in_message(
        &self,
        name: &WireName,
        message: &DnsResponse,
    ) -> Option<Result<Step, LookupError>> {
        let records: Vec<&Record> = message
            .answers
            .iter()
            .filter(|r| r.name == *name && r.record_type() == self.kind)
            .collect();
        if records.len() > MAX_RECORDS {
            return Some(Err(self.too_much(format!(
                "{} {} records, {MAX_RECORDS} are the most",
                records.len(),
                self.kind
            ))));
        }
        if !records.is_empty() {
            let ttl = records.iter().map(|r| r.ttl).min().unwrap_or(0);
            return Some(self.security(name, &records).map(|security| {
                let data = records.iter().map(|r| r.data.clone()).collect();
                Step::Records(data, security, ttl)
            }));
        }
        let (record, target) = alias(name, &message.answers)?;
        Some(
            self.security(name, &[record])
                .map(|security| Step::Alias(target, security, record.ttl)),
        )
    }

    fn security(&self, name: &WireName, records: &[&Record]) -> Result<Security, LookupError> {
        let all = |proof: Proof| records.iter().all(|r| r.proof == proof);
        if all(Proof::Secure) {
            Ok(Security::Secure)
        } else if records
            .iter()
            .all(|r| r.proof == Proof::Secure || r.proof == Proof::Insecure)
        {
            Ok(Security::Insecure)
        } else {
            let kind = records.first().map_or(self.kind, |r| r.record_type());
            Err(self.bogus(format!(
                "no signature of {name} {kind} is valid, and its zone is not proved unsigned"
            )))
        }
    }

    async fn ask(&self, name: &WireName) -> Result<(Step, Option<DnsResponse>), LookupError> {
        match self.question(name, self.kind).await {
            Ok(message) => match self.in_message(name, &message) {
                Some(step) => Ok((step?, Some(message))),
                None => match self.nothing(name, &message)? {
                    step @ Step::Nothing(Security::Insecure, _) => {
                        Ok((self.alias_beside(name).await.unwrap_or(step), None))
                    }
                    step => Ok((step, None)),
                },
            },
            // The proof of absence behind an alias does not fit the name that was asked for: the alias counts by its own signature.
            Err(NetError::Dns(DnsError::Nsec {
                response, proof, ..
            })) => {
                if let Some((record, target)) = alias(name, &response.answers)
                    && !is_expanded(record, &response)
                {
                    let security = self.security(name, &[record])?;
                    return Ok((Step::Alias(target, security, record.ttl), None));
                }
                if let Some(step) = self.alias_beside(name).await {
                    return Ok((step, None));
                }
                match proof {
                    Proof::Insecure => Ok((Step::Nothing(Security::Insecure, negative_ttl(&response)), None)),
                    _ => Err(self.bogus(format!(
                        "that {name} has no {} is not proved by the zone's signed NSEC or NSEC3 records",
                        self.kind
                    ))),
                }
            }
            Err(error) => Err(self.failure(name, error)),
        }
    }

    async fn question(&self, name: &WireName, kind: RecordType) -> Result<DnsResponse, NetError> {
        let mut options = DnsRequestOptions::default();
        options.edns_set_dnssec_ok = true;
        options.case_randomization = true;
        let question = Question::query(name.clone(), kind);
        let answers = self.validator.lookup(question, options);
        answers.first_answer().await
    }

    /// The alias that a name is, which has no KEY: it may have both (RFC 4035 section 2.5), so servers that are asked for a KEY do not
    /// follow the CNAME, and a validator does not take it for absent.
    async fn alias_beside(&self, name: &WireName) -> Option<Step> {
        if self.kind != RecordType::KEY {
            return None;
        }
        let message = self.question(name, RecordType::CNAME).await.ok()?;
        self.in_message(name, &message)?.ok()
    }

    /// An answer without records, which the validator let pass.
    fn nothing(&self, name: &WireName, message: &DnsResponse) -> Result<Step, LookupError> {
        let ttl = negative_ttl(message);
        let proved = message.authorities.iter().any(|r| {
            r.proof == Proof::Secure
                && matches!(r.record_type(), RecordType::NSEC | RecordType::NSEC3)
        });
        if proved {
            return Ok(Step::Nothing(Security::Secure, ttl));
        }
        // Unsigned records of some other zone prove nothing of this one.
        let foreign = !message.authorities.is_empty()
            && !message
                .authorities
                .iter()
                .any(|r| r.proof == Proof::Insecure && r.name.zone_of(name));
        if foreign {
            return Err(self.bogus(format!(
                "that {name} has no {} is only said by another zone",
                self.kind
            )));
        }
        Ok(Step::Nothing(Security::Insecure, ttl))
    }

    /// A verdict over signatures, unless one of the questions that it took had no answer.
    fn bogus(&self, why: String) -> LookupError {
        if let Some(silence) = upstream::silence() {
            if silence.contains(upstream::TOO_MANY_RECORDS)
                || silence.contains(upstream::TOO_MANY_QUESTIONS)
            {
                return self.too_much(silence);
            }
            return LookupError::ServerFailure {
                name: self.query.name(),
                why: format!("the chain of trust can't be fetched: {silence}"),
            };
        }
        LookupError::Bogus {
            name: self.query.name(),
            why,
        }
    }

    fn too_much(&self, what: String) -> LookupError {
        LookupError::TooMuch {
            name: self.query.name(),
            what,
        }
    }

    fn failure(&self, at: &WireName, error: NetError) -> LookupError {
        let name = self.query.name();
        match error {
            NetError::Timeout => LookupError::Timeout {
                name,
                after: upstream::longest(),
            },
            NetError::Message(
                text @ (upstream::TOO_MANY_RECORDS | upstream::TOO_MANY_QUESTIONS),
            ) => self.too_much(text.into()),
            NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
                LookupError::Refused { name }
            }
            NetError::Dns(DnsError::ResponseCode(code)) => LookupError::ServerFailure {
                name,
                why: format!("{code} for {at} {}", self.kind),
            },
            NetError::Dns(DnsError::DnssecBogus) => {
                self.bogus("the chain of trust is broken".into())
            }
            NetError::Proto(error) => LookupError::Malformed {
                name,
                what: format!("the answer is no DNS message: {error}"),
            },
            other => LookupError::ServerFailure {
                name,
                why: other.to_string(),
            },
        }
    }
}

/// Whether a record was made from a wildcard, which only the proof that was missing would allow.
fn is_expanded(record: &Record, message: &DnsResponse) -> bool {
    use hickory_net::proto::dnssec::rdata::DNSSECRData;
    message.answers.iter().any(|r| match &r.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
            r.name == record.name && signature.input().num_labels < r.name.num_labels()
        }
        _ => false,
    })
}

/// RFC 2308 section 5: the lower of the SOA's own TTL and its minimum.
fn negative_ttl(message: &DnsResponse) -> u32 {
    message
        .authorities
        .iter()
        .find_map(|r| match &r.data {
            RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
            _ => None,
        })
        .unwrap_or(5)
}

fn to_wire(name: &Name) -> WireName {
    // Our names have labels of 1 to 63 octets and fit: the root stands for what can't be.
    let mut wire = WireName::from_labels(name.as_str().split('.').map(str::as_bytes))
        .unwrap_or_else(|_| WireName::root());
    wire.set_fqdn(true);
    wire
}

pub(super) fn from_wire(name: &WireName) -> Result<Name, NameError> {
    let mut text = String::new();
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        for octet in label {
            match char::from(*octet) {
                '.' => return Err(NameError::Character('.')),
                c => text.push(c),
            }
        }
    }
    Name::parse(&text)
}
