//! Changed packets and changed PF_KEY messages into the loaded module: the kernel does not complain, what is right still passes, and
//! memory stays flat. `FUZZ_SECONDS` says for how long, `FUZZ_SEED` repeats a run (but for what the processors' turns decide).

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use ipsec_types::{MagicSpi, SaId, Selector};
use mutate::Random;
use nix::net::if_::if_nametoindex;
use packets::{GROUPS, Maker, PORT, ends};
use pfkey::client::{Client, Control};
use pfkey::request;
use pfkey::{SaFlags, SaType};
use testing::{KernelMemory, Netns, sh};

use crate::link::{Raw, Tun, empty, encapsulate};

mod attack;
mod esp;
mod link;
mod mutate;
mod packets;
mod requests;

testing::on_klips_ko!(mutations);

/// Between two looks at whether all is well.
const ROUND: Duration = Duration::from_millis(1000);
/// Rounds before memory counts: tables and caches have their size then.
const WARM: u32 = 4;
/// How often memory is looked at, evenly over the time: what grows with it shows.
const READINGS: u32 = 6;

fn mutations() {
    let number = |name: &str, or: u64| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(or)
    };
    let (seconds, seed) = (number("FUZZ_SECONDS", 20), number("FUZZ_SEED", 20_030_403));
    println!("FUZZ_SECONDS={seconds} FUZZ_SEED={seed}");
    let net = Netns::new();
    net.enter(|| Target::new().fuzz(Duration::from_secs(seconds), seed));
}

/// The host under fire.
struct Target {
    tun: Tun,
    out: [Raw; 2],
    ends: [UdpSocket; 2],
    /// Where ESP in UDP comes to.
    natted: [UdpSocket; 2],
    requests: Vec<Vec<u8>>,
    packets: AtomicU64,
    asked: AtomicU64,
}

