//! Whoever is on the path drops, delays, changes, sends again and sends on whatever passes, spoils what DNS says, and speaks for himself
//! with a key of his own in a signed zone. A thousand seeds of that: he reaches silence, or packets in the clear where the policy lets
//! them go, and never a tunnel to himself.

use std::net::SocketAddr;

use rand::Rng;

use super::taken_over::{attacker, victims};
use super::*;

const SEEDS: u64 = 1000;
/// Simulated seconds of each.
const SECONDS: u64 = 25;
const FLOWS: [(&str, &str); 3] = [(WEST, EAST), ("10.0.1.1", EAST), (WEST, "10.0.2.1")];

type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

/// The path, and who sits on it.
struct Path {
    pair: Pair,
    evil: Gateway,
    /// All that has passed, to be sent again.
    seen: Vec<Datagram>,
    /// On its way, until later.
    late: Vec<Datagram>,
    rng: StdRng,
    /// What signed zones really say.
    truth: std::collections::HashMap<Query, Result<Answer, LookupError>>,
}

impl Path {
    fn below(&mut self, limit: usize) -> usize {
        self.rng.next_u32() as usize % limit
    }

    /// Gives a datagram to somebody at its destination: to west, or to whoever of the two has east's address for it.
    fn deliver(&mut self, (remote, local, bytes): Datagram) {
        let to = if local.ip() == addr(WEST) {
            &mut self.pair.west
        } else if self.rng.next_u32().is_multiple_of(2) {
            &mut self.evil
        } else {
            &mut self.pair.east
        };
        to.give(Event::Datagram {
            local,
            remote,
            bytes,
        });
    }

    /// What is sent meets its fate, until nobody sends more.
    fn carry(&mut self) {
        for _ in 0..40 {
            let pair = &mut self.pair;
            let mut sent: Vec<Datagram> = pair.east.sent.drain(..).collect();
            sent.append(&mut pair.west.sent);
            sent.append(&mut self.evil.sent);
            if sent.is_empty() {
                return;
            }
            for datagram in sent {
                self.seen.push(datagram.clone());
                match self.below(12) {
                    0 => {}
                    1 => self.late.push(datagram),
                    2 => {
                        self.deliver(datagram.clone());
                        self.deliver(datagram);
                    }
                    3 => {
                        let (from, to, mut bytes) = datagram;
                        let at = self.below(bytes.len().max(1));
                        if let Some(octet) = bytes.get_mut(at) {
                            *octet ^= 1 << self.below(8);
                        }
                        self.deliver((from, to, bytes));
                    }
                    _ => self.deliver(datagram),
                }
            }
        }
    }

    /// A second passes, in which he does something.
    fn second(&mut self) {
        let (ours, theirs) = FLOWS[self.below(FLOWS.len())];
        match self.below(8) {
            0 => {
                self.evil.send(theirs, ours);
            }
            1 if !self.seen.is_empty() => {
                let again = self.below(self.seen.len());
                self.deliver(self.seen[again].clone());
            }
            2 => self.spoil(),
            3 => self.pair.west.dns.clone_from(&self.truth),
            4 => {
                self.pair.east.send(theirs, ours);
            }
            _ => {
                self.pair.west.send(ours, theirs);
            }
        }
        self.carry();
        for datagram in std::mem::take(&mut self.late) {
            self.deliver(datagram);
        }
        for gateway in [&mut self.pair.west, &mut self.pair.east, &mut self.evil] {
            gateway.sleep(1);
        }
        self.carry();
    }

    /// What is signed he can spoil, not change.
    fn spoil(&mut self) {
        let queries: Vec<Query> = self.truth.keys().cloned().collect();
        let query = queries[self.below(queries.len())].clone();
        let name = query.name();
        let error = match self.below(3) {
            0 => LookupError::Bogus {
                name,
                why: "signature expired".into(),
            },
            1 => LookupError::ServerFailure {
                name,
                why: "Server Failure".into(),
            },
            _ => LookupError::Timeout {
                name,
                after: Duration::from_secs(6),
            },
        };
        self.pair.west.dns.insert(query, Err(error));
    }
}

#[test]
fn h1_on_the_path_a_thousand_seeds() {
    let mut tunnels = 0;
    for seed in 0..SEEDS {
        let failure = [Failure::Drop, Failure::Pass][seed as usize % 2];
        let pair = victims(true, failure);
        let mut path = Path {
            truth: pair.west.dns.clone(),
            pair,
            evil: attacker(),
            seen: Vec::new(),
            late: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        for second in 0..SECONDS {
            path.second();
            let story = || format!("seed {seed}, second {second}\n{}", trace(&path.pair));
            assert!(path.evil.sas().is_empty(), "{}", story());
            let clear = |v: &Outbound| matches!(v, Outbound::Pass { .. });
            assert!(
                failure == Failure::Pass || !path.pair.west.released.iter().any(clear),
                "{}",
                story()
            );
        }
        tunnels += u64::from(!path.pair.west.sas().is_empty());
    }
    // He lets enough pass for what he does to matter.
    assert!(tunnels > SEEDS / 10, "{tunnels} tunnels with the real one");
}
