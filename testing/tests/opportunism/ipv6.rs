//! Opportunism between IPv6 hosts: keys and gateways out of ip6.arpa, tunnels of IPv6 in IPv6.

use std::time::Duration;

use testing::internet::{ANCHOR, Internet, Site};
use testing::{Host, Testbed};

testing::on_both_data_paths!(gateways_for_their_subnets);

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

fn gateways_for_their_subnets() {
    let testbed = Testbed::new();
    let net = Internet::new(&testbed);
    testbed.run(&format!(
        "ip addr add 2001:db8:1:2::254/64 dev br-public nodad && ip -6 route add {} via {} && ip -6 route add {} via {}",
        WEST.subnet, WEST.outside, EAST.subnet, EAST.outside
    ));
    set_up(&net, &net.west, &WEST);
    set_up(&net, &net.east, &EAST);
    net.commit();
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
