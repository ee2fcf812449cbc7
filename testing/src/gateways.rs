//! FreeS/WAN's own picture: two gateways, a subnet behind each.
//!
//! ```text
//! sunset 192.0.1.1 --- 192.0.1.254 west 192.1.2.45 === 192.1.2.23 east 192.0.2.254 --- 192.0.2.1 sunrise
//! ```

use std::time::Duration;

use crate::{Host, Output, Segment, Testbed, Watch};

/// How the two gateways prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// RSA keys made on each gateway, the public halves in ipsec.conf.
    Rsa,
    /// One shared secret.
    Psk,
}

/// What is behind west and what is behind east: packets between them must not pass in the clear.
const PROTECTED: [(&str, &str); 2] = [
    ("192.0.1.0/24", "192.0.2.0/24"),
    ("2001:db8:0:1::/64", "2001:db8:0:3::/64"),
];

/// The four hosts and the wire between the gateways.
pub struct Gateways<'a> {
    /// Behind west, 192.0.1.1.
    pub sunset: Host,
    /// 192.1.2.45, for 192.0.1.0/24.
    pub west: Host,
    /// 192.1.2.23, for 192.0.2.0/24.
    pub east: Host,
    /// Behind east, 192.0.2.1.
    pub sunrise: Host,
    /// The wire between the gateways.
    pub public: Segment<'a>,
    /// The wire between sunset and west.
    pub behind_west: Segment<'a>,
    /// The wire between east and sunrise.
    pub behind_east: Segment<'a>,
    /// The observer on the public wire: packets between the subnets in the clear fail the test.
    pub watch: Watch<'a>,
    keys: Keys,
}

/// The connection of the quickstart; both gateways read the same lines.
pub const NET_TO_NET: &str = "\
conn net-to-net
\tleft=192.1.2.45
\tleftid=@west
\tleftsubnet=192.0.1.0/24
\tleftnexthop=192.1.2.254
\tright=192.1.2.23
\trightid=@east
\trightsubnet=192.0.2.0/24
\trightnexthop=192.1.2.254
\tauto=add
";

impl<'a> Gateways<'a> {
    /// The hosts, addressed and routed, without any IPsec; [`Gateways::configure`] comes next.
    pub fn new(testbed: &'a Testbed, keys: Keys) -> Gateways<'a> {
        Gateways::with_klips(testbed, keys, [None; 2])
    }

    /// The same with a choice of KLIPS for west and for east: `module` or `klipsd`.
    pub fn with_klips(
        testbed: &'a Testbed,
        keys: Keys,
        [of_west, of_east]: [Option<&str>; 2],
    ) -> Gateways<'a> {
        let public = testbed.segment("public", "192.1.2.254/24");
        let watch = public.watch(&PROTECTED);
        let behind_west = testbed.segment("west", "");
        let behind_east = testbed.segment("east", "");
        let host = |name, klips: Option<&str>| {
            let host = testbed.host(name);
            match klips {
                Some(klips) => host.with_env("IPSEC_KLIPS", klips),
                None => host,
            }
        };
        let (sunset, sunrise) = (host("sunset", None), host("sunrise", None));
        let (west, east) = (host("west", of_west), host("east", of_east));
        sunset
            .attach(&behind_west, "eth0", "192.0.1.1/24")
            .gateway("192.0.1.254");
        west.attach(&behind_west, "eth0", "192.0.1.254/24");
        west.attach(&public, "eth1", "192.1.2.45/24")
            .gateway("192.1.2.254");
        east.attach(&behind_east, "eth0", "192.0.2.254/24");
        east.attach(&public, "eth1", "192.1.2.23/24")
            .gateway("192.1.2.254");
        sunrise
            .attach(&behind_east, "eth0", "192.0.2.1/24")
            .gateway("192.0.2.254");
        Gateways {
            sunset,
            west,
            east,
            sunrise,
            public,
            behind_west,
            behind_east,
            watch,
            keys,
        }
    }

