//! One gateway for tests: an engine with the KLIPS core of klipsd as its kernel, and updown commands that are recorded.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipsec_dns::{Answer, LookupError, Name as DnsName, Query, Security};
use ipsec_types::{Spi, Subnet};
use klips::device::Name;
use klips::packet::{HEADROOM, TAILROOM, ip};
use klips::{
    Audience, Context, DeviceId, Inbound, Klips, Outbound, Packet, Physical, ProcCursor, ProcFile,
    Socket,
};
use klipsd::home::{Pending, UserHome};
use rand::SeedableRng;
use rand::rngs::StdRng;
use whack::{Host, Request};

use crate::engine::kernel::{Key, Keys, Limits, ProtocolSa, SaParams};
use crate::engine::{
    Action, ClientId, Config, ConnId, Engine, Event, GroupFile, HostLookupId, Interface, Job,
    JobId, LookupId, StateId, Time, UpdownStatus,
};

pub(in crate::engine) const PID: u32 = 42;

/// A gateway.
pub(in crate::engine) struct Gateway {
    pub(in crate::engine) engine: Engine,
    klips: Klips<UserHome>,
    socket: Socket,
    out: Pending,
    pub(in crate::engine) now: Time,
    /// Updown commands that were run, by verb.
    pub(in crate::engine) verbs: Vec<String>,
    /// The environment of the last of them.
    pub(in crate::engine) env: Vec<(String, String)>,
    /// The verb that is to fail.
    pub(in crate::engine) failing_verb: Option<&'static str>,
    /// The eroutes after each request to the kernel, where that is of interest.
    pub(in crate::engine) history: Option<Vec<Vec<String>>>,
    /// The kernel takes its time.
    pub(in crate::engine) kernel_waits: bool,
    waiting: Vec<Vec<u8>>,
    /// Computations that are not done yet, where they take their time, and which do.
    pub(in crate::engine) held: Vec<(JobId, Job)>,
    pub(in crate::engine) hold: fn(&Job) -> bool,
    /// Whether the kernel answers at all.
    pub(in crate::engine) kernel_answers: bool,
    /// Log lines.
    pub(in crate::engine) log: Vec<String>,
    pub(in crate::engine) keys: Vec<String>,
    /// What clients were told, as whack prints it.
    pub(in crate::engine) said: Vec<String>,
    /// Clients that were told to exit, with their status.
    pub(in crate::engine) finished: Vec<(ClientId, u8)>,
    pub(in crate::engine) exited: Option<u8>,
    /// Packets that a hold let go, as the verdict on them.
    pub(in crate::engine) released: Vec<Outbound>,
    /// IKE datagrams sent: from, to, payload.
    pub(in crate::engine) sent: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// The files of policy groups.
    pub(in crate::engine) groups: BTreeMap<String, Vec<Subnet>>,
    /// What DNS answers; nothing else is there.
    pub(in crate::engine) dns: HashMap<Query, Result<Answer, LookupError>>,
    /// DNS does not answer yet.
    pub(in crate::engine) dns_waits: bool,
    /// Questions that DNS never answers.
    pub(in crate::engine) silent: Vec<Query>,
    /// Questions that a dead resolver has got, and when they end.
    pub(in crate::engine) late: Vec<(Time, LookupId, DnsName)>,
    /// Questions that were put to DNS.
    pub(in crate::engine) asked: Vec<(LookupId, Query)>,
    /// Names that the system's resolver was asked for.
    pub(in crate::engine) names_asked: Vec<(HostLookupId, String)>,
    clients: u64,
}

pub(in crate::engine) fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(in crate::engine) fn net(text: &str) -> Subnet {
    text.parse().unwrap()
}

fn ipsec0() -> DeviceId {
    DeviceId::new(0).unwrap()
}

impl Gateway {
    /// A gateway at `address` that listens.
    pub(in crate::engine) fn at(address: &str) -> Self {
        Self::with(
            address,
            Config {
                pid: PID,
                ..Config::default()
            },
        )
    }

