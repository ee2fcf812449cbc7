//! What may come in: packets that should have come through an SA are dropped when they come in the clear, counted and shown; and
//! what should leave through one does so in pieces too.

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    c2_what_should_have_come_through_the_tunnel_does_not_come_in_the_clear,
    c1_an_sa_of_transport_mode_carries_what_was_agreed_on,
    c2_what_may_go_out_in_the_clear_may_come_in_so,
    c2_a_strict_reverse_path_filter_becomes_loose,
    c3_fragments_leave_as_their_first_one_does,
);

/// How many packets were dropped because they came in the clear.
fn dropped(host: &Host) -> u64 {
    counted(host, "KlipsInClear")
}

/// What `ipsec look` counts by this name.
fn counted(host: &Host, name: &str) -> u64 {
    let look = host.run("ipsec look").ok();
    let line = look.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |rest| rest.trim().parse().expect("a number"))
}

const HOST_TO_HOST: &str = "\
conn host-to-host
\tleft=192.1.2.45
\tleftid=@west
\tright=192.1.2.23
\trightid=@east
\ttype=transport
\tleftprotoport=17/5000
\trightprotoport=17/5000
\tauto=add
";

/// East puts ICMP into an SA that was negotiated for UDP port 5000.
fn c1_an_sa_of_transport_mode_carries_what_was_agreed_on() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", HOST_TO_HOST).start();
    net.up("host-to-host");
    let esp = net.public.capture("esp");
    net.west
        .run("head -c 100 /dev/zero | nc -u -w 1 -q 0 -p 5000 192.1.2.23 5000; true");
    assert_eq!(counted(&net.east, "KlipsInPolicyMismatch"), 0);
    net.east
        .run(
            "ipsec eroute --add --eraf inet --src 192.1.2.23/32 --dst 192.1.2.45/32 --transport-proto icmp \
             --said $(ipsec eroute | grep -o 'esp0x[0-9a-f]*@192.1.2.45')
             ping -c 3 -i 0.05 -W 0.3 192.1.2.45; true",
        )
        .ok();
    assert_eq!(
        counted(&net.west, "KlipsInPolicyMismatch"),
        3,
        "{}",
        net.east.run("ipsec look")
    );
    assert!(esp.stop().packets("src 192.1.2.23").len() >= 3);
    let echos = "grep ^Icmp: /proc/net/snmp | awk 'END { print $10 }'";
    assert_eq!(net.west.run(echos).ok().stdout.trim(), "0");
}

/// East's own address is routed into the tunnel, so that its ESP comes from where the way back is not.
fn c2_a_strict_reverse_path_filter_becomes_loose() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let filter = "/proc/sys/net/ipv4/conf/eth1/rp_filter";
    net.west.run(&format!("echo 1 >{filter}")).ok();
    let to_east = NET_TO_NET.replace("\trightsubnet=192.0.2.0/24\n", "");
    net.configure("", &to_east).start();
    net.west.run(&format!("cat {filter}")).ok().says("2");
    net.up("net-to-net");
    let ping = "ping -n -q -c 2 -i 0.1 -W 1 192.1.2.23";
    net.sunset.run(ping).ok();
    net.west.run(&format!("echo 1 >{filter}")).ok();
    net.sunset.run(ping).exits(1);
}

/// A host between the gateways that sends as hosts behind east, in both families, to what is behind west.
fn eve(testbed: &Testbed, net: &Gateways) -> Host {
    let eve = testbed.host("eve");
    eve.attach(&net.public, "eth0", "192.1.2.99/24");
    eve.run(
        "ip addr add 2001:db8:0:2::99/64 dev eth0 nodad
         for a in 192.0.2.1 192.0.3.1 2001:db8:0:3::1 2001:db8:0:4::1; do ip addr add $a dev lo; done
         ip route add 192.0.1.0/24 via 192.1.2.45
         ip -6 route add 2001:db8:0:1::/64 via 2001:db8:0:2::45",
    )
    .ok();
    eve
}

/// Sends three pings, and answers how many west has dropped of them.
fn sends(eve: &Host, net: &Gateways, from: &str, to: &str) -> u64 {
    let before = dropped(&net.west);
    net.watch.in_the_clear("it is eve who sends", || {
        eve.run(&format!("ping -c 3 -i 0.05 -W 0.3 -I {from} {to}"))
    });
    dropped(&net.west) - before
}

