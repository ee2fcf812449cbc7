//! A small internet with DNS: four gateways with a subnet each, a host with no IPsec, and name servers with a signed root.
//!
//! ```text
//! sunset  192.0.1.1 --- west  192.1.2.45 ===+=== 192.1.2.23 east  --- 192.0.2.1 sunrise
//! polaris 192.0.3.1 --- north 192.1.2.33 ===+=== 192.1.2.34 south --- 192.0.4.1 penguin
//!                       plain 192.1.2.77 ===+=== nic: 192.1.2.53 named, .54 unbound, .55 the liar
//! ```
//!
//! Every host asks unbound at 192.1.2.54 and has the root's key in [`ANCHOR`]. The reverse map of 192.1.2 and those of west, east
//! and north are signed, north's by aliases as RFC 2317 has them; south's is not signed. Zones change while all runs:
//! [`Internet::publish`], [`Internet::withdraw`], [`Internet::damage`], then [`Internet::commit`].

mod servers;
mod zones;

pub use servers::lookup_program;
pub(crate) use servers::program;

use crate::{Host, Segment, Testbed, Watch};
use std::cell::RefCell;
use zones::Zones;

/// The root's key, on every host.
pub const ANCHOR: &str = "/etc/ipsec.d/root.key";
/// The resolver that the hosts ask.
pub const RESOLVER: &str = "192.1.2.54";
/// The liar: see `src/bin/dns-liar.rs` for what it says.
pub const LIAR: &str = "192.1.2.55";

/// Name, address, subnet's third octet, and host behind, of each gateway.
const SITES: [(&str, &str, u8, &str); 4] = [
    ("west", "192.1.2.45", 1, "sunset"),
    ("east", "192.1.2.23", 2, "sunrise"),
    ("north", "192.1.2.33", 3, "polaris"),
    ("south", "192.1.2.34", 4, "penguin"),
];

/// Each two of the gateways' subnets: packets between them must not pass in the clear.
const PROTECTED: [(&str, &str); 6] = [
    ("192.0.1.0/24", "192.0.2.0/24"),
    ("192.0.1.0/24", "192.0.3.0/24"),
    ("192.0.1.0/24", "192.0.4.0/24"),
    ("192.0.2.0/24", "192.0.3.0/24"),
    ("192.0.2.0/24", "192.0.4.0/24"),
    ("192.0.3.0/24", "192.0.4.0/24"),
];

/// A gateway and what is behind it.
pub struct Site<'a> {
    /// The gateway; eth0 is its subnet's, eth1 the public one.
    pub gateway: Host,
    /// Its public address.
    pub address: &'static str,
    /// Its subnet, `192.0.1.0/24`.
    pub subnet: String,
    /// The wire of its subnet.
    pub wire: Segment<'a>,
    /// The host in its subnet.
    pub inside: Host,
    /// That host's address.
    pub inside_address: String,
}

/// All of it. Dropped with the testbed.
pub struct Internet<'a> {
    /// The wire that joins all.
    pub public: Segment<'a>,
    /// 192.1.2.45 for 192.0.1.0/24, signed.
    pub west: Site<'a>,
    /// 192.1.2.23 for 192.0.2.0/24, signed.
    pub east: Site<'a>,
    /// 192.1.2.33 for 192.0.3.0/24, signed, whose reverse map is delegated by aliases (RFC 2317).
    pub north: Site<'a>,
    /// 192.1.2.34 for 192.0.4.0/24, not signed.
    pub south: Site<'a>,
    /// 192.1.2.77, `plain.example.`: no IPsec, no records but names.
    pub plain: Host,
    /// The name servers' host.
    pub nic: Host,
    /// The observer on the public wire: packets between the gateways' subnets in the clear fail the test.
    pub watch: Watch<'a>,
    zones: RefCell<Zones>,
}