    pub(in crate::engine) fn with(address: &str, config: Config) -> Self {
        let seed = address.bytes().map(u64::from).sum();
        let mut klips = Klips::new(&UserHome).unwrap();
        let physical = Physical::new(7, Name::new("eth1").unwrap(), 1500, &[addr(address)]);
        klips.attach(ipsec0(), physical, None).unwrap();
        let mut gateway = Self {
            // Each draws numbers of its own.
            engine: Engine::new(config, Box::new(StdRng::seed_from_u64(seed))),
            klips,
            socket: Socket::new(),
            out: Pending::default(),
            now: Time::ZERO + Duration::from_secs(1),
            verbs: Vec::new(),
            env: Vec::new(),
            failing_verb: None,
            history: None,
            kernel_waits: false,
            waiting: Vec::new(),
            kernel_answers: true,
            held: Vec::new(),
            hold: |_| false,
            log: Vec::new(),
            keys: Vec::new(),
            said: Vec::new(),
            finished: Vec::new(),
            exited: None,
            released: Vec::new(),
            sent: Vec::new(),
            groups: BTreeMap::new(),
            dns: HashMap::new(),
            dns_waits: false,
            silent: Vec::new(),
            late: Vec::new(),
            asked: Vec::new(),
            names_asked: Vec::new(),
            clients: 0,
        };
        gateway.give(Event::KernelUp(true));
        gateway.listen(&[address]);
        gateway
    }

    /// Listens, with these addresses.
    pub(in crate::engine) fn listen(&mut self, addresses: &[&str]) {
        let interfaces = addresses.iter().map(|a| Interface {
            virt: "ipsec0".into(),
            phys: "eth1".into(),
            addr: addr(a),
        });
        let interfaces: Vec<Interface> = interfaces.collect();
        self.ask(Request::Listen);
        self.give(Event::Interfaces(interfaces));
        let (secrets, _) =
            ipsec_keys::Secrets::parse("ipsec.secrets", ": PSK \"a secret for tests\"\n");
        self.give(Event::Secrets {
            secrets: Box::new(secrets),
            problems: Vec::new(),
        });
    }

    /// The interfaces are these now: ipsecN, physical device, address.
    pub(in crate::engine) fn interfaces(&mut self, all: &[(&str, &str, &str)]) {
        let interface = |(virt, phys, address): &(&str, &str, &str)| Interface {
            virt: (*virt).into(),
            phys: (*phys).into(),
            addr: addr(address),
        };
        self.give(Event::Interfaces(all.iter().map(interface).collect()));
    }

    /// Gives an event to the engine, and carries out what comes of it until nothing more does.
    pub(in crate::engine) fn give(&mut self, event: Event) {
        let mut actions = self.engine.handle(self.now, event);
        while !actions.is_empty() {
            let events: Vec<Event> = actions
                .drain(..)
                .flat_map(|action| self.carry_out(action))
                .collect();
            for event in events {
                actions.extend(self.engine.handle(self.now, event));
            }
        }
    }

    /// Runs `f` on the engine itself, then carries out what comes of it.
    pub(in crate::engine) fn call<T>(&mut self, f: impl FnOnce(&mut Engine, Time) -> T) -> T {
        let result = f(&mut self.engine, self.now);
        self.give(Event::Tick);
        result
    }

    /// Lets time pass.
    pub(in crate::engine) fn sleep(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.give(Event::Tick);
    }

    fn carry_out(&mut self, action: Action) -> Vec<Event> {
        match action {
            Action::PfKey(message) => return self.kernel(&message),
            Action::KeepAlive { .. } => {}
            Action::RunUpdown { id, env, .. } => {
                let verb = env
                    .iter()
                    .find(|(name, _)| name == "PLUTO_VERB")
                    .unwrap()
                    .1
                    .clone();
                let fails = self
                    .failing_verb
                    .is_some_and(|failing| verb.starts_with(failing));
                self.env = env;
                self.verbs.push(verb);
                let status = UpdownStatus::Exited(fails.into());
                return vec![Event::UpdownDone {
                    id,
                    output: Vec::new(),
                    status,
                }];
            }
            Action::StartJob { id, job } if (self.hold)(&job) => self.held.push((id, job)),
            Action::StartJob { id, job } => {
                return vec![Event::JobDone {
                    id,
                    result: job.run(),
                }];
            }
            Action::Reply { code, text, .. } => self.said.push(format!("{code:03} {text}")),
            Action::Finish { client, status } => self.finished.push((client, status)),
            Action::Log { text, .. } => self.log.push(text),
            Action::Exit(status) => self.exited = Some(status),
            Action::Send {
                local,
                remote,
                bytes,
            } => self.sent.push((local, remote, bytes)),
            Action::LogKey(line) => self.keys.push(line.text.to_string()),
            Action::ReadGroups(names) => {
                let read = |name: String| GroupFile {
                    blocks: self.groups.get(&name).cloned().unwrap_or_default(),
                    name,
                    problems: Vec::new(),
                };
                return vec![Event::Groups(names.into_iter().map(read).collect())];
            }
            Action::Lookup { id, query } => {
                self.asked.push((id, query.clone()));
                if !self.dns_waits && !self.silent.contains(&query) {
                    return vec![self.dns_answer(id, &query)];
                }
            }
            Action::FindHost { id, name } => self.names_asked.push((id, name)),
            Action::Listen(_)
            | Action::ReadSecrets
            | Action::RefreshSecrets
            | Action::CancelLookup(_) => {}
        }
        Vec::new()
    }

