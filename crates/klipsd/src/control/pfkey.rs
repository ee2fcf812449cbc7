//! The thread of `pfkey.sock`: PF_KEY v2 over `AF_UNIX SOCK_SEQPACKET`, one message a packet.

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::listeners::Client;
use super::peer;
use crate::host::Host;

/// Longest request taken; the longest that means anything is far below.
const MAX_REQUEST: usize = 65_536;

/// Serves until the process ends.
pub fn serve(host: &Arc<Host>, listener: &Socket) {
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        let clients = host.listeners.snapshot();
        let ready = wait(host, listener, &clients);
        host.listeners.wake().clear();
        if ready.accept {
            accept(host, listener);
        }
        for (client, readable) in clients.iter().zip(ready.clients) {
            let alive = !readable || ask(host, client, &mut buffer);
            if !alive || client.write().is_err() {
                host.listeners.remove(client.id);
            } else {
                dump(host, client);
            }
        }
    }
}

struct Ready {
    accept: bool,
    clients: Vec<bool>,
}

fn wait(host: &Host, listener: &Socket, clients: &[Arc<Client>]) -> Ready {
    let mut fds = vec![
        PollFd::new(host.listeners.wake().as_fd(), PollFlags::POLLIN),
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
    ];
    for client in clients {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, client.may_ask());
        events.set(PollFlags::POLLOUT, client.has_output());
        fds.push(PollFd::new(client.as_fd(), events));
    }
    let _ = poll(&mut fds, PollTimeout::NONE);
    let broken = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
    let mut readable = fds.iter().skip(1).map(|fd| {
        fd.revents()
            .unwrap_or(PollFlags::empty())
            .intersects(broken)
    });
    Ready {
        accept: readable.next().unwrap_or(false),
        clients: readable.collect(),
    }
}

fn accept(host: &Host, listener: &Socket) {
    while let Ok((sock, _)) = listener.accept() {
        if !peer::allowed(&sock) {
            tracing::warn!("PF_KEY refused to another user");
        } else if !host.listeners.add(sock) {
            tracing::warn!("too many open PF_KEY sockets");
        }
    }
}

/// Goes on with a DUMP, as far as there is room for its answers.
fn dump(host: &Host, client: &Client) {
    while client.may_ask() {
        let mut state = client.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_dumping() {
            return;
        }
        let mut pending = host.dump_more(&mut state);
        drop(state);
        host.settle(&mut pending, Some(client.id));
    }
}

/// Reads one request and has it answered; `false` when the client is gone.
fn ask(host: &Host, client: &Client, buffer: &mut [u8]) -> bool {
    match client.read(buffer) {
        Ok(None) => true,
        Ok(Some(0)) | Err(_) => false,
        Ok(Some(length)) => {
            let Some(message) = buffer.get(..length) else {
                tracing::warn!("a PF_KEY request of {length} octets is too long");
                return true;
            };
            let mut state = client.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut pending = host.request(&mut state, message);
            drop(state);
            host.settle(&mut pending, Some(client.id));
            // Keys were in the request; they are not to stay in this buffer.
            zeroize::Zeroize::zeroize(&mut buffer[..length]);
            true
        }
    }
}
