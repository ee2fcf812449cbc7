//! Refusals: a peer that says no to an exchange. Where it has proved to have said so the exchange is over at once, and
//! `keyingtries=` decides whether another is begun, later each time; by opportunism none is. Where anybody may have said it, people hear
//! of it and the exchange goes on.

use core::net::IpAddr;
use std::time::Duration;

use ike::v1::info::Notification;
use ike::v1::main_mode::Objection;
use ike::wire::NotifyType;
use whack::Rc;

use super::table::{Exchange, Name, State};
use crate::engine::connection::StateId;
use crate::engine::{About, Engine, Time};

/// Before the second attempt; doubled before each one after it.
const FIRST_PAUSE: Duration = Duration::from_secs(20);
/// How often it is doubled at most.
const MAX_DOUBLINGS: u32 = 4;

/// Until what the peer has deleted is negotiated anew: others of its kind may just be on their way.
pub(super) const REPLACE_DELAY: Duration = Duration::from_secs(10);
/// SAs that the peer deletes before that were of no use: what replaces them is one attempt more, and not a first one.
const SHORT_LIFE: Duration = Duration::from_secs(60);

/// How long to wait after attempt `tries` was refused.
pub(super) fn pause_after(tries: u32) -> Duration {
    FIRST_PAUSE * (1 << tries.saturating_sub(1).min(MAX_DOUBLINGS))
}

/// Whether an error says that the peer won't have what we ask for, and not that a message came to it damaged or
/// unknown: of the latter the next copy may be whole.
pub(super) fn is_verdict(kind: NotifyType) -> bool {
    kind.is_error()
        && !matches!(
            kind,
            NotifyType::INVALID_PAYLOAD_TYPE
                | NotifyType::INVALID_COOKIE
                | NotifyType::INVALID_MAJOR_VERSION
                | NotifyType::INVALID_MINOR_VERSION
                | NotifyType::INVALID_EXCHANGE_TYPE
                | NotifyType::INVALID_FLAGS
                | NotifyType::INVALID_MESSAGE_ID
                | NotifyType::PAYLOAD_MALFORMED
                | NotifyType::INVALID_HASH_INFORMATION
                | NotifyType::ADDRESS_NOTIFICATION
                | NotifyType::NOTIFY_SA_LIFETIME
                | NotifyType::UNEQUAL_PAYLOAD_LENGTHS
        )
}

/// What would help.
fn hint(kind: NotifyType) -> &'static str {
    match kind {
        NotifyType::NO_PROPOSAL_CHOSEN => {
            ": it accepts none of our proposals, or can't install what was agreed on; compare ike=, esp=, pfs= and type= at both ends, and see its log"
        }
        NotifyType::INVALID_ID_INFORMATION => {
            ": it has no connection for these IDs and subnets; compare leftid=, rightid=, leftsubnet= and rightsubnet= at both ends"
        }
        NotifyType::AUTHENTICATION_FAILED | NotifyType::INVALID_SIGNATURE => {
            ": compare the secret or the public keys at both ends"
        }
        _ => "",
    }
}

/// What people hear of an error that anybody may have sent.
fn seems_to_answer(kind: NotifyType) -> String {
    format!(
        "peer seems to answer {kind}{}. It is in the clear and may be forged, so that we go on trying",
        hint(kind)
    )
}

/// The SPI that an error names. strongSwan, which has chosen no offer, names SPI 0: that is none (RFC 4303 section 2.1).
fn named_spi(notification: &Notification) -> Option<u32> {
    let spi = <[u8; 4]>::try_from(&notification.spi[..]).ok();
    spi.map(u32::from_be_bytes).filter(|spi| *spi != 0)
}

/// Whether an error with this SPI may be about an exchange of Quick Mode.
fn is_named(state: &State, spi: Option<u32>) -> bool {
    spi.is_none_or(|spi| state.offered.iter().any(|(_, offered)| *offered == spi))
}

