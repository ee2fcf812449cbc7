//! The process that lives as long as pluto and watches: ipsecN follow their physical devices and the default route
//! (`start::follow`), and with `plutorestartoncrash=yes` IPsec is started again when pluto or klipsd has ended without having been told to.
//!
//! There is one at a time. It acts under the lock of `ipsec setup` only, and ends when pluto ends in an orderly way,
//! which takes the pid file along.

use super::daemon::Daemon;
use super::{Context, notify, start};
use ipsec_daemon::Changes;
use nix::fcntl::{Flock, FlockArg};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How often it is looked whether IPsec has been stopped where no daemon tells by its end.
const LOOK: Duration = Duration::from_secs(2);

/// What `ipsec setup` calls itself with.
pub const COMMAND: &str = "_watch";

/// Between a crash and the start, so that a pluto that crashes at once does not keep the machine busy.
const PAUSE: Duration = Duration::from_secs(10);
/// Changes of the network come in bursts.
const BURST: Duration = Duration::from_millis(200);

/// Starts the watcher, which lives on; one that is there already makes it end at once.
pub fn spawn(context: &Context, config: Option<&Path>) {
    let started = std::env::current_exe().and_then(|me| {
        let mut command = Command::new(me);
        command.args(["setup", COMMAND]);
        command.args(config.map(std::path::absolute).transpose()?);
        // It must not keep a directory busy.
        command.current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        context.paths.environment(&mut command);
        // Not in the terminal's process group: what interrupts setup is not meant for it.
        command.process_group(0).spawn()
    });
    match started {
        Ok(watcher) => notify::ready(watcher.id()),
        Err(error) => context
            .messages
            .say(&format!("cannot watch pluto: {error}")),
    }
}

/// The watcher itself.
pub fn run(config: Option<PathBuf>) -> u8 {
    let context = Context::new(config.as_deref());
    match watch(&context, config.as_deref()) {
        Ok(()) => 0,
        Err(message) => {
            context
                .messages
                .say(&format!("pluto is not watched: {message}"));
            1
        }
    }
}

/// Whether a crash is mended here. If not, it is the service manager's.
fn restarts(context: &Context) -> bool {
    context
        .config
        .setup()
        .value
        .is_none_or(|setup| setup.plutorestartoncrash)
}

fn watch(context: &Context, config: Option<&Path>) -> Result<(), String> {
    let path = context.paths.run("watch.lock");
    let file = File::create(&path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    notify::start_heartbeat(context.paths);
    // The service manager's own is there for as long as IPsec is, whoever else watches.
    let how = match notify::wanted() {
        true => FlockArg::LockExclusive,
        false => FlockArg::LockExclusiveNonblock,
    };
    let Ok(only_one) = Flock::lock(file, how) else {
        return Ok(());
    };
    let changes = Changes::of_devices_and_default_routes()
        .map_err(|e| format!("cannot hear of changes of the network: {e}"))?;
    let mut paused = false;
    // Whatever has changed since ipsecN were attached has to be looked at.
    let mut changed = true;
    loop {
        let lock = context.lock()?;
        let daemons = [Daemon::Klipsd, Daemon::Pluto].map(|d| (d, d.alive(context.paths)));
        let crashed = daemons
            .iter()
            .find(|(d, alive)| alive.is_none() && d.pid_file(context.paths).exists());
        match crashed {
            Some((daemon, _)) if !restarts(context) => {
                return Err(format!("{} has died", daemon.name()));
            }
            Some((daemon, _)) if !paused => {
                drop(lock);
                let name = daemon.name();
                notify::status(&format!("{name} has died, IPsec restarts after a pause"));
                context.messages.log(&format!(
                    "{name} has died; restarting IPsec after a pause..."
                ));
                std::thread::sleep(PAUSE);
                paused = true;
            }
            Some(_) => {
                Context::new(config).with_setup("restart", |context, setup| {
                    start::run(context, setup, "Restarting")
                });
                notify::status("restarted after a crash");
                paused = false;
            }
            None if daemons[1].1.is_some() => {
                paused = false;
                if changed {
                    follow(context, config);
                }
                let processes: Vec<OwnedFd> = daemons
                    .iter()
                    .filter_map(|(_, pid)| Pid::from_raw((*pid)?.as_raw()))
                    .filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
                    .collect();
                drop(lock);
                changed = wait(&changes, &processes);
            }
            // Manual keying alone, under a service manager: there until it is stopped.
            None if notify::wanted() && context.paths.info().exists() => {
                drop(lock);
                std::thread::sleep(LOOK);
            }
            None => {
                drop(only_one);
                return Ok(());
            }
        }
    }
}

/// Waits until a daemon has ended or the network has changed; answers whether the latter.
fn wait(changes: &Changes, processes: &[OwnedFd]) -> bool {
    let mut events: Vec<PollFd<'_>> = processes
        .iter()
        .map(|process| PollFd::new(process, PollFlags::IN))
        .collect();
    events.push(PollFd::new(changes, PollFlags::IN));
    let _ = poll(&mut events, None);
    let changed = events
        .last()
        .is_some_and(|event| !event.revents().is_empty());
    if changed {
        std::thread::sleep(BURST);
    }
    changed && changes.drain()
}

/// ipsecN follow the network. A file that is being changed and does not make sense now does at the next change, or at the next start.
fn follow(context: &Context, config: Option<&Path>) {
    let fresh = Context::new(config);
    let Some(setup) = fresh.config.setup().value else {
        return;
    };
    if let Err(message) = start::follow(&fresh, &setup) {
        context.messages.say(&message);
    }
}
