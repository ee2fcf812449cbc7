//! What a client may ask of pluto. Limits on the values are in `validate`.

use std::{fmt, net::IpAddr};

use ipsec_types::{ProtoPort, Subnet};
use serde::{Deserialize, Serialize};

use crate::virtual_net::Virtual;

/// One request. A client that wants several things sends them one after another, each over its
/// own connection to pluto.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Request {
    /// Add a connection description.
    Connection(Box<Connection>),
    /// Delete a connection description with its states, its instances and its route.
    Delete {
        /// Name of the connection.
        name: String,
    },
    /// Install the eroute and the route of a connection, so that traffic initiates it.
    Route {
        /// Name of the connection.
        name: String,
    },
    /// Remove what `Route` installed.
    Unroute {
        /// Name of the connection.
        name: String,
    },
    /// Negotiate a connection and keep it up.
    Initiate {
        /// Name of the connection.
        name: String,
        /// Answer at once instead of when the negotiation ends.
        asynchronous: bool,
    },
    /// Delete the states of a connection; its route stays.
    Terminate {
        /// Name of the connection.
        name: String,
    },
    /// Delete one state.
    DeleteState {
        /// Number of the state, as in `#3`.
        number: u64,
    },
    /// The peer is known to have lost its states: delete ours with it.
    Crash {
        /// Address of the peer.
        peer: IpAddr,
    },
    /// Find the interfaces, open the sockets, read the secrets.
    Listen,
    /// Close the IKE sockets.
    Unlisten,
    /// Record the public key of an ID.
    PublicKey {
        /// The ID: address, `@fqdn`, `user@fqdn`.
        id: String,
        /// Keep the keys already known for that ID instead of replacing them.
        add: bool,
        /// The kind of key.
        alg: PubkeyAlg,
        /// The key as text: `0s` base64 or `0x` hexadecimal of the RFC 2537 (RSA) form.
        /// None asks for a look-up in DNS.
        key: Option<String>,
    },
    /// Set what `%myid` stands for.
    MyId {
        /// The ID.
        id: String,
    },
    /// Read `ipsec.secrets` (and, reserved, other stores) again.
    Reread {
        /// Which stores.
        class: RereadClass,
    },
    /// List what is known.
    List {
        /// What to list.
        class: ListClass,
        /// Times in UTC instead of local time.
        utc: bool,
    },
    /// Set what is logged, for pluto or for one connection.
    Debug {
        /// The connection; None for pluto as a whole.
        name: Option<String>,
        /// The classes that are on from now; the others are off.
        classes: Vec<DebugClass>,
    },
    /// Negotiate opportunistically for a pair of hosts.
    OpportunisticInitiate {
        /// The client at our side.
        here: IpAddr,
        /// The client at the other side.
        there: IpAddr,
    },
    /// Describe interfaces, connections, states and shunts.
    Status,
    /// Delete the states, tell the peers, and exit.
    Shutdown,
}

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
}

impl End {
    /// An end that is just this host.
    pub fn new(host: Host) -> End {
        End {
            host,
            ike_port: 500,
            id: None,
            nexthop: None,
            client: None,
            client_within: false,
            virt: None,
            protoport: ProtoPort::ANY,
            updown: None,
            key_from_dns_on_demand: false,
        }
    }
}

/// The gateway of an end. `%defaultroute` and names are resolved by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Host {
    /// A fixed address.
    Addr(IpAddr),
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
    pub fn addr(self) -> Option<IpAddr> {
        match self {
            Host::Addr(addr) => Some(addr),
            _ => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Addr(addr) => addr.fmt(f),
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

/// Kinds of public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PubkeyAlg {
    /// RSA.
    Rsa,
}

/// What `Reread` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RereadClass {
    /// `ipsec.secrets`.
    Secrets,
    /// All that can be read again.
    All,
}

/// What `List` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ListClass {
    /// Public keys.
    PublicKeys,
    /// Everything.
    All,
}

/// A class of log lines that can be switched on: `--debug-raw` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DebugClass {
    /// Raw bytes of packets.
    Raw,
    /// Encryption and decryption.
    Crypt,
    /// Messages taken apart.
    Parsing,
    /// Messages put together.
    Emitting,
    /// Decisions.
    Control,
    /// Lives of SAs.
    Lifecycle,
    /// The conversation with KLIPS.
    Klips,
    /// DNS.
    Dns,
    /// Opportunism.
    Oppo,
    /// More decisions.
    ControlMore,
    /// PF_KEY messages.
    Pfkey,
    /// Private information: not part of `--debug-all`.
    Private,
}

impl DebugClass {
    /// All classes; the last, `Private`, is not part of `--debug-all`.
    pub const ALL: [DebugClass; 12] = [
        DebugClass::Raw,
        DebugClass::Crypt,
        DebugClass::Parsing,
        DebugClass::Emitting,
        DebugClass::Control,
        DebugClass::Lifecycle,
        DebugClass::Klips,
        DebugClass::Dns,
        DebugClass::Oppo,
        DebugClass::ControlMore,
        DebugClass::Pfkey,
        DebugClass::Private,
    ];

    /// The word after `--debug-`.
    pub fn name(self) -> &'static str {
        match self {
            DebugClass::Raw => "raw",
            DebugClass::Crypt => "crypt",
            DebugClass::Parsing => "parsing",
            DebugClass::Emitting => "emitting",
            DebugClass::Control => "control",
            DebugClass::Lifecycle => "lifecycle",
            DebugClass::Klips => "klips",
            DebugClass::Dns => "dns",
            DebugClass::Oppo => "oppo",
            DebugClass::ControlMore => "controlmore",
            DebugClass::Pfkey => "pfkey",
            DebugClass::Private => "private",
        }
    }

    /// The class of a word.
    pub fn from_name(name: &str) -> Option<DebugClass> {
        DebugClass::ALL
            .into_iter()
            .find(|class| class.name() == name)
    }
}

/// Values that travel as the text a person types.
mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(from)?;
        text.parse()
            .map_err(|e| D::Error::custom(format_args!("{text:?}: {e}")))
    }
}

/// The same for a value that may be absent (null).
mod optional_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        #[derive(Deserialize)]
        #[serde(transparent, bound(deserialize = "T: FromStr<Err: Display>"))]
        struct Text<T>(#[serde(with = "super::text")] T);

        Ok(Option::<Text<T>>::deserialize(from)?.map(|text| text.0))
    }
}
