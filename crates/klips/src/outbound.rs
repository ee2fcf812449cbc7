//! What becomes of a packet that was routed to an ipsecN device.
//!
//! Not here: the transforms (`esp`, `ah`, `ipcomp`, `ipip`), or setting holds up (`hold`), which changes tables.

use core::net::IpAddr;

use ipsec_types::{MagicSpi, SaId, Selector};

use crate::device::{Device, DeviceId, Physical, Stats};
use crate::eroute::{Eroute, Held};
use crate::home::{Context, Home};
use crate::klips::Klips;
use crate::natt::IKE_PORTS;
use crate::numbers::Numbers;
use crate::packet::icmp::Problem;
use crate::packet::ip::{protocol, rechecksum_v4};
use crate::packet::{FRAGMENT_HEADER, Hidden, IpHeader, MAX_TRANSFORMS, Packet};
use crate::sadb::{Sa, Sadb, Transform};
use crate::stat;
use crate::verdict::{DropReason, Outbound};
use crate::{ah, answer, esp, ipcomp, ipip, natt, notify, path_mtu};

/// How often the outer packet of one group may meet the eroute of another.
pub(crate) const MAX_NESTING: usize = 3;
/// Nothing smaller is told to a sender: IPv6's least MTU, and less than any IPv4 stack sends TCP with.
const LEAST_MTU_V6: usize = path_mtu::LEAST_V6 as usize;
const LEAST_MTU_V4: usize = 68;

/// Decides about a packet and transforms it. See [`Klips::outbound`].
pub(crate) fn outbound<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    id: DeviceId,
    packet: &mut Packet<'_>,
    numbers: &mut Numbers<'_, H>,
) -> Outbound {
    let device = klips.device(id);
    let verdict = decide(klips, cx, id, packet, numbers).unwrap_or_else(Outbound::Drop);
    count(device, &verdict, packet.len());
    if let Outbound::Drop(reason) = verdict {
        klips.count_drop(stat::Way::Out, reason);
    }
    verdict
}

fn count(device: &Device, verdict: &Outbound, bytes: usize) {
    let stats = &device.stats;
    match verdict {
        Outbound::Transmit { .. } | Outbound::Pass { .. } => {
            Stats::add(&stats.tx_packets, 1);
            Stats::add(&stats.tx_bytes, bytes as u64);
        }
        Outbound::Held | Outbound::Icmp | Outbound::Inject => Stats::add(&stats.tx_dropped, 1),
        Outbound::Trap | Outbound::Room { .. } | Outbound::Drop(DropReason::LinkLocal) => {}
        Outbound::Drop(
            DropReason::NotAttached
            | DropReason::NoEroute
            | DropReason::NoSa
            | DropReason::Unprotected
            | DropReason::Shunt
            | DropReason::Reject
            | DropReason::TooBig
            | DropReason::NoRoom
            | DropReason::Home,
        ) => Stats::add(&stats.tx_dropped, 1),
        Outbound::Drop(_) => Stats::add(&stats.tx_errors, 1),
    }
}

fn decide<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    id: DeviceId,
    packet: &mut Packet<'_>,
    numbers: &mut Numbers<'_, H>,
) -> Result<Outbound, DropReason> {
    let header = IpHeader::new_checked(packet.bytes()).map_err(|_| DropReason::Malformed)?;
    let unless_local = |reason| match is_link_local(header.dst) {
        true => DropReason::LinkLocal,
        false => reason,
    };
    let physical = klips
        .device(id)
        .physical
        .as_ref()
        .ok_or_else(|| unless_local(DropReason::NotAttached))?;
    packet.truncate(header.total);
    let shown = header.selector(packet.bytes());
    let hidden = header.hidden(packet.bytes());
    let found = eroute_of(klips, &header, &shown, packet.bytes());
    let pass = Outbound::Pass {
        physical: physical.index,
        mtu: physical.mtu,
    };
    if is_ike(physical, &shown, found.map(|e| &e.target)) {
        if header.is_v4() && header.dont_fragment && packet.len() > physical.mtu as usize {
            // This host's own, whose stack sees the bigger MTU of ipsecN.
            allow_fragments(packet.bytes_mut(), cx.now);
        }
        return Ok(pass);
    }
    let eroute = found.ok_or_else(|| unless_local(DropReason::NoEroute))?;
    let shunt = eroute.target.as_magic();
    let way = Way {
        physical,
        selector: &eroute.selector,
    };
    let verdict = match shunt {
        None => protect(klips, cx, &way, &eroute.target, header, packet, numbers),
        Some(MagicSpi::Pass) => {
            fit_bare(klips, cx.now, &way, &header, packet).map(|answered| answered.unwrap_or(pass))
        }
        Some(MagicSpi::Drop) => Err(DropReason::Shunt),
        Some(MagicSpi::Reject) => reject(klips, cx.now, &way, &header, packet),
        Some(MagicSpi::Hold) => hold(eroute, id, packet),
        // The packet whose ports are known asks; a hold for this one would hold what the trap is not for.
        Some(MagicSpi::Trap | MagicSpi::TrapSubnet) if is_narrower(&eroute.selector, hidden) => {
            Err(DropReason::Shunt)
        }
        Some(MagicSpi::Trap | MagicSpi::TrapSubnet) => Ok(Outbound::Trap),
    };
    if !matches!(verdict, Ok(Outbound::Trap | Outbound::Room { .. })) {
        eroute.count(cx.now);
    }
    verdict
}

