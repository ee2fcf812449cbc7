//! Traps and holds: a packet that meets a trap is kept, the key daemon is asked, and the packet goes on once there is an answer.

use core::sync::atomic::Ordering;

use ipsec_types::{MagicSpi, Packet as Shown, SaId, Selector, Subnet};

use crate::device::DeviceId;
use crate::eroute::{AddError, Eroute, Held};
use crate::home::{Context, Home};
use crate::klips::Klips;
use crate::numbers::Numbers;
use crate::packet::{IpHeader, Packet};
use crate::verdict::{DropReason, Outbound};
use crate::{notify, outbound};

/// How many holds KLIPS makes out of traps at most: one a pair of hosts that wait for an answer. More packets are dropped
/// without asking, so that one scanning host cannot fill memory.
pub const MAX_HOLDS: usize = 1024;
/// After this many seconds without a packet a hold of KLIPS' own is given up: no daemon took care of it.
pub const HOLD_IDLE: u64 = 600;

/// See [`Klips::trap`]. All that may fail for lack of memory is had before anything changes, so that there is no hold of which
/// no daemon has heard: the next packet asks again.
pub(crate) fn trap<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    id: DeviceId,
    packet: &mut Packet<'_>,
) -> Outbound {
    let Ok(header) = IpHeader::new_checked(packet.bytes()) else {
        return Outbound::Drop(DropReason::Malformed);
    };
    let shown = header.selector(packet.bytes());
    let trapped = klips
        .eroutes
        .lookup_hidden(&shown, header.hidden(packet.bytes()))
        .and_then(|e| Some((e.selector, e.target.as_magic()?)))
        .filter(|(_, magic)| matches!(magic, MagicSpi::Trap | MagicSpi::TrapSubnet));
    // Another thread was faster: there is a hold already, or something better.
    let Some((whole, magic)) = trapped else {
        return outbound::outbound(klips, cx, id, packet, &mut Numbers::none());
    };
    packet.truncate(header.total);
    klips.traps.met.fetch_add(1, Ordering::Relaxed);
    let made = Held::new(id, packet)
        .map_err(DropReason::from)
        .and_then(|held| match magic {
            MagicSpi::TrapSubnet => become_hold(klips, cx, &whole, &shown, held),
            _ => narrow_hold(klips, cx, &whole, &shown, held),
        });
    crate::device::Stats::add(&klips.device(id).stats.tx_dropped, 1);
    match made {
        Ok(()) => Outbound::Held,
        Err(reason) => {
            klips.count_drop(crate::stat::Way::Out, reason);
            Outbound::Drop(reason)
        }
    }
}

/// The trap itself becomes a hold.
fn become_hold<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    whole: &Selector,
    shown: &Shown,
    held: Held<H>,
) -> Result<(), DropReason> {
    let seq = klips.next_acquire();
    let eroute = klips.eroutes.get_mut(whole).ok_or(DropReason::NoEroute)?;
    notify::acquire(cx, seq, eroute, shown)?;
    eroute.target = SaId::magic(MagicSpi::Hold);
    eroute.count(cx.now);
    eroute.keep(held);
    klips.traps.asked.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// A hold for the two hosts alone goes before the trap, as narrow in protocol and ports as the trap is.
fn narrow_hold<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    whole: &Selector,
    shown: &Shown,
    held: Held<H>,
) -> Result<(), DropReason> {
    if klips.eroutes.own_holds().len() >= MAX_HOLDS {
        return Err(DropReason::Shunt);
    }
    let narrow = Selector {
        src: Subnet::host(shown.src),
        dst: Subnet::host(shown.dst),
        proto: if whole.proto == 0 { 0 } else { shown.proto },
        sport: if whole.sport == 0 { 0 } else { shown.sport },
        dport: if whole.dport == 0 { 0 } else { shown.dport },
    };
    if narrow == *whole {
        return become_hold(klips, cx, whole, shown, held);
    }
    let mut hold = Eroute::own_hold(narrow, cx.now)?;
    let clear_too = klips.eroutes.get(whole).is_some_and(Eroute::is_clear_too);
    hold.set_clear_too(clear_too);
    hold.count(cx.now);
    hold.keep(held);
    klips.eroutes.add(hold).map_err(|e| match e {
        AddError::Exists | AddError::Selector | AddError::NoMemory => DropReason::Home,
    })?;
    let seq = klips.next_acquire();
    let asked = match klips.eroutes.get(whole) {
        Some(eroute) => {
            eroute.count(cx.now);
            notify::acquire(cx, seq, eroute, shown)
        }
        None => return Err(DropReason::NoEroute),
    };
    if asked.is_err() {
        drop(klips.eroutes.remove(&narrow));
        return Err(DropReason::Home);
    }
    klips.traps.asked.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// See [`Klips::acquire_lost`].
pub(crate) fn acquire_lost<H: Home>(klips: &mut Klips<H>, message: &[u8]) {
    let Some(shown) = pfkey::Message::reply(message)
        .ok()
        .and_then(|m| m.acquired())
    else {
        return;
    };
    let held = klips
        .eroutes
        .lookup(&shown)
        .map(|e| (e.selector, e.is_own_hold(), e.target));
    let Some((selector, own, target)) = held else {
        return;
    };
    if target.as_magic() != Some(MagicSpi::Hold) {
        return;
    }
    if own {
        drop(klips.eroutes.remove(&selector));
    } else if let Some(eroute) = klips.eroutes.get_mut(&selector) {
        eroute.target = SaId::magic(MagicSpi::TrapSubnet);
        drop(eroute.release());
    }
}

/// Lets the packet of an eroute that was taken out go on, if what covers it now has a use for it: an SA, a pass, or another
/// hold. A trap is no use: the daemon that took the hold away would only be asked again.
pub(crate) fn let_go<H: Home>(klips: &Klips<H>, cx: &mut Context<'_, H>, gone: &Eroute<H>) {
    let Some(held) = gone.release() else {
        return;
    };
    let Ok(header) = IpHeader::new_checked(&held.packet) else {
        return;
    };
    let next = klips
        .eroutes
        .lookup_hidden(&header.selector(&held.packet), header.hidden(&held.packet))
        .map(|e| e.target.as_magic());
    if matches!(next, Some(None | Some(MagicSpi::Pass | MagicSpi::Hold))) {
        cx.out.release(held.device, &held.packet, held.tag);
    }
}

/// Takes out the holds of KLIPS' own making that `whole` covers, now that there is an answer for them all.
pub(crate) fn absorb<H: Home>(klips: &mut Klips<H>, cx: &mut Context<'_, H>, whole: &Selector) {
    while let Some(narrow) = klips
        .eroutes
        .own_holds()
        .iter()
        .find(|n| whole.contains(n))
        .copied()
    {
        match klips.eroutes.remove(&narrow) {
            Some(gone) => let_go(klips, cx, &gone),
            None => return,
        }
    }
}

/// Takes out one hold of KLIPS' own making that nothing has used for long; true if there was one.
pub(crate) fn expire_one<H: Home>(klips: &mut Klips<H>, now: u64) -> bool {
    let idle = |n: &&Selector| {
        klips
            .eroutes
            .get(n)
            .is_none_or(|e| now.saturating_sub(e.last_used()) > HOLD_IDLE)
    };
    let Some(narrow) = klips.eroutes.own_holds().iter().find(idle).copied() else {
        return false;
    };
    klips.eroutes.remove(&narrow).is_some()
}
