//! Two namespaces with a tunnel between them, keyed by hand through PF_KEY, and traffic in it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};
use std::{fmt, sync::Arc};

use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto, Selector, Spi, Subnet};
use pfkey::client::{Client, Control};
use pfkey::request::{self, SaParams};
use pfkey::{SaFlags, SaType};
use testing::Netns;

pub const WEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const EAST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// What is behind each.
pub const WEST_INNER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
pub const EAST_INNER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
const ECHO: u16 = 7;

pub fn subnet(text: &str) -> Subnet {
    text.parse().expect("a subnet")
}

pub fn said(dst: Ipv4Addr, spi: u32, proto: SaProto) -> SaId {
    SaId::new(proto, Spi(spi), dst.into())
}

/// Adds an ESP SA from `src` to `dst`, and the tunnel around it.
pub fn add_tunnel(client: &mut Client, src: Ipv4Addr, dst: Ipv4Addr, spi: u32) {
    let (outer, esp) = (said(dst, spi, SaProto::IpIp), said(dst, spi, SaProto::Esp));
    let params = SaParams {
        replay: 64,
        auth: AuthAlg::SHA1_HMAC,
        encrypt: EncAlg::AES_CBC,
        auth_key: &[5; 20],
        enc_key: &[6; 16],
        ..SaParams::new(esp, src.into())
    };
    let add = |client: &mut Client, params: &SaParams<'_>| {
        client
            .call(|buf, ids| request::add(buf, ids, params))
            .unwrap_or_else(|error| panic!("{:?}: {error}", params.said));
    };
    add(client, &SaParams::new(outer, src.into()));
    add(client, &params);
    client
        .call(|buf, ids| request::group(buf, ids, &outer, Some(&esp)))
        .expect("both are there");
}

/// Deletes both.
pub fn delete_tunnel(client: &mut Client, dst: Ipv4Addr, spi: u32) {
    let outer = said(dst, spi, SaProto::IpIp);
    client
        .call(|buf, ids| request::delete(buf, ids, &outer, None))
        .expect("it is there");
}

pub fn add_eroute(client: &mut Client, flow: &Selector, target: SaId) {
    client
        .call(|buf, ids| request::add_flow(buf, ids, flow, target, SaFlags::NONE))
        .unwrap_or_else(|error| panic!("{flow:?}: {error}"));
}

pub fn delete_eroute(client: &mut Client, flow: &Selector) {
    client
        .call(|buf, ids| request::del_flow(buf, ids, flow))
        .unwrap_or_else(|error| panic!("{flow:?}: {error}"));
}

/// The eroute from one side to the other.
pub fn flow(from: Ipv4Addr, to: Ipv4Addr) -> Selector {
    Selector::nets(subnet(&format!("{from}/32")), subnet(&format!("{to}/32")))
}

/// West and east, and the wire between.
pub struct Pair {
    pub west: Netns,
    pub east: Netns,
}

impl Pair {
    pub fn new() -> Pair {
        let (west, east) = (Netns::new(), Netns::new());
        west.sh(&format!(
            "ip link add eth0 type veth peer name eth0 netns {}",
            east.path()
        ));
        for (net, outer, inner) in [(&west, WEST, WEST_INNER), (&east, EAST, EAST_INNER)] {
            net.sh(&format!(
                "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
                 ip link set eth0 up && ip addr add {outer}/24 dev eth0 && ip addr add {inner}/32 dev lo"
            ));
        }
        // What should be in ESP and is not.
        east.sh(&format!(
            "nft add table inet watch && nft 'add chain inet watch in {{ type filter hook prerouting priority -300; }}' \
             && nft 'add rule inet watch in iifname eth0 udp dport {ECHO} counter'"
        ));
        Pair { west, east }
    }

    /// Brings the tunnel up, ipsec0 as the module has just made it. As `_updown`, with a route beneath that leads nowhere.
    pub fn key(&self) {
        let sides = [
            (&self.west, WEST, WEST_INNER, EAST, EAST_INNER, 0x1001),
            (&self.east, EAST, EAST_INNER, WEST, WEST_INNER, 0x2001),
        ];
        for (net, me, mine, peer, theirs, spi) in sides {
            net.enter(|| {
                Control::Kernel
                    .attach("ipsec0", "eth0", None)
                    .expect("eth0 is there");
                let mut client = Client::connect().expect("the module is loaded");
                add_tunnel(&mut client, me, peer, spi);
                add_tunnel(&mut client, peer, me, 0x3002 - spi);
                add_eroute(
                    &mut client,
                    &flow(mine, theirs),
                    said(peer, spi, SaProto::IpIp),
                );
            });
            net.sh(&format!(
                "ip link set ipsec0 up && ip route replace blackhole {theirs} metric 1000 \
                 && ip route add {theirs} dev ipsec0 src {mine}"
            ));
        }
    }

