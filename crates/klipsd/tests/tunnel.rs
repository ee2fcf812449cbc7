//! Packets through two klipsd with SAs made by hand: every protocol, mode and family, read back by tshark.

mod common;

use common::*;
use ipsec_types::SaProto;
use pfkey::request::SaParams;
use testing::{Captured, Segment, Testbed};

const EAST: &str = "192.0.2.1";
const WEST: &str = "192.0.2.2";
const EAST_NET: &str = "10.1.0.0/24";
const WEST_NET: &str = "10.2.0.0/24";

struct Pair {
    east: Gateway,
    west: Gateway,
}

/// The two gateways with their subnets, routes between these by ipsec0.
fn pair(testbed: &Testbed, segment: &Segment<'_>) -> Pair {
    let east = Gateway::new(
        testbed,
        segment,
        "east",
        "192.0.2.1/24 2001:db8:1::1/64",
        "10.1.0.1/24",
    );
    let west = Gateway::new(
        testbed,
        segment,
        "west",
        "192.0.2.2/24 2001:db8:1::2/64",
        "10.2.0.1/24",
    );
    east.host
        .run("ip route add 10.2.0.0/24 dev ipsec0 src 10.1.0.1")
        .ok();
    west.host
        .run("ip route add 10.1.0.0/24 dev ipsec0 src 10.2.0.1")
        .ok();
    Pair { east, west }
}

impl Pair {
    /// Puts the SAs of both directions into both hosts, and eroutes through their first.
    fn key(&self, [east, west]: [&str; 2], there: &[SaParams<'_>], back: &[SaParams<'_>]) {
        for gateway in [&self.east, &self.west] {
            gateway.add(there);
            gateway.add(back);
        }
        self.east.eroute(&nets(east, west), there[0].said);
        self.west.eroute(&nets(west, east), back[0].said);
    }

    fn ping(&self, options: &str) {
        let answer = self
            .east
            .host
            .run(&format!("ping -c 5 -i 0.2 -W 2 {options}"));
        assert!(
            answer.stdout.contains(" 0% packet loss"),
            "{}\neast: {}\n{}\nwest: {}\n{}",
            answer.stdout,
            self.east.log(),
            self.east.ctl("get ipsec_spi"),
            self.west.log(),
            self.west.ctl("get ipsec_spi"),
        );
    }
}

/// tshark's options to decrypt and check the ESP SAs of both directions.
fn esp_keys(cipher: (&str, &[u8]), mac: (&str, &[u8]), v6: bool) -> Vec<String> {
    let mut options = [
        "esp.enable_encryption_decode:TRUE",
        "esp.enable_authentication_check:TRUE",
    ]
    .map(|o| format!("-o{o}"))
    .to_vec();
    options.push(format!(
        "-ouat:esp_sa:\"{}\",\"*\",\"*\",\"*\",\"{}\",\"0x{}\",\"{}\",\"0x{}\"",
        if v6 { "IPv6" } else { "IPv4" },
        cipher.0,
        hex::encode(cipher.1),
        mac.0,
        hex::encode(mac.1)
    ));
    options
}

/// Every ESP packet of the capture decrypts to ICMP and carries a right authenticator.
fn check_esp(captured: &Captured, options: &[String], icmp: &str) {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let rows = captured.tshark(
        &options,
        &[
            "esp.spi",
            "esp.icv_good",
            "_ws.col.Protocol",
            "_ws.malformed",
        ],
    );
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let good = row.get(1).is_some_and(|g| g == "1" || g == "True");
        assert!(good && row.get(2).is_some_and(|p| p == icmp), "{row:?}");
    }
}

#[test]
fn tunnel_mode_3des_md5_and_aes_sha1() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "");
    let pair = pair(&testbed, &segment);
    for (spi, tdes) in [(0x1000, true), (0x2000, false)] {
        let esp = if tdes { tdes_md5 } else { aes_sha1 };
        if spi != 0x1000 {
            for gateway in [&pair.east, &pair.west] {
                let mut client = gateway.pfkey();
                client.call(pfkey::request::clear_flows).unwrap();
                client
                    .call(|buf, ids| pfkey::request::flush(buf, ids, pfkey::SaType::Unspec))
                    .unwrap();
            }
        }
        pair.key(
            [EAST_NET, WEST_NET],
            &[
                tun(EAST, WEST, spi, nets(EAST_NET, WEST_NET)),
                esp(EAST, WEST, spi),
            ],
            &[
                tun(WEST, EAST, spi + 1, nets(WEST_NET, EAST_NET)),
                esp(WEST, EAST, spi + 1),
            ],
        );
        let capture = segment.capture("ip");
        pair.ping("-p 706c61696e -s 1000 10.2.0.1");
        let captured = capture.stop();
        assert!(!captured.holds(b"plainplain"), "the pattern is on the wire");
        assert_eq!(captured.packets("not esp"), Vec::<String>::new());
        let options = if tdes {
            esp_keys(
                ("TripleDES-CBC [RFC2451]", &TDES),
                ("HMAC-MD5-96 [RFC2403]", &MAC[..16]),
                false,
            )
        } else {
            esp_keys(
                ("AES-CBC [RFC3602]", &AES),
                ("HMAC-SHA-1-96 [RFC2404]", &MAC),
                false,
            )
        };
        check_esp(&captured, &options, "ICMP");
    }
}

