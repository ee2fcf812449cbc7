//! The control socket: one conversation per whack client, from its request to the last line. What
//! a request means is the engine's business.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use whack::{FrameError, Rc, Reply, Request, frame};

use super::{
    client::{Outgoing, outbox},
    driver::Input,
};
use crate::engine::ClientId;

/// Clients at the same time.
pub const MAX_CLIENTS: usize = 256;
/// A client must send its request within this time of connecting,
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// and take each line within this time.
const LINE_PATIENCE: Duration = Duration::from_secs(30);

/// The control socket in service.
#[derive(Debug)]
pub struct Control {
    places: Arc<Semaphore>,
}

impl Control {
    /// Takes clients from now on; their requests go to `inputs`.
    pub fn start(listener: UnixListener, inputs: mpsc::Sender<Input>) -> Control {
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        tokio::spawn(accept_all(listener, Arc::clone(&places), inputs));
        Control { places }
    }

    /// Waits until every client has got its last line, but no longer than `patience`.
    pub async fn drained(&self, patience: Duration) {
        let _ = timeout(patience, self.places.acquire_many(MAX_CLIENTS as u32)).await;
    }
}

async fn accept_all(listener: UnixListener, places: Arc<Semaphore>, inputs: mpsc::Sender<Input>) {
    // 0 is the driver itself.
    let ids = AtomicU64::new(1);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let id = ClientId(ids.fetch_add(1, Ordering::Relaxed));
                    tokio::spawn(converse(stream, id, inputs.clone(), place));
                }
                Err(_) => refuse_busy(&stream),
            },
            // Out of descriptors, most likely; some client will finish.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Says no without waiting: what does not fit into the socket's buffer is lost.
fn refuse_busy(stream: &UnixStream) {
    let text = format!("pluto already serves {MAX_CLIENTS} whack clients; try again later");
    for reply in refusal(Rc::InternalErr, text) {
        let _ = stream.try_write(&reply);
    }
}

fn refusal(rc: Rc, text: String) -> Vec<Vec<u8>> {
    let replies = [
        Reply::line(rc, text),
        Reply::Exit {
            status: rc.code() as u8,
        },
    ];
    replies
        .iter()
        .filter_map(|reply| frame::encode(reply).ok())
        .collect()
}

async fn converse(
    mut stream: UnixStream,
    id: ClientId,
    inputs: mpsc::Sender<Input>,
    _place: OwnedSemaphorePermit,
) {
    let request = match timeout(REQUEST_PATIENCE, read_request(&mut stream)).await {
        Ok(Ok(Some(request))) => Box::new(request),
        Ok(Ok(None)) => return,
        Ok(Err(e)) => return refuse(&mut stream, &inputs, e.to_string()).await,
        Err(_) => {
            let text = format!("no request within {} seconds", REQUEST_PATIENCE.as_secs());
            return refuse(&mut stream, &inputs, text).await;
        }
    };
    let (outbox, outgoing) = outbox();
    // The driver needs a handle on this task, which only its spawner has: so the rest is another.
    let talk = tokio::spawn(answer(stream, id, outgoing, inputs.clone()));
    let conversation = talk.abort_handle();
    if inputs
        .send(Input::Whack {
            client: id,
            request,
            outbox,
            conversation,
        })
        .await
        .is_err()
    {
        return talk.abort();
    }
    let _ = talk.await;
}

async fn read_request(stream: &mut UnixStream) -> Result<Option<Request>, FrameError> {
    let mut head = [0; 4];
    // A client that connects and leaves has nothing to be told.
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let mut content = vec![0; frame::announced_len(head)?];
    stream.read_exact(&mut content).await?;
    frame::decode_request(&content).map(Some)
}

async fn refuse(stream: &mut UnixStream, inputs: &mpsc::Sender<Input>, text: String) {
    let text = format!("ignoring message from whack: {text}");
    let _ = inputs.send(Input::Complaint(text.clone())).await;
    let send = async {
        for reply in refusal(Rc::BadWhackMessage, text) {
            stream.write_all(&reply).await?;
        }
        stream.shutdown().await
    };
    let _ = timeout(LINE_PATIENCE, send).await;
}

