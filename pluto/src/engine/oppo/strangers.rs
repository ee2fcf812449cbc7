//! Gateways that DNS names and that have never answered us. Anybody can name anybody in his records, so what is sent to them
//! is bounded: one first message of Main Mode to an address at a time, whatever keys and destinations it is for, two packets a
//! minute to an address, two packets for a destination, and a rate for all of them together.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use ike::crypto::{Cipher, Group, Hash};
use ike::proposal::{IkeAlgorithms, IkeSuite};

use super::failure::{self, Gateways};
use super::{Oppo, Pair};
use crate::engine::connection::ConnId;
use crate::engine::limiter::Bucket;
use crate::engine::{Connection, Engine, Time};

/// How long it counts that a gateway has answered a first message.
const ANSWERED: Duration = Duration::from_secs(24 * 3600);
/// An address that was sent a first message and its copy, and has not answered, is sent nothing for so long.
const PAUSE: Duration = Duration::from_secs(60);
/// First messages to strangers that may go at once, and more a minute after that.
const RATE: (u32, u32) = (64, 240);
/// Gateways that may leave one destination's attempt without an answer.
pub(super) const MAX_SILENT: u32 = 2;
/// Until the copy of a first message goes to a stranger, or another gateway is tried in its place.
const COPY_AFTER: Duration = Duration::from_secs(1);
const NEXT_AFTER: Duration = Duration::from_secs(3);
/// Until a stranger that got the copy is given up.
const LAST_WAIT: Duration = Duration::from_secs(4);

/// What is remembered of gateways that have not answered, and of those that have.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    answered: Gateways,
    asked: Gateways,
    /// Instances whose first message waits until the one under way to the same address is answered or given up.
    waiting: HashMap<IpAddr, VecDeque<ConnId>>,
    bucket: Bucket,
}

/// Whether a first message may go.
enum Turn {
    Now,
    Later,
    Never(String, Duration),
}

/// What is offered to a stranger: little, so that the message is short. Every FreeS/WAN knows the second.
fn brief_offer() -> IkeAlgorithms {
    let suite = |cipher, hash, group| IkeSuite {
        cipher,
        hash,
        group,
    };
    IkeAlgorithms {
        suites: vec![
            suite(Cipher::AES256, Hash::SHA2_256, Group::ECP256),
            suite(Cipher::TRIPLE_DES, Hash::SHA1, Group::MODP1536),
        ],
        strict: false,
    }
}

impl Oppo {
    /// Whether a gateway has answered us within a day.
    fn has_answered(&self, now: Time, gateway: IpAddr) -> bool {
        self.strangers.answered.contains(now, gateway) || self.known.contains(now, gateway)
    }

    /// Whether a gateway was sent a first message a moment ago and has not answered.
    pub(super) fn asked_lately(&self, now: Time, gateway: IpAddr) -> bool {
        self.strangers.asked.contains(now, gateway)
    }
}

impl Engine {
    /// Whether the peer of an instance is a gateway that has never answered: it gets a short first message, and what is offered in it.
    pub(crate) fn brief_for(&self, now: Time, conn: &Connection) -> Option<IkeAlgorithms> {
        let gateway = conn.that.host?;
        let stranger =
            self.is_opportunistic_instance(conn.id()) && !self.oppo.has_answered(now, gateway);
        stranger.then(|| conn.algorithms.ike.clone().unwrap_or_else(brief_offer))
    }

