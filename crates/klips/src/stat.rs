//! How many packets were dropped, by direction and reason: what `/proc/net/klips_stat` shows.
//!
//! Not here: the counters of devices (`device`) and of SAs (`sadb`).

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::verdict::DropReason;

const REASONS: usize = DropReason::ALL.len();

/// Which way a packet went that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It came to this host.
    In,
    /// It was routed to an ipsecN.
    Out,
}

/// The counters of one host.
#[derive(Debug)]
pub struct Drops([[AtomicU64; REASONS]; 2]);

impl Default for Drops {
    fn default() -> Self {
        Self([const { [const { AtomicU64::new(0) }; REASONS] }; 2])
    }
}

impl Drops {
    fn counter(&self, way: Way, reason: DropReason) -> Option<&AtomicU64> {
        self.0.get(way as usize)?.get(reason as usize)
    }

    pub(crate) fn count(&self, way: Way, reason: DropReason) {
        if let Some(counter) = self.counter(way, reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many packets were dropped for `reason`.
    pub fn get(&self, way: Way, reason: DropReason) -> u64 {
        self.counter(way, reason)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Writes one line for each way and reason, in the form of `/proc/net/xfrm_stat`.
    pub(crate) fn write(&self, out: &mut dyn Write) -> fmt::Result {
        for (way, name) in [(Way::In, "In"), (Way::Out, "Out")] {
            for reason in DropReason::ALL {
                let mut length = Length(0);
                write!(length, "Klips{name}{reason:?}")?;
                let gap = WIDTH.saturating_sub(length.0);
                let count = self.get(way, reason);
                writeln!(out, "Klips{name}{reason:?}{:gap$}\t{count}", "")?;
            }
        }
        Ok(())
    }
}

/// How wide a name is shown, as in `/proc/net/xfrm_stat`.
const WIDTH: usize = 28;

/// Counts what is written: a name from `{:?}` is not padded by itself.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}
