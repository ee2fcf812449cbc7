//! What goes wrong in practice is said with its place and its remedy.

use std::time::Duration;

use testing::{Gateways, Keys, NET_TO_NET, Output, Testbed};

testing::on_both_data_paths!(
    a_misspelt_keyword_is_pointed_at_and_the_right_one_proposed,
    a_bad_address_is_pointed_at,
    a_missing_also_target_is_named_with_what_exists,
    subnets_that_overlap_are_refused,
    an_unknown_connection_is_named,
    no_secret_for_the_peer_names_both_and_the_file,
    another_secret_is_called_a_probable_mismatch,
    another_rsa_key_is_refused_by_name,
    a_peer_without_a_connection_is_told_apart,
    a_peer_that_refuses_the_tunnel_ends_the_attempt_with_its_reason,
    a_peer_that_cant_install_the_tunnel_says_so,
    g9_a_port_that_another_program_has_is_told_by_start_status_and_up,
    an_interface_that_is_not_there_or_down_is_named,
);

/// A gateway's ipsec.conf with this conn section, through `ipsec auto --add`.
fn adding(conn: &str) -> Output {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.west.run("ipsec setup start").ok();
    net.west.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n\n{conn}"
    ));
    let output = net.west.run("ipsec auto --add broken");
    // One bad section must not cost what is already there.
    net.west
        .run("ipsec auto --status")
        .ok()
        .says("\"net-to-net\"");
    output.fails()
}

fn a_misspelt_keyword_is_pointed_at_and_the_right_one_proposed() {
    let conn = "conn broken\n\tleft=192.1.2.45\n\tleftsubnte=192.0.1.0/24\n\tright=192.1.2.23\n";
    adding(conn)
        .says("/etc/ipsec.conf:8")
        .says("leftsubnte")
        .says("leftsubnet");
}

fn a_bad_address_is_pointed_at() {
    let conn = "conn broken\n\tleft=192.1.2.256\n\tright=192.1.2.23\n";
    adding(conn).says("/etc/ipsec.conf:7").says("192.1.2.256");
}

fn a_missing_also_target_is_named_with_what_exists() {
    let conn = "conn broken\n\talso=gatewasy\n\tauto=add\n\nconn gateways\n\tleft=192.1.2.45\n\tright=192.1.2.23\n";
    adding(conn)
        .says("/etc/ipsec.conf:7")
        .says("gatewasy")
        .says("gateways");
}

fn subnets_that_overlap_are_refused() {
    let conn = "conn broken\n\tleft=192.1.2.45\n\tleftsubnet=192.0.2.0/24\n\tright=192.1.2.23\n\trightsubnet=192.0.2.0/24\n";
    adding(conn)
        .says("/etc/ipsec.conf:10")
        .says("overlap: both are 192.0.2.0/24")
        .says("renumber");
}

fn an_unknown_connection_is_named() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.west.run("ipsec setup start").ok();
    net.west
        .run("ipsec auto --add net2net")
        .fails()
        .says("net2net")
        .says("net-to-net");
    net.west
        .run("ipsec auto --up net2net")
        .exits(21)
        .says("no connection named \"net2net\"");
}

fn no_secret_for_the_peer_names_both_and_the_file() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.west.secrets("@north @south : PSK \"not for us\"\n");
    net.start();
    let up = net.west.run("ipsec auto --up net-to-net").fails();
    up.says("ipsec.secrets")
        .says("@west")
        .says("@east")
        .never_says("not for us");
}

fn another_secret_is_called_a_probable_mismatch() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.east.secrets("@west @east : PSK \"another secret\"\n");
    net.start();
    net.west.run("timeout 8 ipsec auto --up net-to-net").fails();
    let log = net.east.log();
    assert!(log.contains("mismatch of preshared secrets"), "{log}");
    assert!(!log.contains("another secret"), "{log}");
}

