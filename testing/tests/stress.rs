//! The module under load: tables that change by the thousand below traffic, namespaces by the hundred, devices that come and go.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use ipsec_types::{MagicSpi, SaId, SaProto};
use pfkey::client::{Client, Control};
use pfkey::request;
use pfkey::{SaFlags, SaType};
use testing::kernel::times;
use testing::{KernelMemory, Netns, module, sh};
use tunnel::{
    Pair, Traffic, add_eroute, add_tunnel, delete_eroute, delete_tunnel, flow, said, subnet,
};

mod tunnel;

testing::on_klips_ko!(
    ten_thousand_changes_below_traffic,
    a_hundred_namespaces,
    namespaces_that_end_in_use,
    traps_without_end,
    devices_in_a_circle,
    a_physical_device_under_another_name,
);

/// The table of the namespace that the command runs in.
const EROUTES: &str = "cat /proc/net/ipsec_eroute";

/// Peers and subnets that have nothing to do with the traffic.
fn elsewhere(n: u32) -> (Ipv4Addr, Ipv4Addr) {
    let [.., b, c, d] = n.to_be_bytes();
    (
        Ipv4Addr::new(198, 18 + b, c, d),
        Ipv4Addr::new(10, 64 + b, c, d),
    )
}

fn ten_thousand_changes_below_traffic() {
    let pair = Pair::new();
    pair.key();
    let traffic = Traffic::start(&pair);
    traffic.goes_on(20);
    // Some stay for a while, so that the tables fill and empty, and what is deleted is not what was just added.
    const STAY: u32 = 300;
    let round = |first: u32, count: u32| {
        pair.west.enter(|| {
            let mut client = Client::connect().expect("the module is loaded");
            for n in first..first + count + STAY {
                if n < first + count {
                    let (peer, inner) = elsewhere(n);
                    add_tunnel(&mut client, tunnel::WEST, peer, 0x4000 + n);
                    let target = said(peer, 0x4000 + n, SaProto::IpIp);
                    add_eroute(&mut client, &flow(tunnel::WEST_INNER, inner), target);
                }
                if n >= first + STAY {
                    let (peer, inner) = elsewhere(n - STAY);
                    delete_eroute(&mut client, &flow(tunnel::WEST_INNER, inner));
                    delete_tunnel(&mut client, peer, 0x4000 + n - STAY);
                }
            }
        });
    };
    // Tables keep the room that they once needed, so as many SAs as there will ever be come first.
    round(0, times(1000).max(STAY));
    let before = KernelMemory::settled();
    let (asked, answered) = traffic.counts();
    round(1000, times(10_000));
    let (asked, answered) = (traffic.counts().0 - asked, traffic.counts().1 - answered);
    KernelMemory::settled().assert_flat_since(&before, 400);
    assert!(
        answered > 50 && asked - answered <= answered / 20 + 2,
        "{answered} of {asked} answered"
    );
    assert_eq!(pair.leaked(), 0, "plain packets on the wire");
    let eroutes = pair.west.sh(EROUTES);
    assert_eq!(eroutes.lines().count(), 1, "{eroutes}");
}

/// As a key management daemon: what meets a trap is told to `client`.
fn register(client: &mut Client) {
    client
        .call(|buf, ids| request::register(buf, ids, SaType::Esp))
        .expect("an answer");
}

/// A namespace with all that KLIPS can have in one, and packets in its tables.
fn lived_in() -> Netns {
    let net = Netns::new();
    net.sh(
        "ip link add eth0 type veth peer name eth1 && ip addr add 192.0.2.1/24 dev eth0 && ip link set eth0 up && ip link set eth1 up \
         && ip -6 addr add 2001:db8::1/64 dev eth0 nodad",
    );
    net.enter(|| {
        Control::Kernel
            .attach("ipsec0", "eth0", None)
            .expect("eth0 is there");
        Control::Kernel
            .attach("ipsec3", "eth1", Some(1300))
            .expect("eth1 is there");
        let mut client = Client::connect().expect("the module is loaded");
        register(&mut client);
        for n in 0..20 {
            let (peer, inner) = elsewhere(n);
            add_tunnel(&mut client, tunnel::WEST, peer, 0x4000 + n);
            add_eroute(
                &mut client,
                &flow(tunnel::WEST_INNER, inner),
                said(peer, 0x4000 + n, SaProto::IpIp),
            );
        }
        let everything = ipsec_types::Selector::nets(subnet("0.0.0.0/0"), subnet("10.128.0.0/9"));
        add_eroute(&mut client, &everything, SaId::magic(MagicSpi::Trap));
    });
    net.sh(
        "ip addr add 10.0.1.1/32 dev lo && ip link set ipsec0 up && ip route add 10.0.0.0/8 dev ipsec0 src 10.0.1.1 \
         && ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev eth0 && ip route add 198.18.0.0/15 via 192.0.2.2",
    );
    net.enter(|| {
        let socket = UdpSocket::bind("10.0.1.1:0").expect("the address is there");
        for n in 0..60 {
            // Through SAs, and into the trap, which makes holds that keep their packet.
            let to = if n < 40 {
                elsewhere(n % 20).1
            } else {
                Ipv4Addr::new(10, 128, 0, n as u8)
            };
            socket.send_to(&[0x55; 1450], (to, 9)).ok();
        }
    });
    net
}

