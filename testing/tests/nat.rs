//! NAT between gateway and road warrior: a real router that masquerades, whose mappings time out and change.

use std::time::Duration;

use testing::{Host, Router, Segment, Testbed};

testing::on_both_data_paths!(
    a_road_warrior_behind_nat,
    a_mapping_that_is_lost_is_found_again,
    keep_alives_hold_a_mapping,
    two_behind_one_nat,
    the_same_private_address_behind_two_nats,
    transport_mode_has_its_checksums_mended,
    encapsulation_is_forced_without_nat,
    a_peer_without_nat_traversal,
);

const SECRET: &str = "@east %any : PSK \"a secret for everybody on the road\"\n: PSK \"a secret for everybody on the road\"\n";

/// East, 192.1.2.23 for 192.0.2.0/24 with sunrise in it, on the public net.
struct East<'a> {
    public: Segment<'a>,
    east: Host,
    sunrise: Host,
}

impl<'a> East<'a> {
    fn new(testbed: &'a Testbed) -> East<'a> {
        let public = testbed.segment("public", "192.1.2.254/24");
        let inner = testbed.segment("east", "");
        let (east, sunrise) = (testbed.host("east"), testbed.host("sunrise"));
        east.attach(&inner, "eth0", "192.0.2.254/24")
            .attach(&public, "eth1", "192.1.2.23/24")
            .gateway("192.1.2.254");
        sunrise
            .attach(&inner, "eth0", "192.0.2.1/24")
            .gateway("192.0.2.254");
        East {
            public,
            east,
            sunrise,
        }
    }

    /// Configures and starts east; `conn` are the lines of conn road beside the addresses.
    fn start(&self, conn: &str) -> &Self {
        let setup = "\tvirtual_private=%v4:10.0.0.0/8,%v4:172.16.0.0/12\n\tkeep_alive=1\n";
        self.east.conf(&conf("eth1", setup, "%any", conn));
        self.east.secrets(SECRET);
        self.east.run("ipsec setup start").ok();
        self
    }
}

const VHOST: &str = "\trightsubnet=vhost:%priv,%no\n\tleftsubnet=192.0.2.0/24\n";
const NET: &str = "\tleftsubnet=192.0.2.0/24\n";

fn conf(device: &str, setup: &str, right: &str, conn: &str) -> String {
    format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0={device}\"\n{setup}\nconn road\n\tleft=192.1.2.23\n\tleftid=@east\n\
         \tright={right}\n\tauthby=secret\n\tauto=add\n{conn}"
    )
}

/// A road warrior behind `router`, with `conn` lines of its own, started.
fn road(testbed: &Testbed, router: &Router<'_>, name: &str, addr: &str, conn: &str) -> Host {
    road_with(testbed, router, name, addr, "\tkeep_alive=1\n", conn)
}

fn road_with(
    testbed: &Testbed,
    router: &Router<'_>,
    name: &str,
    addr: &str,
    setup: &str,
    conn: &str,
) -> Host {
    let host = testbed.host(name);
    let gateway = format!("{}.254", addr.rsplit_once('.').unwrap().0);
    host.attach(&router.inside, "eth0", &format!("{addr}/24"))
        .gateway(&gateway);
    let conn = format!("\trightid=@{name}\n\trightnexthop={gateway}\n{conn}");
    host.conf(&conf("eth0", setup, addr, &conn));
    host.secrets(SECRET);
    host.run("ipsec setup start").ok();
    host
}

fn up(host: &Host, net: &East<'_>) {
    let up = host.run("ipsec auto --up road");
    assert!(up.status == 0, "{up}\n{}\n{}", host.log(), net.east.log());
}

#[track_caller]
fn pings(host: &Host, to: &str, net: &East<'_>) {
    let said = host.run(&format!("ping -n -q -c 5 -i 0.1 -W 2 {to}"));
    assert!(
        said.contains(" 0% packet loss"),
        "{said}\n{}\n{}\n{}\n{}",
        host.log(),
        net.east.log(),
        net.east.run("ipsec look").stdout,
        host.run("ipsec look").stdout
    );
}

