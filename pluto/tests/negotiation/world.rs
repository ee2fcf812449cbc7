//! Two gateways and the net between them, in simulated time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipsec_keys::Secrets;
use pluto::engine::{Action, ClientId, Config, Engine, Event, Interface, Time, UpdownStatus};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use whack::{End, Host, Request};

pub const EAST: &str = "192.1.2.23";
pub const WEST: &str = "192.1.2.45";
pub const NAT: &str = "192.1.2.254";

pub struct Node {
    pub engine: Engine,
    pub addr: IpAddr,
    pub said: Vec<String>,
    pub finished: Vec<u8>,
    pub log: Vec<String>,
    pub datagrams: usize,
    pub keep_alives: usize,
}

/// A NAT that hosts are behind: each of their ports gets one of its own.
pub struct NatBox {
    pub outside: IpAddr,
    pub inside: Vec<IpAddr>,
    pub mapped: Vec<(SocketAddr, u16)>,
    pub next: u16,
}

impl NatBox {
    /// Its mappings have timed out; what goes out gets new ones.
    pub fn forget(&mut self) {
        self.mapped.clear();
    }

    fn out(&mut self, from: SocketAddr) -> SocketAddr {
        if !self.inside.contains(&from.ip()) {
            return from;
        }
        let known = self.mapped.iter().find(|(inside, _)| *inside == from);
        let port = known.map(|(_, port)| *port).unwrap_or_else(|| {
            self.next += 1;
            self.mapped.push((from, self.next));
            self.next
        });
        SocketAddr::new(self.outside, port)
    }

    /// Where a packet goes on to; `None` if nobody is known to want it.
    fn back(&self, to: SocketAddr) -> Option<SocketAddr> {
        if to.ip() != self.outside {
            return (!self.inside.contains(&to.ip())).then_some(to);
        }
        let known = self.mapped.iter().find(|(_, port)| *port == to.port());
        known.map(|(inside, _)| *inside)
    }
}

/// Two gateways and the net between them.
pub struct World {
    pub now: Time,
    pub nodes: Vec<Node>,
    /// On the way: arrival, order; from, to, octets.
    pub wire: BTreeMap<(Time, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    pub order: u64,
    pub chance: StdRng,
    /// Of a hundred datagrams.
    pub lost: u32,
    pub doubled: u32,
    pub jitter_ms: u32,
    pub cut: bool,
    /// What a listener in the middle does to a datagram, by how many it has seen.
    pub meddle: Option<fn(usize, &mut Vec<u8>)>,
    pub seen: usize,
    pub nat: Option<NatBox>,
}

impl World {
    pub fn new(secrets: [&str; 2]) -> Self {
        let mut world = Self {
            now: Time::ZERO + Duration::from_secs(1),
            nodes: Vec::new(),
            wire: BTreeMap::new(),
            order: 0,
            chance: StdRng::seed_from_u64(7),
            lost: 0,
            doubled: 0,
            jitter_ms: 0,
            cut: false,
            meddle: None,
            seen: 0,
            nat: None,
        };
        for (n, (addr, secrets)) in [EAST, WEST].into_iter().zip(secrets).enumerate() {
            world.nodes.push(node(addr, n as u64));
            world.boot(n, secrets);
        }
        world
    }

    /// East, and `roads` behind a NAT before it; all know NAT traversal.
    pub fn behind_nat(secrets: &str, roads: &[&str]) -> Self {
        let mut world = Self::new(["", ""]);
        world.nodes.clear();
        for (n, addr) in core::iter::once(&EAST).chain(roads).enumerate() {
            world.nodes.push(node_with(addr, n as u64, |config| {
                config.nat.traversal = true;
                config.unique_ids = true;
                config.virtual_private = "%v4:10.0.0.0/8,%v4:192.168.0.0/16".parse().unwrap();
            }));
            world.boot(n, secrets);
        }
        world.nat = Some(NatBox {
            outside: NAT.parse().unwrap(),
            inside: roads.iter().map(|addr| addr.parse().unwrap()).collect(),
            mapped: Vec::new(),
            next: 61000,
        });
        world
    }

    pub fn boot(&mut self, n: usize, secrets: &str) {
        let addr = self.nodes[n].addr;
        self.ask(n, Request::Listen);
        let (secrets, problems) = Secrets::parse("secrets", secrets);
        // Short keys are quickly made, and warned of.
        assert!(problems.iter().all(|p| p.warning), "{problems:?}");
        let interface = Interface {
            virt: "ipsec0".into(),
            phys: "eth1".into(),
            addr,
        };
        self.give(n, Event::Interfaces(vec![interface]));
        self.give(
            n,
            Event::Secrets {
                secrets: Box::new(secrets),
                problems: Vec::new(),
            },
        );
    }

    pub fn ask(&mut self, n: usize, request: Request) {
        self.order += 1;
        let client = ClientId(self.order);
        self.nodes[n].said.clear();
        self.nodes[n].finished.clear();
        self.give(
            n,
            Event::Whack {
                client,
                request: Box::new(request),
            },
        );
    }

    pub fn both(&mut self, request: &Request) {
        for n in 0..self.nodes.len() {
            self.ask(n, request.clone());
        }
    }

    pub fn up(&mut self, n: usize, name: &str) {
        self.ask(
            n,
            Request::Initiate {
                name: name.into(),
                asynchronous: false,
            },
        );
    }

