//! Lookups: the name servers of resolv.conf asked, every answer validated here against the trust anchor (the AD bit of whoever
//! answers is not believed), cached, bounded in time, size and number.
//!
//! Not here: what records mean to a negotiation, and what policy says of unsigned ones.

mod burst;
mod cache;
mod config;
mod follow;
mod read;
mod share;
mod upstream;

pub use config::{Config, ConfigError, Limits, Servers};

use crate::{Answer, LookupError, Name, Query};
use burst::Burst;
use cache::AnswerCache;
use config::Source;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, join_all};
use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::proto::dnssec::TrustAnchors;
use hickory_net::proto::rr::RecordType;
use share::Shares;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use upstream::Upstream;

/// Places for lookups that are kept when fewer run.
const ROOM: usize = 64;
/// Signatures that are not checked again while they are valid.
const CHECKED: usize = 1024;

type Outcome = Result<Answer, LookupError>;
type Joined = Shared<BoxFuture<'static, Outcome>>;
type Validator = DnssecDnsHandle<Upstream>;

/// Answers queries. Cheap to clone; all clones share cache, limits and connections. Needs a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    limits: Limits,
    anchors: Arc<TrustAnchors>,
    source: Source,
    validator: Mutex<Option<Validator>>,
    cache: AnswerCache,
    running: Mutex<HashMap<Query, Joined>>,
    shares: Shares,
    burst: Burst,
    heard: Arc<AtomicU64>,
}

impl Resolver {
    /// Reads the trust anchor and the list of name servers. A resolv.conf that is not there yet is no error: it is read again.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let anchors = config.read_anchor()?;
        Ok(Self {
            inner: Arc::new(Inner {
                anchors: Arc::new(anchors),
                source: Source::new(config.servers),
                validator: Mutex::new(None),
                cache: AnswerCache::new(config.limits.cached),
                running: Mutex::default(),
                shares: Shares::new(&config.limits),
                burst: Burst::default(),
                heard: Arc::default(),
                limits: config.limits,
            }),
        })
    }

    /// Whether packets to this address may be our own questions: a policy that makes them wait for an answer from DNS
    /// would wait forever.
    pub fn is_name_server(&self, address: IpAddr) -> bool {
        self.inner
            .source
            .addresses()
            .contains(&address.to_canonical())
    }

    /// How many responses of any kind have come from name servers.
    pub fn heard(&self) -> u64 {
        self.inner.heard.load(Ordering::Relaxed)
    }

    /// The name servers that are asked.
    pub fn name_servers(&self) -> Vec<IpAddr> {
        self.inner.source.addresses()
    }

    /// Forgets answers whose time is over, and gives their room back; after a burst also what the validator remembers, which costs the
    /// next look-up the questions of the chain of trust.
    pub fn tidy(&self) {
        let inner = &self.inner;
        inner.cache.tidy(Instant::now());
        inner.shares.tidy();
        let mut running = lock(&inner.running);
        running.shrink_to(ROOM);
        if running.is_empty() && inner.burst.is_over() {
            *lock(&inner.validator) = None;
        }
    }

    /// Forgets all answers.
    pub fn forget(&self) {
        self.inner.cache.clear();
        *lock(&self.inner.validator) = None;
    }

    /// The zone that a name is in, and the mailbox of who runs it, as its SOA record says (RFC 1035 section 3.3.13).
    pub async fn administrator(&self, name: &Name) -> Result<(Name, String), LookupError> {
        let query = Query::Addresses(name.clone());
        let validator = self.inner.validator(&query)?;
        let mut zone = Some(name.clone());
        while let Some(asked) = zone {
            let query = Query::Addresses(asked.clone());
            let found = follow::records(&validator, &query, RecordType::SOA).await;
            match found {
                Ok(found) => {
                    if let Some(mailbox) = found.records.iter().find_map(read::mailbox) {
                        return Ok((asked, mailbox));
                    }
                }
                Err(LookupError::NoRecord { .. }) => {}
                Err(other) => return Err(other),
            }
            zone = asked.parent();
        }
        Err(LookupError::NoRecord {
            name: name.clone(),
            records: "SOA",
            security: crate::Security::Insecure,
            ttl: std::time::Duration::ZERO,
        })
    }

    /// The name that the reverse map has for an address (PTR).
    pub async fn name_of(&self, address: IpAddr) -> Result<Name, LookupError> {
        let query = Query::Delegation(address);
        let validator = self.inner.validator(&query)?;
        let found = follow::records(&validator, &query, RecordType::PTR);
        let found = tokio::time::timeout(self.inner.limits.time, found)
            .await
            .map_err(|_| LookupError::Timeout {
                name: query.name(),
                after: self.inner.limits.time,
            })??;
        found
            .records
            .iter()
            .find_map(read::pointer)
            .ok_or_else(|| LookupError::Malformed {
                name: query.name(),
                what: "PTR records to no name that can be used".into(),
            })
    }

    /// Asks. Equal queries that run at the same time are one. Dropping the future gives up, unless others wait too.
    pub async fn lookup(&self, query: Query) -> Outcome {
        if let Some(known) = self.inner.cache.get(&query, Instant::now()) {
            return known;
        }
        let joined = {
            let mut running = lock(&self.inner.running);
            match running.get(&query) {
                Some(joined) => joined.clone(),
                None => {
                    let joined = Arc::clone(&self.inner)
                        .answer(query.clone())
                        .boxed()
                        .shared();
                    running.insert(query.clone(), joined.clone());
                    joined
                }
            }
        };
        let _guard = Leaving {
            inner: &self.inner,
            query: &query,
        };
        joined.await
    }
}

