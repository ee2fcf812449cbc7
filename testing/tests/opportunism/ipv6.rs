//! Opportunism between IPv6 hosts: keys and gateways out of ip6.arpa, tunnels of IPv6 in IPv6, and policy groups with blocks of IPv6.

use std::time::Duration;

use testing::internet::{ANCHOR, Internet, Site};
use testing::{Host, Testbed};

use super::{SETUP, trace};

testing::on_both_data_paths!(
    gateways_for_their_subnets,
    h11_groups_are_for_ipv6_too,
    h11_ipv6_that_comes_later_and_goes,
);

/// Gateway's public address, its subnet, the host behind it.
struct Six {
    outside: &'static str,
    subnet: &'static str,
    inside: &'static str,
}

const WEST: Six = Six {
    outside: "2001:db8:1:2::45",
    subnet: "2001:db8:a::/64",
    inside: "2001:db8:a::1",
};
const EAST: Six = Six {
    outside: "2001:db8:1:2::23",
    subnet: "2001:db8:b::/64",
    inside: "2001:db8:b::1",
};

/// Gives a site its addresses, routes and records, as it has them for IPv4.
fn set_up(net: &Internet<'_>, site: &Site<'_>, six: &Six) {
    let router = six.subnet.replace("/64", "fe");
    site.gateway
        .run(&format!(
            "ip addr add {router}/64 dev eth0 nodad; ip addr add {}/64 dev eth1 nodad; ip -6 route add default via 2001:db8:1:2::254",
            six.outside
        ))
        .ok();
    site.inside
        .run(&format!(
            "ip addr add {}/64 dev eth0 nodad && ip -6 route add default via {router}",
            six.inside
        ))
        .ok();
    net.make_key(site);
    for (options, kind) in [
        ("--key".to_owned(), "KEY"),
        (format!("--txt {}", six.outside), "TXT"),
    ] {
        let said = site
            .gateway
            .run(&format!("ipsec showhostkey {options}"))
            .ok();
        let record = said.stdout.split_once(&format!("\tIN\t{kind}\t"));
        let record = record.expect("a record").1.trim().to_owned();
        net.replace(&net.owner_of(six.outside), kind, &record);
        if kind == "TXT" {
            net.replace(&net.owner_of(six.inside), kind, &record);
        }
    }
    site.gateway.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n\tdnssec-rootkey-file={ANCHOR}\n\n\
         conn subnet-to-anyone\n\talso=me-to-anyone\n\tleftsubnet={}\n\n\
         conn me-to-anyone\n\tleft={}\n\tleftnexthop=2001:db8:1:2::254\n\tleftrsasigkey=%dnsondemand\n\tright=%opportunistic\n\
         \trightrsasigkey=%dnsondemand\n\tkeylife=1h\n\trekey=no\n\tdnssec=yes\n\tauto=route\n",
        six.subnet, six.outside
    ));
}

/// Pings from one host to another; all must be answered.
fn ping(net: &Internet<'_>, from: &Host, to: &str) {
    let pinged = from.run_for(
        &format!("ping -n -c 1 -W 20 -p 706c61696e746578742120 {to}"),
        Duration::from_secs(40),
    );
    let trace: String = [&net.west, &net.east]
        .iter()
        .map(|site| {
            let status = site
                .gateway
                .run("ipsec auto --status; ipsec eroute; ip -6 route");
            format!("{status}{}", site.gateway.log())
        })
        .collect();
    assert_eq!(pinged.status, 0, "{pinged}{trace}");
}

/// West and east have IPv6 and their records.
fn internet(testbed: &Testbed) -> Internet<'_> {
    let net = Internet::new(testbed);
    testbed.run(&format!(
        "ip addr add 2001:db8:1:2::254/64 dev br-public nodad && ip -6 route add {} via {} && ip -6 route add {} via {}",
        WEST.subnet, WEST.outside, EAST.subnet, EAST.outside
    ));
    set_up(&net, &net.west, &WEST);
    set_up(&net, &net.east, &EAST);
    net.commit();
    net
}

/// Whether a ping of the host itself was answered, and whether it was seen in the clear.
fn seen(net: &Internet<'_>, from: &Host, options: &str, to: &str) -> (bool, bool) {
    let capture = net.public.capture(&format!("icmp6 and host {to}"));
    let pinged = from.run_for(
        &format!("ping -n -c 1 -W 8 {options} {to}"),
        Duration::from_secs(40),
    );
    // Echo request.
    let clear = capture.stop().packets("icmp6 and ip6[40] == 128");
    (pinged.status == 0, !clear.is_empty())
}

/// West by policy groups alone, with these files.
fn by_groups(net: &Internet<'_>, files: &[(&str, &str)]) {
    let west = &net.west.gateway;
    write_policies(west, files);
    west.conf(&format!(
        "{SETUP}\toe=yes\n\nconn packetdefault\n\tauto=ignore\n"
    ));
    west.run("ipsec setup start").ok();
}

fn write_policies(west: &Host, files: &[(&str, &str)]) {
    west.run("mkdir -p /etc/ipsec.d/policies && rm -f /etc/ipsec.d/policies/*")
        .ok();
    for (group, blocks) in files {
        west.write(&format!("/etc/ipsec.d/policies/{group}"), blocks);
    }
}

/// A host in east's net without a record.
const KEYLESS: &str = "2001:db8:b::77";

