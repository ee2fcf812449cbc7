//! Two peers with the same net behind them, each for another net of ours: one route, and an eroute for each.

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    g4_both_tunnels_stand_and_one_goes_without_the_other,
    g4_both_are_brought_up_by_packets,
);

/// North is reached directly, and has no next hop in common with east.
const TO_NORTH: &str = "\
conn to-north
\tleft=192.1.2.45
\tleftid=@west
\tleftsubnet=10.1.1.0/24
\tright=192.1.2.24
\trightid=@north
\trightsubnet=192.0.2.0/24
\tauto=add
";
const TO_EAST: &str = "192.0.2.1";
const BY_NORTH: &str = "-I 10.1.1.1 192.0.2.9";

struct Both<'a> {
    net: Gateways<'a>,
    north: Host,
}

impl Both<'_> {
    fn new(testbed: &Testbed) -> Both<'_> {
        let net = Gateways::new(testbed, Keys::Psk);
        let north = testbed.host("north");
        north
            .attach(&net.public, "eth1", "192.1.2.24/24")
            .gateway("192.1.2.254");
        north.run("ip addr add 192.0.2.9/32 dev lo").ok();
        net.sunset.run("ip addr add 10.1.1.1/32 dev eth0").ok();
        net.west.run("ip route add 10.1.1.0/24 via 192.0.1.1").ok();
        net.configure("", &format!("{NET_TO_NET}\n{TO_NORTH}"));
        let secret = "@west @north : PSK \"another secret of some length\"\n";
        let west = net.west.read("/etc/ipsec.secrets");
        net.west.secrets(&(west + secret));
        north.conf(&net.west.read("/etc/ipsec.conf"));
        north.secrets(secret);
        net.start();
        north.run("ipsec setup start").ok();
        Both { net, north }
    }

    /// All pings through one tunnel are answered.
    #[track_caller]
    fn reaches(&self, to: &str, count: u32) {
        let said = self
            .net
            .sunset
            .run(&format!("ping -n -q -c {count} -i 0.2 -W 5 {to}"));
        let all = format!("{count} packets transmitted, {count} received");
        assert!(said.stdout.contains(&all), "{to}: {said}\n{}", self.logs());
    }

    fn logs(&self) -> String {
        let west = &self.net.west;
        format!(
            "{}{}{}",
            west.run("ip route; ipsec eroute; ipsec auto --status")
                .stdout,
            west.log(),
            self.north.log()
        )
    }

    fn says(&self, script: &str, text: &str) {
        self.net.west.run(script).ok().says(text);
    }
}

fn g4_both_tunnels_stand_and_one_goes_without_the_other() {
    let testbed = Testbed::new();
    let both = Both::new(&testbed);
    let net = &both.net;
    net.up("net-to-net");
    net.up("to-north");
    // For longer than it takes to negotiate again what a peer has deleted.
    let long = net
        .sunset
        .spawn(&format!("ping -n -q -c 75 -i 0.2 -W 2 {BY_NORTH}"));
    both.reaches(TO_EAST, 75);
    let said = long.finish();
    assert!(said.contains("75 received"), "{said}\n{}", both.logs());
    let log = both.logs();
    assert!(!log.contains("conflicts with"), "{log}");

    let route = "ip route show 192.0.2.0/24";
    for (name, other, to) in [
        ("net-to-net", "to-north", BY_NORTH),
        ("to-north", "net-to-net", TO_EAST),
    ] {
        net.west.run(&format!("ipsec auto --down {name}")).ok();
        both.reaches(to, 3);
        net.west.run(&format!("ipsec auto --unroute {name}")).ok();
        both.says(route, "dev ipsec0");
        both.says(route, "blackhole");
        both.reaches(to, 3);
        net.up(name);
        net.west.run(&format!("ipsec auto --down {other}")).ok();
        net.west.run(&format!("ipsec auto --unroute {other}")).ok();
        both.says(route, "dev ipsec0");
        net.up(other);
        both.reaches(TO_EAST, 3);
        both.reaches(BY_NORTH, 3);
    }
    for name in ["net-to-net", "to-north"] {
        net.west.run(&format!("ipsec auto --down {name}")).ok();
        net.west.run(&format!("ipsec auto --unroute {name}")).ok();
    }
    assert_eq!(net.west.run(route).ok().stdout, "");
}

fn g4_both_are_brought_up_by_packets() {
    let testbed = Testbed::new();
    let both = Both::new(&testbed);
    for name in ["net-to-net", "to-north"] {
        let route = format!("ipsec auto --route {name}");
        both.net.west.run(&route).ok();
    }
    // The first packet is held, and goes when its tunnel is there.
    both.reaches(BY_NORTH, 1);
    both.reaches(TO_EAST, 1);
    both.reaches(BY_NORTH, 3);
    let eroutes = both.net.west.run("ipsec eroute").ok();
    let tunnels = eroutes.lines().filter(|line| line.contains("=> tun0x"));
    assert_eq!(tunnels.count(), 2, "{eroutes}");
}