impl Engine {
    /// An error of the peer, protected by the ISAKMP SA of `under`. Answers whether it is about an exchange of ours.
    pub(super) fn complained(
        &mut self,
        now: Time,
        under: StateId,
        notification: &Notification,
    ) -> bool {
        let kind = notification.kind;
        let spi = named_spi(notification);
        let waits = |state: &&State| {
            state.under.is_some_and(|(id, _)| id == under)
                && matches!(state.exchange, Exchange::Quick(_))
        };
        let Some(peer) = self.ike.states.get(under).map(|state| state.remote.ip()) else {
            return false;
        };
        let about: Vec<StateId> = self
            .ike
            .states
            .phase2_with(peer)
            .filter(waits)
            .filter(|state| is_named(state, spi))
            .map(|state| state.id)
            .collect();
        match about[..] {
            [] => return self.complained_later(under, spi, kind),
            [id] if is_verdict(kind) => self.refused_by_peer(now, id, kind),
            // Of several it may mean any: each goes on, and is over if it is not answered when sent again.
            _ => {
                for id in about {
                    self.loglog(
                        self.about(id),
                        Rc::LogSerious,
                        format!("peer answers {kind}{}", hint(kind)),
                    );
                    if let Some(state) = self.ike.states.get_mut(id) {
                        state.complaint = Some(kind);
                    }
                }
            }
        }
        true
    }

    /// An error about SAs that we have: the peer could not install its end. What it deletes for that goes by its deletion.
    fn complained_later(&mut self, under: StateId, spi: Option<u32>, kind: NotifyType) -> bool {
        let peer = self.ike.states.get(under).map(|state| state.remote.ip());
        let meant = |state: &&State| {
            let named = |(_, offered): &(_, u32)| Some(*offered) == spi;
            state.name.ipsec_established() && state.offered.iter().any(named)
        };
        let id = peer.and_then(|peer| self.ike.states.phase2_with(peer).find(meant));
        let Some(id) = id.map(|state| state.id) else {
            return false;
        };
        if let Some(state) = self.ike.states.get_mut(id) {
            state.complaint = Some(kind);
        }
        let text = format!("peer answers {kind}{}", hint(kind));
        self.loglog(self.about(id), Rc::LogSerious, text);
        true
    }

    /// The peer has deleted SAs that are meant to be there: when which attempt is made to replace them. None where the peer has said
    /// that it does not want them, as often as it may be asked.
    pub(super) fn next_after_delete(&self, now: Time, id: StateId) -> Option<(Duration, u32)> {
        let state = self.ike.states.get(id)?;
        let young = |since: Time| now - since < SHORT_LIFE;
        if state.tries == 0 || !state.established.is_some_and(young) {
            return Some((REPLACE_DELAY, 1));
        }
        let limit = self.conns.get(state.conn)?.lifetimes.keying_tries;
        let refused = state.complaint.is_some() && state.tries == limit;
        // 10 s after the first attempt, and so on as after a refusal.
        (!refused).then(|| (pause_after(state.tries) / 2, state.tries + 1))
    }

    /// The peer has proved to refuse an exchange.
    pub(super) fn refused_by_peer(&mut self, now: Time, id: StateId, kind: NotifyType) {
        let about = self.about(id);
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (name, tries) = (state.name, state.tries);
        self.loglog(
            about,
            Rc::LogSerious,
            format!("peer answers {kind}{}", hint(kind)),
        );
        self.whack_log(
            about,
            Rc::Notification(kind.0),
            format!("{}: refused by the peer: {kind}", name.text()),
        );
        self.attempt_failed(now, id, Some(pause_after(tries)));
    }

