//! The place of the storm: gateways, the road warrior, DNS, the traffic between them, and what must hold of them.

use std::time::Duration;

use testing::internet::{Internet, Site};
use testing::{Host, Router, Testbed};

use super::traffic::Traffic;

/// Keys for some minutes, so that an hour renews them often; a peer that is silent is asked after ten seconds.
const LIVES: &str = "\tikelifetime=30m\n\tkeylife=10m\n\trekeymargin=2m\n\tkeyingtries=0\n\tdpddelay=10\n\tdpdtimeout=30\n\tdpdaction=restart\n";
const STATIC: &str = "\
conn net-to-net
\tleft=192.1.2.45
\tleftid=@west
\tleftsubnet=192.0.1.0/24
\tright=192.1.2.23
\trightid=@east
\trightsubnet=192.0.2.0/24
\tauthby=secret
\tauto=start
";
const ROAD: &str = "\
conn road
\tleft=192.1.2.23
\tleftid=@east
\tleftsubnet=192.0.2.0/24
\trightid=@road
\tauthby=secret
";
/// Opportunism between the nets of west and north, who have never heard of each other, and nothing in the clear.
const PRIVATE: &str = "\
conn private
\tleft=%defaultroute
\tleftid=%myid
\tleftrsasigkey=%dnsondemand
\tright=%opportunisticgroup
\trightrsasigkey=%dnsondemand
\tfailureshunt=drop
\tkeylife=1h
\trekey=no
\tauto=route
conn private-net
\talso=private
";
const SECRETS: &str = "@west @east : PSK \"the secret of two gateways\"\n@east @road : PSK \"the secret of one on the road\"\n";

/// A machine to which something can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// 192.1.2.45, for 192.0.1.0/24.
    West,
    /// 192.1.2.23, for 192.0.2.0/24.
    East,
    /// 192.1.2.33, for 192.0.3.0/24, met by opportunism.
    North,
}

impl Gateway {
    /// Each.
    pub const ALL: [Gateway; 3] = [Gateway::West, Gateway::East, Gateway::North];

    /// Its public address.
    pub fn address(self) -> &'static str {
        match self {
            Gateway::West => "192.1.2.45",
            Gateway::East => "192.1.2.23",
            Gateway::North => "192.1.2.33",
        }
    }

    /// An address that it has beside that for a while.
    pub fn second_address(self) -> &'static str {
        match self {
            Gateway::West => "192.1.2.145",
            Gateway::East => "192.1.2.123",
            Gateway::North => "192.1.2.133",
        }
    }
}

/// All of it.
pub struct World<'a> {
    /// Gateways and name servers.
    pub net: Internet<'a>,
    router: Router<'a>,
    road: Host,
}

/// How much there is of what must not grow.
#[derive(Debug)]
pub struct Sizes {
    /// States and bare shunts, of each gateway and the road warrior.
    states: Vec<u64>,
    /// Eroutes.
    eroutes: Vec<u64>,
    /// SAs in KLIPS.
    sas: Vec<u64>,
    /// Files that pluto has open.
    files: Vec<u64>,
    /// kB that pluto has in memory of its own.
    pluto: Vec<u64>,
    /// And klipsd, where it is the data path.
    klipsd: Vec<u64>,
    /// Its threads.
    threads: Vec<u64>,
    /// Files that it has open.
    klipsd_files: Vec<u64>,
}

