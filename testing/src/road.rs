//! Road warriors behind a NAT, and the gateway that they go to.
//!
//! ```text
//! 10.0.0.0/24 --- 10.0.0.254 nat 192.1.2.99 === 192.1.2.23 east 192.0.2.254 --- 192.0.2.1 sunrise
//! ```

use crate::{Host, Router, Segment, Testbed};

/// East with sunrise behind it, and a router with room for road warriors.
pub struct Road<'a> {
    /// The gateway, 192.1.2.23, for 192.0.2.0/24.
    pub east: Host,
    /// Behind east, 192.0.2.1.
    pub sunrise: Host,
    /// The NAT, 192.1.2.99, before 10.0.0.0/24.
    pub router: Router<'a>,
    /// The wire between router and east.
    pub public: Segment<'a>,
    testbed: &'a Testbed,
}

/// The wildcard secret first, and that for whoever has no name.
pub const SECRETS: &str = "@east %any : PSK \"a secret for everybody on the road\"\n: PSK \"a secret for everybody on the road\"\n";
/// What east's conn says of road warriors with private addresses.
pub const VHOST: &str = "\trightsubnet=vhost:%priv,%no\n\tleftsubnet=192.0.2.0/24\n";
/// What the road warrior's conn says of the same.
pub const NET: &str = "\tleftsubnet=192.0.2.0/24\n";

/// An `ipsec.conf` with one conn, `road`, which all ends write alike: `right` is the road warrior; `setup` and `conn` are
/// lines of `config setup` and of the conn.
pub fn conf(device: &str, setup: &str, right: &str, conn: &str) -> String {
    let auth = if conn.contains("authby=") {
        ""
    } else {
        "\tauthby=secret\n"
    };
    let left = if conn.contains("\tleft=") {
        ""
    } else {
        "\tleft=192.1.2.23\n"
    };
    format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0={device}\"\n{setup}\nconn road\n{left}\tleftid=@east\n\
         \tright={right}\n{auth}\tauto=add\n{conn}"
    )
}

