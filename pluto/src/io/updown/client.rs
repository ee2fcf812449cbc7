//! pluto's end of the socket: commands go out as they are wanted, outcomes come back in any order.

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::AsyncWriteExt,
    net::unix::OwnedWriteHalf,
    sync::{mpsc, oneshot},
};

use super::{Outcome, wire};
use crate::engine::UpdownStatus;

type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Outcome>>>>>;

/// Who asks for commands to be run.
#[derive(Debug, Clone)]
pub struct Updown {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    /// None when the process has ended.
    waiting: Waiting,
}

impl Updown {
    /// Over this socket.
    ///
    /// # Errors
    /// The system's.
    pub fn start(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (mut read, write) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let (frames, to_send) = mpsc::unbounded_channel();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(send(write, to_send));
        let answered = waiting.clone();
        tokio::spawn(async move {
            while let Some(texts) = wire::read(&mut read).await {
                let Some(answer) = wire::Answer::decode(&texts) else {
                    break;
                };
                let mut all = answered.lock().unwrap_or_else(PoisonError::into_inner);
                let asked = all.as_mut().and_then(|all| all.remove(&answer.id));
                if let Some(asked) = asked {
                    let _ = asked.send(answer.outcome);
                }
            }
            // All that wait are told, by their senders being dropped.
            *answered.lock().unwrap_or_else(PoisonError::into_inner) = None;
        });
        Ok(Self { frames, waiting })
    }

    /// Runs a command to its end. `id` is of no other that runs now.
    pub async fn run(&self, id: u64, command: String, env: Vec<(String, String)>) -> Outcome {
        let (tell, told) = oneshot::channel();
        if let Some(all) = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            all.insert(id, tell);
        }
        let request = wire::Request { id, command, env };
        let _ = self.frames.send(request.encode());
        told.await.unwrap_or_else(|_| Outcome {
            output: Vec::new(),
            status: UpdownStatus::NotStarted(
                "the process that runs updown commands has ended; restart IPsec with: ipsec setup restart"
                    .to_owned(),
            ),
        })
    }
}

async fn send(mut socket: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}
