//! Traffic that never stops, and what it says of the tunnels: datagrams that come back, from threads of the test with sockets in the
//! hosts' networks. A process for each would cost more than all that the gateways do.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testing::Host;

const ECHO: u16 = 7;
/// Seconds between two datagrams while something happens.
const BUSY: u64 = 1;
/// And while nothing does.
const CALM: u64 = 20;
/// Longest wait of a thread before it looks whether it is to end.
const LOOK: Duration = Duration::from_secs(30);

/// From somebody to an address that answers.
struct Path {
    name: String,
    /// When the last answer came, in milliseconds since `Traffic::begin`.
    heard: Arc<AtomicU64>,
}

/// All of it, until this is dropped.
pub struct Traffic {
    begin: Instant,
    paths: Vec<Path>,
    threads: Vec<JoinHandle<()>>,
    state: Arc<State>,
}

struct State {
    over: AtomicBool,
    pause: AtomicU64,
}

impl State {
    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Traffic {
    /// Nobody sends yet.
    pub fn new() -> Traffic {
        let state = State {
            over: AtomicBool::new(false),
            pause: AtomicU64::new(BUSY),
        };
        Traffic {
            begin: Instant::now(),
            paths: Vec::new(),
            threads: Vec::new(),
            state: Arc::new(state),
        }
    }

    /// The host sends back what comes to it.
    pub fn answers(&mut self, host: &Host) {
        let socket = host.in_network(|| UdpSocket::bind(("0.0.0.0", ECHO)));
        let socket = socket.expect("the port for echoes is free");
        socket.set_read_timeout(Some(LOOK)).expect("half a minute");
        let state = Arc::clone(&self.state);
        self.threads.push(std::thread::spawn(move || {
            let mut octets = [0; 64];
            while !state.over() {
                // An answer that can't be sent is one that is lost.
                if let Ok((len, from)) = socket.recv_from(&mut octets) {
                    socket.send_to(&octets[..len], from).ok();
                }
            }
        }));
    }

    /// From now on the host sends to `to`.
    pub fn sends(&mut self, host: &Host, to: &str) {
        let socket = host.in_network(|| UdpSocket::bind("0.0.0.0:0"));
        let socket = socket.expect("a port is free");
        let target = (to.to_owned(), ECHO);
        let heard = Arc::new(AtomicU64::new(0));
        self.paths.push(Path {
            name: format!("{} to {to}", host.name()),
            heard: Arc::clone(&heard),
        });
        let (state, begin) = (Arc::clone(&self.state), self.begin);
        self.threads.push(std::thread::spawn(move || {
            while !state.over() {
                // What can't be sent now is tried again.
                let text = begin.elapsed().as_millis().to_string();
                socket
                    .send_to(text.as_bytes(), (target.0.as_str(), target.1))
                    .ok();
                let pause = Duration::from_secs(state.pause.load(Ordering::Relaxed));
                listen(&socket, Instant::now() + pause, &heard);
            }
        }));
    }

    /// Nothing happens now.
    pub fn calm(&self) {
        self.state.pause.store(CALM, Ordering::Relaxed);
    }

    /// Something will.
    pub fn busy(&self) {
        self.state.pause.store(BUSY, Ordering::Relaxed);
    }

    /// A moment, for [`Traffic::silent_since`].
    pub fn now(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// The paths that have had no answer since then to what was sent since then.
    pub fn silent_since(&self, moment: u64) -> Vec<&str> {
        let silent = |path: &&Path| path.heard.load(Ordering::Relaxed) < moment;
        self.paths
            .iter()
            .filter(silent)
            .map(|path| path.name.as_str())
            .collect()
    }
}

/// Takes answers until `end`, and notes when the newest that was answered had been sent.
fn listen(socket: &UdpSocket, end: Instant, heard: &AtomicU64) {
    let mut octets = [0; 64];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        socket
            .set_read_timeout(Some(left))
            .expect("more than nothing");
        match socket.recv_from(&mut octets) {
            Ok((len, _)) => {
                let sent = std::str::from_utf8(&octets[..len]).ok();
                if let Some(sent) = sent.and_then(|text| text.parse().ok()) {
                    heard.fetch_max(sent, Ordering::Relaxed);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // Said of what was sent before.
            Err(_) => {}
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}
