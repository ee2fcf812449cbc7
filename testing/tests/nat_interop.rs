//! NAT between us and the peers: our road warrior behind NAT to each, and two of theirs behind one NAT to us.

use std::time::Duration;

use testing::peer::Kind;
use testing::{Host, Peer, Road, Testbed};

testing::on_klips_ko!(
    our_road_warrior_to_strongswan,
    our_road_warrior_to_libreswan,
    libreswans_lost_mapping_is_noticed_by_dpd,
    strongswans_road_warriors_to_us,
    libreswans_road_warriors_to_us,
);
testing::in_test_kernel!(
    our_road_warrior_to_strongswan,
    our_road_warrior_to_libreswan,
    libreswans_lost_mapping_is_noticed_by_dpd,
    strongswans_road_warriors_to_us,
    libreswans_road_warriors_to_us,
);

const SECRET: &str = "a secret of at least some length";

/// What FreeS/WAN's heirs read alike: `right` is the road warrior.
fn conn(right: &str, id: &str, net: &str) -> String {
    format!(
        "conn road\n\tleft=192.1.2.23\n\tleftid=@east\n\tleftsubnet=192.0.2.0/24\n\tright={right}\n\trightid=@{id}\n{net}\
         \tauthby=secret\n\tike=aes128-sha1-modp2048\n\tesp=aes128-sha1\n\tpfs=no\n\tauto=add\n"
    )
}

fn ours(host: &Host, device: &str, setup: &str, conn: &str) {
    host.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0={device}\"\n{setup}\n{conn}"
    ));
    host.secrets(&format!(": PSK \"{SECRET}\"\n"));
    host.run("ipsec setup start").ok();
}

/// A road warrior's or, with `%any`, the gateway's swanctl.conf. The ends are (address, id, subnet).
fn swanctl(local: [&str; 3], remote: [&str; 3]) -> String {
    let [here, us, our_net] = local;
    let [there, them, their_net] = remote;
    format!(
        "connections {{\n road {{\n  version = 1\n  local_addrs = {here}\n  remote_addrs = {there}\n  proposals = aes128-sha1-modp2048\n\
         \x20 local {{\n   auth = psk\n   id = @{us}\n  }}\n  remote {{\n   auth = psk\n   id = @{them}\n  }}\n  children {{\n   road {{\n\
         \x20   local_ts = {our_net}\n    remote_ts = {their_net}\n    esp_proposals = aes128-sha1\n   }}\n  }}\n }}\n}}\n\
         secrets {{\n ike-road {{\n  secret = \"{SECRET}\"\n }}\n}}\n"
    )
}

fn libreswan<'h>(host: &'h Host, setup: &str, conn: &str) -> Peer<'h> {
    // By its syntax a group stands behind a semicolon, and either will do.
    let conf = format!("config setup\n\tikev1-policy=accept\n{setup}\n{conn}\tikev2=no\n");
    Peer::libreswan(
        host,
        &conf,
        &format!(
            "%any @east : PSK \"{SECRET}\"\n@east %any : PSK \"{SECRET}\"\n: PSK \"{SECRET}\"\n"
        ),
    )
}

#[track_caller]
fn pings(host: &Host, to: &str, logs: impl Fn() -> String) {
    // Who answered a Quick Mode has its SA when the third message has come to it.
    let said = host.run(&format!(
        "for try in 1 2 3; do ping -n -q -c 1 -W 1 {to} >/dev/null && break; done
         ping -n -q -c 5 -i 0.2 -W 2 {to}"
    ));
    assert!(said.contains(" 0% packet loss"), "{said}\n{}", logs());
}

/// East as the gateway of road warriors with private addresses.
fn gateway<'h>(east: &'h Host, kind: Kind) -> Peer<'h> {
    match kind {
        Kind::Strongswan | Kind::Libipsec => Peer::strongswan(
            east,
            &swanctl(
                ["192.1.2.23", "east", "192.0.2.0/24"],
                ["%any", "road", "10.0.0.9/32"],
            ),
        ),
        Kind::Libreswan => libreswan(
            east,
            "\tvirtual-private=%v4:10.0.0.0/8\n",
            &conn("%any", "road", "\trightsubnet=vhost:%priv,%no\n"),
        ),
    }
}

