//! A world that changes under a gateway: addresses, devices, routes and peers that go, come back and change, while subnets talk all the
//! time. Never passes a packet between them in the clear, and the tunnel is back without a hand.

use std::time::Duration;

use testing::{Background, Capture, Gateways, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    b1_k4_addresses_devices_and_default_routes_that_go_and_come_back,
    b2_an_address_that_comes_after_the_start,
    g10_a_tunnel_for_everything_leaves_the_gateway_its_own_way,
);

const PING: &str = "ping -n -q -c 1 -W 1 192.0.2.1";
const LIMIT: Duration = Duration::from_secs(40);

/// Pings that never end, from sunset to sunrise and back, and what passes in the clear on wires where nothing may.
struct Watch {
    captures: Vec<Capture>,
    _pings: [Background; 2],
}

impl Watch {
    fn start(net: &Gateways, captures: Vec<Capture>) -> Watch {
        let ping = |to| format!("ping -n -q -i 0.05 {to}");
        Watch {
            captures,
            _pings: [
                net.sunset.spawn(&ping("192.0.2.1")),
                net.sunrise.spawn(&ping("192.0.1.1")),
            ],
        }
    }

    fn saw_nothing(self, story: &str) {
        for capture in self.captures {
            let clear = capture.stop().packets("");
            let first = clear.first();
            assert!(
                clear.is_empty(),
                "{story}: {} in the clear: {first:?}",
                clear.len()
            );
        }
    }
}

const CLEAR: &str = "icmp and (net 192.0.1.0/24 or net 192.0.2.0/24)";

fn b1_k4_addresses_devices_and_default_routes_that_go_and_come_back() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    // A second way into the world, by which everything would leave if the first one did not forbid it.
    let second = testbed.segment("second", "192.1.3.254/24");
    for (gateway, address) in [(&net.west, "192.1.3.45/24"), (&net.east, "192.1.3.23/24")] {
        gateway.attach(&second, "eth2", address);
        gateway
            .run("ip route add default via 192.1.3.254 metric 900")
            .ok();
    }
    net.configure("", &NET_TO_NET.replace("auto=add", "auto=start"))
        .start();
    net.sunset.wait_for(PING, LIMIT);
    let captures = vec![net.public.capture(CLEAR), second.capture(CLEAR)];
    let watch = Watch::start(&net, captures);

    let gateway = "ip route replace default via 192.1.2.254";
    let back = format!("ip addr add 192.1.2.45/24 dev eth1 && {gateway}");
    let gone = "ip addr del 192.1.2.45/24 dev eth1";
    let none = "ip addr flush dev eth1";
    let scenes = [
        (
            "the address goes for two seconds",
            format!("{gone} && sleep 2 && {back}"),
        ),
        (
            "another address comes for a while",
            format!("{none} && ip addr add 192.1.2.46/24 dev eth1 && sleep 2 && {none} && {back}"),
        ),
        (
            "the device is down for a while",
            format!("ip link set eth1 down && sleep 1 && ip link set eth1 up && {gateway}"),
        ),
        (
            "ipsec0 is down for a while",
            "ip link set ipsec0 down && sleep 1 && ip link set ipsec0 up".to_owned(),
        ),
        (
            "the default route moves and comes back",
            format!("ip route del default via 192.1.2.254 && sleep 1 && {gateway}"),
        ),
    ];
    for (story, script) in scenes {
        net.west.run(&script).ok();
        net.sunset.wait_for(PING, LIMIT);
        net.west
            .run("ip route get 192.0.2.1")
            .ok()
            .says("dev ipsec0");
        println!("{story}: back");
    }
    // The device vanishes, and another of its name comes.
    net.west.run("ip link del eth1 && sleep 1").ok();
    net.west
        .attach(&net.public, "eth1", "192.1.2.45/24")
        .gateway("192.1.2.254");
    net.east.run("ip neigh flush dev eth1").ok();
    net.sunset.wait_for(PING, LIMIT);
    // KLIPS is taken off its device, and ipsecN away, by hand or by accident: closed until ipsecN is attached again.
    net.west.run("ipsec tncfg --clear && sleep 1").ok();
    watch.saw_nothing("the uplink changes");
    net.watch.end("a stop opens what was closed");
    net.west.run("ipsec setup stop").ok();
    net.west.run("! ip route show | grep -q 192.0.2.0").ok();
}

fn b2_an_address_that_comes_after_the_start() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", &NET_TO_NET.replace("auto=add", "auto=start"));
    net.east.run("ipsec setup start").ok();
    // The device has an address of another net, and a way to everything.
    net.west
        .run("ip addr flush dev eth1 && ip addr add 192.1.2.77/24 dev eth1 && ip route replace default via 192.1.2.254")
        .ok();
    net.west.run("ipsec setup start");
    let watch = Watch::start(&net, vec![net.public.capture(CLEAR)]);
    net.west
        .run("ip route show type blackhole")
        .ok()
        .says("192.0.2.0/24");
    net.west
        .run("sleep 1; ip addr add 192.1.2.45/24 dev eth1")
        .ok();
    net.sunset.wait_for(PING, LIMIT);
    watch.saw_nothing("the address comes late");
}

fn g10_a_tunnel_for_everything_leaves_the_gateway_its_own_way() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let world = testbed.host("world");
    world.attach(&net.public, "eth0", "192.1.2.99/24");
    world.run("ip addr add 203.0.113.1/32 dev lo").ok();
    net.west.gateway("192.1.2.99");
    let everything = NET_TO_NET
        .replace("rightsubnet=192.0.2.0/24", "rightsubnet=0.0.0.0/0")
        .replace("auto=add", "auto=start")
        .replace("leftnexthop=192.1.2.254", "leftnexthop=192.1.2.99");
    net.configure("", &everything).start();
    net.sunset.wait_for(PING, LIMIT);
    let own = "ping -n -q -c 1 -W 2 203.0.113.1";
    net.west.run(own).ok();
    net.west.run(&own.replace("203.0.113.1", "192.0.1.1")).ok();
    net.west.run(&own.replace("203.0.113.1", "192.1.2.99")).ok();
    // Without ipsec0 what is forwarded is closed all the same.
    let watch = Watch::start(&net, vec![net.public.capture(CLEAR)]);
    net.west.run("ip link set ipsec0 down && sleep 1").ok();
    net.west.run(own).ok();
    net.west.run("ip link set ipsec0 up").ok();
    net.sunset.wait_for(PING, LIMIT);
    net.west.run("ipsec setup restart").ok();
    net.sunset.wait_for(PING, LIMIT);
    watch.saw_nothing("a tunnel for everything");
    net.watch.end("a stop opens what was closed");
    net.west.run("ipsec setup stop").ok();
    net.west.run("ip rule show").ok().never_says("iif lo");

    // The gateway's own packets to the far subnet come from the address behind it, and so go by the tunnel.
    let conn = NET_TO_NET.replace("leftsubnet=", "leftsourceip=192.0.1.254\n\tleftsubnet=");
    net.configure("", &conn);
    net.east.run("ipsec auto --replace net-to-net").ok();
    net.west
        .run("ipsec setup start && ipsec auto --up net-to-net")
        .ok();
    let capture = net.public.capture("icmp or esp");
    net.west.run(PING).ok();
    let captured = capture.stop();
    assert_eq!(captured.packets("icmp"), Vec::<String>::new());
    assert!(captured.packets("esp").len() >= 2);
}
