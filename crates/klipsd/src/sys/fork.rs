//! Going to the background: the parent waits until the daemon says that it is ready, or why not.

use std::fs::File;
use std::io::{self, Read, Write};

use nix::unistd::{ForkResult, fork, pipe, setsid};

/// The daemon's end of the pipe to the waiting parent.
pub struct Readiness(File);

impl Readiness {
    /// Lets the parent exit 0.
    pub fn ready(mut self) {
        let _ = self.0.write_all(b"\0");
    }

    /// Lets the parent print `why` and exit 1.
    pub fn failed(mut self, why: &str) {
        let _ = self.0.write_all(why.as_bytes());
    }
}

/// What this process is after [`daemonise`].
pub enum Side {
    /// The command that was typed; the string is what went wrong in the daemon, if anything.
    Parent(Result<(), String>),
    /// The daemon, in a session of its own.
    Daemon(Readiness),
}

/// Forks. In the parent, returns once the daemon has answered.
///
/// # Errors
/// Those of pipe, fork and setsid.
///
/// # Panics
/// When the process already has several threads: they'd be lost in the child.
pub fn daemonise() -> io::Result<Side> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert!(threads <= 1, "daemonise comes before the first thread");
    let (read, write) = pipe()?;
    // SAFETY: the process has one thread (asserted), so the child may go on as an ordinary process.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => {
            drop(write);
            let mut answer = Vec::new();
            File::from(read).take(4096).read_to_end(&mut answer)?;
            Ok(Side::Parent(match answer.as_slice() {
                [0] => Ok(()),
                [] => Err("klipsd ended before it was ready".into()),
                why => Err(String::from_utf8_lossy(why).into_owned()),
            }))
        }
        ForkResult::Child => {
            drop(read);
            setsid()?;
            Ok(Side::Daemon(Readiness(File::from(write))))
        }
    }
}

/// Gives up the terminal: standard input, output and error become `/dev/null`, and the working directory `/`.
///
/// # Errors
/// The system's.
pub fn detach_stdio() -> io::Result<()> {
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    std::env::set_current_dir("/")
}
