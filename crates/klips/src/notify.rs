//! What KLIPS tells key daemons by itself: EXPIRE and ACQUIRE.

use ipsec_types::{AuthAlg, EncAlg, Packet};
use pfkey::request::{AcquireParams, Ids};
use pfkey::{Comb, IdentType, MAX_MESSAGE_LEN, SaFlags, SaState, SaType};

use crate::eroute::Eroute;
use crate::home::{Context, Home, NoMemory};
use crate::ident::Ident;
use crate::lifetime::{Lifetime, Limits, Standing};
use crate::pfkey_seam::Audience;
use crate::sadb::{Sa, State, Transform};
use crate::transform;

/// The replay window that ACQUIRE proposes, in packets.
const PROPOSED_WINDOW: u8 = 64;
/// The lifetimes that ACQUIRE proposes, in seconds, as KLIPS does.
const PROPOSED_SOFT: u64 = 57_600;
const PROPOSED_HARD: u64 = 86_400;
/// Combinations that ACQUIRE proposes.
const MAX_COMBS: usize = 6;

/// What is used up of an SA, as PF_KEY tells it: the times by today's wall clock.
pub(crate) fn current<H: Home>(cx: &Context<'_, H>, life: &Lifetime) -> pfkey::Lifetime {
    let shown = |then: u64| {
        let ago = cx.now.saturating_sub(then);
        cx.home.since_1970().saturating_sub(ago)
    };
    pfkey::Lifetime {
        allocations: 1,
        bytes: life.bytes(),
        addtime: shown(life.added),
        usetime: match life.first_use() {
            0 => 0,
            then => shown(then),
        },
        packets: life.packets().min(u32::MAX.into()) as u32,
    }
}

/// Limits as PF_KEY tells them.
pub(crate) fn limits(limits: &Limits) -> pfkey::Lifetime {
    let Limits {
        allocations,
        bytes,
        addtime,
        usetime,
        packets,
    } = *limits;
    pfkey::Lifetime {
        allocations,
        bytes,
        addtime,
        usetime,
        packets,
    }
}

/// An SA as PF_KEY tells it.
pub(crate) fn describe<H: Home>(sa: &Sa<H>) -> pfkey::Sa {
    let (auth, encrypt) = algorithms(sa);
    pfkey::Sa {
        spi: sa.id.spi,
        replay: sa.window.min(255) as u8,
        state: SaState::from_number(sa.state() as u8).unwrap_or(SaState::Dead),
        auth: AuthAlg(auth),
        encrypt: EncAlg(encrypt),
        flags: SaFlags(sa.flags),
        sa_ref: sa.reference,
    }
}

/// The PF_KEY numbers of an SA's MAC and cipher (or compression); 0 for none.
pub(crate) fn algorithms<H: Home>(sa: &Sa<H>) -> (u8, u8) {
    match &sa.transform {
        Transform::None | Transform::IpIp => (0, 0),
        Transform::Esp { crypt, auth } => (
            auth.as_ref().map_or(0, |a| a.row.id),
            crypt.as_ref().map_or(0, |c| c.row.id),
        ),
        Transform::Ah(auth) => (auth.row.id, 0),
        Transform::Comp(row) => (0, row.id),
    }
}

/// Looks at an SA's lifetimes, moves its state on, and says so to those who registered for its type. True: it may be used.
pub(crate) fn age<H: Home>(cx: &mut Context<'_, H>, sa: &Sa<H>) -> bool {
    match sa.standing(cx.now) {
        Standing::Fresh => true,
        Standing::Soft => {
            if sa.advance(State::Dying) {
                expire(cx, sa, false);
            }
            true
        }
        Standing::Hard => {
            kill(cx, sa);
            false
        }
    }
}

/// Ends an SA: no packet uses it any more, and the next [`crate::Klips::tick`] takes it away.
pub(crate) fn kill<H: Home>(cx: &mut Context<'_, H>, sa: &Sa<H>) {
    if sa.advance(State::Dead) {
        expire(cx, sa, true);
    }
}

