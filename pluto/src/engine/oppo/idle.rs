//! Opportunistic tunnels that nobody uses any longer go: KLIPS counts packets, and is asked now and then.

use core::time::Duration;
use std::collections::HashMap;

use crate::engine::connection::{Kind, StateId};
use crate::engine::kernel::Half;
use crate::engine::timers::Timer;
use crate::engine::{Engine, Time};

/// How often the counters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(180);
/// A tunnel that has carried nothing for so long goes.
pub(super) const IDLE: Duration = Duration::from_secs(900);

#[derive(Clone, Copy, Debug)]
struct Usage {
    inbound: u32,
    outbound: u32,
    last: Time,
}

/// What opportunistic tunnels have carried, by the state whose SAs they are.
#[derive(Debug, Default)]
pub(crate) struct Usages(HashMap<StateId, Usage>);

impl Engine {
    /// An IPsec SA is up: watch its use, if it is opportunistic.
    pub(super) fn watch_use(&mut self, now: Time, state: StateId) {
        let usage = Usage {
            inbound: 0,
            outbound: 0,
            last: now,
        };
        self.oppo.usage.0.insert(state, usage);
        self.timers.set(now + LOOK_EVERY, Timer::Use(state));
    }

    /// A state is gone.
    pub(crate) fn forget_use(&mut self, state: StateId) {
        if self.oppo.usage.0.remove(&state).is_some() {
            self.timers.cancel(&Timer::Use(state));
        }
    }

    /// Time to look.
    pub(crate) fn use_timer(&mut self, now: Time, state: StateId) {
        let Some(usage) = self.oppo.usage.0.get(&state) else {
            return;
        };
        if now - usage.last >= IDLE {
            self.oppo.usage.0.remove(&state);
            self.ike_idle(now, state);
            return;
        }
        self.timers.set(now + LOOK_EVERY, Timer::Use(state));
        for half in [Half::In, Half::Out] {
            self.ask_use(now, state, half);
        }
    }

    /// KLIPS has told how many packets have passed.
    pub(crate) fn use_told(&mut self, now: Time, state: StateId, half: Half, packets: u32) {
        self.counted(now, state, half, packets);
        let Some(usage) = self.oppo.usage.0.get_mut(&state) else {
            return;
        };
        let count = match half {
            Half::In => &mut usage.inbound,
            Half::Out => &mut usage.outbound,
        };
        if *count != packets {
            *count = packets;
            usage.last = now;
        }
    }

    /// Whether SAs that end are worth new ones. What is not opportunistic always is.
    pub(crate) fn worth_replacing(&self, now: Time, state: StateId) -> bool {
        let usage = self.oppo.usage.0.get(&state);
        // A packet may have passed since KLIPS was asked last.
        usage.is_none_or(|usage| now - usage.last <= 2 * LOOK_EVERY)
    }

    /// Whether a connection was made for one pair of hosts by opportunism.
    pub(crate) fn is_opportunistic_instance(&self, id: crate::engine::ConnId) -> bool {
        self.conns
            .get(id)
            .is_some_and(|conn| conn.policy.opportunistic && conn.kind == Kind::Instance)
    }
}
