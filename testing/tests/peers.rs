//! The first tunnel with each peer.

use testing::{Gateways, Keys, Peer, Testbed};

testing::in_test_kernel!(strongswan_by_shared_secret, libreswan_by_shared_secret);

const SECRET: &str = "@west @east : PSK \"a secret of at least some length\"\n";

const OURS: &str = "\
version 2.0

config setup
\tinterfaces=\"ipsec0=eth1\"

conn net-to-net
\tleft=192.1.2.45
\tleftid=@west
\tleftsubnet=192.0.1.0/24
\tright=192.1.2.23
\trightid=@east
\trightsubnet=192.0.2.0/24
\tauthby=secret
\tauto=add
";

fn talks(net: &Gateways, peer: &Peer) {
    net.west.conf(OURS).secrets(SECRET);
    net.west.run("ipsec setup start").ok();
    for ours in [true, false] {
        let up = if ours {
            net.west.run("ipsec auto --up net-to-net")
        } else {
            peer.up("net-to-net")
        };
        assert!(up.status == 0, "{up}\n{}\n{}", net.west.log(), peer.log());
        assert_eq!(
            net.pings(10, "0.05", "ff"),
            10,
            "{up}\n{}\n{}\n{}",
            peer.status(),
            net.west.log(),
            peer.log()
        );
        let down = if ours {
            net.west.run("ipsec auto --down net-to-net")
        } else {
            peer.down("net-to-net")
        };
        assert!(down.status == 0, "{down}");
        std::thread::sleep(std::time::Duration::from_millis(500));
        println!(
            "{}",
            net.west
                .run("ipsec auto --status; ipsec eroute; ipsec spi")
                .stdout
        );
        assert_eq!(peer.leftovers(), "");
    }
}

fn strongswan_by_shared_secret() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conf = "\
connections {
    net-to-net {
        version = 1
        local_addrs = 192.1.2.23
        remote_addrs = 192.1.2.45
        proposals = 3des-sha1-modp1536
        local {
            auth = psk
            id = @east
        }
        remote {
            auth = psk
            id = @west
        }
        children {
            net-to-net {
                local_ts = 192.0.2.0/24
                remote_ts = 192.0.1.0/24
                esp_proposals = 3des-sha1-modp1536
            }
        }
    }
}
secrets {
    ike-west {
        id-1 = @west
        id-2 = @east
        secret = \"a secret of at least some length\"
    }
}
";
    let peer = Peer::strongswan(&net.east, conf);
    talks(&net, &peer);
}

fn libreswan_by_shared_secret() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conf = "\
config setup
\tikev1-policy=accept

conn net-to-net
\tikev2=no
\tleft=192.1.2.45
\tleftid=@west
\tleftsubnet=192.0.1.0/24
\tright=192.1.2.23
\trightid=@east
\trightsubnet=192.0.2.0/24
\tauthby=secret
\tike=3des-sha1;modp1536
\tesp=3des-sha1
\tauto=add
";
    let peer = Peer::libreswan(&net.east, conf, SECRET);
    talks(&net, &peer);
}
