//! A tunnel keyed by hand: every SA, group, eroute and policy made by the commands that work on KLIPS, no key daemon.

use std::time::Duration;

use testing::{Gateways, Host, Keys, Testbed};

testing::on_both_data_paths!(
    a_tunnel_keyed_by_hand_carries_pings_in_esp_only,
    ipsec_manual_takes_a_connection_up_and_down,
    ipsec_manual_in_transport_mode_with_ah_and_shown_commands,
    auto_manual_is_up_from_start_to_stop,
    a_manual_connection_that_fails_leaves_nothing,
    every_algorithm_carries_packets,
    keys_for_counter_modes_must_be_fresh,
    every_command_says_what_klips_refuses,
);

const WEST: &str = "192.1.2.45";
const EAST: &str = "192.1.2.23";
const ENC: &str = "0x000102030405060708090a0b0c0d0e0f";
const AUTH: &str = "0x101112131415161718191a1b1c1d1e1f20212223";

/// Two SAs towards `to`, in a group.
fn sas(from: &str, to: &str, spi: &str) -> String {
    format!(
        "ipsec spi --said tun.{spi}@{to} --ip4 --src {from} --dst {to}
         ipsec spi --said esp.{spi}@{to} --src {from} --esp aes128-sha1-96 --enckey {ENC} --authkey {AUTH} \
            --replay_window 64 --life hard-addtime=3600
         ipsec spigrp --said tun.{spi}@{to} esp.{spi}@{to}\n"
    )
}

/// The gateway `me` of `mine`, whose peer is `peer` with `theirs`; `out` and `inward` are the SPIs.
fn key(gateway: &Host, [me, mine, out]: [&str; 3], [peer, theirs, inward]: [&str; 3]) {
    let script = format!(
        "set -e
         \"$IPSEC_EXECDIR\"/klipsd
         ipsec tncfg --attach --virtual ipsec0 --physical eth1
         echo 1 >/proc/sys/net/ipv4/ip_forward
         for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
         ip link set ipsec0 up
         ip route add {theirs} dev ipsec0
         {}{}
         ipsec eroute --add --eraf inet --src {mine} --dst {theirs} --said tun.{out}@{peer}
         ipsec eroute --addin --eraf inet --src {theirs} --dst {mine} --said tun.{inward}@{me}",
        sas(me, peer, out),
        sas(peer, me, inward),
    );
    gateway.run(&script).ok();
}

fn a_tunnel_keyed_by_hand_carries_pings_in_esp_only() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    key(
        &net.west,
        [WEST, "192.0.1.0/24", "101"],
        [EAST, "192.0.2.0/24", "202"],
    );
    key(
        &net.east,
        [EAST, "192.0.2.0/24", "202"],
        [WEST, "192.0.1.0/24", "101"],
    );

    let capture = net.public.capture("not arp and not icmp6");
    assert_eq!(
        net.pings(5, "0.1", "c0ffee"),
        5,
        "{}",
        net.west.run("ipsec look")
    );
    let captured = capture.stop();
    assert_eq!(captured.packets("esp").len(), 10);
    assert!(!captured.holds(&[0xc0, 0xff, 0xee, 0xc0, 0xff, 0xee]));

    let look = net.west.run("ipsec look").ok();
    let line =
        "192.0.1.0/24       -> 192.0.2.0/24       => tun0x101@192.1.2.23 esp0x101@192.1.2.23 (5)";
    look.says(line)
        .says("ipsec0->eth1")
        .says("ESP_AES_HMAC_SHA1")
        .says("192.0.2.0 ");

    // What is deleted is gone: the eroute first, then the group with both its SAs.
    net.west.run("ipsec eroute --del --src 192.0.1.0/24 --dst 192.0.2.0/24 && ipsec spi --del --said esp.101@192.1.2.23").ok();
    net.west.run("ipsec eroute").ok().never_says("192.0.2.0/24");
    net.west
        .run("ipsec spi")
        .ok()
        .never_says("@192.1.2.23")
        .says("@192.1.2.45");
    net.west
        .run("ipsec spi --del --said esp.101@192.1.2.23")
        .exits(1)
        .says("there is no SA esp0x101@192.1.2.23");
    assert_eq!(net.pings(1, "0.1", "c0ffee"), 0);
}