/// Takes a query off the list of those running when the last who waits for it leaves.
struct Leaving<'a> {
    inner: &'a Inner,
    query: &'a Query,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut running = lock(&self.inner.running);
        let last = running.get(self.query).is_some_and(|joined| {
            // This waiter's clone and the list's own.
            joined.peek().is_some() || joined.strong_count().unwrap_or(0) <= 2
        });
        if last {
            running.remove(self.query);
        }
    }
}

impl Inner {
    async fn answer(self: Arc<Self>, query: Query) -> Outcome {
        let limit = self.limits.time;
        let place = self.shares.enter(&query.name(), limit).await?;
        let work = upstream::BUDGET.scope(upstream::Budget::new(&self.limits), self.ask(&query));
        let outcome = match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LookupError::Timeout {
                name: query.name(),
                after: limit,
            }),
        };
        drop(place);
        self.cache.put(&query, &outcome, Instant::now());
        outcome
    }

    async fn ask(&self, query: &Query) -> Outcome {
        self.burst.count();
        let validator = self.validator(query)?;
        let questions = read::types(query)
            .iter()
            .map(|kind| follow::records(&validator, query, *kind));
        let found = join_all(questions).await;
        read::answer(query, found)
    }

    /// The validator in use; another one when resolv.conf has changed.
    fn validator(&self, query: &Query) -> Result<Validator, LookupError> {
        let changed = self.source.refresh();
        let mut validator = lock(&self.validator);
        if let (Some(validator), false) = (&*validator, changed) {
            return Ok(validator.clone());
        }
        let nobody = |why| LookupError::NoServer {
            name: query.name(),
            why,
        };
        let servers = self.source.servers().map_err(nobody)?;
        let upstream = Upstream::new(&servers, &self.limits, Arc::clone(&self.heard));
        let new = DnssecDnsHandle::with_trust_anchor(upstream, Arc::clone(&self.anchors))
            .validation_cache_size(CHECKED)
            .nsec3_iteration_limits(Some(150), Some(500));
        *validator = Some(new.clone());
        Ok(new)
    }
}

/// A poisoned lock only means that a task died between two consistent states.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