/// Whether an address is of all neighbours on a link, or some: of groups that no router passes on (RFC 5771 section 4, RFC 4291
/// section 2.7).
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => matches!(v6.segments()[0] & 0xff0f, 0xff01 | 0xff02),
    }
}

/// The eroute of a packet: by what it shows, and of what it hides the most protective.
///
/// An ICMP error quotes what came through an SA: it goes back through the SA of that traffic, where its own addresses have none (RFC
/// 4301 section 6.2). In the clear it would show what was protected.
pub(crate) fn eroute_of<'a, H: Home>(
    klips: &'a Klips<H>,
    header: &IpHeader,
    shown: &ipsec_types::Packet,
    packet: &[u8],
) -> Option<&'a Eroute<H>> {
    let found = klips.eroutes.lookup_hidden(shown, header.hidden(packet));
    if found.is_some_and(|e| e.target.as_magic() != Some(MagicSpi::Pass)) {
        return found;
    }
    let Some((_, quoted, hidden)) = header.quoted_by_error(packet) else {
        return found;
    };
    let back = klips.eroutes.lookup_hidden(&quoted.reversed(), hidden);
    back.filter(|e| e.target.as_magic().is_none()).or(found)
}

/// Whether the selector speaks of what the packet hides.
pub(crate) fn is_narrower(selector: &Selector, hidden: Hidden) -> bool {
    match hidden {
        Hidden::Nothing => false,
        Hidden::Ports => selector.sport != 0 || selector.dport != 0,
        Hidden::Protocol => selector.proto != 0,
    }
}

/// IKE's own packets go round KLIPS: from one of our addresses and an IKE port, unless an eroute sends them through
/// an SA to someone else than their destination.
pub(crate) fn is_ike(
    physical: &Physical,
    shown: &ipsec_types::Packet,
    target: Option<&SaId>,
) -> bool {
    let to_its_peer = target.is_none_or(|t| t.as_magic().is_some() || t.dst == shown.dst);
    shown.proto == protocol::UDP
        && IKE_PORTS.contains(&shown.sport)
        && physical.owns(shown.src)
        && to_its_peer
}

/// Where a packet was to go.
struct Way<'a> {
    physical: &'a Physical,
    /// Of the eroute that it met.
    selector: &'a Selector,
}

fn reject<H: Home>(
    klips: &Klips<H>,
    now: u64,
    way: &Way<'_>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<Outbound, DropReason> {
    if !klips.sysctl().icmp || !answer::is_due(header, packet.bytes(), way.selector) {
        return Err(DropReason::Reject);
    }
    let why = (Problem::Prohibited, DropReason::Reject);
    answer::answer(klips, now, way.physical, header, packet, why)
}

/// What becomes of a packet that goes out as it is and is bigger than the device's MTU, if it can't be fragmented on the way: its
/// sender is told. Answers the verdict then, and nothing where the packet may go.
///
/// IPv6 is fragmented by its source alone (RFC 8200 section 5). Where that is this host, whose stack sees the bigger MTU of ipsecN,
/// the home's [`crate::packet::transmit`] does it; TCP is told, and sends smaller segments.
fn fit_bare<H: Home>(
    klips: &Klips<H>,
    now: u64,
    way: &Way<'_>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<Option<Outbound>, DropReason> {
    let mtu = way.physical.mtu;
    if packet.len() <= mtu as usize || !header.dont_fragment {
        return Ok(None);
    }
    let ours = way.physical.owns(header.src);
    if !header.is_v4() && ours && !header.fragment && header.protocol != protocol::TCP {
        return Ok(None);
    }
    if header.is_v4() && !klips.sysctl().fragicmp {
        allow_fragments(packet.bytes_mut(), now);
        return Ok(None);
    }
    if !answer::is_due(header, packet.bytes(), way.selector) {
        return Err(DropReason::TooBig);
    }
    let why = (Problem::TooBig(mtu), DropReason::TooBig);
    answer::answer(klips, now, way.physical, header, packet, why).map(Some)
}

