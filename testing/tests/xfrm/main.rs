//! KLIPS on one gateway, the kernel's own IPsec (XFRM) on the other, with the same keys: every cipher and MAC, tunnel and
//! transport mode, IPv4 and IPv6 outside and inside. With klips.ko and with klipsd, both in a test kernel.

mod extensions;
mod suites;
mod traffic;

use std::net::IpAddr;
use std::time::Duration;

use ipsec_types::{SaId, Selector};
use pfkey::client::Client;
use pfkey::request::{self, SaParams};
use pfkey::{SaFlags, SaType};
use suites::{Step, Suite};
use testing::{Gateways, Host, Keys, Testbed};

testing::on_klips_ko!(
    esp_in_tunnels_of_ipv4,
    esp_in_tunnels_of_ipv6,
    esp_in_transport_mode,
    ah_in_both_modes,
    ipcomp_in_both_modes,
    extension_headers_before_ipsec,
    sequence_numbers_of_64_bits,
    e1_sixteen_flows_arrive_within_xfrm_s_window,
);
testing::in_test_kernel!(
    esp_in_tunnels_of_ipv4,
    esp_in_tunnels_of_ipv6,
    esp_in_transport_mode,
    ah_in_both_modes,
    ipcomp_in_both_modes,
    extension_headers_before_ipsec,
    sequence_numbers_of_64_bits,
    e1_sixteen_flows_arrive_within_xfrm_s_window,
);

/// Tunnels of a family that carry packets of a family, or transport mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// `v6` outside, and inside.
    Tunnel { outer_v6: bool, inner_v6: bool },
    /// `v6`.
    Transport { v6: bool },
}

/// The addresses of one family: gateways, subnets, hosts within; west's first.
struct Family {
    gateways: [&'static str; 2],
    nets: [&'static str; 2],
    hosts: [&'static str; 2],
    bits: u8,
}

const V4: Family = Family {
    gateways: ["192.1.2.45", "192.1.2.23"],
    nets: ["192.0.1.0/24", "192.0.2.0/24"],
    hosts: ["192.0.1.1", "192.0.2.1"],
    bits: 32,
};
const V6: Family = Family {
    gateways: ["2001:db8:0:2::45", "2001:db8:0:2::23"],
    nets: ["2001:db8:0:1::/64", "2001:db8:0:3::/64"],
    hosts: ["2001:db8:0:1::1", "2001:db8:0:3::1"],
    bits: 128,
};

fn family(v6: bool) -> &'static Family {
    if v6 { &V6 } else { &V4 }
}

fn addresses(text: [&str; 2]) -> [IpAddr; 2] {
    text.map(|text| text.parse().expect("an address"))
}

impl Layout {
    fn is_tunnel(self) -> bool {
        matches!(self, Self::Tunnel { .. })
    }

    fn gateways(self) -> [IpAddr; 2] {
        let (Self::Tunnel { outer_v6: v6, .. } | Self::Transport { v6 }) = self;
        addresses(family(v6).gateways)
    }

    /// What the SAs are for, west's first.
    fn nets(self) -> [String; 2] {
        match self {
            Self::Tunnel { inner_v6, .. } => family(inner_v6).nets.map(str::to_owned),
            Self::Transport { v6 } => family(v6)
                .gateways
                .map(|address| format!("{address}/{}", family(v6).bits)),
        }
    }

    /// Who talks, west's first.
    fn ends(self) -> [IpAddr; 2] {
        match self {
            Self::Tunnel { inner_v6, .. } => addresses(family(inner_v6).hosts),
            Self::Transport { .. } => self.gateways(),
        }
    }
}

/// West with KLIPS, east with XFRM.
struct World<'a> {
    net: Gateways<'a>,
    klips: Client,
}

impl<'a> World<'a> {
    fn new(testbed: &'a Testbed) -> Self {
        testbed.run(
            "modprobe -a esp4 esp6 ah4 ah6 ipcomp ipcomp6 xfrm4_tunnel xfrm6_tunnel ip6_tunnel",
        );
        let net = Gateways::new(testbed, Keys::Psk);
        net.add_ipv6();
        let klips = start_klips(&net.west);
        Self { net, klips }
    }

    fn set<F>(&mut self, build: F)
    where
        F: for<'b> FnOnce(&'b mut [u8], request::Ids) -> Result<&'b [u8], pfkey::Error>,
    {
        self.klips.call(build).expect("KLIPS takes it");
    }

