//! ICMP errors about packets that go out: whether one is due, from whom it comes, and how many there may be.
//!
//! Not here: which packets are refused (`outbound`), or the bytes of an ICMP error (`packet::icmp`).

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};

use ipsec_types::{Packet as Shown, Selector};

use crate::device::Physical;
use crate::home::{Home, NoMemory, Vector};
use crate::klips::Klips;
use crate::packet::icmp::{self, Problem};
use crate::packet::ip::protocol;
use crate::packet::{IpHeader, Packet};
use crate::table::HashKey;
use crate::verdict::{DropReason, Outbound};

/// How many errors there may be: `per_second` for ever, and `burst` at once.
struct Rate {
    per_second: u32,
    burst: u32,
}

/// To one sender, as Linux' `icmp_ratelimit` has it. What is too big counts for each destination of a sender by itself, which may
/// each be behind another path.
const TO_ONE: Rate = Rate {
    per_second: 1,
    burst: 6,
};
/// To all senders together, as Linux' `icmp_msgs_per_sec` has it.
const TO_ALL: Rate = Rate {
    per_second: 1000,
    burst: 1000,
};
/// Buckets for senders, by hash: memory does not grow with them, and two may share one.
const BUCKETS: usize = 1024;

/// Token buckets (RFC 4443 section 2.4 (f)). In the upper half of each the second, counted from 1, in which it had as many tokens
/// as are in the lower half; 0: full.
pub(crate) struct Limiter<H: Home> {
    key: HashKey,
    to_one: H::Vec<AtomicU64>,
    to_all: AtomicU64,
}

impl<H: Home> Limiter<H> {
    /// All full. Takes memory once.
    pub fn new(home: &H) -> Result<Self, NoMemory> {
        let mut to_one = H::Vec::new();
        to_one.try_reserve(BUCKETS)?;
        for _ in 0..BUCKETS {
            to_one.try_push(AtomicU64::new(0))?;
        }
        Ok(Self {
            key: HashKey::random(home),
            to_one,
            to_all: AtomicU64::new(0),
        })
    }

    /// Takes a token for an error about this packet, if there is one.
    fn allows(&self, now: u64, header: &IpHeader, problem: Problem) -> bool {
        let halves = |address: IpAddr| match address {
            IpAddr::V4(v4) => [0, u64::from(v4.to_bits())],
            IpAddr::V6(v6) => [(v6.to_bits() >> 64) as u64, v6.to_bits() as u64],
        };
        let [a, b] = halves(header.src);
        let [c, d] = match problem {
            Problem::TooBig(_) => halves(header.dst),
            Problem::Prohibited => [0, 0],
        };
        let at = self.key.hash(&[a, b, c, d]) as usize % BUCKETS;
        let one = self.to_one.get(at);
        one.is_some_and(|bucket| take(bucket, now, &TO_ONE)) && take(&self.to_all, now, &TO_ALL)
    }
}

fn take(bucket: &AtomicU64, now: u64, rate: &Rate) -> bool {
    let second = (now as u32).wrapping_add(1).max(1);
    let taken = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
        let left = match old {
            0 => rate.burst,
            _ => {
                let passed = second.saturating_sub((old >> 32) as u32);
                let more = passed.saturating_mul(rate.per_second);
                (old as u32).saturating_add(more).min(rate.burst)
            }
        };
        let left = left.checked_sub(1)?;
        Some(u64::from(second) << 32 | u64::from(left))
    });
    taken.is_ok()
}

/// Whether an ICMP error may be sent about this packet, which `selector`'s eroute covers: as RFC 1122 section 3.2.2 and RFC 4443
/// section 2.4 (e) say; the eroute tells what a broadcast is.
pub(crate) fn is_due(header: &IpHeader, packet: &[u8], selector: &Selector) -> bool {
    let broadcast = |address: IpAddr, net: &ipsec_types::Subnet| {
        address.is_ipv4() && !net.is_all() && net.prefix() < 31 && address == net.last()
    };
    icmp::may_answer(header, packet)
        && !broadcast(header.dst, &selector.dst)
        && !broadcast(header.src, &selector.src)
}

/// Turns the packet into the ICMP error that is due about it, or drops it for `otherwise`, counted, where there were too many
/// already.
pub(crate) fn answer<H: Home>(
    klips: &Klips<H>,
    now: u64,
    physical: &Physical,
    header: &IpHeader,
    packet: &mut Packet<'_>,
    (problem, otherwise): (Problem, DropReason),
) -> Result<Outbound, DropReason> {
    if packet.headroom() < icmp::HEADERS {
        return Ok(Outbound::Room {
            head: icmp::HEADERS,
            tail: 0,
        });
    }
    if !klips.answers.allows(now, header, problem) {
        klips.icmp_limited.fetch_add(1, Ordering::Relaxed);
        return Err(otherwise);
    }
    let (from, verdict) = if is_behind_tunnel(klips, header) {
        (header.dst, Outbound::Inject)
    } else {
        (own_address(physical, header.is_v4()), Outbound::Icmp)
    };
    icmp::answer(packet, header, from, problem).map_err(|_| DropReason::NoRoom)?;
    Ok(verdict)
}

/// Whether the sender is reached by an SA from where the packet was to go. Its gateway takes nothing from our own address then, as
/// that is not among what the tunnel is for.
fn is_behind_tunnel<H: Home>(klips: &Klips<H>, header: &IpHeader) -> bool {
    let back = Shown {
        src: header.dst,
        dst: header.src,
        proto: if header.is_v4() {
            protocol::ICMP
        } else {
            protocol::ICMPV6
        },
        sport: 0,
        dport: 0,
    };
    let eroute = klips.eroutes.lookup(&back);
    eroute.is_some_and(|eroute| eroute.target.as_magic().is_none())
}

/// The device's first address of the family. The home may know a better one (RFC 1812 section 4.3.2.4).
fn own_address(physical: &Physical, v4: bool) -> IpAddr {
    let mut own = physical.addresses.iter().flatten();
    match own.find(|address| address.is_ipv4() == v4) {
        Some(address) => *address,
        None if v4 => core::net::Ipv4Addr::UNSPECIFIED.into(),
        None => core::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let bucket = AtomicU64::new(0);
        let given = |now, tries: usize| (0..tries).filter(|_| take(&bucket, now, &TO_ONE)).count();
        assert_eq!(given(0, 100), 6);
        assert_eq!(given(0, 100), 0);
        assert_eq!(given(1, 100), 1);
        assert_eq!(given(4, 100), 3);
        assert_eq!(given(1_000_000, 100), 6, "no more than the burst is saved");
    }
}