impl<'a> Internet<'a> {
    /// Makes the hosts and starts the name servers; records live for 10 seconds.
    pub fn new(testbed: &'a Testbed) -> Internet<'a> {
        Internet::with_klips(testbed, None)
    }

    /// The same with a choice of KLIPS for all gateways: `module` or `klipsd`.
    pub fn with_klips(testbed: &'a Testbed, klips: Option<&str>) -> Internet<'a> {
        let public = testbed.segment("public", "192.1.2.254/24");
        let watch = public.watch(&PROTECTED);
        let nic = testbed.host("nic");
        nic.attach(&public, "eth0", "192.1.2.53/24 192.1.2.54/24 192.1.2.55/24")
            .gateway("192.1.2.254");
        let plain = testbed.host("plain");
        plain
            .attach(&public, "eth0", "192.1.2.77/24")
            .gateway("192.1.2.254");
        let [west, east, north, south] = SITES.map(|site| Site::new(testbed, &public, klips, site));
        for (_, address, net, _) in SITES {
            // The world is everyone's default route: it knows the way to each subnet.
            testbed.run(&format!("ip route add 192.0.{net}.0/24 via {address}"));
        }
        let internet = Internet {
            public,
            west,
            east,
            north,
            south,
            plain,
            nic,
            watch,
            zones: RefCell::new(Zones::new()),
        };
        internet.publish(&first_records());
        internet.start_servers();
        for host in internet.hosts() {
            internet.introduce(host, RESOLVER);
        }
        internet
    }

    /// All hosts but the name servers'.
    pub fn hosts(&self) -> Vec<&Host> {
        let mut hosts = vec![&self.plain];
        for site in self.sites() {
            hosts.extend([&site.gateway, &site.inside]);
        }
        hosts
    }

    /// The four gateways.
    pub fn sites(&self) -> [&Site<'a>; 4] {
        [&self.west, &self.east, &self.north, &self.south]
    }

    /// Writes a host's resolv.conf and trust anchor.
    pub fn introduce(&self, host: &Host, resolver: &str) {
        host.run("rm -f /etc/resolv.conf").ok();
        host.write("/etc/resolv.conf", &format!("nameserver {resolver}\n"));
        host.write(ANCHOR, &self.anchor());
    }

    /// Makes the gateway a key in /etc/ipsec.secrets, if it has none.
    pub fn make_key(&self, site: &Site<'_>) {
        site.gateway
            .run("test -s /etc/ipsec.secrets || ipsec newhostkey --output /etc/ipsec.secrets --bits 2048")
            .ok();
    }

    /// Makes the gateway a key and publishes what full opportunism takes: its KEY and TXT records in the reverse map, and a TXT
    /// record for every host of its subnet that has one (the one of [`Site::inside_address`]). [`Internet::commit`] comes next.
    pub fn publish_site(&self, site: &Site<'_>) {
        self.make_key(site);
        let txt = record_of(&site.gateway, &format!("--txt {}", site.address), "TXT");
        let key = record_of(&site.gateway, "--key", "KEY");
        let own = self.owner_of(site.address);
        self.replace(&own, "TXT", &txt);
        self.replace(&own, "KEY", &key);
        self.replace(&self.owner_of(&site.inside_address), "TXT", &txt);
    }

    /// Makes the gateway a key and publishes what initiate-only opportunism takes: a KEY record under its name in
    /// `example.`, and the TXT record that names it by `@`.
    pub fn publish_initiator(&self, site: &Site<'_>) {
        self.make_key(site);
        let name = format!("{}.example", site.gateway.name());
        let key = record_of(&site.gateway, "--key", "KEY");
        let txt = record_of(&site.gateway, &format!("--txt @{name}"), "TXT");
        self.replace(&format!("{name}."), "KEY", &key);
        self.replace(&format!("{name}."), "TXT", &txt);
    }

    /// The name in the reverse map under which an address's records are: for north's subnet behind the alias.
    pub fn owner_of(&self, address: &str) -> String {
        let address: std::net::IpAddr = address.parse().expect("an address");
        let name = ipsec_dns::Name::reverse(address).to_string();
        match name.strip_suffix(".3.0.192.in-addr.arpa") {
            Some(host) => format!("{host}.0/25.3.0.192.in-addr.arpa."),
            None => format!("{name}."),
        }
    }

    /// Adds records, a line each: `owner. IN TXT "…"`.
    pub fn publish(&self, lines: &str) {
        let mut zones = self.zones.borrow_mut();
        for line in lines.lines().filter(|l| !l.trim().is_empty()) {
            zones.add(line);
        }
    }

    /// Puts one record in the place of all of its kind; `rdata` is what stands behind the kind.
    pub fn replace(&self, owner: &str, kind: &str, rdata: &str) {
        let mut zones = self.zones.borrow_mut();
        zones.remove(owner, kind);
        zones.add(&format!("{owner}\tIN\t{kind}\t{rdata}"));
    }

    /// Takes all records of a kind away.
    pub fn withdraw(&self, owner: &str, kind: &str) {
        self.zones.borrow_mut().remove(owner, kind);
    }

    /// From the next commit on, another name server serves a zone, with these DS records in the zone above.
    pub fn hand_over(&self, zone: &str, server: &str, ds: &str) {
        self.zones.borrow_mut().hand_over(zone, server, ds);
    }

    /// From the next commit on, the signature of these records is wrong; `damage(owner, kind, false)` heals it.
    pub fn damage(&self, owner: &str, kind: &str, wrong: bool) {
        self.zones.borrow_mut().damage(owner, kind, wrong);
    }
}

impl<'a> Site<'a> {
    fn new(
        testbed: &'a Testbed,
        public: &Segment<'a>,
        klips: Option<&str>,
        (name, address, net, behind): (&str, &'static str, u8, &str),
    ) -> Site<'a> {
        let wire = testbed.segment(name, "");
        let mut gateway = testbed.host(name);
        if let Some(klips) = klips {
            gateway = gateway.with_env("IPSEC_KLIPS", klips);
        }
        let inside = testbed.host(behind);
        gateway.attach(&wire, "eth0", &format!("192.0.{net}.254/24"));
        gateway
            .attach(public, "eth1", &format!("{address}/24"))
            .gateway("192.1.2.254");
        let inside_address = format!("192.0.{net}.1");
        inside
            .attach(&wire, "eth0", &format!("{inside_address}/24"))
            .gateway(&format!("192.0.{net}.254"));
        Site {
            gateway,
            address,
            subnet: format!("192.0.{net}.0/24"),
            wire,
            inside,
            inside_address,
        }
    }
}

/// Names and addresses of all hosts, forward and reverse.
fn first_records() -> String {
    let mut lines = String::from(
        "plain.example. IN A 192.1.2.77\n77.2.1.192.in-addr.arpa. IN PTR plain.example.\n",
    );
    for (gateway, address, net, behind) in SITES {
        let last = address.rsplit('.').next().unwrap_or_default();
        let reverse = if net == 3 {
            lines += "1.3.0.192.in-addr.arpa. IN CNAME 1.0/25.3.0.192.in-addr.arpa.\n";
            "1.0/25.3.0.192.in-addr.arpa.".to_owned()
        } else {
            format!("1.{net}.0.192.in-addr.arpa.")
        };
        lines += &format!(
            "{gateway}.example. IN A {address}\n{behind}.example. IN A 192.0.{net}.1\n\
             {last}.2.1.192.in-addr.arpa. IN PTR {gateway}.example.\n{reverse} IN PTR {behind}.example.\n"
        );
    }
    lines
}

/// What stands behind the kind in the line that showhostkey prints.
fn record_of(host: &Host, options: &str, kind: &str) -> String {
    let said = host
        .run(&format!("ipsec showhostkey {options}"))
        .ok()
        .stdout;
    let line = said.lines().find_map(|line| {
        let (_, rdata) = line.split_once(&format!("\tIN\t{kind}\t"))?;
        Some(rdata.to_owned())
    });
    line.unwrap_or_else(|| panic!("no {kind} record in {said:?}"))
}