pub(crate) fn hold<H: Home>(
    eroute: &Eroute<H>,
    id: DeviceId,
    packet: &Packet<'_>,
) -> Result<Outbound, DropReason> {
    eroute.keep(Held::new(id, packet)?);
    Ok(Outbound::Held)
}

/// Puts the packet through the SA group `first` names, and through the group of any eroute that the outer packet meets.
fn protect<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    way: &Way<'_>,
    first: &SaId,
    mut header: IpHeader,
    packet: &mut Packet<'_>,
    numbers: &mut Numbers<'_, H>,
) -> Result<Outbound, DropReason> {
    let physical = way.physical;
    let mut target = *first;
    let mut mtu = physical.mtu;
    for _ in 0..MAX_NESTING {
        let sa = klips.sadb.get(&target).ok_or(DropReason::NoSa)?;
        if !group(&klips.sadb, sa).any(Sa::protects) {
            return Err(DropReason::Unprotected);
        }
        let path = group(&klips.sadb, sa)
            .filter_map(|sa| sa.path_mtu.get(cx.now))
            .min();
        mtu = path.map_or(mtu, |path| mtu.min(path));
        usable(cx, &klips.sadb, sa)?;
        let whole = match fit(klips, cx.now, way, (sa, mtu), &header, packet)? {
            Fit::Answered(verdict) => return Ok(verdict),
            Fit::Fits { whole } => whole,
            Fit::InFragments => false,
        };
        if let Some(verdict) = room(&klips.sadb, sa, &header, packet) {
            return Ok(verdict);
        }
        for sa in group(&klips.sadb, sa) {
            apply(klips, cx, sa, packet, whole, numbers)?;
        }
        header = IpHeader::new_checked(packet.bytes()).map_err(|_| DropReason::Malformed)?;
        match next_target(klips, &header.selector(packet.bytes()), &target) {
            Some(next) => {
                // This host would be told what it has to tell others.
                if header.is_v4() && header.dont_fragment {
                    allow_fragments(packet.bytes_mut(), 0);
                    header.dont_fragment = false;
                }
                target = next;
            }
            None => {
                return Ok(Outbound::Transmit {
                    physical: physical.index,
                    mtu,
                });
            }
        }
    }
    Err(DropReason::TooDeep)
}

/// The group that the outer packet of `target`'s group goes through next, if an eroute says so.
pub(crate) fn next_target<H: Home>(
    klips: &Klips<H>,
    outer: &ipsec_types::Packet,
    target: &SaId,
) -> Option<SaId> {
    let found = klips.eroutes.lookup(outer).map(|e| e.target);
    found.filter(|t| t.as_magic().is_none() && t.dst != target.dst)
}

/// The SAs of a group, from the one next to the inner packet.
pub(crate) fn group<'a, H: Home>(
    sadb: &'a Sadb<H>,
    first: &'a Sa<H>,
) -> impl Iterator<Item = &'a Sa<H>> {
    core::iter::successors(Some(first), |sa| sadb.outward(sa)).take(MAX_TRANSFORMS)
}

fn usable<H: Home>(
    cx: &mut Context<'_, H>,
    sadb: &Sadb<H>,
    first: &Sa<H>,
) -> Result<(), DropReason> {
    let mut bare = false;
    for sa in group(sadb, first) {
        if !sa.is_usable() {
            return Err(DropReason::SaNotReady);
        }
        if !notify::age(cx, sa) {
            return Err(DropReason::Expired);
        }
        bare = sa.needs_ah() || bare && !matches!(sa.transform, Transform::Ah(_));
    }
    // What is encrypted alone does not leave (RFC 8221 section 4).
    if bare {
        return Err(DropReason::WrongGroup);
    }
    Ok(())
}

/// The room to be made first, if this packet has not as much as the group takes of it, and a fragment header. What is asked for is
/// what any packet may take, so that it is asked for once.
fn room<H: Home>(
    sadb: &Sadb<H>,
    first: &Sa<H>,
    header: &IpHeader,
    packet: &Packet<'_>,
) -> Option<Outbound> {
    let (mut head, mut tail, mut padding) = (0, 0, 0);
    let mut size = (packet.len(), header.payload);
    for sa in group(sadb, first) {
        let (more_head, more_tail) = sa.room();
        let grown = sa.grown(size.0, size.1);
        padding += (grown.0 - size.0).saturating_sub(more_head);
        (head, tail, size) = (head + more_head, tail + more_tail, grown);
    }
    if first.id.dst.is_ipv6() {
        head += FRAGMENT_HEADER;
    }
    let short = packet.headroom() < head || packet.tailroom() < padding;
    short.then_some(Outbound::Room { head, tail })
}

/// How a packet gets by the MTU.
enum Fit {
    /// It fits. `whole`: routers are to keep it whole too.
    Fits { whole: bool },
    /// It has to go in fragments, and may.
    InFragments,
    /// It does not, and holds the answer to its sender now.
    Answered(Outbound),
}

