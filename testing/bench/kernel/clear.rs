//! What plain forwarding costs where klips.ko looks whether packets may come in the clear.

use ipsec_types::{MagicSpi, SaId, Selector};
use nix::errno::Errno;
use pfkey::client::Client;
use pfkey::{SaFlags, request};
use testing::{Testbed, module};

use crate::clock::Clock;
use crate::line::Line;
use crate::load::udp;
use crate::{ROUNDS, eroutes, median};

/// What the gateways have; the first is what all are compared with.
const STATES: [&str; 5] = [
    "no klips.ko",
    "no eroutes",
    "1,000 eroutes of other nets",
    "an eroute that lets in",
    "an eroute that does not, and a route back beside it",
];

/// One line without IPsec, with each in turn: small packets, since of large ones one look is for up to 64 kilobytes. Three hosts of the line look,
/// of which one receives.
pub fn measure(clock: &mut Clock, testbed: &Testbed) {
    let line = Line::new(testbed);
    line.forward();
    let mut rounds = Vec::new();
    for round in 0..3 * ROUNDS {
        let mut rates = [0.0; STATES.len()];
        for n in 0..STATES.len() {
            let n = (n + round) % STATES.len();
            set(&line, n);
            rates[n] = udp(clock, &line);
        }
        rounds.push(rates);
    }
    println!(
        "| UDP, 64 bytes, routed without IPsec | beside {} |\n|---|---|",
        STATES[0]
    );
    for (n, state) in STATES.iter().enumerate() {
        let ratios: Vec<f64> = rounds.iter().map(|rates| rates[n] / rates[0]).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        println!(
            "| {state} | {:.2} ({least:.2} to {most:.2}) |",
            median(ratios)
        );
    }
    set(&line, 1);
}

/// Brings the gateways to a state. A module that is loaded anew has no eroutes.
fn set(line: &Line, state: usize) {
    while module::unload() == Err(Errno::EAGAIN) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    if state == 0 {
        return;
    }
    module::load().expect("klips.ko can be loaded");
    for gateway in line.gateways() {
        gateway.in_network(|| match state {
            2 => eroutes::load(1000),
            3 => both_ways(MagicSpi::Pass),
            4 => both_ways(MagicSpi::Drop),
            _ => {}
        });
    }
}

fn both_ways(shunt: MagicSpi) {
    let [west, east] = Line::nets();
    let mut client = Client::connect().expect("PF_KEY");
    for flow in [Selector::nets(west, east), Selector::nets(east, west)] {
        let target = SaId::magic(shunt);
        client
            .call(|buf, ids| request::add_flow(buf, ids, &flow, target, SaFlags::NONE))
            .expect("ADDFLOW");
    }
}
