//! `ipsec opportunism`: on, with the records that it prints, status, and off, with real name servers.

use std::time::Duration;

use testing::internet::{ANCHOR, Internet};
use testing::{Host, Output, Testbed};

testing::on_both_data_paths!(on_and_off_again);

const OWN: &str = "45.2.1.192.in-addr.arpa.";
const FILE: &str = "/etc/ipsec.d/policies/private-or-clear";

/// A stranger who takes part, with its subnet.
fn stranger(net: &Internet<'_>) {
    net.publish_site(&net.east);
    net.commit();
    let east = &net.east.gateway;
    east.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file={ANCHOR}\n\n\
         conn subnet-to-anyone\n\tleft=%defaultroute\n\tleftsubnet={}\n\tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\
         \trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\tauto=route\n",
        net.east.subnet
    ));
    east.run("ipsec setup start").ok();
}

/// The lines that are to be published.
fn records(said: &Output) -> Vec<String> {
    let start = format!("{OWN}\tIN\t");
    let (_, block) = said
        .stdout
        .split_once("Records to publish")
        .expect("records");
    let lines = block.lines().filter(|line| line.starts_with(&start));
    lines.map(str::to_owned).collect()
}

/// Whether a ping was answered, and whether it was seen in the clear.
fn seen(net: &Internet<'_>, from: &Host, to: &str) -> (bool, bool) {
    let capture = net.public.capture(&format!("icmp and host {to}"));
    let pinged = from.run_for(&format!("ping -n -c 1 -W 8 {to}"), Duration::from_secs(30));
    let clear = capture.stop().packets("icmp[icmptype] == 8");
    (pinged.status == 0, !clear.is_empty())
}

fn on_and_off_again() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    stranger(&net);
    let west = &net.west.gateway;
    west.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=%defaultroute\n\tdnssec-rootkey-file={ANCHOR}\n"
    ));
    west.run("mkdir -p /etc/ipsec.d/policies").ok();
    west.write(FILE, "# mine\n");
    west.run("ipsec opportunism on")
        .exits(1)
        .says("ipsec newhostkey --output /etc/ipsec.secrets");
    net.make_key(&net.west);
    let said = west.run("ipsec opportunism on").exits(1);
    let lines = records(&said);
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(west.read(FILE), "# mine\n");
    west.run("ipsec opportunism status")
        .exits(3)
        .says("Opportunism is off");

    net.publish(&lines.join("\n"));
    net.commit();
    west.run("ipsec opportunism on")
        .ok()
        .says("Opportunism is on")
        .never_says("[FAILED]");
    let trace = || {
        format!(
            "{}\n{}",
            west.run("ipsec auto --status; ipsec eroute; ip route"),
            west.log()
        )
    };
    assert_eq!(seen(&net, west, "192.0.2.1"), (true, false), "{}", trace());
    assert_eq!(seen(&net, west, "192.0.4.1"), (true, true), "{}", trace());
    let status = west.run("ipsec opportunism status").ok();
    for line in [
        "Opportunism is on (0.0.0.0/0 private-or-clear, ::/0 private-or-clear).",
        "This host is     192.1.2.45",
        "Now              1 encrypted, 1 in the clear, 0 dropped",
        "In the clear     1: no key in DNS",
        "192.1.2.23===192.0.2.1/32",
        "1 Main Modes begun",
    ] {
        status.clone().says(line);
    }
    assert!(status.lines().count() <= 24, "{status}");

    // Once more changes nothing, and a restart neither.
    west.run("ipsec opportunism on").ok();
    assert_eq!(west.read(FILE), "# mine\n0.0.0.0/0\n::/0\n");
    west.run("ipsec setup restart").ok();
    assert_eq!(seen(&net, west, "192.0.2.1"), (true, false), "{}", trace());

    west.run("ipsec opportunism off")
        .ok()
        .says("Opportunism is off");
    assert_eq!(west.read(FILE), "# mine\n");
    west.run("ipsec eroute").ok().never_says("192.");
    west.run("ip route; ip -6 route")
        .ok()
        .never_says("ipsec0 scope")
        .never_says("128.0.0.0/1")
        .never_says("192.0.2.1");
    west.run("ipsec auto --status")
        .ok()
        .never_says("packetdefault")
        .never_says("private");
    west.run("ipsec opportunism status").exits(3);
    assert_eq!(seen(&net, west, "192.0.4.1"), (true, true), "{}", trace());
    west.run("ipsec opportunism off").ok().says("was off");

    // On, while IPsec runs.
    west.run("ipsec opportunism on").ok();
    assert_eq!(seen(&net, west, "192.0.2.1"), (true, false), "{}", trace());

    // What stands against it is named.
    west.run("ipsec opportunism off").ok();
    west.write("/etc/ipsec.d/policies/clear", "0.0.0.0/0\n");
    west.run("ipsec opportunism on")
        .exits(1)
        .says("/etc/ipsec.d/policies/clear has 0.0.0.0/0, which would win: take it out");
    west.run("rm /etc/ipsec.d/policies/clear").ok();
    west.conf("version 2.0\n\nconfig setup\n\toe=no\n");
    west.run("ipsec opportunism on")
        .exits(1)
        .says("oe=no in config setup");
    west.run("ipsec opportunism maybe").exits(2).says("Usage:");
}
