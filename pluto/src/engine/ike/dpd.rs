//! Dead peer detection (RFC 3706). A tunnel through which nothing has come for `dpddelay=`, while the peer's IKE is silent
//! too, makes us ask the peer over its ISAKMP SA whether it is there; after `dpdtimeout=` of silence it is dead,
//! and `dpdaction=` says what becomes of its tunnels. Questions of a peer are answered always. Opportunistic tunnels are watched so
//! whatever their policy says, and their peers asked when something goes out and nothing comes back.

use core::time::Duration;

use ike::v1::info::Notification;
use ike::wire::{Notify, NotifyType, Protocol};
use rand::Rng;
use whack::{DebugClass, DpdAction, Rc};

use super::IkeTimer;
use super::table::State;
use crate::engine::connection::{ConnId, Kind, StateId, Wanted};
use crate::engine::kernel::Half;
use crate::engine::{Engine, Time, Timer};

/// How often a silent peer is asked at least before it is dead: one lost packet must not kill it.
const QUESTIONS: u32 = 5;
/// The first sequence number is below (RFC 3706 section 5.4: room to grow).
const FIRST_SEQUENCE: u32 = 0x7fff;

/// What is known of a peer's being alive. Of a state of phase 1: what it has said over this ISAKMP SA. Of phase 2: what
/// has come through the tunnel.
#[derive(Clone, Debug, Default)]
pub(super) struct Liveness {
    /// When the peer last proved to be there.
    heard: Time,
    /// Phase 1: the last number that we sent, and that the peer answered; 0 for none.
    sent: u32,
    answered: u32,
    /// Phase 1: the last number that the peer sent.
    received: Option<u32>,
    /// Phase 2: what had gone out when the peer was last heard, or asked.
    outbound: u32,
    /// Phase 2: questions asked since the peer was last heard.
    asked: u32,
    /// Phase 2: it has been told that the peer can't be asked.
    told: bool,
}

impl Liveness {
    /// Heard now.
    pub(super) fn new(now: Time) -> Self {
        Self {
            heard: now,
            ..Self::default()
        }
    }

    pub(super) fn heard_now(&mut self, now: Time) {
        self.heard = now;
    }

    /// The number for the next question: random at first, growing, never 0.
    fn next(&mut self, rng: &mut dyn Rng) -> u32 {
        self.sent = match self.sent {
            0 => 1 + rng.next_u32() % FIRST_SEQUENCE,
            sent => sent.wrapping_add(1).max(1),
        };
        self.sent
    }

    /// A question of the peer: whether it is no old one.
    fn question(&mut self, seq: u32) -> bool {
        let new = self.received.is_none_or(|last| seq > last);
        if new {
            self.received = Some(seq);
        }
        new
    }

    /// An answer of the peer: whether it is one to a question that was asked and not yet answered.
    fn answer(&mut self, seq: u32) -> bool {
        let expected = seq > self.answered && seq <= self.sent;
        if expected {
            self.answered = seq;
        }
        expected
    }
}

impl Engine {
    /// The peer has proved to be there, by a message over its ISAKMP SA.
    pub(super) fn heard(&mut self, now: Time, id: StateId) {
        if let Some(state) = self.ike.states.get_mut(id) {
            state.liveness.heard = now;
            state.doubted = false;
        }
    }

    /// When the peer of an ISAKMP SA was last heard over it.
    pub(super) fn last_heard(&self, id: StateId) -> Option<Time> {
        Some(self.ike.states.get(id)?.liveness.heard)
    }

    /// IPsec SAs of a state are established: watch their peer, if the connection says so.
    pub(super) fn watch_peer(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        state.liveness = Liveness::new(now);
        let conn = self.conns.get(state.conn);
        if let Some(dpd) = conn.and_then(|conn| conn.dpd) {
            self.look_again(now, id, dpd.delay);
        }
    }

    fn look_again(&mut self, now: Time, id: StateId, delay: Duration) {
        self.timers
            .set(now + delay, Timer::Ike(IkeTimer::Liveness(id)));
    }

    /// Time to look whether a peer is there: first in KLIPS, whether something has come through the tunnel.
    pub(super) fn liveness_timer(&mut self, now: Time, id: StateId) {
        let newest = self.ike.states.get(id).is_some_and(|state| {
            let conn = self.conns.get(state.conn);
            state.name.ipsec_established()
                && conn.is_some_and(|conn| conn.live.newest_ipsec == Some(id))
        });
        if newest {
            self.ask_use(now, id, Half::Out);
            self.ask_arrivals_before(now, id);
        }
        if newest && !self.ask_traffic(now, id) {
            self.judge_silence(now, id);
        }
    }

    /// KLIPS has told how many packets have come through the inbound SA of a state, if it knows.
    pub(crate) fn dpd_traffic(&mut self, now: Time, id: StateId, packets: Option<u32>) {
        if let Some(packets) = packets {
            self.counted(now, id, Half::In, packets);
        }
        self.judge_silence(now, id);
    }

