//! Tunnels whose peer may have dropped its end. A Delete of an ISAKMP SA leaves the IPsec SAs that were made with the peer valid
//! (RFC 2408 section 3.15 names each SA that goes), but some peers drop those too and say nothing more. So from then on KLIPS is
//! asked what the tunnel carries: what comes in acquits it, and packets that go out unanswered convict it. Then new IPsec SAs are
//! negotiated while the old ones stay; if that fails for good, the old ones go.
//!
//! `dpd` weighs the tunnels that it watches by the same measure: that the peer answers over an ISAKMP SA says nothing of them. Traffic
//! in one direction alone looks like a dead tunnel, so patience doubles with each conviction that has brought nothing in.

use core::time::Duration;

use super::IkeTimer;
use super::table::State;
use crate::engine::connection::{ConnId, StateId};
use crate::engine::kernel::Half;
use crate::engine::{Engine, Time, Timer};

/// What was under way when the peer sent its Delete has come in by then.
const SETTLE: Duration = Duration::from_secs(1);
/// Between two looks at the counters, at first and while something goes out.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at a tunnel that carries nothing.
const LOOK_IDLE: Duration = Duration::from_secs(15);
/// How long packets go out unanswered before the tunnel is convicted.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of packets that are further apart than this, none is the answer that another waits for.
const APART: Duration = Duration::from_secs(60);
/// One-way traffic costs one Quick Mode in this time in the end.
const MAX_PATIENCE: Duration = Duration::from_secs(3600);

/// What a tunnel carries, as KLIPS has told.
#[derive(Clone, Debug, Default)]
pub(super) struct Trial {
    /// Since when it is on trial, by a Delete of the peer.
    since: Option<Time>,
    /// What comes in from here on counts as an answer; before, the next count is where counting begins.
    counting: bool,
    inbound: u32,
    outbound: u32,
    /// Looks that have seen packets go out since something came in: the first and the last of them.
    unanswered: Option<(Time, Time)>,
    /// The last of them is not judged yet.
    more: bool,
    /// Convictions since something came in, of SAs before these too.
    convictions: u32,
    /// New SAs are to take the place of these.
    convicted: bool,
}

impl Trial {
    /// How many packets have gone out, as was last heard.
    pub(super) fn outbound(&self) -> u32 {
        self.outbound
    }

    /// Of the SAs that take the place of these.
    pub(super) fn inherit(&self) -> Self {
        Self {
            convictions: self.convictions,
            ..Self::default()
        }
    }

    fn went_out(&mut self, now: Time) {
        let first = match self.unanswered {
            Some((first, last)) if now - last <= APART => first,
            _ => now,
        };
        self.unanswered = Some((first, now));
        self.more = true;
    }

    /// Whether packets go out still, and have for long.
    fn is_unanswered(&mut self, patience: Duration) -> bool {
        let more = core::mem::take(&mut self.more);
        let patience = patience
            .saturating_mul(1 << self.convictions.min(16))
            .min(MAX_PATIENCE.max(patience));
        self.unanswered
            .is_some_and(|(first, last)| more && last - first >= patience)
    }
}

impl Engine {
    /// The peer of an ISAKMP SA has deleted it: the tunnels with it are looked at.
    pub(super) fn tunnels_with(&self, under: StateId) -> Vec<StateId> {
        let Some(peer) = self.ike.states.get(under).map(|state| state.remote.ip()) else {
            return Vec::new();
        };
        let stands = |state: &&State| {
            state.name.ipsec_established()
                && state.successor.is_none()
                && self.is_newest(state.id)
                && self.same_peer(under, state.id)
        };
        let states = self.ike.states.phase2_with(peer).filter(stands);
        states.map(|state| state.id).collect()
    }

    /// The peer may have dropped these SAs.
    pub(super) fn put_on_trial(&mut self, now: Time, ids: &[StateId]) {
        for id in ids {
            if let Some(state) = self.ike.states.get_mut(*id) {
                state.trial.since.get_or_insert(now);
                state.trial.counting = false;
                state.trial.unanswered = None;
                self.timers
                    .set(now + SETTLE, Timer::Ike(IkeTimer::Trial(*id)));
            }
        }
    }

    /// Time to look.
    pub(super) fn trial_timer(&mut self, now: Time, id: StateId) {
        let Some(state) = self.ike.states.get(id) else {
            return;
        };
        let Some(since) = state.trial.since.filter(|_| self.is_newest(id)) else {
            return;
        };
        let lately = |(_, last)| now - last <= APART;
        let busy = now - since < APART || state.trial.unanswered.is_some_and(lately);
        let next = if busy { LOOK_EVERY } else { LOOK_IDLE };
        self.timers.set(now + next, Timer::Ike(IkeTimer::Trial(id)));
        self.ask_use(now, id, Half::Out);
        self.ask_arrivals_before(now, id);
        self.ask_use(now, id, Half::In);
    }