fn every_command_says_what_klips_refuses() {
    let testbed = Testbed::new();
    let host = testbed.host("west");
    if host.run("[ -e /proc/net/ipsec_version ]").status != 0 {
        host.run("ipsec eroute")
            .exits(1)
            .says("KLIPS is not running")
            .says("ipsec setup start");
        host.run("\"$IPSEC_EXECDIR\"/klipsd").ok();
    }
    host.run("ip link add eth1 type veth peer name peer1 && ip link set eth1 up")
        .ok();
    host.run("ipsec pf_key --daemon /tmp/pf_key.pid >/tmp/pf_key.out")
        .ok();
    host.run("ipsec tncfg --attach --virtual ipsec0 --physical eth7")
        .exits(1)
        .says("eth7");
    host.run("ipsec eroute --add --src 10.0.1.0/24 --dst 10.0.2.0/24 --said %trap")
        .ok();
    host.run("ipsec eroute --add --src 10.0.1.0/24 --dst 10.0.2.0/24 --said %pass")
        .exits(1)
        .says("use --replace");
    host.run("ipsec eroute --replace --src 10.0.1.0/24 --dst 10.0.2.0/24 --said %pass")
        .ok();
    host.run("ipsec eroute")
        .ok()
        .says("10.0.1.0/24        -> 10.0.2.0/24        => %pass");
    host.run("ipsec eroute --del --src 10.0.1.0/24 --dst 10.0.9.0/24")
        .exits(1)
        .says("there is no eroute");
    host.run("ipsec spigrp --said tun.101@192.0.2.1 esp.101@192.0.2.1")
        .exits(1)
        .says("does not exist");
    host.run("ipsec klipsdebug --set eroute && ipsec klipsdebug --set pfkey && ipsec klipsdebug --clear eroute").ok();
    host.run("ipsec klipsdebug")
        .ok()
        .says("debug_eroute=00000000.")
        .says("debug_pfkey=ffffffff.");
    host.run("ipsec eroute --clear && ipsec eroute")
        .ok()
        .never_says("10.0.1.0");
    host.run("cat /tmp/pf_key.out; kill $(cat /tmp/pf_key.pid)")
        .ok()
        .says("(x_addflow)")
        .says("x_address_dst_flow: 10.0.2.0");
}

/// Conn sections with keys of their own for each transform.
const CONNS: &str = "\
conn sites
	left=192.1.2.45
	leftsubnet=192.0.1.0/24
	leftnexthop=192.1.2.254
	right=192.1.2.23
	rightsubnet=192.0.2.0/24
	rightnexthop=192.1.2.254
	spibase=0x200
	also=keys

conn gateways
	left=192.1.2.45
	right=192.1.2.23
	type=transport
	spi=0x300
	ah=hmac-sha1-96
	ahkey=0x202122232425262728292a2b2c2d2e2f30313233
	also=keys

conn keys
	esp=aes128-sha1-96
	espenckey=0x000102030405060708090a0b0c0d0e0f
	leftespauthkey=0x101112131415161718191a1b1c1d1e1f20212223
	rightespauthkey=0x505152535455565758595a5b5c5d5e5f60616263
	espreplay_window=64
";

/// Both gateways with these sections and no pluto.
fn keyed<'a>(testbed: &'a Testbed, conns: &str) -> Gateways<'a> {
    let net = Gateways::new(testbed, Keys::Psk);
    net.configure("\tpluto=no\n\tforwardcontrol=yes\n", conns)
        .start();
    net
}

fn ipsec_manual_takes_a_connection_up_and_down() {
    let testbed = Testbed::new();
    let net = keyed(&testbed, CONNS);
    for gateway in [&net.west, &net.east] {
        gateway.run("ipsec manual --up sites").ok();
    }
    let capture = net.public.capture("not arp and not icmp6");
    assert_eq!(
        net.pings(5, "0.1", "c0ffee"),
        5,
        "{}",
        net.west.run("ipsec look")
    );
    let captured = capture.stop();
    assert_eq!(captured.packets("esp").len(), 10);
    assert_eq!(captured.packets("ip and not esp"), Vec::<String>::new());
    net.west
        .run("ipsec look")
        .ok()
        .says("=> tun0x200@192.1.2.23 esp0x202@192.1.2.23 (5)")
        .says("esp0x203@192.1.2.45");

    // Up again fails and says why; what is up stays.
    net.west
        .run("ipsec manual --up sites")
        .exits(1)
        .says("exists");

    assert_eq!(net.pings(1, "0.1", "c0ffee"), 1);

    net.west.run("ipsec manual --down sites").ok();
    net.west.run("ipsec spi").ok().never_says("@192.1.2.");
    net.west.run("ipsec eroute").ok().never_says("192.0.2.0/24");
    let capture = net.public.capture("icmp or esp");
    assert_eq!(net.pings(2, "0.1", "c0ffee"), 0);
    assert_eq!(
        capture.stop().packets("src 192.0.1.1"),
        Vec::<String>::new()
    );
    net.west
        .run("ip route show 192.0.2.0/24")
        .ok()
        .says("dev ipsec0");
    net.west.run("ipsec manual --unroute sites").ok();
    net.west
        .run("ip route show 192.0.2.0/24")
        .ok()
        .never_says("ipsec0");
}

