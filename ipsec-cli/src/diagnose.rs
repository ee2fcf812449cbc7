//! Shows complaints about ipsec.conf on the terminal.

use ipsec_conf::{Config, Diagnostic, Outcome};
use std::io::IsTerminal;

/// Shows complaints on standard error.
pub fn show(config: &Config, problems: &[Diagnostic]) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for problem in problems {
        eprintln!("{}", config.render(problem, colour));
    }
}

/// Shows complaints about a value and gives it if it is usable.
pub fn usable<T>(config: &Config, outcome: Outcome<T>) -> Option<T> {
    show(config, &outcome.problems);
    outcome.value
}