fn a_hundred_namespaces() {
    let users = module::users();
    let generation = |count: u32| {
        let mut alive = Vec::new();
        for n in 0..count {
            let net = lived_in();
            if n == 0 {
                let shown = net.sh(EROUTES);
                assert!(
                    shown.contains("%hold") && shown.lines().count() > 21,
                    "{shown}"
                );
                assert!(
                    !shown.lines().any(|line| line.starts_with("0 ")),
                    "packets met all of them: {shown}"
                );
            }
            alive.push(net);
            // Some end while others are made; none of the last ten is alone.
            if alive.len() > 10 {
                alive.swap_remove(n as usize % 7);
            }
        }
    };
    generation(times(20));
    let before = all_gone();
    generation(times(100));
    // One host, four devices and 41 SAs are some 100 kB.
    all_gone().assert_flat_since(&before, 600);
    assert_eq!(module::users(), users);
}

/// The memory once namespaces that ended are gone for good: the kernel does that later.
fn all_gone() -> KernelMemory {
    std::thread::sleep(Duration::from_secs(2));
    KernelMemory::settled()
}

/// The namespace's last process goes while its socket is open elsewhere; and then the socket.
fn namespaces_that_end_in_use() {
    let users = module::users();
    let round = |count: u32| {
        for n in 0..count {
            let net = lived_in();
            let sockets: Vec<Client> = (0..3)
                .map(|_| net.enter(|| Client::connect().expect("the module is loaded")))
                .collect();
            let traffic =
                net.enter(|| UdpSocket::bind("10.0.1.1:0").expect("the address is there"));
            let table = net.enter(|| std::fs::File::open("/proc/thread-self/net/ipsec_eroute"));
            if n % 2 == 0 {
                // Physical devices may go first.
                net.sh("ip link del eth0");
            }
            drop(net);
            for to in 0..20 {
                traffic.send_to(&[0x55; 1000], (elsewhere(to).1, 9)).ok();
            }
            for mut client in sockets {
                client
                    .call(|buf, ids| request::flush(buf, ids, SaType::Unspec))
                    .expect("it works still");
            }
            drop((traffic, table));
        }
    };
    round(times(10));
    let before = all_gone();
    round(times(40));
    all_gone().assert_flat_since(&before, 600);
    assert_eq!(module::users(), users);
}

/// Packets to ever new addresses, each of which asks for a negotiation and becomes a hold; nobody reads the questions.
fn traps_without_end() {
    let pair = Pair::new();
    pair.key();
    let mut before = None;
    pair.west.enter(|| {
        let mut client = Client::connect().expect("the module is loaded");
        register(&mut client);
        let everybody = ipsec_types::Selector::nets(subnet("10.0.1.0/24"), subnet("10.64.0.0/10"));
        add_eroute(&mut client, &everybody, SaId::magic(MagicSpi::Trap));
        sh("ip route add 10.64.0.0/10 dev ipsec0 src 10.0.1.1");
        let socket = UdpSocket::bind("10.0.1.1:0").expect("the address is there");
        let deaf = Client::connect().expect("the module is loaded");
        for n in 0..times(30_000) {
            socket.send_to(&[0x55; 1450], (elsewhere(n).1, 9)).ok();
            // Holds that get an answer let their packet go.
            if n % 16 == 0 {
                let flow = flow(tunnel::WEST_INNER, elsewhere(n).1);
                let target = SaId::magic(if n % 32 == 0 {
                    MagicSpi::Pass
                } else {
                    MagicSpi::Drop
                });
                client
                    .call(|buf, ids| {
                        request::add_flow(buf, ids, &flow, target, SaFlags::REPLACEFLOW)
                    })
                    .expect("replaced");
                delete_eroute(&mut client, &flow);
            }
            if n == times(15_000) {
                client
                    .call(request::clear_flows)
                    .expect("there are eroutes");
                before = Some(KernelMemory::settled());
                add_eroute(&mut client, &everybody, SaId::magic(MagicSpi::Trap));
            }
        }
        client
            .call(request::clear_flows)
            .expect("there are eroutes");
        drop(deaf);
    });
    KernelMemory::settled().assert_flat_since(&before.expect("half way"), 400);
}

