//! A router that hides a net behind its own address, as every home has one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::{Host, Segment, Testbed};

/// How long a mapping without traffic lives, in seconds, until [`Router::lifetime`] says otherwise.
const LIFETIME: u64 = 30;

/// The router and the net behind it.
pub struct Router<'a> {
    /// The router itself; eth1 is outside, eth0 inside.
    pub host: Host,
    /// The net behind it.
    pub inside: Segment<'a>,
    first_port: AtomicU32,
    lifetime: AtomicU64,
}

impl<'a> Router<'a> {
    /// A router between `public`, where it has the address `outside` (`192.1.2.99/24`), and a net of its own, where it has
    /// `inside` (`10.0.0.254/24`). No port outside is the one inside.
    pub fn new(
        testbed: &'a Testbed,
        name: &str,
        public: &Segment<'_>,
        outside: &str,
        inside: &str,
    ) -> Router<'a> {
        let net = testbed.segment(name, "");
        let host = testbed.host(name);
        let (uplink, _) = outside.rsplit_once('.').expect("an IPv4 address");
        host.attach(public, "eth1", outside)
            .gateway(&format!("{uplink}.254"))
            .attach(&net, "eth0", inside);
        host.run(
            "nft add table ip nat && nft 'add chain ip nat post { type nat hook postrouting priority 100; }' \
             && nft add table ip gate && nft 'add chain ip gate early { type filter hook prerouting priority -300; }'",
        )
        .ok();
        let router = Router {
            host,
            inside: net,
            first_port: AtomicU32::new(61000),
            lifetime: AtomicU64::new(LIFETIME),
        };
        router.lifetime(LIFETIME);
        router.masquerade();
        router
    }

    fn masquerade(&self) {
        let first = self.first_port.load(Ordering::Relaxed);
        self.host
            .run(&format!(
                "nft flush chain ip nat post \
                 && nft add rule ip nat post oifname eth1 ip protocol udp masquerade to :{first}-{} \
                 && nft add rule ip nat post oifname eth1 masquerade",
                first + 99
            ))
            .ok();
    }

    /// IPv6 beside it, masqueraded likewise (NAT66): addresses outside and inside.
    pub fn add_ipv6(&self, outside: &str, inside: &str) -> &Self {
        let first = self.first_port.load(Ordering::Relaxed);
        self.host
            .run(&format!(
                "ip addr add {outside} dev eth1 nodad && ip addr add {inside} dev eth0 nodad \
                 && nft add table ip6 nat && nft 'add chain ip6 nat post {{ type nat hook postrouting priority 100; }}' \
                 && nft add rule ip6 nat post oifname eth1 meta l4proto udp masquerade to :{first}-{} \
                 && nft add rule ip6 nat post oifname eth1 masquerade",
                first + 99
            ))
            .ok();
        self
    }

    /// Passes IKE and ESP in UDP that come from outside on to a host behind it.
    pub fn forward_ike(&self, to: &str) -> &Self {
        self.host
            .run(&format!(
                "nft 'add chain ip nat pre {{ type nat hook prerouting priority -100; }}' \
                 && nft add rule ip nat pre iifname eth1 udp dport '{{ 500, 4500 }}' dnat to {to}"
            ))
            .ok();
        self
    }

    /// How long a mapping without traffic lives.
    pub fn lifetime(&self, seconds: u64) {
        self.lifetime.store(seconds, Ordering::Relaxed);
        self.host
            .run(&format!(
                "cd /proc/sys/net/netfilter && echo {seconds} >nf_conntrack_udp_timeout \
                 && echo {seconds} >nf_conntrack_udp_timeout_stream"
            ))
            .ok();
    }

    /// Loses all mappings, as a router does that is switched off for a while; new ones get ports of another range. Takes the
    /// lifetime of a mapping.
    pub fn forget(&self) {
        // Before the mappings are looked at, which would prolong them.
        self.host.run("nft add rule ip gate early drop").ok();
        let lifetime = self.lifetime.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(lifetime + 2));
        self.first_port.fetch_add(100, Ordering::Relaxed);
        self.masquerade();
        self.host.run("nft flush chain ip gate early").ok();
    }
}
