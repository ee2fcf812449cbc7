//! The loop around the engine: takes what the tasks of the other files deliver, gives it to the
//! engine as events, and carries out its actions in their order. It decides nothing.

mod actions;

use std::{
    future::pending,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipsec_dns::{Answer, LookupError};
use ipsec_keys::Secrets;
use pfkey::client::Client;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use whack::Request;

use super::{
    client::Outbox,
    control::Control,
    daemon, log,
    net::{
        interfaces,
        sockets::{Ports, Received, Sockets},
    },
    start::Ready,
    updown::{self, Updown},
};
use crate::engine::{
    ClientId, HostLookupId, JobId, JobResult, LogLevel, LookupId, UpdownId, keylog,
};
use actions::Driver;

/// Inputs and datagrams that may wait; beyond it the sockets hold them, or drop them.
const MAX_INPUTS: usize = 1024;
const MAX_DATAGRAMS: usize = 256;
/// First messages and reports of errors that may wait.
const MAX_OTHERS: usize = 64;
/// Of so many turns one is theirs even while messages of exchanges wait.
const TURNS_OF_OTHERS: u64 = 16;
/// Threads that read files and ask klipsd.
const MAX_WORKERS: usize = 4;
const LAST_LINES_PATIENCE: Duration = Duration::from_secs(2);

/// What the tasks deliver, except datagrams.
#[derive(Debug)]
pub enum Input {
    /// A whack client's request.
    Whack {
        /// Who.
        client: ClientId,
        /// What.
        request: Box<Request>,
        /// Where lines for it go.
        outbox: Outbox,
        /// The task that writes them.
        conversation: AbortHandle,
    },
    /// A whack client's conversation is over.
    WhackGone(ClientId),
    /// A PF_KEY message.
    PfKey(Vec<u8>),
    /// A PF_KEY socket has ended.
    KernelLost {
        /// Which.
        generation: u64,
        /// The reason.
        why: String,
    },
    /// KLIPS is back.
    KernelFound(Client),
    /// A job has ended; None if it panicked.
    JobDone(JobId, Option<JobResult>),
    /// An updown command has ended.
    UpdownDone(UpdownId, updown::Outcome),
    /// Secrets that took their time.
    Secrets(Box<Loaded>),
    /// Secrets that were read again by themselves; none if that failed inside.
    SecretsRefreshed(Option<Box<Loaded>>),
    /// DNS has answered, or will not.
    LookupDone(LookupId, Result<Answer, LookupError>, bool),
    /// The name servers of resolv.conf.
    NameServers(Vec<IpAddr>),
    /// The system's resolver has answered.
    HostFound(HostLookupId, Result<Vec<IpAddr>, String>),
    /// Links, addresses or default routes have changed.
    InterfacesChanged,
    /// An ipsecN device has come up.
    DeviceUp(String),
    /// Routes that may lead to peers have appeared.
    RoutesAppeared,
    /// It is time to try again to open sockets that could not be opened.
    TryAgain,
    /// A signal.
    Signal(SignalKind),
    /// A shutdown was asked for by a signal, and has taken long enough.
    GiveUp,
    /// Something for the log.
    Complaint(String),
}

/// What the IKE sockets deliver.
#[derive(Debug)]
pub enum Datagram {
    /// A datagram.
    Received {
        /// Our address and port.
        local: SocketAddr,
        /// The sender's.
        remote: SocketAddr,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// An error report, for the log.
    Report(String),
}

/// A secrets file as read, and what is wrong in it.
#[derive(Debug)]
pub struct Loaded {
    secrets: Box<Secrets>,
    problems: Vec<String>,
}

/// Runs the daemon to its end and gives its exit status.
pub fn run(ready: Ready) -> u8 {
    let built = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_WORKERS)
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(e) => {
            log::line(
                LogLevel::Warning,
                &format!("FATAL ERROR: cannot start the event loop: {e}"),
            );
            return 1;
        }
    };
    let status = runtime.block_on(serve(ready)).unwrap_or_else(|e| {
        log::line(LogLevel::Warning, &format!("FATAL ERROR: {e}"));
        1
    });
    // A computation that is still running is of no use to anyone.
    runtime.shutdown_background();
    status
}

async fn serve(ready: Ready) -> io::Result<u8> {
    let Ready {
        options,
        updown: helper,
        control,
        kernel,
        key_log,
        socket_file,
        updown_file,
        pid_file,
    } = ready;
    log::line(
        LogLevel::Info,
        &format!(
            "Starting Pluto (FreeS/WAN Version {})",
            env!("CARGO_PKG_VERSION")
        ),
    );
    if let Some(warning) = keylog::warning(&options.engine) {
        log::line(LogLevel::Warning, &warning);
    }
    let (inputs, mut arriving) = mpsc::channel(MAX_INPUTS);
    let (datagrams, mut received) = mpsc::channel(MAX_DATAGRAMS);
    watch_signals(&inputs)?;
    tokio::spawn(interfaces::watch(inputs.clone()));
    let control = Control::start(tokio::net::UnixListener::from_std(control)?, inputs.clone());
    let nat = &options.engine.nat;
    let ports = Ports {
        ike: options.ike_port,
        nat: nat.traversal.then_some(nat.port),
        klips_in_kernel: !options.engine.no_klips && pfkey::client::in_kernel(),
    };
    let (others, mut strange) = mpsc::channel(MAX_OTHERS);
    let sockets = Sockets::new(ports, Received { datagrams, others });
    let updown = Updown::start(helper.0)?;
    let mut driver = Driver::new(options, inputs, sockets, key_log, updown);
    driver.routes_changed().await;
    if let Some(socket) = kernel {
        driver.kernel_found(socket).await;
    }
    let mut turns = 0u64;
    let status = loop {
        if let Some(status) = driver.exit {
            break status;
        }
        turns += 1;
        if turns.is_multiple_of(TURNS_OF_OTHERS)
            && let Ok(datagram) = strange.try_recv()
        {
            driver.datagram(datagram).await;
        }
        let wake = driver.wake();
        tokio::select! {
            biased;
            Some(input) = arriving.recv() => driver.input(input).await,
            Some(datagram) = received.recv() => driver.datagram(datagram).await,
            () = until(wake) => driver.tick().await,
            Some(datagram) = strange.recv() => driver.datagram(datagram).await,
        }
    };
    driver.clients.close();
    control.drained(LAST_LINES_PATIENCE).await;
    drop((socket_file, updown_file, pid_file));
    Ok(status)
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => pending().await,
    }
}

fn watch_signals(inputs: &mpsc::Sender<Input>) -> io::Result<()> {
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        let mut signals = signal(kind)?;
        let inputs = inputs.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if inputs.send(Input::Signal(kind)).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(daemon::heed_signals()?)
}
