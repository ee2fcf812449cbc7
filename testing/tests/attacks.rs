//! A gateway under attack: a peer that it knows replaces its SAs, and a road warrior that it has never seen comes in, while others flood
//! and forge. Pluto stays small and its log short. `make attack` lets each attack go on for longer, and shows the figures.

use std::time::{Duration, Instant};

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed, attack};

/// What everybody on the road knows, and nobody who attacks.
const ROAD_SECRET: &str = "a secret for those on the road";
const ROAD: &str = "
conn road
\tleft=%any
\tleftid=@new
\tright=192.1.2.23
\trightid=@east
\trightsubnet=192.0.2.0/24
\trightnexthop=192.1.2.254
\tauto=add
";
const TARGET: &str = "192.1.2.23:500";
const COSTLY: &str = "aes256-sha2_256-modp4096";
/// kB of memory in use, lines, and how long the two may take on a busy machine.
const MOST_MEMORY: u64 = 40_000;
const MOST_LINES: usize = 2000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Attacks by the words that the attacker takes, without their time; `PEER` is the known peer's address, `MANY` fifty of its own.
const FLOODS: [(&str, &str, &str); 5] = [
    (
        "one address returns cookies",
        "returned RATE 300",
        "192.1.2.66",
    ),
    (
        "fifty addresses return cookies",
        "returned RATE 300",
        "MANY",
    ),
    (
        "first messages from the peer's address",
        "spoofed RATE 20000",
        "192.1.2.45",
    ),
    ("first messages from anywhere", "spoofed RATE 20000", ""),
    (
        "first messages, each different, from the peer's address",
        "spoofed-different RATE 20000",
        "192.1.2.45",
    ),
];
/// 100,000 datagrams altogether, where the attacker is fast enough.
const FORGERIES: [(&str, &str); 7] = [
    ("unanswerable RATE 5000", ""),
    ("icmp RATE 5000", ""),
    ("bad-second RATE 3000", "192.1.2.66"),
    ("bad-third RATE 100", "192.1.2.66"),
    ("replay RATE 3000", "192.1.2.66"),
    ("fragments RATE 5000", "192.1.2.45"),
    ("noise RATE 5000", "192.1.2.45"),
];

struct World<'a> {
    net: Gateways<'a>,
    mallory: Host,
    newcomer: Host,
}

fn world(testbed: &Testbed) -> World<'_> {
    let net = Gateways::new(testbed, Keys::Psk);
    let host = |name, addresses: &str| {
        let host = testbed.host(name);
        host.attach(&net.public, "eth1", addresses)
            .gateway("192.1.2.254");
        host
    };
    let many: String = (100..150).map(|n| format!("192.1.2.{n}/24 ")).collect();
    let mallory = host("mallory", &format!("192.1.2.66/24 {many}"));
    // Its packets with the address of a neighbour pass by the neighbour's switch.
    mallory
        .run("echo 0 >/proc/sys/net/ipv4/conf/eth1/rp_filter")
        .ok();
    let newcomer = host("newcomer", "192.1.2.77/24");
    net.configure("", &format!("{NET_TO_NET}\n{ROAD}"));
    let known = "@west @east : PSK \"a secret of at least some length\"\n";
    let road = format!("@east %any : PSK \"{ROAD_SECRET}\"\n");
    net.east.secrets(&format!("{known}{road}"));
    newcomer.conf(&format!(
        "version 2.0\n\nconfig setup\n\tinterfaces=\"ipsec0=eth1\"\n\nconn %default\n\tauthby=secret\n{}",
        ROAD.replace("%any", "192.1.2.77\n\tleftnexthop=192.1.2.254")
    ));
    newcomer.secrets(&format!("@new @east : PSK \"{ROAD_SECRET}\"\n"));
    net.start().up("net-to-net");
    newcomer.run("ipsec setup start").ok();
    World {
        net,
        mallory,
        newcomer,
    }
}

/// Of pluto on east: milliseconds of processor time, kB of memory, lines of its log.
fn figures(east: &Host) -> (u64, u64, usize) {
    let script = "p=$(cat /run/pluto/pluto.pid); set -- $(sed 's/.*) //' /proc/$p/stat); \
        echo $(( (${12} + ${13}) * 1000 / $(getconf CLK_TCK) )); awk '/VmRSS/ {print $2}' /proc/$p/status; \
        cat /run/pluto/pluto.log | wc -l";
    let output = east.run(script).ok();
    let mut numbers = output.lines().map(|line| line.trim().parse().unwrap());
    let mut next = || numbers.next().unwrap_or_else(|| panic!("{output}"));
    let (cpu, memory, lines): (u64, u64, u64) = (next(), next(), next());
    (cpu, memory, lines as usize)
}

