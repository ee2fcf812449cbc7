//! A gateway that dies without a word and comes back.

use std::time::Duration;

use testing::{Background, Capture, Gateways, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    a_gateway_killed_and_restarted_has_its_tunnel_back,
    a_pluto_killed_and_restarted_has_its_tunnel_back,
    a_route_that_goes_takes_its_last_resort_along,
    nothing_passes_in_the_clear_while_a_dead_pluto_is_replaced,
    nothing_passes_in_the_clear_during_a_restart,
    a_daemon_that_crashes_is_started_again_without_a_hand,
);

const UP: &str = "ipsec auto --status | grep -q 'IPsec SA established'";

const PING: &str = "ping -n -q -c 1 -W 1 192.0.2.1";

/// Pings from sunset every so many seconds, and what passes between the gateways meanwhile.
struct Watched(Capture, Background);

impl Watched {
    fn start(net: &Gateways, interval: &str) -> Watched {
        let capture = net.public.capture("icmp or esp");
        let ping = format!("ping -n -q -i {interval} -p 706c61696e746578742120 192.0.2.1");
        Watched(capture, net.sunset.spawn(&ping))
    }

    /// Ends once a ping passes: all of them were in ESP, of which there were as many, or nowhere.
    fn all_in_esp(self, net: &Gateways, at_least: usize) {
        net.sunset.wait_for(PING, Duration::from_secs(10));
        let Watched(capture, pings) = self;
        drop(pings);
        let captured = capture.stop();
        assert!(captured.packets("esp").len() >= at_least);
        assert_eq!(captured.packets("icmp"), Vec::<String>::new());
        assert!(!captured.holds(b"plaintext! plaintext! "));
    }
}

fn comes_back(victims: &str) {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conns = NET_TO_NET.replace("auto=add", "auto=start\n\tkeyingtries=3");
    net.configure("", &conns).start();
    net.west.wait_for(UP, Duration::from_secs(30));
    net.sunset.wait_for(PING, Duration::from_secs(10));

    net.east.run(&format!("pkill -9 -x '{victims}'")).ok();
    net.east.run("sleep 0.3; ipsec setup start").ok();
    net.sunset.wait_for(PING, Duration::from_secs(60));
    assert_eq!(
        net.pings(10, "0.1", "ff"),
        10,
        "{}\n{}",
        net.west.log(),
        net.east.log()
    );
}

fn a_gateway_killed_and_restarted_has_its_tunnel_back() {
    comes_back("pluto|klipsd");
}

#[test]
fn a_klipsd_killed_and_restarted_has_its_tunnel_back() {
    comes_back("klipsd");
}

fn a_pluto_killed_and_restarted_has_its_tunnel_back() {
    comes_back("pluto");
}

fn a_daemon_that_crashes_is_started_again_without_a_hand() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conns = NET_TO_NET.replace("auto=add", "auto=start");
    net.configure("", &conns);
    net.west.run("ipsec setup start").ok();
    // The watcher is elsewhere, and must find the file all the same.
    net.east
        .run("cd /etc && mv ipsec.conf mine.conf && ipsec setup --config mine.conf start")
        .ok();
    net.east
        .run("test $(readlink /proc/$(pgrep -o -f 'setup [_]watch')/cwd) = /")
        .ok();
    net.west.wait_for(UP, Duration::from_secs(30));
    net.east
        .run("pkill -ABRT -x pluto; sleep 0.3; ! pgrep -x pluto")
        .ok();
    net.east.wait_for(UP, Duration::from_secs(60));
    net.sunset.wait_for(PING, Duration::from_secs(60));
    // Again: the watcher is still there, and one only.
    net.east.wait_for(
        "test $(pgrep -fc 'setup [_]watch') = 1 && pkill -9 -x pluto",
        Duration::from_secs(10),
    );
    net.east.wait_for(UP, Duration::from_secs(60));

    if net.east.run("pgrep -x klipsd").status == 0 {
        net.east
            .run("pkill -9 -x klipsd; sleep 0.3; ! ip link show ipsec0")
            .ok();
    }
    net.sunset.wait_for(PING, Duration::from_secs(60));

    net.east.run("ipsec setup stop").ok();
    net.east
        .wait_for("! pgrep -f 'setup [_]watch'", Duration::from_secs(10));
    net.configure("\tplutorestartoncrash=no\n", &conns);
    net.east.run("ipsec setup start").ok();
    net.east
        .run("pkill -9 -x pluto; sleep 3; ! pgrep -x pluto")
        .ok();
}

