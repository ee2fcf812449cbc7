//! Somebody on the path has a gateway's address redirected to himself, and begins as `@north.example`, whose key is in a signed zone.

use testing::Testbed;
use testing::internet::Internet;

use super::{by_name, full, ping, start, trace};

testing::on_both_data_paths!(h1_nobody_on_the_path_takes_a_tunnel_over);

/// East's address is north's, or east's again.
fn redirect(net: &Internet<'_>, to_north: bool) {
    let (own, taken, link) = match to_north {
        true => ("192.1.2.33", "192.1.2.23", "down"),
        false => ("192.1.2.23", "192.1.2.33", "up"),
    };
    let east = &net.east.gateway;
    east.run(&format!("ip link set eth1 {link}")).ok();
    if !to_north {
        east.run("ip route replace default via 192.1.2.254").ok();
    }
    net.north
        .gateway
        .run(&format!(
            "ip addr del {own}/24 dev eth1; ip addr add {taken}/24 dev eth1; ip route replace default via 192.1.2.254"
        ))
        .ok();
    for gateway in [&net.west.gateway, &net.north.gateway] {
        gateway.run("ip neigh flush dev eth1").ok();
    }
}

/// North begins, and has nothing of it.
#[track_caller]
fn north_gets_nothing(net: &Internet<'_>) {
    let north = &net.north.gateway;
    north.run("ipsec setup start").ok();
    let pinged = north.run("ping -n -c 2 -i 3 -W 5 -I 192.1.2.23 192.0.1.1");
    assert_ne!(pinged.status, 0, "{pinged}\n{}", trace(net));
    let log = north.log();
    assert!(
        log.contains("ISAKMP SA established") || log.contains("initiating Main Mode"),
        "he has tried: {log}"
    );
    let sas = north.run("ipsec spi").ok();
    assert_eq!(sas.stdout, "", "{}", trace(net));
    north.run("ipsec setup stop").ok();
}

fn h1_nobody_on_the_path_takes_a_tunnel_over() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    for site in [&net.west, &net.east] {
        net.publish_site(site);
    }
    net.publish_initiator(&net.north);
    net.commit();
    let closed = |conf: String| conf.replace("\tauto=route", "\tfailureshunt=drop\n\tauto=route");
    start(&net.west, &closed(full(&net.west)));
    net.north.gateway.conf(&closed(by_name("@north.example")));
    // Before there is a tunnel.
    redirect(&net, true);
    north_gets_nothing(&net);
    let west = &net.west.gateway;
    let tunnels = || west.run("ipsec eroute | grep tun; true").ok().stdout;
    assert_eq!(tunnels(), "", "{}", trace(&net));
    // And when there is one.
    redirect(&net, false);
    start(&net.east, &closed(full(&net.east)));
    let reached = (0..20).any(|_| ping(west, "192.0.2.1", 5).is_some());
    assert!(reached, "{}", trace(&net));
    let ways = |text: String| -> Vec<String> {
        let way = |line: &str| {
            line.split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        text.lines().map(way).collect()
    };
    let before = ways(tunnels());
    assert!(!before.is_empty(), "{}", trace(&net));
    redirect(&net, true);
    north_gets_nothing(&net);
    assert_eq!(ways(tunnels()), before, "{}", trace(&net));
}
