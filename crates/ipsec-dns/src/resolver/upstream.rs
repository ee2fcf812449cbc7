//! Questions to the name servers: with DNSSEC's records and without their judgement (CD), counted, cached, and answers pruned
//! to what was asked for.

use super::Limits;
use futures::{Stream, StreamExt, stream};
use hickory_net::proto::op::{DnsRequest, DnsResponse, Edns, ResponseCode};
use hickory_net::proto::rr::{Name, Record, RecordType};
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsHandle, DnsRequestSender, FirstAnswer};
use hickory_net::{DnsError, NetError};
use hickory_resolver::config::ResolverOpts;
use hickory_resolver::{ResponseCache, TtlConfig};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest UDP answer asked for: what passes everywhere unfragmented (DNS flag day 2020).
const UDP_SIZE: u16 = 1232;
/// How often servers are asked in turn; each is sent the question again while it is waited for.
const ATTEMPTS: usize = 3;
/// Responses kept, of the chain of trust only: other answers are remembered as what they came to, which is much smaller.
const CACHED: u64 = 1024;
const OF_THE_CHAIN: [RecordType; 4] = [
    RecordType::DNSKEY,
    RecordType::DS,
    RecordType::NS,
    RecordType::SOA,
];
/// More records than this in an answer are not looked at.
pub(super) const MAX_RECORDS: usize = 400;
/// The text of the error for that, by which it is known again.
pub(super) const TOO_MANY_RECORDS: &str = "more records than an honest answer has";
/// And when validation asked too much.
pub(super) const TOO_MANY_QUESTIONS: &str = "more questions than an honest answer takes";

tokio::task_local! {
    /// What the lookup of this task has asked for so far.
    pub(super) static BUDGET: Budget;
}

/// Questions that a lookup may still send, and what became of one that got no answer.
pub(super) struct Budget {
    left: Cell<usize>,
    silence: RefCell<Option<String>>,
    patience: Duration,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            left: Cell::new(limits.questions),
            silence: RefCell::default(),
            patience: limits.patience,
        }
    }
}

/// Why a question of this lookup had no answer, if one had none: a chain of trust that could not be fetched is not broken.
pub(super) fn silence() -> Option<String> {
    BUDGET
        .try_with(|b| b.silence.borrow().clone())
        .ok()
        .flatten()
}

/// How long a question is repeated before it counts as unanswered.
pub(super) fn longest() -> Duration {
    let patience = BUDGET.try_with(|b| b.patience).unwrap_or_default();
    patience.saturating_mul(ATTEMPTS as u32)
}

#[derive(Clone)]
pub(super) struct Upstream {
    servers: Arc<[SocketAddr]>,
    /// The server that answered last.
    good: Arc<AtomicUsize>,
    /// Responses that have come.
    heard: Arc<AtomicU64>,
    patience: Duration,
    cache: ResponseCache,
}

impl Upstream {
    pub(super) fn new(servers: &[SocketAddr], limits: &Limits, heard: Arc<AtomicU64>) -> Self {
        let mut options = ResolverOpts::default();
        options.positive_max_ttl = Some(Duration::from_secs(24 * 3600));
        options.negative_max_ttl = Some(Duration::from_secs(3600));
        Self {
            servers: servers.into(),
            good: Arc::default(),
            heard,
            patience: limits.patience,
            cache: ResponseCache::new(CACHED, TtlConfig::from_opts(&options)),
        }
    }

