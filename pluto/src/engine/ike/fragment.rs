//! IKE messages too long for one packet: cut to pieces where the peer understands that, and put together from pieces. Pieces are
//! kept only of peers that have returned our cookie or answered us, and of those no more than a bound.

use core::net::SocketAddr;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ike::wire::{Cookie, Fragment, Header, PayloadType};
use whack::Fragmentation;

use crate::engine::connection::StateId;
use crate::engine::event::Action;
use crate::engine::{About, Engine, Time};

/// The longest packet that is sent whole, what every IPv6 link carries; strongSwan's fragment_size.
const PACKET: usize = 1280;
/// IP, UDP and the non-ESP marker of RFC 3948.
const HEADERS_V4: usize = 20 + 8 + 4;
const HEADERS_V6: usize = 40 + 8 + 4;
/// Longest message put together, and octets of all pieces kept.
const MAX_MESSAGE: usize = 65_507;
const MAX_OCTETS: usize = 1 << 20;
/// How long the pieces of a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shorter messages than this are never cut.
pub(in crate::engine) const WHOLE: usize = PACKET - HEADERS_V6;

type Key = (Cookie, Cookie, SocketAddr);

#[derive(Debug)]
struct Pieces {
    id: u16,
    since: Time,
    last: Option<u8>,
    pieces: BTreeMap<u8, Vec<u8>>,
}

impl Pieces {
    fn octets(&self) -> usize {
        self.pieces.values().map(Vec::len).sum()
    }
}

/// Messages of which some pieces have come, and the number of the next that is cut.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    coming: HashMap<Key, Pieces>,
    octets: usize,
    sent: u16,
}

impl Fragments {
    /// Takes a piece; the message if it was the last one missing.
    fn take(&mut self, now: Time, key: Key, piece: &Fragment<'_>) -> Option<Vec<u8>> {
        self.expire(now);
        if self
            .coming
            .get(&key)
            .is_some_and(|pieces| pieces.id != piece.id)
        {
            self.forget(&key);
        }
        let pieces = self.coming.entry(key).or_insert_with(|| Pieces {
            id: piece.id,
            since: now,
            last: None,
            pieces: BTreeMap::new(),
        });
        if let Entry::Vacant(place) = pieces.pieces.entry(piece.number) {
            self.octets += piece.data.len();
            place.insert(piece.data.to_vec());
        }
        if piece.last {
            pieces.last = Some(piece.number);
        }
        let complete = pieces
            .last
            .is_some_and(|last| pieces.pieces.range(..=last).count() == usize::from(last));
        let too_long = pieces.octets() > MAX_MESSAGE;
        if !complete && !too_long {
            return None;
        }
        let done = self.forget(&key)?;
        let last = done.last?;
        (!too_long).then(|| {
            done.pieces
                .range(..=last)
                .flat_map(|(_, piece)| piece)
                .copied()
                .collect()
        })
    }

    fn forget(&mut self, key: &Key) -> Option<Pieces> {
        let pieces = self.coming.remove(key)?;
        self.octets = self.octets.saturating_sub(pieces.octets());
        Some(pieces)
    }

    /// Forgets what is late, and the oldest of what is too much.
    fn expire(&mut self, now: Time) {
        let late = |pieces: &Pieces| now - pieces.since > PATIENCE;
        let keys: Vec<Key> = self
            .coming
            .iter()
            .filter(|(_, pieces)| late(pieces))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.forget(&key);
        }
        while self.octets > MAX_OCTETS {
            let oldest = self.coming.iter().min_by_key(|(_, pieces)| pieces.since);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            self.forget(&key);
        }
    }
}

impl Engine {
    /// A piece of a message came in. The whole message goes the way of all others.
    pub(super) fn fragment_datagram(
        &mut self,
        now: Time,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) {
        let about = About::from(remote);
        let (header, piece) = match Fragment::new_checked(bytes) {
            Ok(read) => read,
            Err(error) => {
                self.log(about, error.to_string());
                return;
            }
        };
        let key = (header.initiator, header.responder, remote);
        let state = self.exchange_of(&header);
        let state = state.filter(|id| self.may_come(*id, local, remote));
        let conn = state
            .and_then(|id| Some(self.ike.states.get(id)?.conn))
            .or_else(|| Some(self.ike.answers.returned(remote, (key.0, key.1))?.1.conn));
        let Some(conn) = conn.and_then(|conn| self.conns.get(conn)) else {
            self.log(about, "ignoring a fragment of an unknown exchange");
            return;
        };
        if conn.fragmentation == Fragmentation::No {
            self.log(about, "ignoring a fragment: fragmentation=no");
            return;
        }
        let Some(whole) = self.ike.fragments.take(now, key, &piece) else {
            return;
        };
        match Header::new_checked(&whole) {
            Ok(inner)
                if (inner.initiator, inner.responder) == (key.0, key.1)
                    && inner.next_payload != PayloadType::FRAGMENT =>
            {
                self.ike_datagram(now, local, remote, &whole);
            }
            Ok(_) => self.log(about, "fragments make up a message of another exchange"),
            Err(error) => self.log(about, format!("of fragments: {error}")),
        }
    }

