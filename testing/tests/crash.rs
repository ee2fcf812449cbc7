//! A gateway that dies without a word and comes back.

use std::time::Duration;

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

fn comes_back(victims: &str) {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conns = NET_TO_NET.replace("auto=add", "auto=start\n\tkeyingtries=3");
    net.configure("", &conns).start();
    net.west.wait_for(
        "ipsec auto --status | grep -q 'IPsec SA established'",
        Duration::from_secs(30),
    );
    net.sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(10));

    net.east.run(&format!("pkill -9 -x '{victims}'")).ok();
    net.east.run("sleep 0.3; ipsec setup start").ok();
    net.sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(60));
    assert_eq!(
        net.pings(10, "0.1", "ff"),
        10,
        "{}\n{}",
        net.west.log(),
        net.east.log()
    );
}

#[test]
fn a_gateway_killed_and_restarted_has_its_tunnel_back() {
    comes_back("pluto|klipsd");
}

#[test]
fn a_pluto_killed_and_restarted_has_its_tunnel_back() {
    comes_back("pluto");
}

#[test]
fn a_pluto_that_crashes_is_started_again_without_a_hand() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conns = NET_TO_NET.replace("auto=add", "auto=start");
    net.configure("", &conns).start();
    let up = "ipsec auto --status | grep -q 'IPsec SA established'";
    net.west.wait_for(up, Duration::from_secs(30));
    net.east
        .run("pkill -ABRT -x pluto; sleep 0.3; ! pgrep -x pluto")
        .ok();
    net.east.wait_for(up, Duration::from_secs(60));
    net.sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(60));
    // Again: the watcher is still there, and one only.
    net.east
        .run("test $(pgrep -fc 'setup [_]watch') = 1 && pkill -9 -x pluto")
        .ok();
    net.east.wait_for(up, Duration::from_secs(60));

    net.east.run("ipsec setup stop").ok();
    net.east
        .wait_for("! pgrep -f 'setup [_]watch'", Duration::from_secs(10));
    net.configure("\tplutorestartoncrash=no\n", &conns);
    net.east.run("ipsec setup start").ok();
    net.east.run("! pgrep -f 'setup [_]watch'").ok();
}

#[test]
fn nothing_passes_in_the_clear_while_a_dead_pluto_is_replaced() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    let capture = net.public.capture("icmp or esp");
    let pings = net
        .sunset
        .spawn("ping -n -q -i 0.002 -p 706c61696e746578742120 192.0.2.1");
    net.west.run("pkill -9 -x pluto; sleep 0.3").ok();
    net.west.run("ipsec setup start").ok();
    net.up("net-to-net");
    net.sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(10));
    drop(pings);

    let captured = capture.stop();
    assert!(captured.packets("esp").len() >= 100);
    assert_eq!(captured.packets("icmp"), Vec::<String>::new());
    assert!(!captured.holds(b"plaintext! plaintext! "));
}
