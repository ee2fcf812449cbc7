//! ipsecN beside its physical device: what becomes of it when that goes down, comes back, changes its MTU, name or
//! addresses, or vanishes; how packets that are too big are dealt with; and what the counters count.

use std::time::Duration;

use testing::{Captured, Gateways, Host, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    a_device_that_goes_down_and_comes_back,
    a_device_that_changes_its_mtu_and_its_name,
    a_device_that_changes_its_address,
    b4_the_twentieth_address_of_a_device_and_those_that_are_too_many,
    b4_a_device_that_vanishes_leaves_ipsecn_closed_for_the_next_one,
    packets_too_big_for_the_tunnel,
    a_tunnel_of_ipv6_sends_fragments,
    a_router_that_takes_less,
    what_a_device_shows_and_keeps_to,
    k1_esp_that_comes_by_another_device,
);

mod module {
    testing::on_klips_ko!(counters, a_device_that_moves_to_another_namespace);
    use super::{a_device_that_moves_to_another_namespace, counters};
}

const ENC: &str = "0x000102030405060708090a0b0c0d0e0f";
const AUTH: &str = "0x101112131415161718191a1b1c1d1e1f20212223";
const SHORT: Duration = Duration::from_secs(10);

/// Attaches ipsec0 and keys a tunnel of AES by hand: `me` and `peer` are the gateways' addresses, of either family, and
/// `mine` and `theirs` the subnets; `out` and `inward` the SPIs.
fn key(gateway: &Host, [me, mine, out]: [&str; 3], [peer, theirs, inward]: [&str; 3]) {
    let outer = if me.contains(':') { "--ip6" } else { "--ip4" };
    let eraf = if mine.contains(':') { "inet6" } else { "inet" };
    let dot = if me.contains(':') { ':' } else { '.' };
    let sas = |from: &str, to: &str, spi: &str| {
        format!(
            "ipsec spi --said tun{dot}{spi}@{to} {outer} --src {from} --dst {to}
             ipsec spi --said esp{dot}{spi}@{to} --src {from} --esp aes128-sha1-96 --enckey {ENC} --authkey {AUTH} --replay_window 64
             ipsec spigrp --said tun{dot}{spi}@{to} esp{dot}{spi}@{to}\n"
        )
    };
    let script = format!(
        "set -e
         [ -e /proc/net/ipsec_version ] || [ -e /run/pluto/pfkey.sock ] || \"$IPSEC_EXECDIR\"/klipsd
         ipsec tncfg | grep -q 'ipsec0 -> eth1' || ipsec tncfg --attach --virtual ipsec0 --physical eth1
         for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
         ip link set ipsec0 up
         ip route replace {theirs} dev ipsec0
         {}{}
         ipsec eroute --add --eraf {eraf} --src {mine} --dst {theirs} --said tun{dot}{out}@{peer}
         ipsec eroute --addin --eraf {eraf} --src {theirs} --dst {mine} --said tun{dot}{inward}@{me}",
        sas(me, peer, out),
        sas(peer, me, inward),
    );
    gateway.run(&script).ok();
}

/// The tunnel between the subnets, on both gateways.
fn keyed(testbed: &Testbed) -> Gateways<'_> {
    let net = Gateways::new(testbed, Keys::Psk);
    let (west, east) = (
        ["192.1.2.45", "192.0.1.0/24", "101"],
        ["192.1.2.23", "192.0.2.0/24", "202"],
    );
    key(&net.west, west, east);
    key(&net.east, east, west);
    assert_eq!(
        net.pings(2, "0.1", "ff"),
        2,
        "{}",
        net.west.run("ipsec look")
    );
    net
}

/// The longest IP packet that `filter` takes, in bytes, by tcpdump's `length`.
fn longest(captured: &Captured, filter: &str) -> usize {
    let rows = captured.tshark(&["-Y", filter], &["frame.len"]);
    let lengths = rows
        .iter()
        .filter_map(|row| row.first()?.parse::<usize>().ok());
    lengths.max().expect("there are packets") - 14
}

