//! A measurement, not a test: iperf3 through two klipsd beside the same path without them.
//! `cargo test --release -p klipsd --test throughput -- --ignored --nocapture`

mod common;

use std::time::Duration;

use common::*;
use testing::{Host, Testbed};

const SECONDS: u32 = 5;

fn mbits(from: &Host, to: &Host, source: &str, destination: &str, options: &str) -> f64 {
    let server = to.spawn(&format!("exec iperf3 -s -1 -B {destination}"));
    to.wait_for(
        &format!("ss -tln | grep -q {destination}:5201"),
        Duration::from_secs(5),
    );
    let run = format!("iperf3 -c {destination} -B {source} -t {SECONDS} -f m {options}");
    let answer = from.run(&run).ok();
    drop(server);
    let line = answer
        .stdout
        .lines()
        .rev()
        .find(|l| l.contains("receiver"))
        .expect("a summary");
    let words: Vec<&str> = line.split_whitespace().collect();
    let unit = words
        .iter()
        .position(|w| *w == "Mbits/sec")
        .expect("a rate");
    words[unit - 1].parse().expect("a number")
}

#[test]
#[ignore = "a measurement; takes half a minute and wants a release build"]
fn iperf3_with_and_without() {
    let testbed = Testbed::new();
    let (a, b) = (testbed.host("east"), testbed.host("west"));
    testbed.link("eth1", [(&a, "192.0.2.1/24"), (&b, "192.0.2.2/24")]);
    let plain = mbits(&a, &b, "192.0.2.1", "192.0.2.2", "");
    let east = Gateway::on(&testbed, a, "10.1.0.1/24");
    let west = Gateway::on(&testbed, b, "10.2.0.1/24");
    east.host
        .run("ip route add 10.2.0.0/24 dev ipsec0 src 10.1.0.1")
        .ok();
    west.host
        .run("ip route add 10.1.0.0/24 dev ipsec0 src 10.2.0.1")
        .ok();
    let (e, w) = ("192.0.2.1", "192.0.2.2");
    let (en, wn) = ("10.1.0.0/24", "10.2.0.0/24");
    println!("plain: {plain} Mbit/s");
    for (name, spi, esp) in [
        ("aes-sha1", 0x1000, aes_sha1 as fn(_, _, _) -> _),
        ("3des-md5", 0x2000, tdes_md5),
    ] {
        for gateway in [&east, &west] {
            gateway
                .pfkey()
                .call(pfkey::request::clear_flows)
                .expect("DELFLOW");
            gateway.add(&[tun(e, w, spi, nets(en, wn)), esp(e, w, spi)]);
            gateway.add(&[tun(w, e, spi + 1, nets(wn, en)), esp(w, e, spi + 1)]);
        }
        east.eroute(&nets(en, wn), said(ipsec_types::SaProto::IpIp, spi, w));
        west.eroute(&nets(wn, en), said(ipsec_types::SaProto::IpIp, spi + 1, e));
        for (flows, options) in [("1 flow", ""), ("4 flows", "-P 4")] {
            let rate = mbits(&east.host, &west.host, "10.1.0.1", "10.2.0.1", options);
            println!(
                "{name}, {flows}: {rate} Mbit/s, {:.0}% of plain",
                rate / plain * 100.0
            );
            let stats = east.ctl("get ipsec_spi");
            assert!(stats.contains(&format!("esp0x{spi:x}")), "{stats}");
        }
    }
}
