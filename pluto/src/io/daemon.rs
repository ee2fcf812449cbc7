//! Going into the background. It happens before any thread is started; the process that was called
//! returns when the daemon is ready, or with its words on why it is not.

use std::{
    fmt,
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::ExitCode,
};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, ForkResult};

/// Why the daemon did not start.
#[derive(Debug)]
pub struct StartError {
    /// Exit status: 10 if another pluto runs, else 1.
    pub status: u8,
    /// What is wrong and what helps.
    pub text: String,
}

impl StartError {
    /// A failure of the common kind.
    pub fn new(text: impl fmt::Display) -> StartError {
        StartError {
            status: 1,
            text: text.to_string(),
        }
    }
}

/// Signals that end the daemon or have it read again.
fn heeded() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
}

/// Signals that came since the daemon began to start are heeded from here on; to be called when somebody waits for them.
///
/// # Errors
/// The system's.
pub fn heed_signals() -> nix::Result<()> {
    heeded().thread_unblock()
}

/// Starts with signals held: one that came between being ready and waiting for signals would leave files behind.
fn guarded<T>(start: impl FnOnce() -> Result<T, StartError>) -> Result<T, StartError> {
    heeded()
        .thread_block()
        .map_err(|error| StartError::new(format_args!("signals: {error}")))?;
    start()
}

/// Starts and runs in this process.
pub fn in_foreground<T>(
    start: impl FnOnce() -> Result<T, StartError>,
    run: impl FnOnce(T) -> u8,
) -> ExitCode {
    match guarded(start) {
        Ok(ready) => {
            println!("Pluto initialized");
            run(ready).into()
        }
        Err(e) => {
            eprintln!("pluto: {}", e.text);
            e.status.into()
        }
    }
}

/// Starts and runs in a process of its own session; this one returns when that one is ready.
pub fn detached<T>(
    keep_stderr: bool,
    start: impl FnOnce() -> Result<T, StartError>,
    run: impl FnOnce(T) -> u8,
) -> ExitCode {
    close_inherited();
    match fork_twice() {
        Ok(Side::Caller(from_daemon)) => wait_until_ready(from_daemon),
        Ok(Side::Daemon(to_caller)) => daemon(to_caller, keep_stderr, start, run),
        Err(e) => {
            eprintln!("pluto: fork failed ({e})");
            ExitCode::from(1)
        }
    }
}

enum Side {
    Caller(File),
    Daemon(File),
}

fn fork_twice() -> nix::Result<Side> {
    let (from_daemon, to_caller): (OwnedFd, OwnedFd) = unistd::pipe()?;
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { unistd::fork() }? {
        ForkResult::Parent { .. } => {
            drop(to_caller);
            return Ok(Side::Caller(from_daemon.into()));
        }
        ForkResult::Child => drop(from_daemon),
    }
    unistd::setsid()?;
    // The second fork gives up leadership of the session, and with it any way to get a terminal.
    // SAFETY: as above.
    match unsafe { unistd::fork() }? {
        ForkResult::Parent { .. } => std::process::exit(0),
        ForkResult::Child => Ok(Side::Daemon(to_caller.into())),
    }
}

fn wait_until_ready(mut from_daemon: File) -> ExitCode {
    let mut said = Vec::new();
    let read = from_daemon.read_to_end(&mut said);
    match (read, said.split_first()) {
        (Ok(_), Some((0, _))) => ExitCode::SUCCESS,
        (Ok(_), Some((&status, text))) => {
            eprintln!("pluto: {}", String::from_utf8_lossy(text));
            status.into()
        }
        _ => {
            eprintln!("pluto: died while starting; try: pluto --nofork --stderrlog");
            ExitCode::from(1)
        }
    }
}

fn daemon<T>(
    mut to_caller: File,
    keep_stderr: bool,
    start: impl FnOnce() -> Result<T, StartError>,
    run: impl FnOnce(T) -> u8,
) -> ExitCode {
    let ready = guarded(start).and_then(|ready| {
        leave_terminal(keep_stderr).map_err(|e| StartError::new(format_args!("/dev/null: {e}")))?;
        Ok(ready)
    });
    match ready {
        Ok(ready) => {
            // If the caller has gone meanwhile, nobody needs to know.
            let _ = to_caller.write_all(&[0]);
            drop(to_caller);
            run(ready).into()
        }
        Err(e) => {
            let mut said = vec![e.status];
            said.extend(e.text.as_bytes());
            let _ = to_caller.write_all(&said);
            e.status.into()
        }
    }
}

/// Standard input and output become /dev/null, and standard error unless the log goes there: a caller
/// that reads it to the end must not wait for the daemon's.
fn leave_terminal(keep_stderr: bool) -> std::io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    unistd::dup2_stdin(&null)?;
    unistd::dup2_stdout(&null)?;
    if !keep_stderr {
        unistd::dup2_stderr(&null)?;
    }
    std::env::set_current_dir("/")
}

/// A caller's pipes and locks must not live as long as the daemon.
fn close_inherited() {
    // SAFETY: nothing was opened by this process yet, so nothing owns a descriptor above 2.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}
