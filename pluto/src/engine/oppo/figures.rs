//! What opportunism has done and what it costs, in figures for people.

use core::time::Duration;

use ipsec_types::MagicSpi;

use crate::engine::connection::Routing;
use crate::engine::{Engine, Time};

/// How long something took, over all times.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    times: u32,
    total: Duration,
    most: Duration,
}

impl Spent {
    fn add(&mut self, time: Duration) {
        self.times = self.times.saturating_add(1);
        self.total = self.total.saturating_add(time);
        self.most = self.most.max(time);
    }

    fn text(&self) -> String {
        if self.times == 0 {
            return "none".to_owned();
        }
        format!(
            "{} ms on average, {} ms at most, {} times",
            (self.total / self.times).as_millis(),
            self.most.as_millis(),
            self.times
        )
    }
}

/// How long first packets have waited, and which questions had no answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// For a tunnel.
    tunnels: Spent,
    /// For the verdict that there is none.
    verdicts: Spent,
    pub(super) unanswered: u64,
}

impl Figures {
    /// A destination that was asked for `since` has its tunnel, or the verdict that it gets none.
    pub(super) fn over(&mut self, now: Time, since: Time, tunnel: bool) {
        let spent = match tunnel {
            true => &mut self.tunnels,
            false => &mut self.verdicts,
        };
        spent.add(now - since);
    }
}

impl Engine {
    /// The lines of `whack --status` about them; none without an opportunistic connection.
    pub(crate) fn oppo_figures_status(&self) -> Vec<String> {
        if !self.conns.iter().any(|conn| conn.policy.opportunistic) {
            return Vec::new();
        }
        let instances = self.conns.opportunistic_instances();
        let tunnels = instances
            .filter_map(|id| self.conns.get(id))
            .filter(|conn| conn.routing() == Routing::Tunnel)
            .count();
        let timed = || self.shunts.bare().filter(|(_, bare)| bare.until.is_some());
        let of =
            |wanted: fn(MagicSpi) -> bool| timed().filter(|(_, bare)| wanted(bare.kind)).count();
        let (clear, dropped) = (
            of(|kind| kind == MagicSpi::Pass),
            of(|kind| matches!(kind, MagicSpi::Drop | MagicSpi::Reject)),
        );
        let (counts, figures) = (self.oppo.counts, self.oppo.figures);
        vec![
            format!(
                "opportunism: now: {tunnels} encrypted, {clear} in the clear, {dropped} dropped, {} being looked up or negotiated",
                self.oppo.attempts.len()
            ),
            format!(
                "opportunism: since the start: {} destinations, {} DNS questions, {} of them unanswered, {} Main Modes begun",
                counts.destinations, counts.lookups, figures.unanswered, counts.initiated
            ),
            format!(
                "opportunism: first packets waited for a tunnel: {}; for the verdict that there is none: {}",
                figures.tunnels.text(),
                figures.verdicts.text()
            ),
        ]
    }
}