impl<'a> World<'a> {
    /// The hosts, configured.
    pub fn new(testbed: &'a Testbed) -> World<'a> {
        let net = Internet::new(testbed);
        let router = Router::new(
            testbed,
            "nat",
            &net.public,
            "192.1.2.99/24",
            "10.0.0.254/24",
        );
        let road = testbed.host("road");
        road.attach(&router.inside, "eth0", "10.0.0.9/24")
            .gateway("10.0.0.254");
        let world = World { net, router, road };
        world.configure();
        world
    }

    fn configure(&self) {
        let net = &self.net;
        for site in [&net.west, &net.east, &net.north] {
            // Short keys are quickly made, and do for a storm.
            let make = "ipsec newhostkey --output /etc/ipsec.secrets --bits 1024";
            site.gateway.run(make).ok();
            net.publish_site(site);
        }
        net.commit();
        let setup = "version 2.0\n\nconfig setup\n\tdnssec-rootkey-file=/etc/ipsec.d/root.key\n\tkeep_alive=5\n";
        let setup = |rest: &str, interfaces: &str| {
            format!("{setup}\toe=no\n\tinterfaces={interfaces}\n{rest}\nconn %default\n{LIVES}\n")
        };
        let natted = "\tvirtual_private=%v4:10.0.0.0/8\n";
        let warriors = format!("{ROAD}\tright=%any\n\trightsubnet=vhost:%priv,%no\n\tauto=add\n");
        let private = |site: &Site<'_>| format!("{PRIVATE}\tleftsubnet={}\n", site.subnet);
        let west = setup("", "%defaultroute") + STATIC + &private(&net.west);
        let east = setup(natted, "\"ipsec0=eth1\"") + STATIC + &warriors;
        let north = setup("", "%defaultroute") + &private(&net.north);
        for (site, conf) in [(&net.west, west), (&net.east, east), (&net.north, north)] {
            let own = format!(
                "cat /etc/ipsec.secrets - >/run/secrets <<'END'\n{SECRETS}END\ncp /run/secrets /etc/ipsec.secrets"
            );
            site.gateway.run(&own).ok();
            site.gateway.conf(&conf);
        }
        let road = setup("", "\"ipsec0=eth0\"")
            + ROAD
            + "\tright=10.0.0.9\n\trightnexthop=10.0.0.254\n\tauto=start\n";
        self.road.conf(&road).secrets(SECRETS);
        self.edit_policies("");
    }

    /// Starts all, the gateways closed from the first packet on.
    pub fn start(&self) {
        for host in self.hosts() {
            host.run("ipsec setup start").ok();
        }
    }

    /// Stops all: nothing stays behind.
    pub fn stop(&self) {
        self.net.watch.end("the gateways are stopped");
        for host in self.hosts() {
            host.run("ipsec setup stop").ok();
            // Its lock is gone a little before the process is.
            host.wait_for("! pgrep -x 'pluto|klipsd'", Duration::from_secs(5));
            let left = "ip route show table all | grep -E 'ipsec|blackhole|prohibit|unreachable default'; ip rule | grep -vE 'lookup (local|main|default)'; true";
            assert_eq!(host.run(left).stdout, "", "left behind on {}", host.name());
        }
    }

    fn hosts(&self) -> [&Host; 4] {
        let net = &self.net;
        [
            &net.west.gateway,
            &net.east.gateway,
            &net.north.gateway,
            &self.road,
        ]
    }

    fn site(&self, gateway: Gateway) -> &Site<'a> {
        match gateway {
            Gateway::West => &self.net.west,
            Gateway::East => &self.net.east,
            Gateway::North => &self.net.north,
        }
    }

    /// Traffic on every tunnel, which goes on until this is dropped.
    pub fn traffic(&self) -> Traffic {
        let net = &self.net;
        let mut traffic = Traffic::new();
        for host in [&net.west.inside, &net.east.inside, &net.north.inside] {
            traffic.answers(host);
        }
        traffic.sends(&net.west.inside, "192.0.2.1");
        traffic.sends(&net.east.inside, "192.0.1.1");
        traffic.sends(&self.road, "192.0.2.1");
        traffic.sends(&net.west.inside, "192.0.3.1");
        traffic.sends(&net.north.inside, "192.0.1.1");
        traffic
    }

