//! What people want of connections is kept apart from what the connections are ([`Wanted`](super::connection::Wanted)), and brought about
//! as soon as the world allows it: an address that appears, a default route that is back, a name that resolves, an updown
//! command that works at last.

use core::time::Duration;

use super::Engine;
use super::connection::{ConnId, End, Kind, Wanted};
use super::time::Time;
use super::timers::Timer;

/// Before what has failed is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often it is doubled at most: about a minute.
const MAX_DOUBLINGS: u32 = 6;

impl Engine {
    /// Does what is wanted of a connection and is not so yet, as far as it is possible now. It may be called at any time and any number of
    /// times: what is so already is left alone, and an exchange whose peer is silent sends its message again.
    pub(crate) fn pursue(&mut self, now: Time, id: ConnId) {
        if !self.listening || self.shutting_down {
            return;
        }
        // A group is routed by its blocks; of them alone packets are to be caught.
        let Some(conn) = self.conns.get(id).filter(|conn| conn.kind != Kind::Group) else {
            return;
        };
        if !conn.present() {
            if !conn.oriented() && conn.live.wanted != Wanted::default() {
                self.close_early(now, id);
            }
            return;
        }
        let (wanted, routing) = (conn.live.wanted, conn.routing());
        let route_in_doubt = conn.live.route_in_doubt && routing.routed();
        let negotiable = conn.kind == Kind::Permanent
            && !conn.policy.never_negotiate()
            && conn.that.host.is_some();
        let negotiates = conn.live.states > 0;
        if wanted.routed && !routing.routed() {
            self.route_again(now, id);
        } else if route_in_doubt {
            self.renew_route(now, id);
        }
        if negotiates {
            self.ike_send_again(now, id);
        } else if wanted.up && negotiable {
            self.ike_initiate(now, id, None);
        }
    }

    /// Closes the way to the peer's subnet before our end has its address, where the subnet behind one end tells which end is ours.
    fn close_early(&mut self, now: Time, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let ours = |end: &End| {
            let net = end.client.filter(|_| end.has_client);
            net.is_some_and(|net| self.local.iter().any(|addr| net.contains(*addr)))
        };
        let turned = match (ours(&conn.this), ours(&conn.that)) {
            (true, false) => false,
            (false, true) => true,
            _ => return,
        };
        let known = conn.this.has_client && conn.that.has_client;
        if conn.live.closed || conn.kind != Kind::Permanent || !known {
            return;
        }
        if turned {
            self.conns
                .edit(id, |conn| core::mem::swap(&mut conn.this, &mut conn.that));
        }
        self.close(now, id);
    }

    /// The world has changed in a way that may concern every connection.
    pub(crate) fn pursue_all(&mut self, now: Time) {
        let ids: Vec<ConnId> = self.conns.iter().map(super::Connection::id).collect();
        for id in ids {
            self.pursue(now, id);
        }
    }

    /// What was tried for a connection failed for a reason that may pass by itself: it is tried again, later each time.
    pub(crate) fn pursue_later(&mut self, now: Time, id: ConnId) {
        let Some(live) = self.conns.live_mut(id) else {
            return;
        };
        let pause = FIRST_PAUSE * (1 << live.setbacks.min(MAX_DOUBLINGS));
        live.setbacks = live.setbacks.saturating_add(1);
        self.timers.set(now + pause, Timer::Pursue(id));
    }

    /// Whether nothing has been tried in vain since what was wanted was last so: a failure that repeats is logged once.
    pub(crate) fn first_setback(&self, id: ConnId) -> bool {
        self.conns
            .get(id)
            .is_some_and(|conn| conn.live.setbacks == 0)
    }

    /// What was wanted is so: the next failure is a first one again.
    pub(crate) fn pursued(&mut self, id: ConnId) {
        self.timers.cancel(&Timer::Pursue(id));
        if let Some(live) = self.conns.live_mut(id) {
            live.setbacks = 0;
            live.route_in_doubt = false;
        }
    }
}
