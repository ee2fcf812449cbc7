//! A connection description as it travels: ends, policy, lifetimes.

use std::{fmt, net::IpAddr};

use ipsec_types::{ProtoPort, Subnet};
use serde::{Deserialize, Serialize};

use super::{optional_text, text};
use crate::virtual_net::Virtual;

/// A connection description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Name, unique.
    pub name: String,
    /// One end; which of the two is this host is found by orientation.
    pub left: End,
    /// The other end.
    pub right: End,
    /// How to protect.
    pub policy: Policy,
    /// How long keys live and how hard to try.
    pub lifetimes: Lifetimes,
    /// Dead peer detection.
    pub dpd: Dpd,
    /// Fragments of IKE messages.
    pub fragmentation: Fragmentation,
    /// `ike=`: proposals for the ISAKMP SA, as typed; None for the default.
    pub ike: Option<String>,
    /// `esp=`: proposals for the IPsec SA, as typed; None for the default. Of AH, where the policy has no `encrypt`.
    pub esp: Option<String>,
    /// `pfsgroup=`: group for perfect forward secrecy, as typed; None for that of the ISAKMP SA.
    pub pfsgroup: Option<String>,
    /// Address family between the gateways is IPv6.
    pub ipv6: bool,
    /// Address family of the clients is IPv6.
    pub tunnel_ipv6: bool,
}

impl Connection {
    /// A connection of which nothing is told but its ends, both families IPv4.
    pub fn new(name: impl Into<String>, left: End, right: End) -> Connection {
        Connection {
            name: name.into(),
            left,
            right,
            policy: Policy::default(),
            lifetimes: Lifetimes::default(),
            dpd: Dpd::default(),
            fragmentation: Fragmentation::default(),
            ike: None,
            esp: None,
            pfsgroup: None,
            ipv6: false,
            tunnel_ipv6: false,
        }
    }
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// The gateway.
    pub host: Host,
    /// Its IKE port, 500 unless told.
    pub ike_port: u16,
    /// Its ID as typed; None means its address.
    pub id: Option<String>,
    /// Next hop towards the other end; None (`%direct`) means the other end itself.
    pub nexthop: Option<IpAddr>,
    /// What its own packets to the other end's subnet come from (`sourceip=`).
    #[serde(default)]
    pub source_ip: Option<IpAddr>,
    /// Where pluto finds the next hop, and finds it again when it may have changed; `nexthop` is none then.
    #[serde(default)]
    pub live_nexthop: Option<Live>,
    /// The subnet behind it; None for the gateway alone.
    #[serde(with = "optional_text")]
    pub client: Option<Subnet>,
    /// The peer may propose any subnet within `client` (`subnetwithin=`).
    pub client_within: bool,
    /// The peer may propose what this allows (`subnet=vhost:…`); then `client` is none.
    #[serde(with = "optional_text", default)]
    pub virt: Option<Virtual>,
    /// Only this protocol and port.
    #[serde(with = "text")]
    pub protoport: ProtoPort,
    /// Command for route and policy changes; None means none is run.
    pub updown: Option<String>,
    /// Look the public key up in DNS when needed.
    pub key_from_dns_on_demand: bool,
    /// RSA keys of an end that is known by its address, where that address is pluto's to find; as text, like that of
    /// [`Request::PublicKey`](super::Request::PublicKey).
    #[serde(default)]
    pub keys: Vec<String>,
}

impl End {
    /// An end that is just this host.
    pub fn new(host: Host) -> End {
        End {
            host,
            ike_port: 500,
            id: None,
            nexthop: None,
            source_ip: None,
            live_nexthop: None,
            client: None,
            client_within: false,
            virt: None,
            protoport: ProtoPort::ANY,
            updown: None,
            key_from_dns_on_demand: false,
            keys: Vec::new(),
        }
    }
}

/// Where an address comes from that is not given as such: it may not be known yet, and it may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Live {
    /// A host name, as DNS and /etc/hosts know it.
    Name(String),
    /// `%defaultroute`: our address on the device that the default route takes, or its router.
    DefaultRoute,
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Live::Name(name) => name,
            Live::DefaultRoute => "%defaultroute",
        })
    }
}

/// The gateway of an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Host {
    /// A fixed address.
    Addr(IpAddr),
    /// An address that pluto finds, and finds again when it may have changed.
    Live(Live),
    /// Any address: a road warrior.
    Any,
    /// Any address, found through DNS.
    Opportunistic,
    /// A policy group's template.
    Group,
    /// A policy group's template, opportunistic.
    OpportunisticGroup,
}

impl Host {
    /// The address, if it is fixed.
    pub fn addr(&self) -> Option<IpAddr> {
        match self {
            Host::Addr(addr) => Some(*addr),
            _ => None,
        }
    }

    /// Where the address comes from, if it is one that pluto finds.
    pub fn live(&self) -> Option<&Live> {
        match self {
            Host::Live(live) => Some(live),
            _ => None,
        }
    }

    /// Whether it is one host, whose address is known or will be; not whoever comes.
    pub fn is_one(&self) -> bool {
        matches!(self, Host::Addr(_) | Host::Live(_))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Addr(addr) => addr.fmt(f),
            Host::Live(live) => live.fmt(f),
            Host::Any => f.write_str("%any"),
            Host::Opportunistic => f.write_str("%opportunistic"),
            Host::Group => f.write_str("%group"),
            Host::OpportunisticGroup => f.write_str("%opportunisticgroup"),
        }
    }
}

