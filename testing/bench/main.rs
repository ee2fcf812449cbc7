//! `make bench`: what IPsec costs between whole programs, as ratios measured in one run. Prints a Markdown table.
//!
//! What one function costs is in each crate's `benches/`.

use std::time::Duration;

use testing::{Gateways, Host, Keys, NET_TO_NET, Testbed};

/// Seconds of each iperf3 run.
const SECONDS: u32 = 5;
/// Tunnels for the memory figures.
const TUNNELS: usize = 200;
/// Connections for the loading figures.
const CONNECTIONS: usize = 5000;
/// How often they are loaded.
const ROUNDS: usize = 10;

fn main() {
    let only = std::env::args().nth(1);
    let all: [(&str, fn()); 4] = [
        ("throughput", throughput),
        ("clear", clear),
        ("memory", memory),
        ("loading", loading),
    ];
    println!("| what | figure |\n|---|---|");
    for (name, measure) in all {
        if only.as_deref().is_none_or(|only| only == name) {
            measure();
        }
    }
}

/// iperf3 from sunset to sunrise, TCP, one flow: plainly routed, then through each tunnel.
fn throughput() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.west
        .run("ip route add 192.0.2.0/24 via 192.1.2.23")
        .ok();
    net.east
        .run("ip route add 192.0.1.0/24 via 192.1.2.45")
        .ok();
    let _server = net.sunrise.spawn("exec iperf3 -s >/dev/null 2>&1");
    net.sunrise
        .wait_for("ss -ltn | grep -q :5201", Duration::from_secs(5));
    let plain = iperf(&net.sunset);
    println!("| TCP, one flow, routed without IPsec | {plain:.0} Mbit/s |");
    net.west.run("ip route del 192.0.2.0/24").ok();
    net.east.run("ip route del 192.0.1.0/24").ok();

    for esp in ["aes128-sha1", "aes256-sha1", "3des-md5"] {
        net.configure("", &format!("{NET_TO_NET}\tesp={esp}\n"))
            .start();
        net.up("net-to-net");
        let through = iperf(&net.sunset);
        let share = 100.0 * through / plain;
        println!(
            "| the same through two klipsd, esp={esp} | {through:.0} Mbit/s, {share:.1}% of plain |"
        );
        net.west.run("ipsec setup stop").ok();
        net.east.run("ipsec setup stop").ok();
    }
}

/// Small packets that are forwarded without IPsec, where klipsd looks whether they may come in the clear: those that nf_tables knows to be nobody's,
/// and those that it asks klipsd about, since an eroute is there and a route beside it.
fn clear() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.watch.end("nothing is protected here");
    let others = NET_TO_NET
        .replace("192.0.1.0/24", "192.0.8.0/24")
        .replace("192.0.2.0/24", "192.0.9.0/24");
    let _server = net.sunrise.spawn("exec iperf3 -s >/dev/null 2>&1");
    net.sunrise
        .wait_for("ss -ltn | grep -q :5201", Duration::from_secs(5));
    let rate = |conn: Option<&str>| {
        if let Some(conn) = conn {
            net.configure("", conn).start();
            net.up("net-to-net");
        }
        for (gateway, far, via) in [
            (&net.west, "192.0.2.0/24", "192.1.2.23"),
            (&net.east, "192.0.1.0/24", "192.1.2.45"),
        ] {
            gateway
                .run(&format!("ip route replace {far} via {via} dev eth1"))
                .ok();
        }
        let rate = iperf_with(&net.sunset, "-u -b 0 -l 64");
        for gateway in [&net.west, &net.east] {
            gateway.run("ipsec setup stop");
        }
        rate
    };
    let rounds: Vec<[f64; 2]> = (0..ROUNDS)
        .map(|_| {
            let plain = rate(None);
            [&others, NET_TO_NET].map(|conn| 100.0 * rate(Some(conn)) / plain)
        })
        .collect();
    for (n, what) in ["of other nets", "of a net with an eroute"]
        .iter()
        .enumerate()
    {
        let mut shares: Vec<f64> = rounds.iter().map(|round| round[n]).collect();
        shares.sort_by(f64::total_cmp);
        println!(
            "| UDP, 64 bytes, routed without IPsec beside klipsd, {what} | {:.0}% ({:.0} to {:.0}%) of without klipsd |",
            shares[ROUNDS / 2],
            shares[0],
            shares[ROUNDS - 1]
        );
    }
}

