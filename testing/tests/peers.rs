//! What strangers do: bad wires, deletes that we answer by coming back, messages that nobody means well.

use std::time::{Duration, Instant};

use testing::interop::{Bench, Role, over_a_bad_wire, plain_row};
use testing::peer::{Kind, WiresharkKeys};
use testing::{Capture, Captured, Host, Testbed};

testing::for_hours!(strongswan_over_a_bad_wire, libreswan_over_a_bad_wire);
testing::in_test_kernel!(
    a_tunnel_that_strongswan_deletes_comes_back,
    wireshark_reads_what_we_say_to_strongswan,
    wireshark_reads_what_we_say_to_libreswan,
    ten_thousand_mutated_datagrams,
);

/// Set-ups in `make check`; `make bad-wire` has 200.
fn set_ups() -> u32 {
    let wanted = std::env::var("BAD_WIRE_SET_UPS").ok();
    wanted.map_or(4, |text| {
        text.parse().expect("BAD_WIRE_SET_UPS is a number")
    })
}

fn strongswan_over_a_bad_wire() {
    over_a_bad_wire(Kind::Strongswan, set_ups());
}

fn libreswan_over_a_bad_wire() {
    over_a_bad_wire(Kind::Libreswan, set_ups());
}

fn a_tunnel_that_strongswan_deletes_comes_back() {
    let testbed = Testbed::new();
    let bench = Bench::new(&testbed, Kind::Strongswan);
    bench.load(&plain_row(Kind::Strongswan)).unwrap();
    bench.up(Role::We).unwrap();
    let first = bench.peer().spis();
    bench.peer().down("cell").ok();
    let west = &bench.net().west;
    west.wait_for(
        "ipsec auto --status | grep -q '#4: .*IPsec SA established'",
        Duration::from_secs(25),
    );
    bench
        .net()
        .sunset
        .wait_for("ping -n -q -c 1 -W 1 192.0.2.1", Duration::from_secs(10));
    let second = bench.peer().spis();
    assert!(
        second.len() == 2 && second.iter().all(|spi| !first.contains(spi)),
        "{first:?} {second:?}"
    );
}

fn wireshark_reads_what_we_say_to_strongswan() {
    wireshark_reads(Kind::Strongswan);
}

fn wireshark_reads_what_we_say_to_libreswan() {
    wireshark_reads(Kind::Libreswan);
}

/// tshark calls nothing malformed of what either says, from the first message to the deletes of both roles, nor of what it decrypts with
/// the keys that we log; and of that it can read everything.
fn wireshark_reads(peer: Kind) {
    let testbed = Testbed::new();
    let bench = Bench::new(&testbed, peer);
    let west = &bench.net().west;
    let conf = west.read("/etc/ipsec.conf");
    let (head, rest) = conf.split_once("config setup\n").expect("it has one");
    west.conf(&format!(
        "{head}config setup\n\tkeylogfile=/run/keys\n{rest}"
    ));
    west.run("ipsec setup restart").ok();
    west.run("ipsec auto --status")
        .ok()
        .says("WARNING: keys are written to \"/run/keys\"");
    let captured = both_roles(&bench, bench.net().public.capture("udp port 500 or esp"));
    let captured = captured.without_repetitions();

    west.run("stat -c %a /run/keys /run/keys.esp_sa | sort -u | grep -x 600")
        .ok();
    let keys = WiresharkKeys::of(west, "/run/keys");
    let malformed = keys.read(
        &captured,
        "_ws.malformed",
        &["frame.number", "ip.src", "_ws.col.Info"],
    );
    assert_eq!(malformed, Vec::<Vec<String>>::new());
    // Of each exchange a message with what only the keys show: an identity, a hash with an SA, a hash with a deletion.
    let exchanges: [(&str, &[&str]); 3] = [
        ("2", &["5"]),
        ("32", &["8", "1", "10"]),
        ("5", &["8", "12"]),
    ];
    keys.shows(&captured, "192.1.2.45", &exchanges);
    // Whose SAs are deleted need not delete any.
    keys.shows(&captured, "192.1.2.23", &exchanges[..2]);
    let pings = keys.read(&captured, "esp && icmp.type == 8", &["frame.number"]);
    assert!(!pings.is_empty());
}