fn a_device_that_goes_down_and_comes_back() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.tunnel("");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    net.west.run("ip link set eth1 down").ok();
    assert_eq!(net.pings(2, "0.1", "ff"), 0);
    let tncfg = net.west.run("ipsec tncfg").ok();
    tncfg.says("ipsec0 -> eth1 mtu=16260(1500) -> 1500");
    net.west
        .run("ip link set eth1 up && ip route replace default via 192.1.2.254")
        .ok();
    // The same SAs: nothing was negotiated anew.
    if net.pings(3, "0.1", "ff") == 0 {
        panic!(
            "{}{}",
            net.west
                .run("ip addr; ip route; ip -s link; ipsec look; ipsec auto --status"),
            net.west.log()
        );
    }
    assert_eq!(net.pings(5, "0.1", "ff"), 5, "{}", net.west.log());
    net.west
        .run("ipsec auto --status")
        .ok()
        .says("#2")
        .never_says("#4");
    // And ipsec0 itself.
    net.west.run("ip link set ipsec0 down").ok();
    assert_eq!(net.pings(1, "0.1", "ff"), 0);
    net.west
        .run("ip link set ipsec0 up && ip route replace 192.0.2.0/24 dev ipsec0")
        .ok();
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
}

fn a_device_that_changes_its_mtu_and_its_name() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    for gateway in [&net.west, &net.east] {
        gateway.run("ip link set eth1 mtu 1000").ok();
    }
    net.west.wait_for(
        "ipsec tncfg | grep 'ipsec0 -> eth1 mtu=16260(1000) -> 1000'",
        SHORT,
    );
    let capture = net.public.capture("src 192.1.2.45 and esp");
    net.sunset
        .run("ping -n -q -c 2 -i 0.1 -s 1400 -M dont 192.0.2.1")
        .ok()
        .says(" 0% packet loss");
    let captured = capture.stop();
    assert_eq!(captured.packets("").len(), 4);
    assert!(longest(&captured, "ip") <= 1000);
    // Larger again.
    for gateway in [&net.west, &net.east] {
        gateway.run("ip link set eth1 mtu 1500").ok();
    }
    net.west.wait_for(
        "ipsec tncfg | grep 'ipsec0 -> eth1 mtu=16260(1500) -> 1500'",
        SHORT,
    );
    let capture = net.public.capture("src 192.1.2.45 and esp");
    net.sunset
        .run("ping -n -q -c 2 -i 0.1 -s 1200 192.0.2.1")
        .ok()
        .says(" 0% packet loss");
    assert_eq!(capture.stop().packets("").len(), 2);

    net.west
        .run("ip link set eth1 down && ip link set eth1 name wan0 && ip link set wan0 up")
        .ok();
    net.west.wait_for(
        "ipsec tncfg | grep 'ipsec0 -> wan0 mtu=16260(1500) -> 1500'",
        SHORT,
    );
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    k5_ipsec0_itself_by_another_name(&net);
}

fn k5_ipsec0_itself_by_another_name(net: &Gateways<'_>) {
    net.west
        .run("ip link set ipsec0 down && ip link set ipsec0 name vpn && ip link set vpn up")
        .ok();
    net.west.wait_for(
        "ipsec tncfg | grep 'vpn -> wan0 mtu=16260(1500) -> 1500'",
        SHORT,
    );
    net.west.run("ip route replace 192.0.2.0/24 dev vpn").ok();
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    net.west.run("ipsec tncfg --detach --virtual vpn").ok();
    net.west.wait_for("! ipsec tncfg | grep wan0", SHORT);
}

fn a_device_that_changes_its_address() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    // What goes to ipsec0 and is not IKE from an address of eth1 is dropped.
    net.west
        .run("ipsec eroute --add --src 0.0.0.0/0 --dst 192.1.2.23/32 --said %drop && ip route add 192.1.2.23 dev ipsec0")
        .ok();
    let reaches = |from: &str| {
        let capture = net.public.capture(&format!("src {from} and udp port 500"));
        net.west.run(&format!(
            "echo x | timeout 1 nc -u -w 1 -s {from} -p 500 192.1.2.23 500"
        ));
        !capture.stop().packets("").is_empty()
    };
    assert!(reaches("192.1.2.45"));
    net.west.run("ip addr add 192.0.9.9/32 dev lo").ok();
    assert!(!reaches("192.0.9.9"), "not an address of eth1");
    net.west
        .run("ip addr del 192.0.9.9/32 dev lo && ip addr add 192.0.9.9/24 dev eth1 && sleep 0.3")
        .ok();
    assert!(reaches("192.0.9.9"));
    net.west
        .run("ip addr del 192.0.9.9/24 dev eth1 && ip addr add 192.0.9.9/32 dev lo && sleep 0.3")
        .ok();
    assert!(!reaches("192.0.9.9"), "no longer one of eth1's");
    // The tunnel, by the address that stayed.
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
}