    /// Within so many seconds every tunnel carries packets.
    #[track_caller]
    pub fn all_back(&self, traffic: &Traffic, seconds: u64, story: &str) {
        let begin = traffic.now();
        loop {
            let silent = traffic.silent_since(begin);
            if silent.is_empty() {
                return;
            }
            assert!(
                traffic.now() < begin + 1000 * seconds,
                "no way from {} {seconds} s after {story}\n{}",
                silent.join(", from "),
                self.trace()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Every tunnel stays, for `seconds` in which nothing happens, silent for `most` of them at most.
    #[track_caller]
    pub fn stays(&self, traffic: &Traffic, seconds: u64, most: u64, story: &str) {
        let end = traffic.now() + 1000 * seconds;
        while traffic.now() < end {
            std::thread::sleep(Duration::from_secs(10));
            let silent = traffic.silent_since(traffic.now().saturating_sub(1000 * most));
            assert!(
                silent.is_empty(),
                "there was a way from {}, and none for {most} s, in the calm after {story}\n{}",
                silent.join(", from "),
                self.trace()
            );
        }
    }

    /// Nothing has passed in the clear.
    #[track_caller]
    pub fn watched(&self, story: &str) {
        let seen = self.net.watch.seen();
        assert!(
            seen.is_empty(),
            "packets in the clear during {story}\n{seen}{}",
            self.trace()
        );
    }

    fn trace(&self) -> String {
        let script = "ipsec auto --status; ipsec eroute; ipsec spi; ip addr; ip route; tail -n 200 /run/pluto/pluto.log";
        self.hosts()
            .iter()
            .map(|host| format!("== {}\n{}\n", host.name(), host.run(script).stdout))
            .collect()
    }

    /// Seconds since the kernel's boot.
    pub fn uptime(&self) -> u64 {
        let text = std::fs::read_to_string("/proc/uptime").expect("/proc is mounted");
        let seconds = text.split('.').next().and_then(|text| text.parse().ok());
        seconds.expect("/proc/uptime begins with a number")
    }

    /// Waits until what was replaced has gone.
    pub fn settle(&self) {
        std::thread::sleep(Duration::from_secs(900));
    }

    /// What there is now.
    pub fn sizes(&self) -> Sizes {
        let count = |script: &str| -> Vec<u64> {
            let count = |host: &&Host| {
                let said = host.run(script).stdout;
                said.trim()
                    .parse()
                    .unwrap_or_else(|_| panic!("{script} on {}: {said:?}", host.name()))
            };
            self.hosts().iter().map(count).collect()
        };
        Sizes {
            states: count("ipsec auto --status | grep -c STATE_; true"),
            eroutes: count("ipsec eroute | grep -c .; true"),
            sas: count("ipsec spi | grep -c .; true"),
            files: count("ls /proc/$(pgrep -ox pluto)/fd | wc -l"),
            pluto: count("awk '/RssAnon/ {print $2}' /proc/$(pgrep -ox pluto)/status"),
            klipsd: count(
                "p=$(pgrep -ox klipsd) && awk '/RssAnon/ {print $2}' /proc/$p/status || echo 0",
            ),
            threads: count("p=$(pgrep -ox klipsd) && ls /proc/$p/task | wc -l || echo 0"),
            klipsd_files: count("p=$(pgrep -ox klipsd) && ls /proc/$p/fd | wc -l || echo 0"),
        }
    }

    /// Runs something on a gateway, whatever comes of it: in a storm much fails.
    pub fn run(&self, gateway: Gateway, script: &str) {
        self.site(gateway).gateway.run(script);
    }

    /// The default route, as it was.
    pub fn default_route(&self, gateway: Gateway) {
        self.run(gateway, "ip route replace default via 192.1.2.254");
    }

    /// The public device, as it was.
    pub fn attach(&self, gateway: Gateway) {
        let host = &self.site(gateway).gateway;
        host.attach(
            &self.net.public,
            "eth1",
            &format!("{}/24", gateway.address()),
        );
    }

    /// A gateway goes as if its power did: it forwards nothing more, and its peers hear nothing of it.
    pub fn shut_down(&self, gateway: Gateway) {
        self.run(
            gateway,
            "echo 0 >/proc/sys/net/ipv4/ip_forward; ip link set eth1 down; \
             pkill -9 -x ipsec; pkill -9 -x 'pluto|klipsd'; ipsec setup stop; ip link set eth1 up",
        );
        self.default_route(gateway);
    }

    /// And starts anew; it forwards when its policies stand.
    pub fn boot(&self, gateway: Gateway) {
        self.run(
            gateway,
            "ipsec setup start; echo 1 >/proc/sys/net/ipv4/ip_forward",
        );
        self.default_route(gateway);
    }

    /// Loses packets on the public wire.
    pub fn lose(&self, percent: f64) {
        self.net.public.lose(percent);
    }

    /// Delays packets on the public wire.
    pub fn netem(&self, parameters: &str) {
        self.net.public.netem(parameters);
    }

    /// The NAT's mappings are gone.
    pub fn nat_forgets(&self) {
        self.router.forget();
    }

    /// Sets the machine's clock.
    pub fn step_clock(&self, seconds: i32) {
        self.road
            .run(&format!("date -s @$(($(date +%s) + {seconds}))"))
            .ok();
    }

    /// Writes west's and north's policy files; `more` are lines of a group that nobody is in.
    pub fn edit_policies(&self, more: &str) {
        for (site, net) in [
            (&self.net.west, "192.0.3.0/24\n"),
            (&self.net.north, "192.0.1.0/24\n"),
        ] {
            let gateway = &site.gateway;
            gateway.write("/etc/ipsec.d/policies/private-net", &format!("{net}{more}"));
            gateway.write("/etc/ipsec.d/policies/private", "");
            gateway.run("ipsec auto --rereadgroups");
        }
    }
}

impl Sizes {
    /// As much as before, but for what is being renewed.
    #[track_caller]
    pub fn assert_near(&self, before: &Sizes) {
        println!("storm: before {before:?}, after {self:?}");
        let near = |now: &[u64], before: &[u64], slack: u64| {
            now.iter()
                .zip(before)
                .all(|(now, before)| *now <= before + slack)
        };
        let kinds = [
            ("states", &self.states, &before.states, 4),
            ("eroutes", &self.eroutes, &before.eroutes, 2),
            // Two directions, two SAs each, of a tunnel and its successor.
            ("SAs", &self.sas, &before.sas, 8),
            ("open files", &self.files, &before.files, 4),
            ("kB of pluto", &self.pluto, &before.pluto, 4096),
            ("kB of klipsd", &self.klipsd, &before.klipsd, 4096),
            ("threads of klipsd", &self.threads, &before.threads, 0),
            (
                "open files of klipsd",
                &self.klipsd_files,
                &before.klipsd_files,
                0,
            ),
        ];
        for (what, now, before, slack) in kinds {
            assert!(near(now, before, slack), "{what}: {before:?}, now {now:?}");
        }
    }
}
