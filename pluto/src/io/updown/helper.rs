//! The process that runs updown commands: the usual one, and those that were given over its own socket by somebody else than
//! pluto. So whoever takes pluto over can have no others run, and pass them no variables but `PLUTO_*`.

use std::{
    collections::HashSet,
    io,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::{
            net::{UnixListener, UnixStream},
            process::CommandExt,
        },
    },
    process::{Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::unistd::{geteuid, getppid};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net, runtime, sync,
    time::timeout,
};

use super::{Outcome, command, wire};
use crate::engine::UpdownStatus;

/// Longest command, and how many are remembered.
const MAX_COMMAND: u64 = 8192;
const MAX_COMMANDS: usize = 4096;
/// Whoever gives one does so at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// What pluto calls itself with; not for people.
pub const COMMAND: &str = "_updown";

/// The running process, which ends by itself when this socket to it does.
#[derive(Debug)]
pub struct Helper(pub UnixStream);

impl Helper {
    /// Starts it, with the environment that commands get. It takes the commands that are given over `listener`.
    ///
    /// # Errors
    /// The system's.
    pub fn start(listener: UnixListener) -> io::Result<Self> {
        let (ours, its) = UnixStream::pair()?;
        Command::new("/proc/self/exe")
            .arg0("pluto-updown")
            .arg(COMMAND)
            .stdin(OwnedFd::from(its))
            .stdout(OwnedFd::from(listener))
            .stderr(Stdio::null())
            // What interrupts a pluto in the foreground is not meant for it: it ends when pluto has.
            .process_group(0)
            .spawn()?;
        Ok(Self(ours))
    }
}

/// The process itself: standard input is the socket to pluto, standard output the one that commands are given over.
pub fn run() -> ExitCode {
    // SAFETY: nothing was opened by this process yet, so nothing owns a descriptor above 2.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    // SAFETY: the descriptor was given to this process as its standard input, which nothing here reads otherwise.
    let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    // SAFETY: as above.
    let listener = UnixListener::from(unsafe { OwnedFd::from_raw_fd(1) });
    // Held by pluto while it started.
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    let _ = nix::sys::prctl::set_name(c"pluto-updown");
    let served = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve(socket, listener)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

type Commands = Arc<Mutex<HashSet<String>>>;

/// Serves until pluto has ended. Commands that still run then are killed, as they have nobody to tell.
async fn serve(socket: UnixStream, listener: UnixListener) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    listener.set_nonblocking(true)?;
    let (mut read, write) = net::UnixStream::from_std(socket)?.into_split();
    let write = Arc::new(sync::Mutex::new(write));
    let given = Commands::default();
    tokio::spawn(learn(net::UnixListener::from_std(listener)?, given.clone()));
    while let Some(texts) = wire::read(&mut read).await {
        let Some(request) = wire::Request::decode(&texts) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let (write, given) = (write.clone(), given.clone());
        tokio::spawn(async move {
            let id = request.id;
            let outcome = obey(request, &given).await;
            let answer = wire::Answer { id, outcome };
            let _ = write.lock().await.write_all(&answer.encode()).await;
        });
    }
    Ok(())
}

/// Runs what may be run.
async fn obey(request: wire::Request, given: &Commands) -> Outcome {
    let wire::Request { command, env, .. } = request;
    let known = whack::updown::is_usual(&command)
        || given
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&command);
    if !known {
        let why = format!(
            "`{command}' was given neither by whack nor by `ipsec auto' since pluto started; add the connection again"
        );
        return Outcome {
            output: Vec::new(),
            status: UpdownStatus::NotStarted(why),
        };
    }
    let env = env
        .into_iter()
        .filter(|(name, _)| name.starts_with("PLUTO_"));
    command::run(&command, env.collect()).await
}

/// Takes commands from everybody who may, except pluto.
async fn learn(listener: net::UnixListener, given: Commands) {
    let pluto = getppid().as_raw();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let trusted = stream.peer_cred().is_ok_and(|who| {
            let owner = who.uid() == 0 || who.uid() == geteuid().as_raw();
            owner && who.pid() != Some(pluto)
        });
        if !trusted {
            continue;
        }
        let given = given.clone();
        tokio::spawn(async move {
            let mut command = String::new();
            let mut limited = (&mut stream).take(MAX_COMMAND + 1);
            let read = timeout(PATIENCE, limited.read_to_string(&mut command)).await;
            if !matches!(read, Ok(Ok(1..))) || command.len() as u64 > MAX_COMMAND {
                return;
            }
            {
                let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
                if given.len() < MAX_COMMANDS {
                    given.insert(command);
                }
            }
            let _ = stream.write_all(&[0]).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(command: &str, given: &Commands) -> Outcome {
        let env = ["PLUTO_VERB", "LD_PRELOAD", "PATH"];
        let request = wire::Request {
            id: 1,
            command: command.to_owned(),
            env: env.map(|name| (name.to_owned(), "x".to_owned())).into(),
        };
        obey(request, given).await
    }

    #[tokio::test]
    async fn g11_what_was_not_given_is_not_run() {
        let given = Commands::default();
        let command = "echo $PLUTO_VERB; [ \"$PATH\" != x ] && [ -z \"$LD_PRELOAD\" ]";
        let refused = asked(command, &given).await.status;
        assert!(
            matches!(&refused, UpdownStatus::NotStarted(why) if why.contains("given neither")),
            "{refused:?}"
        );
        given.lock().unwrap().insert(command.to_owned());
        let outcome = asked(command, &given).await;
        assert_eq!(outcome.output, ["x"]);
        assert_eq!(outcome.status, UpdownStatus::Exited(0));
    }

    /// Over the socket: here the parent, whom nobody believes, is not who gives it.
    #[tokio::test]
    async fn g11_commands_are_given_over_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pluto.updown");
        let given = Commands::default();
        tokio::spawn(learn(
            net::UnixListener::bind(&path).unwrap(),
            given.clone(),
        ));
        let mut stream = net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"true").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 0);
        assert_eq!(asked("true", &given).await.status, UpdownStatus::Exited(0));
        let mut long = net::UnixStream::connect(&path).await.unwrap();
        let _ = long.write_all(&[b'x'; MAX_COMMAND as usize + 1]).await;
        let _ = long.shutdown().await;
        assert!(long.read_u8().await.is_err());
        assert_eq!(given.lock().unwrap().len(), 1);
    }
}
