//! The PF_KEY socket: opening it, whole messages in and out without ever blocking the driver, and
//! opening it again when klipsd was restarted. What messages mean is the engine's business.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pfkey::client::{Client, ClientError};
use tokio::{
    io::unix::AsyncFd,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::AbortHandle,
    time::sleep,
};

use super::driver::Input;

/// No KLIPS message is longer than this; a longer one is cut by the kernel and then refused.
const MAX_MESSAGE: usize = 65_536;
/// Messages waiting for a KLIPS that does not read. Beyond it KLIPS counts as gone.
const MAX_WAITING: usize = 100_000;
const RETRY: Duration = Duration::from_secs(1);

/// Opens PF_KEY at the KLIPS of this host: the module's, or klipsd's with its sockets in `rundir`.
pub fn open(rundir: &Path) -> Result<Client, ClientError> {
    let socket = Client::connect_in(rundir)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The open connection to KLIPS, as the driver holds it. Dropping it closes it.
#[derive(Debug)]
pub struct Kernel {
    to_send: UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    tasks: [AbortHandle; 2],
}

impl Kernel {
    /// Takes a socket into service. What comes in, and the end, goes to `inputs` with `generation`,
    /// so that the end of an older socket is not taken for that of a newer.
    pub fn start(
        socket: Client,
        generation: u64,
        inputs: mpsc::Sender<Input>,
    ) -> io::Result<Kernel> {
        // SAFETY: the socket owns its descriptor, and nothing closes or replaces it in there.
        let socket = Arc::new(unsafe { AsyncFd::register(socket)? });
        let (to_send, sending) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let reader = tokio::spawn(read_all(Arc::clone(&socket), generation, inputs.clone()));
        let writer = tokio::spawn(write_all(
            socket,
            sending,
            Arc::clone(&waiting),
            generation,
            inputs,
        ));
        Ok(Kernel {
            to_send,
            waiting,
            tasks: [reader.abort_handle(), writer.abort_handle()],
        })
    }

    /// Queues a message. False if KLIPS has stopped reading.
    pub fn send(&self, message: Vec<u8>) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING
            && self.to_send.send(message).is_ok()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn read_all(socket: Arc<AsyncFd<Client>>, generation: u64, inputs: mpsc::Sender<Input>) {
    let mut buffer = vec![0; MAX_MESSAGE];
    let why = loop {
        match read_one(&socket, &mut buffer).await {
            Ok(message) if message.is_empty() => break "KLIPS closed the socket".to_string(),
            Ok(message) => {
                if inputs.send(Input::PfKey(message)).await.is_err() {
                    return;
                }
            }
            // KLIPS said more than the socket could hold; what it said is lost, the socket is not.
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(e) => break e.to_string(),
        }
    };
    let _ = inputs.send(Input::KernelLost { generation, why }).await;
}

async fn read_one(socket: &AsyncFd<Client>, buffer: &mut [u8]) -> io::Result<Vec<u8>> {
    loop {
        let mut ready = socket.readable().await?;
        let read = |socket: &AsyncFd<Client>| socket.get_ref().recv(buffer).map(<[u8]>::to_vec);
        if let Ok(message) = ready.try_io(read) {
            return message;
        }
    }
}

async fn write_all(
    socket: Arc<AsyncFd<Client>>,
    mut sending: UnboundedReceiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    generation: u64,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(message) = sending.recv().await {
        if let Err(e) = write_one(&socket, &message).await {
            let why = e.to_string();
            let _ = inputs.send(Input::KernelLost { generation, why }).await;
            return;
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn write_one(socket: &AsyncFd<Client>, message: &[u8]) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        match ready.try_io(|socket| socket.get_ref().send(message)) {
            // The kernel's PF_KEY answers a message that it refuses with an error of send; the
            // refusal comes back as a message too, and the socket lives on.
            Ok(Err(e)) if is_refusal(&e) => return Ok(()),
            Ok(sent) => return sent,
            Err(_would_block) => {}
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN | libc::EBADF) | None
    )
}

/// Tries to open PF_KEY until it works, then hands the socket to the driver.
pub async fn reopen(rundir: PathBuf, inputs: mpsc::Sender<Input>) {
    loop {
        sleep(RETRY).await;
        if let Ok(socket) = open(&rundir) {
            let _ = inputs.send(Input::KernelFound(socket)).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    async fn next(inputs: &mut mpsc::Receiver<Input>) -> Input {
        inputs.recv().await.unwrap()
    }

    #[tokio::test]
    async fn messages_pass_whole_and_a_restarted_klips_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let missing = open(dir.path()).unwrap_err().to_string();
        assert!(missing.contains("ipsec setup start"), "{missing}");

        let path = SockAddr::unix(dir.path().join("pfkey.sock")).unwrap();
        let listen = || {
            let _ = std::fs::remove_file(dir.path().join("pfkey.sock"));
            let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
            listener.bind(&path).unwrap();
            listener.listen(1).unwrap();
            listener
        };
        let klips = listen();
        let (inputs, mut arriving) = mpsc::channel(16);
        let kernel = Kernel::start(open(dir.path()).unwrap(), 1, inputs.clone()).unwrap();
        let (theirs, _) = klips.accept().unwrap();

        assert!(kernel.send(vec![1; 40]) && kernel.send(vec![2; 8]));
        theirs.send(&[3; 24]).unwrap();
        let Input::PfKey(message) = next(&mut arriving).await else {
            panic!()
        };
        assert_eq!(message, [3; 24]);
        let mut buffer = [MaybeUninit::uninit(); 64];
        let lengths = tokio::task::spawn_blocking(move || {
            let lengths = [
                theirs.recv(&mut buffer).unwrap(),
                theirs.recv(&mut buffer).unwrap(),
            ];
            drop(theirs);
            lengths
        });
        assert_eq!(lengths.await.unwrap(), [40, 8]);

        let Input::KernelLost { generation: 1, .. } = next(&mut arriving).await else {
            panic!()
        };
        drop(klips);
        let dead = open(dir.path()).unwrap_err();
        assert!(matches!(dead, ClientError::NotRunning { .. }), "{dead}");
        let _again = listen();
        reopen(dir.path().to_path_buf(), inputs).await;
        assert!(matches!(next(&mut arriving).await, Input::KernelFound(_)));
    }
}
