//! The whack clients as the driver sees them: lines out to each, with a bound on what waits for one
//! that does not read. The conversation itself is in `control`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::AbortHandle,
};
use whack::{Reply, frame};

use crate::engine::ClientId;

/// Bytes that may wait for one client. The status of 100,000 connections fits.
const MAX_WAITING: usize = 64 << 20;

/// Frames on their way to one client.
#[derive(Debug)]
pub struct Outbox {
    frames: UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub struct Outgoing {
    frames: UnboundedReceiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// A pair of ends.
pub fn outbox() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        frames: sender,
        waiting: Arc::clone(&waiting),
    };
    (
        outbox,
        Outgoing {
            frames: receiver,
            waiting,
        },
    )
}

impl Outbox {
    fn push(&self, reply: &Reply) -> bool {
        // A line too long for a frame is a fault of ours, not of the client.
        let Ok(frame) = frame::encode(reply) else {
            return true;
        };
        let waiting = self.waiting.fetch_add(frame.len(), Ordering::Relaxed) + frame.len();
        waiting <= MAX_WAITING && self.frames.send(frame).is_ok()
    }
}

impl Outgoing {
    /// The next frame; None when there will be no more.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.recv().await?;
        self.waiting.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }
}

/// All clients that wait for an answer.
#[derive(Debug, Default)]
pub struct Clients {
    known: HashMap<ClientId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    outbox: Outbox,
    conversation: AbortHandle,
}

impl Clients {
    /// A client has asked something.
    pub fn add(&mut self, id: ClientId, outbox: Outbox, conversation: AbortHandle) {
        self.known.insert(
            id,
            Waiting {
                outbox,
                conversation,
            },
        );
    }

    /// Says a line. False if the client does not read and was dropped.
    pub fn reply(&mut self, id: ClientId, code: u16, text: String) -> bool {
        let Some(client) = self.known.get(&id) else {
            return true;
        };
        let kept = client.outbox.push(&Reply::Line { code, text });
        if !kept {
            client.conversation.abort();
            self.known.remove(&id);
        }
        kept
    }

    /// Says the exit status; what is still waiting goes out before the connection is closed.
    pub fn finish(&mut self, id: ClientId, status: u8) {
        if let Some(client) = self.known.remove(&id) {
            client.outbox.push(&Reply::Exit { status });
        }
    }

    /// Forgets a client. True if it was still waiting.
    pub fn gone(&mut self, id: ClientId) -> bool {
        self.known.remove(&id).is_some()
    }

    /// Lets all go, with what was said to them so far.
    pub fn close(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_dropped_at_the_bound() {
        let id = ClientId(1);
        let mut clients = Clients::default();
        let (outbox, mut outgoing) = outbox();
        let conversation = tokio::spawn(std::future::pending::<()>());
        clients.add(id, outbox, conversation.abort_handle());
        let line = "x".repeat(60_000);
        let lines = (0..2_000)
            .take_while(|_| clients.reply(id, 0, line.clone()))
            .count();
        assert!((1_000..1_200).contains(&lines), "{lines}");
        assert!(conversation.await.unwrap_err().is_cancelled());
        assert!(!clients.gone(id));
        // Lines to a client that has gone are nobody's fault.
        assert!(clients.reply(id, 0, line));
        let mut read = 0;
        while outgoing.next().await.is_some() {
            read += 1;
        }
        assert_eq!(read, lines);
    }

    #[tokio::test]
    async fn reading_makes_room() {
        let id = ClientId(1);
        let mut clients = Clients::default();
        let (outbox, mut outgoing) = outbox();
        clients.add(
            id,
            outbox,
            tokio::spawn(std::future::pending::<()>()).abort_handle(),
        );
        let line = "x".repeat(60_000);
        for _ in 0..1_500 {
            assert!(clients.reply(id, 0, line.clone()));
            outgoing.next().await.unwrap();
        }
        clients.finish(id, 7);
        let last = outgoing.next().await.unwrap();
        assert_eq!(
            frame::decode_reply(&last[4..]).unwrap(),
            Reply::Exit { status: 7 }
        );
        assert!(outgoing.next().await.is_none());
    }
}
