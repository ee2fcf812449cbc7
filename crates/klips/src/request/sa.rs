//! Requests about one SA: GETSPI, ADD, UPDATE, DELETE, GET.

use core::net::IpAddr;

use ipsec_types::{SaId, SaProto, Spi};
use pfkey::{Builder, ExtType, MAX_MESSAGE_LEN, Message, SaFlags, errno};

use super::{Errno, MAX_LARVAL, echo, say};
use crate::device::DeviceId;
use crate::home::{Context, CryptoError, Home};
use crate::ident::Ident;
use crate::klips::Klips;
use crate::lifetime::{Lifetime, Limits};
use crate::natt::Encap;
use crate::notify;
use crate::pfkey_seam::Audience;
use crate::sadb::{Auth, Crypt, Keyed, Sa, Salt, State, Transform};
use crate::transform::{self, Encryption, Mode, SALT, authentication, encryption};

const INVALID: Errno = Errno(errno::EINVAL);
const UNKNOWN: Errno = Errno(errno::EPROTONOSUPPORT);
/// How many SPIs are tried at random, and then in a row, before there is none to be had.
const RANDOM_TRIES: usize = 64;
const ROW_TRIES: u32 = 4096;
/// The highest SPI of an IPCOMP SA: it is the 16 bit CPI (RFC 3173 section 3.3).
const MAX_CPI: u32 = 0xffff;

impl From<CryptoError> for Errno {
    fn from(error: CryptoError) -> Self {
        Self(match error {
            CryptoError::NoMemory => errno::ENOMEM,
            CryptoError::Unsupported => errno::EPROTONOSUPPORT,
            CryptoError::BadKey
            | CryptoError::BadLength
            | CryptoError::BadData
            | CryptoError::BadTag => errno::EINVAL,
        })
    }
}

/// GETSPI: reserves an SPI for a larval SA.
pub(super) fn get_spi<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let proto = sa_proto(message)?;
    let (src, dst) = addresses(message)?;
    let (min, max) = message.spi_range().ok_or(INVALID)?;
    let (min, max) = (min.0.max(Spi::FIRST_USABLE.0), max.0);
    if min > max || (proto == SaProto::Comp && max > MAX_CPI) {
        return Err(INVALID);
    }
    if klips.sadb.larvals() >= MAX_LARVAL {
        return Err(Errno(errno::ENOSPC));
    }
    let id = free_spi(klips, cx.home, proto, dst, min, max).ok_or(Errno(errno::EEXIST))?;
    let life = Lifetime::new(Limits::default(), Limits::default(), cx.now);
    let mut sa = Sa::new(cx.home, id, src, 0, life)?;
    sa.inbound = is_ours(klips, dst);
    let sa = klips.sadb.add(sa)?;
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let reply = Builder::with_header(&mut buffer, *message.header())
        .sa(&notify::describe(sa))
        .addresses(src, dst)
        .finish()?;
    say(cx, Audience::All, reply);
    Ok(())
}

fn free_spi<H: Home>(
    klips: &Klips<H>,
    home: &H,
    proto: SaProto,
    dst: IpAddr,
    min: u32,
    max: u32,
) -> Option<SaId> {
    let free = |spi| {
        Some(SaId {
            dst,
            spi: Spi(spi),
            proto,
        })
        .filter(|id| klips.sadb.get(id).is_none())
    };
    let random = || {
        let mut bytes = [0; 8];
        home.random(&mut bytes);
        let span = u64::from(max - min) + 1;
        min + (u64::from_ne_bytes(bytes) % span) as u32
    };
    (0..RANDOM_TRIES)
        .find_map(|_| free(random()))
        .or_else(|| (min..=max.min(min.saturating_add(ROW_TRIES))).find_map(free))
}

fn sa_proto(message: &Message<'_>) -> Result<SaProto, Errno> {
    message
        .satype()
        .proto()
        .filter(|p| *p != SaProto::Int)
        .ok_or(INVALID)
}

/// Source and destination; an unspecified source is taken as of the destination's family.
fn addresses(message: &Message<'_>) -> Result<(IpAddr, IpAddr), Errno> {
    let (src, dst) = (
        message.src().ok_or(INVALID)?.addr,
        message.dst().ok_or(INVALID)?.addr,
    );
    if dst.is_unspecified() || dst.is_multicast() {
        return Err(INVALID);
    }
    let src = if src.is_unspecified() {
        ipsec_types::unspecified(dst)
    } else {
        src
    };
    if src.is_ipv4() == dst.is_ipv4() {
        Ok((src, dst))
    } else {
        Err(INVALID)
    }
}

fn is_ours<H: Home>(klips: &Klips<H>, address: IpAddr) -> bool {
    let owns = |id| {
        klips
            .device(id)
            .physical
            .as_ref()
            .is_some_and(|p| p.owns(address))
    };
    (0..crate::device::MAX_DEVICES)
        .filter_map(DeviceId::new)
        .any(owns)
}

