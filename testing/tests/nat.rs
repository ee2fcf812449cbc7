//! NAT between gateway and road warrior: a real router that masquerades, whose mappings time out and change.

use std::time::Duration;

use testing::kernel::patience;
use testing::road::{NET, SECRETS, VHOST, conf};
use testing::{Road, Router, Testbed};

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

fn a_road_warrior_behind_nat() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.start(VHOST);
    let road = net.warrior("road", "10.0.0.9", NET);
    let capture = net
        .public
        .capture("not arp and not icmp6 and not igmp and not ip6 multicast");
    net.up(&road);
    net.pings(&road, "192.0.2.1");
    net.pings(&net.sunrise, "10.0.0.9");
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
        .logs("Result using RFC 3947 (NAT-Traversal): peer is NATed")
        .logs("NATD=192.1.2.99:610");
    road.run("ipsec spi")
        .ok()
        .says("natencap=nonesp natsport=4500 natdport=4500");
    road.run("ipsec verify --nocolour | grep 4500").says("[OK]");
    // Each side renews the keys, which the other takes.
    net.up(&road);
    let renewed = net
        .east
        .run("ipsec auto --status | grep 'road.*STATE_MAIN_R3' | head -n 1");
    assert!(!renewed.stdout.is_empty(), "{renewed}");
    net.pings(&road, "192.0.2.1");
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
    let net = Road::new(&testbed);
    // Longer than from one ping to the next on the slowest machine.
    let lifetime = patience(Duration::from_secs(2));
    net.router.lifetime(lifetime.as_secs());
    net.start(VHOST);
    // No keep-alives: what comes next after the loss is ESP.
    let road = net.warrior_with(&net.router, "road", "10.0.0.9", "\tkeep_alive=0\n", NET);
    net.up(&road);
    net.pings(&road, "192.0.2.1");
    for round in 1..3 {
        net.router.forget();
        // One may be lost, since its answer can be on its way to the old place.
        road.run("ping -n -q -c 3 -i 0.3 -W 1 192.0.2.1");
        net.pings(&road, "192.0.2.1");
        net.pings(&net.sunrise, "10.0.0.9");
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
    let net = Road::new(&testbed);
    net.router.lifetime(4);
    net.start(VHOST);
    let road = net.warrior("road", "10.0.0.9", NET);
    net.up(&road);
    std::thread::sleep(Duration::from_secs(9));
    // The one in the dark speaks first.
    net.pings(&net.sunrise, "10.0.0.9");
}

fn two_behind_one_nat() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.start(VHOST);
    let one = net.warrior("one", "10.0.0.9", NET);
    let two = net.warrior("two", "10.0.0.10", NET);
    for host in [&one, &two] {
        net.up(host);
    }
    for _ in 0..2 {
        net.pings(&one, "192.0.2.1");
        net.pings(&two, "192.0.2.1");
        net.pings(&net.sunrise, "10.0.0.9");
        net.pings(&net.sunrise, "10.0.0.10");
    }
    one.run("ipsec auto --down road && ipsec setup stop").ok();
    net.east.wait_for(
        "! ipsec auto --status | grep -q '@one'",
        Duration::from_secs(5),
    );
    net.pings(&two, "192.0.2.1");
}

fn the_same_private_address_behind_two_nats() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    let other = Router::new(
        &testbed,
        "nat2",
        &net.public,
        "192.1.2.98/24",
        "10.0.0.254/24",
    );
    net.start(VHOST);
    net.two_with_one_address([&net.router, &other], "10.0.0.9");
}

fn transport_mode_has_its_checksums_mended() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.start("\ttype=transport\n");
    let road = net.warrior("road", "10.0.0.9", "\ttype=transport\n");
    let capture = net.public.capture("udp port 4500");
    net.up(&road);
    net.pings(&road, "192.1.2.23");
    net.east.logs("NATOA=10.0.0.9 NATD=192.1.2.99:");
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
    let net = Road::new(testbed);
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
    west.secrets(SECRETS);
    west.run("ipsec setup start").ok();
    let capture = net.public.capture("");
    net.up(&west);
    net.pings(&west, "192.1.2.23");
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