    /// How long to wait for an answer to the next copy of a first message, of which so many have gone; nothing if no more may go. None if
    /// the peer of this instance is no stranger.
    pub(crate) fn patience_with(
        &self,
        now: Time,
        id: ConnId,
        gone: u32,
    ) -> Option<Option<Duration>> {
        let conn = self.conns.get(id)?;
        let gateway = conn.that.host?;
        if !self.is_opportunistic_instance(id) || self.oppo.has_answered(now, gateway) {
            return None;
        }
        // A destination is worth two packets: to one gateway, or one to each of two.
        let attempt = conn.clients().and_then(|clients| {
            let pair = (clients.ours.addr(), clients.theirs.addr());
            self.oppo.attempts.get(&pair)
        });
        let alone = attempt.is_none_or(|attempt| attempt.waiting.is_empty() && attempt.silent == 0);
        Some(match (gone, alone) {
            (0, true) => Some(COPY_AFTER),
            (0, false) => Some(NEXT_AFTER),
            (1, true) => Some(LAST_WAIT),
            _ => None,
        })
    }

    /// Negotiates an instance once it may.
    pub(super) fn take_turn(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let (Some(gateway), Some(clients)) = (conn.that.host, conn.clients()) else {
            return;
        };
        let pair = (clients.ours.addr(), clients.theirs.addr());
        match self.turn_of(now, id, gateway) {
            Turn::Now => {
                self.oppo.counts.initiated += 1;
                let attempt = self.oppo.attempts.get(&pair);
                let watcher = attempt.and_then(|attempt| attempt.clients.first().copied());
                self.ike_initiate(now, id, watcher);
            }
            Turn::Later => {
                let waiting = self.oppo.strangers.waiting.entry(gateway).or_default();
                waiting.push_back(id);
            }
            Turn::Never(why, life) => self.instance_failed(now, id, why, life),
        }
    }

    fn turn_of(&mut self, now: Time, id: ConnId, gateway: IpAddr) -> Turn {
        if self.phase1_for(id, false).is_some() {
            return Turn::Now;
        }
        if self.first_message_open(gateway) {
            return Turn::Later;
        }
        if self.oppo.failed.contains(now, gateway) || self.oppo.asked_lately(now, gateway) {
            let why = format!("gateway {gateway} did not answer lately");
            return Turn::Never(why, failure::after_negotiation() / 5);
        }
        if self.oppo.has_answered(now, gateway) {
            return Turn::Now;
        }
        let strangers = &mut self.oppo.strangers;
        if !strangers.bucket.take(now, RATE.0, RATE.1) {
            let why = "too many gateways that have never answered";
            return Turn::Never(why.to_owned(), failure::CROWDED);
        }
        strangers.asked.insert(now, gateway, PAUSE);
        Turn::Now
    }

    /// A gateway has answered a first message.
    pub(crate) fn oppo_gateway_answered(&mut self, now: Time, gateway: IpAddr) {
        let strangers = &mut self.oppo.strangers;
        strangers.asked.remove(gateway);
        strangers.answered.insert(now, gateway, ANSWERED);
        self.first_message_over(now, gateway);
    }

    /// The first message to an address is under way no longer: whoever waited for that goes on.
    pub(crate) fn first_message_over(&mut self, now: Time, gateway: IpAddr) {
        while !self.first_message_open(gateway) {
            let Some(waiting) = self.oppo.strangers.waiting.get_mut(&gateway) else {
                return;
            };
            match waiting.pop_front() {
                Some(id) => self.take_turn(now, id),
                None => {
                    self.oppo.strangers.waiting.remove(&gateway);
                    return;
                }
            }
        }
    }

    /// An instance is no more.
    pub(super) fn leave_queue(&mut self, id: ConnId) {
        let Some(gateway) = self.conns.get(id).and_then(|conn| conn.that.host) else {
            return;
        };
        let waiting = &mut self.oppo.strangers.waiting;
        if let Some(of) = waiting.get_mut(&gateway) {
            of.retain(|other| *other != id);
            if of.is_empty() {
                waiting.remove(&gateway);
            }
        }
    }

    /// One gateway more has left a destination without an answer.
    pub(super) fn count_silent(&mut self, pair: Pair) {
        if let Some(attempt) = self.oppo.attempts.get_mut(&pair) {
            attempt.silent += 1;
        }
    }
}
