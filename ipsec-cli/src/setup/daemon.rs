//! klipsd and pluto as processes: whether they live, starting them, ending them.

use crate::paths::Paths;
use ipsec_daemon::{LockError, PidFile};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to end by itself before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long pluto may take to take its connections down, after it has told all peers: each has a script, and there may be
/// thousands.
const TAKING_DOWN: Duration = Duration::from_secs(100);

/// One of the two daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// KLIPS in user space.
    Klipsd,
    /// IKE.
    Pluto,
}

impl Daemon {
    /// The program's name.
    pub const fn name(self) -> &'static str {
        match self {
            Daemon::Klipsd => "klipsd",
            Daemon::Pluto => "pluto",
        }
    }

    /// Where it writes its process id.
    pub fn pid_file(self, paths: &Paths) -> PathBuf {
        paths.run(match self {
            Daemon::Klipsd => "klipsd.pid",
            Daemon::Pluto => "pluto.pid",
        })
    }

    /// What it leaves behind when it is killed.
    fn leftovers(self) -> &'static [&'static str] {
        match self {
            Daemon::Klipsd => &["klips.ctl", "pfkey.sock", "klipsd.pid"],
            Daemon::Pluto => &["pluto.ctl", "pluto.updown", "pluto.pid"],
        }
    }

    /// Its process id, if it lives: it holds a lock on its pid file, so that a stale file counts for nothing.
    pub fn alive(self, paths: &Paths) -> Option<Pid> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.pid_file(paths))
            .ok()?;
        match Flock::lock(file.try_clone().ok()?, FlockArg::LockExclusiveNonblock) {
            Err((_, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                Read::by_ref(&mut file)
                    .take(32)
                    .read_to_string(&mut text)
                    .ok()?;
                text.trim()
                    .parse()
                    .ok()
                    .filter(|pid| *pid > 1)
                    .map(Pid::from_raw)
            }
            _ => None,
        }
    }

    /// Where it logs without a syslog daemon.
    fn default_log(self, paths: &Paths) -> Option<PathBuf> {
        (!Path::new("/dev/log").exists()).then(|| paths.run(&format!("{}.log", self.name())))
    }

    /// Starts it and waits until it is ready; the error is what it said.
    pub fn start(self, paths: &Paths, how: &Start<'_>) -> Result<(), String> {
        let program = paths.execdir.join(self.name());
        if !program.is_file() {
            return Err(format!(
                "{} is not installed: no {} (IPSEC_EXECDIR names the directory)",
                self.name(),
                program.display()
            ));
        }
        // The shell sets the limit on core dumps and the directory for them, then becomes the daemon.
        let script = match how.dumpdir {
            Some(_) => "cd \"$DUMPDIR\" && ulimit -c unlimited; exec \"$0\" \"$@\"",
            None => "ulimit -c 0; exec \"$0\" \"$@\"",
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(&program);
        if let Some(dir) = how.dumpdir {
            command.env("DUMPDIR", dir);
        }
        command.arg("--rundir").arg(&paths.rundir).args(how.args);
        if let Some(log) = how
            .log
            .map(PathBuf::from)
            .or_else(|| self.default_log(paths))
        {
            command.arg("--logfile").arg(log);
        }
        command.envs(how.env.iter().map(|(k, v)| (k, v)));
        paths.environment(&mut command);
        super::notify::not_for(&mut command);
        run(command, paths, self)
    }

    /// Ends it, with force if need be, and removes what it leaves behind. `ask` tells it politely first, and
    /// gives whether it was heard; `say` is told of what takes long.
    pub fn stop(
        self,
        paths: &Paths,
        ask: impl FnOnce() -> bool,
        say: impl Fn(&str),
    ) -> Result<(), String> {
        if let Some(pid) = self.alive(paths) {
            let name = self.name();
            let mut ends = ask() && {
                self.ends_within(paths, PATIENCE) || {
                    say(&format!("{name} is still taking its connections down..."));
                    self.ends_within(paths, TAKING_DOWN)
                }
            };
            for signal in [Signal::SIGTERM, Signal::SIGKILL] {
                if ends {
                    break;
                }
                say(&format!(
                    "{name} (pid {pid}) has not ended by itself: sending {signal}; connections may be left as they are"
                ));
                let _ = kill(pid, signal);
                ends = self.ends_within(paths, PATIENCE);
            }
            if self.alive(paths).is_some() {
                return Err(format!("{} (pid {pid}) does not end", self.name()));
            }
        }
        // With the lock in hand: one that somebody has started meanwhile has files of the same names.
        let held = PidFile::take(&self.pid_file(paths));
        if let Err(LockError::Running { .. }) = held {
            return Err(format!("another {} was started meanwhile", self.name()));
        }
        for name in self.leftovers() {
            let _ = std::fs::remove_file(paths.run(name));
        }
        match self {
            Daemon::Klipsd => open(paths),
            Daemon::Pluto => Ok(()),
        }
    }

    fn ends_within(self, paths: &Paths, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if self.alive(paths).is_none() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Lets in again what a klipsd that was killed has left closed.
fn open(paths: &Paths) -> Result<(), String> {
    let program = paths.execdir.join(Daemon::Klipsd.name());
    if !program.is_file() {
        return Ok(());
    }
    let done = Command::new(&program).arg("--open").output();
    let done = done.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    if done.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
}

/// How to start a daemon.
#[derive(Default)]
pub struct Start<'a> {
    /// Options beside directory and log.
    pub args: &'a [String],
    /// Log file; none for syslog, or a file in the run directory where there is none.
    pub log: Option<&'a str>,
    /// Where it may dump core.
    pub dumpdir: Option<&'a str>,
    /// More environment.
    pub env: &'a [(String, String)],
}

/// Runs a daemon's first process to its end. What it says goes through a file, since the daemon may keep the other end
/// of a pipe open for ever.
fn run(mut command: Command, paths: &Paths, daemon: Daemon) -> Result<(), String> {
    let path = paths.run(&format!("{}.start", daemon.name()));
    let open = || File::create(&path).and_then(|out| Ok((out.try_clone()?, out)));
    let (out, err) = open().map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .status();
    let said = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if said.trim().is_empty() => Err(format!("{} failed: {status}", daemon.name())),
        Ok(_) => Err(said.trim().to_string()),
        Err(error) => Err(format!("cannot run {}: {error}", daemon.name())),
    }
}
