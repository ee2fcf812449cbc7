//! Packets as the stack likes to hand them to klips.ko: many in one and to be cut, in pieces, without their checksums, shared with
//! those who watch. What was sent arrives.

use std::time::Duration;

use testing::{Gateways, Host, Keys, Testbed};

testing::on_klips_ko!(streams_that_are_watched, big_datagrams, without_offloads,);

const MEGABYTES: u32 = 2;

/// Sends random data by TCP, and compares what arrived.
fn stream(from: &Host, source: &str, to: &Host, destination: &str) {
    let server = to.spawn(&format!("nc -l {destination} 9999 | sha256sum"));
    to.wait_for("ss -ltn | grep -q :9999", Duration::from_secs(20));
    let send = format!(
        "head -c {MEGABYTES}M /dev/urandom >/run/data && nc -N -s {source} {destination} 9999 </run/data && sha256sum </run/data"
    );
    let sent = from.run_for(&send, Duration::from_secs(100)).ok().stdout;
    assert_eq!(server.finish(), sent, "{source} to {destination}");
    for host in [from, to] {
        let errors = "nstat -asz TcpInCsumErrors UdpInCsumErrors IpReasmFails | grep -E '[1-9][0-9]* +[0-9.]+$'";
        host.run(errors).fails();
    }
}

fn all_streams(net: &Gateways) {
    stream(&net.sunset, "192.0.1.1", &net.sunrise, "192.0.2.1");
    stream(&net.sunrise, "192.0.2.1", &net.sunset, "192.0.1.1");
    // The gateway's own, which no other host has cut or summed.
    stream(&net.west, "192.0.1.254", &net.sunrise, "192.0.2.1");
    stream(&net.sunrise, "192.0.2.1", &net.west, "192.0.1.254");
}

/// How many packets longer than this the gateway saw on ipsec0.
fn longer_than(gateway: &Host, length: u32) -> usize {
    let read = format!("tcpdump -n -r /run/ipsec0.pcap 'greater {length}' 2>/dev/null | wc -l");
    gateway
        .run(&read)
        .ok()
        .stdout
        .trim()
        .parse()
        .expect("a count")
}

fn streams_that_are_watched() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    let mut watchers = Vec::new();
    for gateway in [&net.west, &net.east] {
        for device in ["ipsec0", "eth1"] {
            watchers.push(gateway.spawn(&format!(
                "exec tcpdump -n -U -s 100 -i {device} -w /run/{device}.pcap 2>/run/{device}.log"
            )));
            gateway.wait_for(
                &format!("grep -q listening /run/{device}.log"),
                Duration::from_secs(20),
            );
        }
    }
    all_streams(&net);
    drop(watchers);
    // Else this test has shown nothing: what came from sunset, and what is west's own, came to ipsec0 uncut.
    assert!(
        longer_than(&net.west, 3000) > 10,
        "{}",
        net.west.run("tcpdump -n -r /run/ipsec0.pcap | head -50")
    );
    net.west
        .run("tcpdump -n -r /run/eth1.pcap tcp | grep -q .")
        .fails();
    let counts = net.west.run(
        "cat /sys/class/net/ipsec0/statistics/tx_errors /sys/class/net/ipsec0/statistics/rx_errors",
    );
    assert_eq!(counts.stdout, "0\n0\n");
}

/// Bigger than the wire takes, and smaller than ipsec0 does: the stack hands them over in one, in pieces of memory.
fn big_datagrams() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    for (host, source, destination) in [
        (&net.west, "192.0.1.254", "192.0.2.1"),
        (&net.sunset, "192.0.1.1", "192.0.2.1"),
        (&net.sunrise, "192.0.2.1", "192.0.1.254"),
    ] {
        for size in [0, 1, 63, 1300, 1400, 1430, 1472, 4000, 15000] {
            let ping = format!(
                "ping -n -q -c 3 -i 0.05 -W 5 -M dont -p a5 -s {size} -I {source} {destination}"
            );
            host.run(&ping).ok().says(" 0% packet loss");
        }
    }
}

/// An administrator switched off what ipsec0 offers: then the stack cuts, joins and sums.
fn without_offloads() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    for gateway in [&net.west, &net.east] {
        gateway
            .run("ethtool -K ipsec0 tx off sg off gso off gro off")
            .ok();
        gateway
            .run("ethtool -k ipsec0 | grep -q 'generic-segmentation-offload: off'")
            .ok();
    }
    all_streams(&net);
}
