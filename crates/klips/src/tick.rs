//! What happens with time alone: larval SAs that nobody completes, lifetimes, holds that nobody answers.

use crate::home::{Context, Home};
use crate::klips::Klips;
use crate::sadb::State;
use crate::{hold, notify};

/// After this many seconds a larval SA is given up.
pub const LARVAL_LIFE: u64 = 120;

/// See [`Klips::tick`].
pub(crate) fn tick<H: Home>(klips: &mut Klips<H>, cx: &mut Context<'_, H>, budget: usize) {
    for _ in 0..budget.min(klips.sadb.bound()) {
        if klips.tick_at >= klips.sadb.bound() {
            klips.tick_at = 0;
        }
        let at = klips.tick_at;
        klips.tick_at += 1;
        let Some((_, sa)) = klips
            .sadb
            .iter_from(at)
            .next()
            .filter(|(n, _)| *n as usize == at)
        else {
            continue;
        };
        let over = match sa.state() {
            State::Larval => cx.now.saturating_sub(sa.life.added) > LARVAL_LIFE,
            State::Mature | State::Dying => !notify::age(cx, sa),
            State::Dead => true,
        };
        let id = sa.id;
        if over {
            let _ = klips.sadb.delete_group(&id);
        }
    }
    for _ in 0..budget {
        if !hold::expire_one(klips, cx.now) {
            break;
        }
    }
}
