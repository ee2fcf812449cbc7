//! Starting and ending: what is opened in which order, and the threads that serve.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipsec_daemon::confine::Capabilities;
use ipsec_daemon::{Changes, ConfineError, LockError, Needs, PidFile};
use nix::sys::signal::{SigSet, Signal};
use socket2::Type;

use crate::clear::{Clear, Nets};
use crate::control::listeners::Listeners;
use crate::control::{ctl, peer, pfkey};
use crate::host::Host;
use crate::sys::stop::Stop;

/// Why klipsd does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The run directory can't be made.
    #[error(
        "cannot make the run directory {path}: {error}; set IPSEC_RUNDIR or --rundir to a place this user can write to"
    )]
    RunDir {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// Another klipsd is there.
    #[error(
        "another klipsd (pid {pid}) is running with {path}: stop it first (ipsec setup stop, or kill {pid}), or use another --rundir"
    )]
    Running {
        /// Its process id, or `unknown`.
        pid: String,
        /// The pid file.
        path: PathBuf,
    },
    /// The pid file can't be written.
    #[error(transparent)]
    PidFile(LockError),
    /// See [`ConfineError`].
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// A socket in the run directory.
    #[error("cannot listen: {0}")]
    Socket(io::Error),
    /// Anything else.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}

/// A running klipsd.
pub struct Started {
    host: Arc<Host>,
    stop: Arc<Stop>,
    signals: SigSet,
    sockets: [PathBuf; 2],
    nets: Option<Nets>,
    _pid: PidFile,
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

/// Opens everything in `rundir` and starts the serving threads.
///
/// # Errors
/// See [`StartError`].
pub fn start(rundir: &Path, workers: usize) -> Result<Started, StartError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(rundir)
        .map_err(|error| StartError::RunDir {
            path: rundir.to_owned(),
            error,
        })?;
    let pid = PidFile::take(&rundir.join("klipsd.pid")).map_err(not_alone)?;
    let signals = block_signals().map_err(system("signals"))?;
    let sockets = [rundir.join("pfkey.sock"), rundir.join("klips.ctl")];
    let pfkey = peer::listen(&sockets[0], Type::SEQPACKET).map_err(StartError::Socket)?;
    let ctl = peer::listen(&sockets[1], Type::STREAM).map_err(StartError::Socket)?;
    let ctl = UnixListener::from(ctl);
    ctl.set_nonblocking(false).map_err(StartError::Socket)?;

    let listeners = Listeners::new().map_err(system("eventfd"))?;
    let host = Host::new(listeners, workers).map_err(|_| StartError::System {
        what: "tables",
        error: io::ErrorKind::OutOfMemory.into(),
    })?;
    let stop = Arc::new(Stop::new().map_err(system("eventfd"))?);
    let watch = Changes::of_devices().map_err(system("netlink socket"))?;
    let clear = Clear::open()
        .inspect_err(|error| {
            tracing::warn!(
                "packets that come in the clear are not checked: nf_tables with queues (nft_queue or xt_NFQUEUE, and nfnetlink_queue) are not to be had: {error}"
            );
        })
        .ok();
    // Before the first thread, and before anything is read from the network.
    let lacking = ipsec_daemon::confine(&needs(rundir))?;
    if !lacking.is_empty() {
        tracing::info!("this kernel has no {}: done without", lacking.join(", no "));
    }

    let served = host.clone();
    spawn("pfkey", move || pfkey::serve(&served, &pfkey))?;
    let served = host.clone();
    spawn("klips.ctl", move || ctl::serve(&served, &ctl))?;
    let (followed, stopped) = (host.clone(), stop.clone());
    spawn("link", move || followed.follow(&watch, &stopped))?;
    let nets = clear.as_ref().map(Clear::table);
    if let (Some(clear), Some(nets)) = (clear, nets.clone()) {
        let (changes, changed) = std::sync::mpsc::channel();
        let _ = host.eroutes.set(changes);
        spawn("clear-nets", move || nets.follow(&changed))?;
        let (asked, stopped) = (host.clone(), stop.clone());
        spawn("clear", move || clear.run(&asked, &stopped))?;
    }
    let ticked = host.clone();
    spawn("tick", move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            ticked.tick();
        }
    })?;
    Ok(Started {
        host,
        stop,
        signals,
        sockets,
        nets,
        _pid: pid,
    })
}

/// What klipsd goes on needing: devices come and go for as long as it lives.
fn needs(rundir: &Path) -> Needs {
    let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut writes = paths(&["/dev/net/tun", "/dev/null", "/proc/sys/net"]);
    writes.push(rundir.to_owned());
    Needs {
        capabilities: Capabilities::NET_ADMIN | Capabilities::NET_RAW,
        reads: paths(&["/proc", "/sys", "/dev/urandom"]),
        writes,
        families: vec![libc::AF_INET, libc::AF_INET6, libc::AF_PACKET],
        core_files: std::env::var_os("DUMPDIR").is_some_and(|dir| !dir.is_empty()),
    }
}

fn not_alone(error: LockError) -> StartError {
    match error {
        LockError::Running { path, pid } => StartError::Running {
            pid: pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()),
            path,
        },
        error => StartError::PidFile(error),
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(system("thread"))
}

/// The signals that end klipsd are taken by the main thread only.
fn block_signals() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

impl Started {
    /// Waits for SIGTERM or SIGINT, and takes everything down. SIGHUP has nothing to reread and is ignored.
    pub fn wait(self) {
        loop {
            match self.signals.wait() {
                Ok(Signal::SIGHUP) => {}
                Ok(signal) => {
                    tracing::info!("{signal}: ending");
                    break;
                }
                Err(error) => tracing::debug!("sigwait: {error}"),
            }
        }
        self.stop.stop();
        self.host.clear();
        if let Some(nets) = &self.nets {
            nets.close();
        }
        for path in &self.sockets {
            let _ = std::fs::remove_file(path);
        }
    }
}
