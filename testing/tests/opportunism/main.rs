//! Gateways whose administrators never met, with real DNS between them: the set-ups of the documentation, and what disturbs them.
//! What policy groups do is in `policies`, many destinations are in `scan`, servers that lie in `dns_lies`,
//! verdicts that stay while they are looked up again in `lasting`.

mod behind_nat;
mod dns_lies;
mod ipv6;
mod lasting;
mod oetest;
mod policies;
mod restart;
mod scan;
mod taken_over;

use std::time::Duration;

use testing::internet::{Internet, Site};
use testing::{Captured, Host, Testbed};

testing::on_both_data_paths!(
    gateways_for_their_subnets,
    one_that_can_only_begin,
    who_nobody_has_said_they_are,
    both_ends_begin_at_once,
    a_key_changes_in_dns,
);

const SETUP: &str = "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file=/etc/ipsec.d/root.key\n";

/// The gateway and its subnet, opportunistic with everybody.
fn full(site: &Site<'_>) -> String {
    format!(
        "{SETUP}\toe=no\n\nconn subnet-to-anyone\n\talso=me-to-anyone\n\tleftsubnet={}\n\nconn me-to-anyone\n\tleft=%defaultroute\n\
         \tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\
         \tkeyingtries=3\n\tauto=route\n",
        site.subnet
    )
}

fn start(site: &Site<'_>, conf: &str) {
    site.gateway.conf(conf);
    site.gateway.run("ipsec setup start").ok();
}

/// What a TXT record says that names this gateway at `address`, with the gateway's key.
fn delegation(site: &Site<'_>, address: &str) -> String {
    let said = site
        .gateway
        .run(&format!("ipsec showhostkey --txt {address}"))
        .ok();
    let mut records = said
        .lines()
        .filter_map(|line| line.split_once("\tIN\tTXT\t"));
    records.next().expect("a record").1.to_owned()
}

/// Round-trip time of one ping in milliseconds; None if there is no answer.
fn ping(from: &Host, to: &str, patience: u32) -> Option<f64> {
    let output = from.run_for(
        &format!("ping -n -c 1 -W {patience} -p 706c61696e746578742120 {to}"),
        Duration::from_secs(60),
    );
    let line = output
        .lines()
        .find(|line| line.contains("time="))?
        .to_owned();
    line.split("time=").nth(1)?.split(' ').next()?.parse().ok()
}

/// Of no ping, question or answer, was anything seen. Other ICMP may be: a name server hears so when its answer is late.
#[track_caller]
fn no_ping_in_the_clear(captured: &Captured, net: &Internet<'_>) {
    let pings = captured.packets("icmp[icmptype] == 8 or icmp[icmptype] == 0");
    assert_eq!(pings, Vec::<String>::new(), "{}", trace(net));
}

fn trace(net: &Internet<'_>) -> String {
    net.sites()
        .iter()
        .map(|site| {
            let status = site
                .gateway
                .run("ipsec auto --status; ipsec eroute; ipsec spi; ip route");
            format!(
                "== {}\n{status}\n{}\n",
                site.gateway.name(),
                site.gateway.log()
            )
        })
        .collect()
}

fn gateways_for_their_subnets() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    for site in net.sites() {
        net.publish_site(site);
    }
    net.commit();
    for site in net.sites() {
        start(site, &full(site));
    }
    let capture = net.public.capture("icmp or esp or udp port 500");
    let sites = net.sites();
    let mut first = Vec::new();
    for (n, from) in sites.iter().enumerate() {
        for (m, to) in sites.iter().enumerate() {
            // Those that have talked already are asked from the other side, which has a tunnel then.
            if n == m {
                continue;
            }
            let time = ping(&from.inside, &to.inside_address, 10);
            let time = time.unwrap_or_else(|| {
                panic!(
                    "{} to {}\n{}",
                    from.inside_address,
                    to.inside_address,
                    trace(&net)
                )
            });
            let again = ping(&from.inside, &to.inside_address, 5);
            let again = again.unwrap_or_else(|| panic!("again\n{}", trace(&net)));
            if n < m {
                first.push((time, again));
            }
        }
    }
    // A gateway speaks for itself too.
    assert!(
        ping(&net.west.gateway, &net.east.inside_address, 10).is_some(),
        "{}",
        trace(&net)
    );
    let captured = capture.stop();
    no_ping_in_the_clear(&captured, &net);
    assert!(!captured.holds(b"plaintext! "));
    assert!(captured.packets("esp").len() >= 48);
    for (time, again) in first {
        println!("first packet {time} ms, later ones {again} ms");
    }
    net.west
        .gateway
        .run("ipsec auto --status")
        .ok()
        .says("\"subnet-to-anyone\"[1] 192.0.1.1/32=== ...192.1.2.23===192.0.2.1/32");
    net.west
        .gateway
        .run("ipsec eroute")
        .ok()
        .says("192.0.1.1/32")
        .says("=> tun0x");
}

/// For itself alone, by this identity.
fn by_name(id: &str) -> String {
    format!(
        "{SETUP}\toe=no\n\nconn me-to-anyone\n\tleft=%defaultroute\n\tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\
         \trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\tkeyingtries=3\n\tleftid={id}\n\tauto=route\n"
    )
}