    /// Asks what has come in by the SAs that these have replaced: a peer may send by them until they end.
    pub(super) fn ask_arrivals_before(&mut self, now: Time, id: StateId) {
        let Some(conn) = self.ike.states.get(id).map(|state| state.conn) else {
            return;
        };
        for other in self.ike.states.of_conn(conn) {
            let before = self.ike.states.get(other);
            if other != id && before.is_some_and(|state| state.name.ipsec_established()) {
                self.ask_use(now, other, Half::In);
            }
        }
    }

    /// KLIPS has told how many packets an SA of a state has carried.
    pub(crate) fn counted(&mut self, now: Time, id: StateId, half: Half, packets: u32) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let (conn, trial) = (state.conn, &mut state.trial);
        match half {
            Half::Out => {
                if core::mem::replace(&mut trial.outbound, packets) != packets {
                    trial.went_out(now);
                }
            }
            Half::In => {
                let first = !core::mem::replace(&mut trial.counting, true);
                let on_trial = trial.since.is_some() && !first;
                if core::mem::replace(&mut trial.inbound, packets) != packets {
                    state.liveness.heard_now(now);
                    self.came_in(conn, first);
                } else if on_trial && self.is_newest(id) {
                    self.weigh(now, id, PATIENCE);
                }
            }
        }
    }

    /// Something has come in by the SAs of a connection: the tunnel is whole, or was `before` the peer's Delete.
    fn came_in(&mut self, conn: ConnId, before: bool) {
        let newest = self.conns.get(conn).and_then(|conn| conn.live.newest_ipsec);
        let Some(state) = newest.and_then(|newest| self.ike.states.get_mut(newest)) else {
            return;
        };
        let trial = &mut state.trial;
        (trial.unanswered, trial.convictions, trial.convicted) = (None, 0, false);
        if !before {
            trial.since = None;
        }
    }

    /// Judges a tunnel by what KLIPS has told, and has new SAs negotiated for one that is dead.
    pub(super) fn weigh(&mut self, now: Time, id: StateId, patience: Duration) {
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        if !state.trial.is_unanswered(patience) || self.is_under_way(id, false) {
            return;
        }
        let Some(state) = self.ike.states.get_mut(id) else {
            return;
        };
        let (conn, trial) = (state.conn, &mut state.trial);
        let since = trial.unanswered.take().map_or(now, |(first, _)| first);
        (trial.since, trial.convicted) = (None, true);
        trial.convictions += 1;
        let text = format!(
            "packets have gone out for {} s and none has come in: the peer may have dropped these IPsec SAs; negotiating new ones",
            (now - since).as_secs()
        );
        self.log(self.about(id), text);
        let conn = self.conns.get(conn);
        let persist = conn.is_some_and(|conn| conn.live.wanted.up && !conn.policy.dont_rekey);
        self.replace(now, id, persist.into());
    }

    /// What was to take the place of convicted SAs of these connections has failed for good: they carry nothing, and go.
    pub(super) fn convicted_go(&mut self, now: Time, conns: &[ConnId]) {
        for conn in conns {
            let newest = self.conns.get(*conn).and_then(|c| c.live.newest_ipsec);
            let convicted = newest.and_then(|id| self.ike.states.get(id));
            if let Some(id) = convicted.filter(|s| s.trial.convicted).map(|s| s.id) {
                self.log(
                    self.about(id),
                    "deleting IPsec SAs that nothing comes in by",
                );
                self.delete_state(now, id, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_are_far_apart_wait_for_nothing() {
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        let mut trial = Trial::default();
        trial.went_out(at(0));
        trial.went_out(at(70));
        assert!(!trial.is_unanswered(PATIENCE));
        trial.went_out(at(80));
        assert!(trial.is_unanswered(PATIENCE));
        assert!(!trial.is_unanswered(PATIENCE), "nothing more goes");
        trial.went_out(at(85));
        trial.convictions = 1;
        assert!(!trial.is_unanswered(PATIENCE));
        for minute in 0..60 {
            trial.went_out(at(85 + 60 * minute));
        }
        trial.convictions = 40;
        assert!(!trial.is_unanswered(PATIENCE));
        trial.went_out(at(85 + 3600));
        assert!(trial.is_unanswered(PATIENCE));
    }
}