fn ipsec_manual_in_transport_mode_with_ah_and_shown_commands() {
    let testbed = Testbed::new();
    let net = keyed(&testbed, CONNS);
    // Shown, with the keys, and run by a shell: the same.
    let script = net.west.run("ipsec manual --showonly --up gateways").ok();
    assert!(
        script.contains("ipsec spi --label gateways --said esp0x300@192.1.2.23"),
        "{script}"
    );
    net.west.run("ipsec spi").ok().never_says("0x300");
    net.west
        .run("ipsec manual --showonly --up gateways >/run/up && sh -e /run/up")
        .ok();
    let shown = net.east.run("ipsec manual --show --up gateways").ok();
    shown
        .says("--authkey ...")
        .never_says("0x000102030405060708090a0b0c0d0e0f");
    // What the other end would run is what it runs, but for its interface.
    let of = |host: &Host, other: &str| {
        host.run(&format!("ipsec manual --showonly {other} --up gateways"))
            .ok()
            .stdout
    };
    assert_eq!(of(&net.west, "--other"), of(&net.east, ""));

    let capture = net.public.capture("not arp and not icmp6");
    net.west
        .run("ping -n -q -c 3 -i 0.1 192.1.2.23")
        .ok()
        .says(" 0% packet loss");
    let captured = capture.stop();
    assert_eq!(
        captured.packets("ip proto 51").len(),
        6,
        "{:?}",
        captured.packets("")
    );
    net.west.run("ipsec manual --down gateways").ok();
    net.west.run("ipsec spi").ok().never_says("0x300");
}

fn auto_manual_is_up_from_start_to_stop() {
    let testbed = Testbed::new();
    let net = keyed(
        &testbed,
        &CONNS.replacen("also=keys\n", "also=keys\n\tauto=manual\n", 1),
    );
    assert_eq!(
        net.pings(5, "0.1", "c0ffee"),
        5,
        "{}",
        net.west.run("ipsec look")
    );
    net.west.run("ipsec setup stop").ok();
    net.west
        .run("ip route show 192.0.2.0/24")
        .ok()
        .never_says("ipsec0");
}

fn a_manual_connection_that_fails_leaves_nothing() {
    let testbed = Testbed::new();
    let net = keyed(
        &testbed,
        &CONNS.replace("0x000102030405060708090a0b0c0d0e0f", "0x0001"),
    );
    net.west
        .run("ipsec manual --up sites")
        .exits(1)
        .says("needs 128")
        .never_says("there is no");
    net.west.run("ipsec spi").ok().never_says("192.1.2.");
    net.west.run("ipsec eroute").ok().never_says("192.0.2.0/24");
    net.west
        .run("ipsec manual --up keys")
        .exits(1)
        .says("has no left=");
    net.west
        .run("ipsec manual --iam 10.9.9.9@ipsec0 --up sites")
        .exits(1)
        .says("neither left 192.1.2.45 nor right 192.1.2.23");
}

/// What `ipsec spi --esp` names, with the octets of the keys for cipher (salt included) and authenticator.
const ESP: [(&str, usize, usize); 24] = [
    ("3des-md5-96", 24, 16),
    ("3des-sha1-96", 24, 20),
    ("aes128-sha2-256-128", 16, 32),
    ("aes192-sha2-384-192", 24, 48),
    ("aes256-sha2-512-256", 32, 64),
    ("aes128-aes-xcbc-96", 16, 16),
    ("aes128-aes-cmac-96", 16, 16),
    ("aes_ctr128-sha2-256-128", 20, 32),
    ("aes_ctr192-sha1-96", 28, 20),
    ("aes_ctr256-aes-xcbc-96", 36, 16),
    ("camellia128-sha1-96", 16, 20),
    ("camellia192-sha2-256-128", 24, 32),
    ("camellia256-sha2-512-256", 32, 64),
    ("null-sha2-256-128", 0, 32),
    ("null-md5-96", 0, 16),
    ("aes_gcm128", 20, 0),
    ("aes_gcm192", 28, 0),
    ("aes_gcm256", 36, 0),
    ("aes_gcm_12_128", 20, 0),
    ("aes_gcm_12_256", 36, 0),
    ("aes_gcm_8_128", 20, 0),
    ("aes_gcm_8_192", 28, 0),
    ("aes_gcm_8_256", 36, 0),
    ("chacha20_poly1305", 36, 0),
];

