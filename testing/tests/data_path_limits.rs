//! Where the data path says no by itself: ICMP errors that are told, few and from this host; SAs that end by time or volume even
//! when pluto is no more; and nothing in the clear by what protects nothing.

use std::time::Duration;

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(c4_c8_c11_icmp_errors_and_bare_tunnels);
testing::for_hours!(c9_c10_sas_end_by_volume_and_age_and_by_no_clock);

/// Attaches ipsec0 on west, to which goes what is for east's nets and for 192.0.9.0/24.
fn attach(west: &Host) {
    west.run(
        "set -e
         [ -e /proc/net/ipsec_version ] || \"$IPSEC_EXECDIR\"/klipsd
         ipsec tncfg --attach --virtual ipsec0 --physical eth1
         for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
         ip link set ipsec0 up
         ip route replace 192.0.2.0/24 dev ipsec0
         ip route replace 192.0.9.0/24 dev ipsec0
         ip -6 route replace 2001:db8:0:3::/64 dev ipsec0
         ip -6 route replace 2001:db8:0:9::/64 dev ipsec0",
    )
    .ok();
}

fn c4_c8_c11_icmp_errors_and_bare_tunnels() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.add_ipv6();
    attach(&net.west);
    let eroute = |src: &str, dst: &str, said: &str| {
        let family = if src.contains(':') { "inet6" } else { "inet" };
        let add = format!("ipsec eroute --replace --eraf {family} --src {src} --dst {dst}");
        net.west.run(&format!("{add} --said {said}"))
    };
    too_big_for_pass(&net, &eroute);
    rejected(&net, &eroute);

    // A tunnel SA by itself opens nothing, before its ESP comes and after it goes.
    net.west
        .run("ipsec spi --said tun.777@192.1.2.23 --ip4 --src 192.1.2.45 --dst 192.1.2.23")
        .ok();
    let refused = eroute("192.0.1.0/24", "192.0.2.0/24", "tun.777@192.1.2.23");
    refused.fails().says("neither ESP nor AH");
    net.west.run("ipsec spi --clear").ok();
    eroute("192.0.1.0/24", "192.0.2.0/24", "tun.777@192.1.2.23").ok();
    net.west
        .run("ipsec spi --said tun.777@192.1.2.23 --ip4 --src 192.1.2.45 --dst 192.1.2.23")
        .ok();
    let capture = net.public.capture("src 192.1.2.45 or net 192.0.0.0/16");
    net.sunset
        .run("ping -n -q -c 3 -i 0.1 -W 1 192.0.2.1")
        .fails();
    assert_eq!(capture.stop().packets("not arp"), Vec::<String>::new());
}

/// Of both families; after the device's MTU has changed, too.
fn too_big_for_pass(net: &Gateways<'_>, eroute: &dyn Fn(&str, &str, &str) -> testing::Output) {
    for (src, dst) in [
        ("192.0.1.0/24", "192.0.2.0/24"),
        ("192.1.2.45/32", "192.0.2.0/24"),
        ("2001:db8:0:1::/64", "2001:db8:0:3::/64"),
    ] {
        eroute(src, dst, "%pass").ok();
    }
    for mtu in [1400, 1300] {
        net.west.run(&format!("ip link set eth1 mtu {mtu}")).ok();
        let shown = format!("ipsec tncfg | grep 'ipsec0 -> eth1 mtu=16260({mtu})'");
        net.west.wait_for(&shown, Duration::from_secs(10));
        for (host, to, from) in [
            (&net.sunset, "192.0.2.1", "192.0.1.254"),
            (&net.sunset, "2001:db8:0:3::1", "2001:db8:0:1::254"),
            (&net.west, "192.0.2.1", "192.1.2.45"),
        ] {
            host.run("ip route flush cache; ip -6 route flush cache")
                .ok();
            let capture = net.public.capture("ip or ip6");
            let ping = format!("ping -n -c 2 -i 0.3 -W 1 -M do -s 1440 {to}");
            let said = host.run(&ping);
            let told = [format!("mtu = {mtu}"), format!("mtu={mtu}")];
            assert!(told.iter().any(|told| said.contains(told)), "{said}");
            assert!(said.contains(from) || host.name() == "west", "{said}");
            let on_the_wire = capture.stop();
            // Neither it nor pieces of it.
            let pieces = on_the_wire.packets("icmp or ip6 proto 44 or (icmp6 and ip6[40] = 128)");
            assert_eq!(pieces, Vec::<String>::new());
        }
    }
    net.west.run("ip link set eth1 mtu 1500").ok();
}

