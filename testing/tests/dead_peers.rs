//! A peer that freezes, dies, is booted again or gets another address is found dead, and done with as configured.

use std::time::Duration;

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    a_frozen_peer_is_held_for_and_comes_back_by_traffic,
    a_killed_peer_is_cleared,
    a_rebooted_peer_is_met_anew,
    a_peer_that_got_another_address_is_met_there,
    a_tunnel_in_use_is_not_asked_after,
    g12_a_peer_that_dropped_its_sas_and_deletes_the_isakmp_sa_alone,
    g12_a_peer_that_kept_its_sas_and_deletes_the_isakmp_sa_alone,
    g12_a_peer_that_lives_and_has_dropped_its_sas,
);

/// Asked after 2 s, dead after 6 s.
fn watched(action: &str) -> String {
    format!("{NET_TO_NET}\tdpddelay=2s\n\tdpdtimeout=6s\n\tdpdaction={action}\n")
}

/// dpdtimeout, one more question, and what a loaded machine takes.
const DEAD: Duration = Duration::from_secs(20);

fn tunnel<'a>(testbed: &'a Testbed, action: &str) -> Gateways<'a> {
    let net = Gateways::new(testbed, Keys::Psk);
    net.configure("", &watched(action)).start();
    net.up("net-to-net");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    net
}

fn a_frozen_peer_is_held_for_and_comes_back_by_traffic() {
    let testbed = Testbed::new();
    let net = tunnel(&testbed, "hold");
    net.east.run("pkill -STOP -x 'pluto|klipsd'").ok();
    net.west.wait_for("ipsec eroute | grep -q %trap", DEAD);
    let log = net.west.log();
    assert!(
        log.contains("DPD: no response from peer - declaring peer dead"),
        "{log}"
    );
    net.east.run("pkill -CONT -x 'pluto|klipsd'").ok();
    net.sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(60));
    net.west.run("ipsec eroute").ok().says("=> tun0x");
}

fn a_killed_peer_is_cleared() {
    let testbed = Testbed::new();
    let net = tunnel(&testbed, "clear");
    net.east.run("pkill -9 -x 'pluto|klipsd'").ok();
    net.west
        .wait_for("! ipsec eroute | grep -q 192.0.2.0", DEAD);
    net.west
        .run("ip route show 192.0.2.0/24")
        .ok()
        .never_says("ipsec0");
    net.west
        .run("ipsec auto --status")
        .ok()
        .never_says("STATE_")
        .says("dpd: action:clear; delay:2; timeout:6;");
}

fn a_rebooted_peer_is_met_anew() {
    let testbed = Testbed::new();
    let net = tunnel(&testbed, "restart");
    net.east
        .run("pkill -9 -x 'pluto|klipsd'; while pgrep -x 'pluto|klipsd'; do sleep 0.1; done")
        .ok();
    // It is up again before west has noticed, and knows nothing of the tunnel.
    net.east.run("ipsec setup start").ok();
    net.sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", DEAD + DEAD);
    let log = net.west.log();
    assert!(log.contains("DPD: restarting connection"), "{log}");
}

fn a_peer_that_got_another_address_is_met_there() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let secret = ": PSK \"a secret for everybody on the road\"\n";
    let conf = |left: &str, dpd: &str| {
        format!(
            "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n\nconn road\n\tleft={left}\n\tleftid=@west\n\
             \tleftsubnet=192.0.1.0/24\n\tleftnexthop=192.1.2.254\n\tright=192.1.2.23\n\trightid=@east\n\
             \trightsubnet=192.0.2.0/24\n\trightnexthop=192.1.2.254\n\tauthby=secret\n\tauto=add\n{dpd}"
        )
    };
    let dpd = "\tdpddelay=2s\n\tdpdtimeout=6s\n\tdpdaction=clear\n";
    net.west.conf(&conf("192.1.2.45", "")).secrets(secret);
    net.east.conf(&conf("%any", dpd)).secrets(secret);
    net.start();
    net.up("road");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    // West moves without a word.
    net.west
        .run("pkill -9 -x 'pluto|klipsd'; ip addr flush dev eth1 && ip addr add 192.1.2.46/24 dev eth1 && ip route replace default via 192.1.2.254")
        .ok();
    net.east.wait_for(
        "! ipsec auto --status | grep -q '\"road\".1. 192.1.2.45'",
        DEAD,
    );
    net.west.conf(&conf("192.1.2.46", ""));
    net.west.run("ipsec setup stop; ipsec setup start").ok();
    net.up("road");
    assert_eq!(net.pings(3, "0.1", "ff"), 3, "{}", net.east.log());
}

