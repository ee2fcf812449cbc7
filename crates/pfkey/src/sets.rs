//! Which extensions a message may and must carry, by direction.

use crate::header::Direction;
use crate::types::{ExtType, MsgType};

/// A set of extension types, one bit each.
type Set = u32;

const fn set(exts: &[ExtType]) -> Set {
    let mut bits = 0;
    let mut i = 0;
    while i < exts.len() {
        bits |= exts[i].bit();
        i += 1;
    }
    bits
}

use ExtType as E;

const ADDRESSES: Set = set(&[E::AddressSrc, E::AddressDst]);
const IDENTITIES: Set = set(&[E::IdentitySrc, E::IdentityDst]);
const KEYS: Set = set(&[E::KeyAuth, E::KeyEncrypt]);
const LIMITS: Set = set(&[E::LifetimeHard, E::LifetimeSoft]);
const NAT_T: Set = set(&[E::NatTType, E::NatTSport, E::NatTDport, E::NatTOa]);
const SA: Set = E::Sa.bit();
const PROXY: Set = E::AddressProxy.bit();
const CURRENT: Set = E::LifetimeCurrent.bit();
const GROUP: Set = set(&[E::SaType2, E::Sa2, E::AddressDst2]);
/// The four extensions that make a flow.
pub(crate) const FLOW: Set = set(&[
    E::AddressSrcFlow,
    E::AddressDstFlow,
    E::AddressSrcMask,
    E::AddressDstMask,
]);
const FLOW_AND_PROTOCOL: Set = FLOW | E::Protocol.bit();
const EVERYTHING: Set = !0;

/// Extensions that `msg` may carry.
pub(crate) const fn permitted(msg: MsgType, direction: Direction) -> Set {
    let from_klips = matches!(direction, Direction::FromKlips);
    let both = match msg {
        MsgType::GetSpi => ADDRESSES | PROXY | E::SpiRange.bit(),
        MsgType::Update | MsgType::Add => {
            SA | LIMITS | CURRENT | ADDRESSES | PROXY | IDENTITIES | NAT_T | FLOW_AND_PROTOCOL
        }
        MsgType::Delete => SA | ADDRESSES,
        MsgType::Get => SA | ADDRESSES | FLOW_AND_PROTOCOL,
        MsgType::Acquire => ADDRESSES | PROXY | IDENTITIES | E::Proposal.bit() | FLOW_AND_PROTOCOL,
        MsgType::Register | MsgType::Flush | MsgType::Dump => 0,
        MsgType::Expire => 0,
        MsgType::Promisc | MsgType::PChange => EVERYTHING,
        MsgType::GrpSa => SA | E::AddressDst.bit() | GROUP,
        MsgType::AddFlow => SA | ADDRESSES | IDENTITIES | FLOW_AND_PROTOCOL,
        MsgType::DelFlow => SA | ADDRESSES | IDENTITIES | FLOW_AND_PROTOCOL,
        MsgType::Debug => E::Debug.bit(),
        MsgType::NatTNewMapping => SA | ADDRESSES | NAT_T,
    };
    let one_way = match (msg, from_klips) {
        (MsgType::Add | MsgType::Update, false) => KEYS,
        (MsgType::GetSpi, true) => SA,
        (MsgType::Get | MsgType::Dump, true) => {
            SA | LIMITS
                | CURRENT
                | ADDRESSES
                | PROXY
                | KEYS
                | IDENTITIES
                | NAT_T
                | FLOW_AND_PROTOCOL
        }
        (MsgType::Register, true) => set(&[E::SupportedAuth, E::SupportedEncrypt]),
        (MsgType::Expire, true) => SA | LIMITS | CURRENT | ADDRESSES,
        _ => 0,
    };
    both | one_way
}

/// Extensions that `msg` must carry. DELFLOW and EXPIRE have rules of their own beside these.
pub(crate) const fn required(msg: MsgType, direction: Direction) -> Set {
    let from_klips = matches!(direction, Direction::FromKlips);
    match (msg, from_klips) {
        (MsgType::GetSpi, false) => ADDRESSES | E::SpiRange.bit(),
        (MsgType::GetSpi, true) => SA | ADDRESSES,
        (MsgType::Update | MsgType::Add | MsgType::Delete | MsgType::Get, _) => SA | ADDRESSES,
        (MsgType::Acquire, true) => ADDRESSES | E::Proposal.bit(),
        (MsgType::Expire, true) => SA | CURRENT | ADDRESSES,
        (MsgType::Dump, true) => SA | ADDRESSES,
        (MsgType::GrpSa, _) => SA | E::AddressDst.bit(),
        (MsgType::AddFlow, _) => SA | E::AddressDst.bit() | FLOW,
        (MsgType::Debug, _) => E::Debug.bit(),
        (MsgType::NatTNewMapping, _) => SA | ADDRESSES | set(&[E::NatTSport, E::NatTDport]),
        _ => 0,
    }
}
