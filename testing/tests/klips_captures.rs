//! Packets that KLIPS in C made, on the wire to a gateway with the SAs that they were made with. The captures are not ours to
//! carry: the environment variable `KLIPS_CAPTURES` names the directory they are in.

use pcap::frames;
use testing::{Captured, Gateways, Host, Keys, Testbed};

#[path = "../../crates/klips/tests/common/pcap.rs"]
mod pcap;

testing::on_both_data_paths!(
    esp_3des_md5_into_west,
    esp_aes_sha1_into_west,
    ah_md5_into_west,
    pings_out_of_east,
);

const EAST: &str = "192.1.2.23";
const WEST: &str = "192.1.2.45";
const DES_MD5: &str = "--esp 3des-md5-96 --enckey 0x4043434545464649494a4a4c4c4f4f515152525454575758 \
                       --authkey 0x87658765876587658765876587658765";

/// Sends the frames by one host's interface to another's on the same wire, whoever they were for.
fn replay(from: &Host, to: &Host, interface: &str, frames: &[Vec<u8>]) {
    let mac = to
        .run(&format!("cat /sys/class/net/{interface}/address"))
        .ok()
        .stdout;
    let mac: Vec<u8> = mac
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("an address"))
        .collect();
    let frames: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| [&mac[..], &frame[6..]].concat())
        .collect();
    from.send_frames(interface, &frames);
}

/// The group of `sa` (`esp.12345678` and how it is made) and a tunnel of the same SPI from east to west.
fn key(gateway: &Host, [proto, spi, made]: [&str; 3]) {
    gateway
        .run(&format!(
            "set -e
             [ -e /proc/net/ipsec_version ] || \"$IPSEC_EXECDIR\"/klipsd
             ipsec tncfg --attach --virtual ipsec0 --physical eth1
             for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
             ip link set ipsec0 up
             ipsec spi --said tun.{spi}@{WEST} --ip4 --src {EAST} --dst {WEST}
             ipsec spi --said {proto}.{spi}@{WEST} --src {EAST} {made} --replay_window 32
             ipsec spigrp --said tun.{spi}@{WEST} {proto}.{spi}@{WEST}"
        ))
        .ok();
}

/// All packets of the capture come out as echo requests that sunset gets.
fn comes_out_of(name: &str, at_least: usize, sa: [&str; 3]) {
    let Some(frames) = frames(name) else { return };
    assert!(frames.len() >= at_least, "{} packets", frames.len());
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.watch
        .end("west is keyed for the way in alone, and sunset answers");
    key(&net.west, sa);
    let [_, spi, _] = sa;
    net.west
        .run(&format!(
            "ipsec eroute --addin --eraf inet --src 192.0.2.0/24 --dst 192.0.1.0/24 --said tun.{spi}@{WEST}"
        ))
        .ok();
    let capture = net.behind_west.capture("icmp and src 192.0.2.1");
    replay(&net.east, &net.west, "eth1", &frames);
    let captured = capture.stop();
    let rows = captured.tshark(
        &["-o", "ip.check_checksum:TRUE", "-Y", "icmp"],
        &["ip.src", "ip.dst", "icmp.type", "icmp.checksum.status"],
    );
    let right = ["192.0.2.1", "192.0.1.1", "8", "1"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(
        rows,
        vec![right; frames.len()],
        "{}{}",
        net.west.run("ipsec spi"),
        net.west.log()
    );
    // Once more they are replays.
    let capture = net.behind_west.capture("icmp and src 192.0.2.1");
    replay(&net.east, &net.west, "eth1", &frames);
    assert_eq!(capture.stop().packets(""), Vec::<String>::new());
}

fn esp_3des_md5_into_west() {
    comes_out_of(
        "02-sunrise-sunset-esp.pcap",
        8,
        ["esp", "12345678", DES_MD5],
    );
}

fn esp_aes_sha1_into_west() {
    let made = "--esp aes128-sha1-96 --enckey 0xaaaabbbbccccdddd4043434545464649 \
                --authkey 0x8765876587658765876587658765876587658765";
    comes_out_of(
        "08-sunrise-sunset-aes128.pcap",
        1,
        ["esp", "ed123456", made],
    );
}

fn ah_md5_into_west() {
    let made = "--ah hmac-md5-96 --authkey 0x98765876587658765876587658765876";
    comes_out_of("08-sunrise-sunset-ah-md5.pcap", 1, ["ah", "91234567", made]);
}

/// What the packets of the capture become, by tshark, which has the keys.
fn decrypted(captured: &Captured) -> Vec<Vec<String>> {
    let sa = format!(
        "uat:esp_sa:\"IPv4\",\"{EAST}\",\"{WEST}\",\"0x12345678\",\"TripleDES-CBC [RFC2451]\",\
         \"0x4043434545464649494a4a4c4c4f4f515152525454575758\",\"HMAC-MD5-96 [RFC2403]\",\
         \"0x87658765876587658765876587658765\""
    );
    captured.tshark(
        &[
            "-o",
            "esp.enable_encryption_decode:TRUE",
            "-o",
            "esp.enable_authentication_check:TRUE",
            "-o",
            &sa,
            "-Y",
            "esp",
        ],
        &[
            "esp.spi",
            "esp.sequence",
            "ip.len",
            "ip.dst",
            "icmp.type",
            "icmp.seq",
        ],
    )
}

fn pings_out_of_east() {
    let Some(frames) = frames("01-sunrise-sunset-ping.pcap") else {
        return;
    };
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    key(&net.east, ["esp", "12345678", DES_MD5]);
    net.east
        .run(&format!(
            "ip route add 192.0.1.0/24 dev ipsec0 && \
             ipsec eroute --add --eraf inet --src 192.0.2.0/24 --dst 192.0.1.0/24 --said tun.12345678@{WEST}"
        ))
        .ok();
    // West has no IPsec, and says so.
    let capture = net.public.capture("ip and src 192.1.2.23");
    replay(&net.sunrise, &net.east, "eth0", &frames);
    let captured = capture.stop();
    assert_eq!(captured.packets("").len(), 8);
    let rows = decrypted(&captured);
    assert_eq!(rows.len(), 8, "{rows:?}");
    for (n, row) in rows.iter().enumerate() {
        let [spi, sequence, lengths, to, kind, _] = &row[..] else {
            panic!("{row:?}");
        };
        assert_eq!(
            (spi.as_str(), sequence.as_str()),
            ("0x12345678", &*(n + 1).to_string())
        );
        // The outer packet, 20 more than ESP's 116, and the inner one.
        assert_eq!(lengths.split(',').collect::<Vec<_>>(), ["136", "84"]);
        assert_eq!(to.split(',').collect::<Vec<_>>(), [WEST, "192.0.1.1"]);
        assert_eq!(kind, "8");
    }
}
