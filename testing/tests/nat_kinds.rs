//! What may be on either side of a NAT: RSA keys, IPv6 inside and outside, the gateway itself, a house of routers, subnets.

use std::time::Duration;

use testing::road::{NET, SECRETS, VHOST, conf};
use testing::{Host, Road, Router, Testbed};

testing::on_both_data_paths!(
    rsa_keys,
    ipv6_inside,
    ipv6_outside,
    a_gateway_behind_a_port_forward,
    both_behind_nat,
    forced_encapsulation_behind_nat,
    the_same_private_address_behind_one_nat,
    a_subnet_out_of_a_range,
);

/// The line with a host's public key, as the conn of either end has it.
fn key(host: &Host, side: &str) -> String {
    host.run(
        "[ -s /etc/ipsec.secrets ] || ipsec newhostkey --output /etc/ipsec.secrets --bits 2048",
    )
    .ok();
    let shown = host.run(&format!("ipsec showhostkey --{side}")).ok().stdout;
    let line = shown.lines().find(|line| line.contains("rsasigkey="));
    format!("\t{}\n", line.expect("a key is shown").trim())
}

fn rsa_keys() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    let road = net.host("road", "10.0.0.9");
    let keys = format!(
        "\tauthby=rsasig\n\trightid=@road\n{}{}",
        key(&net.east, "left"),
        key(&road, "right")
    );
    let setup = "\tvirtual_private=%v4:10.0.0.0/8\n";
    net.east
        .conf(&conf("eth1", setup, "%any", &format!("{keys}{VHOST}")));
    let conn = format!("{keys}{NET}\trightnexthop=10.0.0.254\n");
    road.conf(&conf("eth0", "", "10.0.0.9", &conn));
    for host in [&net.east, &road] {
        host.run("ipsec setup start").ok();
    }
    let capture = net.public.capture("udp port 4500");
    for _ in 0..2 {
        net.up(&road);
        net.pings(&road, "192.0.2.1");
        net.pings(&net.sunrise, "10.0.0.9");
    }
    let ike = capture
        .stop()
        .packets("udp port 4500 and udp[8:4] = 0 and greater 200");
    assert!(ike.len() >= 2, "{ike:?}");
}

/// Subnets of IPv6 between gateways that have IPv4 addresses.
fn ipv6_inside() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.add_ipv6();
    let subnets = "\tleftsubnet=2001:db8:0:3::/64\n\trightsubnet=2001:db8:0:9::/64\n";
    net.start(subnets);
    let road = net.host("road", "10.0.0.9");
    road.run("ip addr add 2001:db8:0:9::1/64 dev lo nodad && ip -6 route add default dev eth0")
        .ok();
    let conn = format!("\trightid=@road\n\trightnexthop=10.0.0.254\n{subnets}");
    road.conf(&conf("eth0", "", "10.0.0.9", &conn))
        .secrets(SECRETS);
    road.run("ipsec setup start").ok();
    let capture = net.public.capture("udp port 4500 and greater 120");
    net.up(&road);
    net.pings(&road, "-I 2001:db8:0:9::1 2001:db8:0:3::1");
    net.pings(&net.sunrise, "2001:db8:0:9::1");
    net.router.lifetime(2);
    net.router.forget();
    road.run("ping -n -q -c 3 -i 0.3 -W 1 -I 2001:db8:0:9::1 2001:db8:0:3::1");
    net.pings(&net.sunrise, "2001:db8:0:9::1");
    assert!(capture.stop().packets("").len() >= 20);
}

/// A NAT of IPv6, which nobody should need and some have.
fn ipv6_outside() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.add_ipv6();
    let lines = "\tleft=2001:db8:0:2::23\n\tleftsubnet=2001:db8:0:3::/64\n";
    let setup = "\tvirtual_private=%v6:fd00::/8\n\tkeep_alive=1\n";
    let vhost = format!("{lines}\trightsubnet=vhost:%priv,%no\n");
    net.east
        .conf(&conf("eth1", setup, "%any", &vhost))
        .secrets(SECRETS);
    net.east.run("ipsec setup start").ok();
    let road = net.warrior("road", "fd00:0:0:9::9", lines);
    let capture = net.public.capture("ip6 and udp port 4500");
    for _ in 0..2 {
        net.up(&road);
        net.pings(&road, "2001:db8:0:3::1");
        net.pings(&net.sunrise, "fd00:0:0:9::9");
    }
    net.east.logs("peer is NATed");
    // The length of what IPv6 carries tells ESP with a ping from keep-alives.
    let tunnelled = capture.stop().packets("ip6[4:2] > 100");
    assert!(tunnelled.len() >= 20, "{tunnelled:?}");
}

/// `left` with a private address, reached through its router's.
fn gateway_at_home<'a>(net: &Road<'a>, conn: &str) -> Host {
    net.router.forward_ike("10.0.0.9");
    let home = net.host("home", "10.0.0.9");
    let lines = format!("\tleftnexthop=10.0.0.254\n{conn}");
    let text = conf(
        "eth0",
        "\tvirtual_private=%v4:10.0.0.0/8,%v4:172.16.0.0/12\n",
        "%any",
        &lines,
    );
    home.conf(&text.replace("left=192.1.2.23", "left=10.0.0.9"))
        .secrets(SECRETS);
    home.run("ip addr add 192.168.7.1/24 dev lo && ipsec setup start")
        .ok();
    home
}

