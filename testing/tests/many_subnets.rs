//! Many connections between two gateways: 3 subnets on one side and 2 on the other over one ISAKMP SA; and as many peers as
//! `PEERS` says, which east tells by their identities, each with an ISAKMP SA of its own.

use std::time::Duration;

use testing::{Gateways, Keys, Testbed};

testing::on_both_data_paths!(
    all_combinations_over_one_isakmp_sa_and_one_down_leaves_the_rest,
    g2_a_stop_tells_every_peer,
);

const WEST: [&str; 3] = ["192.0.1.0/24", "10.1.1.0/24", "10.1.2.0/24"];
const EAST: [&str; 2] = ["192.0.2.0/24", "10.2.1.0/24"];

fn conns() -> String {
    let mut text = "conn gateways\n\tleft=192.1.2.45\n\tleftid=@west\n\tleftnexthop=192.1.2.254\n\
                    \tright=192.1.2.23\n\trightid=@east\n\trightnexthop=192.1.2.254\n\n"
        .to_owned();
    for (w, west) in WEST.iter().enumerate() {
        for (e, east) in EAST.iter().enumerate() {
            text += &format!(
                "conn w{w}-e{e}\n\tleftsubnet={west}\n\trightsubnet={east}\n\talso=gateways\n\tauto=add\n\n"
            );
        }
    }
    text
}

/// The `.1` of a subnet.
fn first(subnet: &str) -> String {
    subnet.replace(".0/24", ".1")
}

fn all_combinations_over_one_isakmp_sa_and_one_down_leaves_the_rest() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    for (gateway, host, inner, subnets) in [
        (&net.west, &net.sunset, "192.0.1.1", &WEST[1..]),
        (&net.east, &net.sunrise, "192.0.2.1", &EAST[1..]),
    ] {
        for subnet in subnets {
            host.run(&format!("ip addr add {}/32 dev eth0", first(subnet)))
                .ok();
            gateway
                .run(&format!("ip route add {subnet} via {inner}"))
                .ok();
        }
    }
    // The conn named "gateways" has no auto= and so is only there to be included.
    net.configure("", &conns()).start();
    for w in 0..WEST.len() {
        for e in 0..EAST.len() {
            net.up(&format!("w{w}-e{e}"));
        }
    }
    let status = net.west.run("ipsec auto --status").ok();
    assert_eq!(
        status
            .lines()
            .filter(|line| line.contains("ISAKMP SA established"))
            .count(),
        1,
        "{status}"
    );
    assert_eq!(
        status
            .lines()
            .filter(|line| line.contains("IPsec SA established"))
            .count(),
        6,
        "{status}"
    );

    let answered = |w: usize, e: usize| {
        let ping = format!(
            "ping -n -q -c 2 -i 0.2 -w 4 -I {} {}",
            first(WEST[w]),
            first(EAST[e])
        );
        net.sunset.run(&ping).status == 0
    };
    for w in 0..WEST.len() {
        for e in 0..EAST.len() {
            assert!(
                answered(w, e),
                "w{w}-e{e}\n{}\n{}",
                net.west.log(),
                net.east.log()
            );
        }
    }
    net.west.run("ipsec auto --down w1-e1").ok();
    for w in 0..WEST.len() {
        for e in 0..EAST.len() {
            assert_eq!(
                answered(w, e),
                (w, e) != (1, 1),
                "w{w}-e{e}\n{}\n{}",
                net.west.log(),
                net.east.log()
            );
        }
    }
}

/// Peers of [`g2_a_stop_tells_every_peer`], unless `PEERS` says how many.
const PEERS: u32 = 16;

/// What was up with many peers is told to each of them when IPsec stops, however many there are: none keeps an SA that nobody has the
/// other end of.
fn g2_a_stop_tells_every_peer() {
    let peers =
        std::env::var("PEERS").map_or(PEERS, |text| text.parse().expect("PEERS is a number"));
    let patience = Duration::from_secs(60 + u64::from(peers));
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    let conns = |auto: &str| -> String {
        let conn = |n: u32| {
            let (high, low) = (n / 256, n % 256);
            format!(
                "conn peer{n}\n\tleft=192.1.2.45\n\tleftid=@west{n}\n\tleftsubnet=10.{high}.{low}.0/24\n\tleftnexthop=192.1.2.254\n\
                 \tright=192.1.2.23\n\trightid=@east\n\trightsubnet=10.{}.{low}.0/24\n\trightnexthop=192.1.2.254\n\
                 \tike=aes128-sha1-modp1536\n\tpfs=no\n\tauto={auto}\n\n",
                100 + high
            )
        };
        (0..peers).map(conn).collect()
    };
    net.configure("", "");
    for (gateway, auto) in [(&net.east, "add"), (&net.west, "start")] {
        let conf = gateway.read("/etc/ipsec.conf");
        gateway
            .conf(&format!("{conf}{}", conns(auto)))
            .secrets(": PSK \"one secret for all of these peers\"\n");
        gateway.run_for("ipsec setup start", patience).ok();
    }
    let established = "ipsec auto --status | grep -c 'IPsec SA established'";
    let all = format!("[ $({established}) -ge {peers} ]");
    net.east.wait_for(&all, patience);
    net.west.wait_for(&all, patience);
    net.watch
        .end("west stops, and forwards in the clear from then on");
    let informational = "src 192.1.2.45 and udp port 500 and udp[26] = 5";
    let capture = net.public.capture(informational);
    net.west
        .run_for("ipsec setup stop", Duration::from_secs(150))
        .ok()
        .never_says("killed");
    // One for the IPsec SAs, one for the ISAKMP SA. East has one socket for all of these peers, and too many at once fill it.
    let told = capture.stop().packets("").len();
    assert!(told >= 2 * peers as usize, "{told}\n{}", net.west.log());
    if peers <= PEERS {
        let left = net.east.run(established);
        assert_eq!(left.stdout.trim(), "0", "{}", net.east.log());
    }
}