fn is_detached(host: &Host) {
    // The module's devices stay, klipsd's vanish.
    host.wait_for(
        "ipsec tncfg | grep 'ipsec0 -> NULL mtu=0(0) -> 0' && ip route get 192.0.2.1 | grep 'dev ipsec0'",
        SHORT,
    );
}

fn b4_a_device_that_vanishes_leaves_ipsecn_closed_for_the_next_one() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    net.west.run("ip link del eth1").ok();
    is_detached(&net.west);
    assert_eq!(net.pings(1, "0.1", "ff"), 0);
    // The next one of that name takes its place.
    net.west
        .attach(&net.public, "eth1", "192.1.2.45/24")
        .gateway("192.1.2.254");
    net.west
        .wait_for("ipsec tncfg | grep 'ipsec0 -> eth1'", SHORT);
    // East knows the old one's hardware address for a while.
    net.east.run("ip neigh flush dev eth1").ok();
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
}

/// klipsd's memory does not grow with each device that its threads and buffers are made for.
#[test]
fn a_device_that_vanishes_again_and_again_leaves_no_memory_behind() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    let vanish = |times| {
        for _ in 0..times {
            net.west.run("ip link del eth1").ok();
            is_detached(&net.west);
            net.west.attach(&net.public, "eth1", "192.1.2.45/24");
            net.west
                .wait_for("ipsec tncfg | grep 'ipsec0 -> eth1'", SHORT);
            net.east.run("ip neigh flush dev eth1").ok();
            net.pings(3, "0.1", "ff");
        }
        let memory = "awk '/RssAnon/ { print $2 }' /proc/$(pgrep -ox klipsd)/status";
        let said = net.west.run(memory).ok().stdout;
        println!("{times} times: {said}");
        said.trim().parse::<u64>().expect("a number of kB")
    };
    let none = vanish(0);
    let (once, often) = (vanish(1), vanish(12));
    assert!(
        once.max(often) < none + 4096,
        "{none} kB, then {once} kB, then {often} kB"
    );
}

fn a_device_that_moves_to_another_namespace() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    net.west
        .run("unshare --net sleep 100 & ns=$!; sleep 0.3; ip link set eth1 netns $ns && kill $ns")
        .ok();
    is_detached(&net.west);
}

fn packets_too_big_for_the_tunnel() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    net.add_ipv6();
    let (west, east) = (
        ["192.1.2.45", "2001:db8:0:1::/64", "301"],
        ["192.1.2.23", "2001:db8:0:3::/64", "402"],
    );
    key(&net.west, west, east);
    key(&net.east, east, west);
    // 1500 less 20 of IP, 8 and 16 of ESP with its IV, 12 of authenticator is 1444: 1440 are whole blocks, 2 of them the trailer.
    for (ping, biggest, error) in [
        ("ping -n -c 1 -W 1 -M do 192.0.2.1", 1438 - 28, "mtu = 1438"),
        (
            "ping -n -c 1 -W 1 -M do 2001:db8:0:3::1",
            1438 - 48,
            "mtu = 1438",
        ),
    ] {
        let fitting = net.sunset.run(&format!("{ping} -s {biggest}")).ok();
        fitting.says(" 0% packet loss");
        let over = net.sunset.run(&format!("{ping} -s {}", biggest + 1));
        assert!(
            over.contains(error) || over.contains(&error.replace(" = ", "=")),
            "{over}"
        );
    }
    // What may be fragmented is.
    net.sunset
        .run("ping -n -q -c 1 -s 8000 -M dont 192.0.2.1")
        .ok()
        .says(" 0% packet loss");
    // Without fragicmp nobody is told, and the outer packet goes in fragments.
    for gateway in [&net.west, &net.east] {
        gateway
            .run("[ ! -e /proc/sys/net/ipsec/fragicmp ] || echo 0 >/proc/sys/net/ipsec/fragicmp")
            .ok();
    }
    if net.west.run("[ -e /proc/net/ipsec_version ]").status == 0 {
        net.sunset.run("ip route flush cache").ok();
        let capture = net.public.capture("src 192.1.2.45 and esp");
        net.sunset
            .run("ping -n -q -c 1 -W 1 -M do -s 1472 192.0.2.1 || ping -n -q -c 1 -W 1 -M do -s 1472 192.0.2.1")
            .ok();
        assert!(longest(&capture.stop(), "ip") <= 1500);
    }
}

