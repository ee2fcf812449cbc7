//! What a packet costs in klips.ko among few and many eroutes.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use ipsec_types::{MagicSpi, SaId, Selector};
use pfkey::client::{Client, Control};
use pfkey::request;
use pfkey::{Header, MAX_MESSAGE_LEN, SaFlags};
use testing::{Host, Testbed};

use crate::clock::Clock;
use crate::load::send;
use crate::{ROUNDS, median};

const COUNTS: [usize; 3] = [10, 1_000, 100_000];
const PACKETS: usize = 200_000;

/// Packets sent to an ipsecN whose eroutes are all `%drop`, each packet another eroute's, beside such packets sent to a dummy device.
pub fn measure(clock: &mut Clock, testbed: &Testbed) {
    let none = host(testbed, "ip link add ipsec0 type dummy");
    let hosts = COUNTS.map(|count| {
        let host = host(
            testbed,
            "ip link add eth1 type dummy && ip link set eth1 up",
        );
        host.in_network(|| load(count));
        host
    });
    let sockets = hosts.each_ref().map(socket);
    let to_nowhere = socket(&none);
    let (mut rounds, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let stack = nanoseconds(clock, &to_nowhere, COUNTS[0]);
        let each: Vec<f64> = sockets
            .iter()
            .zip(COUNTS)
            .map(|(socket, count)| nanoseconds(clock, socket, count))
            .collect();
        rounds.push((stack, each));
        let read = hosts
            .iter()
            .zip(COUNTS)
            .map(|(host, count)| read(clock, host, count));
        reads.push(read.collect::<Vec<f64>>());
    }
    println!(
        "| eroutes | ns a packet | of them in klips.ko | beside {} eroutes | ns a line of /proc/net/ipsec_eroute |\n|---|---|---|---|---|",
        COUNTS[0]
    );
    for (n, count) in COUNTS.iter().enumerate() {
        let of = |f: &dyn Fn(f64, &[f64]) -> f64| {
            median(rounds.iter().map(|(stack, each)| f(*stack, each)).collect())
        };
        println!(
            "| {count} | {:.0} | {:.0} | {:.2} | {:.0} |",
            of(&|_, each| each[n]),
            of(&|stack, each| each[n] - stack),
            of(&|stack, each| (each[n] - stack) / (each[0] - stack)),
            median(reads.iter().map(|read| read[n]).collect()),
        );
    }
}

/// All of `/proc/net/ipsec_eroute`, whose text is made part by part.
fn read(clock: &mut Clock, host: &Host, count: usize) -> f64 {
    let path = "/proc/thread-self/net/ipsec_eroute";
    let (text, took) = clock.time(|| host.in_network(|| std::fs::read_to_string(path)));
    let lines = text.expect("the module's file").lines().count();
    assert_eq!(lines, count, "eroutes shown");
    took.as_nanos() as f64 / count as f64
}

fn host(testbed: &Testbed, devices: &str) -> Host {
    let host = testbed.host("eroutes");
    // Where the module is, ipsec0 is there already.
    let devices = devices.replace("add ipsec0", "add null0");
    host.run(&devices).ok();
    let device = if devices.contains("null0") {
        "null0"
    } else {
        host.in_network(|| {
            Control::Kernel
                .attach("ipsec0", "eth1", None)
                .expect("tncfg --attach")
        });
        "ipsec0"
    };
    host.run(&format!(
        "ip addr add 10.255.0.1/32 dev {device} && ip link set {device} mtu 1500 up && ip route add default dev {device}"
    ))
    .ok();
    host
}

/// Adds `%drop` eroutes, each to another host.
pub fn load(count: usize) {
    let client = Client::connect().expect("PF_KEY");
    let mut buffer = [0; MAX_MESSAGE_LEN];
    for n in 0..count {
        let host = |address: Ipv4Addr| format!("{address}/32").parse().expect("a net");
        let flow = Selector::nets(host(Ipv4Addr::new(10, 255, 0, 1)), host(destination(n)));
        let ids = request::Ids {
            seq: n as u32,
            pid: 1,
        };
        let message = request::add_flow(
            &mut buffer,
            ids,
            &flow,
            SaId::magic(MagicSpi::Drop),
            SaFlags::NONE,
        )
        .expect("a message");
        client.send(message).expect("ADDFLOW");
        let mut answer = [0; MAX_MESSAGE_LEN];
        let answer = Header::parse(client.recv(&mut answer).expect("an answer")).expect("a header");
        assert_eq!(answer.errno, 0, "eroute {n}");
    }
}

fn destination(n: usize) -> Ipv4Addr {
    let [_, b, c, d] = (n as u32).to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

fn socket(host: &Host) -> UdpSocket {
    host.in_network(|| UdpSocket::bind("10.255.0.1:0").expect("a socket"))
}

fn nanoseconds(clock: &mut Clock, socket: &UdpSocket, count: usize) -> f64 {
    // A stride that shares no factor with any count visits them all, in an order that no cache foresees.
    let to = |n: usize| SocketAddrV4::new(destination(n * 7_919 % count), 9);
    clock.time(|| send(socket, PACKETS, to)).1.as_nanos() as f64 / PACKETS as f64
}
