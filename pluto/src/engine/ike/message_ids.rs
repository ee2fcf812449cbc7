//! The message ids that have been used under one ISAKMP SA. Each counts once (RFC 2409 appendix B): an authentic message of before
//! that somebody sends again must never count anew, so that ids are never forgotten while the SA lives. An SA that has seen
//! many is replaced in time, and one that has seen too many takes no more.

use std::collections::HashSet;

use crate::engine::connection::StateId;
use crate::engine::{Engine, Time};

/// How many are remembered.
const MOST: usize = 65_536;
/// Of these, for our own messages: what the peer sends can't keep us from telling it that the SA goes.
const OURS: usize = 1024;
/// From here on the SA is to be replaced.
const WORN: usize = MOST / 4 * 3;

/// The ids used under an ISAKMP SA.
#[derive(Debug, Default)]
pub(super) struct MessageIds {
    used: HashSet<u32>,
    replaced: bool,
}

impl MessageIds {
    /// Whether an id has been used.
    pub(super) fn contains(&self, id: u32) -> bool {
        self.used.contains(&id)
    }

    /// Whether a message of the peer's with a new id can still be taken.
    pub(super) fn has_room(&self) -> bool {
        self.used.len() < MOST - OURS
    }

    /// Notes an id; false if it has been used, or if there is no room for it.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        self.used.len() < MOST && self.used.insert(id)
    }

    /// Whether the SA is to be replaced now; once only.
    fn is_worn(&mut self) -> bool {
        let now = self.used.len() >= WORN && !self.replaced;
        self.replaced |= now;
        now
    }
}

impl Engine {
    /// Whether a message of the peer's with this id was taken before.
    pub(super) fn message_id_used(&self, id: StateId, message_id: u32) -> bool {
        let state = self.ike.states.get(id);
        state.is_some_and(|state| state.message_ids.contains(message_id))
    }

    /// Whether an ISAKMP SA takes new message ids; if not it says so, and goes if another has taken its place.
    pub(super) fn takes_message_ids(&mut self, now: Time, id: StateId) -> bool {
        let state = self.ike.states.get(id);
        if state.is_none_or(|state| state.message_ids.has_room()) {
            return true;
        }
        let text =
            format!("message is unacceptable because ISAKMP SA {id} has used all its message ids");
        self.loglog(self.about(id), whack::Rc::LogSerious, text);
        if !self.is_newest(id) {
            self.delete_state(now, id, true);
        }
        false
    }

    /// A message of the peer's with this id has been found genuine.
    pub(super) fn use_message_id(&mut self, now: Time, id: StateId, message_id: u32) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        state.message_ids.insert(message_id);
        if state.message_ids.is_worn() && self.is_newest(id) {
            let text = format!(
                "ISAKMP SA {id} has seen {WORN} messages: replacing it before its message ids run out"
            );
            self.log(self.about(id), text);
            self.replace(now, id, 1);
        }
    }

    /// A message id that was not used under an ISAKMP SA; `None` where all are.
    pub(super) fn new_message_id(&mut self, under: StateId) -> Option<u32> {
        let state = self.ike.states.get_mut(under)?;
        // Random ids of 32 bits seldom meet one of 65,536.
        for _ in 0..1000 {
            let id = rand::Rng::next_u32(&mut self.rng);
            if id != 0 && state.message_ids.insert(id) {
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Event;
    use crate::engine::tests::pair::Pair;
    use ike::wire::{ExchangeType, PayloadType};

    #[test]
    fn a6_message_ids_are_never_forgotten() {
        let mut ids = MessageIds::default();
        let mut worn = 0;
        for id in 1..=200_000 {
            let taken = ids.insert(id);
            assert_eq!(taken, id <= 65_536);
            worn += usize::from(ids.is_worn());
            assert_eq!(ids.has_room(), id < 64_512, "{id}");
        }
        assert_eq!(worn, 1);
        assert!((1..=65_536).all(|id| ids.contains(id) && !ids.insert(id)));
    }

    /// East has seen this many messages of west's under its newest ISAKMP SA.
    fn seen(pair: &mut Pair, count: u32) -> StateId {
        let conn = pair.east.id("net-to-net");
        let live = &pair.east.engine.connections().get(conn).unwrap().live;
        let id = live.newest_isakmp.unwrap();
        let state = pair.east.engine.ike.states.get_mut(id).unwrap();
        for number in 0..count {
            state.message_ids.insert(0x8000_0000 | number);
        }
        id
    }

    /// West says something under its oldest ISAKMP SA.
    fn says(pair: &mut Pair, message_id: u32) {
        let sa = pair.west.engine.isakmp_sas().next().unwrap().clone();
        // Nothing but the hash, and a vendor id.
        let bytes = sa.seal(
            (ExchangeType::INFORMATIONAL, message_id),
            PayloadType::VID,
            &[0, 0, 0, 8, 1, 2, 3, 4],
        );
        pair.east.give(Event::Datagram {
            local: "192.1.2.23:500".parse().unwrap(),
            remote: "192.1.2.45:500".parse().unwrap(),
            bytes,
        });
    }

    #[test]
    fn a6_an_isakmp_sa_is_replaced_before_its_message_ids_run_out() {
        let mut pair = Pair::new();
        assert_eq!(pair.up("net-to-net"), 0);
        says(&mut pair, 7);
        let old = seen(&mut pair, 49_100);
        let begun = |pair: &Pair| {
            let line = |line: &&String| line.contains("initiating Main Mode to replace");
            pair.east.log.iter().filter(line).count()
        };
        assert_eq!(begun(&pair), 0);
        for message_id in 100..200 {
            says(&mut pair, message_id);
        }
        assert_eq!(begun(&pair), 1, "{:#?}", pair.east.log);
        // What is full before it is replaced takes no more, and nothing old counts again.
        seen(&mut pair, 64_600);
        let lines = |pair: &Pair, text: &str| {
            pair.east
                .log
                .iter()
                .filter(|line| line.contains(text))
                .count()
        };
        says(&mut pair, 300);
        assert_eq!(
            lines(&pair, "has used all its message ids"),
            1,
            "{:#?}",
            pair.east.log
        );
        says(&mut pair, 7);
        assert_eq!(
            lines(&pair, "previously used Message ID (0x00000007)"),
            1,
            "{:#?}",
            pair.east.log
        );
        pair.settle();
        pair.sleep(1);
        let newest = seen(&mut pair, 0);
        assert_ne!(newest, old);
        // The new one serves; the old one goes when somebody still uses it.
        says(&mut pair, 301);
        assert!(pair.east.engine.ike.states.get(old).is_none());
        pair.carries("10.0.2.1", "10.0.1.1");
    }
}
