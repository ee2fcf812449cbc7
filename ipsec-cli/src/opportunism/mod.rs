//! `ipsec opportunism`: switches opportunistic encryption of this host on and off, and says what it does.
//!
//! The switch is two blocks, `0.0.0.0/0` and `::/0`, in the file of the policy group `private-or-clear`: the connections of version 2 are
//! loaded as soon as a group has a block, now and at every start.

mod policy;
mod status;
mod switch;

use crate::print;

const USAGE: &str = "Usage: ipsec opportunism on | off | status\n";

/// Runs the subcommand.
pub fn run(args: Vec<String>) -> u8 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let action: fn() -> Result<u8, String> = match words[..] {
        ["on"] => switch::on,
        ["off"] => switch::off,
        ["status"] => status::run,
        ["--help"] => {
            print(USAGE);
            return 0;
        }
        [] => {
            eprint!("{USAGE}");
            return 2;
        }
        [other, ..] => {
            let wrong = match other {
                "on" | "off" | "status" => words.get(1).copied().unwrap_or_default(),
                other => other,
            };
            eprint!("ipsec opportunism: unexpected argument '{wrong}'\n{USAGE}");
            return 2;
        }
    };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("ipsec opportunism: permission denied (must be superuser)");
        return 1;
    }
    action().unwrap_or_else(|message| {
        eprintln!("ipsec opportunism: {message}");
        1
    })
}
