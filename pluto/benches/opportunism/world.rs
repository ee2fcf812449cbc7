//! The net between the gateways, the DNS behind their resolvers, and what they have to say to each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipsec_dns::{Answer, Delegation, Gateway, LookupError, Query, Security, Source};
use ipsec_keys::{PrivateKey, Secrets, secrets::secret_entry};
use pluto::engine::{Action, Event, LookupId, Time, UpdownStatus};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::node::{Fate, Held, Node};

/// How long packets are sent.
const LENGTH: Duration = Duration::from_secs(3600);
/// What is under way when nobody sends any more may end.
const REST: Duration = Duration::from_secs(60);
/// Flows that each gateway begins.
const FLOWS: u32 = 5;
/// Packets of a flow: Pareto with this exponent and least value.
const TAIL: f64 = 1.2;
const LEAST: f64 = 4.0;
const MOST: f64 = 100_000.0;
/// Between packets of one flow.
const GAP: Duration = Duration::from_millis(20);
/// Different keys; gateways share them, which nobody notices, since each is known by its own address.
const KEYS: usize = 32;
const KEY_BITS: usize = 1024;
/// Of a thousand datagrams.
const LOST: u32 = 5;
const TTL: Duration = Duration::from_secs(3600);
const NEGATIVE_TTL: Duration = Duration::from_secs(600);

#[derive(Clone, Copy)]
pub struct Plan {
    pub gateways: u32,
    /// Of a hundred.
    pub share: u32,
}

struct Flow {
    from: u32,
    to: u32,
    packets: u64,
    sent: u64,
}

enum What {
    Datagram {
        to: u32,
        from: u32,
        bytes: Vec<u8>,
    },
    Dns {
        node: u32,
        id: LookupId,
        query: Query,
    },
    Packets {
        flow: usize,
    },
    /// What was held has gone.
    Released {
        flow: usize,
        by: u32,
        count: u64,
    },
    Wake {
        node: u32,
    },
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    pub gateways: u32,
    pub share: u32,
    pub taking_part: u64,
    pub packets: u64,
    pub encrypted: u64,
    pub clear: u64,
    pub lost: u64,
    /// Of packets between two that take part.
    pub among: u64,
    pub among_encrypted: u64,
    pub dns_queries: u64,
    pub exchanges: u64,
    pub datagrams: u64,
    /// Added delay of a first packet, median and 95th percentile, in milliseconds: encrypted, and in the clear.
    pub encrypted_delay: (u64, u64),
    pub clear_delay: (u64, u64),
    /// Round trips that the median encrypted one took.
    pub round_trips: u64,
}

pub struct World {
    plan: Plan,
    now: Time,
    nodes: BTreeMap<u32, Node>,
    keys: Vec<PrivateKey>,
    secrets: Vec<Secrets>,
    flows: Vec<Flow>,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: std::collections::HashMap<u64, What>,
    order: u64,
    chance: StdRng,
    row: Row,
    encrypted_delays: Vec<(u64, u64)>,
    clear_delays: Vec<u64>,
}

fn addr(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0100 + n).into()
}

fn number(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(v4) => v4.to_bits() - 0x0a00_0100,
        IpAddr::V6(_) => u32::MAX,
    }
}

