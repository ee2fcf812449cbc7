//! Everything of pluto that touches the outside: sockets, netlink, the clock, files and child
//! processes, turned into the engine's events, and its actions carried out. What to do about an
//! event is decided in `engine`, never here.

mod client;
mod confine;
mod control;
mod daemon;
mod dns;
mod driver;
mod groups;
mod hosts;
mod jobs;
mod kernel;
mod keylog;
mod klips;
mod log;
mod net;
mod options;
mod start;
mod updown;

use std::process::ExitCode;

/// The daemon from its command line to its exit status.
pub fn main() -> ExitCode {
    if std::env::args()
        .nth(1)
        .is_some_and(|arg| arg == updown::COMMAND)
    {
        return updown::run_helper();
    }
    ipsec_daemon::memory::one_heap();
    let options = match options::parse() {
        Ok(options) => options,
        Err(status) => return status.into(),
    };
    let detach = !options.nofork;
    let keep_stderr = options.log_to == options::LogTo::Stderr;
    let start = move || start::start(options);
    if detach {
        daemon::detached(keep_stderr, start, driver::run)
    } else {
        daemon::in_foreground(start, driver::run)
    }
}
