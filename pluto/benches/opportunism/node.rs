//! One gateway: an engine, and in KLIPS' place a table of eroutes that answers PF_KEY.

use std::collections::HashMap;
use std::net::IpAddr;

use ipsec_keys::Secrets;
use ipsec_types::{MagicSpi, Packet};
use pfkey::request::{AcquireParams, Ids, acquire, echo_reply};
use pfkey::{Builder, Direction, ExtType, Lifetime, MAX_MESSAGE_LEN, Message, MsgType, SaType};
use pluto::engine::{Config, Engine, Event, Interface, Time};
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::{Host, Request};

/// What is done with packets to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Trap,
    Hold,
    Clear,
    Encrypted,
    Dropped,
}

/// A packet that waits in a `%hold`: whose flow, since when.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub flow: usize,
    pub count: u64,
    pub since: Time,
}

pub struct Node {
    pub engine: Engine,
    pub addr: IpAddr,
    fates: HashMap<IpAddr, Fate>,
    pub held: HashMap<IpAddr, Vec<Held>>,
    /// Packets to and from each host, which the engine hears of as the count of its SAs.
    pub carried: HashMap<IpAddr, u32>,
    /// When the engine is to be woken, as far as the world knows.
    pub wake: Option<Time>,
    /// Until when its resolver knows the answer about a host.
    pub cache: HashMap<ipsec_dns::Query, Time>,
}

fn conn(addr: IpAddr) -> whack::Connection {
    let mut left = whack::End::new(Host::Addr(addr));
    left.nexthop = Some("10.255.255.254".parse().expect("an address"));
    let mut right = whack::End::new(Host::Opportunistic);
    right.client = Some("0.0.0.0/0".parse().expect("a subnet"));
    right.key_from_dns_on_demand = true;
    whack::Connection {
        policy: whack::Policy {
            rsasig: true,
            encrypt: true,
            tunnel: true,
            pfs: true,
            opportunistic: true,
            dont_rekey: true,
            failure: whack::Failure::Pass,
            ..Default::default()
        },
        lifetimes: whack::Lifetimes {
            ipsec: 3600,
            ..Default::default()
        },
        ..whack::Connection::new("private-or-clear", left, right)
    }
}

impl Node {
    pub fn new(addr: IpAddr, seed: u64, secrets: Secrets) -> (Self, Vec<Event>) {
        let node = Self {
            engine: Engine::new(
                Config {
                    pid: 1,
                    ..Config::default()
                },
                Box::new(StdRng::seed_from_u64(seed)),
            ),
            addr,
            fates: HashMap::new(),
            held: HashMap::new(),
            carried: HashMap::new(),
            wake: None,
            cache: HashMap::new(),
        };
        let ask = |n, request| Event::Whack {
            client: pluto::engine::ClientId(n),
            request: Box::new(request),
        };
        let interface = Interface {
            virt: "ipsec0".into(),
            phys: "eth0".into(),
            addr,
        };
        let events = vec![
            Event::KernelUp(true),
            ask(1, Request::Listen),
            Event::Interfaces(vec![interface]),
            Event::Secrets {
                secrets: Box::new(secrets),
                problems: Vec::new(),
            },
            ask(2, Request::Connection(Box::new(conn(addr)))),
            ask(
                3,
                Request::Route {
                    name: "private-or-clear".into(),
                },
            ),
        ];
        (node, events)
    }

    pub fn fate(&self, to: IpAddr) -> Fate {
        self.fates.get(&to).copied().unwrap_or(Fate::Trap)
    }

    /// A packet has met the trap: it is held, and the engine hears of it.
    pub fn trap(&mut self, to: IpAddr, held: Held) -> Event {
        self.fates.insert(to, Fate::Hold);
        self.held.entry(to).or_default().push(held);
        let params = AcquireParams {
            satype: SaType::Esp,
            packet: Packet {
                src: self.addr,
                dst: to,
                proto: 6,
                sport: 40_000,
                dport: 80,
            },
            flow: None,
            ident_src: None,
            ident_dst: None,
            replay: 32,
            combs: &[],
        };
        let mut buf = [0; MAX_MESSAGE_LEN];
        let message = acquire(&mut buf, Ids { seq: 1, pid: 0 }, &params).expect("it fits");
        Event::PfKey(message.to_vec())
    }

    /// Answers the engine, and tells to which host packets have a new fate.
    pub fn kernel(&mut self, request: &[u8]) -> (Option<Event>, Option<(IpAddr, Fate)>) {
        let message =
            Message::new_checked(request, Direction::ToKlips).expect("pluto asks rightly");
        let mut changed = None;
        match message.msg_type() {
            MsgType::AddFlow => {
                if let (Some(flow), Some(said)) = (message.selector(), message.said()) {
                    let fate = match said.as_magic() {
                        None => Fate::Encrypted,
                        Some(MagicSpi::Pass) => Fate::Clear,
                        Some(MagicSpi::Hold) => Fate::Hold,
                        Some(MagicSpi::Trap) => Fate::Trap,
                        Some(_) => Fate::Dropped,
                    };
                    // The policy for everybody is what there is without an entry.
                    if flow.dst.prefix() == 32 {
                        self.fates.insert(flow.dst.addr(), fate);
                        changed = Some((flow.dst.addr(), fate));
                    }
                }
            }
            MsgType::DelFlow => {
                if let Some(flow) = message.selector() {
                    self.fates.remove(&flow.dst.addr());
                    changed = Some((flow.dst.addr(), Fate::Trap));
                }
            }
            _ => {}
        }
        let mut buf = [0; MAX_MESSAGE_LEN];
        let answer = if message.msg_type() == MsgType::Get {
            let ends = [message.src(), message.dst()];
            let peer = ends
                .into_iter()
                .flatten()
                .map(|end| end.addr)
                .find(|addr| *addr != self.addr);
            let packets = peer
                .and_then(|peer| self.carried.get(&peer))
                .copied()
                .unwrap_or(0);
            let current = Lifetime {
                packets,
                ..Lifetime::default()
            };
            Builder::with_header(&mut buf, *message.header())
                .copy(&message, ExtType::Sa)
                .lifetime(ExtType::LifetimeCurrent, &current)
                .copy(&message, ExtType::AddressSrc)
                .copy(&message, ExtType::AddressDst)
                .finish()
        } else {
            echo_reply(&mut buf, &message)
        };
        let answer = answer.ok().map(|bytes| Event::PfKey(bytes.to_vec()));
        (answer, changed)
    }
}
