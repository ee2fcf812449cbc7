//! The service manager: told when IPsec is up, who stands for it, and that it still works (sd_notify(3)). Without one, as when
//! a person or an init script calls, nothing here does anything.
//!
//! `ipsec setup start` ends when all runs; what stays and is the unit's main process is the one that watches the daemons.

use super::daemon::Daemon;
use crate::paths::Paths;
use nix::fcntl::{Flock, FlockArg};
use sd_notify::NotifyState;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;
use whack::{ListClass, Request};

const SOCKET: &str = "NOTIFY_SOCKET";
const PERIOD: &str = "WATCHDOG_USEC";
/// Whose the period is; but we hand it on.
const OWNER: &str = "WATCHDOG_PID";

/// Whether a service manager listens.
pub fn wanted() -> bool {
    std::env::var_os(SOCKET).is_some_and(|name| !name.is_empty())
}

/// Makes `command`, which is not the unit's main process, leave the service manager alone.
pub fn not_for(command: &mut Command) {
    for name in [SOCKET, PERIOD, OWNER] {
        command.env_remove(name);
    }
}

/// All runs, and process `main` stands for it from now on.
pub fn ready(main: u32) {
    tell(&[NotifyState::MainPid(main), NotifyState::Ready]);
}

/// A line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

fn tell(state: &[NotifyState<'_>]) {
    // Who listens may have gone; that is not ours to mend.
    let _ = sd_notify::notify(false, state);
}

/// Starts telling that all works for as long as it does, three times in the period that the unit has (`WatchdogSec=`), if it has one.
pub fn start_heartbeat(paths: &'static Paths) {
    let period = std::env::var(PERIOD)
        .ok()
        .and_then(|text| text.parse().ok());
    let Some(period) = period.filter(|_| wanted()).map(Duration::from_micros) else {
        return;
    };
    let beat = period / 3;
    std::thread::spawn(move || {
        loop {
            if works(paths, beat) {
                tell(&[NotifyState::Watchdog]);
            }
            std::thread::sleep(beat);
        }
    });
}

/// Whether each daemon that lives answers within `time`. While setup is at work they may be anything.
fn works(paths: &Paths, time: Duration) -> bool {
    if is_locked(paths) {
        return true;
    }
    let klipsd = Daemon::Klipsd.alive(paths).is_none() || klipsd_answers(paths, time).is_ok();
    klipsd && (Daemon::Pluto.alive(paths).is_none() || pluto_answers(paths, time).is_ok())
}

fn is_locked(paths: &Paths) -> bool {
    File::open(paths.run("setup.lock"))
        .is_ok_and(|file| Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
}

fn connect(paths: &Paths, name: &str, time: Duration) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(paths.run(name))?;
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    Ok(stream)
}

fn klipsd_answers(paths: &Paths, time: Duration) -> io::Result<()> {
    let mut stream = connect(paths, "klips.ctl", time)?;
    stream.write_all(b"get ipsec_version\n")?;
    stream.read_exact(&mut [0])
}

fn pluto_answers(paths: &Paths, time: Duration) -> io::Result<()> {
    let mut stream = connect(paths, "pluto.ctl", time)?;
    let request = Request::List {
        class: ListClass::PublicKeys,
        utc: true,
    };
    whack::frame::write(&mut stream, &request).map_err(io::Error::other)?;
    stream.read_exact(&mut [0])
}