    /// Policies, eroute and route of a layout.
    fn lay_out(&mut self, layout: Layout, suite: &[Step]) {
        let [west, east] = layout.gateways();
        let [west_net, east_net] = layout.nets();
        let mut policies = "xfrm state flush\nxfrm policy flush\n".to_owned();
        let inward = suites::templates(suite, layout.is_tunnel(), west, east, true);
        for dir in ["in", "fwd"] {
            policies +=
                &format!("xfrm policy add src {west_net} dst {east_net} dir {dir}{inward}\n");
        }
        let out = suites::templates(suite, layout.is_tunnel(), east, west, false);
        policies += &format!("xfrm policy add src {east_net} dst {west_net} dir out{out}\n");
        batch(&self.net.east, &policies);

        self.set(|b, ids| request::flush(b, ids, SaType::Unspec));
        self.set(request::clear_flows);
        let source = match layout {
            Layout::Tunnel { .. } => String::new(),
            Layout::Transport { .. } => format!("src {west}"),
        };
        self.net
            .west
            .run(&format!(
                "ip route flush dev ipsec0; ip -6 route flush dev ipsec0; ip route replace {east_net} dev ipsec0 {source}"
            ))
            .ok();
    }

    /// The SAs of both directions on both gateways; those before are gone.
    fn key(&mut self, layout: Layout, suite: &[Step], esn: bool) {
        let [west, east] = layout.gateways();
        let tunnel = layout.is_tunnel();
        let states = suites::states(suite, tunnel, (west, east), [false, esn])
            + &suites::states(suite, tunnel, (east, west), [true, esn]);
        batch(&self.net.east, &format!("xfrm state flush\n{states}"));

        self.set(|b, ids| request::flush(b, ids, SaType::Unspec));
        let [west_net, east_net] = layout.nets();
        let flow = |from: &str, to: &str| {
            Selector::nets(from.parse().expect("net"), to.parse().expect("net"))
        };
        suites::for_klips(suite, tunnel, (west, east), [false, esn], |group| {
            let first = self.add_group(group).0;
            let flow = flow(&west_net, &east_net);
            self.set(|b, ids| request::add_flow(b, ids, &flow, first, SaFlags::REPLACEFLOW));
        });
        suites::for_klips(suite, tunnel, (east, west), [true, esn], |group| {
            let last = self.add_group(group).1;
            let flow = flow(&east_net, &west_net);
            self.set(|b, ids| request::set_inflow(b, ids, &flow, last));
        });
    }

