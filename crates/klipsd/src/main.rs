//! The klipsd daemon.

use std::process::ExitCode;

use clap::Parser as _;
use ipsec_daemon::memory;
use klipsd::clear;
use klipsd::daemon::{Args, log, run};
use klipsd::sys::fork::{Readiness, Side, daemonise, detach_stdio};

fn main() -> ExitCode {
    memory::big_buffers_apart();
    let args = Args::parse();
    if args.open {
        return match clear::open() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => fail(
                "no permission to change nf_tables: CAP_NET_ADMIN in this network namespace is needed",
            ),
            Err(error) => fail(&format!("nf_tables: {error}")),
        };
    }
    if args.nofork {
        return serve(&args, None);
    }
    match daemonise() {
        Ok(Side::Daemon(readiness)) => serve(&args, Some(readiness)),
        Ok(Side::Parent(Ok(()))) => ExitCode::SUCCESS,
        Ok(Side::Parent(Err(why))) => fail(&why),
        Err(error) => fail(&format!("cannot go to the background: {error}")),
    }
}

fn serve(args: &Args, readiness: Option<Readiness>) -> ExitCode {
    let logged = log::start(args.loglevel, args.nofork, args.logfile.as_deref());
    let started = logged
        .map_err(|error| format!("cannot open the log: {error}"))
        .and_then(|()| run::start(&args.rundir, args.worker_count()).map_err(|e| e.to_string()));
    match (started, readiness) {
        (Ok(started), readiness) => {
            tracing::info!(
                "klipsd {} in {}",
                env!("CARGO_PKG_VERSION"),
                args.rundir.display()
            );
            if let Some(readiness) = readiness {
                let _ = detach_stdio();
                readiness.ready();
            }
            started.wait();
            ExitCode::SUCCESS
        }
        (Err(why), Some(readiness)) => {
            readiness.failed(&why);
            ExitCode::FAILURE
        }
        (Err(why), None) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("klipsd: {why}");
    ExitCode::FAILURE
}
