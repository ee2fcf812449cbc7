//! A gateway that restarts in the middle of opportunistic traffic, without a word or in order. The other one finds a new tunnel by itself,
//! and sends nothing in the clear where its policy forbids that.

use std::time::{Duration, Instant};

use testing::internet::Internet;
use testing::{Background, Capture, Testbed};

use super::{SETUP, full, no_ping_in_the_clear, ping, published, seen, start, trace};

testing::on_both_data_paths!(
    a_gateway_that_dies_is_met_again,
    a_gateway_that_dies_begins_again,
    a_gateway_that_restarts_is_met_again,
    a_closed_policy_stays_closed_during_a_restart,
);

const PING: &str = "ping -n -q -c 1 -W 1 192.0.2.1";

/// West's net may speak to others through tunnels only.
fn private(testbed: &Testbed) -> Internet<'_> {
    let net = published(testbed);
    let closed = "\tfailureshunt=drop\n\tauto=route\n";
    start(
        &net.west,
        &full(&net.west).replace("\tauto=route\n", closed),
    );
    start(&net.east, &full(&net.east));
    assert!(
        ping(&net.west.inside, "192.0.2.1", 10).is_some(),
        "{}",
        trace(&net)
    );
    net
}

fn watched(net: &Internet<'_>) -> (Capture, Background) {
    let capture = net.public.capture("icmp");
    let pings = net
        .west
        .inside
        .spawn("exec ping -n -q -i 0.02 -p 706c61696e746578742120 192.0.2.1");
    (capture, pings)
}

/// Within so many seconds there is a tunnel again, and nothing was seen until then.
fn recovers(net: &Internet<'_>, (capture, pings): (Capture, Background), seconds: u64) {
    let until = Instant::now() + testing::kernel::patience(Duration::from_secs(seconds));
    while net.west.inside.run(PING).status != 0 {
        assert!(Instant::now() < until, "{}", trace(net));
    }
    drop(pings);
    no_ping_in_the_clear(&capture.stop(), net);
}

fn kill_and_start(net: &Internet<'_>) {
    let east = &net.east.gateway;
    east.run("pkill -9 -x 'pluto|klipsd'; sleep 0.3; ipsec setup start")
        .ok();
}

fn a_gateway_that_dies_is_met_again() {
    let testbed = Testbed::new();
    let net = private(&testbed);
    let traffic = watched(&net);
    kill_and_start(&net);
    // East has nothing to say to west: west must find out that nothing comes back.
    recovers(&net, traffic, 140);
}

fn a_gateway_that_dies_begins_again() {
    let testbed = Testbed::new();
    let net = private(&testbed);
    let traffic = watched(&net);
    kill_and_start(&net);
    let _back = net.east.inside.spawn("exec ping -n -q -i 0.5 192.0.1.1");
    recovers(&net, traffic, 25);
}

fn a_gateway_that_restarts_is_met_again() {
    let testbed = Testbed::new();
    let net = private(&testbed);
    let traffic = watched(&net);
    net.east.gateway.run("ipsec setup restart").ok();
    recovers(&net, traffic, 40);
}

fn a_closed_policy_stays_closed_during_a_restart() {
    let testbed = Testbed::new();
    let net = private(&testbed);
    let traffic = watched(&net);
    net.west.gateway.run("ipsec setup restart").ok();
    recovers(&net, traffic, 40);
    net.watch.end("a stop opens what was closed");
    net.west.gateway.run("ipsec setup stop").ok();
    net.west
        .gateway
        .run("ip route show")
        .ok()
        .never_says("noipsec0");
}

#[test]
fn a_closed_policy_stays_closed_while_klips_is_dead() {
    let testbed = Testbed::new();
    let net = private(&testbed);
    let traffic = watched(&net);
    let west = &net.west.gateway;
    west.run("pkill -9 -x 'pluto|klipsd'; sleep 0.5; ipsec setup start")
        .ok();
    recovers(&net, traffic, 40);
}

/// A policy that would let pass is not cut off: by itself, and by groups, where one begins tunnels and one only answers.
#[test]
fn a_passing_policy_passes_while_klips_is_dead() {
    let testbed = Testbed::new();
    let net = published(&testbed);
    let west = &net.west.gateway;
    west.run("mkdir -p /etc/ipsec.d/policies").ok();
    let setup =
        format!("{SETUP}\toe=yes\n\tplutorestartoncrash=no\n\nconn packetdefault\n\tauto=ignore\n");
    let by_itself = full(&net.west).replace(SETUP, &format!("{SETUP}\tplutorestartoncrash=no\n"));
    let south = &net.south.inside_address;
    for (group, conf) in [
        ("", &by_itself),
        ("private-or-clear", &setup),
        ("clear-or-private", &setup),
    ] {
        for name in ["private-or-clear", "clear-or-private"] {
            let blocks = if name == group { "192.0.4.0/24\n" } else { "" };
            west.write(&format!("/etc/ipsec.d/policies/{name}"), blocks);
        }
        start(&net.west, conf);
        // Without a key it goes in the clear, by a shunt.
        assert_eq!(
            seen(&net, west, south, 10),
            (true, true),
            "{group}: {}",
            trace(&net)
        );
        west.run("ipsec eroute | grep %pass").ok();
        west.run("pkill -9 -x 'pluto|klipsd'").ok();
        west.wait_for(
            "! pgrep -x klipsd && ! ip link show ipsec0",
            Duration::from_secs(10),
        );
        assert_eq!(
            seen(&net, west, south, 5),
            (true, true),
            "{group}: {}",
            trace(&net)
        );
        west.run("pgrep -x klipsd").exits(1);
        west.run("ipsec setup stop").ok();
    }
}
