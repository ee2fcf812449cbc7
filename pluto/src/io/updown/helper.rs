//! The process that runs updown commands.

use std::{
    io,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};

use tokio::{io::AsyncWriteExt, runtime, sync::Mutex};

use super::{command, wire};

/// What pluto calls itself with; not for people.
pub const COMMAND: &str = "_updown";

/// The running process, which ends by itself when this socket to it does.
#[derive(Debug)]
pub struct Helper(pub UnixStream);

impl Helper {
    /// Starts it, with the environment that commands get.
    ///
    /// # Errors
    /// The system's.
    pub fn start() -> io::Result<Self> {
        let (ours, its) = UnixStream::pair()?;
        Command::new("/proc/self/exe")
            .arg0("pluto-updown")
            .arg(COMMAND)
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What interrupts a pluto in the foreground is not meant for it: it ends when pluto has.
            .process_group(0)
            .spawn()?;
        Ok(Self(ours))
    }
}

/// The process itself: standard input is the socket.
pub fn run() -> ExitCode {
    // SAFETY: nothing was opened by this process yet, so nothing owns a descriptor above 2.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    // SAFETY: the descriptor was given to this process as its standard input, which nothing here reads otherwise.
    let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    // Held by pluto while it started.
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    let _ = nix::sys::prctl::set_name(c"pluto-updown");
    let served = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve(socket)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Serves until pluto has ended. Commands that still run then are killed, as they have nobody to tell.
async fn serve(socket: UnixStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let (mut read, write) = tokio::net::UnixStream::from_std(socket)?.into_split();
    let write = Arc::new(Mutex::new(write));
    while let Some(texts) = wire::read(&mut read).await {
        let Some(wire::Request { id, command, env }) = wire::Request::decode(&texts) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let write = write.clone();
        tokio::spawn(async move {
            let outcome = command::run(&command, env).await;
            let answer = wire::Answer { id, outcome };
            let _ = write.lock().await.write_all(&answer.encode()).await;
        });
    }
    Ok(())
}
