//! Who makes room when there is too much to do: of the destinations for which DNS has not answered yet, first those that only
//! answer to what somebody has sent in the clear, the oldest first, since anybody can make us answer.

use std::collections::BTreeSet;

use super::Pair;
use super::failure;
use crate::engine::connection::Clients;
use crate::engine::{Engine, Time};

/// Destinations that are being looked up or negotiated at most.
const MAX_ATTEMPTS: usize = 2048;
/// Destinations for which a packet waits for DNS at most: fewer than KLIPS has holds, of which some wait for gateways.
const MAX_HELD: usize = 768;
/// Ports of servers.
const SERVERS: core::ops::Range<u16> = 1..1024;

/// Whose turn comes first when room is needed: whether we have begun, and when it was asked for.
pub(super) type Place = (bool, u64, Pair);

/// Destinations that are being looked up, in the order in which they make room.
#[derive(Debug, Default)]
pub(crate) struct Line {
    last: u64,
    /// Those that DNS has not answered.
    asking: BTreeSet<Place>,
    /// Those of them for which a packet is held.
    held: BTreeSet<Place>,
}

impl Line {
    pub(super) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Whether a packet looks as if this side had begun: it goes to a server's port, or comes from none.
pub(super) fn begins(packet: &Clients) -> bool {
    let (ours, theirs) = (packet.our_protoport, packet.their_protoport);
    match ours.proto {
        6 | 17 => SERVERS.contains(&theirs.port.0) || !SERVERS.contains(&ours.port.0),
        // Of ICMP the kind is not told: most that strangers can cause are answers.
        1 | 58 => false,
        _ => true,
    }
}

impl Engine {
    /// Notes whether a destination waits for DNS, and a packet for it.
    pub(super) fn line_up(&mut self, pair: Pair) {
        let Some(attempt) = self.oppo.attempts.get(&pair) else {
            return;
        };
        let place = (attempt.begins, attempt.serial, pair);
        let asks = attempt.conn.is_none();
        let (asking, held) = (asks, asks && attempt.held);
        let line = &mut self.oppo.line;
        for (set, is_in) in [(&mut line.asking, asking), (&mut line.held, held)] {
            match is_in {
                true => set.insert(place),
                false => set.remove(&place),
            };
        }
    }

    /// A destination is looked up no longer.
    pub(super) fn leave_line(&mut self, place: Place) {
        self.oppo.line.asking.remove(&place);
        self.oppo.line.held.remove(&place);
    }

    /// Makes room for one more destination, in the place of the first that may go for it. False: the new one has the least right to be
    /// looked up.
    pub(super) fn make_room(&mut self, now: Time, begins: bool) -> bool {
        if self.oppo.attempts.len() < MAX_ATTEMPTS {
            return true;
        }
        match self.oppo.line.asking.first().copied() {
            Some((theirs, _, pair)) if begins || !theirs => {
                let why = "too many destinations are being looked up";
                self.attempt_failed_for(now, pair, why, failure::CROWDED);
                true
            }
            _ => false,
        }
    }

    /// As many packets are held as may be: the first to make room gets its verdict, and its look-up goes on.
    pub(super) fn make_hold(&mut self, now: Time) {
        while self.oppo.line.held.len() > MAX_HELD
            && let Some((_, _, pair)) = self.oppo.line.held.pop_first()
        {
            self.wait_no_longer(now, pair, "too many packets wait for DNS");
        }
    }
}