    /// Deletes all that KLIPS has, the routes through it, and takes ipsec0 off eth0.
    pub fn clear(&self) {
        for net in [&self.west, &self.east] {
            net.enter(|| {
                let mut client = Client::connect().expect("the module is loaded");
                client
                    .call(request::clear_flows)
                    .expect("there are eroutes");
                client
                    .call(|buf, ids| request::flush(buf, ids, SaType::Unspec))
                    .expect("there are SAs");
                Control::Kernel.detach("ipsec0").expect("it is attached");
            });
            net.sh("ip link set ipsec0 down");
        }
    }

    /// How many packets came to east outside ESP that should have been in it.
    pub fn leaked(&self) -> u64 {
        let text = self.east.sh("nft list chain inet watch in");
        let count = text
            .split_once("counter packets ")
            .and_then(|(_, rest)| rest.split(' ').next());
        count
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("{text}"))
    }
}

/// What a [`Traffic`] has seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    sent: AtomicU64,
    answered: AtomicU64,
}

/// Questions from west and answers from east, one after the other, until it is dropped; and beside them a stream that nobody answers.
pub struct Traffic {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(pair: &Pair) -> Traffic {
        let seen = Arc::new(Seen::default());
        let socket = |net: &Netns, address: Ipv4Addr, port: u16| {
            let socket = net
                .enter(|| UdpSocket::bind((address, port)))
                .expect("the address is there");
            socket
                .set_read_timeout(Some(Duration::from_millis(200)))
                .expect("a socket");
            socket
        };
        let echo = socket(&pair.east, EAST_INNER, ECHO);
        let asker = socket(&pair.west, WEST_INNER, 0);
        let stream = socket(&pair.west, WEST_INNER, 0);
        let threads = vec![
            spawn({
                let seen = seen.clone();
                move || seen.answer(&echo)
            }),
            spawn({
                let seen = seen.clone();
                move || seen.ask(&asker)
            }),
            spawn({
                let seen = seen.clone();
                move || seen.stream(&stream)
            }),
        ];
        Traffic { seen, threads }
    }

    /// Questions and answers so far.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.seen.sent.load(Ordering::Relaxed),
            self.seen.answered.load(Ordering::Relaxed),
        )
    }

    /// Waits until `more` more questions have been answered.
    #[track_caller]
    pub fn goes_on(&self, more: u64) {
        let (end, want) = (
            Instant::now() + testing::kernel::patience(Duration::from_secs(60)),
            self.counts().1 + more,
        );
        while self.counts().1 < want {
            assert!(
                Instant::now() < end,
                "{self}: nothing comes through any more"
            );
            sleep(Duration::from_millis(5));
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, answered) = self.counts();
        write!(f, "{answered} of {sent} questions answered")
    }
}

impl Seen {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn answer(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while self.goes_on() {
            if let Ok((len, from)) = socket.recv_from(&mut buffer)
                && len < 100
            {
                socket.send_to(&buffer[..len], from).ok();
            }
        }
    }

    fn ask(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while self.goes_on() {
            let question = self.sent.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            // Where there is no route at the moment the question is lost.
            if socket.send_to(&question, (EAST_INNER, ECHO)).is_err() {
                sleep(Duration::from_millis(1));
                continue;
            }
            while let Ok((len, _)) = socket.recv_from(&mut buffer) {
                if buffer[..len] == question {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }

    /// Bigger than the answers to it would be, and than one packet after encryption, in bursts.
    fn stream(&self, socket: &UdpSocket) {
        while self.goes_on() {
            for len in [100, 500, 1400, 1460, 1472, 2000] {
                socket.send_to(&vec![0x55; len], (EAST_INNER, ECHO)).ok();
            }
            sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "a thread of the traffic failed"
            );
        }
    }
}