    /// Gives all hosts IPv6 addresses beside their others: 2001:db8:0:1:: behind west, 2001:db8:0:2:: between the gateways,
    /// 2001:db8:0:3:: behind east, with the last number of the IPv4 address. The gateways know each other's hardware
    /// addresses, so that no neighbour discovery meets a policy.
    pub fn add_ipv6(&self) -> &Self {
        for (host, interface, address) in [
            (&self.sunset, "eth0", "2001:db8:0:1::1"),
            (&self.west, "eth0", "2001:db8:0:1::254"),
            (&self.west, "eth1", "2001:db8:0:2::45"),
            (&self.east, "eth1", "2001:db8:0:2::23"),
            (&self.east, "eth0", "2001:db8:0:3::254"),
            (&self.sunrise, "eth0", "2001:db8:0:3::1"),
        ] {
            host.run(&format!("ip addr add {address}/64 dev {interface} nodad"))
                .ok();
        }
        for (host, gateway) in [
            (&self.sunset, "2001:db8:0:1::254"),
            (&self.west, "2001:db8:0:2::23"),
            (&self.east, "2001:db8:0:2::45"),
            (&self.sunrise, "2001:db8:0:3::254"),
        ] {
            host.run(&format!("ip -6 route add default via {gateway}"))
                .ok();
        }
        for (host, peer, address) in [
            (&self.west, &self.east, "2001:db8:0:2::23"),
            (&self.east, &self.west, "2001:db8:0:2::45"),
        ] {
            let hardware = peer.run("cat /sys/class/net/eth1/address").ok().stdout;
            host.run(&format!(
                "ip neigh replace {address} lladdr {} dev eth1 nud permanent",
                hardware.trim()
            ))
            .ok();
        }
        self
    }

    /// Writes ipsec.conf and ipsec.secrets on both gateways: `setup` is the body of `config setup`, `conns` the
    /// conn sections, and what the kind of keys needs is added to `conn %default`.
    pub fn configure(&self, setup: &str, conns: &str) -> &Self {
        let keys = match self.keys {
            Keys::Psk => {
                let secret = "@west @east : PSK \"a secret of at least some length\"\n";
                self.west.secrets(secret);
                self.east.secrets(secret);
                "\tauthby=secret\n".to_owned()
            }
            Keys::Rsa => {
                for gateway in [&self.west, &self.east] {
                    if gateway.run("test -s /etc/ipsec.secrets").status != 0 {
                        gateway
                            .run("ipsec newhostkey --output /etc/ipsec.secrets --bits 2048")
                            .ok();
                    }
                }
                let left = self.west.run("ipsec showhostkey --left").ok().stdout;
                let right = self.east.run("ipsec showhostkey --right").ok().stdout;
                format!("\tauthby=rsasig\n{}{}", key_line(&left), key_line(&right))
            }
        };
        let text = format!(
            "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n{setup}\nconn %default\n{keys}\n{conns}"
        );
        self.west.conf(&text);
        self.east.conf(&text);
        self
    }

    /// `ipsec setup start` on both gateways.
    pub fn start(&self) -> &Self {
        self.west.run("ipsec setup start").ok();
        self.east.run("ipsec setup start").ok();
        self
    }

    /// `ipsec auto --up NAME` on west.
    pub fn up(&self, name: &str) -> Output {
        let output = self.west.run(&format!("ipsec auto --up {name}"));
        assert!(
            output.status == 0,
            "{output}\n{}\n{}",
            self.west.log(),
            self.east.log()
        );
        output
    }

    /// Everything to the quickstart's end: configured, started, net-to-net up.
    pub fn tunnel(&self, setup: &str) -> Output {
        self.configure(setup, NET_TO_NET).start().up("net-to-net")
    }

    /// Pings from sunset to sunrise, with a payload pattern in hex, and gives how many of `count` were answered.
    pub fn pings(&self, count: u32, interval: &str, pattern: &str) -> u32 {
        let script = format!("ping -n -q -c {count} -i {interval} -W 2 -p {pattern} 192.0.2.1");
        let output = self.sunset.run_for(&script, Duration::from_secs(600));
        let summary = output
            .lines()
            .find(|line| line.contains("packets transmitted"));
        let received =
            summary.and_then(|line| line.split(", ").nth(1)?.split(' ').next()?.parse().ok());
        received.unwrap_or_else(|| panic!("ping has no summary: {output}"))
    }
}

/// The line with the key out of showhostkey's answer, indented for a section.
fn key_line(answer: &str) -> String {
    let line = answer.lines().find(|line| line.contains("rsasigkey="));
    format!(
        "\t{}\n",
        line.unwrap_or_else(|| panic!("no key in {answer:?}"))
            .trim()
    )
}