fn iperf(client: &Host) -> f64 {
    iperf_with(client, "")
}

fn iperf_with(client: &Host, options: &str) -> f64 {
    let run = client
        .run(&format!("iperf3 -c 192.0.2.1 -t {SECONDS} -f m {options}"))
        .ok();
    let line = run
        .lines()
        .find(|line| line.ends_with("receiver"))
        .expect("iperf3 sums up");
    let mut words = line
        .split_whitespace()
        .rev()
        .skip_while(|word| *word != "Mbits/sec")
        .skip(1);
    words
        .next()
        .and_then(|figure| figure.parse().ok())
        .expect("iperf3 tells Mbits/sec")
}

/// Resident memory of pluto and klipsd before and after 200 tunnels over one ISAKMP SA.
fn memory() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", &many(TUNNELS)).start();
    net.up("c0");
    let before = ["pluto", "klipsd"].map(|program| resident(&net.west, program));
    let script =
        format!("for i in $(seq 1 {TUNNELS}); do ipsec auto --up c$i >/dev/null || exit 1; done");
    net.west.run_for(&script, Duration::from_secs(600)).ok();
    for (program, before) in ["pluto", "klipsd"].into_iter().zip(before) {
        let each = (resident(&net.west, program) - before) / TUNNELS as f64;
        println!(
            "| memory of {program} for one more established tunnel ({TUNNELS} measured) | {each:.1} KiB |"
        );
    }
}

/// The time whack takes to add each of many connections to a pluto that has more and more of them: the shortest of some rounds,
/// since a round's longest are those in which the machine did something else.
fn loading() {
    let testbed = Testbed::new();
    let net = Gateways::new(&testbed, Keys::Psk);
    net.configure("", NET_TO_NET);
    let script = testbed.scratch("add");
    std::fs::write(&script, ADD_ALL).expect("the scratch directory is ours");
    let mut best = vec![f64::INFINITY; CONNECTIONS];
    for _ in 0..ROUNDS {
        net.west.run("ipsec setup start").ok();
        let run = format!("bash {} {CONNECTIONS}", script.display());
        let took = net.west.run_for(&run, Duration::from_secs(300)).ok().stdout;
        for (best, took) in best.iter_mut().zip(took.lines()) {
            *best = best.min(took.parse().expect("bash counts microseconds"));
        }
        net.west.run("ipsec setup stop").ok();
    }
    let first = median(&best[..100]);
    let last = median(&best[CONNECTIONS - 100..]);
    let (slowest, at) = best
        .iter()
        .zip(1..)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .expect("there are some");
    println!(
        "| one connection added by whack, of the first 100 | {first:.0} us, the whole process |"
    );
    println!(
        "| the same, of the last 100 of {CONNECTIONS} | {last:.0} us, {:.2} x the first |",
        last / first
    );
    println!(
        "| the same, the slowest of all, the {at}th | {slowest:.0} us, {:.2} x the first |",
        slowest / first
    );
}

/// Adds `$1` connections, and tells of each how many microseconds it took.
const ADD_ALL: &str = r#"
for ((i = 0; i < $1; i++)); do
    start=${EPOCHREALTIME/./}
    "$IPSEC_EXECDIR/whack" --name "c$i" --host 192.1.2.45 --client "10.$((i / 256)).$((i % 256)).0/24" \
        --to --host 192.1.2.23 --client 192.0.2.0/24 --psk --encrypt --tunnel --pfs >/dev/null || exit 1
    echo $((${EPOCHREALTIME/./} - start))
done
"#;

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// `c0` … `cN`, each a host of its own behind west.
fn many(last: usize) -> String {
    let mut text =
        "conn ends\n\tleft=192.1.2.45\n\tleftid=@west\n\tright=192.1.2.23\n\trightid=@east\n\
                    \trightsubnet=192.0.2.0/24\n\n"
            .to_owned();
    for i in 0..=last {
        text += &format!(
            "conn c{i}\n\tleftsubnet=10.1.{}.{}/32\n\talso=ends\n\tauto=add\n\n",
            i / 256,
            i % 256
        );
    }
    text
}

/// Resident memory of a program in KiB.
fn resident(host: &Host, program: &str) -> f64 {
    let status = host
        .run(&format!("grep VmRSS /proc/$(pgrep -x {program})/status"))
        .ok()
        .stdout;
    status
        .split_whitespace()
        .nth(1)
        .and_then(|figure| figure.parse().ok())
        .expect("VmRSS is a number")
}
