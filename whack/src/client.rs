//! The client side of the control socket, blocking.

use std::{
    env, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use crate::updown;
use crate::{FrameError, Reply, Request, frame};

/// Directory of pluto's sockets: `$IPSEC_RUNDIR`, or `/run/pluto`.
pub fn rundir() -> PathBuf {
    match env::var_os("IPSEC_RUNDIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => "/run/pluto".into(),
    }
}

/// Why a request got no answer, in words for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No control socket.
    #[error("Pluto is not running (no \"{}\"); start it with: ipsec setup start", .0.display())]
    NotRunning(PathBuf),
    /// The control socket of a pluto that is gone.
    #[error("is Pluto running? connect() for \"{}\" failed ({}); start it with: ipsec setup start", .0.display(), .1)]
    Refused(PathBuf, io::Error),
    /// Not allowed to open the control socket.
    #[error("no right to communicate with pluto (\"{}\"); run this as root", .0.display())]
    Permission(PathBuf),
    /// Another failure to connect.
    #[error("connect() for \"{}\" failed ({})", .0.display(), .1)]
    Connect(PathBuf, io::Error),
    /// The conversation failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Pluto went away before the end of the answer.
    #[error("pluto closed the connection before the end of its answer; see its log")]
    Cut,
}

/// A connection to pluto, good for one request.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    path: PathBuf,
}

impl Client {
    /// Connects to `pluto.ctl` in a directory, see [`rundir`].
    pub fn connect(rundir: impl AsRef<Path>) -> Result<Client, ClientError> {
        Client::connect_to(rundir.as_ref().join("pluto.ctl"))
    }

    /// Connects to a control socket of any name.
    pub fn connect_to(path: impl Into<PathBuf>) -> Result<Client, ClientError> {
        let path = path.into();
        match UnixStream::connect(&path) {
            Ok(socket) => Ok(Client { socket, path }),
            Err(e) => Err(match e.kind() {
                io::ErrorKind::NotFound => ClientError::NotRunning(path),
                io::ErrorKind::ConnectionRefused => ClientError::Refused(path, e),
                io::ErrorKind::PermissionDenied => ClientError::Permission(path),
                _ => ClientError::Connect(path, e),
            }),
        }
    }

    /// Sends the request; the iterator yields each line as it arrives and [`Reply::Exit`] last.
    pub fn send(mut self, request: &Request) -> Result<Replies, ClientError> {
        request.validate().map_err(FrameError::from)?;
        if let Request::Connection(conn) | Request::Replace(conn) = request {
            for command in [&conn.left.updown, &conn.right.updown]
                .into_iter()
                .flatten()
            {
                updown::permit(&self.path, command);
            }
        }
        frame::write(&mut self.socket, request)?;
        Ok(Replies {
            socket: self.socket,
            ended: false,
        })
    }
}

/// The answer to a request, as it comes. Dropping it early leaves the request running in pluto.
#[derive(Debug)]
pub struct Replies {
    socket: UnixStream,
    ended: bool,
}

impl Replies {
    /// Shows every line through `show` and gives the exit status at the end.
    pub fn finish(self, mut show: impl FnMut(&Reply)) -> Result<u8, ClientError> {
        for reply in self {
            match reply? {
                Reply::Exit { status } => return Ok(status),
                line => show(&line),
            }
        }
        Err(ClientError::Cut)
    }

    fn read_one(&mut self) -> Result<Reply, ClientError> {
        let content = match frame::read(&mut self.socket) {
            Ok(Some(content)) => content,
            Ok(None) => return Err(ClientError::Cut),
            Err(FrameError::Io(e))
                if matches!(
                    e.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Err(ClientError::Cut);
            }
            Err(e) => return Err(e.into()),
        };
        Ok(frame::decode_reply(&content)?)
    }
}

impl Iterator for Replies {
    type Item = Result<Reply, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let reply = self.read_one();
        self.ended = !matches!(reply, Ok(Reply::Line { .. }));
        Some(reply)
    }
}