fn a_road_warrior_behind_nat() {
    let testbed = Testbed::new();
    let net = East::new(&testbed);
    let router = Router::new(
        &testbed,
        "nat",
        &net.public,
        "192.1.2.99/24",
        "10.0.0.254/24",
    );
    net.start(VHOST);
    let road = road(&testbed, &router, "road", "10.0.0.9", NET);
    let capture = net
        .public
        .capture("not arp and not icmp6 and not igmp and not ip6 multicast");
    up(&road, &net);
    pings(&road, "192.0.2.1", &net);
    pings(&net.sunrise, "10.0.0.9", &net);
    // In fragments, and with DF, which learns what fits.
    road.run("ping -n -q -c 3 -i 0.1 -W 2 -M dont -s 3000 192.0.2.1")
        .ok()
        .says(" 0% packet loss");
    road.run(
        "ping -n -q -c 1 -s 1472 -M do 192.0.2.1; ping -n -q -c 3 -i 0.1 -W 2 -s 1300 -M do 192.0.2.1",
    )
    .ok()
    .says(" 0% packet loss");
    net.east
        .run("ipsec auto --status")
        .ok()
        .says("NAT-Traversal: on, port 4500")
        .says("- allowed 2 subnets: 10.0.0.0/8, 172.16.0.0/12")
        .says("[@road]===10.0.0.9/32; erouted");
    net.east
        .run("cat /run/pluto/pluto.log")
        .ok()
        .says("Result using RFC 3947 (NAT-Traversal): peer is NATed")
        .says("NATD=192.1.2.99:610");
    road.run("ipsec spi")
        .ok()
        .says("natencap=nonesp natsport=4500 natdport=4500");
    road.run("ipsec verify --nocolour | grep 4500").says("[OK]");
    // Each side renews the keys, which the other takes.
    up(&road, &net);
    let renewed = net
        .east
        .run("ipsec auto --status | grep 'road.*STATE_MAIN_R3' | head -n 1");
    assert!(!renewed.stdout.is_empty(), "{renewed}");
    pings(&road, "192.0.2.1", &net);
    let captured = capture.stop();
    assert!(captured.packets("udp port 4500 and greater 120").len() >= 20);
    assert_eq!(
        captured.packets("esp or not udp and not ip[6:2] & 0x1fff != 0"),
        Vec::<String>::new()
    );
    // Keep-alives: one octet, 0xff.
    assert!(
        !captured
            .packets("udp[4:2] = 9 and udp[8] = 0xff")
            .is_empty()
    );
    road.run("ipsec auto --down road").ok();
    net.east.wait_for(
        "! ipsec auto --status | grep -q 10.0.0.9",
        Duration::from_secs(5),
    );
}

fn a_mapping_that_is_lost_is_found_again() {
    let testbed = Testbed::new();
    let net = East::new(&testbed);
    let router = Router::new(
        &testbed,
        "nat",
        &net.public,
        "192.1.2.99/24",
        "10.0.0.254/24",
    );
    router.lifetime(2);
    net.start(VHOST);
    // No keep-alives: what comes next after the loss is ESP.
    let road = road_with(
        &testbed,
        &router,
        "road",
        "10.0.0.9",
        "\tkeep_alive=0\n",
        NET,
    );
    up(&road, &net);
    pings(&road, "192.0.2.1", &net);
    for round in 1..3 {
        router.forget();
        // One may be lost, since its answer can be on its way to the old place.
        road.run("ping -n -q -c 3 -i 0.3 -W 1 192.0.2.1");
        pings(&road, "192.0.2.1", &net);
        pings(&net.sunrise, "10.0.0.9", &net);
        let log = net
            .east
            .run("grep 'peer has moved' /run/pluto/pluto.log")
            .ok();
        assert_eq!(log.lines().count(), round, "{log}");
        assert!(log.contains(&format!("to 192.1.2.99:61{round}")), "{log}");
    }
    // IKE follows as well: east tells the peer at its new place that it is gone.
    net.east.run("ipsec auto --delete road").ok();
    road.wait_for(
        "grep -q 'received Delete SA' /run/pluto/pluto.log",
        Duration::from_secs(5),
    );
}

fn keep_alives_hold_a_mapping() {
    let testbed = Testbed::new();
    let net = East::new(&testbed);
    let router = Router::new(
        &testbed,
        "nat",
        &net.public,
        "192.1.2.99/24",
        "10.0.0.254/24",
    );
    router.lifetime(4);
    net.start(VHOST);
    let road = road(&testbed, &router, "road", "10.0.0.9", NET);
    up(&road, &net);
    std::thread::sleep(Duration::from_secs(9));
    // The one in the dark speaks first.
    pings(&net.sunrise, "10.0.0.9", &net);
}

fn two_behind_one_nat() {
    let testbed = Testbed::new();
    let net = East::new(&testbed);
    let router = Router::new(
        &testbed,
        "nat",
        &net.public,
        "192.1.2.99/24",
        "10.0.0.254/24",
    );
    net.start(VHOST);
    let one = road(&testbed, &router, "one", "10.0.0.9", NET);
    let two = road(&testbed, &router, "two", "10.0.0.10", NET);
    for host in [&one, &two] {
        up(host, &net);
    }
    for _ in 0..2 {
        pings(&one, "192.0.2.1", &net);
        pings(&two, "192.0.2.1", &net);
        pings(&net.sunrise, "10.0.0.9", &net);
        pings(&net.sunrise, "10.0.0.10", &net);
    }
    one.run("ipsec auto --down road && ipsec setup stop").ok();
    net.east.wait_for(
        "! ipsec auto --status | grep -q '@one'",
        Duration::from_secs(5),
    );
    pings(&two, "192.0.2.1", &net);
}