/// ADD: a complete SA.
pub(super) fn add<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let id = message.said().ok_or(INVALID)?;
    if klips.sadb.get(&id).is_some() {
        return Err(Errno(errno::EEXIST));
    }
    let sa = build(klips, cx, message, id, cx.now)?;
    klips.sadb.add(sa)?;
    echo(cx, Audience::All, message)
}

/// UPDATE: completes a larval SA, or replaces one in use; its group stays.
pub(super) fn update<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let id = message.said().ok_or(INVALID)?;
    let old = klips.sadb.get(&id).ok_or(Errno(errno::ENOENT))?;
    let mut sa = build(klips, cx, message, id, old.life.added)?;
    let old = klips.sadb.get_mut(&id).ok_or(Errno(errno::ENOENT))?;
    if old.state() != State::Larval {
        sa.continue_from(old);
    }
    klips.sadb.replace(sa).map_err(|_| Errno(errno::ENOENT))?;
    echo(cx, Audience::All, message)
}

/// The SA that an ADD or UPDATE describes.
fn build<H: Home>(
    klips: &Klips<H>,
    cx: &Context<'_, H>,
    message: &Message<'_>,
    id: SaId,
    added: u64,
) -> Result<Sa<H>, Errno> {
    let asked = message.sa().ok_or(INVALID)?;
    let (src, dst) = addresses(message)?;
    let proto = sa_proto(message)?;
    if id.spi.is_reserved() || (proto == SaProto::Comp && id.spi.0 > MAX_CPI) {
        return Err(INVALID);
    }
    if proto == SaProto::IpIp && src.is_unspecified() {
        return Err(INVALID);
    }
    if asked.flags.contains(SaFlags::ESN)
        && (asked.replay == 0 || !matches!(proto, SaProto::Esp | SaProto::Ah))
    {
        // Only the window tells the half of a sequence number that is not sent.
        return Err(INVALID);
    }
    let encap = message
        .nat_t()
        .map(|nat_t| encap_of(&nat_t, proto, dst))
        .transpose()?;
    let limits = |l: Option<pfkey::Lifetime>| l.map_or(Limits::default(), of_pfkey);
    let life = Lifetime::new(
        limits(message.lifetime_soft()),
        limits(message.lifetime_hard()),
        added,
    );
    let mut sa = Sa::new(cx.home, id, src, asked.replay.into(), life)?;
    sa.transform = transform_of(cx.home, message, proto)?;
    sa.encap = encap;
    sa.policy = message.selector();
    sa.inbound = sa.policy.is_some() || is_ours(klips, dst);
    sa.flags = asked.flags.0;
    if sa.policy.is_some() {
        sa.flags |= SaFlags::INFLOW.0;
    }
    sa.ident_src = ident(message.ident_src())?;
    sa.ident_dst = ident(message.ident_dst())?;
    sa.advance(State::Mature);
    Ok(sa)
}

fn encap_of(nat_t: &pfkey::NatT, proto: SaProto, dst: IpAddr) -> Result<Encap, Errno> {
    // The drafts' form, on port 500 behind a marker, is of peers that are no more.
    if nat_t.kind != pfkey::NatT::ESP_IN_UDP {
        return Err(Errno(errno::EOPNOTSUPP));
    }
    if proto != SaProto::Esp || nat_t.sport == 0 || nat_t.dport == 0 {
        return Err(INVALID);
    }
    Ok(Encap {
        sport: nat_t.sport,
        dport: nat_t.dport,
        dst,
        original: nat_t.oa,
    })
}

/// NAT_T_NEW_MAPPING: what goes out on an SA in UDP goes elsewhere from now on. An UPDATE would begin its sequence numbers anew,
/// and the peer take its packets for old ones.
pub(super) fn remap<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let spi = message.sa().ok_or(INVALID)?.spi;
    let (old, new) = (
        message.src().ok_or(INVALID)?.addr,
        message.dst().ok_or(INVALID)?.addr,
    );
    let port = message.nat_t().ok_or(INVALID)?.dport;
    if port == 0 || new.is_unspecified() || new.is_multicast() || new.is_ipv4() != old.is_ipv4() {
        return Err(INVALID);
    }
    let id = SaId {
        dst: old,
        spi,
        proto: sa_proto(message)?,
    };
    let sa = klips.sadb.get_mut(&id).ok_or(Errno(errno::ENOENT))?;
    let encap = sa.encap.as_mut().ok_or(INVALID)?;
    (encap.dst, encap.dport) = (new, port);
    echo(cx, Audience::All, message)
}

fn of_pfkey(l: pfkey::Lifetime) -> Limits {
    Limits {
        allocations: l.allocations,
        bytes: l.bytes,
        addtime: l.addtime,
        usetime: l.usetime,
        packets: l.packets,
    }
}

pub(super) fn ident<H: Home>(given: Option<pfkey::Ident<'_>>) -> Result<Ident<H>, Errno> {
    match given {
        Some(i) => Ok(Ident::new(i.kind.number(), i.id, i.text.as_bytes())?),
        None => Ok(Ident::none()),
    }
}

