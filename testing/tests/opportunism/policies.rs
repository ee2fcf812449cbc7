//! What each policy group does with each kind of peer, and what changes when their files do.

use std::time::Duration;

use testing::Testbed;
use testing::internet::Internet;

use super::{SETUP, delegation, full, no_ping_in_the_clear, ping, published, seen, start, trace};

testing::on_both_data_paths!(
    each_group_with_each_kind_of_peer,
    a_policy_file_changes_under_traffic,
    a_block_moves_under_traffic,
    a_group_is_replaced_under_traffic,
    h9_a_block_alone_cuts_nothing_off,
    h7_private_for_everybody_stays_closed_when_an_address_changes,
);

const GROUPS: [&str; 5] = [
    "block",
    "clear",
    "clear-or-private",
    "private",
    "private-or-clear",
];

/// A block of a policy file.
const EAST_NET: &str = "192.0.2.0/24\n";

/// All groups, and no policy for what is in none of them.
fn all_groups() -> String {
    format!("{SETUP}\toe=yes\n\nconn packetdefault\n\tauto=ignore\n")
}

/// A group that forbids the clear, with keys of this life.
fn private_section(name: &str, life: &str) -> String {
    format!(
        "\nconn {name}\n\tleft=%defaultroute\n\tleftid=%myid\n\tleftrsasigkey=%dnsondemand\n\tright=%opportunisticgroup\n\
         \trightrsasigkey=%dnsondemand\n\tfailureshunt=drop\n\tkeylife={life}\n\trekey=no\n\tauto=route\n"
    )
}

/// West's files, of which those that are not named are empty.
fn write_policies(net: &Internet<'_>, files: &[(&str, &str)]) {
    let west = &net.west.gateway;
    west.run("mkdir -p /etc/ipsec.d/policies").ok();
    for group in GROUPS {
        let text = files.iter().find(|(name, _)| *name == group);
        west.write(
            &format!("/etc/ipsec.d/policies/{group}"),
            text.map_or("", |(_, text)| text),
        );
    }
}

/// West by policy groups, with a tunnel to east's net, which is in `private`.
fn private<'a>(testbed: &'a Testbed, conf: &str) -> Internet<'a> {
    let net = published(testbed);
    start(&net.east, &full(&net.east));
    private_from_west(net, conf)
}

/// The same, where east has nothing in the clear for west either: else what it answers once its tunnel has gone may go by the net
/// that both are on.
fn private_on_both_sides<'a>(testbed: &'a Testbed, conf: &str) -> Internet<'a> {
    let net = published(testbed);
    let east = &net.east;
    let private = private_section("private-net", "1h") + &format!("\tleftsubnet={}\n", east.subnet);
    east.gateway
        .run("mkdir -p /etc/ipsec.d/policies && echo 192.1.2.45 >/etc/ipsec.d/policies/private-net")
        .ok();
    start(east, &(all_groups() + &private));
    private_from_west(net, conf)
}

fn private_from_west<'a>(net: Internet<'a>, conf: &str) -> Internet<'a> {
    write_policies(&net, &[("private", EAST_NET)]);
    start(&net.west, conf);
    let time = ping(&net.west.gateway, "192.0.2.1", 10);
    assert!(time.is_some(), "{}", trace(&net));
    net
}