/// From 0 to 1, of its own for each pair, and always the same.
fn mixed(a: u32, b: u32) -> f64 {
    let (a, b) = (a.min(b), a.max(b));
    let mut x = u64::from(a) << 32 | u64::from(b);
    x = (x ^ (x >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    x = (x ^ (x >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    ((x >> 40) as f64) / f64::from(1u32 << 24)
}

/// One way between two gateways: 5 to 80 ms.
fn way(a: u32, b: u32) -> Duration {
    Duration::from_micros(5_000 + (75_000.0 * mixed(a, b)) as u64)
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut chance = StdRng::seed_from_u64(u64::from(plan.share));
        let keys: Vec<PrivateKey> = (0..KEYS)
            .map(|_| PrivateKey::generate(&mut chance, KEY_BITS).expect("a key"))
            .collect();
        let secrets = keys
            .iter()
            .map(|key| {
                Secrets::parse("secrets", secret_entry(&[], key, "host", "today").as_ref()).0
            })
            .collect();
        let mut world = Self {
            plan,
            now: Time::ZERO + Duration::from_secs(1),
            nodes: BTreeMap::new(),
            keys,
            secrets,
            flows: Vec::new(),
            queue: BinaryHeap::new(),
            events: std::collections::HashMap::new(),
            order: 0,
            chance,
            row: Row {
                gateways: plan.gateways,
                share: plan.share,
                ..Row::default()
            },
            encrypted_delays: Vec::new(),
            clear_delays: Vec::new(),
        };
        for n in 0..plan.gateways {
            if world.takes_part(n) {
                let secrets = world.secrets[n as usize % KEYS].clone();
                let (node, events) = Node::new(addr(n), u64::from(n), secrets);
                world.nodes.insert(n, node);
                for event in events {
                    world.give(n, event);
                }
            }
        }
        world.row.taking_part = world.nodes.len() as u64;
        world.begin_flows();
        world
    }

    fn takes_part(&self, n: u32) -> bool {
        // Popularity falls with the number, and who takes part has nothing to do with it.
        mixed(n, u32::MAX) * 100.0 < f64::from(self.plan.share)
    }

    fn unit(&mut self) -> f64 {
        (f64::from(self.chance.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    fn begin_flows(&mut self) {
        let gateways = f64::from(self.plan.gateways);
        for from in 0..self.plan.gateways {
            for _ in 0..FLOWS {
                // Zipf with exponent 1: the n-th is asked for 1/n as often as the first.
                let to = (gateways.powf(self.unit()) as u32 - 1).min(self.plan.gateways - 1);
                let size = (LEAST * self.unit().powf(-1.0 / TAIL)).min(MOST);
                let begin = LENGTH.mul_f64(self.unit());
                if to == from {
                    continue;
                }
                self.flows.push(Flow {
                    from,
                    to,
                    packets: size as u64,
                    sent: 0,
                });
                let flow = self.flows.len() - 1;
                self.at(self.now + begin, What::Packets { flow });
            }
        }
    }

    fn at(&mut self, when: Time, what: What) {
        self.order += 1;
        self.queue.push(Reverse((when, self.order)));
        self.events.insert(self.order, what);
    }

    pub fn run(&mut self) {
        let end = self.now + LENGTH + REST;
        while let Some(Reverse((when, order))) = self.queue.pop() {
            if when > end {
                return;
            }
            self.now = self.now.max(when);
            let Some(what) = self.events.remove(&order) else {
                continue;
            };
            match what {
                What::Packets { flow } => self.packets(flow),
                What::Released { flow, by, count } if self.flows[flow].from == by => {
                    self.answered(flow, count);
                }
                What::Released { flow, count, .. } => self.next(flow, count),
                What::Datagram { to, from, bytes } => {
                    let event = Event::Datagram {
                        local: (addr(to), 500).into(),
                        remote: (addr(from), 500).into(),
                        bytes,
                    };
                    self.give(to, event);
                }
                What::Dns { node, id, query } => {
                    let result = self.dns(&query);
                    self.give(
                        node,
                        Event::LookupDone {
                            id,
                            result,
                            heard: true,
                        },
                    );
                }
                What::Wake { node } => {
                    let due = self
                        .nodes
                        .get_mut(&node)
                        .is_some_and(|node| node.wake.take_if(|wake| *wake <= when).is_some());
                    if due {
                        self.give(node, Event::Tick);
                    }
                }
            }
        }
    }

    fn give(&mut self, n: u32, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let Some(node) = self.nodes.get_mut(&n) else {
                return;
            };
            for action in node.engine.handle(self.now, event) {
                let Some(node) = self.nodes.get_mut(&n) else {
                    return;
                };
                match action {
                    Action::Send { remote, bytes, .. } => self.send(n, number(remote.ip()), bytes),
                    Action::PfKey(request) => {
                        let (answer, changed) = node.kernel(&request);
                        events.extend(answer);
                        if let Some((to, fate)) = changed {
                            self.fate_changed(n, to, fate);
                        }
                    }
                    Action::StartJob { id, job } => {
                        events.push(Event::JobDone {
                            id,
                            result: job.run(),
                        });
                    }
                    Action::RunUpdown { id, .. } => events.push(Event::UpdownDone {
                        id,
                        output: Vec::new(),
                        status: UpdownStatus::Exited(0),
                    }),
                    Action::Lookup { id, query } => self.ask_dns(n, id, query),
                    _ => {}
                }
            }
        }
        let Some(node) = self.nodes.get_mut(&n) else {
            return;
        };
        if let Some(next) = node.engine.next_timeout()
            && node.wake.is_none_or(|wake| next < wake)
        {
            node.wake = Some(next);
            self.at(next, What::Wake { node: n });
        }
    }

    fn send(&mut self, from: u32, to: u32, bytes: Vec<u8>) {
        self.row.datagrams += 1;
        if self.chance.next_u32() % 1000 >= LOST && self.nodes.contains_key(&to) {
            let when = self.now + way(from, to);
            self.at(when, What::Datagram { to, from, bytes });
        }
    }

    /// The resolver of a gateway: what it knows takes a millisecond, else there are some servers to be asked.
    fn ask_dns(&mut self, node: u32, id: LookupId, query: Query) {
        let about = match &query {
            Query::Delegation(addr) | Query::Keys(Gateway::Address(addr)) => number(*addr),
            _ => 0,
        };
        let (known, now) = (self.takes_part(about), self.now);
        let Some(gateway) = self.nodes.get_mut(&node) else {
            return;
        };
        let cached = gateway.cache.get(&query).is_some_and(|until| *until > now);
        let delay = if cached {
            Duration::from_millis(1)
        } else {
            self.row.dns_queries += 1;
            let ttl = if known { TTL } else { NEGATIVE_TTL };
            gateway.cache.insert(query.clone(), now + ttl);
            let u = self.unit();
            // Median 30 ms, and one of a hundred above half a second.
            Duration::from_secs_f64(0.03 * (u / (1.0 - u)).powf(0.62)).min(Duration::from_secs(5))
        };
        self.at(now + delay, What::Dns { node, id, query });
    }

    fn dns(&self, query: &Query) -> Result<Answer, LookupError> {
        let owner = match query {
            Query::Delegation(addr) | Query::Keys(Gateway::Address(addr)) => *addr,
            _ => addr(u32::MAX >> 8),
        };
        let n = number(owner);
        if n >= self.plan.gateways || !self.takes_part(n) {
            return Err(LookupError::NoRecord {
                name: query.name(),
                records: query.records(),
                security: Security::Secure,
                ttl: NEGATIVE_TTL,
            });
        }
        let key = self.keys[n as usize % KEYS].public().clone();
        let delegation = Delegation {
            precedence: 10,
            gateway: Gateway::Address(owner),
            key: Some(key.clone()),
            source: Source::Txt,
        };
        let keys = matches!(query, Query::Keys(_));
        Ok(Answer {
            delegations: if keys { Vec::new() } else { vec![delegation] },
            keys: if keys { vec![key] } else { Vec::new() },
            addresses: Vec::new(),
            security: Security::Secure,
            ttl: TTL,
            aliases: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// The next packets of a flow: one at first, whose answer is waited for as TCP does, then as many as have gone before, all of
    /// which have the fate of the first of them. Each is answered by one.
    fn packets(&mut self, flow: usize) {
        let Flow {
            from,
            to,
            packets,
            sent,
        } = self.flows[flow];
        let count = sent.clamp(1, packets - sent);
        if self.go(flow, from, to, count) {
            self.answered(flow, count);
        }
    }

    /// The packets of a flow have gone; now the other side.
    fn answered(&mut self, flow: usize, count: u64) {
        let Flow { from, to, .. } = self.flows[flow];
        if self.go(flow, to, from, count) {
            self.next(flow, count);
        }
    }

    fn next(&mut self, flow: usize, count: u64) {
        let Flow {
            from,
            to,
            packets,
            sent,
        } = self.flows[flow];
        let sent = sent + count;
        self.flows[flow].sent = sent;
        if sent < packets {
            let pace = GAP * u32::try_from(count).unwrap_or(u32::MAX);
            let when = self.now + pace.max(2 * way(from, to));
            self.at(when, What::Packets { flow });
        }
    }

    /// Whether packets go now. If not, the flow waits for the fate of the first of them.
    fn go(&mut self, flow: usize, from: u32, to: u32, count: u64) -> bool {
        let among = self.takes_part(from) && self.takes_part(to);
        self.row.packets += count;
        self.row.among += if among { count } else { 0 };
        let held = Held {
            flow,
            count,
            since: self.now,
        };
        let Some(node) = self.nodes.get_mut(&from) else {
            self.row.clear += count;
            return true;
        };
        match node.fate(addr(to)) {
            Fate::Clear => self.row.clear += count,
            Fate::Encrypted => {
                self.row.encrypted += count;
                self.row.among_encrypted += count;
                let carried = node.carried.entry(addr(to)).or_default();
                *carried = carried.wrapping_add(count as u32);
            }
            Fate::Dropped => {
                self.row.lost += count;
                return false;
            }
            Fate::Hold => {
                // Only the last packet is kept.
                let waiting = node.held.entry(addr(to)).or_default();
                self.row.lost += u64::from(!waiting.is_empty());
                waiting.push(held);
                return false;
            }
            Fate::Trap => {
                let event = node.trap(addr(to), held);
                self.give(from, event);
                return false;
            }
        }
        true
    }

    fn fate_changed(&mut self, n: u32, to: IpAddr, fate: Fate) {
        let Some(node) = self.nodes.get_mut(&n) else {
            return;
        };
        if matches!(fate, Fate::Hold | Fate::Trap) {
            return;
        }
        for held in node.held.remove(&to).unwrap_or_default() {
            let millis = u64::try_from((self.now - held.since).as_millis()).unwrap_or(u64::MAX);
            let Some(node) = self.nodes.get_mut(&n) else {
                return;
            };
            match fate {
                Fate::Encrypted => {
                    self.row.encrypted += held.count;
                    self.row.among_encrypted += held.count;
                    let trip = 2 * way(n, number(to)).as_millis() as u64;
                    // Who answers waits for the last message of Quick Mode only.
                    if self.flows[held.flow].from == n {
                        self.encrypted_delays
                            .push((millis, 10 * millis / trip.max(1)));
                    }
                    *node.carried.entry(to).or_default() += 1;
                }
                Fate::Clear => {
                    self.row.clear += held.count;
                    if self.flows[held.flow].from == n {
                        self.clear_delays.push(millis);
                    }
                }
                _ => {
                    self.row.lost += held.count;
                    continue;
                }
            }
            self.at(
                self.now,
                What::Released {
                    flow: held.flow,
                    by: n,
                    count: held.count,
                },
            );
        }
    }

    pub fn row(&mut self) -> Row {
        let at = |sorted: &[u64], percent: usize| {
            let n = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            sorted.get(n).copied().unwrap_or(0)
        };
        let mut encrypted: Vec<u64> = self.encrypted_delays.iter().map(|d| d.0).collect();
        let mut trips: Vec<u64> = self.encrypted_delays.iter().map(|d| d.1).collect();
        for list in [&mut encrypted, &mut trips, &mut self.clear_delays] {
            list.sort_unstable();
        }
        self.row.encrypted_delay = (at(&encrypted, 50), at(&encrypted, 95));
        self.row.clear_delay = (at(&self.clear_delays, 50), at(&self.clear_delays, 95));
        self.row.round_trips = at(&trips, 50);
        self.row.exchanges = self
            .nodes
            .values()
            .map(|node| node.engine.opportunism().initiated)
            .sum();
        self.row
    }
}