fn a_tunnel_in_use_is_not_asked_after() {
    let testbed = Testbed::new();
    let net = tunnel(&testbed, "clear");
    let busy = net.sunset.spawn("ping -n -q -i 0.2 -w 13 192.0.2.1");
    net.west.run("sleep 3").ok();
    let capture = net.public.capture("udp port 500");
    net.west.run("sleep 8").ok();
    let asked = capture.stop().packets("udp port 500");
    assert_eq!(asked, Vec::<String>::new());
    busy.finish();
    let capture = net.public.capture("udp port 500");
    net.west.run("sleep 10").ok();
    assert!(capture.stop().packets("udp port 500").len() >= 4);
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
}

/// Two words to KLIPS, and none to pluto.
const DROP_SAS: &str = "ipsec eroute --clear && ipsec spi --clear";
/// Tells the peer of the ISAKMP SA, and of nothing else.
const DELETE_ISAKMP: &str = "number=$(ipsec auto --status | sed -n 's/^000 #\\([0-9]*\\):.*newest ISAKMP.*/\\1/p') && \
     ipsec whack --deletestate $number";

/// Pings once a second until one is answered, which is to be before `limit`.
fn comes_back(net: &Gateways<'_>, limit: Duration) {
    let end = limit.as_secs();
    let ping = format!("timeout {end} sh -c 'until ping -n -q -c 1 -W 1 192.0.2.1; do :; done'");
    let said = net.sunset.run_for(&ping, limit + limit);
    assert_eq!(said.status, 0, "{}{}", net.west.log(), net.east.log());
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
}

/// As racoon does, and charon.
fn g12_a_peer_that_dropped_its_sas_and_deletes_the_isakmp_sa_alone() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET).start();
    net.up("net-to-net");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    net.east.run(DROP_SAS).ok();
    net.east.run(DELETE_ISAKMP).ok();
    comes_back(&net, Duration::from_secs(60));
    let log = net.west.log();
    let deleted = "received Delete SA payload: deleting ISAKMP State #1";
    assert!(log.contains(deleted), "{log}");
    assert!(log.contains("may have dropped these IPsec SAs"), "{log}");
}

/// The Delete names one SA, and the others are as good as before (RFC 2408 section 3.15).
fn g12_a_peer_that_kept_its_sas_and_deletes_the_isakmp_sa_alone() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET).start();
    net.up("net-to-net");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    let before = net.west.run("ipsec eroute").ok().stdout;
    net.east.run(DELETE_ISAKMP).ok();
    let capture = net.public.capture("udp port 500");
    assert_eq!(net.pings(60, "0.5", "ff"), 60);
    let said = capture.stop().packets("udp port 500");
    assert_eq!(said, Vec::<String>::new(), "{}", net.west.log());
    let eroute = |text: &str| text.split_whitespace().skip(1).collect::<String>();
    let after = net.west.run("ipsec eroute").ok().stdout;
    assert_eq!(eroute(&before), eroute(&after));
}

/// It answers R-U-THERE, and no packet.
fn g12_a_peer_that_lives_and_has_dropped_its_sas() {
    let testbed = Testbed::new();
    let net = tunnel(&testbed, "restart");
    net.east.run(DROP_SAS).ok();
    comes_back(&net, DEAD + DEAD);
    let log = net.west.log();
    assert!(!log.contains("declaring peer dead"), "{log}");
}