impl<'a> Road<'a> {
    /// The hosts, without any IPsec.
    pub fn new(testbed: &'a Testbed) -> Road<'a> {
        let public = testbed.segment("public", "192.1.2.254/24");
        let inner = testbed.segment("east", "");
        let (east, sunrise) = (testbed.host("east"), testbed.host("sunrise"));
        east.attach(&inner, "eth0", "192.0.2.254/24")
            .attach(&public, "eth1", "192.1.2.23/24")
            .gateway("192.1.2.254");
        sunrise
            .attach(&inner, "eth0", "192.0.2.1/24")
            .gateway("192.0.2.254");
        let router = Router::new(testbed, "nat", &public, "192.1.2.99/24", "10.0.0.254/24");
        Road {
            east,
            sunrise,
            router,
            public,
            testbed,
        }
    }

    /// Gives all IPv6 addresses beside their others: 2001:db8:0:3:: behind east, 2001:db8:0:2:: between, both with the last number of
    /// the IPv4 address; fd00:0:0:9:: behind the router, which is fd00:0:0:9::254.
    pub fn add_ipv6(&self) -> &Self {
        let add = |host: &Host, address: &str, device: &str| {
            host.run(&format!("ip addr add {address}/64 dev {device} nodad"))
                .ok();
        };
        add(&self.east, "2001:db8:0:3::254", "eth0");
        add(&self.east, "2001:db8:0:2::23", "eth1");
        add(&self.sunrise, "2001:db8:0:3::1", "eth0");
        for (host, gateway) in [
            (&self.sunrise, "2001:db8:0:3::254"),
            // Its subnets behind road warriors are somewhere out there.
            (&self.east, "2001:db8:0:2::99"),
        ] {
            host.run(&format!("ip -6 route add default via {gateway}"))
                .ok();
        }
        self.router
            .add_ipv6("2001:db8:0:2::99/64", "fd00:0:0:9::254/64");
        self
    }

    /// Configures and starts east; `conn` are the lines of its conn beside the addresses.
    pub fn start(&self, conn: &str) -> &Self {
        let setup = "\tvirtual_private=%v4:10.0.0.0/8,%v4:172.16.0.0/12\n\tkeep_alive=1\n";
        self.east
            .conf(&conf("eth1", setup, "%any", conn))
            .secrets(SECRETS);
        self.east.run("ipsec setup start").ok();
        self
    }

    /// A host behind the router, without any IPsec.
    pub fn host(&self, name: &str, addr: &str) -> Host {
        self.host_behind(&self.router, name, addr)
    }

    /// The same behind another router.
    pub fn host_behind(&self, router: &Router<'_>, name: &str, addr: &str) -> Host {
        let host = self.testbed.host(name);
        let bits = if addr.contains(':') { 64 } else { 24 };
        host.attach(&router.inside, "eth0", &format!("{addr}/{bits}"))
            .gateway(&gateway_of(addr));
        host
    }

    /// A road warrior behind the router, called as its ID is, with `conn` lines of its own, started.
    pub fn warrior(&self, name: &str, addr: &str, conn: &str) -> Host {
        self.warrior_with(&self.router, name, addr, "\tkeep_alive=1\n", conn)
    }

    /// The same behind another router, with these lines of `config setup`.
    pub fn warrior_with(
        &self,
        router: &Router<'_>,
        name: &str,
        addr: &str,
        setup: &str,
        conn: &str,
    ) -> Host {
        let host = self.host_behind(router, name, addr);
        let conn = format!(
            "\trightid=@{name}\n\trightnexthop={}\n{conn}",
            gateway_of(addr)
        );
        host.conf(&conf("eth0", setup, addr, &conn))
            .secrets(SECRETS);
        host.run("ipsec setup start").ok();
        host
    }

    /// Brings conn road up from a road warrior.
    #[track_caller]
    pub fn up(&self, host: &Host) {
        let up = host.run("ipsec auto --up road");
        assert!(up.status == 0, "{up}\n{}\n{}", host.log(), self.east.log());
    }

    /// All of five pings are answered, once one is: who answered a Quick Mode has its SA when the third message has come to it.
    /// They go at once, since ping(8) waits for the last answer only as long as between two packets, or twice the longest so far.
    #[track_caller]
    pub fn pings(&self, host: &Host, to: &str) {
        let said = host.run(&format!(
            "for try in 1 2 3; do ping -n -q -c 1 -W 1 {to} >/dev/null && break; done
             ping -n -q -c 5 -l 5 -i 2 {to}"
        ));
        assert!(
            said.contains(" 0% packet loss"),
            "{said}\n{}\n{}\n{}\n{}",
            host.log(),
            self.east.log(),
            self.east.run("ipsec look").stdout,
            host.run("ipsec look").stdout
        );
    }

    /// Two road warriors with the same private address, each behind one of these routers: the newer takes the tunnel over, and with distinct
    /// virtual addresses both have theirs.
    pub fn two_with_one_address(&self, routers: [&Router<'_>; 2], addr: &str) {
        let [one, two] = [("one", routers[0]), ("two", routers[1])]
            .map(|(name, router)| self.warrior_with(router, name, addr, "\tkeep_alive=1\n", NET));
        self.up(&one);
        self.pings(&one, "192.0.2.1");
        self.up(&two);
        self.pings(&two, "192.0.2.1");
        self.pings(&self.sunrise, addr);
        self.east
            .run("cat /run/pluto/pluto.log")
            .ok()
            .says("releasing old connection to free the route");
        for (host, name, own) in [(&one, "one", "10.9.0.1"), (&two, "two", "10.9.0.2")] {
            host.run(&format!("ipsec setup stop; ip addr add {own}/32 dev lo"))
                .ok();
            let conn = format!(
                "{NET}\trightid=@{name}\n\trightsubnet={own}/32\n\trightnexthop={}\n",
                gateway_of(addr)
            );
            host.conf(&conf("eth0", "", addr, &conn));
            host.run("ipsec setup start").ok();
            self.up(host);
        }
        for (host, own) in [(&one, "10.9.0.1"), (&two, "10.9.0.2"), (&one, "10.9.0.1")] {
            self.pings(host, &format!("-I {own} 192.0.2.1"));
            self.pings(&self.sunrise, own);
        }
    }
}

/// The router's address in the net of another.
fn gateway_of(addr: &str) -> String {
    match addr.rsplit_once([':', '.']) {
        Some((net, _)) if addr.contains(':') => format!("{net}:254"),
        Some((net, _)) => format!("{net}.254"),
        None => panic!("{addr} is no address"),
    }
}