fn another_rsa_key_is_refused_by_name() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Rsa);
    net.configure("", NET_TO_NET);
    net.west.run("ipsec newhostkey --output /etc/new.secrets --bits 2048 && mv /etc/new.secrets /etc/ipsec.secrets").ok();
    net.start();
    net.west.run("timeout 8 ipsec auto --up net-to-net").fails();
    let log = net.east.log();
    assert!(
        log.contains("@west") && log.to_lowercase().contains("signature"),
        "{log}"
    );
}

fn a_peer_without_a_connection_is_told_apart() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.east
        .conf("version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n");
    net.start();
    net.west.run("timeout 5 ipsec auto --up net-to-net").fails();
    let log = net.east.log();
    assert!(
        log.contains("192.1.2.45") && log.contains("no connection"),
        "{log}"
    );
}

fn a_peer_that_refuses_the_tunnel_ends_the_attempt_with_its_reason() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let other_subnet = NET_TO_NET
        .replace("net-to-net", "elsewhere")
        .replace("192.0.2.0/24", "192.0.3.0/24");
    net.configure("", &format!("{NET_TO_NET}\tesp=aes256-sha1!\n"));
    net.west.run("cp /etc/ipsec.conf /etc/west.conf").ok();
    net.configure("", &format!("{NET_TO_NET}\tesp=3des-sha1!\n"));
    net.west.run("mv /etc/west.conf /etc/ipsec.conf").ok();
    net.start();
    net.west
        .run("timeout 8 ipsec auto --up net-to-net")
        .exits(214)
        .says("NO_PROPOSAL_CHOSEN")
        .says("esp=");
    let conf = net.west.read("/etc/ipsec.conf");
    net.west.conf(&format!("{conf}\n{other_subnet}"));
    net.west
        .run("ipsec auto --add elsewhere && timeout 8 ipsec auto --up elsewhere")
        .exits(218)
        .says("INVALID_ID_INFORMATION")
        .says("rightsubnet=");
}

fn a_peer_that_cant_install_the_tunnel_says_so() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conn = format!("{NET_TO_NET}\tkeyingtries=1\n");
    net.configure("", &format!("{conn}\trightupdown=/bin/false\n"))
        .start();
    let said = net.west.run("timeout 20 ipsec auto --up net-to-net");
    assert_eq!(said.status, 214, "{said}\n{}", net.east.log());
    said.says("refused by the peer: NO_PROPOSAL_CHOSEN")
        .says("see its log");
    net.east
        .run("cat /run/pluto/pluto.log")
        .ok()
        .says("command exited with status 1")
        .says("the IPsec SA could not be installed");
    net.east.run("ipsec spi").ok().never_says("esp0x");
}

fn g9_a_port_that_another_program_has_is_told_by_start_status_and_up() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.east.run("ipsec setup start").ok();
    let _taker = net.west.spawn("exec nc -u -l -s 192.1.2.45 -p 500");
    net.west
        .wait_for("ss -ulpn | grep -q ':500 '", Duration::from_secs(10));
    let told = |output: Output| {
        output
            .says("192.1.2.45:500")
            .says("nc (pid ")
            .says("ss -ulpn 'sport = 500'")
    };
    told(net.west.run("ipsec setup start").exits(150)).says("not all of it");
    told(net.west.run("ipsec setup status").exits(1)).says("but...");
    told(
        net.west
            .run("timeout 20 ipsec auto --up net-to-net")
            .exits(22),
    );
    net.west
        .run("ipsec verify")
        .fails()
        .says("192.1.2.45:500 failed");
    // Nothing is to be done but to free the port: what was asked for comes about.
    net.west.run("kill $(pgrep -x nc)").ok();
    net.west.wait_for(
        "ipsec setup status && ipsec auto --status | grep -q 'IPsec SA established'",
        Duration::from_secs(60),
    );
    assert_eq!(net.pings(2, "0.2", "ab"), 2);
}

