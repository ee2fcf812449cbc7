//! `ipsec ranbits`: random bits in hexadecimal, for keys and shared secrets.

use super::DeviceRng;
use crate::paths::VERSION;
use ipsec_keys::data;
use rsa::rand_core::Rng;
use zeroize::Zeroizing;

const ME: &str = "ipsec ranbits";
const USAGE: &str = "Usage: ranbits [--quick] [--continuous] [--bytes] nbits\n";
const MAX_BITS: usize = 20_000;

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    let (mut quick, mut continuous, mut bytes, mut count) = (false, false, false, None);
    for arg in &args {
        match arg.as_str() {
            "--quick" => quick = true,
            "--continuous" => continuous = true,
            "--bytes" => bytes = true,
            "--help" => {
                crate::print(USAGE);
                return 0;
            }
            "--version" => {
                crate::print(&format!("{ME} {VERSION}\n"));
                return 0;
            }
            _ if arg.starts_with('-') => {
                eprintln!("{ME}: unknown option `{arg}'");
                return usage();
            }
            _ if count.is_some() => return usage(),
            _ => count = Some(arg),
        }
    }
    let Some(count) = count else { return usage() };
    let bits = count
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(if bytes { 8 } else { 1 }));
    let bits = match bits {
        Some(bits @ 1..=MAX_BITS) => bits,
        Some(bits @ 1..) => {
            return complain(&format!("overlarge bit count ({bits}, max {MAX_BITS})"));
        }
        _ => return complain(&format!("invalid bit count ({count})")),
    };
    let mut rng = match DeviceRng::open(if quick { "/dev/urandom" } else { "/dev/random" }, ME) {
        Ok(rng) => rng,
        Err(message) => return complain(&message),
    };
    let mut random = Zeroizing::new(vec![0; bits.div_ceil(8)]);
    rng.fill_bytes(&mut random);
    let text = if continuous {
        data::to_hex(&random)
    } else {
        data::to_hex_grouped(&random)
    };
    crate::print(&Zeroizing::new(format!("{}\n", *Zeroizing::new(text))));
    0
}

fn usage() -> u8 {
    eprint!("{USAGE}");
    2
}

fn complain(message: &str) -> u8 {
    eprintln!("{ME}: {message}");
    1
}
