//! Attackers: what floods and forges, against an IKE daemon. `src/bin/attacker.rs` runs them in a host of the testbed,
//! `tests/attacks.rs` looks at what becomes of the daemon and its peers meanwhile.
//!
//! `message` makes datagrams with every payload free to choose, `wire` puts them on the wire with any source. Nothing here knows
//! anything of pluto's.

mod message;
mod wire;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

pub use message::Forger;
pub use wire::Raw;

use crate::{Background, Host};

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Begins Main Modes from its own addresses and goes on to the second message: each costs a computation.
    Returned,
    /// First messages with somebody else's address, all alike but for their cookies.
    Spoofed,
    /// The same, none like another.
    SpoofedDifferent,
    /// First messages from port 0 and from addresses that nobody can answer.
    Unanswerable,
    /// ICMP errors about packets that were sent to anybody.
    Icmp,
    /// Second messages that can't be read, of one exchange.
    BadSecond,
    /// Third messages that can't be read, of one exchange after the other.
    BadThird,
    /// The messages of one exchange, again and again.
    Replay,
    /// Pieces of messages, of one exchange and of none.
    Fragments,
    /// Messages with bits changed, cut, or of other kinds.
    Noise,
}

impl Kind {
    /// All of them, with the name that the command line knows each by.
    pub const ALL: [(Kind, &str); 10] = [
        (Kind::Returned, "returned"),
        (Kind::Spoofed, "spoofed"),
        (Kind::SpoofedDifferent, "spoofed-different"),
        (Kind::Unanswerable, "unanswerable"),
        (Kind::Icmp, "icmp"),
        (Kind::BadSecond, "bad-second"),
        (Kind::BadThird, "bad-third"),
        (Kind::Replay, "replay"),
        (Kind::Fragments, "fragments"),
        (Kind::Noise, "noise"),
    ];

    /// By its name.
    pub fn named(name: &str) -> Option<Kind> {
        let found = Kind::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind)
    }
}

/// What to do to whom.
#[derive(Clone, Debug)]
pub struct Attack {
    /// In which way.
    pub kind: Kind,
    /// The daemon under attack.
    pub target: SocketAddrV4,
    /// Exchanges or datagrams a second.
    pub rate: f64,
    /// For how long.
    pub time: Duration,
    /// Our own addresses; for spoofed messages the address to show, none for any.
    pub sources: Vec<Ipv4Addr>,
    /// The value of `ike=` that is offered.
    pub ike: String,
}

/// Starts an attacker in a host, with the words that the program takes: `KIND TARGET RATE SECONDS IKE [SOURCE...]`.
pub fn start(host: &Host, words: &str) -> Background {
    let program = crate::internet::program("attacker");
    host.spawn(&format!("exec {program} {words} 2>&1"))
}

/// What was sent and what came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Datagrams sent, of which this many were second or later messages.
    pub sent: u64,
    /// Second messages among them.
    pub seconds: u64,
    /// Datagrams that came back.
    pub answers: u64,
}

impl Attack {
    /// Does it, and counts.
    ///
    /// # Errors
    /// No socket on one of the addresses, or no raw socket where one is needed.
    pub fn run(&self) -> std::io::Result<Count> {
        match self.kind {
            Kind::Returned | Kind::BadSecond | Kind::BadThird | Kind::Replay => self.converse(),
            _ => self.throw(),
        }
    }

    /// With sockets of our own, for what needs answers.
    fn converse(&self) -> std::io::Result<Count> {
        let mut forger = Forger::new(&self.ike);
        let sockets: Vec<UdpSocket> = self
            .sources
            .iter()
            .map(|source| {
                let socket = UdpSocket::bind((*source, 0))?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<std::io::Result<_>>()?;
        let (begun, mut count) = (Instant::now(), Count::default());
        let mut exchanges: HashMap<[u8; 8], Vec<Vec<u8>>> = HashMap::new();
        let mut pace = Pace::new(self.rate);
        let mut buffer = [0; 2048];
        while begun.elapsed() < self.time {
            for _ in 0..pace.due() {
                let socket = &sockets[count.sent as usize % sockets.len()];
                let bytes = match self.kind {
                    Kind::Replay => exchanges
                        .values()
                        .next()
                        .map(|seen| seen[count.sent as usize % seen.len()].clone()),
                    Kind::BadSecond if !exchanges.is_empty() => exchanges
                        .keys()
                        .next()
                        .copied()
                        .and_then(|cookie| forger.bad_second(&cookie)),
                    _ => None,
                };
                let bytes = bytes.unwrap_or_else(|| forger.first());
                if socket.send_to(&bytes, self.target).is_ok() {
                    count.sent += 1;
                }
            }
            for socket in &sockets {
                while let Some((len, _)) = received(socket, &mut buffer)? {
                    count.answers += 1;
                    let Some(next) = forger.next(&buffer[..len], self.kind == Kind::BadThird)
                    else {
                        continue;
                    };
                    if matches!(self.kind, Kind::BadSecond | Kind::Replay) && exchanges.is_empty() {
                        let cookie = buffer[..8].try_into().expect("eight octets");
                        exchanges.insert(cookie, vec![next.clone()]);
                    }
                    if self.kind != Kind::BadSecond && socket.send_to(&next, self.target).is_ok() {
                        count.sent += 1;
                        count.seconds += 1;
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(count)
    }

    /// With any source, without hearing what comes back.
    fn throw(&self) -> std::io::Result<Count> {
        let mut forger = Forger::new(&self.ike);
        let mut raw = Raw::open()?;
        let (begun, mut count) = (Instant::now(), Count::default());
        let mut pace = Pace::new(self.rate);
        while begun.elapsed() < self.time {
            for _ in 0..pace.due() {
                let any = Ipv4Addr::from(0x0a00_0000 | forger.number() & 0xff_ffff);
                let source = self.sources.first().copied().unwrap_or(any);
                let from = SocketAddrV4::new(source, 500);
                let sent = match self.kind {
                    Kind::Icmp => raw.icmp_error(any, self.target),
                    Kind::Unanswerable => {
                        let odd = [
                            SocketAddrV4::new(source, 0),
                            SocketAddrV4::new(Ipv4Addr::new(240, 1, 2, 3), 500),
                            SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 500),
                        ];
                        let from = odd[forger.number() as usize % odd.len()];
                        raw.udp(from, self.target, &forger.first())
                    }
                    Kind::SpoofedDifferent => raw.udp(from, self.target, &forger.different()),
                    Kind::Fragments => raw.udp(from, self.target, &forger.piece()),
                    Kind::Noise => raw.udp(from, self.target, &forger.noise()),
                    _ => raw.udp(from, self.target, &forger.first()),
                };
                count.sent += u64::from(sent.is_ok());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(count)
    }
}

fn received(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<Option<(usize, SocketAddr)>> {
    match socket.recv_from(buffer) {
        Ok(got) => Ok(Some(got)),
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// So many a second, made good for when the time was not there.
struct Pace {
    begun: Instant,
    rate: f64,
    done: u64,
}

impl Pace {
    fn new(rate: f64) -> Pace {
        Pace {
            begun: Instant::now(),
            rate,
            done: 0,
        }
    }

    fn due(&mut self) -> u64 {
        let all = (self.begun.elapsed().as_secs_f64() * self.rate) as u64;
        let due = all - self.done;
        self.done = all;
        due
    }
}
