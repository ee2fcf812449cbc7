//! Two gateways against each other: IKE, KLIPS, routes and eroutes together, in simulated time.

use std::net::SocketAddr;

use klips::Inbound;
use whack::Request;

use super::gateway::{Gateway, net, net_to_net, udp};
use crate::engine::Event;
use crate::engine::connection::Routing;
use crate::engine::event::{Action, ClientId};

/// East (192.1.2.23) and west (192.1.2.45), and the wire between them.
pub(in crate::engine) struct Pair {
    pub(in crate::engine) east: Gateway,
    pub(in crate::engine) west: Gateway,
    /// Loses every datagram whose number this divides.
    lose_every: Option<u64>,
    /// Nothing gets through.
    pub(in crate::engine) cut: bool,
    pub(in crate::engine) datagrams: u64,
    /// What was carried and to whom, where that is of interest.
    pub(super) recording: Option<Vec<(SocketAddr, Vec<u8>)>>,
}

impl Pair {
    pub(in crate::engine) fn new() -> Self {
        Self::with(net_to_net("net-to-net"))
    }

    /// Without any connection.
    pub(in crate::engine) fn bare() -> Self {
        Self {
            east: Gateway::at("192.1.2.23"),
            west: Gateway::at("192.1.2.45"),
            lose_every: None,
            cut: false,
            datagrams: 0,
            recording: None,
        }
    }

    /// With this connection on both sides.
    pub(in crate::engine) fn with(description: whack::Connection) -> Self {
        let mut pair = Self {
            east: Gateway::at("192.1.2.23"),
            west: Gateway::at("192.1.2.45"),
            lose_every: None,
            cut: false,
            datagrams: 0,
            recording: None,
        };
        pair.add(description);
        pair
    }

    pub(in crate::engine) fn add(&mut self, description: whack::Connection) {
        self.east.add(description.clone());
        self.west.add(description);
    }

    /// Carries datagrams until none is left.
    pub(in crate::engine) fn settle(&mut self) {
        loop {
            let sent: Vec<_> = self
                .east
                .sent
                .drain(..)
                .chain(self.west.sent.drain(..))
                .collect();
            if sent.is_empty() {
                return;
            }
            for (from, to, bytes) in sent {
                self.datagrams += 1;
                if let Some(recording) = &mut self.recording {
                    recording.push((to, bytes.clone()));
                }
                if self.cut
                    || self
                        .lose_every
                        .is_some_and(|n| self.datagrams.is_multiple_of(n))
                {
                    continue;
                }
                let there = if to.ip() == super::gateway::addr("192.1.2.23") {
                    &mut self.east
                } else if to.ip() == super::gateway::addr("192.1.2.45") {
                    &mut self.west
                } else {
                    continue;
                };
                there.give(Event::Datagram {
                    local: to,
                    remote: from,
                    bytes,
                });
            }
        }
    }

    /// Carries the oldest datagram of one of the two.
    pub(super) fn carry_one(&mut self, of_west: bool) {
        let (from, to) = match of_west {
            true => (&mut self.west, &mut self.east),
            false => (&mut self.east, &mut self.west),
        };
        if from.sent.is_empty() {
            return;
        }
        let (remote, local, bytes) = from.sent.remove(0);
        to.give(Event::Datagram {
            local,
            remote,
            bytes,
        });
    }

    /// All that waits is done: computations, what the kernel was asked for, datagrams.
    pub(super) fn finish_all(&mut self) {
        loop {
            for gateway in [&mut self.west, &mut self.east] {
                while !gateway.held.is_empty() {
                    gateway.finish_job();
                }
                while gateway.kernel_step() {}
            }
            if self.west.sent.is_empty() && self.east.sent.is_empty() {
                return;
            }
            self.settle();
        }
    }

    /// Whether packets get through both ways.
    pub(super) fn is_whole(&mut self, east: &str, west: &str) -> bool {
        let there = self.west.sealed_octets(west, east, 64);
        let back = self.east.sealed_octets(east, west, 64);
        let arrives = |gateway: &mut Gateway, sealed: Option<Vec<u8>>| {
            sealed.is_some_and(|s| matches!(gateway.receive_told(&s), Inbound::Deliver { .. }))
        };
        arrives(&mut self.east, there) && arrives(&mut self.west, back)
    }

