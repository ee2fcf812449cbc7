//! What becomes of an IPsec packet that arrived: undone layer by layer, and held against the policy of its SAs.
//!
//! Not here: the transforms themselves (`esp`, `ah`, `ipcomp`, `ipip`).

use core::net::IpAddr;

use ipsec_types::{SaId, SaProto, Selector, Spi};

use crate::device::{DeviceId, MAX_DEVICES, Stats};
use crate::home::{Context, Home};
use crate::klips::Klips;
use crate::outbound::is_narrower;
use crate::packet::ip::protocol;
use crate::packet::{IpHeader, MAX_TRANSFORMS, Packet};
use crate::sadb::{Sa, Transform};
use crate::stat::Way;
use crate::verdict::{DropReason, Inbound};
use crate::{ah, esp, ipcomp, ipip, natt, notify};

/// Undoes the IPsec of a packet. See [`Klips::inbound`].
pub(crate) fn inbound<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    physical: u32,
    packet: &mut Packet<'_>,
) -> Inbound {
    let Some(device) = device_of(klips, physical).or_else(|| elsewhere(klips, packet.bytes()))
    else {
        klips.count_drop(Way::In, DropReason::NotAttached);
        return Inbound::Drop(DropReason::NotAttached);
    };
    let stats = &klips.device(device).stats;
    match unwrap(klips, cx, packet) {
        Ok(()) => {
            Stats::add(&stats.rx_packets, 1);
            Stats::add(&stats.rx_bytes, packet.len() as u64);
            Inbound::Deliver { device }
        }
        Err(reason) => {
            use DropReason as R;
            // What FreeS/WAN's documentation counts as errors, a missing SA and a replay among them; what a policy refuses, or
            // there is no room for, is dropped.
            let dropped = matches!(
                reason,
                R::SaNotReady
                    | R::Expired
                    | R::Unprotected
                    | R::WrongSource
                    | R::WrongGroup
                    | R::WrongEncapsulation
                    | R::PolicyMismatch
                    | R::NoRoom
                    | R::Home
                    | R::Dummy
                    | R::Congestion
            );
            let counter = if dropped {
                &stats.rx_dropped
            } else {
                &stats.rx_errors
            };
            Stats::add(counter, 1);
            klips.count_drop(Way::In, reason);
            Inbound::Drop(reason)
        }
    }
}

/// Whether an IPCOMP SA is in the group that the packet came on. See [`Klips::may_inflate`].
pub(crate) fn may_inflate<H: Home>(klips: &Klips<H>, packet: &[u8]) -> bool {
    if !klips.sadb.has_ipcomp() {
        return false;
    }
    let Some(sa) = names(klips, packet) else {
        return false;
    };
    // The packet names the outermost SA, or the one next to an IPCOMP that was left out.
    core::iter::successors(Some(sa), |sa| klips.sadb.inward(sa)).any(is_comp)
}

/// The SA that a packet names, an IPCOMP that was left out aside.
pub(crate) fn names<'a, H: Home>(klips: &'a Klips<H>, packet: &[u8]) -> Option<&'a Sa<H>> {
    let header = IpHeader::start(packet)?;
    let id = match header.protocol {
        protocol::UDP => SaId {
            dst: header.dst,
            spi: Spi(natt::spi(&header, packet)?),
            proto: SaProto::Esp,
        },
        _ => said(&header, packet).ok().flatten()?,
    };
    klips.sadb.get(&id)
}

/// The ipsec device for a packet that came by a physical device to which none is attached: routes need not be the same both ways, and
/// a device may be one of several with one cable (macvlan, VRF). It is the one whose physical device has the address that the SA
/// ends at, or else the first that is attached.
fn elsewhere<H: Home>(klips: &Klips<H>, packet: &[u8]) -> Option<DeviceId> {
    let sa = names(klips, packet)?;
    let attached = || {
        let all = (0..MAX_DEVICES).filter_map(DeviceId::new);
        all.filter_map(|id| Some((id, klips.device(id).physical.as_ref()?)))
    };
    let owner = attached().find(|(_, physical)| physical.owns(sa.id.dst));
    owner.or_else(|| attached().next()).map(|(id, _)| id)
}