    fn dns_answer(&self, id: LookupId, query: &Query) -> Event {
        let none = || {
            Err(LookupError::NoRecord {
                name: query.name(),
                records: query.records(),
                security: Security::Insecure,
                ttl: Duration::from_secs(300),
            })
        };
        let result = self.dns.get(query).cloned().unwrap_or_else(none);
        let heard = !matches!(result, Err(LookupError::Timeout { .. }));
        Event::LookupDone { id, result, heard }
    }

    /// The oldest computation that was held is done.
    pub(in crate::engine) fn finish_job(&mut self) {
        let (id, job) = self.held.remove(0);
        self.give(Event::JobDone {
            id,
            result: job.run(),
        });
    }

    /// DNS answers all that it was asked while it did not.
    pub(in crate::engine) fn dns_answers(&mut self) {
        self.dns_waits = false;
        for (id, query) in std::mem::take(&mut self.asked) {
            let answer = self.dns_answer(id, &query);
            self.give(answer);
        }
    }

    /// The kernel does one thing that it was asked for while it took its time.
    pub(in crate::engine) fn kernel_step(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let message = self.waiting.remove(0);
        for event in self.kernel_now(&message) {
            self.give(event);
        }
        true
    }

    fn kernel(&mut self, message: &[u8]) -> Vec<Event> {
        if !self.kernel_answers {
            return Vec::new();
        }
        if self.kernel_waits {
            self.waiting.push(message.to_vec());
            return Vec::new();
        }
        self.kernel_now(message)
    }

    fn kernel_now(&mut self, message: &[u8]) -> Vec<Event> {
        let mut context = Context {
            home: &UserHome,
            now: kernel_clock(self.now),
            out: &mut self.out,
        };
        self.klips.pfkey(&mut context, &mut self.socket, message);
        if self.history.is_some() {
            let eroutes = self.eroutes();
            self.history.get_or_insert_default().push(eroutes);
        }
        self.heard()
    }

    fn heard(&mut self) -> Vec<Event> {
        let messages = std::mem::take(&mut self.out.messages);
        let mut events = Vec::new();
        for (audience, message) in messages {
            if audience == Audience::Sender || self.socket.hears(audience, true) {
                events.push(Event::PfKey(message));
            }
        }
        for (_, packet) in std::mem::take(&mut self.out.released) {
            let verdict = self.outbound(&packet);
            self.released.push(verdict);
        }
        events
    }

    fn outbound(&mut self, bytes: &[u8]) -> Outbound {
        self.outbound_packet(bytes).0
    }

    /// The verdict on a packet, and what became of it.
    fn outbound_packet(&mut self, bytes: &[u8]) -> (Outbound, Vec<u8>) {
        let mut buffer = vec![0; HEADROOM + bytes.len() + TAILROOM.max(4096)];
        let end = HEADROOM + bytes.len();
        buffer[HEADROOM..end].copy_from_slice(bytes);
        let mut packet = Packet::new(&mut buffer, HEADROOM, end).unwrap();
        let mut context = Context {
            home: &UserHome,
            now: kernel_clock(self.now),
            out: &mut self.out,
        };
        let verdict = match self.klips.outbound(&mut context, ipsec0(), &mut packet) {
            Outbound::Trap => self.klips.trap(&mut context, ipsec0(), &mut packet),
            verdict => verdict,
        };
        (verdict, packet.bytes().to_vec())
    }