    fn judge_silence(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let Some(dpd) = self.conns.get(state.conn).and_then(|conn| conn.dpd) else {
            return;
        };
        let under = self.phase1_for(state.conn, true);
        let said = under.and_then(|under| self.ike.states.get(under));
        let heard = said.map_or(state.liveness.heard, |said| {
            said.liveness.heard.max(state.liveness.heard)
        });
        let (silence, asked) = (now - heard, state.liveness.asked);
        // Who has not been asked while nothing was sent has been silent for long when something is.
        let enough = match self.asks_only_if_used(id) {
            true => QUESTIONS,
            false => 1,
        };
        if silence < dpd.delay {
            if let Some(state) = self.ike.states.get_mut(id) {
                state.liveness.heard = heard;
                state.liveness.asked = 0;
            }
            self.sent_meanwhile(id);
            // The peer lives. Whether the tunnel does is another question.
            self.weigh(now, id, dpd.timeout);
            self.look_again(now, id, dpd.delay.saturating_sub(silence));
        } else if asked >= enough && silence >= dpd.timeout {
            self.peer_is_dead(now, id);
        } else if asked == 0 && self.asks_only_if_used(id) && !self.sent_meanwhile(id) {
            self.look_again(now, id, dpd.delay);
        } else {
            self.ask_peer(now, id, under);
            let apart = (dpd.timeout.saturating_sub(dpd.delay) / QUESTIONS).clamp(
                Duration::from_secs(1),
                dpd.delay.max(Duration::from_secs(1)),
            );
            let left = dpd.timeout.saturating_sub(silence);
            let next = if left.is_zero() {
                apart
            } else {
                apart.min(left)
            };
            self.look_again(now, id, next);
        }
    }

    /// Of thousands of peers that were met once, those are of interest to which something is sent.
    fn asks_only_if_used(&self, id: StateId) -> bool {
        let conn = self.ike.states.get(id).map(|state| state.conn);
        conn.is_some_and(|conn| self.is_opportunistic_instance(conn))
    }

    /// Whether something has gone out since this was asked last.
    fn sent_meanwhile(&mut self, id: StateId) -> bool {
        let state = self.ike.states.get_mut(id);
        state.is_some_and(|state| {
            let outbound = state.trial.outbound();
            core::mem::replace(&mut state.liveness.outbound, outbound) != outbound
        })
    }

    /// Asks the peer of an IPsec SA whether it is there. Without an ISAKMP SA to ask over, one is negotiated, which shows it too.
    pub(super) fn ask_peer(&mut self, now: Time, id: StateId, under: Option<StateId>) {
        let about = self.about(id);
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let conn = state.conn;
        let Some(under) = under else {
            state.liveness.asked += 1;
            if self.phase1_for(conn, false).is_none() {
                self.log(about, "DPD: no ISAKMP SA to ask over: negotiating one");
                self.begin_main(now, conn, None, 0, None, Vec::new());
            }
            return;
        };
        let told = core::mem::replace(&mut state.liveness.told, true);
        if !self.ike.states.get(under).is_some_and(|s| s.peer.dpd) {
            if !told {
                let text = "DPD: the peer does not announce it (RFC 3706), and will not be asked";
                self.log(about, text);
            }
            return;
        }
        if let Some(state) = self.ike.states.get_mut(id) {
            state.liveness.asked += 1;
        }
        self.ask_over(under);
    }

    /// Asks whether the peer of an ISAKMP SA is there.
    pub(super) fn ask_over(&mut self, under: StateId) {
        let Some(phase1) = self.ike.states.get_mut(under) else {
            return;
        };
        let seq = phase1.liveness.next(&mut self.rng);
        self.debug(self.about(under), DebugClass::Lifecycle, || {
            format!("DPD: sending R_U_THERE {seq} over {under}")
        });
        self.send_liveness(under, NotifyType::R_U_THERE, seq);
    }

    /// Whether it is looked after the peer of these IPsec SAs.
    pub(super) fn is_watched(&self, id: StateId) -> bool {
        self.ike.states.get(id).is_some_and(|state| {
            let conn = self.conns.get(state.conn);
            state.name.ipsec_established()
                && conn.is_some_and(|c| c.dpd.is_some() && c.live.newest_ipsec == Some(id))
        })
    }

    fn send_liveness(&mut self, under: StateId, kind: NotifyType, seq: u32) {
        let Some(cookies) = self.ike.states.get(under).map(|state| state.cookies) else {
            return;
        };
        let spi = [cookies.0.0, cookies.1.0].concat();
        let data = seq.to_be_bytes();
        let notify = Notify {
            data: &data,
            ..Notify::new(Protocol::ISAKMP, &spi, kind)
        };
        self.send_notify(under, &notify);
    }