/// Whether the packet, once protected, is bigger than `mtu`, and what to do then: its sender is told, if it must not be fragmented.
/// Where no answer may be given, and with `fragicmp` off, the outer packet is fragmented instead; so is IPv6 that fits IPv6's least
/// MTU (RFC 2473 section 7.1). And so are this host's own packets in transport mode: told of a smaller MTU the stack would fragment
/// before KLIPS sees them, and there is no ESP in transport mode for fragments (RFC 4303 section 3.1.1).
fn fit<H: Home>(
    klips: &Klips<H>,
    now: u64,
    way: &Way<'_>,
    (first, mtu): (&Sa<H>, u32),
    header: &IpHeader,
    packet: &mut Packet<'_>,
) -> Result<Fit, DropReason> {
    let physical = way.physical;
    let grown = |total| {
        let grow = |(total, header), sa: &Sa<H>| sa.grown(total, header);
        group(&klips.sadb, first)
            .fold((total, header.payload), grow)
            .0
    };
    let may_go_whole = tells_path(klips, first, mtu);
    let mtu = mtu as usize;
    let fits = grown(packet.len()) <= mtu;
    let transport = !group(&klips.sadb, first).any(|sa| matches!(sa.transform, Transform::IpIp));
    if !header.dont_fragment || fits && may_go_whole {
        return Ok(match fits {
            true => Fit::Fits {
                whole: header.dont_fragment,
            },
            false => Fit::InFragments,
        });
    }
    if !fits && klips.sysctl().fragicmp && !(transport && physical.owns(header.src)) {
        let mut told = mtu.saturating_sub(grown(mtu) - mtu) + crate::transform::MAX_BLOCK;
        while grown(told) > mtu && told > 0 {
            told -= 1;
        }
        let least = if header.is_v4() {
            LEAST_MTU_V4
        } else {
            LEAST_MTU_V6
        };
        if !header.is_v4() {
            told = told.max(least);
        }
        let sense = told >= least && packet.len() > told;
        if sense && answer::is_due(header, packet.bytes(), way.selector) {
            let why = (Problem::TooBig(told as u32), DropReason::TooBig);
            let answered = answer::answer(klips, now, physical, header, packet, why);
            return answered.map(Fit::Answered);
        }
    }
    if header.is_v4() && transport {
        // In transport mode this is the header that goes out.
        allow_fragments(packet.bytes_mut(), first.life.packets());
    }
    Ok(match fits {
        true => Fit::Fits { whole: false },
        false => Fit::InFragments,
    })
}

/// Whether a router that takes less is heard when it says so, so that DF may be set (RFC 4301 section 8.1). With `fragicmp` off it
/// would be of no use; where the path is as small as is believed, it may be smaller; and what it says of packets that go to where
/// the peer has moved names no SA.
fn tells_path<H: Home>(klips: &Klips<H>, first: &Sa<H>, mtu: u32) -> bool {
    let moved = |sa: &Sa<H>| sa.encap.as_ref().is_some_and(|to| to.dst != sa.id.dst);
    klips.sysctl().fragicmp
        && mtu > path_mtu::least(first.id.dst.is_ipv4())
        && !group(&klips.sadb, first).any(moved)
}

/// Clears DF; with it the identification may have been 0 in every packet, and fragments are told apart by it.
fn allow_fragments(packet: &mut [u8], number: u64) {
    if let Some([id @ .., flags, _]) = packet.get_mut(4..8) {
        *flags &= !0x40;
        if id.iter().all(|byte| *byte == 0) {
            id.copy_from_slice(&((number % 0xffff + 1) as u16).to_be_bytes());
        }
    }
    rechecksum_v4(packet);
}

fn apply<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    sa: &Sa<H>,
    packet: &mut Packet<'_>,
    whole: bool,
    numbers: &mut Numbers<'_, H>,
) -> Result<(), DropReason> {
    let header = IpHeader::new_checked(packet.bytes()).map_err(|_| DropReason::Malformed)?;
    sa.life.count(packet.len(), cx.now);
    let done = match &sa.transform {
        Transform::None => Err(DropReason::SaNotReady),
        Transform::IpIp => ipip::wrap(sa, &header, packet, whole, klips.sysctl().hidetos),
        Transform::Esp { .. } => {
            esp::seal(sa, &header, packet, numbers).and_then(|()| match &sa.encap {
                Some(encap) => natt::wrap(encap, packet),
                None => Ok(()),
            })
        }
        Transform::Ah(_) => ah::seal(sa, &header, packet, numbers),
        Transform::Comp(_) => ipcomp::compress(cx.home, sa, &header, packet),
    };
    if done == Err(DropReason::SequenceWrapped) {
        notify::kill(cx, sa);
    }
    done
}