/// A tunnel that we set up, then one that they set up, each rekeyed and ended.
fn both_roles(bench: &Bench, capture: Capture) -> Captured {
    bench.load(&plain_row(bench.peer().kind())).unwrap();
    for role in [Role::We, Role::They] {
        bench.up(role).unwrap();
        let ping = "ping -n -q -c 1 -W 1 192.0.2.1";
        bench.net().sunset.wait_for(ping, Duration::from_secs(10));
        bench.net().west.run("ipsec auto --up cell").ok();
        bench.peer().rekey("cell").ok();
        std::thread::sleep(Duration::from_secs(1));
        bench.net().west.run("ipsec auto --down cell").ok();
        bench.peer().down("cell");
        std::thread::sleep(Duration::from_secs(1));
    }
    capture.stop()
}

/// Datagrams that are sent.
const DATAGRAMS: usize = 10_000;

/// Sends what standard input holds, hexadecimal, a line each, 500 a second at most, between ports 500; what begins with the non-ESP
/// marker, between ports 4500.
const SEND: &str = r#"perl -MIO::Socket::INET -e '
    my ($from, $to) = @ARGV;
    my %socket = map { $_ => IO::Socket::INET->new(Proto => "udp", LocalAddr => $from, LocalPort => $_, PeerAddr => $to, PeerPort => $_)
        || die "socket: $@" } (500, 4500);
    my $count = 0;
    while (<STDIN>) {
        chomp;
        $socket{/^00000000/ ? 4500 : 500}->send(pack "H*", $_);
        select undef, undef, undef, 0.01 unless ++$count % 5
    }
    print "$count sent\n"' "#;

fn ten_thousand_mutated_datagrams() {
    mutated_datagrams(Kind::Strongswan, "udp port 500");
}

/// strongSwan with ESP in user space goes to port 4500 always, and needs no test kernel.
#[test]
fn ten_thousand_mutated_datagrams_at_the_nat_port() {
    mutated_datagrams(Kind::Libipsec, "udp port 4500 and udp[8:4] = 0");
}

