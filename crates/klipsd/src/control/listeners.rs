//! The open PF_KEY sockets and what waits to be written to each. Queues are bounded, and nobody who puts something into
//! them ever waits: packet threads do (ACQUIRE), and the tick (EXPIRE).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use klips::Audience;
use socket2::Socket;

use crate::sys::stop::Wake;

/// Octets of broadcast messages that may wait for one client; more are lost to it, as RFC 2367 allows.
const BROADCAST_LIMIT: usize = 1 << 20;
/// Octets waiting for a client above which its next request is left unread.
const REQUEST_LIMIT: usize = 1 << 20;
/// Open PF_KEY sockets at most.
pub const MAX_CLIENTS: usize = 64;

/// Tells clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(u64);

/// One open PF_KEY socket.
pub struct Client {
    /// Which one.
    pub id: ClientId,
    /// What the core remembers of it.
    pub state: Mutex<klips::Socket>,
    sock: Socket,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<(Arc<[u8]>, bool)>,
    octets: usize,
    broadcast: usize,
    lost: u64,
}

/// All open PF_KEY sockets.
pub struct Listeners {
    clients: Mutex<Vec<Arc<Client>>>,
    next: Mutex<u64>,
    wake: Wake,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listeners {
    /// Nobody yet.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            clients: Mutex::default(),
            next: Mutex::default(),
            wake: Wake::new()?,
        })
    }

    /// Takes a client in; `false` when there are too many.
    pub fn add(&self, sock: Socket) -> bool {
        let mut clients = lock(&self.clients);
        if clients.len() >= MAX_CLIENTS {
            return false;
        }
        let mut next = lock(&self.next);
        *next += 1;
        clients.push(Arc::new(Client {
            id: ClientId(*next),
            state: Mutex::default(),
            sock,
            queue: Mutex::default(),
        }));
        true
    }

    /// Forgets a client, whose socket closes.
    pub fn remove(&self, id: ClientId) {
        lock(&self.clients).retain(|client| client.id != id);
    }

    /// The clients now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<Client>> {
        lock(&self.clients).clone()
    }

    /// Becomes readable when something was queued.
    #[must_use]
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Queues messages for those whom they are for. Answers the ACQUIREs that were for somebody, and lost to all of them.
    pub fn deliver<'m>(
        &self,
        messages: &'m [(Audience, Vec<u8>)],
        sender: Option<ClientId>,
    ) -> Vec<&'m [u8]> {
        let mut unheard = Vec::new();
        if messages.is_empty() {
            return unheard;
        }
        let clients = lock(&self.clients);
        for (audience, message) in messages {
            let shared: Arc<[u8]> = message.as_slice().into();
            let (mut wanted, mut heard) = (false, false);
            for client in clients.iter() {
                let own = sender == Some(client.id);
                if lock(&client.state).hears(*audience, own) {
                    wanted = true;
                    heard |= client.enqueue(&shared, !own);
                }
            }
            if wanted && !heard && is_acquire(message) {
                unheard.push(message.as_slice());
            }
        }
        self.wake.wake();
        unheard
    }
}

fn is_acquire(message: &[u8]) -> bool {
    pfkey::Header::parse(message)
        .is_ok_and(|header| header.msg_type == pfkey::MsgType::Acquire as u8)
}

impl Client {
    fn enqueue(&self, message: &Arc<[u8]>, broadcast: bool) -> bool {
        let mut queue = lock(&self.queue);
        if broadcast && queue.broadcast + message.len() > BROADCAST_LIMIT {
            queue.lost += 1;
            if queue.lost == 1 {
                tracing::warn!("a PF_KEY client does not read: messages to it are lost");
            }
            return false;
        }
        queue.octets += message.len();
        queue.broadcast += if broadcast { message.len() } else { 0 };
        queue.messages.push_back((message.clone(), broadcast));
        true
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !lock(&self.queue).messages.is_empty()
    }

    /// Whether its next request may be read: its answers must not pile up.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        lock(&self.queue).octets < REQUEST_LIMIT
    }

    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// The socket's, when the client is gone.
    pub fn write(&self) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        while let Some((message, broadcast)) = queue.messages.front().cloned() {
            match self
                .sock
                .send_with_flags(&message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
            {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    tracing::warn!(
                        "a PF_KEY message of {} octets does not fit its socket",
                        message.len()
                    );
                }
                Err(error) => return Err(error),
            }
            queue.messages.pop_front();
            queue.octets -= message.len();
            queue.broadcast -= if broadcast { message.len() } else { 0 };
        }
        Ok(())
    }

    /// Reads one request; `None` when there is none, an empty one when the client is gone.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match nix::sys::socket::recv(
            std::os::fd::AsRawFd::as_raw_fd(&self.sock),
            buffer,
            nix::sys::socket::MsgFlags::MSG_DONTWAIT | nix::sys::socket::MsgFlags::MSG_TRUNC,
        ) {
            Ok(length) => Ok(Some(length)),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sock.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};

    #[test]
    fn a_client_that_does_not_read_costs_a_bounded_queue() {
        let (near, far) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        let listeners = Listeners::new().unwrap();
        assert!(listeners.add(near));
        let message = vec![(Audience::All, vec![7u8; 1000])];
        for _ in 0..5000 {
            listeners.deliver(&message, None);
        }
        let client = listeners.snapshot().pop().unwrap();
        assert!(lock(&client.queue).octets <= BROADCAST_LIMIT);
        assert!(lock(&client.queue).lost > 0);
        client.write().unwrap();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 2000];
        assert_eq!(far.recv(&mut buffer).unwrap(), 1000);
    }

    #[test]
    fn answers_go_to_the_sender_only() {
        let (near, _far) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        let (other, _other_far) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        let listeners = Listeners::new().unwrap();
        listeners.add(near);
        listeners.add(other);
        let clients = listeners.snapshot();
        listeners.deliver(&[(Audience::Sender, vec![1])], Some(clients[0].id));
        assert!(clients[0].has_output());
        assert!(!clients[1].has_output());
    }

    #[test]
    fn too_many_are_turned_away() {
        let listeners = Listeners::new().unwrap();
        for _ in 0..MAX_CLIENTS {
            let (near, _) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
            assert!(listeners.add(near));
        }
        let (near, _) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        assert!(!listeners.add(near));
    }
}