/// What has an eroute back, of an SA or of %drop, is dropped, forwarded or not, in both families; nothing else is.
fn c2_what_should_have_come_through_the_tunnel_does_not_come_in_the_clear() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.add_ipv6().configure("", NET_TO_NET).start();
    let eve = eve(&testbed, &net);
    net.up("net-to-net");
    net.west
        .run(
            "ipsec eroute --add --eraf inet6 --src 2001:db8:0:1::/64 --dst 2001:db8:0:3::/64 --said %drop
             ip -6 route replace 2001:db8:0:3::/64 dev ipsec0",
        )
        .ok();
    let seen = net.behind_west.capture("icmp or icmp6");
    assert_eq!(dropped(&net.west), 0);
    assert_eq!(sends(&eve, &net, "192.0.2.1", "192.0.1.1"), 3, "forwarded");
    assert_eq!(
        sends(&eve, &net, "192.0.2.1", "192.0.1.254"),
        3,
        "for the gateway itself"
    );
    assert_eq!(sends(&eve, &net, "2001:db8:0:3::1", "2001:db8:0:1::1"), 3);
    // Of whom no eroute speaks, and what came through the tunnel, passes.
    assert_eq!(sends(&eve, &net, "192.0.3.1", "192.0.1.1"), 0);
    assert_eq!(sends(&eve, &net, "2001:db8:0:4::1", "2001:db8:0:1::1"), 0);
    // A host of the far net that is on the link, with a route of its own, answers on the link.
    eve.run("ip addr add 192.0.2.99 dev lo").ok();
    net.west.run("ip route add 192.0.2.99 via 192.1.2.99").ok();
    assert_eq!(sends(&eve, &net, "192.0.2.99", "192.0.1.1"), 0);
    assert_eq!(net.pings(3, "0.05", "ff"), 3);
    assert_eq!(dropped(&net.west), 9);
    let seen = seen.stop();
    for (filter, count) in [
        ("src 192.0.2.1 and icmp[icmptype] == icmp-echo", 0),
        ("src 192.0.3.1 and icmp[icmptype] == icmp-echo", 3),
        ("icmp6 and src 2001:db8:0:3::1", 0),
        ("icmp6 and src 2001:db8:0:4::1", 3),
    ] {
        assert_eq!(seen.packets(filter).len(), count, "{filter}");
    }
}

/// A connection that is routed and has no tunnel lets in what it would let out; so does a tunnel with `disablearrivalcheck=yes`.
fn c2_what_may_go_out_in_the_clear_may_come_in_so() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let also = |name: &str, options: &str| {
        format!("{}\t{options}\n", NET_TO_NET.replace("net-to-net", name))
    };
    let conns = [
        NET_TO_NET.to_owned(),
        also("open", "failureshunt=passthrough"),
        also("trusting", "disablearrivalcheck=yes"),
    ];
    net.configure("", &conns.concat()).start();
    let eve = eve(&testbed, &net);
    // An answer would ask for a tunnel.
    net.west
        .run("echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all")
        .ok();
    let comes_in = |eve: &Host| sends(eve, &net, "192.0.2.1", "192.0.1.254") == 0;
    assert!(comes_in(&eve), "nothing is routed");
    for (connection, way, open) in [
        ("net-to-net", "route", false),
        ("net-to-net", "up", false),
        ("open", "route", true),
        ("open", "up", false),
        ("trusting", "route", true),
        ("trusting", "up", true),
    ] {
        net.west
            .run(&format!("ipsec auto --{way} {connection}"))
            .ok();
        assert_eq!(comes_in(&eve), open, "{connection}, {way}");
        if way == "up" {
            net.west
                .run(&format!(
                    "ipsec auto --down {connection}; ipsec auto --unroute {connection}"
                ))
                .ok();
            assert!(comes_in(&eve), "{connection} is unrouted");
        }
    }
}

/// A klipsd that is killed opens nothing. `ipsec setup stop` does, and a new start closes again.
#[test]
fn c2_what_klipsd_keeps_out_stays_out_when_it_is_killed() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("\tplutorestartoncrash=no\n", NET_TO_NET)
        .start();
    let eve = eve(&testbed, &net);
    let comes_in = || {
        let seen = net.behind_west.capture("icmp and src 192.0.2.1");
        net.watch.in_the_clear("it is eve who sends", || {
            eve.run("ping -c 3 -i 0.05 -W 0.3 -I 192.0.2.1 192.0.1.1")
        });
        seen.stop().packets("icmp").len()
    };
    let route = "ipsec auto --route net-to-net";
    assert_eq!(comes_in(), 3);
    net.west.run(route).ok();
    assert_eq!(comes_in(), 0);
    net.west.run("pkill -9 -x klipsd").ok();
    assert_eq!(comes_in(), 0);
    net.watch.end("a stop opens what was closed");
    net.west.run("ipsec setup stop").ok();
    assert_eq!(comes_in(), 3);
    net.west.run("ipsec setup start").ok();
    net.west.run(route).ok();
    assert_eq!(comes_in(), 0);
}

/// With an eroute for UDP port 5000 and %pass for all else between the same nets.
fn c3_fragments_leave_as_their_first_one_does() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure(
        "",
        &format!("{NET_TO_NET}\tleftprotoport=17/0\n\trightprotoport=17/5000\n"),
    )
    .start();
    net.up("net-to-net");
    net.west
        .run("ipsec eroute --add --eraf inet --src 192.0.1.0/24 --dst 192.0.2.0/24 --said %pass")
        .ok();
    let wire = net.public.capture("src net 192.0.1.0/24 or esp");
    net.sunset
        .run("head -c 4000 /dev/zero | nc -u -w 1 -q 0 192.0.2.1 5000; head -c 4000 /dev/zero | nc -u -w 1 -q 0 192.0.2.1 5001; true");
    let wire = wire.stop();
    assert!(
        wire.packets("esp").len() >= 3,
        "{}",
        net.west.run("ipsec look")
    );
    // Fragments of what goes to port 5001 hide as well what they are of.
    assert_eq!(
        wire.packets("src net 192.0.1.0/24 and ip[6:2] & 0x1fff != 0")
            .len(),
        0
    );
}
