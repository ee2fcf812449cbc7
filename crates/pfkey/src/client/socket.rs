//! The PF_KEY socket: connect, send, receive, and ask one thing and wait for its answer.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use zeroize::Zeroizing;

use super::ClientError;
use crate::request::Ids;
use crate::types::MsgType;
use crate::{Error, MAX_MESSAGE_LEN};
use crate::{header::Header, message::Message};

/// `PF_KEY` on Linux.
const PF_KEY: i32 = 15;
/// `PF_KEY_V2`.
const PF_KEY_V2: i32 = 2;

/// How long [`Client::call`] waits. KLIPS answers at once; it is slow only when it is dead.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// A PF_KEY socket to this host's KLIPS.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    seq: u32,
}

/// An answer, which may hold keys: wiped when dropped.
pub struct Reply(Zeroizing<Vec<u8>>);

impl Reply {
    /// The octets.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The answer read.
    ///
    /// # Errors
    /// See [`crate::ErrorKind`].
    pub fn message(&self) -> Result<Message<'_>, Error> {
        Message::reply(&self.0)
    }
}

impl Client {
    /// Connects to the kernel's KLIPS if there is one, else to klipsd at `pfkey.sock` in [`super::rundir`].
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], [`ClientError::Permission`], [`ClientError::Io`].
    pub fn connect() -> Result<Self, ClientError> {
        Self::connect_in(&super::rundir())
    }

    /// As [`Client::connect`], with klipsd's sockets in `rundir`.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_in(rundir: &Path) -> Result<Self, ClientError> {
        if !super::in_kernel() {
            return Self::connect_to(&rundir.join("pfkey.sock"));
        }
        if !Path::new(super::KERNEL_VERSION).exists() {
            return Err(ClientError::NoModule);
        }
        let socket = Socket::new(
            Domain::from(PF_KEY),
            Type::RAW,
            Some(Protocol::from(PF_KEY_V2)),
        )
        .map_err(|e| ClientError::io("PF_KEY socket", e))?;
        Ok(Self { socket, seq: 0 })
    }

    /// Connects to the klipsd whose PF_KEY socket is `path`.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_to(path: &Path) -> Result<Self, ClientError> {
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path: path.into() }
            }
            _ => ClientError::io(path.display().to_string(), e),
        };
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).map_err(failed)?;
        socket
            .connect(&SockAddr::unix(path).map_err(failed)?)
            .map_err(failed)?;
        Ok(Self { socket, seq: 0 })
    }

    /// Numbers for the next request.
    pub fn next_ids(&mut self) -> Ids {
        self.seq = self.seq.wrapping_add(1);
        Ids {
            seq: self.seq,
            pid: std::process::id(),
        }
    }

    /// Makes [`Client::send`] and [`Client::recv`] answer `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub fn set_nonblocking(&self, on: bool) -> Result<(), ClientError> {
        self.socket
            .set_nonblocking(on)
            .map_err(|e| ClientError::io("PF_KEY socket", e))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them.
    pub fn send(&self, message: &[u8]) -> std::io::Result<()> {
        self.socket.send(message).map(drop)
    }

    /// Receives one message into `buf` ([`MAX_MESSAGE_LEN`] octets hold any); answers its octets, none if KLIPS closed.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them.
    pub fn recv<'b>(&self, buf: &'b mut [u8]) -> std::io::Result<&'b [u8]> {
        let len = (&self.socket).read(buf)?;
        Ok(buf.get(..len).unwrap_or_default())
    }

    /// Receives one message, waiting at most `time`; `None` when nothing came.
    ///
    /// # Errors
    /// [`ClientError::Closed`] or [`ClientError::Io`].
    pub fn recv_within(&self, time: Duration) -> Result<Option<Reply>, ClientError> {
        let failed = |e| ClientError::io("PF_KEY socket", e);
        self.socket
            .set_read_timeout(Some(time.max(Duration::from_millis(1))))
            .map_err(failed)?;
        let mut buf = Zeroizing::new(vec![0; MAX_MESSAGE_LEN]);
        let len = match self.recv(&mut buf) {
            Ok([]) => return Err(ClientError::Closed),
            Ok(message) => message.len(),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(failed(e)),
        };
        buf.truncate(len);
        Ok(Some(Reply(buf)))
    }

    /// Builds a message with fresh numbers, sends it, and waits for the answer with the same numbers and type. Other
    /// messages that come meanwhile are dropped. For tools; daemons use [`Client::send`] and [`Client::recv`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] if KLIPS answers with errno, and the others.
    pub fn call<F>(&mut self, build: F) -> Result<Reply, ClientError>
    where
        F: for<'b> FnOnce(&'b mut [u8], Ids) -> Result<&'b [u8], Error>,
    {
        let request = self.ask(build)?;
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::NoAnswer {
                    seconds: ANSWER_TIME.as_secs(),
                });
            }
            if let Some(reply) = self.recv_within(left)?
                && let Some(answer) = answer_to(&request, reply)?
            {
                return Ok(answer);
            }
        }
    }

    /// Asks DUMP of all SAs of `satype`; hands each to `each` until the last.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn dump(
        &mut self,
        satype: crate::SaType,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), ClientError> {
        let request = self.ask(|buf, ids| crate::request::dump(buf, ids, satype))?;
        loop {
            let Some(reply) = self.recv_within(ANSWER_TIME)? else {
                return Err(ClientError::NoAnswer {
                    seconds: ANSWER_TIME.as_secs(),
                });
            };
            let Ok(header) = Header::parse(reply.bytes()) else {
                continue;
            };
            // The sequence numbers of a dump count down to 0 (RFC 2367 section 3.1.10); an empty table is ENOENT.
            if header.msg_type != request.msg_type || header.pid != request.pid {
                continue;
            }
            match header.errno {
                0 => each(&reply.message()?),
                crate::errno::ENOENT => return Ok(()),
                errno => {
                    return Err(ClientError::Refused {
                        request: MsgType::Dump,
                        errno,
                    });
                }
            }
            if header.seq == 0 {
                return Ok(());
            }
        }
    }

    fn ask<F>(&mut self, build: F) -> Result<Header, ClientError>
    where
        F: for<'b> FnOnce(&'b mut [u8], Ids) -> Result<&'b [u8], Error>,
    {
        let mut buf = Zeroizing::new([0; MAX_MESSAGE_LEN]);
        let ids = self.next_ids();
        let bytes = build(&mut buf[..], ids)?;
        let header = Header::parse(bytes)?;
        self.send(bytes).map_err(|e| match e.kind() {
            std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => {
                ClientError::Closed
            }
            _ => ClientError::io("PF_KEY socket", e),
        })?;
        Ok(header)
    }
}

/// Whether `reply` answers `request`, and how.
fn answer_to(request: &Header, reply: Reply) -> Result<Option<Reply>, ClientError> {
    let header = Header::parse(reply.bytes())?;
    if (header.msg_type, header.seq, header.pid) != (request.msg_type, request.seq, request.pid) {
        return Ok(None);
    }
    match (header.errno, MsgType::from_number(header.msg_type)) {
        (0, _) => Ok(Some(reply)),
        (errno, Some(request)) => Err(ClientError::Refused { request, errno }),
        (_, None) => Ok(None),
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A socket that was connected before, such as one inherited.
impl From<std::os::fd::OwnedFd> for Client {
    fn from(fd: std::os::fd::OwnedFd) -> Self {
        Self {
            socket: fd.into(),
            seq: 0,
        }
    }
}

impl From<Client> for std::os::fd::OwnedFd {
    fn from(client: Client) -> Self {
        client.socket.into()
    }
}