fn mutated_datagrams(kind: Kind, filter: &str) {
    let testbed = Testbed::new();
    let bench = Bench::new(&testbed, kind);
    let capture = bench.net().public.capture(filter);
    bench.load(&plain_row(kind)).unwrap();
    // What is captured is of the tunnel that stays up, in both directions, and of one before it.
    bench.up(Role::They).unwrap();
    bench.peer().down("cell").ok();
    bench.up(Role::We).unwrap();
    bench.peer().rekey("cell").ok();
    std::thread::sleep(Duration::from_secs(1));
    let captured = capture.stop();
    let fields = ["udp.payload", "isakmp.flags"];
    let rows = captured.tshark(&["-Y", "isakmp"], &fields);
    let originals: Vec<Vec<u8>> = rows.iter().map(|row| unhex(&row[0])).collect();
    // Half of all that IKEv1 says is encrypted, and at port 4500 nothing else comes.
    let encrypted = rows.iter().filter(|row| row[1].ends_with('1')).count();
    assert!(originals.len() > 10 && encrypted >= 8, "{rows:?}");

    let west = &bench.net().west;
    let states = || {
        let status = west.run("ipsec auto --status").ok().stdout;
        let kept = status.lines().filter(|line| line.contains(" esp0x"));
        kept.map(str::to_owned).collect::<Vec<_>>()
    };
    let number = |script: &str| -> u64 {
        let text = west.run(script).ok().stdout;
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{script}: {text}"))
    };
    let memory = || {
        number(
            "sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/$(cat /run/pluto/pluto.pid)/status",
        )
    };
    let log_lines = || number("wc -l </run/pluto/pluto.log");
    let pid = west.read("/run/pluto/pluto.pid");
    let before = states();
    assert!(before.len() >= 2, "{before:?}");

    // From a stranger's address, and from the peer's own by a host that takes its name in vain.
    let north = testbed.host("north");
    north
        .run("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
        .ok();
    north.attach(&bench.net().public, "eth1", "192.1.2.33/24");
    north.run("ip addr add 192.1.2.23/32 dev lo").ok();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut mutated = |count: usize| -> String {
        let line = |_| hex(&mutate(&originals, &mut random)) + "\n";
        (0..count).map(line).collect()
    };
    // The first tenth brings what memory is kept for floods; from then on it is flat.
    send(&north, "192.1.2.33", &mutated(DATAGRAMS / 20));
    send(&north, "192.1.2.23", &mutated(DATAGRAMS / 20));
    let (kilobytes, lines) = (memory(), log_lines());
    let begun = Instant::now();
    send(&north, "192.1.2.33", &mutated(DATAGRAMS * 9 / 20));
    send(&north, "192.1.2.23", &mutated(DATAGRAMS * 9 / 20));

    assert_eq!(west.read("/run/pluto/pluto.pid"), pid);
    west.run("grep -i panicked /run/pluto/pluto.log").fails();
    let after = states();
    for state in &before {
        assert!(
            after.contains(state),
            "{state} is gone: {after:?}\n{}",
            west.log()
        );
    }
    assert_eq!(bench.net().pings(10, "0.05", "ff"), 10, "{}", west.log());
    let grown = memory().saturating_sub(kilobytes);
    assert!(
        grown < 2048,
        "{grown} kB more than the {kilobytes} kB before"
    );
    // Twenty lines a second, and one that counts the others.
    let (written, seconds) = (log_lines() - lines, begun.elapsed().as_secs() + 2);
    assert!(
        written < 25 * seconds,
        "{written} lines of log in {seconds} s: {}",
        west.run("cut -d' ' -f2- /run/pluto/pluto.log | sed 's/[0-9a-fx#]\\{2,\\}/N/g' | sort | uniq -c | sort -rn | head -20")
    );
    // It still negotiates.
    west.run("ipsec auto --up cell").ok();
}

fn send(host: &Host, from: &str, lines: &str) {
    host.write("/run/datagrams", lines);
    let done = host.run_for(
        &format!("{SEND} {from} 192.1.2.45 </run/datagrams"),
        Duration::from_secs(120),
    );
    done.ok().says(&format!("{} sent", lines.lines().count()));
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// One of the originals with bytes changed, cut, repeated, or its lengths put right after a cut; behind the non-ESP marker, if it has
/// one, which stays.
fn mutate(originals: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let original = &originals[random.below(originals.len())];
    match original.strip_prefix(&[0; 4]) {
        None => mutate_message(original, originals, random),
        Some(message) => [vec![0; 4], mutate_message(message, originals, random)].concat(),
    }
}

fn mutate_message(original: &[u8], originals: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let other = &originals[random.below(originals.len())];
            let from = random.below(other.len());
            bytes.extend_from_slice(&other[from..]);
        }
        2 if bytes.len() > 28 => {
            let keep = 28 + random.below(bytes.len() - 28);
            bytes.truncate(keep);
            bytes[24..28].copy_from_slice(&(keep as u32).to_be_bytes());
        }
        // First payload, version, exchange, flags: what is encrypted is not said to be, and the other way.
        3 if bytes.len() > 28 => bytes[16 + random.below(4)] ^= 1 << random.below(8),
        // Ciphertext alone, so that all before it is taken for what it was.
        4 if bytes.len() > 28 => {
            let at = 28 + random.below(bytes.len() - 28);
            bytes[at] ^= 1 << random.below(8);
            return bytes;
        }
        _ => {}
    }
    if bytes.is_empty() {
        return vec![0];
    }
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] = match random.below(4) {
            0 => 0,
            1 => 0xff,
            2 => bytes[at] ^ (1 << random.below(8)),
            _ => random.below(256) as u8,
        };
    }
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    digits.chunks(2).filter_map(byte).collect()
}
