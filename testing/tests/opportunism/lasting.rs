//! What stands without a tunnel stays while it is used, whatever DNS does; and what a gateway refuses is decided at once.

use std::time::Duration;

use testing::internet::Internet;
use testing::{Host, Testbed};

use super::{SETUP, delegation, full, ping, published, seen, start, trace};

testing::on_both_data_paths!(
    h8_a_verdict_ends_under_traffic,
    h8_a_dead_resolver_stops_no_flow,
    h4_h6_what_is_refused_is_decided_at_once,
);

/// East's hosts without records.
const NOBODY: [&str; 3] = ["192.0.2.5", "192.0.2.6", "192.0.2.7"];

/// West talks to everybody, and asks as often as `conn %default` of the sample file says.
fn west(net: &Internet<'_>, failure: &str) {
    for address in NOBODY {
        net.east
            .inside
            .run(&format!("ip addr add {address}/32 dev eth0"))
            .ok();
    }
    start(&net.east, &full(&net.east));
    let conf = format!(
        "{SETUP}\toe=no\n\nconn %default\n\tkeyingtries=%forever\n\nconn me-to-anyone\n\tleft=%defaultroute\n\
         \tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\
         \tfailureshunt={failure}\n\tauto=route\n"
    );
    start(&net.west, &conf);
}

/// Pings ten times a second until they are stopped; how many were lost comes of that.
fn flow(from: &Host, to: &str, seconds: u32, meanwhile: impl FnOnce()) -> String {
    let count = seconds * 10;
    let pings = from.spawn(&format!(
        "exec ping -n -q -i 0.1 -c {count} {to} >/run/flow"
    ));
    meanwhile();
    let patience = Duration::from_secs(u64::from(seconds) + 30);
    from.wait_for("grep -q 'packet loss' /run/flow", patience);
    drop(pings);
    from.read("/run/flow")
}

/// A record that is not there is not there for a minute: its shunt ends twice.
fn h8_a_verdict_ends_under_traffic() {
    let testbed = Testbed::new();
    let net = published(&testbed);
    west(&net, "passthrough");
    let west = &net.west.gateway;
    assert!(ping(west, NOBODY[0], 10).is_some(), "{}", trace(&net));
    let said = flow(west, NOBODY[0], 140, || {});
    assert!(said.contains(" 0% packet loss"), "{said}\n{}", trace(&net));
    // What nobody uses goes.
    let gone = format!("! ipsec eroute | grep -q '{}/32'", NOBODY[0]);
    west.wait_for(&gone, Duration::from_secs(130));
}

fn h8_a_dead_resolver_stops_no_flow() {
    let testbed = Testbed::new();
    let net = published(&testbed);
    west(&net, "passthrough");
    let west = &net.west.gateway;
    assert!(ping(west, NOBODY[0], 10).is_some(), "{}", trace(&net));
    let said = flow(west, NOBODY[0], 150, || {
        net.silence_resolver(true);
        // One wait, of three seconds; the next destination has none.
        let first = ping(west, NOBODY[1], 5).unwrap_or_else(|| panic!("{}", trace(&net)));
        let second = ping(west, NOBODY[2], 5).unwrap_or_else(|| panic!("{}", trace(&net)));
        assert!(second < first, "{first} ms, then {second} ms");
        west.run("ipsec auto --status").ok().says(&format!(
            "{}/32:0 => %pass 0    DNS does not answer",
            NOBODY[2]
        ));
        println!("first destination {first} ms, second {second} ms");
    });
    assert!(said.contains(" 0% packet loss"), "{said}\n{}", trace(&net));
    net.silence_resolver(false);
    // Whoever has a key gets the tunnel again.
    west.wait_for(
        "ping -n -q -c 1 -W 1 192.0.2.1 && ipsec eroute | grep -q '192.0.2.1/32 .*tun0x'",
        Duration::from_secs(100),
    );
}

/// North's host has a record that names east, which does not speak for it.
fn h4_h6_what_is_refused_is_decided_at_once() {
    for (failure, expected) in [("passthrough", (true, true)), ("drop", (false, false))] {
        let testbed = Testbed::new();
        let net = published(&testbed);
        let east = delegation(&net.east, "192.1.2.23");
        net.publish(&format!("{} IN TXT {east}\n", net.owner_of("192.0.3.1")));
        net.commit();
        west(&net, failure);
        let west = &net.west.gateway;
        let got = seen(&net, west, "192.0.3.1", 4);
        assert_eq!(got, expected, "{failure}\n{}", trace(&net));
        let shunt = if expected.0 { "%pass" } else { "%drop" };
        west.run("ipsec auto --status").ok().says(&format!(
            "192.0.3.1/32:0 => {shunt} 0    negotiation with gateway"
        ));
        // East is not dead for others.
        assert!(ping(west, "192.0.2.1", 4).is_some(), "{}", trace(&net));
        west.run("ipsec eroute")
            .ok()
            .says("192.0.2.1/32       => tun0x");
    }
}
