//! Requests to the kernel, as the engine thinks of them, and as PF_KEY messages.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use ipsec_types::{AuthAlg, EncAlg, MagicSpi, SaId, SaProto, Selector};
use pfkey::request::{self as message, Ids};
use pfkey::{MAX_MESSAGE_LEN, NatT, SaFlags, SaType};

use super::sa::{Keys, Limits};

/// One SA of one direction.
#[derive(Clone, Debug)]
pub(crate) struct SaSpec {
    pub(crate) said: SaId,
    pub(crate) src: IpAddr,
    pub(crate) ealg: u8,
    pub(crate) aalg: u8,
    pub(crate) esn: bool,
    pub(crate) keys: Keys,
    pub(crate) replay: u8,
    pub(crate) nat_t: Option<NatT>,
    pub(crate) limits: Limits,
}

/// Something to ask.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Hear about this kind of SA.
    Register(SaType),
    /// Add an SA.
    AddSa(Box<SaSpec>),
    /// Delete an SA with its group; the second is its source.
    DelSa(SaId, IpAddr),
    /// Tell about an SA; the second is its source.
    GetSa(SaId, IpAddr),
    /// What the first makes, the second takes.
    Group(SaId, SaId),
    /// Set what may come out of an SA.
    Inflow(Selector, SaId),
    /// Send what is meant into an SA, or do with it as a shunt says. An eroute of the same clients is replaced,
    /// even one that a daemon before us left behind.
    AddFlow(Selector, SaId),
    /// The same, and what comes back may come in the clear as well.
    AddFlowClearToo(Selector, SaId),
    /// Remove an eroute.
    DelFlow(Selector),
    /// Tell about an eroute.
    GetFlow(Selector),
    /// The peer of an outbound SA in UDP is at the second place now, no more at the first.
    Remap(SaId, SocketAddr, SocketAddr),
}

impl Request {
    /// An eroute to a shunt.
    pub(crate) fn shunt(flow: Selector, shunt: MagicSpi) -> Self {
        Self::AddFlow(flow, SaId::magic(shunt))
    }

    /// The PF_KEY message.
    pub(crate) fn encode(&self, ids: Ids) -> Result<Vec<u8>, pfkey::Error> {
        let mut buf = zeroize::Zeroizing::new([0u8; MAX_MESSAGE_LEN]);
        let buf = buf.as_mut_slice();
        let bytes = match self {
            Self::Register(satype) => message::register(buf, ids, *satype),
            Self::AddSa(spec) => {
                let mut params = message::SaParams::new(spec.said, spec.src);
                params.replay = spec.replay;
                if spec.esn {
                    params.flags = SaFlags::ESN;
                }
                // `auth=ah`: KLIPS lets it carry nothing but within AH.
                let cipher = EncAlg(spec.ealg);
                if spec.said.proto == SaProto::Esp && spec.aalg == 0 && !cipher.is_aead() {
                    params.flags = params.flags | SaFlags::AH_OUTSIDE;
                }
                params.auth = AuthAlg(spec.aalg);
                params.encrypt = EncAlg(spec.ealg);
                params.auth_key = &spec.keys.auth.0;
                params.enc_key = &spec.keys.enc.0;
                params.nat_t = spec.nat_t;
                (params.soft, params.hard) = (spec.limits.soft, spec.limits.hard);
                message::add(buf, ids, &params)
            }
            Self::DelSa(said, src) => message::delete(buf, ids, said, Some(*src)),
            Self::GetSa(said, src) => message::get(buf, ids, said, Some(*src)),
            Self::Group(first, second) => message::group(buf, ids, first, Some(second)),
            Self::Inflow(flow, said) => message::set_inflow(buf, ids, flow, *said),
            Self::AddFlow(flow, said) => {
                message::add_flow(buf, ids, flow, *said, SaFlags::REPLACEFLOW)
            }
            Self::AddFlowClearToo(flow, said) => {
                let flags = SaFlags::REPLACEFLOW | SaFlags::CLEAR_TOO;
                message::add_flow(buf, ids, flow, *said, flags)
            }
            Self::DelFlow(flow) => message::del_flow(buf, ids, flow),
            Self::GetFlow(flow) => message::get_flow(buf, ids, flow),
            Self::Remap(said, old, new) => message::nat_t_new_mapping(buf, ids, said, *old, *new),
        }?;
        Ok(bytes.to_vec())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(satype) => write!(f, "register {satype:?}"),
            Self::AddSa(spec) => write!(f, "add {}", spec.said),
            Self::DelSa(said, _) => write!(f, "delete {said}"),
            Self::GetSa(said, _) => write!(f, "tell about {said}"),
            Self::Group(first, second) => write!(f, "group {first} and {second}"),
            Self::Inflow(flow, said) => write!(f, "set the inbound policy of {said} to {flow}"),
            Self::AddFlow(flow, said) => write!(f, "set eroute {flow} => {said}"),
            Self::AddFlowClearToo(flow, said) => {
                write!(
                    f,
                    "set eroute {flow} => {said}, also open to what comes in the clear"
                )
            }
            Self::DelFlow(flow) => write!(f, "delete eroute {flow}"),
            Self::GetFlow(flow) => write!(f, "tell about eroute {flow}"),
            Self::Remap(said, old, new) => write!(f, "send {said} to {new} instead of {old}"),
        }
    }
}
