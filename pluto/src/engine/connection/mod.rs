//! Connections: what is configured, and what of it is alive. This file holds the data; the
//! checks on adding are in `add`, the indexes in `store`, the searches in `find`, templates and
//! their instances in `instance`, which side is us in `orient`, texts in `show`.

mod add;
mod algorithms;
mod find;
mod found;
mod id;
mod instance;
mod orient;
mod policy;
mod show;
mod store;

use core::fmt;
use core::net::IpAddr;
use std::time::Duration;

use ipsec_types::{ProtoPort, Subnet};

pub use add::AddError;
pub use algorithms::Algorithms;
pub use find::Clients;
pub use found::{Found, FoundEnd, is_live};
pub use id::{Id, IdError, KnownId};
pub(crate) use orient::Place;
pub use orient::{Addresses, OrientError};
pub use policy::{FailureShunt, Policy, Shunt};
pub use store::Connections;

use super::event::Interface;
use super::time::Time;

/// A connection, for as long as the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

/// The UDP port of IKE.
pub const IKE_PORT: u16 = 500;
/// The UDP port of IKE and ESP through NAT (RFC 3947 section 4).
pub const NAT_PORT: u16 = 4500;

/// The number of a state of the IKE part, as in `#1`: given in order, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub u64);

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The source of templates, one for each line of a policy group file.
    Group,
    /// Lacks the peer's address, client or identity: an instance is made for each peer.
    Template,
    /// Complete as configured.
    Permanent,
    /// Made from a template for one peer; goes when its last state and shunt go.
    Instance,
    /// Being deleted.
    GoingAway,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "CK_GROUP",
            Self::Template => "CK_TEMPLATE",
            Self::Permanent => "CK_PERMANENT",
            Self::Instance => "CK_INSTANCE",
            Self::GoingAway => "CK_GOING_AWAY",
        })
    }
}

/// How far a connection's packets are taken care of. Ordered: more is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Routing {
    /// No route, no eroute.
    #[default]
    Unrouted,
    /// No route, but the kernel holds packets for it.
    UnroutedHold,
    /// Routed, with the shunt of its policy, `%trap` usually.
    Prospective,
    /// Routed, with a `%hold`.
    Hold,
    /// Routed, with the shunt for a failed negotiation.
    Failure,
    /// Routed, with an eroute to its SA group.
    Tunnel,
}

impl Routing {
    /// Whether there is a route.
    pub fn routed(self) -> bool {
        self > Self::UnroutedHold
    }

    /// Whether there is an eroute of any kind.
    pub fn erouted(self) -> bool {
        self != Self::Unrouted
    }
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unrouted => "unrouted",
            Self::UnroutedHold => "unrouted HOLD",
            Self::Prospective => "prospective erouted",
            Self::Hold => "erouted HOLD",
            Self::Failure => "fail erouted",
            Self::Tunnel => "erouted",
        })
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The gateway; `None` is `%any`, or one that is still to be found.
    pub host: Option<IpAddr>,
    /// Where the gateway's address comes from, if it is not given as such.
    pub live: Option<whack::Live>,
    /// Its IKE port, 500 usually.
    pub host_port: u16,
    /// Where packets for the other end's client go first; `None` if unknown.
    pub nexthop: Option<IpAddr>,
    /// Where its own packets to the other end's client come from.
    pub source_ip: Option<IpAddr>,
    /// Who it is.
    pub id: Id,
    /// Whether a subnet was given; if not, `client` is the gateway itself.
    pub has_client: bool,
    /// Who speaks behind it. `None` only where `host` is `%any` and no subnet was given.
    pub client: Option<Subnet>,
    /// `client` is only the range from which the peer may choose (`leftsubnetwithin=`).
    pub client_wildcard: bool,
    /// The peer chooses its client, within this (`leftsubnet=vhost:…`); `client` is none until then.
    pub virt: Option<whack::Virtual>,
    /// Protocol and port that the tunnel is for.
    pub protoport: ProtoPort,
    /// The updown command; `None` is the configured default.
    pub updown: Option<String>,
    /// Look the key up in DNS when it is needed.
    pub key_from_dns: bool,
}

impl End {
    /// Whether the gateway is whoever comes.
    pub fn is_any(&self) -> bool {
        self.host.is_none() && self.live.is_none()
    }

    /// Whether the peer is still to choose its client.
    pub fn is_open(&self) -> bool {
        self.client_wildcard || self.virt.is_some()
    }