fn each_group_with_each_kind_of_peer() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    for site in [&net.west, &net.east, &net.north] {
        net.publish_site(site);
    }
    // north's subnet is said to be spoken for by a key that north does not have.
    let east_txt = delegation(&net.east, "192.1.2.33");
    net.replace(&net.owner_of("192.0.3.1"), "TXT", &east_txt);
    // One whose signature is wrong, and one whose gateway has no IKE.
    let east = delegation(&net.east, "192.1.2.23");
    net.publish(&format!("3.2.0.192.in-addr.arpa. IN TXT {east}\n"));
    net.damage("3.2.0.192.in-addr.arpa.", "TXT", true);
    net.publish(&format!(
        "4.2.0.192.in-addr.arpa. IN TXT {}\n",
        east.replace("192.1.2.23", "192.1.2.77")
    ));
    net.commit();
    for address in ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"] {
        net.east
            .inside
            .run(&format!("ip addr add {address}/32 dev eth0"))
            .ok();
    }
    start(&net.east, &full(&net.east));
    start(&net.north, &full(&net.north));
    let peers = [
        ("with key", "192.0.2.1"),
        ("without", "192.0.2.2"),
        ("bogus", "192.0.2.3"),
        ("no IKE", "192.0.2.4"),
        ("wrong key", "192.0.3.1"),
    ];
    net.west.gateway.conf(&all_groups());
    let policies = |group: &str| {
        let blocks = "192.0.2.0/24\n192.0.3.0/24\n";
        write_policies(&net, &[(group, blocks)]);
    };
    policies("block");
    net.west.gateway.run("ipsec setup start").ok();
    for group in GROUPS {
        policies(group);
        net.west.gateway.run("ipsec auto --rereadgroups").ok();
        for (what, address) in peers {
            // The gateway that does not answer is waited for a quarter of a minute.
            let slow = what == "no IKE" && group == "private-or-clear";
            let patience = if slow { 1 } else { 6 };
            let (answered, clear) = seen(&net, &net.west.gateway, address, patience);
            let about = || format!("{group}, {what}\n{}", trace(&net));
            match (group, what) {
                ("block", _) => assert_eq!((answered, clear), (false, false), "{}", about()),
                ("clear" | "clear-or-private", _) => {
                    assert_eq!((answered, clear), (true, true), "{}", about())
                }
                (_, "with key") => assert_eq!((answered, clear), (true, false), "{}", about()),
                ("private", _) | (_, "bogus") => {
                    assert_eq!((answered, clear), (false, false), "{}", about())
                }
                (_, "without" | "wrong key") => {
                    assert_eq!((answered, clear), (true, true), "{}", about())
                }
                _ => {
                    net.west.gateway.wait_for(
                        &format!("ipsec eroute | grep -q '{address}/32 .*%pass'"),
                        Duration::from_secs(100),
                    );
                    let after = seen(&net, &net.west.gateway, address, 6);
                    assert_eq!(after, (true, true), "{}", about());
                }
            }
        }
    }
    // Nobody answers for DNS.
    net.stop_resolver();
    net.east
        .inside
        .run("ip addr add 192.0.2.9/32 dev eth0")
        .ok();
    let (_, clear) = seen(&net, &net.west.gateway, "192.0.2.5", 20);
    assert!(clear, "{}", trace(&net));
    policies("private");
    net.west.gateway.run("ipsec auto --rereadgroups").ok();
    assert_eq!(
        seen(&net, &net.west.gateway, "192.0.2.9", 15),
        (false, false),
        "{}",
        trace(&net)
    );
    net.west
        .gateway
        .run("ipsec auto --status")
        .ok()
        .says("192.0.2.9/32:0 => %drop 0    ");
}

fn a_policy_file_changes_under_traffic() {
    let testbed = Testbed::new();
    let net = private(&testbed, &format!("{SETUP}\n"));
    let west = &net.west.gateway;
    let capture = net.public.capture("icmp");
    let pings = west.spawn("ping -n -i 0.1 -c 60 192.0.2.1 >/run/pings");
    for more in ["192.0.3.0/24\n", "192.0.3.0/24\n192.0.4.7\n", ""] {
        west.write(
            "/etc/ipsec.d/policies/private",
            &format!("{EAST_NET}{more}"),
        );
        west.run("ipsec auto --rereadgroups").ok();
        std::thread::sleep(Duration::from_millis(700));
    }
    west.wait_for("grep -q 'packet loss' /run/pings", Duration::from_secs(20));
    drop(pings);
    let said = west.read("/run/pings");
    assert!(said.contains(" 0% packet loss"), "{said}\n{}", trace(&net));
    no_ping_in_the_clear(&capture.stop(), &net);
    // Now in the clear.
    west.write("/etc/ipsec.d/policies/clear", "192.0.2.1\n");
    west.run("ipsec auto --rereadgroups").ok();
    assert_eq!(
        seen(&net, west, "192.0.2.1", 5),
        (true, true),
        "{}",
        trace(&net)
    );
}

