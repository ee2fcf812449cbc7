//! DNS that lies, to pluto: it does not crash, what it asks for others does not wait, its memory stays bounded, and what has no key
//! goes as the policy says.

use std::time::{Duration, Instant};

use testing::internet::{ANCHOR, LIAR, Site};
use testing::{Host, Testbed};

use super::{delegation, pluto, published};

testing::on_both_data_paths!(lies_stop_nobody_else);

/// Destinations whose answers are lies of each kind, as `dns-liar` has them: none of them has a key.
const LIES: [u8; 15] = [2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14, 15, 18, 19, 20];

/// What pluto may have in KiB after lies that it had not after the same lies under other names.
const SLACK: u64 = 1024;

fn start(site: &Site<'_>) {
    site.gateway.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file={ANCHOR}\n\n\
         conn subnet-to-anyone\n\tleft=%defaultroute\n\tleftsubnet={}\n\tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\
         \trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\tauto=route\n",
        site.subnet
    ));
    site.gateway.run("ipsec setup start").ok();
}

/// A packet to each of these destinations.
fn knock(host: &Host, hosts: impl IntoIterator<Item = u8>) {
    let sends: String = hosts
        .into_iter()
        .map(|n| format!("echo anybody >/dev/udp/192.0.9.{n}/9; "))
        .collect();
    host.run(&format!("bash -c '{sends}'")).ok();
}

/// The least that it takes within the time in which it tidies up twice.
fn settled(host: &Host) -> u64 {
    let until = Instant::now() + Duration::from_secs(65);
    let mut least = u64::MAX;
    while Instant::now() < until {
        least = least.min(pluto(host).1);
        std::thread::sleep(Duration::from_secs(1));
    }
    least
}

/// Whether every one of these destinations has got a shunt, and none waits any more. Records that are wrong deny.
fn decided(count: usize) -> String {
    format!(
        "test $(ipsec eroute | grep -cE '192.0.9.[0-9]*/32 .*=> %(pass|drop)') -ge {count} && ! ipsec eroute | grep -q '192.0.9.*%hold'"
    )
}

fn lies_stop_nobody_else() {
    let testbed = Testbed::new();
    let net = published(&testbed);
    let txt = delegation(&net.east, "192.1.2.23");
    net.publish(&format!("2.2.0.192.in-addr.arpa. IN TXT {txt}\n"));
    net.commit();
    let _liar = net.start_liar("");
    let west = &net.west.gateway;
    net.introduce(west, LIAR);
    net.east
        .inside
        .run("ip addr add 192.0.2.2/32 dev eth0")
        .ok();
    for site in [&net.west, &net.east] {
        start(site);
    }
    // One tunnel, so that what is loaded once is loaded.
    let ping = |to: &str| {
        let pinged = net.west.inside.run(&format!("ping -n -c 1 -W 20 {to}"));
        assert_eq!(pinged.status, 0, "{pinged}{}", west.log());
    };
    ping("192.0.2.1");
    let (process, before) = pluto(west);

    // Each kind of lie, and many names whose server is silent; then a destination that has a key.
    knock(&net.west.inside, LIES.into_iter().chain(100..200));
    ping("192.0.2.2");
    west.run("ipsec eroute")
        .ok()
        .says("192.0.2.2/32       => tun0x");
    let waiting = west.run("ipsec eroute | grep -c '192.0.9.*%hold'");
    let waiting: usize = waiting.stdout.trim().parse().expect("a count");
    assert!(waiting >= 70, "{waiting} were still asked for meanwhile");
    west.wait_for(&decided(LIES.len() + 100), Duration::from_secs(120));
    let status = west.run("ipsec auto --status").ok();
    for (destination, reason) in [
        (4, "name servers failed to answer"),
        (5, "lead in a circle"),
        (8, "too big"),
        (12, "failed to answer"),
        (13, "refuse to answer"),
        (20, "no TXT"),
    ] {
        let start = format!("192.0.9.{destination}/32:0 => %pass");
        let mut lines = status.lines().filter(|line| line.contains(&start));
        let line = lines.next().unwrap_or_else(|| panic!("{start}: {status}"));
        assert!(line.contains(reason), "{reason:?} is not in {line}");
    }
    // Answers of 64 kB and of 201 records, which want to be remembered for an hour.
    knock(&net.west.inside, (40..55).chain(70..85));
    west.wait_for(&decided(30), Duration::from_secs(60));
    let first = settled(west);

    // The same again under other names.
    knock(&net.west.inside, (200..250).chain(55..70).chain(85..100));
    west.wait_for(&decided(30 + 50), Duration::from_secs(60));
    let (same, most) = pluto(west);
    let second = settled(west);
    println!(
        "pluto: {before} KiB before, {first} KiB after lies, {second} KiB after others, {most} KiB at once"
    );
    assert_eq!(same, process);
    assert!(
        second < first + SLACK,
        "{before} KiB before, {first} KiB after lies, {second} KiB after as many others"
    );
    ping("192.0.2.1");
    ping("192.0.2.2");
}