/// ipsecN attached to a tunnel whose own packets are routed to an ipsecN again: each packet goes round until it is dropped.
fn devices_in_a_circle() {
    let net = Netns::new();
    sh("modprobe ipip");
    net.sh(
        "ip link add eth0 type dummy && ip addr add 192.0.2.1/24 dev eth0 && ip link set eth0 up \
         && ip link add round0 type ipip local 192.0.2.1 remote 203.0.113.1 && ip link set round0 up \
         && ip link add round1 type ipip local 192.0.2.1 remote 203.0.113.2 && ip link set round1 up \
         && ip addr add 10.9.0.1/32 dev round0 && ip addr add 10.9.1.1/32 dev round1",
    );
    net.enter(|| {
        Control::Kernel.attach("ipsec0", "round0", None).expect("attached");
        Control::Kernel.attach("ipsec1", "round1", None).expect("attached");
        let mut client = Client::connect().expect("the module is loaded");
        let everything = ipsec_types::Selector::nets(subnet("0.0.0.0/0"), subnet("0.0.0.0/0"));
        add_eroute(&mut client, &everything, SaId::magic(MagicSpi::Pass));
        sh(
            "ip link set ipsec0 up && ip link set ipsec1 up && ip route add 10.10.0.0/16 dev ipsec0 \
             && ip route add 203.0.113.1 dev ipsec1 && ip route add 203.0.113.2 dev ipsec0 \
             && ip route add 10.10.0.0/16 dev round0 table 7 && ip route add 203.0.113.0/24 dev round1 table 7 \
             && ip rule add oif round0 table 7 && ip rule add oif round1 table 7",
        );
        let socket = UdpSocket::bind("192.0.2.1:0").expect("the address is there");
        for n in 0..100 {
            socket.send_to(&[0x55; 200], (Ipv4Addr::new(10, 10, 0, n), 9)).ok();
        }
        // With SAs in the way the packet grows each time as well.
        for (n, last) in [1, 2].into_iter().enumerate() {
            let peer = Ipv4Addr::new(203, 0, 113, last);
            add_tunnel(&mut client, tunnel::WEST, peer, 0x5000 + n as u32);
            let to = ipsec_types::Selector::nets(subnet("0.0.0.0/0"), subnet(["10.10.0.0/16", "203.0.113.0/24"][n]));
            add_eroute(&mut client, &to, said(peer, 0x5000 + n as u32, SaProto::IpIp));
        }
        for n in 0..100 {
            socket.send_to(&[0x55; 1400], (Ipv4Addr::new(10, 10, 0, n), 9)).ok();
        }
        let log = sh("dmesg | grep -a 'klips: a packet went round' || true");
        assert!(!log.is_empty(), "{}", sh("dmesg | tail; ip -s link"));
    });
}

/// An attached device may take a name that is no text, and go; its number may then be another's.
fn a_physical_device_under_another_name() {
    let net = Netns::new();
    net.sh("ip link add eth0 type dummy && ip link set eth0 up");
    net.enter(|| {
        Control::Kernel.attach("ipsec0", "eth0", None).expect("attached");
        sh("ip link set eth0 down && ip link set eth0 name \"$(printf 'eth\\377')\" && ip link set \"$(printf 'eth\\377')\" up");
        sh("ip link del \"$(printf 'eth\\377')\"");
        let shown = sh("cat /proc/net/ipsec_tncfg");
        assert!(shown.starts_with("ipsec0 -> NULL"), "{shown}");
    });
}