    /// An ISAKMP SA is gone: the peer won't answer what was begun over it, which must be begun anew over another.
    pub(super) fn undermined(&mut self, now: Time, under: StateId, peer: IpAddr) {
        // QI2 can't come any more, and who would have sent it begins anew.
        let answered = |state: &&State| {
            matches!(state.name, Name::QuickR0 | Name::QuickR1)
                && state.under.is_some_and(|(id, _)| id == under)
        };
        let answered = self.ike.states.phase2_with(peer).filter(answered);
        let answered: Vec<StateId> = answered.map(|state| state.id).collect();
        for id in answered {
            self.log(self.about(id), "the ISAKMP SA under it is gone");
            self.delete_state(now, id, false);
        }
        let begun = |state: &&State| {
            state.name == Name::QuickI1 && state.under.is_some_and(|(id, _)| id == under)
        };
        let begun = self.ike.states.phase2_with(peer).filter(begun);
        let begun: Vec<(StateId, u32, bool)> = begun
            .map(|state| {
                (
                    state.id,
                    state.tries,
                    matches!(state.exchange, Exchange::Refused),
                )
            })
            .collect();
        for (id, tries, waits) in begun {
            if waits {
                continue;
            }
            if self.is_shutting_down() {
                self.delete_state(now, id, false);
                continue;
            }
            self.log(self.about(id), "the ISAKMP SA under it is gone");
            let limit = self.ike.states.get(id).and_then(|state| {
                let conn = self.conns.get(state.conn)?;
                Some(conn.lifetimes.keying_tries)
            });
            if tries == 1 && limit != Some(1) {
                // Once at once, and whoever watches goes along.
                self.replace(now, id, 2);
                self.delete_state(now, id, false);
            } else {
                self.attempt_failed(now, id, Some(pause_after(tries)));
            }
        }
    }

    /// An attempt that was refused is made again, unless somebody has made it meanwhile.
    pub(super) fn retry(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let (tries, conn, phase1) = (state.tries, state.conn, state.name.is_phase1());
        let newer = |other: StateId| {
            let other = self.ike.states.get(other).filter(|other| other.id > id);
            other.is_some_and(|other| other.name.is_phase1() == phase1)
        };
        if !self.ike.states.of_conn(conn).into_iter().any(newer) {
            self.replace(now, id, tries + 1);
        } else if let Some(state) = self.ike.states.get_mut(id) {
            for quick in core::mem::take(&mut state.pending) {
                self.initiate(now, quick);
            }
        }
        self.delete_state(now, id, false);
    }

    /// Somebody says in the clear that our exchange fails. Before there is an ISAKMP SA a peer has no other way, and some have none for
    /// Quick Mode either, but anybody can say it: it is told, and not believed.
    pub(super) fn complained_in_clear(
        &mut self,
        about: About,
        known: Option<StateId>,
        notification: &Notification,
    ) {
        let kind = notification.kind;
        let known = known.filter(|_| kind.is_error());
        let meant = known.map_or_else(Vec::new, |known| self.may_be_meant(known, notification));
        if meant.is_empty() {
            let text = format!("ignoring informational payload, type {kind}: not encrypted");
            self.loglog(about, Rc::LogSerious, text);
            return;
        }
        let text = seems_to_answer(kind);
        // Whoever watches hears each kind once, however often somebody says it.
        self.loglog(about.watched_by(None), Rc::LogSerious, &text);
        for id in meant {
            let Some(state) = self.ike.states.get_mut(id) else {
                continue;
            };
            let said = match state.name.is_phase1() {
                true => &mut state.complaint,
                false => &mut state.hearsay,
            };
            if said.replace(kind) == Some(kind) {
                continue;
            }
            for about in self.watchers(id) {
                self.whack_log(about, Rc::LogSerious, &text);
            }
        }
    }

