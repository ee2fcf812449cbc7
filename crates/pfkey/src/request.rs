//! Whole messages with typed parameters: what key daemons and manual tools ask, and what KLIPS says by itself.
//! Each function writes into `buf` and answers the octets to send.

use core::net::{IpAddr, SocketAddr};

use ipsec_types::{AuthAlg, EncAlg, SaId, SaProto, Selector, Spi, unspecified};

use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::ext::{Address, DebugFlags, Ident, Key, Lifetime, NatT, Sa};
use crate::proposal::Comb;
use crate::types::{ExtType, MsgType, SaFlags, SaState, SaType};
use crate::{header::Header, message::Message};

/// Who asks: the numbers by which the answer is found again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ids {
    /// Sequence number, one a request.
    pub seq: u32,
    /// Process id; 0 in what KLIPS tells by itself.
    pub pid: u32,
}

/// An SA to add or update. `Debug` shows no keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaParams<'a> {
    /// Its name: SPI, destination, protocol.
    pub said: SaId,
    /// Source address of the packets that carry it.
    pub src: IpAddr,
    /// Replay window in packets, 0 for none.
    pub replay: u8,
    /// Authentication algorithm; [`AuthAlg::NONE`] for IPCOMP and IPIP.
    pub auth: AuthAlg,
    /// Encryption algorithm; for IPCOMP the compression algorithm's number; [`EncAlg::NONE`] for AH and IPIP.
    pub encrypt: EncAlg,
    /// Authentication key, empty without algorithm.
    pub auth_key: &'a [u8],
    /// Encryption key, empty without algorithm.
    pub enc_key: &'a [u8],
    /// Limits at which it dies.
    pub hard: Lifetime,
    /// Limits at which EXPIRE asks for a successor.
    pub soft: Lifetime,
    /// What may come out of it: the inbound policy. Also settable later by [`set_inflow`].
    pub inflow: Option<Selector>,
    /// Flags, [`SaFlags::PFS`].
    pub flags: SaFlags,
    /// Identity at the source.
    pub ident_src: Option<Ident<'a>>,
    /// Identity at the destination.
    pub ident_dst: Option<Ident<'a>>,
    /// UDP encapsulation.
    pub nat_t: Option<NatT>,
}

impl core::fmt::Debug for SaParams<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SaParams")
            .field("said", &self.said)
            .field("src", &self.src)
            .field("replay", &self.replay)
            .field("auth", &self.auth)
            .field("encrypt", &self.encrypt)
            .field("inflow", &self.inflow)
            .finish_non_exhaustive()
    }
}

impl SaParams<'_> {
    /// An SA without algorithms, limits or policy: an IPIP SA as it is, others to fill in.
    pub const fn new(said: SaId, src: IpAddr) -> Self {
        Self {
            said,
            src,
            replay: 0,
            auth: AuthAlg::NONE,
            encrypt: EncAlg::NONE,
            auth_key: &[],
            enc_key: &[],
            hard: Lifetime::NONE,
            soft: Lifetime::NONE,
            inflow: None,
            flags: SaFlags::NONE,
            ident_src: None,
            ident_dst: None,
            nat_t: None,
        }
    }
}

fn start<'a>(buf: &'a mut [u8], ids: Ids, msg_type: MsgType, satype: SaType) -> Builder<'a> {
    Builder::new(buf, msg_type, satype, ids.seq, ids.pid)
}

/// REGISTER: hear ACQUIRE and EXPIRE of `satype`.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn register(buf: &mut [u8], ids: Ids, satype: SaType) -> Result<&[u8], Error> {
    start(buf, ids, MsgType::Register, satype).finish()
}

/// GETSPI: reserve an SPI from `min` to `max` for an SA of `proto` from `src` to `dst`.
///
/// # Errors
/// [`ErrorKind::NoRoom`]; [`ErrorKind::SpiRange`] for a range that is empty or starts below 256.
pub fn get_spi(
    buf: &mut [u8],
    ids: Ids,
    proto: SaProto,
    src: IpAddr,
    dst: IpAddr,
    (min, max): (Spi, Spi),
) -> Result<&[u8], Error> {
    if min > max || min.is_reserved() {
        return Err(Error::header(ErrorKind::SpiRange {
            min: min.0,
            max: max.0,
        }));
    }
    start(buf, ids, MsgType::GetSpi, proto.into())
        .addresses(src, dst)
        .spi_range(min, max)
        .finish()
}

