//! What a client may ask of pluto. Limits on the values are in `validate`.

mod connection;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use connection::{
    Connection, Dpd, DpdAction, End, Esn, Failure, Fragmentation, Host, Lifetimes, Live, Policy,
    Shunt,
};

/// One request. A client that wants several things sends them one after another, each over its
/// own connection to pluto.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Request {
    /// Add a connection description.
    Connection(Box<Connection>),
    /// Put a connection description in the place of the one of its name, if there is one. A policy group stays routed if it was, and
    /// its blocks are never open meanwhile.
    Replace(Box<Connection>),
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
