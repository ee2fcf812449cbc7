//! Names and default routes that come late, change and go, with real daemons: a start never waits for them, and what is wanted comes about
//! by itself.

use std::time::{Duration, Instant};

use testing::{Gateways, Host, Keys, Testbed};

const PATIENCE: Duration = Duration::from_secs(150);

/// Both gateways by what `left` and `right` say.
fn conn(left: &str, right: &str, auto: &str) -> String {
    format!(
        "conn net-to-net\n\tleft={left}\n\tleftid=@west\n\tleftsubnet=192.0.1.0/24\n\
         \tright={right}\n\trightid=@east\n\trightsubnet=192.0.2.0/24\n\tauto={auto}\n"
    )
}

/// What /etc/hosts says of a name; nothing for no address.
fn hosts(host: &Host, name: &str, address: &str) {
    let line = match address {
        "" => String::new(),
        address => format!("{address} {name}\n"),
    };
    host.write("/etc/hosts", &format!("127.0.0.1 localhost\n{line}"));
}

/// The lines of `ipsec auto --status` that say that the tunnel is there, by the address that the peer has.
fn up_with(host: &Host, peer: &str) {
    host.wait_for(
        &format!(
            "ipsec auto --status >/run/status; grep -q 'IPsec SA established' /run/status \
             && grep -F '...{peer}' /run/status | grep -q '; erouted'"
        ),
        PATIENCE,
    );
}

/// Nothing between the subnets is on the wire as it is.
const CLEAR: &str = "(net 192.0.1.0/24 or net 192.0.2.0/24) and icmp";

#[test]
fn b3_names_that_do_not_resolve_at_the_start_are_waited_for_and_followed() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let gw = "gw.example.com";
    let own = conn("192.1.2.45", gw, "start");
    let others: String = (0..20)
        .map(|n| {
            format!(
                "conn c{n}\n\tleft=192.1.2.45\n\tright=gw{n}.example.com\n\
                 \trightsubnet=10.{n}.0.0/16\n\tauto={}\n",
                ["add", "route", "start"][n % 3]
            )
        })
        .collect();
    net.configure("", &own);
    let shared = net.east.read("/etc/ipsec.conf");
    net.west.conf(&format!("{shared}\n{others}"));
    for host in [&net.west, &net.east] {
        // A name server that nobody has: each question takes its time.
        host.write("/etc/resolv.conf", "nameserver 192.1.2.253\n");
        hosts(host, gw, "");
    }

    let began = Instant::now();
    let start = net.west.run("ipsec setup start").ok();
    let took = began.elapsed();
    // One after another they would take minutes.
    assert!(took < Duration::from_secs(40), "{took:?}: {start}");
    let start = start.says(&format!("\"net-to-net\": waiting for the address of {gw}"));
    let start = (0..20).fold(start, |start, n| {
        start.says(&format!(
            "\"c{n}\": waiting for the address of gw{n}.example.com"
        ))
    });
    start.never_says("could not");
    net.west
        .run("ipsec setup status")
        .ok()
        .says("IPsec running");
    let status = net.west.run("ipsec auto --status").ok();
    status.says(&format!(
        "\"net-to-net\":   waiting for the address of {gw}"
    ));

    // The name is known at last, at both ends.
    for host in [&net.west, &net.east] {
        hosts(host, gw, "192.1.2.23");
    }
    net.east.run("ipsec setup start").ok();
    up_with(&net.west, "192.1.2.23<gw.example.com>[@east]");
    assert_eq!(net.pings(3, "0.2", "ab"), 3);

    // The peer moves. Whoever asks for the connection has the name looked up; it would be within a minute.
    let capture = net.public.capture(CLEAR);
    let pings = net.sunset.spawn("exec ping -n -i 0.2 192.0.2.1");
    net.east
        .run("echo 1 >/proc/sys/net/ipv4/conf/eth1/promote_secondaries; ip addr add 192.1.2.24/24 dev eth1")
        .ok();
    for host in [&net.west, &net.east] {
        hosts(host, gw, "192.1.2.24");
    }
    net.east
        .wait_for("ip addr show ipsec0 | grep -q 192.1.2.24", PATIENCE);
    net.east
        .run("ipsec auto --asynchronous --up net-to-net; sleep 2; ip addr del 192.1.2.23/24 dev eth1; ip route replace default via 192.1.2.254");
    net.west.run("ipsec auto --asynchronous --up net-to-net");
    up_with(&net.west, "192.1.2.24<gw.example.com>[@east]");
    net.sunset
        .wait_for("ping -n -q -c 1 -W 2 192.0.2.1", PATIENCE);
    drop(pings);
    let seen = capture.stop();
    assert_eq!(seen.packets(""), Vec::<String>::new());
    net.west.run("ipsec setup stop").ok();
    net.west
        .wait_for("! pgrep -x 'pluto|klipsd'", Duration::from_secs(10));
}

#[test]
fn b2_a_default_route_may_come_late_and_move_to_another_device() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let other = testbed.segment("other", "192.1.3.254/24");
    net.west.attach(&other, "eth2", "192.1.3.45/24");
    net.configure("", &conn("west.example.com", "192.1.2.23", "add"));
    hosts(&net.east, "west.example.com", "192.1.2.45");
    net.east.run("ipsec setup start").ok();
    let conf = net
        .west
        .read("/etc/ipsec.conf")
        .replace("left=west.example.com", "left=%defaultroute")
        .replace("auto=add", "auto=start")
        .replace("\"ipsec0=eth1\"", "%defaultroute");
    net.west.conf(&conf);
    net.west.run("ip route del default").ok();

    net.west
        .run("ipsec setup start")
        .ok()
        .says("waiting: no default route");
    net.west
        .run("ipsec setup status")
        .ok()
        .says("IPsec running")
        .says("waiting: no default route");
    net.west.run("ipsec showdefaults").exits(1);
    net.west
        .run("ipsec auto --status")
        .ok()
        .says("\"net-to-net\":   waiting for a default route");

    net.west.gateway("192.1.2.254");
    up_with(&net.west, "192.1.2.23[@east]");
    assert_eq!(net.pings(3, "0.2", "ab"), 3);
    net.west
        .run("ipsec showdefaults")
        .ok()
        .says("defaultroutephys=eth1")
        .says("defaultrouteaddr=192.1.2.45");
    net.west
        .run("ipsec setup status")
        .ok()
        .never_says("waiting");

    // The uplink goes; another one comes in its place.
    let capture = net.public.capture(CLEAR);
    let elsewhere = other.capture(CLEAR);
    let pings = net.sunset.spawn("exec ping -n -i 0.2 192.0.2.1");
    net.west.run("ip link set eth1 down").ok();
    net.sunset.run("sleep 1");
    hosts(&net.east, "west.example.com", "192.1.3.45");
    net.east.run("ipsec auto --asynchronous --up net-to-net");
    net.west.gateway("192.1.3.254");
    net.west.wait_for(
        "ipsec tncfg | grep -q 'ipsec0 -> eth2' && ipsec showdefaults | grep -q phys=eth2",
        PATIENCE,
    );
    net.sunset
        .wait_for("ping -n -q -c 1 -W 2 192.0.2.1", PATIENCE);
    net.west
        .run("ipsec auto --status")
        .ok()
        .says("192.1.3.45[@west]---192.1.3.254");
    drop(pings);
    for capture in [capture, elsewhere] {
        let seen = capture.stop();
        assert_eq!(seen.packets(""), Vec::<String>::new());
    }
}
