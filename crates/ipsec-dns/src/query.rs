//! What is asked of DNS, and what comes back.

use crate::{Delegation, Gateway, Name};
use core::fmt;
use core::time::Duration;
use ipsec_keys::PublicKey;
use std::net::IpAddr;
use thiserror::Error;

/// One question of opportunism; the resolver asks for all records that can answer it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// Who may speak for this address: TXT and IPSECKEY in its reverse map.
    Delegation(IpAddr),
    /// The keys of this gateway: KEY, IPSECKEY and TXT records under its name, or under its address in the reverse map.
    Keys(Gateway),
    /// The addresses of a host that an IPSECKEY record names: A and AAAA.
    Addresses(Name),
}

impl Query {
    /// The name whose records are asked for.
    pub fn name(&self) -> Name {
        match self {
            Query::Delegation(address) => Name::reverse(*address),
            Query::Keys(gateway) => gateway.owner(),
            Query::Addresses(name) => name.clone(),
        }
    }

    /// The name that has the records, or where they belong: the one asked for, or the last of its aliases.
    pub fn owner(&self, found: &Result<Answer, LookupError>) -> Name {
        let last = match found {
            Ok(answer) => answer.aliases.last(),
            Err(LookupError::NoRecord { name, .. }) => Some(name),
            Err(_) => None,
        };
        last.cloned().unwrap_or_else(|| self.name())
    }

    /// What the records say, for error texts: "TXT or IPSECKEY".
    pub fn records(&self) -> &'static str {
        match self {
            Query::Delegation(_) => "TXT X-IPsec-Server or IPSECKEY",
            Query::Keys(_) => "KEY, IPSECKEY or TXT X-IPsec-Server",
            Query::Addresses(_) => "A or AAAA",
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Query::Delegation(address) => write!(f, "gateway for {address}"),
            Query::Keys(gateway) => write!(f, "key of {gateway}"),
            Query::Addresses(name) => write!(f, "address of {name}"),
        }
    }
}

/// What DNSSEC says of an answer that may be used. The least of all records and aliases that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Security {
    /// Proved to lie in a zone that is not signed: whoever answers or listens in between can have made it.
    Insecure,
    /// Signed, and the chain of signatures checked here from the trust anchor on.
    Secure,
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Security::Insecure => "not signed",
            Security::Secure => "signed",
        })
    }
}

/// Records that answer a query; at least one of the lists has something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For [`Query::Delegation`]: sorted by precedence, at most 200.
    pub delegations: Vec<Delegation>,
    /// For [`Query::Keys`]: each key once, those of the lowest precedence first.
    pub keys: Vec<PublicKey>,
    /// For [`Query::Addresses`].
    pub addresses: Vec<IpAddr>,
    /// Whether the records are signed.
    pub security: Security,
    /// How long all of it holds.
    pub ttl: Duration,
    /// The names that CNAME (RFC 2317) and DNAME records (RFC 6672) led through, last one last.
    pub aliases: Vec<Name>,
    /// Records passed over, with what is wrong with them; at most [`Answer::MAX_FAULTS`].
    pub faults: Vec<String>,
}

impl Answer {
    /// How many faults an answer tells of.
    pub const MAX_FAULTS: usize = 8;
}

/// Why there is no answer. Says what is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookupError {
    /// There is no such record, or no such name.
    #[error("no {records} record for {name} in DNS ({security})")]
    NoRecord {
        /// Whose: the name that was asked for, or where its aliases lead.
        name: Name,
        /// The kinds that were asked for.
        records: &'static str,
        /// Whether that is proved.
        security: Security,
        /// How long that holds.
        ttl: Duration,
    },
    /// Signatures are wrong, missing, expired, or the proof of absence is.
    #[error("DNSSEC validation of {name} failed: {why}")]
    Bogus {
        /// Whose.
        name: Name,
        /// What failed.
        why: String,
    },
    /// No answer in time.
    #[error("no answer from DNS about {name} within {} s", after.as_secs())]
    Timeout {
        /// Whose.
        name: Name,
        /// How long was waited.
        after: Duration,
    },
    /// SERVFAIL, or nobody could be reached.
    #[error("name servers failed to answer about {name}: {why}")]
    ServerFailure {
        /// Whose.
        name: Name,
        /// What they said, or what the network said.
        why: String,
    },
    /// REFUSED.
    #[error("name servers refuse to answer about {name}: they must allow recursion for this host")]
    Refused {
        /// Whose.
        name: Name,
    },
    /// There are records, and all of them are wrong.
    #[error("records of {name} are of no use: {what}")]
    Malformed {
        /// Whose.
        name: Name,
        /// The first fault.
        what: String,
    },
    /// More than an honest answer has.
    #[error("answer about {name} is too big: {what}")]
    TooMuch {
        /// Whose.
        name: Name,
        /// What of, and the limit.
        what: String,
    },
    /// Aliases that lead back, or on and on.
    #[error("CNAME or DNAME records of {name} lead in a circle or through more than {limit} names")]
    AliasLoop {
        /// Whose.
        name: Name,
        /// Most that are followed.
        limit: usize,
    },
    /// Too many other queries wait.
    #[error("too many queries wait for DNS, {name} was not asked for")]
    Busy {
        /// Whose.
        name: Name,
    },
    /// There is nobody to ask.
    #[error("no name server to ask about {name}: {why}")]
    NoServer {
        /// Whose.
        name: Name,
        /// Which file says none.
        why: String,
    },
}

impl LookupError {
    /// Whether DNS says for sure that there is nothing: later is no better, until the TTL is over.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            LookupError::NoRecord { .. } | LookupError::Malformed { .. }
        )
    }
}