    /// The exchanges of ours that wait and that an error in the clear, with the cookies of a state of phase 1, may be about.
    fn may_be_meant(&self, known: StateId, notification: &Notification) -> Vec<StateId> {
        let Some(phase1) = self.ike.states.get(known) else {
            return Vec::new();
        };
        match phase1.exchange {
            Exchange::Main(_) | Exchange::MainJob(_) => vec![known],
            Exchange::Isakmp(_) => {
                let spi = named_spi(notification);
                let waits = |state: &&State| {
                    state.name == Name::QuickI1
                        && state.under.is_some_and(|(under, _)| under == known)
                        && matches!(state.exchange, Exchange::Quick(_))
                        && is_named(state, spi)
                };
                let waiting = self.ike.states.phase2_with(phase1.remote.ip());
                waiting.filter(waits).map(|state| state.id).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whoever waits for a state, and for what is to be negotiated over it.
    fn watchers(&self, id: StateId) -> Vec<About> {
        let Some(state) = self.ike.states.get(id) else {
            return Vec::new();
        };
        let mut all = vec![self.about(id)];
        for pending in &state.pending {
            let about = About::conn(pending.conn)
                .state(id)
                .watched_by(pending.client);
            if all.iter().all(|other| other.client != about.client) {
                all.push(about);
            }
        }
        all
    }

    /// Somebody begins to wait for a state of Main Mode: says what the peer seems to have answered before.
    pub(super) fn tell_complaint(&mut self, id: StateId, about: About) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        if let Some(kind) = state.complaint.filter(|_| state.isakmp().is_none()) {
            self.whack_log(about.state(id), Rc::LogSerious, seems_to_answer(kind));
        }
    }

    /// In place of its identity the peer says something else. What it says before it has read MI3, of whatever kind, is about messages
    /// that it won't be sent again: strongSwan ends an exchange whose first message it meets once more, late, after the second.
    pub(super) fn complained_before_identity(
        &mut self,
        now: Time,
        id: StateId,
        objection: Objection,
    ) {
        let final_word =
            |kind: NotifyType| is_verdict(kind) || objection.before_mi3 && kind.is_error();
        for notification in objection.said.notifications {
            let kind = notification.kind;
            if objection.genuine && final_word(kind) {
                self.refused_by_peer(now, id, kind);
                return;
            }
            if let Some(state) = self.ike.states.get_mut(id)
                && kind.is_error()
            {
                state.complaint = Some(kind);
            }
            self.loglog(
                self.about(id),
                Rc::LogSerious,
                format!("peer answers {kind}{}", hint(kind)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use ike::v1::info::notify_in_clear;
    use ike::wire::{Notify, NotifyType, Protocol};
    use whack::Request;

    use crate::engine::Event;
    use crate::engine::tests::gateway::{net, net_to_net};
    use crate::engine::tests::pair::Pair;

    #[test]
    fn g16_an_error_in_the_clear_about_quick_mode_is_shown_and_not_believed() {
        let mut pair = Pair::new();
        let mut second = net_to_net("second");
        second.left.client = Some(net("10.0.3.0/24"));
        pair.add(second);
        assert_eq!(pair.up("net-to-net"), 0);
        let cookies = pair.west.engine.cookies_of_states()[0];
        let say = |pair: &mut Pair, spi: &[u8]| {
            let notify = Notify::new(Protocol::ESP, spi, NotifyType::NO_PROPOSAL_CHOSEN);
            pair.west.give(Event::Datagram {
                local: "192.1.2.45:500".parse().unwrap(),
                remote: "192.1.2.23:500".parse().unwrap(),
                bytes: notify_in_clear(cookies, &notify, 77),
            });
        };
        pair.cut = true;
        let name = "second".to_owned();
        let client = pair.west.ask(Request::Initiate {
            name,
            asynchronous: false,
        });
        pair.settle();
        let told = |pair: &Pair| {
            let line = "003 \"second\" #3: peer seems to answer NO_PROPOSAL_CHOSEN";
            let said = pair.west.said.iter();
            said.filter(|said| said.starts_with(line)).count()
        };
        say(&mut pair, &[0xff; 4]);
        assert_eq!(told(&pair), 0, "another exchange's SPI");
        for _ in 0..5 {
            say(&mut pair, &[]);
        }
        // Long enough for an error that is believed to be acted on.
        pair.sleep(5);
        assert_eq!(told(&pair), 1, "{:?}", pair.west.said);
        pair.cut = false;
        pair.sleep(30);
        let finished = (client, 0);
        assert!(
            pair.west.finished.contains(&finished),
            "{:?}",
            pair.west.said
        );
        pair.carries("10.0.2.1", "10.0.3.1");
    }
}