/// Between two groups of which neither lets it pass, by itself, and as a part of another block.
fn a_block_moves_under_traffic() {
    let testbed = Testbed::new();
    let net = private_on_both_sides(&testbed, &all_groups());
    let west = &net.west.gateway;
    let (all, one) = (EAST_NET, "192.0.2.1/32\n");
    let capture = net.public.capture("icmp or esp");
    let pings = west.spawn("exec ping -n -q -i 0.01 192.0.2.1");
    for files in [
        [("block", all), ("private", "")],
        [("private", all), ("block", one)],
        [("private", one), ("block", all)],
        [("block", one), ("private", "")],
        [("private", one), ("block", "")],
        [("block", all), ("private", "")],
        [("private", all), ("block", "")],
    ] {
        write_policies(&net, &files);
        west.run("ipsec auto --rereadgroups").ok();
        // What was asked for is so when it has answered.
        let eroutes = west.run("ipsec eroute").ok();
        let private = files[0].0 == "private" && files[1].1 != one;
        if private {
            // Of what waits for a tunnel the last packet is kept, which may be the others'.
            west.wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(15));
        } else {
            let held = eroutes.lines().any(|line| line.contains("tun0x"));
            assert!(!held, "{files:?}\n{}", trace(&net));
            assert!(
                ping(west, "192.0.2.1", 1).is_none(),
                "{files:?}\n{}",
                trace(&net)
            );
        }
    }
    drop(pings);
    let captured = capture.stop();
    assert!(captured.packets("esp").len() > 10);
    no_ping_in_the_clear(&captured, &net);
}

/// A group that forbids the clear is given to pluto anew, with another word in its section.
fn a_group_is_replaced_under_traffic() {
    let testbed = Testbed::new();
    let net = private_on_both_sides(&testbed, &all_groups());
    let west = &net.west.gateway;
    let capture = net.public.capture("icmp or esp");
    let pings = west.spawn("exec ping -n -q -i 0.01 192.0.2.1");
    for life in ["1h", "2h", "1h"] {
        west.conf(&(all_groups() + &private_section("private", life)));
        west.run("ipsec auto --replace private").ok();
        // What stands for its block stands there when that has answered.
        west.run("ipsec eroute").ok().says("192.0.2.0/24");
        west.wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(15));
        let seconds = if life == "1h" { 3600 } else { 7200 };
        west.run("ipsec auto --status | grep '\"private#192.0.2.0/24\"'")
            .ok()
            .says(&format!("ipsec_life: {seconds}s"));
    }
    drop(pings);
    let captured = capture.stop();
    assert!(captured.packets("esp").len() > 10);
    no_ping_in_the_clear(&captured, &net);
}