/// The ipsec device on this physical device.
fn device_of<H: Home>(klips: &Klips<H>, physical: u32) -> Option<DeviceId> {
    let on = |id: &DeviceId| {
        klips
            .device(*id)
            .physical
            .as_ref()
            .is_some_and(|p| p.index == physical)
    };
    (0..MAX_DEVICES).filter_map(DeviceId::new).find(on)
}

fn unwrap<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    packet: &mut Packet<'_>,
) -> Result<(), DropReason> {
    let mut last: Option<&Sa<H>> = None;
    let mut protected = false;
    let header = IpHeader::new_checked(packet.bytes()).map_err(|_| DropReason::Malformed)?;
    let udp = match header.protocol {
        protocol::UDP if header.fragment => return Err(DropReason::Fragment),
        protocol::UDP => {
            packet.truncate(header.total);
            Some(natt::unwrap(&header, packet)?)
        }
        _ => None,
    };
    for _ in 0..=MAX_TRANSFORMS {
        let header = IpHeader::new_checked(packet.bytes()).map_err(|_| DropReason::Malformed)?;
        packet.truncate(header.total);
        if header.fragment {
            return Err(DropReason::Fragment);
        }
        // A sender hides by these how much it has to say.
        if last.is_some() && header.protocol == protocol::NO_NEXT {
            return Err(DropReason::Dummy);
        }
        let Some(id) = said(&header, packet.bytes())? else {
            let last = last.ok_or(DropReason::WrongProtocol)?;
            if !protected {
                return Err(DropReason::Unprotected);
            }
            return finish(klips, cx, last, &header, packet, udp.is_some());
        };
        let sa = klips.sadb.get(&id).ok_or(DropReason::NoSa)?;
        // A peer behind a NAT may come from anywhere, and proves itself below. Not so one that no NAT is in front of.
        let may_move = udp.is_some()
            && sa
                .encap
                .as_ref()
                .is_none_or(|encap| encap.original != Some(sa.source));
        check_place(klips, last, sa, (!may_move).then_some(header.src))?;
        if last.is_none() && sa.encap.is_some() != udp.is_some() {
            return Err(DropReason::WrongEncapsulation);
        }
        use_sa(cx, sa)?;
        if sa.needs_ah() && !last.is_some_and(|outer| matches!(outer.transform, Transform::Ah(_))) {
            return Err(DropReason::WrongGroup);
        }
        match &sa.transform {
            Transform::Esp { .. } => {
                esp::open(sa, &header, packet)?;
                if let (Some(from), Some(encap)) = (udp, &sa.encap) {
                    natt::heard(cx, sa, encap, from);
                }
            }
            Transform::Ah(_) => ah::open(sa, &header, packet)?,
            Transform::Comp(_) => ipcomp::decompress(cx.home, sa, &header, packet)?,
            Transform::None | Transform::IpIp => return Err(DropReason::SaNotReady),
        }
        sa.life.count(packet.len(), cx.now);
        protected |= sa.protects();
        last = Some(sa);
    }
    Err(DropReason::TooDeep)
}

/// The id of the SA that the packet's outermost IPsec header names; none if it has no such header.
fn said(header: &IpHeader, packet: &[u8]) -> Result<Option<SaId>, DropReason> {
    let (proto, spi) = match header.protocol {
        protocol::ESP => (SaProto::Esp, esp::spi(header, packet)),
        protocol::AH => (SaProto::Ah, ah::spi(header, packet)),
        protocol::COMP => (SaProto::Comp, ipcomp::cpi(header, packet)),
        _ => return Ok(None),
    };
    let spi = Spi(spi.ok_or(DropReason::Malformed)?);
    Ok(Some(SaId {
        dst: header.dst,
        spi,
        proto,
    }))
}

fn use_sa<H: Home>(cx: &mut Context<'_, H>, sa: &Sa<H>) -> Result<(), DropReason> {
    if !sa.is_usable() {
        return Err(DropReason::SaNotReady);
    }
    if !notify::age(cx, sa) {
        return Err(DropReason::Expired);
    }
    Ok(())
}