#[test]
fn transport_mode_by_a_host_route_through_ipsec0() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "");
    let pair = pair(&testbed, &segment);
    pair.key(
        ["192.0.2.1/32", "192.0.2.2/32"],
        &[aes_sha1(EAST, WEST, 0x3000)],
        &[aes_sha1(WEST, EAST, 0x3001)],
    );
    pair.east
        .host
        .run("ip route add 192.0.2.2/32 dev ipsec0 src 192.0.2.1")
        .ok();
    pair.west
        .host
        .run("ip route add 192.0.2.1/32 dev ipsec0 src 192.0.2.2")
        .ok();
    let capture = segment.capture("ip");
    pair.ping("192.0.2.2");
    let captured = capture.stop();
    assert_eq!(captured.packets("not esp"), Vec::<String>::new());
    let options = esp_keys(
        ("AES-CBC [RFC3602]", &AES),
        ("HMAC-SHA-1-96 [RFC2404]", &MAC),
        false,
    );
    check_esp(&captured, &options, "ICMP");
}

#[test]
fn ah_around_ipcomp_around_a_tunnel() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "");
    let pair = pair(&testbed, &segment);
    pair.key(
        [EAST_NET, WEST_NET],
        &[
            tun(EAST, WEST, 0x1000, nets(EAST_NET, WEST_NET)),
            comp(EAST, WEST, 0x1234),
            ah_sha1(EAST, WEST, 0x1000),
        ],
        &[
            tun(WEST, EAST, 0x1001, nets(WEST_NET, EAST_NET)),
            comp(WEST, EAST, 0x1235),
            ah_sha1(WEST, EAST, 0x1001),
        ],
    );
    let capture = segment.capture("ip");
    // Long and dull enough to shrink; then too short to.
    pair.ping("-p 61 -s 1000 10.2.0.1");
    pair.ping("-s 8 10.2.0.1");
    let captured = capture.stop();
    assert_eq!(captured.packets("not ah"), Vec::<String>::new());
    let rows = captured.tshark(&[], &["ah.spi", "ipcomp.cpi", "ip.len"]);
    let compressed = rows.iter().filter(|row| !row[1].is_empty()).count();
    assert!(compressed >= 10, "{rows:?}");
    assert!(rows.len() - compressed >= 10, "{rows:?}");
}

#[test]
fn ipv6_through_ipv4_and_ipv4_through_ipv6() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "");
    let pair = pair(&testbed, &segment);
    let (east6, west6) = ("2001:db8:1::1", "2001:db8:1::2");
    pair.key(
        ["2001:db8:e::/64", "2001:db8:f::/64"],
        &[
            tun(
                EAST,
                WEST,
                0x1000,
                nets("2001:db8:e::/64", "2001:db8:f::/64"),
            ),
            aes_sha1(EAST, WEST, 0x1000),
        ],
        &[
            tun(
                WEST,
                EAST,
                0x1001,
                nets("2001:db8:f::/64", "2001:db8:e::/64"),
            ),
            aes_sha1(WEST, EAST, 0x1001),
        ],
    );
    pair.key(
        [EAST_NET, WEST_NET],
        &[
            tun(east6, west6, 0x2000, nets(EAST_NET, WEST_NET)),
            tdes_md5(east6, west6, 0x2000),
        ],
        &[
            tun(west6, east6, 0x2001, nets(WEST_NET, EAST_NET)),
            tdes_md5(west6, east6, 0x2001),
        ],
    );
    let to = |net: &str, own: &str| {
        format!("ip addr add {own}/64 dev lo nodad && ip -6 route add {net} dev ipsec0 src {own}")
    };
    pair.east
        .host
        .run(&to("2001:db8:f::/64", "2001:db8:e::1"))
        .ok();
    pair.west
        .host
        .run(&to("2001:db8:e::/64", "2001:db8:f::1"))
        .ok();
    // Neighbours are to be known before the capture counts what is not ESP.
    pair.east.host.run("ping -c 1 2001:db8:1::2").ok();

    let capture = segment.capture("ip");
    pair.ping("-I 2001:db8:e::1 2001:db8:f::1");
    let captured = capture.stop();
    assert_eq!(captured.packets("not esp"), Vec::<String>::new());
    let options = esp_keys(
        ("AES-CBC [RFC3602]", &AES),
        ("HMAC-SHA-1-96 [RFC2404]", &MAC),
        false,
    );
    check_esp(&captured, &options, "ICMPv6");

    let capture = segment.capture("ip6 proto 50");
    pair.ping("10.2.0.1");
    let captured = capture.stop();
    let options = esp_keys(
        ("TripleDES-CBC [RFC2451]", &TDES),
        ("HMAC-MD5-96 [RFC2403]", &MAC[..16]),
        true,
    );
    check_esp(&captured, &options, "ICMP");
}