fn add_or_update<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    msg_type: MsgType,
    params: &SaParams<'_>,
) -> Result<&'b [u8], Error> {
    let sa = Sa {
        spi: params.said.spi,
        replay: params.replay,
        state: SaState::Mature,
        auth: params.auth,
        encrypt: params.encrypt,
        flags: params.flags,
        sa_ref: 0,
    };
    let mut builder = start(buf, ids, msg_type, params.said.proto.into())
        .sa(&sa)
        .limits(&params.hard, &params.soft)
        .addresses(params.src, params.said.dst);
    if !params.auth_key.is_empty() {
        builder = builder.key_auth(&key(params.auth_key)?);
    }
    if !params.enc_key.is_empty() {
        builder = builder.key_encrypt(&key(params.enc_key)?);
    }
    if let Some(ident) = &params.ident_src {
        builder = builder.ident_src(ident);
    }
    if let Some(ident) = &params.ident_dst {
        builder = builder.ident_dst(ident);
    }
    if let Some(flow) = &params.inflow {
        builder = builder.flow(flow);
    }
    if let Some(nat_t) = &params.nat_t {
        builder = builder.nat_t(nat_t);
    }
    builder.finish()
}

fn key(bytes: &[u8]) -> Result<Key<'_>, Error> {
    Key::new(bytes).ok_or(Error::header(ErrorKind::KeyBits(u16::MAX)))
}

/// ADD a whole SA.
///
/// # Errors
/// [`ErrorKind::NoRoom`] and what the parameters cannot say on the wire.
pub fn add<'b>(buf: &'b mut [u8], ids: Ids, params: &SaParams<'_>) -> Result<&'b [u8], Error> {
    add_or_update(buf, ids, MsgType::Add, params)
}

/// UPDATE the larval SA that GETSPI made.
///
/// # Errors
/// As [`add`].
pub fn update<'b>(buf: &'b mut [u8], ids: Ids, params: &SaParams<'_>) -> Result<&'b [u8], Error> {
    add_or_update(buf, ids, MsgType::Update, params)
}

fn by_said<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    msg_type: MsgType,
    said: &SaId,
    src: Option<IpAddr>,
) -> Result<&'b [u8], Error> {
    start(buf, ids, msg_type, said.proto.into())
        .sa(&Sa::of_spi(said.spi, SaFlags::NONE))
        .addresses(src.unwrap_or(unspecified(said.dst)), said.dst)
        .finish()
}

/// DELETE an SA, and the whole group it is in.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn delete<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    said: &SaId,
    src: Option<IpAddr>,
) -> Result<&'b [u8], Error> {
    by_said(buf, ids, MsgType::Delete, said, src)
}

/// GET an SA.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn get<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    said: &SaId,
    src: Option<IpAddr>,
) -> Result<&'b [u8], Error> {
    by_said(buf, ids, MsgType::Get, said, src)
}

/// DUMP all SAs of `satype`, or of all kinds.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn dump(buf: &mut [u8], ids: Ids, satype: SaType) -> Result<&[u8], Error> {
    start(buf, ids, MsgType::Dump, satype).finish()
}

/// FLUSH: delete all SAs of `satype`, or of all kinds.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn flush(buf: &mut [u8], ids: Ids, satype: SaType) -> Result<&[u8], Error> {
    start(buf, ids, MsgType::Flush, satype).finish()
}

/// GRPSA: `first` is applied before `second` on the way out; without `second`, `first`'s group is dissolved. Groups of
/// more than two are made pair by pair, from the first on.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn group<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    first: &SaId,
    second: Option<&SaId>,
) -> Result<&'b [u8], Error> {
    let builder = start(buf, ids, MsgType::GrpSa, first.proto.into())
        .sa(&Sa::of_spi(first.spi, SaFlags::NONE))
        .address(ExtType::AddressDst, Address::new(first.dst));
    match second {
        Some(second) => builder.second(second),
        None => builder,
    }
    .finish()
}