/// How a connection authenticates and protects, and what becomes of its packets meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Preshared secrets may authenticate the peer.
    pub psk: bool,
    /// RSA signatures may authenticate the peer.
    pub rsasig: bool,
    /// ESP with encryption.
    pub encrypt: bool,
    /// AH.
    pub authenticate: bool,
    /// IPCOMP.
    pub compress: bool,
    /// Tunnel mode.
    pub tunnel: bool,
    /// Perfect forward secrecy in Quick Mode.
    pub pfs: bool,
    /// Sequence numbers of 64 bits.
    pub esn: Esn,
    /// Do not check that packets out of the tunnel belong there.
    pub disable_arrival_check: bool,
    /// Let SAs expire instead of replacing them.
    pub dont_rekey: bool,
    /// ESP in UDP even where there is no NAT.
    #[serde(default)]
    pub force_encaps: bool,
    /// Keys and gateways in DNS count only where DNSSEC has proved them.
    #[serde(default)]
    pub dnssec: bool,
    /// What becomes of packets before the connection is up.
    pub shunt: Shunt,
    /// What becomes of packets when negotiation failed.
    pub failure: Failure,
    /// The connection is opportunistic.
    pub opportunistic: bool,
    /// The connection is a policy group's template.
    pub group: bool,
}

/// Sequence numbers of ESP and AH: 32 bits, or 64 (RFC 4303 section 2.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Esn {
    /// 32 bits.
    #[default]
    No,
    /// 64 bits.
    Yes,
    /// 64 bits, or 32 if the peer wants them.
    Either,
}

/// Prospective shunt: what a routed connection does with packets before it is up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Shunt {
    /// Negotiate (`%trap`).
    #[default]
    Trap,
    /// Let them go in the clear.
    Pass,
    /// Discard them.
    Drop,
    /// Discard them and tell the sender.
    Reject,
}

/// Failure shunt: what happens to packets once negotiation failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// As the prospective shunt.
    #[default]
    None,
    /// Let them go in the clear.
    Pass,
    /// Discard them.
    Drop,
    /// Discard them and tell the sender.
    Reject,
}

/// Lifetimes in seconds, and persistence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    /// ISAKMP SA, at most [`Lifetimes::IKE_MAXIMUM`].
    pub ike: u32,
    /// IPsec SA, at most [`Lifetimes::IPSEC_MAXIMUM`].
    pub ipsec: u32,
    /// Start replacing this long before the end.
    pub rekey_margin: u32,
    /// Lengthen the margin at random by up to this percentage.
    pub rekey_fuzz: u32,
    /// Attempts before giving up; 0 means forever.
    pub keying_tries: u32,
}

impl Lifetimes {
    /// Longest ISAKMP SA, one day.
    pub const IKE_MAXIMUM: u32 = 86_400;
    /// Longest IPsec SA, one day.
    pub const IPSEC_MAXIMUM: u32 = 86_400;

    /// The earliest a replacement can start before the end: margin and fuzz together, in seconds.
    pub fn longest_margin(&self) -> u64 {
        u64::from(self.rekey_margin) * (100 + u64::from(self.rekey_fuzz)) / 100
    }
}

impl Default for Lifetimes {
    fn default() -> Lifetimes {
        Lifetimes {
            ike: 3600,
            ipsec: 28_800,
            rekey_margin: 540,
            rekey_fuzz: 100,
            keying_tries: 3,
        }
    }
}

/// Dead peer detection (RFC 3706): how long a peer may be silent, and what becomes of its tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dpd {
    /// Seconds of silence after which the peer is asked whether it is there; 0: it is never asked.
    pub delay: u32,
    /// Seconds of silence after which it is dead.
    pub timeout: u32,
    /// What then.
    pub action: DpdAction,
}

impl Dpd {
    /// `delay` where only `timeout` is given.
    pub const DEFAULT_DELAY: u32 = 30;
    /// `timeout` where only `delay` is given.
    pub const DEFAULT_TIMEOUT: u32 = 120;
    /// The longest of each, one day.
    pub const MAXIMUM: u32 = 86_400;

    /// From what was said, with defaults for what was not; off if neither time was.
    pub fn new(delay: Option<u32>, timeout: Option<u32>, action: Option<DpdAction>) -> Dpd {
        let on = delay.is_some() || timeout.is_some();
        Dpd {
            delay: delay.unwrap_or(if on { Dpd::DEFAULT_DELAY } else { 0 }),
            timeout: timeout.unwrap_or(if on { Dpd::DEFAULT_TIMEOUT } else { 0 }),
            action: action.unwrap_or_default(),
        }
    }
}

/// Whether IKE messages that are too long for one packet are cut to pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fragmentation {
    /// Never; IP fragments them.
    #[default]
    No,
    /// If the peer announces that it understands that.
    Yes,
    /// In any case.
    Force,
}

impl Fragmentation {
    /// The value of a word after `fragmentation=`.
    pub fn from_name(name: &str) -> Option<Fragmentation> {
        match name {
            "no" => Some(Fragmentation::No),
            "yes" => Some(Fragmentation::Yes),
            "force" => Some(Fragmentation::Force),
            _ => None,
        }
    }
}

/// What becomes of the tunnel of a dead peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DpdAction {
    /// A trap: packets bring it up again.
    #[default]
    Hold,
    /// Nothing: its packets go where other routes lead.
    Clear,
    /// It is negotiated again at once.
    Restart,
}

impl DpdAction {
    /// All of them.
    pub const ALL: [DpdAction; 3] = [DpdAction::Hold, DpdAction::Clear, DpdAction::Restart];

    /// The word after `dpdaction=`.
    pub fn name(self) -> &'static str {
        match self {
            DpdAction::Hold => "hold",
            DpdAction::Clear => "clear",
            DpdAction::Restart => "restart",
        }
    }

    /// The action of a word.
    pub fn from_name(name: &str) -> Option<DpdAction> {
        DpdAction::ALL
            .into_iter()
            .find(|action| action.name() == name)
    }
}
