//! From options to everything that must be there before the daemon counts as started: run
//! directory, lock, log, control socket, KLIPS.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::{fs::DirBuilderExt, net::UnixListener},
    path::Path,
};

use ipsec_daemon::{LockError, PidFile};
use nix::sys::stat::{Mode, umask};
use pfkey::client::{Client, Home};

use crate::engine::LogLevel;

use super::{
    confine,
    daemon::StartError,
    kernel,
    keylog::KeyLog,
    log,
    options::{LogTo, Options},
    updown::Helper,
};

/// A daemon ready to run.
#[derive(Debug)]
pub struct Ready {
    /// The options.
    pub options: Options,
    /// The process that runs updown commands.
    pub updown: Helper,
    /// The control socket, listening.
    pub control: UnixListener,
    /// PF_KEY; None with `--noklips`.
    pub kernel: Option<Client>,
    /// Where keys are written to, if they are.
    pub key_log: Option<KeyLog>,
    /// Removes the control socket. Declared before the lock, hence dropped before it.
    pub socket_file: SocketFile,
    /// Removes the socket that updown commands are given over.
    pub updown_file: SocketFile,
    /// The lock.
    pub pid_file: PidFile,
}

/// The name of the control socket, removed when dropped.
#[derive(Debug)]
pub struct SocketFile(std::path::PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Gets everything ready, or says what is missing and how to get it.
pub fn start(options: Options) -> Result<Ready, StartError> {
    Home::chosen().map_err(StartError::new)?;
    make_directory(options.control_socket.parent().unwrap_or(&options.rundir))?;
    let pid_file = PidFile::take(&options.pid_file).map_err(not_alone)?;
    log::init(&options.log_to).map_err(|e| {
        let to = match &options.log_to {
            LogTo::File(path) => path.display().to_string(),
            other => format!("{other:?}"),
        };
        StartError::new(format_args!("cannot log to {to}: {e}"))
    })?;
    let key_log = options.key_log.as_deref().map(KeyLog::open).transpose();
    let key_log = key_log.map_err(StartError::new)?;
    let kernel = match options.engine.no_klips {
        true => None,
        false => Some(kernel::open(&options.rundir).map_err(StartError::new)?),
    };
    let control = listen(&options.control_socket).map_err(|e| {
        let path = options.control_socket.display();
        StartError::new(format_args!(
            "could not create control socket \"{path}\": {e}"
        ))
    })?;
    let socket_file = SocketFile(options.control_socket.clone());
    let (updown, updown_file) = start_updown(&options)?;
    give_up_privileges(&options)?;
    Ok(Ready {
        options,
        updown,
        control,
        kernel,
        key_log,
        socket_file,
        updown_file,
        pid_file,
    })
}

/// The process that runs updown commands, and the socket that they are given over.
fn start_updown(options: &Options) -> Result<(Helper, SocketFile), StartError> {
    let path = whack::updown::socket_beside(&options.control_socket);
    let failed = |e: io::Error| {
        StartError::new(format_args!(
            "cannot start the process that runs updown commands, with socket \"{}\": {e}; is /proc mounted?",
            path.display()
        ))
    };
    let helper = listen(&path).and_then(Helper::start).map_err(failed)?;
    Ok((helper, SocketFile(path)))
}

/// The last step, before anything is read from the network.
fn give_up_privileges(options: &Options) -> Result<(), StartError> {
    let lacking = ipsec_daemon::confine(&confine::needs(options)).map_err(StartError::new)?;
    if !lacking.is_empty() {
        let text = format!("this kernel has no {}: done without", lacking.join(", no "));
        log::line(LogLevel::Info, &text);
    }
    Ok(())
}

fn not_alone(error: LockError) -> StartError {
    match error {
        LockError::Running { path, pid } => StartError {
            status: 10,
            text: format!(
                "lock file \"{}\" already exists: pluto is running{}; stop it with: ipsec setup stop",
                path.display(),
                pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
            ),
        },
        LockError::Io { path, error } => StartError::new(format_args!(
            "unable to create lock file \"{}\" ({error})",
            path.display()
        )),
    }
}

fn make_directory(dir: &Path) -> Result<(), StartError> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| {
            let remedy = match e.kind() {
                io::ErrorKind::PermissionDenied => "run pluto as root, or set IPSEC_RUNDIR",
                _ => "set IPSEC_RUNDIR to a directory that can be made",
            };
            StartError::new(format_args!(
                "cannot make directory \"{}\": {e}; {remedy}",
                dir.display()
            ))
        })
}

/// The lock is ours, so a socket that is there already is a dead pluto's.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
