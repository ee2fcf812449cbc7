//! A router between the gateways whose links take less than theirs: who learns of it, and that TCP goes through.

use std::time::Duration;

use testing::{Host, Segment, Testbed};

testing::on_both_data_paths!(
    through_esp,
    through_esp_in_udp,
    ipv6_in_ipv4,
    ipv4_in_ipv6,
    ikes_ports_prove_nothing,
    this_hosts_own_in_transport_mode,
);

testing::in_test_kernel!(ikes_ports_prove_nothing);

/// What the links of the router take, in bytes.
const LINK: usize = 1200;

/// sunset - west = router = east - sunrise.
struct World<'a> {
    sunset: Host,
    west: Host,
    east: Host,
    sunrise: Host,
    near: Segment<'a>,
    testbed: &'a Testbed,
}

/// Addresses of west, its router's, east and its router's.
const V4: [&str; 4] = ["192.1.2.45", "192.1.2.254", "192.1.3.23", "192.1.3.254"];
const V6: [&str; 4] = [
    "2001:db8:0:2::45",
    "2001:db8:0:2::254",
    "2001:db8:0:4::23",
    "2001:db8:0:4::254",
];

impl<'a> World<'a> {
    fn new(testbed: &'a Testbed, link: usize) -> World<'a> {
        let near = testbed.segment("near", "192.1.2.254/24");
        let far = testbed.segment("far", "192.1.3.254/24");
        let (behind_west, behind_east) = (testbed.segment("west", ""), testbed.segment("east", ""));
        let [sunset, west, east, sunrise] =
            ["sunset", "west", "east", "sunrise"].map(|name| testbed.host(name));
        sunset
            .attach(&behind_west, "eth0", "192.0.1.1/24 2001:db8:0:1::1/64")
            .gateway("192.0.1.254")
            .run("ip -6 route add default via 2001:db8:0:1::254")
            .ok();
        west.attach(&behind_west, "eth0", "192.0.1.254/24 2001:db8:0:1::254/64")
            .attach(&near, "eth1", "192.1.2.45/24 2001:db8:0:2::45/64")
            .gateway(V4[1])
            .run(&format!("ip -6 route add default via {}", V6[1]))
            .ok();
        east.attach(&behind_east, "eth0", "192.0.2.254/24 2001:db8:0:3::254/64")
            .attach(&far, "eth1", "192.1.3.23/24 2001:db8:0:4::23/64")
            .gateway(V4[3])
            .run(&format!("ip -6 route add default via {}", V6[3]))
            .ok();
        sunrise
            .attach(&behind_east, "eth0", "192.0.2.1/24 2001:db8:0:3::1/64")
            .gateway("192.0.2.254")
            .run("ip -6 route add default via 2001:db8:0:3::254")
            .ok();
        testbed.run(&format!(
            "ip addr add {}/64 dev br-near nodad; ip addr add {}/64 dev br-far nodad
             ip link set br-near mtu {link}; ip link set br-far mtu {link}",
            V6[1], V6[3]
        ));
        World {
            sunset,
            west,
            east,
            sunrise,
            near,
            testbed,
        }
    }

    /// Both gateways started, and conn `t` between them up, with these lines in it.
    fn up(&self, [left, leftnext, right, rightnext]: [&str; 4], lines: &str) {
        let conf = format!(
            "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n\nconn t\n\tleft={left}\n\tleftnexthop={leftnext}\n\
             \tleftid=@west\n\tright={right}\n\trightnexthop={rightnext}\n\trightid=@east\n\tauthby=secret\n\tauto=add\n{lines}"
        );
        for gateway in [&self.west, &self.east] {
            gateway
                .conf(&conf)
                .secrets("@west @east : PSK \"a secret of at least some length\"\n");
            gateway.run("ipsec setup start").ok();
        }
        let up = self.west.run("ipsec auto --up t");
        assert!(
            up.status == 0,
            "{up}\n{}\n{}",
            self.west.log(),
            self.east.log()
        );
    }

    /// A megabyte through one TCP connection from `client` to `server`, which arrives as it was.
    #[track_caller]
    fn transfer(&self, client: &Host, server: &Host, address: &str) {
        let serve = server.spawn(&format!(
            "timeout 40 python3 -c 'import socket,hashlib
s=socket.create_server((\"{address}\", 5001), family=socket.AF_INET6 if \":\" in \"{address}\" else socket.AF_INET); c,_=s.accept(); h=hashlib.sha256(); n=0
while d:=c.recv(65536): h.update(d); n+=len(d)
print(n, h.hexdigest())'"
        ));
        let sent = client
            .run_for(
                &format!(
                    "python3 -c 'import socket,os,hashlib,time
for _ in range(80):
    try: s=socket.create_connection((\"{address}\", 5001), 3); break
    except OSError: time.sleep(0.1)
s.settimeout(30); d=os.urandom(1<<20); s.sendall(d); s.close(); print(len(d), hashlib.sha256(d).hexdigest())'"
                ),
                Duration::from_secs(50),
            )
            .ok();
        assert_eq!(serve.finish(), sent.stdout, "{}", self.west.log());
    }
}

/// `ping -M do` of a size in bytes of the whole packet.
fn ping(host: &Host, to: &str, size: usize) -> testing::Output {
    let header = if to.contains(':') { 48 } else { 28 };
    host.run(&format!(
        "ping -n -c 1 -W 2 -M do -s {} {to}",
        size - header
    ))
}

/// The number behind `mtu =` in what ping said, if it said one.
fn mtu(said: &testing::Output) -> Option<usize> {
    let text = format!("{}{}", said.stdout, said.stderr).replace("mtu = ", "mtu=");
    let number = text.split_once("mtu=")?.1;
    let end = number.find(|c: char| !c.is_ascii_digit())?;
    number[..end].parse().ok()
}

/// What `host` is told when it sends a packet that fits the gateway's own device. The first such packet meets the router, which tells
/// the gateway; the second meets the gateway.
#[track_caller]
fn told(host: &Host, to: &str) -> usize {
    assert_eq!(mtu(&ping(host, to, 1380)), None, "nobody knows yet");
    let second = ping(host, to, 1380);
    mtu(&second).unwrap_or_else(|| panic!("{second}"))
}

/// Sends west an ICMP "fragmentation needed" for 600 bytes about a packet that looks as if it were its own; `spi` in decimal, `ports` for ESP in UDP.
fn spoof(world: &World<'_>, spi: u32, ports: Option<(u16, u16)>) {
    let ports = ports.map_or("None".to_owned(), |(from, to)| format!("({from},{to})"));
    world.testbed.run(&format!(
        "python3 -c '
import socket,struct
def sum(d):
    n=0
    for i in range(0,len(d),2): n+=d[i]<<8|d[i+1]
    while n>>16: n=(n&0xffff)+(n>>16)
    return ~n&0xffff
ports={ports}; esp=struct.pack(\">II\", {spi}, 9)+bytes(16)
if ports: esp=struct.pack(\">HHHH\", *ports, 8+len(esp), 0)+esp
ip=struct.pack(\">BBHHHBBH\",0x45,0,1200,7,0x4000,63,17 if ports else 50,0)+socket.inet_aton(\"{west}\")+socket.inet_aton(\"{east}\")
ip=ip[:10]+struct.pack(\">H\",sum(ip))+ip[12:]
icmp=struct.pack(\">BBHHH\",3,4,0,0,600)+ip+esp
icmp=icmp[:2]+struct.pack(\">H\",sum(icmp))+icmp[4:]
s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_ICMP); s.sendto(icmp,(\"{west}\",0))'",
        west = V4[0],
        east = V4[2],
    ));
}

/// The SPI by which west sends.
fn spi(world: &World<'_>) -> u32 {
    let said = world.west.run("ipsec spi").ok();
    let line = said
        .lines()
        .find(|line| line.starts_with("esp0x") && line.contains(&format!("@{}", V4[2])))
        .unwrap_or_else(|| panic!("{said}"));
    u32::from_str_radix(line.split(['x', '@']).nth(1).expect("an SPI"), 16).expect("an SPI")
}

fn v4_inside(encapsulated: bool) {
    let testbed = Testbed::new();
    let world = World::new(&testbed, LINK);
    let lines = "\tleftsubnet=192.0.1.0/24\n\trightsubnet=192.0.2.0/24\n\tesp=aes128-sha1!\n";
    world.up(
        V4,
        &format!(
            "{lines}{}",
            if encapsulated {
                "\tforceencaps=yes\n"
            } else {
                ""
            }
        ),
    );
    // A tunnel's header, ESP's, its IV, whole blocks and an authenticator of 12.
    let outer = |inner: usize| {
        20 + if encapsulated { 8 } else { 0 } + 8 + 16 + (inner + 2).next_multiple_of(16) + 12
    };
    let fits = (1000..LINK).rev().find(|n| outer(*n) <= LINK).unwrap();
    let capture = world
        .near
        .capture("src 192.1.2.45 and (esp or udp port 4500) and ip[6:2] & 0x3fff != 0");
    assert_eq!(
        told(&world.sunset, "192.0.2.1"),
        fits,
        "{}",
        world.west.log()
    );
    ping(&world.sunset, "192.0.2.1", fits).ok();
    // Nobody else can make it smaller.
    let ports = encapsulated.then_some((4500, 4500));
    let right = spi(&world);
    spoof(&world, right ^ 0x100, ports);
    if encapsulated {
        spoof(&world, right, None);
        spoof(&world, right, Some((4500, 4501)));
    } else {
        spoof(&world, right, Some((4500, 4500)));
    }
    ping(&world.sunset, "192.0.2.1", fits).ok();
    assert_eq!(
        capture.stop().packets(""),
        Vec::<String>::new(),
        "fragments"
    );
    // TCP learns by itself, on both sides.
    world.sunset.run("ip route flush cache").ok();
    world.transfer(&world.sunset, &world.sunrise, "192.0.2.1");
    world.transfer(&world.sunrise, &world.sunset, "192.0.1.1");
    // Who knows the SPI is believed: it is on the way, or a router of it.
    spoof(&world, right, ports);
    // West tells one sender so six times at once, and then once a second.
    world.sunset.run("sleep 2; ip route flush cache").ok();
    let said = ping(&world.sunset, "192.0.2.1", fits);
    assert!(mtu(&said).is_some_and(|mtu| mtu < 600), "{said}");
}

fn through_esp() {
    v4_inside(false);
}

fn through_esp_in_udp() {
    v4_inside(true);
}

/// No IPv6 host is told less than 1280: what is that small goes in fragments outside.
fn ipv6_in_ipv4() {
    let testbed = Testbed::new();
    let world = World::new(&testbed, LINK);
    world.up(
        V4,
        "\tleftsubnet=2001:db8:0:1::/64\n\trightsubnet=2001:db8:0:3::/64\n",
    );
    assert_eq!(told(&world.sunset, "2001:db8:0:3::1"), 1280);
    // Of the first answer east learns.
    ping(&world.sunset, "2001:db8:0:3::1", 1280);
    ping(&world.sunset, "2001:db8:0:3::1", 1280).ok();
    world.sunset.run("ip -6 route flush cache").ok();
    world.transfer(&world.sunset, &world.sunrise, "2001:db8:0:3::1");
    world.transfer(&world.sunrise, &world.sunset, "2001:db8:0:1::1");
}

fn ipv4_in_ipv6() {
    let testbed = Testbed::new();
    let world = World::new(&testbed, 1300);
    world.up(
        V6,
        "\tleftsubnet=192.0.1.0/24\n\trightsubnet=192.0.2.0/24\n\tesp=aes128-sha1!\n",
    );
    let outer = |inner: usize| 40 + 8 + 16 + (inner + 2).next_multiple_of(16) + 12;
    let fits = (1000..1300).rev().find(|n| outer(*n) <= 1300).unwrap();
    assert_eq!(
        told(&world.sunset, "192.0.2.1"),
        fits,
        "{}",
        world.west.log()
    );
    ping(&world.sunset, "192.0.2.1", fits).ok();
    world.sunset.run("ip route flush cache").ok();
    world.transfer(&world.sunset, &world.sunrise, "192.0.2.1");
}

/// Who knows no more than addresses and IKE's ports can't make the tunnel smaller, not even where the kernel lowers its route to the
/// peer by it, as newer ones do with IPv6.
fn ikes_ports_prove_nothing() {
    let testbed = Testbed::new();
    let world = World::new(&testbed, 1500);
    world.up(
        V6,
        "\tleftsubnet=192.0.1.0/24\n\trightsubnet=192.0.2.0/24\n\tesp=aes128-sha1!\n",
    );
    for port in [500, 4500] {
        world.testbed.run(&format!(
            "python3 -c '
import socket,struct
udp=struct.pack(\">HHHH\",{port},{port},1408,0)+bytes(64)
ip=struct.pack(\">IHBB\",6<<28,1408,17,63)+socket.inet_pton(socket.AF_INET6,\"{west}\")+socket.inet_pton(socket.AF_INET6,\"{east}\")
s=socket.socket(socket.AF_INET6,socket.SOCK_RAW,socket.IPPROTO_ICMPV6)
s.sendto(struct.pack(\">BBHI\",2,0,0,1280)+ip+udp,(\"{west}\",0))'",
            west = V6[0],
            east = V6[2],
        )).ok();
    }
    let capture = world
        .near
        .capture(&format!("src {} and ip6[6] = 44", V6[0]));
    for _ in 0..2 {
        ping(&world.sunset, "192.0.2.1", 1400).says(" 0% packet loss");
    }
    let route = world.west.run(&format!("ip -6 route get {}", V6[2]));
    assert_eq!(
        capture.stop().packets(""),
        Vec::<String>::new(),
        "fragments\n{route}"
    );
}

/// Fragments can't be put into transport mode, so the whole packet is, and that is fragmented.
fn this_hosts_own_in_transport_mode() {
    let testbed = Testbed::new();
    let world = World::new(&testbed, LINK);
    world.up(V4, "\ttype=transport\n");
    assert!(!ping(&world.west, V4[2], 1380).contains(" 0% packet loss"));
    for _ in 0..2 {
        ping(&world.west, V4[2], 1380).says(" 0% packet loss");
    }
    world.transfer(&world.west, &world.east, V4[2]);
    world.transfer(&world.east, &world.west, V4[0]);
}