    pub(in crate::engine) fn sleep(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.east.sleep(1);
            self.west.sleep(1);
            self.settle();
        }
    }

    /// West asks for a connection; its exit status.
    pub(in crate::engine) fn up(&mut self, name: &str) -> u8 {
        let client = self.west.ask(Request::Initiate {
            name: name.into(),
            asynchronous: false,
        });
        self.settle();
        for _ in 0..120 {
            if let Some((_, status)) = self.west.finished.iter().find(|(id, _)| *id == client) {
                return *status;
            }
            self.sleep(1);
        }
        panic!("west never answered: {:?}", self.west.said);
    }

    pub(in crate::engine) fn carries(&mut self, east: &str, west: &str) {
        let sealed = self.west.sealed(west, east);
        let (verdict, inner) = self.east.receive(&sealed);
        assert!(matches!(verdict, Inbound::Deliver { .. }), "{verdict:?}");
        assert_eq!(inner[12..20], udp(west, east)[12..20]);
        let sealed = self.east.sealed(east, west);
        assert!(matches!(
            self.west.receive(&sealed).0,
            Inbound::Deliver { .. }
        ));
    }
}

#[test]
fn a_tunnel_comes_up_and_carries_packets() {
    let mut pair = Pair::new();
    assert_eq!(
        pair.up("net-to-net"),
        0,
        "{:?}\n{:?}",
        pair.west.said,
        pair.east.log
    );
    let lines = [
        "104 \"net-to-net\" #1: STATE_MAIN_I1: initiate",
        "106 \"net-to-net\" #1: STATE_MAIN_I2: sent MI2, expecting MR2",
        "108 \"net-to-net\" #1: STATE_MAIN_I3: sent MI3, expecting MR3",
        "004 \"net-to-net\" #1: STATE_MAIN_I4: ISAKMP SA established",
        "112 \"net-to-net\" #2: STATE_QUICK_I1: initiate",
        "004 \"net-to-net\" #2: STATE_QUICK_I2: sent QI2, IPsec SA established",
    ];
    assert_eq!(pair.west.said.len(), lines.len(), "{:?}", pair.west.said);
    for (said, line) in pair.west.said.iter().zip(lines) {
        assert!(said.starts_with(line), "{said}");
    }
    pair.carries("10.0.2.1", "10.0.1.1");
    let status = pair.west.status_text();
    assert!(status.contains("; erouted; eroute owner: #2"), "{status}");
}

#[test]
fn one_of_two_tunnels_goes_and_the_other_stays() {
    let mut pair = Pair::new();
    let mut second = net_to_net("second");
    second.left.client = Some(net("10.0.3.0/24"));
    pair.add(second);
    assert_eq!(
        (pair.up("net-to-net"), pair.up("second")),
        (0, 0),
        "{:?}",
        pair.west.said
    );
    pair.carries("10.0.2.1", "10.0.1.1");
    pair.carries("10.0.2.1", "10.0.3.1");
    pair.west.ask(Request::Terminate {
        name: "net-to-net".into(),
    });
    pair.settle();
    pair.carries("10.0.2.1", "10.0.3.1");
    assert_eq!(pair.east.sas().len(), 4, "the peer heard of it");
    assert_eq!(pair.west.sas().len(), 4);
    let conn = pair.east.id("net-to-net");
    assert_eq!(
        pair.east.engine.connections().get(conn).unwrap().routing(),
        Routing::Prospective
    );
}

#[test]
fn a_packet_brings_its_tunnel_up() {
    let mut pair = Pair::new();
    pair.west.route("net-to-net");
    pair.west.send("10.0.1.1", "10.0.2.1");
    pair.settle();
    assert!(
        pair.west.eroutes()[0].contains("=> tun0x"),
        "{:?}\n{:?}",
        pair.west.eroutes(),
        pair.west.log
    );
    assert!(
        pair.west
            .released
            .iter()
            .any(|verdict| matches!(verdict, klips::Outbound::Transmit { .. }))
    );
    pair.carries("10.0.2.1", "10.0.1.1");
}