fn the_same_private_address_behind_two_nats() {
    let testbed = Testbed::new();
    let net = East::new(&testbed);
    let nats = [("nat1", "192.1.2.98/24"), ("nat2", "192.1.2.99/24")];
    let routers = nats
        .map(|(name, outside)| Router::new(&testbed, name, &net.public, outside, "10.0.0.254/24"));
    net.start(VHOST);
    let [one, two] = [("one", &routers[0]), ("two", &routers[1])]
        .map(|(name, router)| road(&testbed, router, name, "10.0.0.9", NET));
    up(&one, &net);
    pings(&one, "192.0.2.1", &net);
    // The newer takes the tunnel over.
    up(&two, &net);
    pings(&two, "192.0.2.1", &net);
    pings(&net.sunrise, "10.0.0.9", &net);
    net.east
        .run("cat /run/pluto/pluto.log")
        .ok()
        .says("releasing old connection to free the route");
    // With distinct virtual addresses both have theirs.
    for (host, name, addr) in [(&one, "one", "10.9.0.1"), (&two, "two", "10.9.0.2")] {
        host.run(&format!("ipsec setup stop; ip addr add {addr}/32 dev lo"))
            .ok();
        let conn =
            format!("{NET}\trightid=@{name}\n\trightsubnet={addr}/32\n\trightnexthop=10.0.0.254\n");
        host.conf(&conf("eth0", "", "10.0.0.9", &conn));
        host.run("ipsec setup start").ok();
        up(host, &net);
    }
    for (host, addr) in [(&one, "10.9.0.1"), (&two, "10.9.0.2"), (&one, "10.9.0.1")] {
        pings(host, &format!("-I {addr} 192.0.2.1"), &net);
        pings(&net.sunrise, addr, &net);
    }
}

fn transport_mode_has_its_checksums_mended() {
    let testbed = Testbed::new();
    let net = East::new(&testbed);
    let router = Router::new(
        &testbed,
        "nat",
        &net.public,
        "192.1.2.99/24",
        "10.0.0.254/24",
    );
    net.start("\ttype=transport\n");
    let road = road(&testbed, &router, "road", "10.0.0.9", "\ttype=transport\n");
    let capture = net.public.capture("udp port 4500");
    up(&road, &net);
    pings(&road, "192.1.2.23", &net);
    net.east
        .run("cat /run/pluto/pluto.log")
        .ok()
        .says("NATOA=10.0.0.9 NATD=192.1.2.99:");
    for (option, port) in [("", 7001), ("-u", 7002)] {
        let listener = net.east.spawn(&format!(
            "timeout 20 nc {option} -l -W 1 192.1.2.23 {port} | sha256sum"
        ));
        net.east.wait_for(
            &format!(
                "ss -Hln{} 'sport = {port}' | grep -q .",
                if option.is_empty() { "t" } else { "u" }
            ),
            Duration::from_secs(5),
        );
        let sent = road
            .run(&format!("head -c 1000 /dev/urandom >/run/data && nc {option} -w 2 -q 1 192.1.2.23 {port} </run/data; sha256sum </run/data"))
            .ok();
        let got = listener.finish();
        assert_eq!(
            got.trim(),
            sent.stdout.trim(),
            "{}\n{}",
            road.log(),
            net.east.log()
        );
    }
    assert!(
        capture
            .stop()
            .packets("udp port 4500 and greater 120")
            .len()
            >= 14
    );
}

/// East and a peer with a public address, `setup` and `conn` being the peer's.
fn without_nat(testbed: &Testbed, setup: &str, conn: &str) -> (bool, bool) {
    let net = East::new(testbed);
    net.start("");
    let west = testbed.host("west");
    west.attach(&net.public, "eth0", "192.1.2.45/24")
        .gateway("192.1.2.254");
    west.conf(&conf(
        "eth0",
        setup,
        "192.1.2.45",
        &format!("\trightid=@west\n{conn}"),
    ));
    west.secrets(SECRET);
    west.run("ipsec setup start").ok();
    let capture = net.public.capture("");
    up(&west, &net);
    pings(&west, "192.1.2.23", &net);
    let captured = capture.stop();
    let seen = |filter| captured.packets(filter).len() >= 10;
    (seen("esp"), seen("udp port 4500 and greater 120"))
}

fn encapsulation_is_forced_without_nat() {
    assert_eq!(
        without_nat(&Testbed::new(), "", "\tforceencaps=yes\n"),
        (false, true)
    );
}

fn a_peer_without_nat_traversal() {
    assert_eq!(
        without_nat(&Testbed::new(), "\tnat_traversal=no\n", ""),
        (true, false)
    );
}