    /// The packet that the wire carries when one from `src` to `dst` is sent.
    pub(in crate::engine) fn sealed(&mut self, src: &str, dst: &str) -> Vec<u8> {
        let (verdict, bytes) = self.outbound_packet(&udp(src, dst));
        assert!(matches!(verdict, Outbound::Transmit { .. }), "{verdict:?}");
        bytes
    }

    /// What becomes of a packet from the wire, and what is inside.
    pub(in crate::engine) fn receive(&mut self, bytes: &[u8]) -> (Inbound, Vec<u8>) {
        let mut buffer = vec![0; HEADROOM + bytes.len() + TAILROOM.max(4096)];
        let end = HEADROOM + bytes.len();
        buffer[HEADROOM..end].copy_from_slice(bytes);
        let mut packet = Packet::new(&mut buffer, HEADROOM, end).unwrap();
        let mut context = Context {
            home: &UserHome,
            now: kernel_clock(self.now),
            out: &mut self.out,
        };
        let verdict = self.klips.inbound(&mut context, 7, &mut packet);
        (verdict, packet.bytes().to_vec())
    }

    /// KLIPS looks at the age of its SAs, and the engine hears what it says.
    pub(in crate::engine) fn kernel_ages(&mut self) {
        let mut context = Context {
            home: &UserHome,
            now: kernel_clock(self.now),
            out: &mut self.out,
        };
        self.klips.tick(&mut context, 1000);
        for event in self.heard() {
            self.give(event);
        }
    }

    /// What becomes of a packet from the wire; the engine hears what KLIPS says of it.
    pub(super) fn receive_told(&mut self, bytes: &[u8]) -> Inbound {
        let verdict = self.receive(bytes).0;
        for event in self.heard() {
            self.give(event);
        }
        verdict
    }

    /// What the wire carries when a packet with so many octets behind its IP header is sent, if anything goes.
    pub(super) fn sealed_octets(&mut self, src: &str, dst: &str, len: usize) -> Option<Vec<u8>> {
        let mut packet = udp(src, dst);
        packet.resize(20 + len, 0);
        ip::patch(&mut packet, 9, 17);
        let (verdict, bytes) = self.outbound_packet(&packet);
        for event in self.heard() {
            self.give(event);
        }
        matches!(verdict, Outbound::Transmit { .. }).then_some(bytes)
    }

    /// A packet with so many octets behind its IP header is routed to ipsec0.
    pub(in crate::engine) fn send_octets(&mut self, src: &str, dst: &str, len: usize) -> Outbound {
        let mut packet = udp(src, dst);
        packet.resize(20 + len, 0);
        ip::patch(&mut packet, 9, 17);
        let verdict = self.outbound(&packet);
        for event in self.heard() {
            self.give(event);
        }
        verdict
    }

    /// A packet is routed to ipsec0.
    pub(in crate::engine) fn send(&mut self, src: &str, dst: &str) -> Outbound {
        let packet = udp(src, dst);
        let verdict = self.outbound(&packet);
        for event in self.heard() {
            self.give(event);
        }
        verdict
    }

    /// A packet of ICMP is routed to ipsec0, as what this host answers to a ping.
    pub(in crate::engine) fn answer_ping(&mut self, src: &str, dst: &str) -> Outbound {
        let mut packet = udp(src, dst);
        ip::patch(&mut packet, 9, 1);
        let verdict = self.outbound(&packet);
        for event in self.heard() {
            self.give(event);
        }
        verdict
    }

