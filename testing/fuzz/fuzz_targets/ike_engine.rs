//! Two engines that negotiate, while somebody on the way loses, doubles, cuts and changes what they send, and each says what no exchange
//! has under the ISAKMP SAs that stand. Nothing may panic, and left alone afterwards they make a tunnel.
#![no_main]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use ike::wire::{ExchangeType, HEADER_LEN, PayloadType};
use ipsec_keys::Secrets;
use pluto::engine::{Action, ClientId, Config, Engine, Event, Interface, Time, UpdownStatus};
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::{End, Host, Request};

const ADDRESSES: [&str; 2] = ["192.1.2.23", "192.1.2.45"];
const SECRET: &str = "@west @east : PSK \"not so secret\"\n";
const NAME: &str = "net-to-net";
/// What one input may do at most.
const MAX_DEEDS: usize = 40;
/// Datagrams on the way at most; more are lost.
const MAX_WIRE: usize = 64;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    let mut input = Input(data);
    world.ask(1, initiate());
    for _ in 0..MAX_DEEDS {
        if input.0.is_empty() {
            break;
        }
        world.deed(&mut input);
    }
    for side in 0..2 {
        world.ask(side, terminate());
    }
    world.settle(60);
    world.ask(1, initiate());
    world.settle(120);
    let conns = world.engines[1].connections();
    let up = conns
        .by_name(NAME)
        .filter_map(|id| conns.get(id))
        .any(|conn| conn.live.newest_ipsec.is_some());
    assert!(up, "no tunnel comes up any more");
});

/// The octets that are left of the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A place among `count`.
    fn place(&mut self, count: usize) -> usize {
        let number = usize::from(self.octet()) << 8 | usize::from(self.octet());
        number % count.max(1)
    }

    /// Some octets, their number first.
    fn some(&mut self) -> &'a [u8] {
        let count = usize::from(self.octet());
        self.take(count)
    }
}