    /// R-U-THERE or its answer, from a peer that has proved to have sent it.
    pub(super) fn liveness_said(&mut self, now: Time, id: StateId, said: &Notification) {
        let (about, kind) = (self.about(id), said.kind);
        let seq = <[u8; 4]>::try_from(&said.data[..]).map(u32::from_be_bytes);
        // That the SPI is this SA's cookies it SHOULD be, and the message is protected by this SA.
        let (Ok(seq), 16) = (seq, said.spi.len()) else {
            let text = format!(
                "DPD: {kind} is malformed: SPI of {} octets (must be 16), data of {} (must be 4)",
                said.spi.len(),
                said.data.len()
            );
            self.loglog_useless(about, Rc::LogSerious, text);
            return;
        };
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let live = &mut state.liveness;
        if kind == NotifyType::R_U_THERE {
            if !live.question(seq) {
                let text = format!("DPD: received old or duplicate R_U_THERE {seq}");
                self.loglog_useless(about, Rc::LogSerious, text);
                return;
            }
            live.heard = now;
            self.send_liveness(id, NotifyType::R_U_THERE_ACK, seq);
        } else if live.answer(seq) {
            live.heard = now;
        } else {
            let text = format!("DPD: unexpected R_U_THERE_ACK with sequence number {seq}");
            self.loglog_useless(about, Rc::LogSerious, text);
        }
    }

    /// The peer of an IPsec SA is dead: its ISAKMP SAs go, and with each of its watched connections is done what that says.
    fn peer_is_dead(&mut self, now: Time, id: StateId) {
        let Some(peer) = self.ike.states.get(id).map(|state| state.remote.ip()) else {
            return;
        };
        let text = "DPD: no response from peer - declaring peer dead";
        self.loglog(self.about(id), Rc::LogSerious, text);
        let same = |state: &&State| self.same_peer(id, state.id);
        let phase1: Vec<StateId> = self
            .ike
            .states
            .phase1_with(peer)
            .filter(|state| state.name.isakmp_established())
            .filter(same)
            .map(|state| state.id)
            .collect();
        let mut watched: Vec<(ConnId, DpdAction, Kind)> = Vec::new();
        for state in self.ike.states.phase2_with(peer).filter(same) {
            if let Some(conn) = self.conns.get(state.conn)
                && let Some(dpd) = conn.dpd
                && !watched.iter().any(|(id, ..)| *id == state.conn)
            {
                watched.push((state.conn, dpd.action, conn.kind));
            }
        }
        for (conn, action, kind) in &watched {
            self.prepare_death(*conn, *action, *kind);
            for state in self.ike.states.of_conn(*conn) {
                let phase2 = self.ike.states.get(state);
                if phase2.is_some_and(|state| !state.name.is_phase1()) {
                    // A peer that was only asleep should know.
                    self.delete_state(now, state, true);
                }
            }
        }
        for state in phase1 {
            self.delete_state(now, state, true);
        }
        for (conn, action, kind) in watched {
            if kind != Kind::Permanent {
                continue;
            }
            match action {
                DpdAction::Hold => self.route_connection(now, conn, None),
                DpdAction::Clear => self.unroute_connection(now, conn, None),
                DpdAction::Restart => self.ike_initiate(now, conn, None),
            }
        }
    }

    /// Says what will be done, and marks the connection, so that what stands meanwhile is right. An instance goes with its
    /// states, whatever the action: where its peer is now, nobody knows.
    fn prepare_death(&mut self, conn: ConnId, action: DpdAction, kind: Kind) {
        let text = match (kind, action) {
            (Kind::Permanent, DpdAction::Hold) => "DPD: putting connection into %trap",
            (Kind::Permanent, DpdAction::Restart) => "DPD: restarting connection",
            _ => "DPD: clearing connection",
        };
        self.log(crate::engine::About::conn(conn), text);
        if let Some(live) = self.conns.live_mut(conn) {
            match (kind, action) {
                (Kind::Permanent, DpdAction::Hold) => live.wanted.routed = true,
                (Kind::Permanent, DpdAction::Restart) => live.wanted.up = true,
                _ => live.wanted = Wanted::default(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn sequence_numbers_grow_and_old_ones_count_for_nothing() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let mut live = Liveness::default();
        let first = live.next(&mut rng);
        assert!((1..=FIRST_SEQUENCE).contains(&first));
        let second = live.next(&mut rng);
        assert_eq!(second, first + 1);
        assert!(!live.answer(second + 1), "never asked");
        assert!(live.answer(second));
        assert!(!live.answer(second), "again");
        assert!(!live.answer(first), "late");
        live.sent = u32::MAX;
        assert_eq!(live.next(&mut rng), 1);

        assert!(live.question(0) && live.question(7));
        assert!(!live.question(7) && !live.question(6));
        assert!(live.question(8));
    }
}