impl Target {
    fn new() -> Target {
        let tun = Tun::new("tun0");
        sh("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
            echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
            ip link set tun0 up && ip addr add 192.0.2.2/24 dev tun0 && ip -6 addr add 2001:db8::2/64 dev tun0 nodad
            ip link set ipsec0 up && ip route add 10.0.0.0/8 dev ipsec0 && ip -6 route add 2001:db8:1::/48 dev ipsec0
            ip link set ipsec1 up");
        let index = |name: &str| if_nametoindex(name).expect("the device is there");
        let end = |address: &str, port: u16| {
            let socket = UdpSocket::bind((address, port)).expect("an address of ours");
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .expect("a socket");
            socket
        };
        let ends = |port| [end("0.0.0.0", port), end("2001:db8::2", port)];
        let natted = ends(esp::PORTS[1]);
        natted.iter().for_each(encapsulate);
        Target {
            tun,
            out: [Raw::new(index("ipsec0")), Raw::new(index("tun0"))],
            ends: ends(PORT),
            natted,
            requests: requests::all(),
            packets: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    fn fuzz(&self, time: Duration, seed: u64) {
        let begin = Instant::now();
        let end = begin + time;
        let mut random = Random::new(seed);
        let (mut rounds, mut readings) = (0, Vec::new());
        while Instant::now() < end {
            self.key();
            self.works(&mut random);
            let until = end.min(Instant::now() + ROUND);
            let seeds = [random.next(), random.next(), random.next()];
            thread::scope(|scope| {
                scope.spawn(|| self.send(&mut Random::new(seeds[0]), until));
                scope.spawn(|| self.ask(&mut Random::new(seeds[1]), until));
                scope.spawn(|| self.meddle(&mut Random::new(seeds[2]), until));
            });
            rounds += 1;
            let due = time * (readings.len() as u32) / READINGS;
            if rounds >= WARM && begin.elapsed() >= due {
                readings.push(self.emptied(rounds));
            }
        }
        self.key();
        self.works(&mut random);
        let after = self.emptied(rounds);
        if let Some(before) = readings.first() {
            after.assert_flat_since(before, 1024);
        }
    }

    /// The memory, with no packet and nothing in the tables.
    fn emptied(&self, rounds: u32) -> KernelMemory {
        self.clear(&mut Client::connect().expect("the module is loaded"));
        self.tun.drain();
        self.ends.iter().chain(&self.natted).for_each(empty);
        let memory = KernelMemory::settled();
        let [packets, asked] =
            [&self.packets, &self.asked].map(|count| count.load(Ordering::Relaxed));
        println!("{rounds} rounds, {packets} packets, {asked} PF_KEY messages; {memory}");
        memory
    }

    fn clear(&self, client: &mut Client) {
        client.call(request::clear_flows).expect("answered");
        client
            .call(|buf, ids| request::flush(buf, ids, SaType::Unspec))
            .expect("answered");
    }

    /// Gives the host its SAs and eroutes, whatever it had.
    fn key(&self) {
        // Whoever fuzzed may have taken devices off, or turned switches.
        Control::Kernel.clear().expect("ipsec0 is there");
        Control::Kernel
            .attach("ipsec0", "tun0", None)
            .expect("tun0 is there");
        for (switch, value) in [("inbound_policy_check", "1"), ("icmp", "1")] {
            Control::Kernel.set_sysctl(switch, value).expect("a switch");
        }
        let mut client = Client::connect().expect("the module is loaded");
        self.clear(&mut client);
        for (group, layers) in GROUPS.iter().enumerate() {
            for v6 in [false, true] {
                let (src, dst) = ends(v6);
                for layer in *layers {
                    let params = layer.params(group, src, dst);
                    client
                        .call(|buf, ids| request::add(buf, ids, &params))
                        .unwrap_or_else(|error| panic!("{params:?}: {error}"));
                }
                for pair in layers.windows(2) {
                    let [inner, outer] = [pair[0], pair[1]].map(|layer| layer.said(group, dst));
                    client
                        .call(|buf, ids| request::group(buf, ids, &inner, Some(&outer)))
                        .expect("a group");
                }
            }
        }
        let mut targets = vec![
            SaId::magic(MagicSpi::Trap),
            SaId::magic(MagicSpi::Pass),
            SaId::magic(MagicSpi::Drop),
            SaId::magic(MagicSpi::Reject),
            SaId::magic(MagicSpi::Hold),
        ];
        // Out by the peers' SAs is as good as by our own.
        targets.extend(
            GROUPS
                .iter()
                .enumerate()
                .map(|(n, layers)| layers[0].said(n, ends(false).1)),
        );
        for (n, target) in targets.into_iter().enumerate() {
            let net = |text: String| text.parse().expect("a net");
            let mut add = |flow: Selector| {
                client.call(|buf, ids| request::add_flow(buf, ids, &flow, target, SaFlags::NONE))
            };
            add(Selector::nets(
                net("0.0.0.0/0".into()),
                net(format!("10.{n}.0.0/16")),
            ))
            .unwrap_or_else(|error| panic!("{target}: {error}"));
            // Not every group of an IPv4 peer's takes IPv6.
            drop(add(Selector::nets(
                net("::/0".into()),
                net(format!("2001:db8:1:{n}::/64")),
            )));
        }
    }

    /// What is right comes out at the other end, by every group, or the fuzzer tests nothing.
    fn works(&self, random: &mut Random) {
        let mut buffer = [0; 70_000];
        // What fuzzing delivered must not fill the sockets.
        self.ends.iter().for_each(empty);
        for (group, layers) in GROUPS.iter().enumerate() {
            for v6 in [false, true] {
                let text = format!("{:16x} through {layers:?}, IPv6 {v6}", random.next());
                let mut maker = Maker {
                    random,
                    every: 0,
                    sequence: 1,
                };
                self.tun.receive(&maker.packet(group, v6, text.as_bytes()));
                loop {
                    let (len, _) = self.ends[usize::from(v6)]
                        .recv_from(&mut buffer)
                        .unwrap_or_else(|error| {
                            let state = sh("cat /proc/net/ipsec_spi; ip -s link show ipsec0");
                            panic!("{text}: not delivered: {error}\n{state}")
                        });
                    // What was under way when fuzzing ended may come in between.
                    if &buffer[..len] == text.as_bytes() {
                        break;
                    }
                }
            }
        }
    }
}