#[test]
fn lost_datagrams_only_delay() {
    // With 2 it would always be the answer that is lost.
    for n in [3, 5, 7] {
        let mut pair = Pair::new();
        pair.lose_every = Some(n);
        assert_eq!(
            pair.up("net-to-net"),
            0,
            "1 of {n} lost: {:?}",
            pair.west.said
        );
        // The last message of Quick Mode may have been lost: east asks again by repeating its own.
        pair.sleep(60);
        pair.carries("10.0.2.1", "10.0.1.1");
    }
}

#[test]
fn a_road_warrior_gets_an_instance_that_goes_with_it() {
    let mut pair = Pair {
        east: Gateway::at("192.1.2.23"),
        west: Gateway::at("192.1.2.45"),
        lose_every: None,
        cut: false,
        datagrams: 0,
        recording: None,
    };
    let mut road = net_to_net("road");
    road.left = whack::End::new(whack::Host::Any);
    road.right.nexthop = None;
    pair.east.add(road.clone());
    road.left.host = whack::Host::Addr(super::gateway::addr("192.1.2.45"));
    pair.west.add(road);
    assert_eq!(
        pair.up("road"),
        0,
        "{:?}\n{:?}",
        pair.west.said,
        pair.east.log
    );
    pair.carries("10.0.2.1", "192.1.2.45");
    assert!(pair.east.status_text().contains("\"road\"[1]: "));
    pair.west.ask(Request::Delete {
        name: "road".into(),
    });
    pair.settle();
    pair.east.sleep(1);
    assert_eq!(
        pair.east.engine.connections().len(),
        1,
        "{}",
        pair.east.status_text()
    );
    assert!(pair.east.sas().is_empty() && pair.east.eroutes().is_empty());
}

/// At the end every peer is told before anything is taken down: scripts and the kernel may take longer than somebody waits.
#[test]
fn g2_all_peers_are_told_before_anything_is_taken_down() {
    let mut pair = Pair::bare();
    for n in 1..=20 {
        let mut conn = net_to_net(&format!("net{n}"));
        conn.right.client = Some(net(&format!("10.7.{n}.0/24")));
        pair.add(conn);
        assert_eq!(pair.up(&format!("net{n}")), 0, "{:?}", pair.west.said);
    }
    let shutdown = Event::Whack {
        client: ClientId(9999),
        request: Box::new(Request::Shutdown),
    };
    let now = pair.west.now;
    let actions = pair.west.engine.handle(now, shutdown);
    let at = |wanted: fn(&Action) -> bool| {
        let all = actions.iter().enumerate();
        all.filter(|(_, action)| wanted(action))
            .map(|(n, _)| n)
            .collect::<Vec<_>>()
    };
    let told = at(|action| matches!(action, Action::Send { .. }));
    let taken_down = at(|action| matches!(action, Action::PfKey(_) | Action::RunUpdown { .. }));
    // Each IPsec SA, and the one ISAKMP SA that they share.
    assert_eq!(told.len(), 21);
    assert!(told.last() < taken_down.first(), "{told:?} {taken_down:?}");
}

/// `--down` answers when the SAs are gone and the shunt stands, so that an `--unroute` right behind it finds nothing in use.
#[test]
fn g8_down_answers_when_it_has_taken_effect() {
    let mut pair = Pair::new();
    assert_eq!(pair.up("net-to-net"), 0, "{:?}", pair.west.said);
    pair.west.kernel_waits = true;
    let client = pair.west.ask(Request::Terminate {
        name: "net-to-net".into(),
    });
    let gone = |pair: &Pair| pair.west.finished.iter().any(|(id, _)| *id == client);
    assert!(!gone(&pair), "answered before the kernel has");
    while pair.west.kernel_step() {}
    assert!(gone(&pair), "{:?}", pair.west.said);
    pair.west.kernel_waits = false;
    assert!(pair.west.sas().is_empty());
    let unroute = Request::Unroute {
        name: "net-to-net".into(),
    };
    assert_eq!(pair.west.status_of(unroute), 0, "{:?}", pair.west.said);
    assert_eq!(pair.west.eroutes(), Vec::<String>::new());
}