#[test]
fn nothing_passes_in_the_clear_while_klips_is_dead() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    let watched = Watched::start(&net, "0.01");
    net.west
        .run("pkill -9 -x 'pluto|klipsd'; sleep 0.5; ! ip link show ipsec0")
        .ok();
    net.west.run("ipsec setup start").ok();
    net.up("net-to-net");
    watched.all_in_esp(&net, 20);

    // What is stopped on purpose is open again, even after a crash.
    net.west
        .run("pkill -9 -x 'pluto|klipsd'; ip route show type blackhole")
        .ok()
        .says("192.0.2.0/24");
    net.watch.end("a stop opens what was closed");
    net.west.run("ipsec setup stop").ok();
    net.west
        .run("ip route show type blackhole")
        .ok()
        .never_says("192.0.2.0/24");
    net.west.run("ipsec setup start && ipsec setup stop").ok();
}

fn a_route_that_goes_takes_its_last_resort_along() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    let blackholes = "ip route show type blackhole";
    net.west.run(blackholes).ok().says("192.0.2.0/24");
    net.west
        .run("ipsec auto --down net-to-net && ipsec auto --delete net-to-net")
        .ok();
    net.west.run(blackholes).ok().never_says("192.0.2.0/24");
}

#[test]
fn the_last_resort_never_cuts_off_the_peer_itself() {
    let testbed = Testbed::new();
    let host = testbed.host("west");
    host.run(
        "ip link add eth1 type veth peer name wire1 && ip link set wire1 up && ip addr add 192.1.2.45/24 dev eth1 && ip link set eth1 up",
    )
    .ok();
    host.run("ip route add default via 192.1.2.254 && ip link add ipsec0 type veth peer name wire0 && ip link set wire0 up && ip link set ipsec0 up")
        .ok();
    let route = |peer: &str| {
        host.run(&format!(
            "PLUTO_VERSION=1.1 PLUTO_VERB=route-client PLUTO_INTERFACE=ipsec0 PLUTO_NEXT_HOP=192.1.2.254 \
             PLUTO_PEER={peer} PLUTO_PEER_CLIENT=0.0.0.0/0 ipsec _updown"
        ))
        .ok();
        host.run("ip link del ipsec0 && ip link add ipsec0 type veth peer name wire0 && ip link set wire0 up && ip link set ipsec0 up")
            .ok();
        host.run(&format!("ip route get {peer}"))
    };
    // Beyond the default route, it is within 0.0.0.0/0 itself.
    route("203.0.113.9").ok().says("via 192.1.2.254");
    host.run("ip route show type blackhole")
        .ok()
        .never_says("blackhole");
    // On the link it has a route of its own.
    route("192.1.2.23").ok().says("dev eth1");
    // The gateway's own packets are no part of it, and what is forwarded goes nowhere.
    let own = "ip route get 203.0.113.9";
    host.run(own).ok().says("via 192.1.2.254");
    let forwarded = format!("{own} from 192.0.1.1 iif eth1");
    host.run("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/eth1/rp_filter")
        .ok();
    host.run(&forwarded).fails();
    host.run("ip route flush table 250").ok();
    host.run(&forwarded).ok().says("via 192.1.2.254");
}

fn nothing_passes_in_the_clear_while_a_dead_pluto_is_replaced() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    let watched = Watched::start(&net, "0.002");
    net.west.run("pkill -9 -x pluto; sleep 0.3").ok();
    net.west.run("ipsec setup start").ok();
    net.up("net-to-net");
    watched.all_in_esp(&net, 100);
}

fn nothing_passes_in_the_clear_during_a_restart() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", &NET_TO_NET.replace("auto=add", "auto=start"));
    net.start().west.wait_for(UP, Duration::from_secs(30));
    let watched = Watched::start(&net, "0.002");
    net.west.run("ipsec setup restart").ok();
    net.west
        .run("ip route show type blackhole")
        .ok()
        .never_says("metric 65534");
    net.west.wait_for(UP, Duration::from_secs(30));
    watched.all_in_esp(&net, 100);

    // A restart that finds no device opens nothing either; stopping does.
    net.west
        .run("sed -i 's/interfaces=.*/interfaces=\"ipsec0=nowhere0\"/' /etc/ipsec.conf && ipsec setup restart")
        .exits(150);
    let blackholes = "ip route show type blackhole";
    net.west.run(blackholes).ok().says("192.0.2.0/24");
    net.watch.end("a stop opens what was closed");
    net.west.run("ipsec setup stop").ok();
    net.west.run(blackholes).ok().never_says("192.0.2.0/24");
}