/// Whatever keeps a start from being all of it shows in its exit status: 1 if nothing runs, 150 if something does.
#[test]
fn g9_a_start_that_failed_says_so_by_its_exit_status() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let west = &net.west;
    let broken = "conn broken\n\tleft=192.1.2.45\n\tright=192.1.2.256\n\tauto=add\n";
    for (what, setup, conns, spoil, status, says) in [
        ("all is well", "", "", "true", 0, ""),
        (
            "a connection that does not load",
            "",
            broken,
            "true",
            150,
            "could not add conn \"broken\"",
        ),
        (
            "no such device",
            "",
            "",
            "sed -i s/ipsec0=eth1/ipsec0=eth7/ /etc/ipsec.conf",
            150,
            "eth7",
        ),
        (
            "secrets that can't be read",
            "",
            "",
            "rm /etc/ipsec.secrets; mkdir /etc/ipsec.secrets",
            150,
            "ipsec.secrets",
        ),
        (
            "secrets that make no sense",
            "",
            "",
            "echo ': PSK nonsense' >>/etc/ipsec.secrets",
            150,
            "/etc/ipsec.secrets:",
        ),
        (
            "an option that pluto refuses",
            "\tplutoopts=\"--nonsense\"\n",
            "",
            "true",
            1,
            "nonsense",
        ),
        (
            "a class that klipsdebug= lacks",
            "\tklipsdebug=nonsense\n",
            "",
            "true",
            1,
            "nonsense",
        ),
        (
            "a value that config setup lacks",
            "\tuniqueids=perhaps\n",
            "",
            "true",
            1,
            "uniqueids",
        ),
        (
            "no pluto",
            "",
            "",
            "mkdir /run/none && ln -s \"$IPSEC_EXECDIR\"/* /run/none/ && rm /run/none/pluto && export IPSEC_EXECDIR=/run/none",
            1,
            "pluto is not installed",
        ),
        (
            "a pluto that dies at once",
            "",
            "",
            "printf '#!/bin/sh\\nkill -9 $$\\n' >/run/none/pluto && chmod +x /run/none/pluto && export IPSEC_EXECDIR=/run/none",
            1,
            "pluto failed",
        ),
    ] {
        west.run("rm -rf /etc/ipsec.secrets").ok();
        net.configure(setup, &format!("{NET_TO_NET}\n{conns}"));
        let start = west.run(&format!("{spoil}; ipsec setup start"));
        assert_eq!(start.status, status, "{what}: {start}\n{}", west.log());
        let start = start.says(says);
        let runs = if status == 1 { 3 } else { 0 };
        let shown = west.run("ipsec setup status");
        assert_eq!(shown.status, runs, "{what}: {start}\n{shown}");
        west.run("ipsec setup stop").ok();
        west.wait_for("! pgrep -x 'pluto|klipsd'", Duration::from_secs(10));
    }
}

#[test]
fn no_permission_for_tun_says_what_is_needed() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    let start = net
        .west
        .run("setpriv --bounding-set -net_admin --inh-caps -net_admin ipsec setup start")
        .fails();
    start.says("CAP_NET_ADMIN");
    // What gave up says so a moment before it has ended.
    net.west
        .wait_for("! pgrep -x 'pluto|klipsd'", Duration::from_secs(5));
    net.west
        .run("mount --bind /dev/null /dev/net/tun 2>/dev/null; ipsec setup start")
        .fails()
        .says("/dev/net/tun");
}

mod module {
    testing::on_klips_ko!(no_permission_for_klips_says_what_is_needed);
    use super::no_permission_for_klips_says_what_is_needed;
}

fn no_permission_for_klips_says_what_is_needed() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.west
        .run("setpriv --bounding-set -net_admin --inh-caps -net_admin ipsec setup start")
        .fails()
        .says("root");
    // What gave up says so a moment before it has ended.
    net.west
        .wait_for("! pgrep -x 'pluto|klipsd'", Duration::from_secs(5));
}

fn an_interface_that_is_not_there_or_down_is_named() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    net.west.run("ip link set eth1 down").ok();
    net.west.run("ipsec setup start").says("eth1").says("down");
    net.west.run("ipsec setup stop").ok();
    net.west
        .run("sed -i 's/ipsec0=eth1/ipsec0=eth7/' /etc/ipsec.conf; ipsec setup start")
        .fails()
        .says("eth7");
}