    /// The state of phase 1 that a message belongs to, by its cookies.
    fn exchange_of(&self, header: &Header) -> Option<StateId> {
        let states = &self.ike.states;
        states
            .by_cookies((header.initiator, header.responder))
            .or_else(|| states.by_cookies((header.initiator, Cookie::ZERO)))
    }

    /// Sends a message that may be too long for a packet.
    pub(in crate::engine) fn send_long(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let headers = if remote.is_ipv4() {
            HEADERS_V4
        } else {
            HEADERS_V6
        };
        let limit = PACKET - headers;
        let pieces = (bytes.len() > limit && self.may_cut(&bytes))
            .then(|| {
                self.ike.fragments.sent = self.ike.fragments.sent.wrapping_add(1).max(1);
                Fragment::cut(&bytes, self.ike.fragments.sent, limit)
            })
            .flatten();
        for bytes in pieces.unwrap_or_else(|| vec![bytes]) {
            self.actions.push(Action::Send {
                local,
                remote,
                bytes,
            });
        }
    }

    /// Whether the peer of a message takes pieces of it. Of a first message nobody knows.
    fn may_cut(&self, bytes: &[u8]) -> bool {
        let header = Header::new_checked(bytes).ok();
        let state = header
            .filter(|header| !header.responder.is_zero())
            .and_then(|header| self.exchange_of(&header))
            .and_then(|id| self.ike.states.get(id));
        let policy = state.and_then(|state| Some(self.conns.get(state.conn)?.fragmentation));
        match policy {
            Some(Fragmentation::Force) => true,
            Some(Fragmentation::Yes) => state.is_some_and(|state| state.peer.fragmentation),
            Some(Fragmentation::No) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        let addr = format!("192.0.2.{n}:500").parse().unwrap();
        (Cookie([n; 8]), Cookie([9; 8]), addr)
    }

    fn piece(id: u16, number: u8, last: bool, data: &[u8]) -> Fragment<'_> {
        Fragment {
            id,
            number,
            last,
            data,
        }
    }

    #[test]
    fn any_order_and_again() {
        let now = Time::ZERO;
        let mut fragments = Fragments::default();
        assert_eq!(
            fragments.take(now, key(1), &piece(1, 3, true, b"three")),
            None
        );
        assert_eq!(
            fragments.take(now, key(1), &piece(1, 1, false, b"one")),
            None
        );
        assert_eq!(
            fragments.take(now, key(1), &piece(1, 1, false, b"ONE")),
            None
        );
        assert_eq!(
            fragments.take(now, key(2), &piece(1, 2, false, b"two")),
            None
        );
        let whole = fragments.take(now, key(1), &piece(1, 2, false, b"two"));
        assert_eq!(whole.as_deref(), Some(&b"onetwothree"[..]));
        // Another message of the same peer takes the place of one that is not complete.
        assert_eq!(
            fragments.take(now, key(2), &piece(7, 1, true, b"x")),
            Some(b"x".to_vec())
        );
        assert_eq!((fragments.octets, fragments.coming.len()), (0, 0));
    }

    #[test]
    fn memory_is_bounded_and_late_pieces_are_forgotten() {
        let mut fragments = Fragments::default();
        let data = vec![0; 1200];
        for n in 0..=250u8 {
            let now = Time::from_zero(Duration::from_millis(n.into()));
            for number in 1..=50 {
                let whole = fragments.take(now, key(n), &piece(1, number, false, &data));
                assert_eq!(whole, None);
            }
        }
        assert!(fragments.octets <= MAX_OCTETS + MAX_MESSAGE);
        // A message of more than UDP carries is not waited for.
        for number in 51..=55 {
            fragments.take(Time::ZERO, key(250), &piece(1, number, false, &data));
        }
        assert!(!fragments.coming.contains_key(&key(250)));
        fragments.expire(Time::from_zero(Duration::from_secs(60)));
        assert_eq!((fragments.octets, fragments.coming.len()), (0, 0));
    }
}
