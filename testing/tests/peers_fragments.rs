//! IKE messages longer than a packet, with real peers: each side cuts its own and puts the other's together, whoever begins.

use std::time::Duration;

use testing::interop::{Bench, Role, Row, Suite, Wrap, plain_row};
use testing::peer::Kind;
use testing::{Captured, Testbed};

testing::in_test_kernel!(strongswan, libreswan);

/// charon is told, and cuts more than it would.
fn strongswan() {
    in_pieces(Kind::Strongswan, 500);
}

/// What every IPv4 host must take is libreswan's limit.
fn libreswan() {
    in_pieces(Kind::Libreswan, 576);
}

/// Keys so long that with a hash and two proposals they fit no packet: both messages of Quick Mode that carry them.
static LONG: Suite = Suite {
    ours: ["aes256-sha2_512-modp8192", "aes128-sha1"],
    swanctl: ["aes256-sha512-modp8192", "aes128-sha1"],
    group: "modp8192",
    lacks: &[],
};

/// `limit` is the longest packet that the peer makes.
fn in_pieces(kind: Kind, limit: usize) {
    let testbed = Testbed::new();
    let bench = Bench::new(&testbed, kind);
    let peer = bench.peer();
    if kind == Kind::Strongswan {
        peer.run(&format!(
            "sed -i 's/^charon {{/&\\n\\tfragment_size = {limit}/' /etc/strongswan.conf && swanctl --reload-settings"
        ))
        .ok();
    }
    let row = Row {
        suite: &LONG,
        wrap: Wrap::Compressed,
        ..plain_row(kind)
    };
    let theirs = bench.theirs_of(&row);
    let theirs = match kind {
        Kind::Libreswan => format!("{theirs}\tfragmentation=force\n"),
        _ => theirs.replace(
            "version = 1\n",
            "version = 1\n        fragmentation = force\n",
        ),
    };
    // Ours because the peer says that it understands them, and without asking.
    for (policy, role) in [("yes", Role::We), ("force", Role::They)] {
        let ours = format!("{}\tfragmentation={policy}\n", bench.ours_of(&row));
        let capture = bench.net().public.capture("udp");
        let up = bench
            .load_texts(&ours, &theirs)
            .and_then(|()| bench.up(role));
        let why = |text: &str| format!("{policy} {role:?}: {text}\n{}", bench.logs(&row));
        assert!(up.is_ok(), "{}", why(&format!("{up:?}")));
        let ping = "ping -n -q -c 1 -W 1 192.0.2.1";
        bench.net().sunset.wait_for(ping, Duration::from_secs(10));
        bench.net().west.run("ipsec auto --down cell");
        peer.down("cell");

        let captured = capture.stop();
        let from_us = pieces(&captured, "192.1.2.45");
        let within = |lengths: &[usize], limit| lengths.iter().all(|length| *length <= limit);
        let good = from_us.len() >= 2 && within(&from_us, 1280);
        assert!(good, "{}", why(&format!("ours: {from_us:?}")));
        let from_them = pieces(&captured, "192.1.2.23");
        let good = from_them.len() >= 6 && within(&from_them, limit);
        assert!(good, "{}", why(&format!("theirs: {from_them:?}")));
        let cut_by_ip = "ip.flags.mf == 1 || ip.frag_offset > 0";
        let cut_by_ip = captured.tshark(&["-Y", cut_by_ip], &["frame.number"]);
        assert_eq!(cut_by_ip, Vec::<Vec<String>>::new());
    }
}

/// The lengths of the packets with pieces from an address.
fn pieces(captured: &Captured, from: &str) -> Vec<usize> {
    let filter = format!("isakmp.nextpayload == 132 && ip.src == {from}");
    let rows = captured.tshark(&["-Y", &filter], &["ip.len"]);
    rows.iter()
        .filter_map(|row| row.first()?.parse().ok())
        .collect()
}