/// Sends lines as they come, until the last or until the client leaves.
async fn answer(
    stream: UnixStream,
    id: ClientId,
    mut outgoing: Outgoing,
    inputs: mpsc::Sender<Input>,
) {
    let (mut reading, mut writing) = stream.into_split();
    let write = async {
        while let Some(frame) = outgoing.next().await {
            if !matches!(
                timeout(LINE_PATIENCE, writing.write_all(&frame)).await,
                Ok(Ok(()))
            ) {
                return;
            }
        }
        let _ = timeout(LINE_PATIENCE, writing.shutdown()).await;
    };
    let mut byte = [0];
    tokio::select! {
        () = write => {}
        // A client has nothing more to say: either it left, or it breaks the protocol.
        _ = reading.read(&mut byte) => {}
    }
    let _ = inputs.send(Input::WhackGone(id)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, path::Path};
    use whack::Client;

    fn serve(dir: &Path) -> (Control, mpsc::Receiver<Input>) {
        let listener = UnixListener::bind(dir.join("pluto.ctl")).unwrap();
        let (inputs, arriving) = mpsc::channel(16);
        (Control::start(listener, inputs), arriving)
    }

    /// A client in a thread of its own: the lines it got, and its exit status.
    fn ask(dir: &Path, request: Request) -> tokio::task::JoinHandle<(Vec<String>, u8)> {
        let dir = dir.to_path_buf();
        tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            let replies = Client::connect(dir).unwrap().send(&request).unwrap();
            let status = replies.finish(|line| lines.push(line.to_string())).unwrap();
            (lines, status)
        })
    }

    #[tokio::test]
    async fn a_request_is_answered_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let (control, mut arriving) = serve(dir.path());
        let client = ask(dir.path(), Request::Status);
        let Some(Input::Whack {
            client: id,
            request,
            outbox,
            conversation,
        }) = arriving.recv().await
        else {
            panic!()
        };
        assert_eq!(*request, Request::Status);
        let mut clients = super::super::client::Clients::default();
        clients.add(id, outbox, conversation);
        assert!(clients.reply(id, 0, "interface ipsec0/eth0 192.0.2.1".into()));
        clients.finish(id, 0);
        let got = client.await.unwrap();
        assert_eq!(
            got,
            (vec!["000 interface ipsec0/eth0 192.0.2.1".to_string()], 0)
        );
        control.drained(Duration::from_secs(60)).await;
    }

    #[tokio::test]
    async fn nonsense_is_refused_with_the_field_and_leavers_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (_control, mut arriving) = serve(dir.path());
        let path = dir.path().join("pluto.ctl");
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            let content = br#"{"Delete":{"name":""}}"#;
            stream
                .write_all(&(content.len() as u32).to_be_bytes())
                .unwrap();
            stream.write_all(content).unwrap();
            let content = frame::read(&mut stream).unwrap().unwrap();
            let last = frame::read(&mut stream).unwrap().unwrap();
            (
                frame::decode_reply(&content).unwrap(),
                frame::decode_reply(&last).unwrap(),
            )
        });
        let (line, last) = answer.await.unwrap();
        assert!(
            line.to_string()
                .starts_with("030 ignoring message from whack: "),
            "{line}"
        );
        assert!(
            line.to_string().contains("Delete.name: must not be empty"),
            "{line}"
        );
        assert_eq!(last, Reply::Exit { status: 30 });
        assert!(matches!(arriving.recv().await, Some(Input::Complaint(_))));

        let leaver = Client::connect(dir.path())
            .unwrap()
            .send(&Request::Listen)
            .unwrap();
        let Some(Input::Whack { client, .. }) = arriving.recv().await else {
            panic!()
        };
        drop(leaver);
        let Some(Input::WhackGone(gone)) = arriving.recv().await else {
            panic!()
        };
        assert_eq!(gone, client);
    }

    #[tokio::test]
    async fn there_is_a_limit_to_clients() {
        let dir = tempfile::tempdir().unwrap();
        let (_control, _arriving) = serve(dir.path());
        let waiting: Vec<_> = (0..MAX_CLIENTS)
            .map(|_| std::os::unix::net::UnixStream::connect(dir.path().join("pluto.ctl")).unwrap())
            .collect();
        let (lines, status) = ask(dir.path(), Request::Status).await.unwrap();
        assert!(
            lines[0].starts_with("032 pluto already serves 256"),
            "{lines:?}"
        );
        assert_eq!(status, 32);
        drop(waiting);
    }
}