fn one_that_can_only_begin() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.publish_site(&net.east);
    net.publish_initiator(&net.north);
    net.commit();
    start(&net.east, &full(&net.east));
    start(&net.north, &by_name("@north.example"));
    let capture = net.public.capture("icmp or esp");
    let time = ping(&net.north.gateway, &net.east.inside_address, 10);
    assert!(time.is_some(), "{}", trace(&net));
    let captured = capture.stop();
    no_ping_in_the_clear(&captured, &net);
    assert!(captured.packets("esp").len() >= 2);
    // Nobody can begin with it; what has no key goes in the clear.
    assert!(
        ping(&net.north.gateway, &net.west.inside_address, 10).is_some(),
        "{}",
        trace(&net)
    );
}

/// `%myid` of a host whose name has the key, and of one whose address has it.
fn who_nobody_has_said_they_are() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    net.publish_site(&net.east);
    net.publish_initiator(&net.north);
    net.commit();
    let east = full(&net.east).replace("\tauto=route", "\tleftid=%myid\n\tauto=route");
    for (site, conf) in [(&net.east, east), (&net.north, by_name("%myid"))] {
        let name = site.gateway.name();
        site.gateway.run(&format!("hostname {name}.example")).ok();
        start(site, &conf);
    }
    let capture = net.public.capture("icmp");
    let time = ping(&net.north.gateway, &net.east.inside_address, 10);
    assert!(time.is_some(), "{}", trace(&net));
    no_ping_in_the_clear(&capture.stop(), &net);
    for (site, id) in [
        (&net.east, net.east.address),
        (&net.north, "@north.example"),
    ] {
        site.gateway
            .run("ipsec auto --status")
            .ok()
            .says(&format!("%myid = {id}"));
    }
}

/// Whether a ping was answered, and whether it was seen in the clear.
fn seen(net: &Internet<'_>, from: &Host, to: &str, patience: u32) -> (bool, bool) {
    let capture = net.public.capture(&format!("icmp and host {to}"));
    let answered = ping(from, to, patience).is_some();
    (
        answered,
        !capture.stop().packets("icmp[icmptype] == 8").is_empty(),
    )
}

/// pluto's process, and its memory in KiB, without its file's pages.
fn pluto(host: &Host) -> (String, u64) {
    let said = host
        .run("p=$(head -n 1 /run/pluto/pluto.pid) && echo $p && awk '/RssAnon/ { print $2 }' /proc/$p/status")
        .ok();
    let mut lines = said.lines();
    let pid = lines.next().expect("a process").to_owned();
    let memory = lines.next().and_then(|line| line.trim().parse().ok());
    (pid, memory.expect("a number"))
}

/// West and east have their records.
fn published(testbed: &Testbed) -> Internet<'_> {
    let net = Internet::new(testbed);
    for site in [&net.west, &net.east] {
        net.publish_site(site);
    }
    net.commit();
    net
}

/// And run.
fn two(testbed: &Testbed) -> Internet<'_> {
    let net = published(testbed);
    for site in [&net.west, &net.east] {
        start(site, &full(site));
    }
    net
}

fn both_ends_begin_at_once() {
    let testbed = Testbed::new();
    let net = two(&testbed);
    let capture = net.public.capture("icmp");
    let east = net
        .east
        .inside
        .spawn("exec ping -n -i 0.2 -c 20 -W 10 192.0.1.1 >/run/ping");
    let west = net.west.inside.run_for(
        "ping -n -i 0.2 -c 20 -W 10 192.0.2.1",
        Duration::from_secs(30),
    );
    // What is sent while there is no tunnel yet is held, of each pair the latest.
    let answered = west.lines().filter(|line| line.contains("time=")).count();
    assert!(answered >= 12, "{west}\n{}", trace(&net));
    drop(east);
    assert!(
        ping(&net.west.inside, "192.0.2.1", 5).is_some(),
        "{}",
        trace(&net)
    );
    assert!(
        ping(&net.east.inside, "192.0.1.1", 5).is_some(),
        "{}",
        trace(&net)
    );
    no_ping_in_the_clear(&capture.stop(), &net);
}

fn a_key_changes_in_dns() {
    let testbed = Testbed::new();
    let net = two(&testbed);
    assert!(
        ping(&net.west.inside, "192.0.2.1", 10).is_some(),
        "{}",
        trace(&net)
    );
    net.east
        .gateway
        .run("ipsec setup stop; rm -f /etc/ipsec.secrets")
        .ok();
    net.publish_site(&net.east);
    net.commit();
    net.east.gateway.run("ipsec setup start").ok();
    // It told west that its tunnels are over; records of ten seconds are not believed for longer.
    std::thread::sleep(Duration::from_secs(11));
    let capture = net.public.capture("icmp");
    let time = ping(&net.west.inside, "192.0.2.1", 10);
    assert!(time.is_some(), "{}", trace(&net));
    no_ping_in_the_clear(&capture.stop(), &net);
}