/// ADDFLOW: packets of `flow` go through `said` (the first SA of a group, or a shunt). [`SaFlags::REPLACEFLOW`]
/// replaces an eroute that exists.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn add_flow<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    flow: &Selector,
    said: SaId,
    flags: SaFlags,
) -> Result<&'b [u8], Error> {
    flow_with_idents(buf, ids, flow, said, flags, [None, None])
}

/// ADDFLOW with the identities that a trap's ACQUIRE is to repeat.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn flow_with_idents<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    flow: &Selector,
    said: SaId,
    flags: SaFlags,
    [ident_src, ident_dst]: [Option<Ident<'_>>; 2],
) -> Result<&'b [u8], Error> {
    let mut builder = start(buf, ids, MsgType::AddFlow, said.proto.into())
        .sa(&Sa::of_spi(said.spi, flags))
        .addresses(unspecified(said.dst), said.dst)
        .flow(flow);
    if let Some(ident) = &ident_src {
        builder = builder.ident_src(ident);
    }
    if let Some(ident) = &ident_dst {
        builder = builder.ident_dst(ident);
    }
    builder.finish()
}

/// ADDFLOW with [`SaFlags::INFLOW`]: what comes out of `said` must match `flow` (as the packets come: source first).
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn set_inflow<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    flow: &Selector,
    said: SaId,
) -> Result<&'b [u8], Error> {
    add_flow(buf, ids, flow, said, SaFlags::INFLOW)
}

/// DELFLOW: delete one eroute.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn del_flow<'b>(buf: &'b mut [u8], ids: Ids, flow: &Selector) -> Result<&'b [u8], Error> {
    start(buf, ids, MsgType::DelFlow, SaType::Unspec)
        .flow(flow)
        .finish()
}

/// GET with a flow: tell about an eroute, where it leads and how many packets it was found for. The type of SA is
/// [`SaType::Int`], and there is no SA.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn get_flow<'b>(buf: &'b mut [u8], ids: Ids, flow: &Selector) -> Result<&'b [u8], Error> {
    let nowhere = unspecified(flow.dst.addr());
    start(buf, ids, MsgType::Get, SaType::Int)
        .sa(&Sa::of_spi(Spi(0), SaFlags::NONE))
        .addresses(nowhere, nowhere)
        .flow(flow)
        .finish()
}

/// DELFLOW with [`SaFlags::CLEARFLOW`]: delete all eroutes.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn clear_flows(buf: &mut [u8], ids: Ids) -> Result<&[u8], Error> {
    start(buf, ids, MsgType::DelFlow, SaType::Unspec)
        .sa(&Sa::of_spi(Spi(0), SaFlags::CLEARFLOW))
        .finish()
}

/// DEBUG: set what KLIPS logs.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn debug<'b>(buf: &'b mut [u8], ids: Ids, flags: &DebugFlags) -> Result<&'b [u8], Error> {
    start(buf, ids, MsgType::Debug, SaType::Unspec)
        .debug_flags(flags)
        .finish()
}

/// PROMISC: hear every message, or no longer.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn promisc(buf: &mut [u8], ids: Ids, on: bool) -> Result<&[u8], Error> {
    let header = Header {
        msg_type: MsgType::Promisc.number(),
        errno: 0,
        satype: on.into(),
        len: 0,
        seq: ids.seq,
        pid: ids.pid,
    };
    Builder::with_header(buf, header).finish()
}

/// What KLIPS tells in ACQUIRE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcquireParams<'a> {
    /// Protocol wanted, as registered; KLIPS says ESP.
    pub satype: SaType,
    /// Source and destination of the packet, with protocol and ports; nets are hosts here.
    pub packet: ipsec_types::Packet,
    /// The eroute that trapped it.
    pub flow: Option<Selector>,
    /// Its identities.
    pub ident_src: Option<Ident<'a>>,
    /// Its identities.
    pub ident_dst: Option<Ident<'a>>,
    /// Proposed replay window.
    pub replay: u8,
    /// What would do, best first.
    pub combs: &'a [Comb],
}