/// How long until the connection is up.
#[track_caller]
fn up(host: &Host, name: &str, east: &Host) -> Duration {
    let begun = Instant::now();
    let output = host.run_for(&format!("ipsec auto --up {name}"), PATIENCE);
    assert!(
        output.status == 0,
        "{name}: {output}\n{}\n{}",
        host.log(),
        east.log()
    );
    begun.elapsed()
}

fn seconds() -> f64 {
    let given = std::env::var("ATTACK_SECONDS").ok();
    given.map_or(4.0, |given| given.parse().expect("seconds"))
}

/// `KIND RATE` with the target and the time put in.
fn words(attack: &str, seconds: f64, sources: &str) -> String {
    let (kind, rate) = attack.split_once(" RATE ").unwrap();
    let many: String = (100..150).map(|n| format!("192.1.2.{n} ")).collect();
    let sources = sources.replace("MANY", &many);
    format!("{kind} {TARGET} {rate} {seconds} {COSTLY} {sources}")
}

/// The third word of what the attacker printed, and so on: datagrams sent.
fn sent(said: &str) -> u64 {
    let number = said.split_whitespace().nth(1);
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("the attacker says {said}"))
}

#[test]
fn d1_d2_floods_keep_neither_a_known_peer_nor_a_newcomer_out() {
    let testbed = Testbed::new();
    let World {
        net,
        mallory,
        newcomer,
    } = world(&testbed);
    let east = &net.east;
    println!("attack | messages | CPU a message | peer in | newcomer in | memory | lines");
    for (what, words_of, sources) in FLOODS {
        let (cpu, _, lines) = figures(east);
        // The two come while it goes on, however long they take.
        let attacker = attack::start(&mallory, &words(words_of, 600.0, sources));
        let begun = Instant::now();
        std::thread::sleep(Duration::from_secs_f64(seconds() / 4.0));
        let peer = up(&net.west, "net-to-net", east);
        let stranger = up(&newcomer, "road", east);
        std::thread::sleep(Duration::from_secs_f64(seconds()).saturating_sub(begun.elapsed()));
        let (cpu_now, memory, lines_now) = figures(east);
        mallory.run("pkill -x attacker; true").ok();
        drop(attacker);
        let rate: f64 = words_of.rsplit(' ').next().unwrap().parse().unwrap();
        let messages = rate * begun.elapsed().as_secs_f64();
        let each = (cpu_now - cpu) as f64 * 1000.0 / messages;
        println!(
            "{what} | {messages:.0} | {each:.0} us | {:.1} s | {:.1} s | {memory} kB | {}",
            peer.as_secs_f64(),
            stranger.as_secs_f64(),
            lines_now - lines
        );
        assert!(memory < MOST_MEMORY, "{what}: {memory} kB");
        assert!(lines_now - lines < MOST_LINES, "{what}");
        newcomer.run("ipsec auto --down road").ok();
    }
    assert_eq!(net.pings(5, "0.2", "ff"), 5);
}

#[test]
fn d3_d4_forgeries_write_a_short_log_and_end_nothing() {
    let testbed = Testbed::new();
    let World {
        net,
        mallory,
        newcomer,
    } = world(&testbed);
    let east = &net.east;
    let (_, _, lines) = figures(east);
    println!("forgery | messages | CPU a message | lines | memory");
    let mut all = 0;
    for (words_of, sources) in FORGERIES {
        let (cpu, _, before) = figures(east);
        let attacker = attack::start(&mallory, &words(words_of, seconds(), sources));
        let messages = sent(&attacker.finish());
        all += messages;
        let (cpu_now, memory, lines) = figures(east);
        let each = (cpu_now - cpu) as f64 * 1000.0 / messages as f64;
        println!(
            "{words_of} | {messages} | {each:.0} us | {} | {memory} kB",
            lines - before
        );
        assert!(messages > 100, "{words_of}");
        assert!(memory < MOST_MEMORY, "{words_of}: {memory} kB");
    }
    let (_, _, now) = figures(east);
    println!("all | {all} | | {}", now - lines);
    assert!(now - lines < MOST_LINES, "{} lines", now - lines);
    assert_eq!(net.pings(5, "0.2", "ff"), 5);
    up(&net.west, "net-to-net", east);
    up(&newcomer, "road", east);
}