/// As few as Linux sends, and not about errors or redirects.
fn rejected(net: &Gateways<'_>, eroute: &dyn Fn(&str, &str, &str) -> testing::Output) {
    eroute("192.0.1.0/24", "192.0.9.0/24", "%reject").ok();
    eroute("2001:db8:0:1::/64", "2001:db8:0:9::/64", "%reject").ok();
    for (to, from) in [
        ("192.0.9.1", "192.0.1.254"),
        ("2001:db8:0:9::1", "2001:db8:0:1::254"),
    ] {
        let capture = net.behind_west.capture("icmp or icmp6");
        let ping = format!("ping -n -q -c 300 -i 0.002 -W 1 {to}");
        let pinged = net.sunset.run(&ping).fails();
        let captured = capture.stop();
        let answers = captured.packets("icmp[0] = 3 or (icmp6 and ip6[40] = 1)");
        // Six, and one for each second that it takes.
        assert!(
            (6..40).contains(&answers.len()),
            "{}: {answers:?}\n{pinged}\n{:?}\n{}",
            answers.len(),
            captured.packets(""),
            net.west
                .run("ipsec eroute; ip route; nstat -az | grep -i icmp")
        );
        let all_ours = answers
            .iter()
            .all(|line| line.contains(&format!("{from} > ")));
        assert!(all_ours, "{answers:?}");
    }
    let limited = net.west.run("cat /proc/sys/net/ipsec/icmp_limited");
    if let Ok(limited) = limited.stdout.trim().parse::<usize>() {
        assert!(limited > 500, "{limited}");
    }
}

/// The ESP SAs of a gateway, by name.
fn esp(host: &Host) -> Vec<String> {
    let said = host.run("ipsec spi").ok().stdout;
    let names = said.lines().filter_map(|line| line.split(' ').next());
    let esp = names.filter(|name| name.starts_with("esp"));
    esp.map(str::to_owned).collect()
}

fn c9_c10_sas_end_by_volume_and_age_and_by_no_clock() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let short = "\tkeylife=20m\n\trekeymargin=2m\n\tesp=3des-sha1\n";
    net.configure("", &format!("{NET_TO_NET}{short}")).start();
    net.up("net-to-net");
    let capture = net.public.capture("net 192.0.0.0/16");

    // 17 MB each way are four lives of 3DES, and no packet waits for the next.
    let ping = "ping -n -q -f -c 12000 -s 1400 192.0.2.1";
    let said = net.sunset.run_for(
        &format!("timeout -s INT 300 {ping}"),
        Duration::from_secs(400),
    );
    let lost = said.lines().find(|line| line.contains("packet loss"));
    let lost = lost.and_then(|line| line.split(", ").find(|part| part.contains('%')));
    assert!(
        lost.is_some_and(|lost| lost.starts_with("0")),
        "{said}\n{}\n{}\n{}{}",
        net.sunset.run("ip -s link; ip neigh; cat /proc/net/raw /proc/net/icmp; nstat -az | grep -v ' 0 '"),
        net.west
            .run("ip -s link; ip neigh; ipsec look; ipsec spi; nstat -az | grep -v ' 0 '; cat /proc/net/ipsec/*"),
        net.east
            .run("ip -s link; ip neigh; ipsec look; ipsec spi; nstat -az | grep -v ' 0 '; cat /proc/net/ipsec/*"),
        net.west.log()
    );
    let spi = net.west.run("ipsec spi").ok().stdout;
    let used = spi.lines().filter_map(|line| {
        let bytes = line.split("bytes(").nth(1)?;
        bytes.split(',').next()?.parse::<u64>().ok()
    });
    assert!(used.clone().all(|bytes| bytes < 8 << 20), "{spi}");
    assert!(used.count() > 2, "{spi}");
    std::thread::sleep(Duration::from_secs(60));
    // One pair for a life of 4 MB, two where both ends asked at once. Those that were replaced before they reached their limit are
    // kept for what is still under way.
    assert!(
        (2..=8).contains(&esp(&net.west).len()),
        "{:?}",
        esp(&net.west)
    );

    // A clock that is set ends nothing and prolongs nothing.
    let before = esp(&net.west);
    for step in ["+3 days", "-6 days", "+3 days"] {
        net.west
            .run(&format!("date -s \"$(date -d '{step}')\""))
            .ok();
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(net.pings(3, "0.1", "ff"), 3, "{step}");
        assert_eq!(esp(&net.west), before, "{step}");
    }

    // pluto does nothing any more. The SAs end, and nothing goes in their place.
    for gateway in [&net.west, &net.east] {
        gateway.run("pkill -STOP -x pluto").ok();
    }
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    std::thread::sleep(Duration::from_secs(23 * 60));
    for gateway in [&net.west, &net.east] {
        assert_eq!(esp(gateway), Vec::<String>::new());
        gateway.run("ipsec eroute").ok().says("=> tun0x");
    }
    assert_eq!(net.pings(3, "0.1", "ff"), 0);
    // It goes on, and so does the tunnel.
    for gateway in [&net.west, &net.east] {
        gateway.run("pkill -CONT -x pluto").ok();
    }
    net.sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(60));
    assert_eq!(capture.stop().packets(""), Vec::<String>::new());
}