fn expire<H: Home>(cx: &mut Context<'_, H>, sa: &Sa<H>, hard: bool) {
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let limit = limits(if hard { &sa.life.hard } else { &sa.life.soft });
    let built = pfkey::request::expire(
        &mut buffer,
        &sa.id,
        sa.source,
        &describe(sa),
        &current(cx, &sa.life),
        &limit,
        hard,
    );
    if let Ok(message) = built {
        let satype = SaType::from(sa.id.proto).number();
        let _ = cx.out.pfkey(Audience::Registered(satype), message);
    }
}

/// An identity as PF_KEY tells it.
pub(crate) fn ident<H: Home>(ident: &Ident<H>) -> Option<pfkey::Ident<'_>> {
    let kind = IdentType::from_number(ident.kind)?;
    let text = core::str::from_utf8(ident.text()).ok()?;
    ident.is_some().then_some(pfkey::Ident {
        kind,
        id: ident.id,
        text,
    })
}

/// Asks key daemons for an SA for `packet`, which met the trap `eroute`. An error: they will not hear of it.
pub(crate) fn acquire<H: Home>(
    cx: &mut Context<'_, H>,
    seq: u32,
    eroute: &Eroute<H>,
    packet: &Packet,
) -> Result<(), NoMemory> {
    let wanted = Packet {
        proto: if eroute.selector.proto == 0 {
            0
        } else {
            packet.proto
        },
        sport: if eroute.selector.sport == 0 {
            0
        } else {
            packet.sport
        },
        dport: if eroute.selector.dport == 0 {
            0
        } else {
            packet.dport
        },
        ..*packet
    };
    let (combs, count) = proposal(cx.home);
    let params = AcquireParams {
        satype: SaType::Esp,
        packet: wanted,
        flow: Some(eroute.selector),
        ident_src: eroute.idents().and_then(|[src, _]| ident(src)),
        ident_dst: eroute.idents().and_then(|[_, dst]| ident(dst)),
        replay: PROPOSED_WINDOW,
        combs: combs.get(..count).unwrap_or(&[]),
    };
    let mut buffer = [0; MAX_MESSAGE_LEN];
    let message =
        pfkey::request::acquire(&mut buffer, Ids { seq, pid: 0 }, &params).map_err(|_| NoMemory)?;
    cx.out
        .pfkey(Audience::Registered(SaType::Esp.number()), message)
}

/// What ACQUIRE proposes, the best first: a cipher and a MAC, 0 for an AEAD's.
const PREFERENCE: [(u8, u8); MAX_COMBS] = [
    (transform::EALG_AES_GCM_16, 0),
    (transform::EALG_CHACHA20_POLY1305, 0),
    (transform::EALG_AES_CBC, transform::AALG_SHA2_256_HMAC),
    (transform::EALG_AES_CBC, transform::AALG_SHA2_512_HMAC),
    (transform::EALG_AES_CBC, transform::AALG_SHA1_HMAC),
    (transform::EALG_3DES_CBC, transform::AALG_SHA1_HMAC),
];

/// Those of the combinations that this host has.
fn proposal<H: Home>(home: &H) -> ([Comb; MAX_COMBS], usize) {
    let limits = |seconds| pfkey::Lifetime {
        addtime: seconds,
        usetime: seconds,
        ..pfkey::Lifetime::NONE
    };
    let had = PREFERENCE.iter().filter_map(|(encrypt, auth)| {
        let encrypt = transform::encryption(*encrypt).filter(|e| home.has_encryption(e))?;
        let auth = match auth {
            0 => None,
            id => Some(transform::authentication(*id).filter(|a| home.has_authentication(a))?),
        };
        Some((encrypt, auth))
    });
    let empty = Comb {
        auth: 0,
        encrypt: 0,
        flags: SaFlags::PFS.0 as u16,
        auth_bits: (0, 0),
        encrypt_bits: (0, 0),
        soft: limits(PROPOSED_SOFT),
        hard: limits(PROPOSED_HARD),
    };
    let mut combs = [empty; MAX_COMBS];
    let mut count = 0;
    for (comb, (encrypt, auth)) in combs.iter_mut().zip(had) {
        let bits = auth.map_or(0, |a| a.key_bits());
        comb.auth = auth.map_or(0, |a| a.id);
        comb.encrypt = encrypt.id;
        comb.auth_bits = (bits, bits);
        comb.encrypt_bits = encrypt.key_bits();
        count += 1;
    }
    (combs, count)
}
