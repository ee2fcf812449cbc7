//! X_ADDFLOW and X_DELFLOW: eroutes, and the policies of incoming SAs.

use ipsec_types::{MagicSpi, SaId, SaProto, Selector};
use pfkey::{Builder, ExtType, Lifetime, MAX_MESSAGE_LEN, Message, SaFlags, errno};

use super::{Errno, echo, sa, say, tables};
use crate::eroute::{AddError, Eroute};
use crate::home::{Context, Eroutes, Home};
use crate::klips::Klips;
use crate::pfkey_seam::{Audience, Socket};
use crate::sadb::{Sa, Transform};
use crate::{hold, outbound, packet::MAX_TRANSFORMS};

const INVALID: Errno = Errno(errno::EINVAL);

impl From<AddError> for Errno {
    fn from(error: AddError) -> Self {
        Self(match error {
            AddError::Exists => errno::EEXIST,
            AddError::Selector => errno::EINVAL,
            AddError::NoMemory => errno::ENOMEM,
        })
    }
}

/// ADDFLOW: makes an eroute, but not to an SA group without ESP and AH. With REPLACEFLOW it takes the place of one with the same selector, if there is one; with INFLOW it
/// is the policy of an incoming SA instead.
pub(super) fn add<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let id = message.said().ok_or(INVALID)?;
    let selector = message.selector().ok_or(INVALID)?;
    let flags = message.sa().ok_or(INVALID)?.flags;
    if flags.contains(SaFlags::INFLOW) {
        set_policy(klips, &id, selector)?;
    } else {
        make(klips, cx, message, id, selector, flags)?;
    }
    echo(cx, Audience::All, message)
}

fn make<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
    id: SaId,
    selector: Selector,
    flags: SaFlags,
) -> Result<(), Errno> {
    // A shunt of a number that means nothing would be a hole in the policy.
    if id.proto == SaProto::Int && id.as_magic().is_none() {
        return Err(INVALID);
    }
    // An SA that is not there yet may get its group still; until then packets are dropped.
    let in_the_clear = |first| !outbound::group(&klips.sadb, first).any(Sa::protects);
    if klips.sadb.get(&id).is_some_and(in_the_clear) {
        return Err(Errno(errno::ENOKEY));
    }
    let mut eroute = Eroute::new(selector, id, message.pid(), cx.now)?;
    eroute.set_idents([
        sa::ident(message.ident_src())?,
        sa::ident(message.ident_dst())?,
    ]);
    eroute.set_clear_too(flags.contains(SaFlags::CLEAR_TOO));
    let gone = if flags.contains(SaFlags::REPLACEFLOW) {
        klips.eroutes.remove(&selector)
    } else {
        None
    };
    let lets_in = eroute.lets_in();
    klips.eroutes.add(eroute)?;
    if let Some(gone) = gone {
        hold::let_go(klips, cx, &gone);
    }
    cx.out.eroutes(if lets_in {
        Eroutes::Opened(&selector)
    } else {
        Eroutes::Closed(&selector)
    });
    let is_answer = !matches!(
        id.as_magic(),
        Some(MagicSpi::Hold | MagicSpi::Trap | MagicSpi::TrapSubnet)
    );
    if is_answer {
        hold::absorb(klips, cx, &selector);
    }
    Ok(())
}

/// The policy belongs to the tunnel SA of the group, or in transport mode to the SA itself.
fn set_policy<H: Home>(klips: &mut Klips<H>, id: &SaId, selector: Selector) -> Result<(), Errno> {
    let mut holder = *id;
    for _ in 0..MAX_TRANSFORMS {
        let sa = klips.sadb.get(&holder).ok_or(Errno(errno::ENOENT))?;
        match klips.sadb.inward(sa) {
            Some(inner) if !matches!(sa.transform, Transform::IpIp) => holder = inner.id,
            _ => break,
        }
    }
    let sa = klips.sadb.get_mut(&holder).ok_or(Errno(errno::ENOENT))?;
    sa.policy = Some(selector);
    sa.flags |= SaFlags::INFLOW.0;
    sa.inbound = true;
    Ok(())
}

/// GET of an eroute: where it leads, and how many packets it was found for.
pub(super) fn get<H: Home>(
    klips: &Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let selector = message.selector().ok_or(INVALID)?;
    let eroute = klips.eroutes.get(&selector).ok_or(Errno(errno::ENOENT))?;
    let to = eroute.target.dst;
    let current = Lifetime {
        // As it counts, modulo 2^32.
        packets: eroute.packets() as u32,
        ..Lifetime::NONE
    };
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let reply = Builder::with_header(&mut buffer, *message.header())
        .sa(&pfkey::Sa::of_spi(eroute.target.spi, SaFlags::NONE))
        .lifetime(ExtType::LifetimeCurrent, &current)
        .addresses(ipsec_types::unspecified(to), to)
        .flow(&selector);
    say(cx, Audience::Sender, reply.finish()?);
    Ok(())
}

/// DELFLOW: takes one eroute away, or with CLEARFLOW all.
pub(super) fn delete<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    socket: &mut Socket,
    message: &Message<'_>,
) -> Result<(), Errno> {
    if message
        .sa()
        .is_some_and(|sa| sa.flags.contains(SaFlags::CLEARFLOW))
    {
        return tables::clear_flows(klips, cx, socket, message);
    }
    let selector = message.selector().ok_or(INVALID)?;
    let gone = klips
        .eroutes
        .remove(&selector)
        .ok_or(Errno(errno::ENOENT))?;
    hold::let_go(klips, cx, &gone);
    cx.out.eroutes(Eroutes::Opened(&selector));
    echo(cx, Audience::All, message)
}