/// What `ipsec spi --ah` names, with the octets of the key.
const AH: [(&str, usize); 7] = [
    ("hmac-md5-96", 16),
    ("hmac-sha1-96", 20),
    ("hmac-sha2-256-128", 32),
    ("hmac-sha2-384-192", 48),
    ("hmac-sha2-512-256", 64),
    ("aes-xcbc-96", 16),
    ("aes-cmac-96", 16),
];

/// `option` with a key of this many octets, no two of which are the same; nothing for none.
fn key_option(option: &str, octets: usize, first: usize) -> String {
    let digits: String = (first..first + octets)
        .map(|n| format!("{n:02x}"))
        .collect();
    if octets == 0 {
        String::new()
    } else {
        format!("{option} 0x{digits}")
    }
}

/// The options of `ipsec spi` for each algorithm, the protocol first; every other SA has sequence numbers of 64 bits.
fn algorithms() -> Vec<(&'static str, String)> {
    let esp = ESP.iter().map(|(name, enc, auth)| {
        let (enc, auth) = (
            key_option("--enckey", *enc, 1),
            key_option("--authkey", *auth, 100),
        );
        ("esp", format!("--esp {name} {enc} {auth} --freshkey"))
    });
    let ah = AH.iter().map(|(name, octets)| {
        (
            "ah",
            format!("--ah {name} {}", key_option("--authkey", *octets, 50)),
        )
    });
    let esn = |(n, (proto, options)): (usize, (_, String))| {
        let esn = if n % 2 == 0 { "" } else { "--esn" };
        (proto, format!("{options} --replay_window 64 {esn}"))
    };
    esp.chain(ah).enumerate().map(esn).collect()
}

/// In transport mode between the gateways, each algorithm with an SPI of its own.
fn every_algorithm_carries_packets() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let ends = [(&net.west, WEST, EAST), (&net.east, EAST, WEST)];
    let all: Vec<_> = (0x1000..).zip(algorithms()).collect();
    for (gateway, me, peer) in ends {
        let sas: String = all
            .iter()
            .map(|(spi, (proto, options))| {
                format!(
                    "ipsec spi --said {proto}.{spi:x}@{peer} --src {me} {options}
                     ipsec spi --said {proto}.{spi:x}@{me} --src {peer} {options}\n"
                )
            })
            .collect();
        let script = format!(
            "set -e
             \"$IPSEC_EXECDIR\"/klipsd
             ipsec tncfg --attach --virtual ipsec0 --physical eth1
             for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
             ip link set ipsec0 up
             {sas}
             ip route add {peer} dev ipsec0 src {me}"
        );
        gateway.run_for(&script, Duration::from_secs(240)).ok();
    }
    let capture = net.public.capture("not arp and not icmp6");
    for (spi, (proto, options)) in &all {
        for (gateway, me, peer) in ends {
            let said = format!("{proto}.{spi:x}@{peer}");
            gateway
                .run(&format!(
                    "ipsec eroute --replace --src {me}/32 --dst {peer}/32 --said {said}"
                ))
                .ok();
        }
        let ping = net
            .west
            .run(&format!("ping -n -q -c 3 -i 0.1 -s 1300 -p c0ffee {EAST}"));
        assert!(
            ping.stdout.contains(" 0% packet loss"),
            "{options}\n{ping}\n{}",
            net.east.run("ipsec spi")
        );
    }
    let captured = capture.stop();
    for (spi, (proto, options)) in &all {
        let said = match *proto {
            "esp" => "ip proto 50 and ip[20:4]",
            _ => "ip proto 51 and ip[24:4]",
        };
        let packets = captured.packets(&format!("{said} = {spi}"));
        assert_eq!(packets.len(), 6, "{options}");
    }
    assert_eq!(captured.packets("icmp"), Vec::<String>::new());
    net.west
        .run("ipsec spi")
        .ok()
        .says("AH_AES_CMAC")
        .says("ESP_AES_GCM_8:")
        .says("<ESN>");
}

fn keys_for_counter_modes_must_be_fresh() {
    let testbed = Testbed::new();
    let net = keyed(
        &testbed,
        &CONNS.replace("esp=aes128-sha1-96", "esp=aes_gcm128"),
    );
    net.west
        .run("ipsec manual --up sites")
        .exits(1)
        .says("esp=aes_gcm128 is not for keys from a file");
    net.west
        .run(&format!(
            "ipsec spi --said esp.300@{EAST} --esp aes_gcm128 {}",
            key_option("--enckey", 20, 0)
        ))
        .exits(1)
        .says("--freshkey");
    net.west.run("ipsec spi").ok().never_says("@192.1.2.");
}