    /// What `/proc/net/ipsec_eroute` would show, without the counters.
    pub(in crate::engine) fn eroutes(&self) -> Vec<String> {
        self.proc(ProcFile::Eroute)
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words[1..].join(" ")
            })
            .collect()
    }

    /// What `/proc/net/ipsec_spi` would show, by SA id.
    pub(in crate::engine) fn sas(&self) -> Vec<String> {
        let all = self.proc(ProcFile::Spi);
        all.lines()
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .collect()
    }

    /// What `/proc/net/ipsec_spi` shows of ESP.
    pub(in crate::engine) fn esp(&self) -> Vec<String> {
        let all = self.proc(ProcFile::Spi);
        let esp = all.lines().filter(|line| line.starts_with("esp"));
        esp.map(str::to_owned).collect()
    }

    fn proc(&self, file: ProcFile) -> String {
        let (mut text, mut cursor) = (String::new(), ProcCursor::default());
        while self
            .klips
            .proc(file, &mut cursor, kernel_clock(self.now), &mut text)
            .unwrap()
        {}
        text
    }

    /// A client asks; the number of the client is answered.
    pub(in crate::engine) fn ask(&mut self, request: Request) -> ClientId {
        self.clients += 1;
        let client = ClientId(self.clients);
        self.said.clear();
        self.give(Event::Whack {
            client,
            request: Box::new(request),
        });
        client
    }

    /// A client asks for something that is over at once; its exit status is answered.
    pub(in crate::engine) fn status_of(&mut self, request: Request) -> u8 {
        let client = self.ask(request);
        let finished = self.finished.iter().find(|(id, _)| *id == client);
        finished.expect("the client was let go").1
    }

    /// Adds a connection.
    pub(in crate::engine) fn add(&mut self, description: whack::Connection) -> ConnId {
        let name = description.name.clone();
        assert_eq!(
            self.status_of(Request::Connection(Box::new(description))),
            0,
            "{:?}",
            self.said
        );
        self.id(&name)
    }

    pub(in crate::engine) fn id(&self, name: &str) -> ConnId {
        self.engine.connections().configured(name).unwrap().id()
    }

    pub(in crate::engine) fn route(&mut self, name: &str) -> u8 {
        self.status_of(Request::Route { name: name.into() })
    }

    pub(in crate::engine) fn status_text(&mut self) -> String {
        self.ask(Request::Status);
        self.said.join("\n")
    }
}

/// KLIPS' clock when the engine's is this.
fn kernel_clock(now: Time) -> u64 {
    1_000_000 + now.since_zero().as_secs()
}

/// A packet between two hosts.
pub(in crate::engine) fn udp(src: &str, dst: &str) -> Vec<u8> {
    let header = if addr(src).is_ipv6() { 40 } else { 20 };
    let mut packet = vec![0; header + 20];
    ip::emit(&mut packet, addr(src), addr(dst), 17, 0, 63, 1);
    packet[header..header + 8].copy_from_slice(&[0, 9, 0, 9, 0, 20, 0, 0]);
    packet
}

/// A tunnel between the subnets of east (192.1.2.23) and west (192.1.2.45).
pub(in crate::engine) fn net_to_net(name: &str) -> whack::Connection {
    let mut left = whack::End::new(Host::Addr(addr("192.1.2.45")));
    left.client = Some(net("10.0.1.0/24"));
    left.id = Some("@west".into());
    left.updown = Some("ipsec _updown".into());
    let mut right = whack::End::new(Host::Addr(addr("192.1.2.23")));
    right.client = Some(net("10.0.2.0/24"));
    right.id = Some("@east".into());
    right.updown = Some("ipsec _updown".into());
    right.nexthop = Some(addr("192.1.2.254"));
    whack::Connection {
        policy: whack::Policy {
            psk: true,
            encrypt: true,
            tunnel: true,
            pfs: true,
            ..Default::default()
        },
        ..whack::Connection::new(name, left, right)
    }
}

/// SAs as a Quick Mode would agree on them, ESP with 3DES and SHA-1.
pub(in crate::engine) fn agreed(gateway: &mut Gateway, conn: ConnId, state: u64) -> SaParams {
    let keys = |octet| Keys {
        enc: Key::new((0..24).map(|n| octet + n).collect()),
        auth: Key::new(vec![octet; 20]),
    };
    let spi_in = gateway.call(|engine, _| engine.new_spi());
    SaParams {
        udp: None,
        state: StateId(state),
        conn,
        tunnel: true,
        esp: Some(ProtocolSa {
            esn: false,
            ealg: 3,
            aalg: 3,
            spi_in,
            spi_out: Spi(0x5000_0000 + u32::try_from(state).unwrap()),
            keys_in: keys(1),
            keys_out: keys(101),
            replay_window: 64,
            limits: Limits::NONE,
        }),
        ah: None,
        ipcomp: None,
    }
}
