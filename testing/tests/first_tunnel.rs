//! The main job: two gateways, `ipsec setup start`, `ipsec auto --up net-to-net`, and two subnets talk.

use std::process::Command;
use std::time::Duration;

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    net_to_net_by_rsa_keys,
    net_to_net_by_shared_secret,
    without_its_tunnel_traffic_is_dropped_not_leaked,
    setup_can_be_run_twice_and_leaves_nothing,
    the_demo_shows_what_it_says,
);

/// "plaintext! " as ping's -p takes it.
const PATTERN: &str = "706c61696e746578742120";

/// The lines that `--up` has always printed, in their order.
const PROGRESS: [&str; 6] = [
    r#"104 "net-to-net" #1: STATE_MAIN_I1: initiate"#,
    r#"106 "net-to-net" #1: STATE_MAIN_I2: sent MI2, expecting MR2"#,
    r#"108 "net-to-net" #1: STATE_MAIN_I3: sent MI3, expecting MR3"#,
    r#"004 "net-to-net" #1: STATE_MAIN_I4: ISAKMP SA established"#,
    r#"112 "net-to-net" #2: STATE_QUICK_I1: initiate"#,
    r#"004 "net-to-net" #2: STATE_QUICK_I2: sent QI2, IPsec SA established"#,
];

fn tunnel_carries_and_hides(keys: Keys) {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, keys);
    net.configure("", NET_TO_NET).start();
    let capture = net
        .public
        .capture("not arp and not icmp6 and not igmp and not ip6 multicast");

    let up = net.up("net-to-net");
    let progress: Vec<&str> = up.lines().filter(|line| PROGRESS.contains(line)).collect();
    assert_eq!(progress, PROGRESS, "{up}");
    assert_eq!(
        net.pings(20, "0.05", PATTERN),
        20,
        "{}\n{}",
        net.west.log(),
        net.east.log()
    );
    net.sunrise
        .run("ping -n -q -c 5 -i 0.1 192.0.1.1")
        .ok()
        .says(" 0% packet loss");

    let captured = capture.stop();
    assert!(captured.packets("esp").len() >= 50);
    assert!(!captured.packets("udp port 500").is_empty());
    assert_eq!(
        captured.packets("not esp and not udp port 500"),
        Vec::<String>::new()
    );
    assert!(!captured.holds(b"plaintext! plaintext! "));
}

fn net_to_net_by_rsa_keys() {
    tunnel_carries_and_hides(Keys::Rsa);
}

fn net_to_net_by_shared_secret() {
    tunnel_carries_and_hides(Keys::Psk);
}

fn without_its_tunnel_traffic_is_dropped_not_leaked() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    net.west
        .run("ipsec auto --status")
        .ok()
        .says("net-to-net")
        .says("STATE_QUICK_I2");
    net.west
        .run("ipsec look")
        .ok()
        .says("192.0.1.0/24")
        .says("192.0.2.0/24")
        .says("ipsec0");

    net.west.run("ipsec auto --down net-to-net").ok();
    let capture = net
        .public
        .capture(&format!("host {} or host {}", "192.0.1.1", "192.0.2.1"));
    assert_eq!(net.pings(3, "0.1", PATTERN), 0);
    assert_eq!(capture.stop().packets(""), Vec::<String>::new());
    net.east.wait_for(
        "! ipsec auto --status | grep -q 'IPsec SA established'",
        Duration::from_secs(5),
    );

    net.up("net-to-net");
    assert_eq!(net.pings(5, "0.1", PATTERN), 5);
}

fn setup_can_be_run_twice_and_leaves_nothing() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET).start();
    net.west.run("ipsec setup status").ok().says("running");
    net.west.run("ipsec setup start").says("already running");
    net.west.run("ipsec setup restart").ok();
    net.up("net-to-net");
    net.west.run("ipsec setup stop").ok();
    net.west.run("ipsec setup stop").ok();
    net.west.run("ipsec setup status").fails();
    net.west.run("ip -o link show up | grep ipsec0").fails();
    net.west.run("pgrep -x 'pluto|klipsd'").fails();
    net.west
        .run("ls /run/pluto/*.pid /run/pluto/*.ctl /run/pluto/*.sock")
        .fails();
}

fn the_demo_shows_what_it_says() {
    let demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .output()
        .expect("the demo can be run");
    let said = String::from_utf8_lossy(&demo.stdout);
    assert!(
        demo.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&demo.stderr)
    );
    assert_eq!(
        said.lines()
            .filter(|line| line.starts_with("yes: "))
            .count(),
        4,
        "{said}"
    );
}