const WEST6: [&str; 3] = ["2001:db8:0:2::45", "192.0.1.0/24", "101"];
const EAST6: [&str; 3] = ["2001:db8:0:2::23", "192.0.2.0/24", "202"];

fn a_tunnel_of_ipv6_sends_fragments() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.add_ipv6();
    key(&net.west, WEST6, EAST6);
    key(&net.east, EAST6, WEST6);
    let capture = net
        .public
        .capture("ip6 and not icmp6 and not ip6 multicast or ip and not igmp");
    for size in [56, 1380, 1400, 1472, 3000, 9000] {
        net.sunset
            .run(&format!(
                "ping -n -q -c 2 -i 0.1 -W 2 -M dont -s {size} 192.0.2.1"
            ))
            .ok()
            .says(" 0% packet loss");
    }
    let captured = capture.stop();
    assert_eq!(captured.packets("ip"), Vec::<String>::new());
    assert!(longest(&captured, "ipv6") <= 1500);
    assert!(captured.packets("ip6 proto 44").len() >= 8, "fragments");
}

/// Between the gateways is a router whose way to east takes 1300 bytes.
fn a_router_that_takes_less() {
    let testbed = Testbed::new();
    let (near, far) = (
        testbed.segment("near", "2001:db8:0:2::1/64"),
        testbed.segment("far", "2001:db8:0:4::1/64"),
    );
    let (inner_west, inner_east) = (testbed.segment("west", ""), testbed.segment("east", ""));
    let [sunset, west, east, sunrise] =
        ["sunset", "west", "east", "sunrise"].map(|name| testbed.host(name));
    sunset
        .attach(&inner_west, "eth0", "192.0.1.1/24")
        .gateway("192.0.1.254");
    west.attach(&inner_west, "eth0", "192.0.1.254/24")
        .attach(&near, "eth1", "2001:db8:0:2::45/64");
    east.attach(&inner_east, "eth0", "192.0.2.254/24")
        .attach(&far, "eth1", "2001:db8:0:4::23/64");
    sunrise
        .attach(&inner_east, "eth0", "192.0.2.1/24")
        .gateway("192.0.2.254");
    west.run("ip -6 route add default via 2001:db8:0:2::1").ok();
    east.run("ip -6 route add default via 2001:db8:0:4::1").ok();
    let here = WEST6;
    let there = ["2001:db8:0:4::23", "192.0.2.0/24", "202"];
    key(&west, here, there);
    key(&east, there, here);
    testbed.run("ip link set br-far mtu 1300");
    let ping = "ping -n -q -c 1 -W 1 -M dont -s 1300 192.0.2.1";
    sunset.run(&format!("{ping}; true"));
    let capture = far.capture("ip6 and not icmp6 and not ip6 multicast");
    let pinged = sunset.run(ping);
    assert!(
        pinged.status == 0,
        "{pinged}{}{}",
        west.run("ipsec spi"),
        west.log()
    );
    let from_west = "ipv6.src == 2001:db8:0:2::45";
    assert!(longest(&capture.stop(), from_west) <= 1300);
}

