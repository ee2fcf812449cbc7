//! Sequence numbers set aside for several packets at once, so that a home whose threads seal side by side can send each SA's
//! packets in their order.
//!
//! A home that seals and sends one packet after another needs none of this: [`crate::Klips::outbound`] takes each number as it
//! goes. With several threads a number that is taken while sealing says nothing about when the packet leaves, and a receiver
//! drops what comes later than its replay window is wide (RFC 4303 section 3.4.3). Such a home asks what a packet will be
//! numbered by ([`crate::Klips::plan`]), takes the numbers of a whole batch and its turn to send at one moment ([`Plan::reserve`]),
//! and seals with them ([`crate::Klips::outbound_numbered`]).
//!
//! Not here: turns and sending, which are the home's.

use core::net::IpAddr;

use ipsec_types::Packet as Shown;

use crate::device::DeviceId;
use crate::home::Home;
use crate::klips::Klips;
use crate::outbound::{MAX_NESTING, eroute_of, group, is_ike, next_target};
use crate::packet::ip::protocol;
use crate::packet::{IpHeader, MAX_TRANSFORMS};
use crate::sadb::{Sa, Transform};

/// SAs with sequence numbers that one packet may pass.
const MAX_NUMBERED: usize = MAX_NESTING * MAX_TRANSFORMS;

/// By which SAs packets alike will be numbered. It borrows the tables, so that no SA changes before its numbers are used.
pub struct Plan<'a, H: Home> {
    numbered: [Option<&'a Sa<H>>; MAX_NUMBERED],
    towards: Option<IpAddr>,
}

impl<'a, H: Home> Plan<'a, H> {
    const fn none() -> Self {
        Self {
            numbered: [None; MAX_NUMBERED],
            towards: None,
        }
    }

    /// The far end of the outermost SA. All packets of an SA have the same, so packets with different ones may leave in any
    /// order. `None`: such packets get no sequence numbers.
    #[must_use]
    pub fn towards(&self) -> Option<IpAddr> {
        self.towards
    }

    /// Sets aside the next `count` numbers of each SA.
    #[must_use]
    pub fn reserve(&self, count: u32) -> Numbers<'a, H> {
        Numbers {
            parts: self.numbered.map(|sa| {
                let sa = sa?;
                let next = sa.reserve_sequence(count);
                let end = next.saturating_add(u64::from(count));
                Some(Part { sa, next, end })
            }),
        }
    }

    fn add(&mut self, sa: &'a Sa<H>) {
        let counts = matches!(sa.transform, Transform::Esp { .. } | Transform::Ah(_));
        if counts && let Some(free) = self.numbered.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(sa);
        }
    }
}

/// One SA's numbers: `next` up to, not including, `end`.
struct Part<'a, H: Home> {
    sa: &'a Sa<H>,
    next: u64,
    end: u64,
}

/// Numbers that were set aside. What was not used when this is dropped is given back, where nobody has taken later ones.
pub struct Numbers<'a, H: Home> {
    parts: [Option<Part<'a, H>>; MAX_NUMBERED],
}

impl<H: Home> Numbers<'_, H> {
    /// None: each SA is asked for its next number as it is needed.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            parts: [const { None }; MAX_NUMBERED],
        }
    }

    /// The next number of `sa`; `None` when it has no more (RFC 4303 section 3.3.3).
    pub(crate) fn next(&mut self, sa: &Sa<H>) -> Option<u64> {
        let mut parts = self.parts.iter_mut().flatten();
        match parts.find(|part| core::ptr::eq(part.sa, sa) && part.next < part.end) {
            Some(part) => {
                let number = part.next;
                part.next += 1;
                sa.may_send(number)
            }
            None => sa.next_sequence(),
        }
    }
}

impl<H: Home> Drop for Numbers<'_, H> {
    fn drop(&mut self) {
        for part in self.parts.iter().flatten() {
            part.sa.give_back_sequence(part.next, part.end);
        }
    }
}

/// See [`Klips::plan`].
pub(crate) fn plan<'a, H: Home>(klips: &'a Klips<H>, id: DeviceId, packet: &[u8]) -> Plan<'a, H> {
    let mut plan = Plan::none();
    let Some(physical) = klips.device(id).physical.as_ref() else {
        return plan;
    };
    let Ok(header) = IpHeader::new_checked(packet) else {
        return plan;
    };
    let mut shown = header.selector(packet);
    let found = eroute_of(klips, &header, &shown, packet).map(|e| e.target);
    if is_ike(physical, &shown, found.as_ref()) {
        return plan;
    }
    let mut target = found.filter(|t| t.as_magic().is_none());
    for _ in 0..MAX_NESTING {
        let Some(first) = target.and_then(|target| klips.sadb.get(&target)) else {
            break;
        };
        for sa in group(&klips.sadb, first) {
            plan.add(sa);
            shown = outside(sa, shown);
        }
        plan.towards = Some(first.id.dst);
        target = next_target(klips, &shown, &first.id);
    }
    if plan.numbered.iter().all(Option::is_none) {
        plan.towards = None;
    }
    plan
}

/// What a packet shows to eroutes once `sa` has been applied to it.
fn outside<H: Home>(sa: &Sa<H>, inside: Shown) -> Shown {
    let mut shown = Shown {
        sport: 0,
        dport: 0,
        ..inside
    };
    match &sa.transform {
        Transform::IpIp => {
            shown.proto = match inside.dst {
                IpAddr::V4(_) => protocol::IPIP,
                IpAddr::V6(_) => protocol::IPV6,
            };
            (shown.src, shown.dst) = (sa.source, sa.id.dst);
        }
        Transform::Esp { .. } => {
            shown.proto = protocol::ESP;
            if let Some(encap) = &sa.encap {
                shown.proto = protocol::UDP;
                shown.dst = encap.dst;
                (shown.sport, shown.dport) = (encap.sport, encap.dport);
            }
        }
        Transform::Ah(_) => shown.proto = protocol::AH,
        // A packet that does not get smaller goes as it is.
        Transform::Comp(_) | Transform::None => return inside,
    }
    shown
}