struct World {
    now: Time,
    engines: Vec<Engine>,
    /// From, to, octets.
    wire: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    clients: u64,
    message_id: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Time::ZERO + Duration::from_secs(1),
            engines: Vec::new(),
            wire: VecDeque::new(),
            clients: 0,
            message_id: 0x1000_0000,
        };
        for (side, address) in ADDRESSES.into_iter().enumerate() {
            let config = Config {
                no_klips: true,
                ..Config::default()
            };
            let chance = Box::new(StdRng::seed_from_u64(side as u64));
            world.engines.push(Engine::new(config, chance));
            world.ask(side, Request::Listen);
            let interface = Interface {
                virt: "ipsec0".into(),
                phys: "eth1".into(),
                addr: address.parse().unwrap(),
            };
            world.give(side, Event::Interfaces(vec![interface]));
            let (secrets, _) = Secrets::parse("secrets", SECRET);
            let secrets = Event::Secrets {
                secrets: Box::new(secrets),
                problems: Vec::new(),
            };
            world.give(side, secrets);
            world.ask(side, Request::Connection(Box::new(connection())));
        }
        world
    }

    fn ask(&mut self, side: usize, request: Request) {
        self.clients += 1;
        let event = Event::Whack {
            client: ClientId(self.clients),
            request: Box::new(request),
        };
        self.give(side, event);
    }

    fn give(&mut self, side: usize, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in self.engines[side].handle(self.now, event) {
                match action {
                    Action::Send {
                        local,
                        remote,
                        bytes,
                    } if self.wire.len() < MAX_WIRE => {
                        self.wire.push_back((local, remote, bytes));
                    }
                    Action::StartJob { id, job } => events.push(Event::JobDone {
                        id,
                        result: job.run(),
                    }),
                    Action::RunUpdown { id, .. } => events.push(Event::UpdownDone {
                        id,
                        output: Vec::new(),
                        status: UpdownStatus::Exited(0),
                    }),
                    _ => {}
                }
            }
        }
    }

    fn arrive(&mut self, (remote, local, bytes): (SocketAddr, SocketAddr, Vec<u8>)) {
        let side = ADDRESSES.iter().position(|address| {
            address
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address == local.ip())
        });
        if let Some(side) = side {
            self.give(
                side,
                Event::Datagram {
                    local,
                    remote,
                    bytes,
                },
            );
        }
    }

    /// All that is on the way arrives, and what comes of it; the clock goes on for so many seconds, in steps.
    fn settle(&mut self, seconds: u64) {
        for _ in 0..seconds {
            for _ in 0..MAX_WIRE {
                let Some(datagram) = self.wire.pop_front() else {
                    break;
                };
                self.arrive(datagram);
            }
            self.pass(1000);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        for side in 0..2 {
            self.give(side, Event::Tick);
        }
    }

    /// One thing that happens, as the input says.
    fn deed(&mut self, input: &mut Input<'_>) {
        let kind = input.octet() % 10;
        match kind {
            8 => return self.pass(u64::from(input.octet()) * 100),
            9 => {
                let side = usize::from(input.octet());
                let request = if side & 2 == 0 {
                    initiate()
                } else {
                    terminate()
                };
                return self.ask(side & 1, request);
            }
            5 | 6 => return self.seal(kind == 5, input),
            _ => {}
        }
        let Some((from, to, mut bytes)) = self.wire.pop_front() else {
            return;
        };
        match kind {
            0 => {}
            1 => return,
            2 => self.wire.push_back((from, to, bytes.clone())),
            3 => bytes.truncate(input.place(bytes.len())),
            4 => {
                let place = input.place(bytes.len());
                bytes[place] ^= input.octet();
            }
            // Another body behind the same header.
            _ => {
                bytes.truncate(HEADER_LEN);
                bytes.extend_from_slice(input.some());
                let length = (bytes.len() as u32).to_be_bytes();
                if let Some(field) = bytes.get_mut(24..HEADER_LEN) {
                    field.copy_from_slice(&length);
                }
            }
        }
        self.arrive((from, to, bytes));
    }

    /// A side says something under its ISAKMP SA: what is on the way with an octet changed, or anything.
    fn seal(&mut self, changed: bool, input: &mut Input<'_>) {
        let side = usize::from(input.octet() & 1);
        let Some(sa) = self.engines[side].isakmp_sas().next().cloned() else {
            return;
        };
        let mut message = (ExchangeType::INFORMATIONAL, PayloadType::NOTIFY, Vec::new());
        if changed {
            let opened = self.wire.front().and_then(|(_, _, bytes)| sa.open(bytes));
            let Some((first, mut chain)) = opened else {
                return;
            };
            let place = input.place(chain.len());
            if let Some(octet) = chain.get_mut(place) {
                *octet ^= input.octet();
            }
            message = (ExchangeType::QUICK_MODE, first, chain);
        } else {
            if input.octet() & 1 == 1 {
                message.0 = ExchangeType::QUICK_MODE;
            }
            message.1 = PayloadType(input.octet());
            message.2 = input.some().to_vec();
        }
        self.message_id += 1;
        let (exchange, first, chain) = message;
        let bytes = sa.seal((exchange, self.message_id), first, &chain);
        let port = |side: usize| SocketAddr::new(ADDRESSES[side].parse().unwrap(), 500);
        self.arrive((port(side), port(1 - side), bytes));
    }
}

fn initiate() -> Request {
    Request::Initiate {
        name: NAME.into(),
        asynchronous: true,
    }
}

fn terminate() -> Request {
    Request::Terminate { name: NAME.into() }
}

fn connection() -> whack::Connection {
    let end = |address: &str, net: &str, id: &str| End {
        client: Some(net.parse().unwrap()),
        id: Some(id.into()),
        ..End::new(Host::Addr(address.parse().unwrap()))
    };
    whack::Connection {
        policy: whack::Policy {
            psk: true,
            encrypt: true,
            tunnel: true,
            pfs: true,
            ..Default::default()
        },
        lifetimes: whack::Lifetimes {
            keying_tries: 0,
            ..Default::default()
        },
        ike: Some("aes128-sha1-dh31!".into()),
        ..whack::Connection::new(
            NAME,
            end(ADDRESSES[1], "10.0.1.0/24", "@west"),
            end(ADDRESSES[0], "10.0.2.0/24", "@east"),
        )
    }
}