fn what_a_device_shows_and_keeps_to() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("\toverridemtu=1400\n", NET_TO_NET).start();
    net.up("net-to-net");
    net.west.run("ip link show ipsec0").ok().says("mtu 1400");
    net.west
        .run("ipsec tncfg")
        .ok()
        .says("ipsec0 -> eth1 mtu=1400(1500) -> 1500");
    let over = net.sunset.run("ping -n -c 1 -W 1 -M do -s 1373 192.0.2.1");
    assert!(over.contains("mtu = 1400"), "{over}");
    net.sunset
        .run("ping -n -q -c 1 -W 1 -M do -s 1372 192.0.2.1")
        .ok();
    // Set by hand it is what is shown, and what counts.
    net.west.run("ip link set ipsec0 mtu 1300").ok();
    net.west.wait_for(
        "ipsec tncfg | grep 'ipsec0 -> eth1 mtu=1300(1500) -> 1500'",
        SHORT,
    );
    net.sunset.run("ip route flush cache").ok();
    let over = net.sunset.run("ping -n -c 1 -W 1 -M do -s 1290 192.0.2.1");
    assert!(over.contains("mtu = 1300"), "{over}");
    // It stays when the network changes, until the next start.
    net.west.run("ip addr add 192.1.2.145/24 dev eth1").ok();
    net.west.wait_for(
        "ip addr show dev ipsec0 | grep -F 192.1.2.145 && ip link show ipsec0 | grep 'mtu 1300'",
        SHORT,
    );
    net.west.run("ipsec setup restart").ok();
    net.west.run("ip link show ipsec0").ok().says("mtu 1400");
}

/// East's packets come by eth1, and west's ipsec0 is attached to another device, as where routes differ both ways: they are taken all
/// the same. What is for no SA of west's is somebody else's, and counts nowhere.
fn k1_esp_that_comes_by_another_device() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    net.west
        .run(
            "set -e
             ip link add eth9 type veth peer name eth8; ip link set eth9 up; ip link set eth8 up
             ip addr add 192.0.9.1/24 dev eth9
             ipsec tncfg --detach --virtual ipsec0
             ipsec tncfg --attach --virtual ipsec0 --physical eth9
             ip link set ipsec0 up; ip route replace 192.0.2.0/24 dev ipsec0
             echo 0 >/proc/sys/net/ipv4/conf/ipsec0/rp_filter",
        )
        .ok();
    let received = |name: &str| -> u64 {
        let path = format!("cat /sys/class/net/ipsec0/statistics/{name}");
        net.west
            .run(&path)
            .ok()
            .stdout
            .trim()
            .parse()
            .expect("a number")
    };
    let before = received("rx_packets");
    net.sunrise
        .run("ping -n -q -c 3 -i 0.1 -W 0.3 192.0.1.1; true");
    net.west.wait_for(
        &format!(
            "[ $(cat /sys/class/net/ipsec0/statistics/rx_packets) -ge {} ]",
            before + 3
        ),
        SHORT,
    );
    let strange = "perl -e 'use Socket; socket($s, PF_INET, SOCK_RAW, 50) or die; \
         send($s, pack(\"H*\", \"0000099900000001\") . (\"\\0\" x 60), 0, pack_sockaddr_in(0, inet_aton(\"192.1.2.45\"))) or die'";
    net.east.run(strange).ok();
    assert_eq!((received("rx_errors"), received("rx_dropped")), (0, 0));
}

/// ipsec0's counters since `start`: errors and drops of what came in, and of what was to go out.
fn counted(host: &Host, start: [u64; 4]) -> [u64; 4] {
    let names = "rx_errors rx_dropped tx_errors tx_dropped";
    let said = host
        .run(&format!(
            "for name in {names}; do cat /sys/class/net/ipsec0/statistics/$name; done"
        ))
        .ok();
    let numbers: Vec<u64> = said.lines().filter_map(|line| line.parse().ok()).collect();
    let now: [u64; 4] = numbers.try_into().unwrap_or_else(|_| panic!("{said}"));
    std::array::from_fn(|n| now[n] - start[n])
}

