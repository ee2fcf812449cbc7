//! An attacker in a host of the testbed: `attacker KIND TARGET RATE SECONDS IKE [SOURCE...]`, for one
//! `attacker returned 192.1.2.23:500 300 10 aes256-sha2_256-modp4096 192.1.2.66`. Prints what it has sent and what came back.

use std::time::Duration;

use testing::attack::{Attack, Kind};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, target, rate, seconds, ike, sources @ ..] = &args[..] else {
        panic!("attacker KIND TARGET RATE SECONDS IKE [SOURCE...]");
    };
    let attack = Attack {
        kind: Kind::named(kind).unwrap_or_else(|| panic!("{kind} is none of {:?}", Kind::ALL)),
        target: target.parse().expect("an address with a port"),
        rate: rate.parse().expect("so many a second"),
        time: Duration::from_secs_f64(seconds.parse().expect("seconds")),
        sources: sources
            .iter()
            .map(|source| source.parse().expect("an address"))
            .collect(),
        ike: ike.clone(),
    };
    let count = attack.run().unwrap_or_else(|e| panic!("{attack:?}: {e}"));
    let (sent, seconds, answers) = (count.sent, count.seconds, count.answers);
    println!("sent {sent} seconds {seconds} answers {answers}");
}