/// A block alone in one file, without `oe=`: other addresses of the host, and hosts behind it, go by the same route.
fn h9_a_block_alone_cuts_nothing_off() {
    let testbed = Testbed::new();
    let net = published(&testbed);
    let (west, sunset) = (&net.west.gateway, &net.west.inside);
    write_policies(
        &net,
        &[("private-or-clear", "192.0.4.0/24\n192.0.2.0/24\n")],
    );
    start(&net.west, &format!("{SETUP}\n"));
    net.watch.end("private-or-clear lets pass what has no key");
    for (from, options) in [(west, ""), (west, "-I 192.0.1.254"), (sunset, "")] {
        let said = from.run(&format!("ping -n -c 1 -W 10 {options} 192.0.4.1"));
        assert_eq!(said.status, 0, "{said}\n{}", trace(&net));
    }
    let title = "Checking that all packets meet a policy beside the groups";
    let finding = |word: &str| {
        let said = west.run("ipsec verify --nocolour");
        let line = said.lines().find(|line| line.starts_with(title));
        assert!(line.is_some_and(|line| line.ends_with(word)), "{said}");
    };
    finding("[OK]");
    // Who has a key speaks for those behind it.
    start(&net.east, &full(&net.east));
    west.run("sleep 1; ipsec auto --rereadgroups").ok();
    assert!(ping(sunset, "192.0.2.1", 10).is_some(), "{}", trace(&net));
    west.run("ipsec eroute")
        .ok()
        .says("192.0.1.1/32")
        .says("=> tun0x");
    west.run("ipsec auto --delete packetdefault").ok();
    finding("[FAILED]");
    // What a group closes is closed for them too.
    west.run("ipsec auto --add packetdefault; ipsec auto --route packetdefault")
        .ok();
    for group in ["private", "block"] {
        write_policies(&net, &[(group, "192.0.4.0/24\n")]);
        west.run("ipsec auto --rereadgroups").ok();
        for (from, options) in [(west, ""), (west, "-I 192.0.1.254"), (sunset, "")] {
            let capture = net.public.capture("icmp and host 192.0.4.1");
            from.run(&format!("ping -n -c 2 -W 4 {options} 192.0.4.1"))
                .exits(1);
            no_ping_in_the_clear(&capture.stop(), &net);
        }
    }
}

fn h7_private_for_everybody_stays_closed_when_an_address_changes() {
    let testbed = Testbed::new();
    let net = published(&testbed);
    let west = &net.west.gateway;
    // The other address that west will have is known to DNS as well.
    let new = "192.1.2.46";
    let owner = net.owner_of(new);
    let said = west.run("ipsec showhostkey --key").ok().stdout;
    let key = said.split_once("\tIN\tKEY\t").expect("a record").1.trim();
    net.publish(&format!("{owner} IN TXT {}\n", delegation(&net.west, new)));
    net.publish(&format!("{owner} IN KEY {key}\n"));
    net.commit();
    write_policies(&net, &[("private", "0.0.0.0/0\n")]);
    start(&net.west, &format!("{SETUP}\n"));
    start(&net.east, &full(&net.east));
    assert!(ping(west, "192.0.2.1", 10).is_some(), "{}", trace(&net));
    let capture = net.public.capture("icmp");
    let pings: Vec<_> = ["192.0.2.1", "192.0.4.1"]
        .map(|to| {
            west.spawn(&format!(
                "while :; do ping -n -q -c 3 -i 0.1 -W 1 {to}; done"
            ))
        })
        .into();
    let route = "ip route replace default via 192.1.2.254";
    let tunnel_from = |address: &str| {
        west.wait_for(
            &format!("ipsec eroute | grep -q '{address}/32 .* 192.0.2.1/32 .*tun0x'"),
            Duration::from_secs(60),
        );
        // One packet may be lost with the old address.
        let reached = (0..3).any(|_| ping(west, "192.0.2.1", 10).is_some());
        assert!(reached, "{}", trace(&net));
    };
    // The old address goes before the new one comes, as with DHCP in another network.
    west.run(&format!(
        "ip addr del 192.1.2.45/24 dev eth1; sleep 1; ip addr add {new}/24 dev eth1; {route}"
    ))
    .ok();
    tunnel_from(new);
    // And the other way round.
    west.run(&format!(
        "echo 1 >/proc/sys/net/ipv4/conf/all/promote_secondaries
         ip addr add 192.1.2.45/24 dev eth1; sleep 1; ip addr del {new}/24 dev eth1; {route}"
    ))
    .ok();
    tunnel_from("192.1.2.45");
    drop(pings);
    no_ping_in_the_clear(&capture.stop(), &net);
}
