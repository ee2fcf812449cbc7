//! Adding, routing and finding thousands of connections: the cost of each must not depend on how many there are.
//!
//! `cargo bench -p pluto --bench connections` prints, for every 500 connections up to 5,000, the median time of one
//! `whack --connection`, of one `whack --route` without a kernel, and of finding the connection of a packet; then the slowest
//! single add of all, each add taken as the fastest of some rounds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use ipsec_types::Subnet;
use pluto::engine::{ClientId, Clients, Config, Engine, Event, Interface, Time};
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::Request;

const CONNECTIONS: u32 = 5000;
const BATCH: u32 = 500;
const ROUNDS: u32 = 30;

fn client(n: u32) -> Subnet {
    let host = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | n << 8));
    Subnet::new(host, 24).expect("24 bits fit")
}

fn description(n: u32) -> whack::Connection {
    let mut left = whack::End::new(whack::Host::Addr(Ipv4Addr::new(192, 1, 2, 45).into()));
    left.client = Some(client(n));
    let mut right = whack::End::new(whack::Host::Addr(Ipv4Addr::new(192, 1, 2, 23).into()));
    right.client = Some("192.168.0.0/16".parse().expect("a subnet"));
    whack::Connection {
        policy: whack::Policy {
            psk: true,
            encrypt: true,
            tunnel: true,
            pfs: true,
            ..Default::default()
        },
        ..whack::Connection::new(format!("conn-{n}"), left, right)
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ask(engine: &mut Engine, client: u32, request: Request) -> Duration {
    let event = Event::Whack {
        client: ClientId(client.into()),
        request: Box::new(request),
    };
    let start = Instant::now();
    black_box(engine.handle(Time::ZERO, event));
    start.elapsed()
}

/// An engine with the interface that the connections' left end is at.
fn engine() -> Engine {
    let config = Config {
        no_klips: true,
        ..Config::default()
    };
    let mut engine = Engine::new(config, Box::new(StdRng::seed_from_u64(1)));
    ask(&mut engine, 0, Request::Listen);
    let addr = Ipv4Addr::new(192, 1, 2, 23).into();
    engine.handle(
        Time::ZERO,
        Event::Interfaces(vec![Interface {
            virt: "ipsec0".into(),
            phys: "eth0".into(),
            addr,
        }]),
    );
    engine
}

fn main() {
    medians();
    slowest();
}

/// The slowest add beside the first one and the median of the first hundred. What else the machine does slows an add down in one round, not in all.
fn slowest() {
    let mut best = vec![Duration::MAX; CONNECTIONS as usize];
    for _ in 0..ROUNDS {
        let mut engine = engine();
        for (n, best) in (0..CONNECTIONS).zip(&mut best) {
            let request = Request::Connection(Box::new(description(n)));
            *best = (*best).min(ask(&mut engine, n + 1, request));
        }
    }
    let usual = median(best[..100].to_vec());
    let (time, number) = best.iter().zip(1..).skip(1).max().expect("there are some");
    println!(
        "the first add {:.1?}, the median of the first hundred {usual:.1?}; \
         the slowest but the first: the {number}th of {CONNECTIONS}, {time:.1?}, {:.2} x that median",
        best[0],
        time.as_secs_f64() / usual.as_secs_f64()
    );
}

fn medians() {
    let mut engine = engine();
    println!("connections    add one    route one    find by packet");
    for batch in 0..CONNECTIONS / BATCH {
        let (mut adds, mut routes, mut finds) = (Vec::new(), Vec::new(), Vec::new());
        for n in batch * BATCH..(batch + 1) * BATCH {
            let request = Request::Connection(Box::new(description(n)));
            adds.push(ask(&mut engine, 2 * n + 1, request));
            let request = Request::Route {
                name: format!("conn-{n}"),
            };
            routes.push(ask(&mut engine, 2 * n + 2, request));
            let packet = Clients {
                ours: "192.168.0.1".parse().expect("a host"),
                our_protoport: Default::default(),
                theirs: Subnet::host(client(n).last()),
                their_protoport: Default::default(),
            };
            let start = Instant::now();
            let found = black_box(engine.connections().for_packet(&packet));
            finds.push(start.elapsed());
            assert!(found.is_some_and(|conn| conn.name == format!("conn-{n}")));
        }
        println!(
            "{:>11}  {:>9.1?}    {:>9.1?}    {:>9.1?}",
            (batch + 1) * BATCH,
            median(adds),
            median(routes),
            median(finds)
        );
    }
    assert_eq!(engine.connections().len(), CONNECTIONS as usize);
}
