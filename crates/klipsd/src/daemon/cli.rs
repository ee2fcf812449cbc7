//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Threads per ipsecN when the machine has more processors than this.
const MAX_DEFAULT_WORKERS: usize = 4;

/// KLIPS in user space: ipsecN interfaces, IPsec processing and PF_KEY, without a kernel module.
#[derive(Clone, Debug, Parser)]
#[command(name = "klipsd", version, max_term_width = 100)]
pub struct Args {
    /// Where the sockets pfkey.sock and klips.ctl and the pid file are; made when missing
    #[arg(
        long,
        value_name = "DIR",
        env = "IPSEC_RUNDIR",
        default_value = "/run/pluto"
    )]
    pub rundir: PathBuf,

    /// Threads (and queues) for each ipsecN, 1 to 64; default the number of processors, 4 at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: Option<u8>,

    /// Stay in the foreground and log to standard error
    #[arg(long)]
    pub nofork: bool,

    /// Let in again what a klipsd that was killed has left closed to packets in the clear, and end
    #[arg(long)]
    pub open: bool,

    /// Log to this file instead of syslog
    #[arg(long, value_name = "FILE")]
    pub logfile: Option<PathBuf>,

    /// What to log: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub loglevel: tracing::Level,
}

impl Args {
    /// How many threads each ipsecN gets.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers
            .map_or_else(|| processors().min(MAX_DEFAULT_WORKERS), usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let args =
            Args::try_parse_from(["klipsd", "--rundir", "/tmp/x", "--workers", "3", "--nofork"])
                .unwrap();
        assert_eq!((args.worker_count(), args.nofork), (3, true));
        assert!(Args::try_parse_from(["klipsd", "--workers", "0"]).is_err());
        assert!(Args::try_parse_from(["klipsd", "--workers", "65"]).is_err());
    }
}