    async fn ask(self, mut request: DnsRequest) -> Result<DnsResponse, NetError> {
        let Some(query) = request.queries.first().cloned() else {
            return Err(NetError::Message("no question"));
        };
        if let Some(known) = self.cache.get(&query, Instant::now()) {
            let mut known = known?;
            known.metadata.message_type = hickory_net::proto::op::MessageType::Response;
            return DnsResponse::from_message(known.into_response()).map_err(NetError::from);
        }
        let left = BUDGET.try_with(|b| b.left.replace(b.left.get().saturating_sub(1)));
        if left == Ok(0) {
            return Err(NetError::Message(TOO_MANY_QUESTIONS));
        }
        request.metadata.id = rand::random();
        request.metadata.checking_disabled = true;
        request
            .edns
            .get_or_insert_with(Edns::new)
            .set_dnssec_ok(true)
            .set_max_payload(UDP_SIZE);
        let outcome = match self.exchange(&request).await {
            Ok(response) => prune(response, query.name(), query.query_type())
                .and_then(|pruned| DnsError::from_response(pruned).map_err(NetError::from)),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome
            && !matches!(error, NetError::Dns(DnsError::NoRecordsFound(_)))
        {
            let text = format!("{error} ({query})");
            let _ = BUDGET.try_with(|b| b.silence.replace(Some(text)));
        }
        if OF_THE_CHAIN.contains(&query.query_type()) {
            let kept = match &outcome {
                Ok(response) => Ok(response.clone().into_message()),
                Err(error) => Err(error.clone()),
            };
            self.cache.insert(query, kept, Instant::now());
        }
        outcome
    }

    /// Asks one server after the other, each question by a port of its own, so that no answer disturbs another's question.
    async fn exchange(&self, request: &DnsRequest) -> Result<DnsResponse, NetError> {
        let first = self.good.load(Ordering::Relaxed);
        let mut last = NetError::NoConnections;
        for attempt in 0..ATTEMPTS.max(self.servers.len()) {
            let at = (first + attempt) % self.servers.len().max(1);
            let Some(server) = self.servers.get(at) else {
                break;
            };
            match self.one(*server, request).await {
                Ok(response) => {
                    let code = response.response_code;
                    if matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
                        self.good.store(at, Ordering::Relaxed);
                        return Ok(response);
                    }
                    last = NetError::Dns(DnsError::ResponseCode(code));
                    // The same server will say the same again.
                    if attempt + 1 >= self.servers.len() {
                        break;
                    }
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn one(&self, server: SocketAddr, request: &DnsRequest) -> Result<DnsResponse, NetError> {
        let mut udp = UdpClientStream::builder(server, TokioRuntimeProvider::new())
            .with_timeout(Some(self.patience))
            .build();
        let response = udp.send_message(request.clone()).first_answer().await?;
        self.heard.fetch_add(1, Ordering::Relaxed);
        if !response.truncation {
            return Ok(response);
        }
        let tcp = tokio::time::timeout(self.patience, by_tcp(server, request));
        let response = tcp.await.map_err(|_| NetError::Timeout)??;
        match response.truncation {
            true => Err(NetError::Truncated),
            false => Ok(response),
        }
    }
}

/// Asks by TCP (RFC 7766), where an answer may have 64 kB and no more.
async fn by_tcp(server: SocketAddr, request: &DnsRequest) -> Result<DnsResponse, NetError> {
    let io = |error: std::io::Error| NetError::from(error);
    let question = request.to_vec()?;
    let length =
        u16::try_from(question.len()).map_err(|_| NetError::Message("question too long"))?;
    let mut stream = TcpStream::connect(server).await.map_err(io)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], &question].concat())
        .await
        .map_err(io)?;
    let length = stream.read_u16().await.map_err(io)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(io)?;
    let response = DnsResponse::from_buffer(answer)?;
    let asked = response.id == request.id && response.queries == request.queries;
    match asked {
        true => Ok(response),
        false => Err(NetError::Message("the answer is to another question")),
    }
}

impl DnsHandle for Upstream {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(stream::once(self.clone().ask(request)).boxed())
    }
}

/// Takes out what nobody asked for, which a validator would spend questions on.
fn prune(response: DnsResponse, name: &Name, kind: RecordType) -> Result<DnsResponse, NetError> {
    let mut message = response.into_message();
    if message.answers.len() + message.authorities.len() > MAX_RECORDS {
        return Err(NetError::Message(TOO_MANY_RECORDS));
    }
    message.additionals.clear();
    let reached = reached(name, &message.answers);
    // A DNAME stands above the names, and in the place of the CNAME that was made of it.
    let is_renamed = |name: &Name, by: &Record| super::follow::renamed(name, by).is_some();
    let renaming: Vec<Record> = message
        .answers
        .iter()
        .filter(|record| reached.iter().any(|name| is_renamed(name, record)))
        .cloned()
        .collect();
    message.answers.retain(|record| match record.record_type() {
        RecordType::CNAME => {
            reached.contains(&record.name)
                && !renaming.iter().any(|by| is_renamed(&record.name, by))
        }
        RecordType::RRSIG => {
            reached.contains(&record.name) || renaming.iter().any(|by| by.name == record.name)
        }
        RecordType::DNAME => renaming.contains(record),
        other => other == kind && reached.contains(&record.name),
    });
    message.authorities.retain(|record| {
        matches!(
            record.record_type(),
            RecordType::SOA | RecordType::NSEC | RecordType::NSEC3 | RecordType::RRSIG
        ) || kind == RecordType::NS
    });
    DnsResponse::from_message(message.into_response()).map_err(NetError::from)
}

/// The name and those that CNAME and DNAME records in the answer lead to from it.
fn reached(name: &Name, answers: &[Record]) -> Vec<Name> {
    let mut names = vec![name.clone()];
    while let Some((_, target)) = names
        .last()
        .and_then(|last| super::follow::alias(last, answers))
    {
        if names.contains(&target) || names.len() > super::follow::MAX_ALIASES {
            break;
        }
        names.push(target);
    }
    names
}