fn h11_groups_are_for_ipv6_too() {
    let testbed = Testbed::new();
    let net = internet(&testbed);
    net.east
        .inside
        .run(&format!("ip addr add {KEYLESS}/64 dev eth0 nodad"))
        .ok();
    net.east.gateway.run("ipsec setup start").ok();
    let west = &net.west.gateway;
    let other = "2001:db8:1:2::9f3a";
    assert_eq!(seen(&net, west, "", KEYLESS), (true, true));
    by_groups(&net, &[("private", "0.0.0.0/0\n::/0\n")]);
    west.run("ipsec eroute")
        .ok()
        .says(&format!("{}/128", WEST.outside))
        .says("::/0");
    assert_eq!(
        seen(&net, west, "", EAST.inside),
        (true, false),
        "{}",
        trace(&net)
    );
    west.run("ipsec eroute")
        .ok()
        .says(EAST.inside)
        .says("=> tun0x");
    assert_eq!(
        seen(&net, west, "", KEYLESS),
        (false, false),
        "{}",
        trace(&net)
    );
    // Another address of the host, such as the temporary ones of RFC 8981: from the first packet on.
    west.run(&format!("ip addr add {other}/64 dev eth1 nodad"))
        .ok();
    assert_eq!(
        seen(&net, west, &format!("-I {other}"), KEYLESS),
        (false, false),
        "{}",
        trace(&net)
    );
    west.wait_for(
        &format!("ipsec eroute | grep -q '{other}/128.*::/0.*trap'"),
        Duration::from_secs(20),
    );
    assert_eq!(
        seen(&net, west, &format!("-I {other}"), KEYLESS),
        (false, false),
        "{}",
        trace(&net)
    );
    // The narrower block counts, of whichever group.
    write_policies(
        west,
        &[("private", "::/0\n"), ("clear", &format!("{KEYLESS}\n"))],
    );
    west.run("ipsec auto --rereadgroups").ok();
    for options in [String::new(), format!("-I {other}")] {
        assert_eq!(
            seen(&net, west, &options, KEYLESS),
            (true, true),
            "{}",
            trace(&net)
        );
    }
    west.run(&format!("ip addr del {other}/64 dev eth1")).ok();
    west.wait_for(
        &format!(
            "! ip -6 addr show | grep -q '{other}' && ! ipsec eroute | grep -q '{other}/128.*/0'"
        ),
        Duration::from_secs(20),
    );
    write_policies(west, &[("private-or-clear", "::/0\n")]);
    west.run("ipsec auto --rereadgroups").ok();
    assert_eq!(
        seen(&net, west, "", KEYLESS),
        (true, true),
        "{}",
        trace(&net)
    );
    assert_eq!(
        seen(&net, west, "", EAST.inside),
        (true, false),
        "{}",
        trace(&net)
    );
    // A restart leaves nothing open, and a stop opens all.
    write_policies(west, &[("private", "::/0\n")]);
    west.run("ipsec auto --rereadgroups").ok();
    west.run("ip -6 route show").ok().says("noipsec0");
    let capture = net.public.capture(&format!("icmp6 and host {KEYLESS}"));
    let pings = west.spawn(&format!("exec ping -n -q -i 0.05 {KEYLESS}"));
    west.run("ipsec setup restart").ok();
    drop(pings);
    let clear = capture.stop().packets("icmp6 and ip6[40] == 128");
    assert_eq!(clear, Vec::<String>::new(), "{}", trace(&net));
    west.run("ipsec setup stop").ok();
    west.run("ip -6 route show").ok().never_says("ipsec0");
    assert_eq!(
        seen(&net, west, "", KEYLESS),
        (true, true),
        "{}",
        trace(&net)
    );
}

fn h11_ipv6_that_comes_later_and_goes() {
    let testbed = Testbed::new();
    let net = internet(&testbed);
    net.east
        .inside
        .run(&format!("ip addr add {KEYLESS}/64 dev eth0 nodad"))
        .ok();
    let west = &net.west.gateway;
    let out = format!("{}/64 dev eth1", WEST.outside);
    west.run(&format!("ip addr del {out}")).ok();
    by_groups(&net, &[("private", "::/0\n")]);
    let back =
        format!("ip addr add {out} nodad; ip -6 route replace default via 2001:db8:1:2::254");
    west.run(&back).ok();
    let standing = "ipsec eroute | grep -q '::/0.*trap'";
    west.wait_for(standing, Duration::from_secs(20));
    assert_eq!(
        seen(&net, west, "", KEYLESS),
        (false, false),
        "{}",
        trace(&net)
    );
    // What has been routed stays closed, whatever happens to addresses and routes.
    west.run(&format!("ip addr del {out}; sleep 2; {back}"))
        .ok();
    assert_eq!(
        seen(&net, west, "", KEYLESS),
        (false, false),
        "{}",
        trace(&net)
    );
    west.run("sleep 2").ok();
    assert_eq!(
        seen(&net, west, "", KEYLESS),
        (false, false),
        "{}",
        trace(&net)
    );
}

fn gateways_for_their_subnets() {
    let testbed = Testbed::new();
    let net = internet(&testbed);
    ping(&net, &net.west.inside, EAST.inside);
    for site in [&net.west, &net.east] {
        site.gateway.run("ipsec setup start").ok();
    }
    let capture = net.public.capture("ip6");
    ping(&net, &net.west.inside, EAST.inside);
    ping(&net, &net.west.inside, EAST.inside);
    ping(&net, &net.east.inside, WEST.inside);
    // The gateway speaks for itself too.
    ping(&net, &net.west.gateway, EAST.inside);
    let captured = capture.stop();
    assert!(!captured.holds(b"plaintext! "));
    assert!(captured.packets("ip6 proto 50").len() >= 8);
    net.west
        .gateway
        .run("ipsec eroute")
        .ok()
        .says("2001:db8:a::1/128")
        .says("=> tun0x");
    net.west
        .gateway
        .run("ipsec verify --nocolour --ip 2001:db8:b::1")
        .says("TXT 10: gateway 2001:db8:1:2::23, key Aw");
}
