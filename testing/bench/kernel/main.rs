//! `make bench-kernel`: klips.ko beside the kernel's own IPsec (XFRM) and beside no IPsec, in one boot of a test kernel. Prints
//! Markdown tables.
//!
//! Everything runs on the one CPU of that kernel, so a rate is what the whole way of a packet costs: the sender, two gateways and the
//! receiver. Rates are by CPU time, so that what else the machine does counts little. Only ratios mean anything; each is the
//! median of those of the rounds, in which all that is compared runs in turn, with the least and the most of them.

mod clear;
mod clock;
mod eroutes;
mod line;
mod load;

use std::process::ExitCode;

use clock::Clock;
use line::{CIPHERS, Line};
use load::{tcp, tcp_of_gateway, udp};
use testing::Testbed;

/// What is measured on a line.
type Measure = fn(&mut Clock, &Line) -> f64;

/// How often everything is measured.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    if !clock::inside() {
        return clock::run();
    }
    let mut clock = Clock::new();
    let only = std::env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    // What one CPU gets is handed on at once, not dropped because the other end has not had its turn.
    std::fs::write("/proc/sys/net/core/netdev_max_backlog", "100000").expect("a sysctl");
    let testbed = Testbed::new();
    if CIPHERS.iter().any(|cipher| wanted(cipher.name)) {
        testbed.run("modprobe -a esp4 authenc");
        let lines = ["plain", "xfrm", "klips"].map(|_| Line::new(&testbed));
        let [plain, xfrm, klips] = &lines;
        plain.forward();
        for cipher in CIPHERS.iter().filter(|cipher| wanted(cipher.name)) {
            xfrm.xfrm(cipher);
            klips.klips(cipher);
            let name = cipher.name;
            let measures: [(&str, &str, Measure); 3] = [
                ("TCP, one flow", "Mbit/s", tcp),
                (
                    "TCP, one flow of the gateway's own",
                    "Mbit/s",
                    tcp_of_gateway,
                ),
                ("UDP, 64 bytes", "thousand/s", udp),
            ];
            for (what, unit, measure) in measures {
                table(&format!("{name}: {what}"), unit, &lines, |line| {
                    measure(&mut clock, line)
                });
            }
        }
    }
    if wanted("clear") {
        clear::measure(&mut clock, &testbed);
    }
    if wanted("eroutes") {
        eroutes::measure(&mut clock, &testbed);
    }
    ExitCode::SUCCESS
}

/// Measures all three lines some times in turn.
fn table(what: &str, unit: &str, lines: &[Line; 3], mut measure: impl FnMut(&Line) -> f64) {
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let mut rates = [0.0; 3];
        for n in 0..lines.len() {
            // Who comes first and who after whom differs, so that nothing that happens in time falls on one of them.
            let n = (n + round) % lines.len();
            let n = if round % 2 == 0 {
                n
            } else {
                lines.len() - 1 - n
            };
            rates[n] = measure(&lines[n]);
        }
        rounds.push(rates);
    }
    let of = |f: &dyn Fn(&[f64; 3]) -> f64| median(rounds.iter().map(f).collect());
    println!(
        "| {what} | plain | XFRM | klips.ko | klips.ko / XFRM | klips.ko / plain |\n|---|---|---|---|---|---|"
    );
    let ratios = rounds.iter().map(|r| r[2] / r[1]);
    println!(
        "| {unit} | {:.0} | {:.0} | {:.0} | {:.2} ({:.2} to {:.2}) | {:.2} |\n",
        of(&|r| r[0]),
        of(&|r| r[1]),
        of(&|r| r[2]),
        of(&|r| r[2] / r[1]),
        ratios.clone().fold(f64::INFINITY, f64::min),
        ratios.fold(0.0, f64::max),
        of(&|r| r[2] / r[0]),
    );
}

/// The middle one.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