fn our_road_warrior_to(kind: Kind) {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.router.lifetime(3);
    let peer = gateway(&net.east, kind);
    let road = net.host("road", "10.0.0.9");
    let logs = || format!("{}\n{}\n{}", road.log(), peer.log(), peer.status());
    ours(
        &road,
        "eth0",
        "\tkeep_alive=1\n",
        &conn("10.0.0.9", "road", ""),
    );
    for _ in 0..2 {
        // The second time in place of the first.
        let up = road.run("ipsec auto --up road");
        assert!(up.status == 0, "{up}\n{}", logs());
        pings(&road, "192.0.2.1", logs);
        pings(&net.sunrise, "10.0.0.9", logs);
    }
    road.run("grep -F 'Result using RFC 3947 (NAT-Traversal): i am NATed' /run/pluto/pluto.log")
        .ok();
    // Longer than a mapping lives without keep-alives.
    std::thread::sleep(Duration::from_secs(6));
    pings(&net.sunrise, "10.0.0.9", logs);
    // libreswan 4.10 goes on sending to where the peer was.
    if kind == Kind::Strongswan {
        net.router.forget();
        road.run("ping -n -q -c 5 -i 0.5 -W 1 192.0.2.1");
        pings(&road, "192.0.2.1", logs);
        pings(&net.sunrise, "10.0.0.9", logs);
    }
    road.run("ipsec auto --down road").ok();
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    while !peer.kernel_sas().is_empty() {
        assert!(std::time::Instant::now() < deadline, "{}", logs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// libreswan 4.10 answers to where the peer was; our side finds it dead, and meets it anew from where it is now.
fn libreswans_lost_mapping_is_noticed_by_dpd() {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.router.lifetime(3);
    let peer = gateway(&net.east, Kind::Libreswan);
    let road = net.host("road", "10.0.0.9");
    let logs = || format!("{}\n{}\n{}", road.log(), peer.log(), peer.status());
    let dpd = "\tdpddelay=2s\n\tdpdtimeout=6s\n\tdpdaction=restart\n";
    let text = conn("10.0.0.9", "road", dpd);
    ours(&road, "eth0", "\tkeep_alive=1\n", &text);
    let up = road.run("ipsec auto --up road");
    assert!(up.status == 0, "{up}\n{}", logs());
    pings(&road, "192.0.2.1", logs);
    net.router.forget();
    // dpdtimeout, one more question, and what a loaded machine takes.
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while road.run("ping -n -q -c 1 -W 1 192.0.2.1").status != 0 {
        assert!(std::time::Instant::now() < end, "{}", logs());
    }
    road.run("grep 'DPD: no response from peer' /run/pluto/pluto.log")
        .ok();
    pings(&road, "192.0.2.1", logs);
    pings(&net.sunrise, "10.0.0.9", logs);
}

fn our_road_warrior_to_strongswan() {
    our_road_warrior_to(Kind::Strongswan);
}

fn our_road_warrior_to_libreswan() {
    our_road_warrior_to(Kind::Libreswan);
}

fn their_road_warriors(kind: Kind) {
    let testbed = Testbed::new();
    let net = Road::new(&testbed);
    net.router.lifetime(3);
    let road =
        conn("%any", "none", "\trightsubnet=vhost:%priv,%no\n").replace("\trightid=@none\n", "");
    let setup = "\tvirtual_private=%v4:10.0.0.0/8\n\tkeep_alive=1\n\tforce_keepalive=yes\n";
    ours(&net.east, "eth1", setup, &road);
    let hosts = [("one", "10.0.0.9"), ("two", "10.0.0.10")]
        .map(|(name, addr)| (name, addr, net.host(name, addr)));
    let peers: Vec<(&str, Peer<'_>)> = hosts
        .iter()
        .map(|(name, addr, host)| {
            let peer = match kind {
                Kind::Strongswan | Kind::Libipsec => Peer::strongswan(
                    host,
                    &swanctl(
                        [addr, name, &format!("{addr}/32")],
                        ["192.1.2.23", "east", "192.0.2.0/24"],
                    ),
                ),
                Kind::Libreswan => libreswan(host, "", &conn(addr, name, "")),
            };
            (*addr, peer)
        })
        .collect();
    let logs = || {
        let theirs: Vec<String> = peers.iter().map(|(_, peer)| peer.log()).collect();
        format!("{}\n{}", net.east.log(), theirs.join("\n"))
    };
    for (_, peer) in &peers {
        let up = peer.up("road");
        assert!(up.status == 0, "{up}\n{}", logs());
    }
    for (addr, peer) in &peers {
        pings(peer.host(), "192.0.2.1", logs);
        pings(&net.sunrise, addr, logs);
    }
    net.router.forget();
    for (addr, peer) in &peers {
        peer.host().run("ping -n -q -c 5 -i 0.5 -W 1 192.0.2.1");
        pings(peer.host(), "192.0.2.1", logs);
        pings(&net.sunrise, addr, logs);
    }
    net.east
        .run("grep 'peer has moved' /run/pluto/pluto.log")
        .ok();
    peers[0].1.down("road");
    net.east.wait_for(
        "! ipsec auto --status | grep -q '@one'",
        Duration::from_secs(10),
    );
    pings(peers[1].1.host(), "192.0.2.1", logs);
}

fn strongswans_road_warriors_to_us() {
    their_road_warriors(Kind::Strongswan);
}

fn libreswans_road_warriors_to_us() {
    their_road_warriors(Kind::Libreswan);
}
