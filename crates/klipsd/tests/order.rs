//! No SA's packets leave klipsd out of order, however many threads seal them and however many flows they are of.

mod common;

use std::time::Duration;

use common::*;
use ipsec_types::SaProto;
use pfkey::request::SaParams;
use testing::Testbed;

/// The narrowest replay window that a receiver may have (RFC 4303 section 3.4.3), and strongSwan's.
const WINDOW: u8 = 32;

fn sa(src: &str, dst: &str, spi: u32) -> SaParams<'static> {
    SaParams {
        replay: WINDOW,
        ..aes_sha1(src, dst, spi)
    }
}

/// A counter of one SA, as `ipsec spi` shows it; what is zero is not shown.
fn counter(gateway: &Gateway, said: &str, name: &str) -> u64 {
    let all = gateway.ctl("get ipsec_spi");
    let line = all.lines().find(|line| line.starts_with(said));
    let line = line.unwrap_or_else(|| panic!("{said} is not in {all}"));
    let mut words = line.split_whitespace();
    words
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .unwrap_or(0)
}

#[test]
fn e1_sixteen_flows_by_four_threads_arrive_within_a_window_of_32() {
    let testbed = Testbed::new();
    let (a, b) = (testbed.host("east"), testbed.host("west"));
    testbed.link("eth1", [(&a, "192.0.2.1/24"), (&b, "192.0.2.2/24")]);
    let (e, w) = ("192.0.2.1", "192.0.2.2");
    let (en, wn) = ("10.1.0.0/24", "10.2.0.0/24");
    let options = "--workers 4 --loglevel warn";
    let east = Gateway::with(&testbed, a, "10.1.0.1/24", options);
    let west = Gateway::with(&testbed, b, "10.2.0.1/24", options);
    for gateway in [&east, &west] {
        gateway.add(&[tun(e, w, 0x1000, nets(en, wn)), sa(e, w, 0x1001)]);
        gateway.add(&[tun(w, e, 0x2000, nets(wn, en)), sa(w, e, 0x2001)]);
    }
    east.eroute(&nets(en, wn), said(SaProto::IpIp, 0x1000, w));
    west.eroute(&nets(wn, en), said(SaProto::IpIp, 0x2000, e));
    let route = "ip route add 10.2.0.0/24 dev ipsec0 src 10.1.0.1";
    east.host.run(route).ok();
    let route = "ip route add 10.1.0.0/24 dev ipsec0 src 10.2.0.1";
    west.host.run(route).ok();

    // Many flows of large frames each way, then of small packets.
    let server = west.host.spawn("exec iperf3 -s -B 10.2.0.1");
    let listens = "ss -tln | grep -q 10.2.0.1:5201";
    west.host.wait_for(listens, Duration::from_secs(5));
    for options in ["-t 3", "-t 2 -R", "-t 2 -u -b 4M -l 64"] {
        let run = format!("iperf3 -c 10.2.0.1 -B 10.1.0.1 -P 16 {options}");
        east.host.run(&run).ok();
    }
    drop(server);

    for (gateway, esp) in [
        (&west, "esp0x1001@192.0.2.2"),
        (&east, "esp0x2001@192.0.2.1"),
    ] {
        let seen = counter(gateway, esp, "seq");
        assert!(seen > 1000, "only {seen} packets by {esp}");
        assert_eq!(
            counter(gateway, esp, "ooo_errs"),
            0,
            "{}",
            gateway.ctl("get ipsec_spi")
        );
    }
}