/// The list of docs/trouble.md. Every reason is counted in crates/klips; here it is seen that it shows.
fn counters() {
    let testbed = Testbed::new();
    let net = keyed(&testbed);
    // Without IPv6 nobody but the test sends anything to ipsec0.
    net.west
        .run("echo 1 >/proc/sys/net/ipv6/conf/ipsec0/disable_ipv6")
        .ok();
    let start = counted(&net.west, [0; 4]);
    let counted = || counted(&net.west, start);
    assert_eq!(net.pings(1, "0.1", "ff"), 1);
    assert_eq!(counted(), [0; 4]);

    // No SA of that SPI: by a raw socket of east's, since its own KLIPS would take what it is to protect.
    let esp = |spi: &str, rest: usize| {
        format!(
            "perl -e 'use Socket; socket($s, PF_INET, SOCK_RAW, 50) or die; \
             send($s, pack(\"H*\", \"{spi}00000001\") . (\"\\0\" x {rest}), 0, pack_sockaddr_in(0, inet_aton(\"192.1.2.45\"))) or die'"
        )
    };
    net.east.run(&esp("00000999", 60)).ok();
    assert_eq!(counted(), [1, 0, 0, 0], "no SA");
    net.east.run(&esp("00000202", 60)).ok();
    assert_eq!(counted(), [2, 0, 0, 0], "a replay");
    net.east
        .run(&esp("00000202", 60).replace("00000001", "00000fff"))
        .ok();
    assert_eq!(counted(), [3, 0, 0, 0], "not authentic");
    net.east
        .run(&esp("00000202", 59).replace("00000001", "00000fff"))
        .ok();
    assert_eq!(counted(), [4, 0, 0, 0], "a length of no whole blocks");

    net.west.run("ip route add 192.0.7.0/24 dev ipsec0").ok();
    net.sunset.run("ping -n -q -c 1 -W 0.2 192.0.7.1").fails();
    assert_eq!(counted(), [4, 0, 0, 1], "no eroute");
    net.west
        .run("ipsec eroute --add --eraf inet --src 192.0.1.0/24 --dst 192.0.7.0/24 --said tun.777@192.1.2.23")
        .ok();
    net.sunset.run("ping -n -q -c 1 -W 0.2 192.0.7.1").fails();
    assert_eq!(counted(), [4, 0, 0, 2], "an eroute without an SA");
    net.west.run("ip link set eth1 down").ok();
    net.sunset.run("ping -n -q -c 1 -W 0.2 192.0.2.1").fails();
    assert_eq!(counted(), [4, 0, 1, 2], "no way to the peer");
}

/// A trap for the gateways themselves is in the way of IKE, unless KLIPS knows the address that IKE comes from.
fn b4_the_twentieth_address_of_a_device_and_those_that_are_too_many() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let more = |from: u32, to: u32| {
        let script =
            "for n in $(seq FROM TO); do ip addr add 192.1.2.$n/24 dev eth1 || exit 1; done";
        let script = script.replace("FROM", &from.to_string());
        net.west.run(&script.replace("TO", &to.to_string())).ok();
    };
    more(60, 78);
    let hosts = "conn hosts\n\tleft=192.1.2.78\n\tleftid=@west\n\tleftnexthop=192.1.2.254\n\
                 \tright=192.1.2.23\n\trightid=@east\n\trightnexthop=192.1.2.254\n\tauto=add\n";
    net.configure("", hosts).start();
    net.west.run("ipsec auto --route hosts").ok();
    let ping = "ping -n -q -c 1 -W 5 -I 192.1.2.78 192.1.2.23";
    let said = net.west.run(ping);
    assert_eq!(said.status, 0, "{said}{}", net.west.log());
    net.west.run("ipsec eroute").ok().says("=> tun0x");

    let told = |times: u32| {
        let logs = "cat /run/pluto/klipsd.log; dmesg";
        let count = format!("{{ {logs}; }} 2>&1 | grep -c 'eth1 has more than 32 addresses'");
        net.west
            .wait_for(&format!("[ $({count}) = {times} ]"), SHORT);
    };
    told(0);
    more(79, 110);
    told(1);
    more(111, 112);
    // What comes after it has been seen.
    net.west.run("ip link set eth1 mtu 1400").ok();
    net.west
        .wait_for("ipsec tncfg | grep 'ipsec0 -> eth1 mtu=16260(1400)'", SHORT);
    told(1);
    assert_eq!(net.west.run(ping).status, 0);
}
