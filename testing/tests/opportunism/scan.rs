//! Many destinations that have no key, beside tunnels that are in use.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use testing::Testbed;

use super::{delegation, full, ping, pluto, published, start, trace};

testing::on_both_data_paths!(a_scan_disturbs_no_tunnel);

/// What pluto may have in KiB after a scan that it had not before: pages of which some bytes are in use.
const SLACK: u64 = 3 * 1024;

/// Says how many answers to its pings came to a host.
const ANSWERED: &str = "nstat -asz IcmpInEchoReps | awk 'END { print $2 }'";

fn a_scan_disturbs_no_tunnel() {
    scan(10_000, 500);
}

fn scan(destinations: u32, a_second: u32) {
    const TUNNELS: u32 = 100;
    let testbed = Testbed::new();
    let net = published(&testbed);
    let txt = delegation(&net.east, "192.1.2.23");
    let records: String = (2..=TUNNELS)
        .map(|n| format!("{n}.2.0.192.in-addr.arpa. IN TXT {txt}\n"))
        .collect();
    net.publish(&records);
    net.commit();
    let addresses: String = (2..=TUNNELS)
        .map(|n| format!("ip addr add 192.0.2.{n}/32 dev eth0\n"))
        .collect();
    net.east.inside.run(&addresses).ok();
    for site in [&net.west, &net.east] {
        start(site, &full(site));
    }
    for n in 1..=TUNNELS {
        let time = ping(&net.west.inside, &format!("192.0.2.{n}"), 10);
        assert!(time.is_some(), "{n}\n{}", trace(&net));
    }
    let before = pluto(&net.west.gateway).1;
    let said = net.west.inside.run(ANSWERED).ok().stdout;
    let answered_before: u32 = said.trim().parse().expect("a count");
    let pings: String = (1..=TUNNELS)
        .map(|n| format!("ping -n -q -i 0.5 -c 60 192.0.2.{n} >/run/ping.{n} &\n"))
        .collect();
    let running = net.west.inside.spawn(&format!("{pings}wait"));
    net.west.inside.in_network(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let began = Instant::now();
        for n in 0..destinations {
            let to = Ipv4Addr::from(0xc612_0000 + n);
            let _ = socket.send_to(b"anybody?", (to, 9));
            let due = Duration::from_secs(1) * (n + 1) / a_second;
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    });
    let most = pluto(&net.west.gateway).1;
    net.west.inside.wait_for(
        "test $(grep -l 'packet loss' /run/ping.* | wc -l) = 100",
        Duration::from_secs(60),
    );
    drop(running);
    // The kernel's count, since of a hundred pings that begin at a time each gets the answers of all, until it has told the kernel which
    // are its own, and may lose those for the others; and since a ping does not wait for an answer that is late.
    let all = answered_before + TUNNELS * 60;
    net.west.inside.wait_for(
        &format!("{ANSWERED}; test $({ANSWERED}) = {all} || {{ ip -s link; cat /proc/net/softnet_stat; false; }}"),
        Duration::from_secs(10),
    );
    // The shunts have had their time, which is a minute at least.
    net.west.gateway.wait_for(
        "test $(ipsec eroute | wc -l) -lt 150",
        Duration::from_secs(180),
    );
    // Answers that are out of date are thrown away twice a minute.
    let until = Instant::now() + Duration::from_secs(90);
    let mut after = pluto(&net.west.gateway).1;
    while after >= before + SLACK && Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        after = pluto(&net.west.gateway).1;
    }
    println!("pluto: {before} KiB before, {most} KiB at the most, {after} KiB after");
    // Bounded, by 4 KiB a destination; and back where it was, but for what is fragmented.
    assert!(
        most < before + u64::from(destinations) * 4 + 8 * 1024,
        "{before} KiB before, {most} at the most"
    );
    assert!(after < before + SLACK, "{before} KiB before, {after} after");
}
