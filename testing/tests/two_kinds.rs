//! klips.ko on one gateway, klipsd on the other, each way round, with what pluto negotiates between them.

use std::time::Duration;

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

testing::on_klips_ko!(
    module_and_klipsd,
    klipsd_and_module,
    all_suites_between_the_two,
    klipsd_after_the_module_and_back,
);

/// "plaintext! " as ping's -p takes it.
const PATTERN: &str = "706c61696e746578742120";

fn the_demos_tunnel(klips: [&str; 2]) {
    let testbed = Testbed::new();
    let net = Gateways::with_klips(&testbed, Keys::Rsa, klips.map(Some));
    net.configure("", NET_TO_NET).start();
    for (gateway, klips) in [(&net.west, klips[0]), (&net.east, klips[1])] {
        let klipsd = gateway.run("pgrep -x klipsd").status == 0;
        assert_eq!(klipsd, klips == "klipsd", "{}", gateway.name());
        gateway.run("ipsec tncfg").ok().says("ipsec0 -> eth1");
    }
    let capture = net
        .public
        .capture("not arp and not icmp6 and not igmp and not ip6 multicast");
    net.up("net-to-net");
    assert_eq!(
        net.pings(20, "0.05", PATTERN),
        20,
        "{}\n{}",
        net.west.log(),
        net.east.log()
    );
    net.sunrise
        .run("ping -n -q -c 5 -i 0.1 -s 3000 192.0.1.1")
        .ok()
        .says(" 0% packet loss");
    let captured = capture.stop();
    assert!(captured.packets("esp").len() >= 50);
    assert_eq!(
        captured.packets("not esp and not udp port 500"),
        Vec::<String>::new()
    );
    assert!(!captured.holds(b"plaintext! plaintext! "));

    net.west.run("ipsec setup stop").ok();
    net.east.run("ipsec setup stop").ok();
    net.west.run("pgrep -x 'pluto|klipsd'").fails();
    net.east.run("pgrep -x 'pluto|klipsd'").fails();
}

fn module_and_klipsd() {
    the_demos_tunnel(["module", "klipsd"]);
}

fn klipsd_and_module() {
    the_demos_tunnel(["klipsd", "module"]);
}

fn all_suites_between_the_two() {
    let testbed = Testbed::new();
    let net = Gateways::with_klips(&testbed, Keys::Psk, [Some("module"), Some("klipsd")]);
    let suites = [
        ("aes128", "esp=aes128-sha1"),
        ("aes256", "esp=aes256-md5"),
        ("tripledes", "esp=3des-md5"),
        ("ah", "auth=ah"),
        ("compress", "compress=yes"),
    ];
    let mut conns = String::new();
    for (name, line) in suites {
        conns += &NET_TO_NET
            .replace("net-to-net", name)
            .replace("auto=add", &format!("{line}\n\tauto=add\n"));
    }
    net.configure("", &conns).start();
    for (name, _) in suites {
        net.up(name);
        assert_eq!(net.pings(5, "0.05", "ff"), 5, "{name}: {}", net.west.log());
        for (host, peer) in [(&net.sunset, "192.0.2.1"), (&net.sunrise, "192.0.1.1")] {
            // One at a time: for the last of several ping waits two round trips and no longer.
            let ping = format!("ping -n -q -c 1 -W 5 -s 3000 -p ff {peer}");
            host.run(&format!("{ping} && {ping}")).ok();
        }
        net.west.run(&format!("ipsec auto --delete {name}")).ok();
        net.east.run(&format!("ipsec auto --delete {name}")).ok();
    }
}

/// The choice is the administrator's, at each start.
fn klipsd_after_the_module_and_back() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET).start();
    net.up("net-to-net");
    net.west
        .run("IPSEC_KLIPS=klipsd ipsec setup start")
        .fails()
        .says("IPSEC_KLIPS=module ipsec setup stop");
    assert_eq!(net.pings(3, "0.05", "ff"), 3, "what runs goes on");
    for klips in ["klipsd", "module", "klipsd", "module"] {
        net.west
            .run("ipsec setup stop; IPSEC_KLIPS=klipsd ipsec setup stop; true")
            .ok();
        net.west
            .run(&format!(
                "export IPSEC_KLIPS={klips}; ipsec setup start && ipsec auto --up net-to-net"
            ))
            .ok();
        assert_eq!(net.pings(5, "0.05", "ff"), 5, "{klips}: {}", net.west.log());
    }
    // A klipsd that died leaves its place.
    net.west.run("ipsec setup stop; true").ok();
    net.west
        .run("IPSEC_KLIPS=klipsd ipsec setup start && pkill -9 -x 'pluto|klipsd'")
        .ok();
    net.west
        .wait_for("! ip link show ipsec0", Duration::from_secs(5));
    net.west
        .run("IPSEC_KLIPS=module ipsec setup start && ipsec auto --up net-to-net")
        .ok();
    assert_eq!(net.pings(5, "0.05", "ff"), 5, "{}", net.west.log());
}
