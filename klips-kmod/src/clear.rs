// SPDX-License-Identifier: GPL-2.0

//! In, in the clear: whether a packet that did not come by ipsecN may go on.
//!
//! Not here: what came through an SA (`receive`).

use crate::host::Host;
use crate::sys::clear::goes_by_ipsec;

/// Asks the tables about a packet that came by device number `by` and begins like `start`. In
/// softirq context under RCU.
pub(crate) fn may_go_on(host: &Host, by: u32, start: &[u8], local: bool) -> bool {
    let mut way = None;
    let open = host.look(|klips| {
        let note = |from, to| {
            way = Some((from, to));
            false
        };
        klips.arrived_clear(by, start, local, note).is_ok()
    });
    // The stack is asked for routes outside the gate.
    match way {
        None => open,
        Some((from, to)) if !goes_by_ipsec(&host.net, from, to) => true,
        Some(_) => host.look(|klips| klips.arrived_clear(by, start, local, |_, _| true).is_ok()),
    }
}