#[test]
fn tcp_gets_through_whole_however_big_its_segments() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "");
    let pair = pair(&testbed, &segment);
    pair.key(
        [EAST_NET, WEST_NET],
        &[
            tun(EAST, WEST, 0x1000, nets(EAST_NET, WEST_NET)),
            aes_sha1(EAST, WEST, 0x1000),
        ],
        &[
            tun(WEST, EAST, 0x1001, nets(WEST_NET, EAST_NET)),
            aes_sha1(WEST, EAST, 0x1001),
        ],
    );
    let server = pair.west.host.spawn("exec iperf3 -s -1 -B 10.2.0.1");
    pair.west.host.wait_for(
        "ss -tln | grep -q 10.2.0.1:5201",
        std::time::Duration::from_secs(5),
    );
    // -F would need a file on both sides; iperf3's own counters tell what arrived.
    let client = pair
        .east
        .host
        .run("iperf3 -c 10.2.0.1 -B 10.1.0.1 -n 20M -J");
    drop(server);
    assert!(
        client.stdout.contains("\"sum_received\""),
        "{}\n{}",
        client,
        pair.west.log()
    );
    let spi = pair.west.ctl("get ipsec_spi");
    assert!(spi.contains("esp0x1000@192.0.2.2"), "{spi}");
}

#[test]
fn a_packet_outside_the_policy_does_not_come_out() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "");
    let pair = pair(&testbed, &segment);
    // West expects another subnet behind east than packets come from.
    let there = [
        tun(EAST, WEST, 0x1000, nets("10.9.0.0/24", WEST_NET)),
        aes_sha1(EAST, WEST, 0x1000),
    ];
    pair.west.add(&there);
    pair.east.add(&there);
    pair.east.eroute(&nets(EAST_NET, WEST_NET), there[0].said);
    let capture = segment.capture("esp");
    let answer = pair.east.host.run("ping -c 3 -i 0.2 -W 1 10.2.0.1");
    assert_ne!(answer.status, 0);
    assert!(capture.stop().packets("esp").len() >= 3);
    let seen = pair
        .west
        .host
        .run("cat /sys/class/net/ipsec0/statistics/rx_packets || ip -s link show ipsec0")
        .ok();
    assert_eq!(
        seen.stdout.trim(),
        "0",
        "{}",
        pair.west.ctl("get ipsec_spi")
    );
    assert_eq!(said(SaProto::IpIp, 0x1000, WEST), there[0].said);
}

#[test]
fn a_packet_too_big_is_fragmented_or_answered() {
    let testbed = Testbed::new();
    let segment = testbed.segment("net", "");
    let pair = pair(&testbed, &segment);
    pair.key(
        [EAST_NET, WEST_NET],
        &[
            tun(EAST, WEST, 0x1000, nets(EAST_NET, WEST_NET)),
            aes_sha1(EAST, WEST, 0x1000),
        ],
        &[
            tun(WEST, EAST, 0x1001, nets(WEST_NET, EAST_NET)),
            aes_sha1(WEST, EAST, 0x1001),
        ],
    );
    let capture = segment.capture("ip");
    pair.ping("-M dont -s 5000 10.2.0.1");
    assert!(capture.stop().packets("ip[6:2] & 0x3fff != 0").len() >= 40);
    let big = pair
        .east
        .host
        .run("ping -M do -c 2 -i 0.2 -W 1 -s 1440 10.2.0.1");
    let said = format!("{}{}", big.stdout, big.stderr);
    assert!(
        said.contains("Frag needed") || said.contains("message too long"),
        "{big}"
    );
}
