//! What a connection can be besides the quickstart's.

use std::time::Duration;

use testing::{Gateways, Keys, NET_TO_NET, Testbed};

testing::on_both_data_paths!(
    without_pfs,
    aes_256_with_modp2048,
    triple_des_with_md5,
    sha2_256_with_ecp,
    sha2_512_with_curve25519,
    camellia,
    aes_gcm,
    aes_ctr,
    chacha20_poly1305,
    null_with_authentication,
    aes_xcbc_and_aes_cmac,
    ah_with_sha2,
    extended_sequence_numbers,
    what_is_agreed_on_by_default,
    authentication_by_ah,
    compressed,
    host_to_host_in_transport_mode,
    road_warriors_are_instances_of_one_connection,
);

/// Brings net-to-net up with more lines in it and pings across; gives the capture's packets for `filter`.
fn tunnel_with(lines: &str, filter: &str) -> usize {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", &format!("{NET_TO_NET}{lines}")).start();
    let capture = net.public.capture("");
    net.up("net-to-net");
    assert_eq!(
        net.pings(10, "0.05", "ff"),
        10,
        "{}\n{}",
        net.west.log(),
        net.east.log()
    );
    // Large enough to be fragmented on the way; at once, since ping waits for the last answer as long as between two packets.
    net.sunset
        .run("ping -n -q -c 3 -l 3 -i 2 -s 3000 192.0.2.1")
        .ok()
        .says(" 0% packet loss");
    capture.stop().packets(filter).len()
}

fn without_pfs() {
    assert!(tunnel_with("\tpfs=no\n", "esp") >= 26);
}

fn aes_256_with_modp2048() {
    assert!(tunnel_with("\tike=aes256-sha1-modp2048\n\tesp=aes256-sha1\n", "esp") >= 26);
}

fn triple_des_with_md5() {
    assert!(tunnel_with("\tike=3des-md5-modp1536\n\tesp=3des-md5\n", "esp") >= 26);
}

fn sha2_256_with_ecp() {
    let lines = "\tike=aes256-sha2_256-ecp256!\n\tesp=aes256-sha2_256!\n";
    assert!(tunnel_with(lines, "esp") >= 26);
}

fn sha2_512_with_curve25519() {
    let lines = "\tike=aes256-sha2_512-curve25519!\n\tesp=aes128-sha2_512!\n\tpfsgroup=ecp384\n";
    assert!(tunnel_with(lines, "esp") >= 26);
}

fn camellia() {
    let lines = "\tike=camellia256-sha2_384-modp3072!\n\tphase2alg=camellia128-sha2_384!\n";
    assert!(tunnel_with(lines, "esp") >= 26);
}

fn aes_gcm() {
    for list in ["aes_gcm256-null!", "aes_gcm_8_128!"] {
        assert!(
            tunnel_with(&format!("\tesp={list}\n"), "esp") >= 26,
            "{list}"
        );
    }
}

fn aes_ctr() {
    assert!(tunnel_with("\tesp=aes_ctr192-sha2_256!\n", "esp") >= 26);
}

fn chacha20_poly1305() {
    assert!(tunnel_with("\tesp=chacha20_poly1305!\n", "esp") >= 26);
}

fn null_with_authentication() {
    assert!(tunnel_with("\tesp=null-sha2_256!\n", "esp") >= 26);
}

fn aes_xcbc_and_aes_cmac() {
    for list in ["aes128-aes_xcbc!", "3des-aes_cmac!"] {
        assert!(
            tunnel_with(&format!("\tesp={list}\n"), "esp") >= 26,
            "{list}"
        );
    }
}

fn ah_with_sha2() {
    let lines = "\tphase2=ah\n\tphase2alg=sha2_512!\n";
    assert!(tunnel_with(lines, "ip proto 51") >= 26);
}

fn extended_sequence_numbers() {
    assert!(tunnel_with("\tesn=yes\n", "esp") >= 26);
}

fn what_is_agreed_on_by_default() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET).start();
    net.up("net-to-net");
    for gateway in [&net.west, &net.east] {
        // East has its SA a moment after west.
        gateway.wait_for(
            "ipsec auto --status | grep 'ESP algorithm newest'",
            Duration::from_secs(10),
        );
        gateway
            .run("ipsec auto --status")
            .ok()
            .says("IKE algorithm newest: AES_CBC_256-SHA2_256-DH19")
            .says("ESP algorithm newest: AES_GCM_16_256-NONE; pfsgroup=<Phase1>");
    }
}

fn authentication_by_ah() {
    assert!(tunnel_with("\tauth=ah\n", "ip proto 51") >= 26);
}

fn compressed() {
    assert!(tunnel_with("\tcompress=yes\n", "esp") >= 20);
}

fn host_to_host_in_transport_mode() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conn = "conn hosts\n\tleft=192.1.2.45\n\tleftid=@west\n\tright=192.1.2.23\n\trightid=@east\n\
                \ttype=transport\n\tauto=add\n";
    net.configure("", conn).start();
    let capture = net
        .public
        .capture("not arp and not icmp6 and not igmp and not ip6 multicast");
    net.up("hosts");
    net.west
        .run("ping -n -q -c 10 -i 0.05 192.1.2.23")
        .ok()
        .says(" 0% packet loss");
    net.east
        .run("ping -n -q -c 10 -i 0.05 192.1.2.45")
        .ok()
        .says(" 0% packet loss");
    let captured = capture.stop();
    assert!(captured.packets("esp").len() >= 40);
    assert_eq!(
        captured.packets("not esp and not udp port 500"),
        Vec::<String>::new()
    );
}

fn road_warriors_are_instances_of_one_connection() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let secret = "\"a secret for everybody on the road\"";
    let road = |right: &str| {
        format!(
            "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n\nconn road\n\tleft=192.1.2.45\n\tleftid=@west\n\
             \tleftsubnet=192.0.1.0/24\n\tright={right}\n\tauthby=secret\n\tauto=add\n"
        )
    };
    net.west
        .conf(&road("%any"))
        .secrets(&format!(": PSK {secret}\n"));
    net.west.run("ipsec setup start").ok();
    for (host, address) in [
        (&net.east, "192.1.2.23"),
        (&testbed.host("north"), "192.1.2.33"),
    ] {
        if host.name() == "north" {
            host.attach(&net.public, "eth1", "192.1.2.33/24")
                .gateway("192.1.2.254");
        }
        host.conf(&road(address))
            .secrets(&format!(": PSK {secret}\n"));
        host.run("ipsec setup start").ok();
        let up = host.run("ipsec auto --up road");
        assert!(up.status == 0, "{up}\n{}\n{}", net.west.log(), host.log());
        host.run("ping -n -q -c 5 -i 0.1 192.0.1.1")
            .ok()
            .says(" 0% packet loss");
    }
    let status = net.west.run("ipsec auto --status").ok();
    for instance in ["\"road\"[1] 192.1.2.23", "\"road\"[2] 192.1.2.33"] {
        assert!(status.contains(instance), "{instance}: {status}");
    }
    net.east
        .run("ipsec auto --down road && ipsec setup stop")
        .ok();
    net.west
        .run("sleep 1; ipsec auto --status")
        .ok()
        .never_says("192.1.2.23")
        .says("192.1.2.33");
}