/// Keys the transform that the message names. Algorithms outside the table, single DES first of all, are refused.
fn transform_of<H: Home>(
    home: &H,
    message: &Message<'_>,
    proto: SaProto,
) -> Result<Transform<H>, Errno> {
    let asked = message.sa().ok_or(INVALID)?;
    match proto {
        SaProto::IpIp => Ok(Transform::IpIp),
        SaProto::Ah => auth_of(home, message)?.map(Transform::Ah).ok_or(INVALID),
        SaProto::Esp => {
            let row = match asked.encrypt.0 {
                0 => None,
                id => Some(encryption(id).ok_or(UNKNOWN)?),
            };
            let fits = match (row, asked.auth.0 != 0) {
                (None, authentic) => authentic,
                (Some(row), false) => {
                    row.mode == Mode::Aead
                        || !row.needs_mac() && asked.flags.contains(SaFlags::AH_OUTSIDE)
                }
                (Some(row), true) => row.mode != Mode::Aead,
            };
            if !fits {
                return Err(INVALID);
            }
            let crypt = row.map(|row| crypt_of(home, message, row)).transpose()?;
            let auth = auth_of(home, message)?;
            Ok(Transform::Esp { crypt, auth })
        }
        SaProto::Comp => transform::compression(asked.encrypt.0)
            .map(Transform::Comp)
            .ok_or(UNKNOWN),
        SaProto::Int => Err(INVALID),
    }
}

fn auth_of<H: Home>(home: &H, message: &Message<'_>) -> Result<Option<Auth<H>>, Errno> {
    let asked = message.sa().ok_or(INVALID)?.auth.0;
    if asked == 0 {
        return Ok(None);
    }
    let row = authentication(asked).ok_or(UNKNOWN)?;
    let key = message.key_auth().ok_or(INVALID)?.bytes;
    if key.len() != row.key {
        return Err(INVALID);
    }
    let mac = home.mac(row, key)?;
    Ok(Some(Auth { row, mac }))
}

fn crypt_of<H: Home>(
    home: &H,
    message: &Message<'_>,
    row: &'static Encryption,
) -> Result<Crypt<H>, Errno> {
    let given = message.key_encrypt().map_or(&[][..], |key| key.bytes);
    let (key, behind) = given
        .len()
        .checked_sub(row.salt)
        .and_then(|len| given.split_at_checked(len))
        .ok_or(INVALID)?;
    if !row.keys.contains(&key.len()) || (row.weak)(key) {
        return Err(INVALID);
    }
    let mut salt = Salt([0; SALT]);
    if !behind.is_empty() {
        salt.0 = behind.try_into().map_err(|_| INVALID)?;
    }
    let keyed = match row.mode {
        Mode::Null => Keyed::Null,
        Mode::Cbc | Mode::Ctr => Keyed::Cipher(home.cipher(row, key)?),
        Mode::Aead => Keyed::Aead(home.aead(row, key)?),
    };
    Ok(Crypt {
        row,
        keyed,
        salt,
        key_bits: key.len() * 8,
    })
}

/// DELETE: takes the SA and its whole group away.
pub(super) fn delete<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let id = message.said().ok_or(INVALID)?;
    klips
        .sadb
        .delete_group(&id)
        .map_err(|_| Errno(errno::ESRCH))?;
    echo(cx, Audience::All, message)
}

/// GET: one SA, told to the asker. Keys are never told: KLIPS keeps none, only key schedules.
pub(super) fn get<H: Home>(
    klips: &mut Klips<H>,
    cx: &mut Context<'_, H>,
    message: &Message<'_>,
) -> Result<(), Errno> {
    let id = message.said().ok_or(INVALID)?;
    let sa = klips.sadb.get(&id).ok_or(Errno(errno::ESRCH))?;
    tell(cx, sa, *message.header())
}

pub(super) fn tell<H: Home>(
    cx: &mut Context<'_, H>,
    sa: &Sa<H>,
    header: pfkey::Header,
) -> Result<(), Errno> {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let mut reply = Builder::with_header(&mut buffer, header)
        .sa(&notify::describe(sa))
        .lifetime(ExtType::LifetimeCurrent, &notify::current(cx, &sa.life))
        .limits(
            &notify::limits(&sa.life.hard),
            &notify::limits(&sa.life.soft),
        )
        .addresses(sa.source, sa.id.dst);
    if let Some(ident) = notify::ident(&sa.ident_src) {
        reply = reply.ident_src(&ident);
    }
    if let Some(ident) = notify::ident(&sa.ident_dst) {
        reply = reply.ident_dst(&ident);
    }
    if let Some(policy) = &sa.policy {
        reply = reply.flow(policy);
    }
    if let Some(encap) = &sa.encap {
        reply = reply.nat_t(&pfkey::NatT {
            kind: pfkey::NatT::ESP_IN_UDP,
            sport: encap.sport,
            dport: encap.dport,
            oa: encap.original,
        });
    }
    say(cx, Audience::Sender, reply.finish()?);
    Ok(())
}
