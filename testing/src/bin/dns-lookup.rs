//! Asks pluto's resolver, for the testbed: `dns-lookup [--resolv FILE] [--anchor FILE] [--time SECONDS] QUERY…`, all at once.
//!
//! A query is `client=192.0.2.1`, `gateway=192.0.2.1`, `gateway=@fqdn` or `host=fqdn`, or `clients=192.0.9.0+1000` for a row of them.
//! Prints a line each: milliseconds, the query, and what came of it; last the memory in use, in kB, before and after.

use ipsec_dns::resolver::{Config, Servers};
use ipsec_dns::{Answer, Gateway, Name, Query, Resolver};
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut config = Config::default();
    let mut queries = Vec::new();
    let mut args = std::env::args().skip(1);
    let mut twice = false;
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--resolv" => config.servers = Servers::File(value().into()),
            "--anchor" => config.anchor = Some(value().into()),
            "--time" => {
                config.limits.time = Duration::from_secs(value().parse().expect("seconds"));
            }
            "--twice" => twice = true,
            query => queries.extend(read(query)),
        }
    }
    let resolver = Resolver::new(config).unwrap_or_else(|error| panic!("{error}"));
    let before = memory();
    for _ in 0..=u8::from(twice) {
        let asked = queries.iter().map(|query| ask(&resolver, query.clone()));
        futures::future::join_all(asked).await;
    }
    println!("memory {before} {}", memory());
}

async fn ask(resolver: &Resolver, query: Query) {
    let start = Instant::now();
    let text = match resolver.lookup(query.clone()).await {
        Ok(answer) => show(&answer),
        Err(error) => format!("{error:?}: {error}"),
    };
    println!("{:6} {query}: {text}", start.elapsed().as_millis());
}

fn show(answer: &Answer) -> String {
    let mut text = format!("{:?} ttl {}", answer.security, answer.ttl.as_secs());
    for alias in &answer.aliases {
        text += &format!(" alias {alias}");
    }
    for d in &answer.delegations {
        let key = d.key.as_ref().map_or("-".into(), |key| key.key_id());
        text += &format!(" {} {} {} {key}", d.source, d.precedence, d.gateway);
    }
    for key in &answer.keys {
        text += &format!(" key {}", key.key_id());
    }
    for address in &answer.addresses {
        text += &format!(" address {address}");
    }
    for fault in &answer.faults {
        text += &format!(" fault ({fault})");
    }
    text
}

fn read(query: &str) -> Vec<Query> {
    let (kind, value) = query.split_once('=').expect("kind=value");
    let address = |text: &str| text.parse().expect("an address");
    match kind {
        "client" => vec![Query::Delegation(address(value))],
        "clients" => {
            let (first, count) = value.split_once('+').expect("first+count");
            let first = u32::from(first.parse::<std::net::Ipv4Addr>().expect("an address"));
            (0..count.parse().expect("a number"))
                .map(|n| Query::Delegation(std::net::Ipv4Addr::from(first + n).into()))
                .collect()
        }
        "gateway" => vec![Query::Keys(Gateway::parse(value).expect("a gateway"))],
        "host" => vec![Query::Addresses(Name::parse(value).expect("a name"))],
        other => panic!("unknown kind {other}"),
    }
}

/// Resident memory in kB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