/// A road warrior to that gateway, which says where its net is.
fn to_home(host: &Host, device: &str, addr: &str) {
    let lines = "\trightid=@road\n\tleftsubnet=192.168.7.0/24\n";
    let text = conf(device, "", addr, lines);
    host.conf(&text.replace("left=192.1.2.23", "left=192.1.2.99"))
        .secrets(SECRETS);
    host.run("ipsec setup start").ok();
}

fn a_gateway_behind_a_port_forward() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    let home = gateway_at_home(&net, "\tleftsubnet=192.168.7.0/24\n");
    let road = testbed.host("road");
    road.attach(&net.public, "eth1", "192.1.2.45/24")
        .gateway("192.1.2.254");
    to_home(&road, "eth1", "192.1.2.45");
    net.up(&road);
    net.pings(&road, "192.168.7.1");
    net.pings(&home, "-I 192.168.7.1 192.1.2.45");
    home.logs("i am NATed");
    road.logs("peer is NATed");
    // The gateway makes new keys, which its own router lets out.
    home.run("ipsec auto --status")
        .ok()
        .says("IPsec SA established");
    net.up(&road);
    net.pings(&road, "192.168.7.1");
    road.run("ipsec auto --down road").ok();
    home.wait_for(
        "! ipsec auto --status | grep -q STATE_",
        Duration::from_secs(10),
    );
}

fn both_behind_nat() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    let home = gateway_at_home(
        &net,
        "\trightsubnet=vhost:%priv,%no\n\tleftsubnet=192.168.7.0/24\n",
    );
    let away = Router::new(
        &testbed,
        "away",
        &net.public,
        "192.1.2.98/24",
        "172.16.0.254/24",
    );
    away.lifetime(2);
    let road = net.host_behind(&away, "road", "172.16.0.9");
    to_home(&road, "eth0", "172.16.0.9");
    net.up(&road);
    net.pings(&road, "192.168.7.1");
    net.pings(&home, "-I 192.168.7.1 172.16.0.9");
    for host in [&home, &road] {
        host.logs("both are NATed");
    }
    away.forget();
    road.run("ping -n -q -c 3 -i 0.3 -W 1 192.168.7.1");
    net.pings(&road, "192.168.7.1");
    net.pings(&home, "-I 192.168.7.1 172.16.0.9");
}

fn forced_encapsulation_behind_nat() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.start(VHOST);
    let road = net.warrior("road", "10.0.0.9", &format!("{NET}\tforceencaps=yes\n"));
    let capture = net.public.capture("esp or udp port 4500");
    net.up(&road);
    net.pings(&road, "192.0.2.1");
    net.pings(&net.sunrise, "10.0.0.9");
    // Either side looks NATed to the other.
    net.east.logs("NATed");
    let captured = capture.stop();
    assert_eq!(captured.packets("esp"), Vec::<String>::new());
    assert!(captured.packets("udp port 4500 and greater 120").len() >= 20);
}

/// Two homes with the same private net behind one more NAT, their provider's: what tells them apart is a port alone.
fn the_same_private_address_behind_one_nat() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    let homes = [("home1", "10.0.0.11/24"), ("home2", "10.0.0.12/24")].map(|(name, outside)| {
        Router::new(&testbed, name, &net.router.inside, outside, "10.1.0.254/24")
    });
    net.start(VHOST);
    net.two_with_one_address(homes.each_ref(), "10.1.0.9");
}

/// `rightsubnetwithin=`: each peer has a subnet of its own out of the range, none has one that is not in it.
fn a_subnet_out_of_a_range() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.start(&format!("{NET}\trightsubnetwithin=10.9.0.0/16\n"));
    let hosts = [
        ("one", "10.0.0.11", "10.9.1.0/24"),
        ("two", "10.0.0.12", "10.9.2.0/24"),
        ("out", "10.0.0.13", "10.10.0.0/24"),
    ]
    .map(|(name, addr, subnet)| {
        let first = subnet.replace(".0/24", ".1");
        let host = net.warrior(name, addr, &format!("{NET}\trightsubnet={subnet}\n"));
        host.run(&format!("ip addr add {first}/24 dev lo")).ok();
        (host, first)
    });
    let [inside @ .., (out, _)] = &hosts;
    for (host, _) in inside {
        net.up(host);
    }
    for (host, first) in inside {
        net.pings(host, &format!("-I {first} 192.0.2.1"));
        net.pings(&net.sunrise, first);
    }
    net.east
        .run("ipsec auto --status")
        .ok()
        .says("[@one]===10.9.1.0/24; erouted")
        .says("[@two]===10.9.2.0/24; erouted");
    out.run("timeout 10 ipsec auto --up road")
        .fails()
        .says("INVALID_ID_INFORMATION");
    net.east.logs("===10.10.0.0/24");
}