/// Whether a packet may come on this SA after `last`: from the SA's source, if `src` is to be looked at, and in the order of its group. IPCOMP may be
/// missing between, since a packet that does not get smaller goes without.
fn check_place<H: Home>(
    klips: &Klips<H>,
    last: Option<&Sa<H>>,
    sa: &Sa<H>,
    src: Option<IpAddr>,
) -> Result<(), DropReason> {
    if !klips.sysctl().inbound_policy_check {
        return Ok(());
    }
    if !sa.source.is_unspecified() && src.is_some_and(|src| src != sa.source) {
        return Err(DropReason::WrongSource);
    }
    let expected = match last {
        None => sa.outward.is_none() || only_comp_outside(klips, sa),
        Some(last) => klips.sadb.inward(last).is_some_and(|next| {
            let next = if is_comp(next) && !is_comp(sa) {
                klips.sadb.inward(next)
            } else {
                Some(next)
            };
            next.is_some_and(|next| next.id == sa.id)
        }),
    };
    if expected {
        Ok(())
    } else {
        Err(DropReason::WrongGroup)
    }
}

fn is_comp<H: Home>(sa: &Sa<H>) -> bool {
    matches!(sa.transform, Transform::Comp(_))
}

fn only_comp_outside<H: Home>(klips: &Klips<H>, sa: &Sa<H>) -> bool {
    klips
        .sadb
        .outward(sa)
        .is_some_and(|outer| is_comp(outer) && outer.outward.is_none())
}

/// All IPsec headers are off: takes the tunnel's header off, if it is a tunnel, and checks what is inside.
fn finish<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    last: &Sa<H>,
    header: &IpHeader,
    packet: &mut Packet<'_>,
    udp: bool,
) -> Result<(), DropReason> {
    let check = klips.sysctl().inbound_policy_check;
    let mut rest = klips.sadb.inward(last);
    // The policy of transport mode is the innermost SA's, which may be an IPCOMP that was left out.
    let mut own_policy = last.policy;
    if let Some(comp) = rest.filter(|sa| is_comp(sa)) {
        own_policy = own_policy.or(comp.policy);
        rest = klips.sadb.inward(comp);
    }
    let tunnelled = matches!(header.protocol, protocol::IPIP | protocol::IPV6);
    let (policy, inner) = match rest {
        Some(tun) if matches!(tun.transform, Transform::IpIp) && tunnelled => {
            use_sa(cx, tun)?;
            if check && !udp && !tun.source.is_unspecified() && tun.source != header.src {
                return Err(DropReason::WrongSource);
            }
            let inner = ipip::unwrap(header, packet)?;
            tun.life.count(packet.len(), cx.now);
            (tun.policy, inner)
        }
        None if tunnelled && !check => (None, ipip::unwrap(header, packet)?),
        None if !tunnelled => {
            let mut header = *header;
            if udp {
                natt::keep_source(last, &mut header, packet);
                natt::mend(&header, packet);
            }
            (own_policy, header)
        }
        _ => return Err(DropReason::WrongGroup),
    };
    match policy {
        Some(policy) if check && !is_agreed(&policy, &inner, packet.bytes(), !tunnelled) => {
            Err(DropReason::PolicyMismatch)
        }
        _ => Ok(()),
    }
}

/// Whether the SA's policy means this packet, or is one of those packets of ours that it is an ICMP error about (RFC 4301 section
/// 6.2), which routers behind the peer may send as well. What it hides is not agreed on: later fragments do not pass where ports are.
fn is_agreed(policy: &Selector, inner: &IpHeader, packet: &[u8], transport: bool) -> bool {
    if policy.matches(&inner.selector(packet)) && !is_narrower(policy, inner.hidden(packet)) {
        return true;
    }
    let from_there = !transport || policy.src.contains(inner.src);
    let about = |(_, quoted, hidden): (_, ipsec_types::Packet, _)| {
        policy.matches(&quoted.reversed()) && !is_narrower(policy, hidden)
    };
    from_there && inner.quoted_by_error(packet).is_some_and(about)
}