    fn choose(&mut self, client: Subnet) {
        if self.is_open() {
            self.client = Some(client);
            self.client_wildcard = false;
            self.virt = None;
        }
    }

    /// Whether the client is just the gateway.
    pub fn client_is_host(&self) -> bool {
        match (self.host, self.client) {
            (Some(host), Some(client)) => client == Subnet::host(host),
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }
}

/// Lifetimes and persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// `ikelifetime=`
    pub ike: Duration,
    /// `keylife=`
    pub ipsec: Duration,
    /// `rekeymargin=`
    pub rekey_margin: Duration,
    /// `rekeyfuzz=` in percent
    pub rekey_fuzz: u32,
    /// `keyingtries=`; 0 is for ever
    pub keying_tries: u32,
}

/// Dead peer detection (RFC 3706).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpd {
    /// `dpddelay=`: silence after which the peer is asked
    pub delay: Duration,
    /// `dpdtimeout=`: silence after which it is dead
    pub timeout: Duration,
    /// `dpdaction=`
    pub action: whack::DpdAction,
}

/// What people want of a connection, whatever it is at the moment: an address or a device that is away, a name that does not resolve and
/// a peer that is silent change nothing here. [`Engine::pursue`](super::Engine::pursue) brings it about as soon as it is possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `--route`, until `--unroute`: packets may bring it up.
    pub routed: bool,
    /// `--initiate`, until `--terminate`.
    pub up: bool,
}

/// What changes while a connection lives and is in no index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// The state whose SAs the eroute leads to.
    pub eroute_owner: Option<StateId>,
    /// The newest ISAKMP SA.
    pub newest_isakmp: Option<StateId>,
    /// The newest IPsec SA.
    pub newest_ipsec: Option<StateId>,
    /// What people want of it.
    pub wanted: Wanted,
    /// When our end lost its address, if it is away.
    pub away_since: Time,
    /// The way to the peer's client is closed although we do not know yet which address is ours.
    pub closed: bool,
    /// The system may have taken the route away, and it could not be made again yet.
    pub route_in_doubt: bool,
    /// How often in a row what is wanted could not be done.
    pub setbacks: u32,
    /// Debug classes that are on for it alone.
    pub debug: crate::engine::log::DebugSet,
    /// How many IKE states are on it; kept by the IKE part through
    /// [`Engine::state_added`](super::Engine::state_added) and
    /// [`Engine::state_gone`](super::Engine::state_gone).
    pub states: usize,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(crate) id: ConnId,
    /// Its name in ipsec.conf; instances have their template's.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Which instance of its template, from 1; 0 for others.
    pub instance_serial: u64,
    /// The template that it is an instance of.
    pub template: Option<ConnId>,
    /// What may be done.
    pub policy: Policy,
    /// How long things last.
    pub lifetimes: Lifetimes,
    /// Whether long IKE messages are cut to pieces.
    pub fragmentation: whack::Fragmentation,
    /// Whether and how the peer is watched.
    pub dpd: Option<Dpd>,
    /// Which algorithms.
    pub algorithms: Algorithms,
    /// Our end, once oriented; `left` before.
    pub this: End,
    /// The peer's end, once oriented; `right` before.
    pub that: End,
    /// The interface that makes `this` our end; `None` if not oriented.
    pub interface: Option<Interface>,
    /// The address of that interface has gone since. What is routed stays closed, and nothing can be negotiated.
    pub away: bool,
    /// An address of it is not known: nothing can be done with it, and it is nobody's whoever comes.
    pub waiting: bool,
    /// `this` is the end that came second when it was added.
    pub(crate) turned: bool,
    pub(crate) routing: Routing,
    /// What changes while it lives.
    pub live: Live,
}

impl Connection {
    /// Its number.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// How far its packets are taken care of.
    pub fn routing(&self) -> Routing {
        self.routing
    }

    /// Whom it is for, if that is known.
    pub fn clients(&self) -> Option<Clients> {
        Some(Clients {
            ours: self.this.client?,
            our_protoport: self.this.protoport,
            theirs: self.that.client?,
            their_protoport: self.that.protoport,
        })
    }

    /// Whether we know which end is ours.
    pub fn oriented(&self) -> bool {
        self.interface.is_some()
    }

    /// Whether our end has its address at the moment, so that we can negotiate.
    pub fn present(&self) -> bool {
        self.oriented() && !self.away
    }
}
