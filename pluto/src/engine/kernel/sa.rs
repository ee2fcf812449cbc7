//! What the IKE part hands over once Quick Mode has agreed: the SAs of both directions with their
//! keys. How they become PF_KEY messages is in `install`.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use ipsec_types::Spi;
use pfkey::Lifetime;
use zeroize::Zeroizing;

use crate::engine::connection::{ConnId, StateId};

/// Octets of a key; never shown.
#[derive(Clone, Default)]
pub struct Key(pub Zeroizing<Vec<u8>>);

impl Key {
    /// A key of these octets.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} octets)", self.0.len())
    }
}

/// The keys of one direction.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The cipher's, a salt or nonce behind it where it has one; empty for AH and for the null cipher.
    pub enc: Key,
    /// The MAC's.
    pub auth: Key,
}

/// At what an SA asks for a successor, and at what it ends; of each direction by itself.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Where KLIPS says EXPIRE and goes on.
    pub soft: Lifetime,
    /// Where no packet passes any more.
    pub hard: Lifetime,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self {
        soft: Lifetime::NONE,
        hard: Lifetime::NONE,
    };
}

/// An ESP or AH SA in both directions.
#[derive(Clone, Debug)]
pub struct ProtocolSa {
    /// PF_KEY number of the cipher (`SADB_EALG_*`); 0 for AH.
    pub ealg: u8,
    /// PF_KEY number of the MAC (`SADB_AALG_*`).
    pub aalg: u8,
    /// Sequence numbers of 64 bits.
    pub esn: bool,
    /// Chosen by us: on what comes in.
    pub spi_in: Spi,
    /// Chosen by the peer: on what goes out.
    pub spi_out: Spi,
    /// Of what comes in.
    pub keys_in: Keys,
    /// Of what goes out.
    pub keys_out: Keys,
    /// Width of the replay window in packets; 0 is none.
    pub replay_window: u8,
    /// What it may carry, and how long it may live.
    pub limits: Limits,
}

/// An IPCOMP SA in both directions.
#[derive(Clone, Copy, Debug)]
pub struct IpcompSa {
    /// PF_KEY number of the method (`SADB_X_CALG_*`), deflate usually.
    pub calg: u8,
    /// CPI chosen by us.
    pub cpi_in: u16,
    /// CPI chosen by the peer.
    pub cpi_out: u16,
}

/// Between which ends ESP goes in UDP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpEncap {
    /// Ours.
    pub local: SocketAddr,
    /// The peer's, as we see it.
    pub remote: SocketAddr,
    /// The peer's address as it knows itself, where it said so.
    pub original: Option<IpAddr>,
}

/// The SAs that a Quick Mode agreed on.
#[derive(Clone, Debug)]
pub struct SaParams {
    /// Whose.
    pub state: StateId,
    /// For which connection.
    pub conn: ConnId,
    /// Tunnel mode rather than transport mode.
    pub tunnel: bool,
    /// ESP goes in UDP.
    pub udp: Option<UdpEncap>,
    /// ESP, if agreed.
    pub esp: Option<ProtocolSa>,
    /// AH, if agreed.
    pub ah: Option<ProtocolSa>,
    /// IPCOMP, if agreed.
    pub ipcomp: Option<IpcompSa>,
}

/// What an installation was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The inbound SAs, by the responder before it answers.
    Inbound,
    /// The outbound SAs and the eroute, by the responder at the end.
    Outbound,
    /// All of it, by the initiator.
    Both,
}

/// Why SAs were not installed. What was done of it has been taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// Something else has the route or the eroute; the text tells what.
    #[error("{0}")]
    Route(String),
    /// The kernel refused a request.
    #[error("KLIPS refused to {what}: {error}")]
    Kernel {
        /// `add the inbound ESP SA …`
        what: String,
        /// The system's word for the error.
        error: String,
    },
    /// The kernel did not answer.
    #[error("no answer from KLIPS to the request to {0}")]
    Silent(String),
    /// There is no kernel to talk to.
    #[error("KLIPS is not there: is it loaded, or klipsd running?")]
    NoKernel,
    /// An updown command failed.
    #[error("{0}")]
    Updown(String),
    /// The connection or state went away meanwhile.
    #[error("the connection went away")]
    Gone,
}