    /// The first and last SA of the group.
    fn add_group(&mut self, group: &[SaParams<'_>]) -> (SaId, SaId) {
        for sa in group {
            self.set(|b, ids| request::add(b, ids, sa));
        }
        for pair in group.windows(2) {
            self.set(|b, ids| request::group(b, ids, &pair[0].said, Some(&pair[1].said)));
        }
        (group[0].said, group[group.len() - 1].said)
    }

    /// Packets of all sizes each way.
    fn talk(&self, layout: Layout) -> Result<(), String> {
        let [west, east] = layout.ends();
        let (here, there) = if layout.is_tunnel() {
            (&self.net.sunset, &self.net.sunrise)
        } else {
            (&self.net.west, &self.net.east)
        };
        traffic::pings(here, east)?;
        traffic::pings(there, west)?;
        traffic::stream(here, there, east)?;
        traffic::stream(there, here, west)
    }

    /// What both ends have counted of errors.
    fn trouble(&self) -> String {
        let east = self.net.east.run("grep -v '\\s0$' /proc/net/xfrm_stat");
        let west = self.net.west.run("ipsec spi; ip -s link show ipsec0");
        format!("{}{}{}", east.stdout, west.stdout, self.net.west.log())
    }
}

/// KLIPS on ipsec0: the module where it is loaded, else klipsd.
fn start_klips(west: &Host) -> Client {
    west.run(
        "[ -e /proc/net/ipsec_version ] || \"$IPSEC_EXECDIR\"/klipsd --workers 4 && \
         ipsec tncfg --attach --virtual ipsec0 --physical eth1 && ip link set ipsec0 up && \
         for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done",
    )
    .ok();
    let socket = west.file("/run/pluto/pfkey.sock");
    if socket.exists() {
        Client::connect_to(&socket).expect("klipsd's socket")
    } else {
        west.in_network(Client::connect)
            .expect("the module's socket")
    }
}

fn batch(host: &Host, lines: &str) {
    host.write("/run/batch", lines)
        .run("ip -batch /run/batch")
        .ok();
}

fn names(suite: &[Step]) -> String {
    let names: Vec<String> = suite.iter().map(Step::to_string).collect();
    names.join(" + ")
}

/// Every suite in every layout: packets pass both ways, and nothing but the expected protocols is on the wire.
fn matrix(suites: &[Suite], layouts: &[Layout], expected: &str) {
    matrix_with(suites, layouts, expected, false);
}

fn matrix_with(suites: &[Suite], layouts: &[Layout], expected: &str, esn: bool) {
    let testbed = Testbed::new();
    let mut world = World::new(&testbed);
    let others = format!("not arp and not igmp and not ip6 multicast and not ({expected})");
    let capture = world.net.public.capture(&others);
    let mut failed = Vec::new();
    let started = std::time::Instant::now();
    for layout in layouts {
        for suite in suites {
            world.lay_out(*layout, suite);
            world.key(*layout, suite, esn);
            if let Err(error) = world.talk(*layout) {
                failed.push(format!(
                    "{} in {layout:?}: {error}\n{}",
                    names(suite),
                    world.trouble()
                ));
            }
            // What is still on its way must not meet hosts that have forgotten about it.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    println!(
        "{} combinations in {:?}",
        suites.len() * layouts.len(),
        started.elapsed()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(capture.stop().packets(""), Vec::<String>::new());
}

fn extension_headers_before_ipsec() {
    let testbed = Testbed::new();
    let mut world = World::new(&testbed);
    let layout = Layout::Transport { v6: true };
    let [west, east] = layout.gateways();
    let (IpAddr::V6(here), IpAddr::V6(there)) = (west, east) else {
        panic!("not IPv6")
    };
    let mut failed = Vec::new();
    for suite in [suites::ah(), vec![suites::esp_once().remove(2)]].concat() {
        world.lay_out(layout, &suite);
        world.key(layout, &suite, false);
        let passed = extensions::pings(&world.net.west, here, there)
            .and_then(|()| extensions::pings(&world.net.east, there, here));
        if let Err(error) = passed {
            failed.push(format!("{}: {error}\n{}", names(&suite), world.trouble()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// XFRM's window is 32 packets wide; KLIPS has four threads, where it has threads.
fn e1_sixteen_flows_arrive_within_xfrm_s_window() {
    let testbed = Testbed::new();
    let mut world = World::new(&testbed);
    let layout = tunnels(false)[0];
    let suite = suites::esp_once().remove(0);
    world.lay_out(layout, &suite);
    world.key(layout, &suite, false);
    let net = &world.net;
    let server = net.sunrise.spawn("exec iperf3 -s -B 192.0.2.1");
    let listens = "ss -tln | grep -q 192.0.2.1:5201";
    net.sunrise.wait_for(listens, Duration::from_secs(10));
    for options in ["-t 2", "-t 1 -R", "-t 1 -u -b 1M -l 64"] {
        let run = format!("iperf3 -c 192.0.2.1 -B 192.0.1.1 -P 16 {options}");
        net.sunset.run_for(&run, Duration::from_secs(60)).ok();
    }
    drop(server);
    let late = "awk '$1 == \"XfrmInStateSeqError\" { print $2 }' /proc/net/xfrm_stat";
    assert_eq!(
        net.east.run(late).ok().stdout.trim(),
        "0",
        "{}",
        world.trouble()
    );
    net.west
        .run("ipsec spi")
        .ok()
        .says("dir=in")
        .never_says("ooo_errs");
}

const TRANSPORT: [Layout; 2] = [
    Layout::Transport { v6: false },
    Layout::Transport { v6: true },
];

fn tunnels(outer_v6: bool) -> [Layout; 2] {
    [false, true].map(|inner_v6| Layout::Tunnel { outer_v6, inner_v6 })
}

fn all() -> Vec<Layout> {
    [tunnels(false), tunnels(true), TRANSPORT].concat()
}

/// Fragments of IPv6 show their protocol in their first piece only.
const ESP: &str = "esp or ip6 proto 50 or ip6 proto 44";
const AH: &str = "ip proto 51 or ip6 proto 51 or ip6 proto 44";

fn esp_in_tunnels_of_ipv4() {
    matrix(&suites::esp(), &tunnels(false), ESP);
}

fn esp_in_tunnels_of_ipv6() {
    matrix(&suites::esp_once(), &tunnels(true), ESP);
}

fn esp_in_transport_mode() {
    matrix(&suites::esp(), &TRANSPORT, ESP);
}

fn ah_in_both_modes() {
    matrix(&suites::ah(), &all(), AH);
}

fn ipcomp_in_both_modes() {
    matrix(&suites::comp(), &all(), &format!("{ESP} or {AH}"));
}

fn sequence_numbers_of_64_bits() {
    let layouts = [tunnels(false), TRANSPORT].concat();
    matrix_with(
        &suites::for_esn(),
        &layouts,
        &format!("{ESP} or {AH}"),
        true,
    );
}