/// ACQUIRE, from KLIPS: a packet was trapped. The packet is in both addresses, with protocol and ports, and read by
/// [`Message::acquired`]; the protocol extension is the flow's.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn acquire<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    params: &AcquireParams<'_>,
) -> Result<&'b [u8], Error> {
    let packet = &params.packet;
    let mut builder = start(buf, ids, MsgType::Acquire, params.satype)
        .address(
            ExtType::AddressSrc,
            Address {
                addr: packet.src,
                port: packet.sport,
                proto: packet.proto,
            },
        )
        .address(
            ExtType::AddressDst,
            Address {
                addr: packet.dst,
                port: packet.dport,
                proto: packet.proto,
            },
        );
    if let Some(ident) = &params.ident_src {
        builder = builder.ident_src(ident);
    }
    if let Some(ident) = &params.ident_dst {
        builder = builder.ident_dst(ident);
    }
    if let Some(flow) = &params.flow {
        builder = builder.flow(flow);
    }
    builder.proposal(params.replay, params.combs).finish()
}

/// ACQUIRE with errno, to KLIPS: the negotiation that `seq` asked for has failed (RFC 2367 section 3.1.6).
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn acquire_failed(buf: &mut [u8], ids: Ids, satype: SaType, errno: u8) -> Result<&[u8], Error> {
    start(buf, ids, MsgType::Acquire, satype)
        .errno(errno)
        .finish()
}

/// EXPIRE, from KLIPS: `said` has passed `limit`, soft or hard as `hard` says.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn expire<'b>(
    buf: &'b mut [u8],
    said: &SaId,
    src: IpAddr,
    sa: &Sa,
    current: &Lifetime,
    limit: &Lifetime,
    hard: bool,
) -> Result<&'b [u8], Error> {
    let which = if hard {
        ExtType::LifetimeHard
    } else {
        ExtType::LifetimeSoft
    };
    start(buf, Ids::default(), MsgType::Expire, said.proto.into())
        .sa(sa)
        .lifetime(ExtType::LifetimeCurrent, current)
        .lifetime(which, limit)
        .addresses(src, said.dst)
        .finish()
}

/// NAT_T_NEW_MAPPING: the peer of an SA in UDP is at `new` and no more at `old`, the one as ADDRESS_DST with NAT_T_DPORT, the
/// other as ADDRESS_SRC with NAT_T_SPORT.
///
/// From KLIPS `said` is inbound, and an authentic packet has come from there. To KLIPS it is outbound and packets are to go
/// there from now on; `old.ip()` is the address in its name, which stays.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn nat_t_new_mapping<'b>(
    buf: &'b mut [u8],
    ids: Ids,
    said: &SaId,
    old: SocketAddr,
    new: SocketAddr,
) -> Result<&'b [u8], Error> {
    start(buf, ids, MsgType::NatTNewMapping, said.proto.into())
        .sa(&Sa::of_spi(said.spi, SaFlags::NONE))
        .addresses(old.ip(), new.ip())
        .nat_t(&NatT {
            kind: NatT::ESP_IN_UDP,
            sport: old.port(),
            dport: new.port(),
            oa: None,
        })
        .finish()
}

/// The answer to a request that failed: its header with `errno`. `None` if `request` has no readable header, or
/// the buffer is too small.
pub fn error_reply<'b>(buf: &'b mut [u8], request: &[u8], errno: u8) -> Option<&'b [u8]> {
    let header = Header::parse(request).ok()?;
    Builder::with_header(buf, Header { errno, ..header })
        .finish()
        .ok()
}

/// The answer to a request that was done: its header and its extensions, without keys, as RFC 2367 section 3.1 has it.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn echo_reply<'b>(buf: &'b mut [u8], request: &Message<'_>) -> Result<&'b [u8], Error> {
    let mut builder = Builder::with_header(buf, *request.header());
    for ext in ExtType::ALL {
        if !matches!(ext, ExtType::KeyAuth | ExtType::KeyEncrypt) {
            builder = builder.copy(request, *ext);
        }
    }
    builder.finish()
}