    pub fn give(&mut self, n: usize, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.nodes[n].engine.handle(self.now, event) {
                match action {
                    Action::Send {
                        local,
                        remote,
                        bytes,
                    } => self.transmit(n, local, remote, bytes),
                    Action::StartJob { id, job } => events.push(Event::JobDone {
                        id,
                        result: job.run(),
                    }),
                    Action::RunUpdown { id, .. } => {
                        let status = UpdownStatus::Exited(0);
                        events.push(Event::UpdownDone {
                            id,
                            output: Vec::new(),
                            status,
                        });
                    }
                    Action::Reply { code, text, .. } => {
                        self.nodes[n].said.push(format!("{code:03} {text}"))
                    }
                    Action::Finish { status, .. } => self.nodes[n].finished.push(status),
                    Action::Log { text, .. } => self.nodes[n].log.push(text),
                    Action::KeepAlive { .. } => self.nodes[n].keep_alives += 1,
                    Action::PfKey(_)
                    | Action::LogKey(_)
                    | Action::Listen(_)
                    | Action::ReadSecrets
                    | Action::RefreshSecrets
                    | Action::FindHost { .. }
                    | Action::ReadGroups(_)
                    | Action::Lookup { .. }
                    | Action::CancelLookup(_)
                    | Action::Exit(_) => {}
                }
            }
        }
    }

    pub fn transmit(&mut self, n: usize, from: SocketAddr, to: SocketAddr, mut bytes: Vec<u8>) {
        self.nodes[n].datagrams += 1;
        self.seen += 1;
        if let Some(meddle) = self.meddle {
            meddle(self.seen, &mut bytes);
        }
        let copies = 1 + u32::from(self.chance.next_u32() % 100 < self.doubled);
        for _ in 0..copies {
            if self.cut || self.chance.next_u32() % 100 < self.lost {
                continue;
            }
            let delay = 5 + u64::from(self.chance.next_u32() % (self.jitter_ms + 1));
            self.order += 1;
            let key = (self.now + Duration::from_millis(delay), self.order);
            let from = self.nat.as_mut().map_or(from, |nat| nat.out(from));
            self.wire.insert(key, (from, to, bytes.clone()));
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, seconds: u64) {
        self.run_millis(1000 * seconds);
    }

    /// Lets a short time pass.
    pub fn run_millis(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let arrival = self.wire.keys().next().map(|key| key.0);
            let timers = self
                .nodes
                .iter()
                .filter_map(|node| node.engine.next_timeout())
                .min();
            let Some(next) = arrival
                .into_iter()
                .chain(timers)
                .min()
                .filter(|next| *next <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (remote, local, bytes)) = self.wire.pop_first().unwrap();
                let Some(local) = self.nat.as_ref().map_or(Some(local), |nat| nat.back(local))
                else {
                    continue;
                };
                if let Some(n) = self.nodes.iter().position(|node| node.addr == local.ip()) {
                    self.give(
                        n,
                        Event::Datagram {
                            local,
                            remote,
                            bytes,
                        },
                    );
                }
            } else {
                for n in 0..self.nodes.len() {
                    self.give(n, Event::Tick);
                }
            }
        }
        self.now = end;
    }

    pub fn newest(&self, n: usize, name: &str) -> (Option<u64>, Option<u64>) {
        let conns = self.nodes[n].engine.connections();
        let all = conns.by_name(name).filter_map(|id| conns.get(id));
        let live = all
            .map(|conn| conn.live.clone())
            .max_by_key(|live| live.newest_ipsec)
            .unwrap();
        (
            live.newest_isakmp.map(|id| id.0),
            live.newest_ipsec.map(|id| id.0),
        )
    }

    pub fn is_up(&self, n: usize, name: &str) -> bool {
        self.newest(n, name).1.is_some()
    }

    pub fn count(&self, n: usize, part: &str) -> usize {
        self.nodes[n]
            .log
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }

    /// How many lines a node has logged.
    pub fn lines(&self, n: usize) -> usize {
        self.nodes[n].log.len()
    }

    pub fn trace(&self) -> String {
        self.nodes
            .iter()
            .map(|node| format!("\n== {}\n{}", node.addr, node.log.join("\n")))
            .collect()
    }

    pub fn status(&mut self, n: usize) -> String {
        self.ask(n, Request::Status);
        self.nodes[n].said.join("\n")
    }
}

pub fn node(addr: &str, seed: u64) -> Node {
    node_with(addr, seed, |_| {})
}

pub fn node_with(addr: &str, seed: u64, configure: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config {
        no_klips: true,
        ..Config::default()
    };
    configure(&mut config);
    Node {
        engine: Engine::new(config, Box::new(StdRng::seed_from_u64(seed))),
        addr: addr.parse().unwrap(),
        said: Vec::new(),
        finished: Vec::new(),
        log: Vec::new(),
        datagrams: 0,
        keep_alives: 0,
    }
}

pub fn conn(name: &str, west_net: &str, east_net: &str) -> whack::Connection {
    let mut left = End::new(Host::Addr(WEST.parse().unwrap()));
    left.client = Some(west_net.parse().unwrap());
    left.id = Some("@west".into());
    left.updown = Some("ipsec _updown".into());
    let mut right = End::new(Host::Addr(EAST.parse().unwrap()));
    right.client = Some(east_net.parse().unwrap());
    right.id = Some("@east".into());
    right.updown = Some("ipsec _updown".into());
    whack::Connection {
        policy: whack::Policy {
            psk: true,
            encrypt: true,
            tunnel: true,
            pfs: true,
            ..Default::default()
        },
        ike: Some("3des-sha1-modp1024!".into()),
        ..whack::Connection::new(name, left, right)
    }
}

pub fn net_to_net() -> whack::Connection {
    conn("net-to-net", "10.0.1.0/24", "10.0.2.0/24")
}

pub fn add(connection: whack::Connection) -> Request {
    Request::Connection(Box::new(connection))
}

pub const PSK: &str = "@west @east : PSK \"not so secret\"\n";
