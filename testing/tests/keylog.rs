//! `keylogfile=`: Wireshark reads what was encrypted, and calls nothing malformed; without it, and with files of others, nothing is written.

use testing::{Captured, Gateways, Host, Keys, NET_TO_NET, Testbed, peer::WiresharkKeys};

testing::on_both_data_paths!(
    wireshark_reads_aes_and_sha1,
    wireshark_reads_aes_gcm_and_3des,
);

/// Payloads by which it shows that a message of an exchange was decrypted: an identity; a hash, an SA and a nonce; a hash and a deletion.
const SHOWN: [(&str, &[&str]); 3] = [
    ("2", &["5"]),
    ("32", &["8", "1", "10"]),
    ("5", &["8", "12"]),
];

fn read_with_keys_of(gateway: &Host, captured: &Captured) {
    let keys = WiresharkKeys::of(gateway, "/run/keys");
    let malformed = keys.read(captured, "_ws.malformed", &["frame.number", "_ws.col.Info"]);
    assert_eq!(malformed, Vec::<Vec<String>>::new());
    for source in ["192.1.2.45", "192.1.2.23"] {
        keys.shows(captured, source, &SHOWN);
    }
    assert!(
        !keys
            .read(captured, "esp && icmp.type == 8", &["frame.number"])
            .is_empty()
    );
    assert!(
        !keys
            .read(captured, "esp && icmp.type == 0", &["frame.number"])
            .is_empty()
    );
}

fn between_our_own(esp: &str, ike: &str) {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conn = format!("{NET_TO_NET}\tike={ike}!\n\tesp={esp}!\n");
    net.configure("\tkeylogfile=/run/keys\n", &conn).start();
    let capture = net.public.capture("udp port 500 or esp");
    net.up("net-to-net");
    assert_eq!(net.pings(3, "0.1", "ff"), 3);
    // East deletes its own too.
    net.west.run("ipsec auto --down net-to-net; sleep 1").ok();
    net.east
        .run("ipsec auto --up net-to-net && ipsec auto --down net-to-net; sleep 1")
        .ok();
    let captured = capture.stop().without_repetitions();
    read_with_keys_of(&net.west, &captured);
    read_with_keys_of(&net.east, &captured);
    net.west
        .run("stat -c '%a %U' /run/keys /run/keys.esp_sa | sort -u")
        .ok()
        .says("600 root");
    net.west
        .run("cat /run/pluto/pluto.log; ipsec auto --status")
        .ok()
        .says("WARNING: keys are written to \"/run/keys\"");
}

fn wireshark_reads_aes_and_sha1() {
    between_our_own("aes128-sha1", "aes256-sha2_256-modp2048");
}

fn wireshark_reads_aes_gcm_and_3des() {
    between_our_own("aes_gcm256", "3des-sha1-modp1536");
}

#[test]
fn none_without_it_and_no_start_with_a_file_that_others_read() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET).start();
    net.west
        .run("cat /run/pluto/pluto.log; ipsec auto --status")
        .ok()
        .never_says("keys are written");
    net.west.run("ipsec setup stop").ok();
    net.configure("\tkeylogfile=/run/keys\n", NET_TO_NET);
    net.west.run("install -m 644 /dev/null /run/keys").ok();
    net.west
        .run("ipsec setup start")
        .fails()
        .says("key log /run/keys: others may read or write it");
}