/// The L2TP server's `17/%any` is whatever port the client names: 1701, another one, and all of them; the server's own port stays.
#[test]
fn g5_the_peer_names_the_port_that_a_road_warrior_connection_leaves_open() {
    let udp = |port| ipsec_types::ProtoPort {
        proto: 17,
        port: ipsec_types::Port(port),
    };
    let tcp = ipsec_types::ProtoPort {
        proto: 6,
        port: ipsec_types::Port(1701),
    };
    let rows = [
        (udp(1701), udp(1701), true),
        (udp(41_234), udp(1701), true),
        (udp(0), udp(1701), true),
        (udp(1701), udp(1702), false),
        (tcp, tcp, false),
    ];
    for (asked, of_server, expected) in rows {
        let mut pair = Pair::bare();
        let mut road = net_to_net("road");
        road.left = whack::End::new(whack::Host::Any);
        road.left.protoport = udp(0);
        road.right.protoport = udp(1701);
        road.right.client = None;
        road.right.nexthop = None;
        pair.east.add(road.clone());
        road.left.host = whack::Host::Addr(super::gateway::addr("192.1.2.45"));
        (road.left.protoport, road.right.protoport) = (asked, of_server);
        pair.west.add(road);
        let shown = format!(
            "{asked} to {of_server}: {:?}\n{:?}",
            pair.west.said, pair.east.log
        );
        assert_eq!(pair.up("road") == 0, expected, "{shown}");
        if expected {
            let status = pair.east.status_text();
            let narrowed = format!(":{asked}; erouted");
            assert!(status.contains(&narrowed), "{narrowed}: {status}");
        }
    }
}

#[test]
fn rekeying_loses_no_packet() {
    let mut pair = Pair {
        east: Gateway::at("192.1.2.23"),
        west: Gateway::at("192.1.2.45"),
        lose_every: None,
        cut: false,
        datagrams: 0,
        recording: None,
    };
    let mut short = net_to_net("short");
    short.lifetimes = whack::Lifetimes {
        ike: 300,
        ipsec: 60,
        rekey_margin: 10,
        rekey_fuzz: 100,
        keying_tries: 0,
    };
    pair.add(short);
    assert_eq!(pair.up("short"), 0);
    let first = pair.west.eroutes();
    for _ in 0..700 {
        pair.sleep(1);
        pair.carries("10.0.2.1", "10.0.1.1");
    }
    assert_ne!(pair.west.eroutes(), first);
    assert!(
        pair.west.sas().len() <= 8 && pair.east.sas().len() <= 8,
        "{:?}",
        pair.east.sas()
    );
}

#[test]
fn keys_are_logged_where_asked_for_and_nowhere_else() {
    let mut pair = Pair::new();
    pair.west.engine.config.key_log = Some("/root/keys".into());
    assert_eq!(pair.up("net-to-net"), 0);
    assert!(pair.east.keys.is_empty());
    let keys = std::mem::take(&mut pair.west.keys);
    // One of the ISAKMP SA, before it stands, and one for ESP in each direction.
    let esp = keys
        .iter()
        .filter(|line| line.starts_with("\"IPv4\",\"192.1.2."));
    assert_eq!((keys.len(), esp.count()), (3, 2), "{keys:?}");
    let (cookie, key) = keys[0].split_once(',').unwrap();
    assert_eq!((cookie.len(), key.len()), (16, 64), "AES-256");
    let status = pair.west.status_text();
    assert!(
        status.contains("WARNING: keys are written to \"/root/keys\""),
        "{status}"
    );
    let secrets: Vec<&str> = keys
        .iter()
        .flat_map(|line| line.split(&[',', '"', 'x'][..]))
        .filter(|part| part.len() > 16 && part.chars().all(|c| c.is_ascii_hexdigit()))
        .collect();
    assert!(secrets.len() >= 3);
    for text in pair.west.log.iter().chain(&pair.west.said) {
        for secret in &secrets {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
