//! The three records of opportunism, from the wire and to it: TXT `X-IPsec-Server`, KEY, IPSECKEY.

pub mod ipseckey;
pub mod key;
pub mod txt;

use crate::{Name, NameError};
use core::fmt;
use ipsec_keys::{Id, KeyError, PublicKey};
use std::net::IpAddr;
use thiserror::Error;

/// A gateway as records name it: by its address, or by a name that is an identity (`@fqdn`) and has a key of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gateway {
    /// Where it is, and its identity.
    Address(IpAddr),
    /// Its identity alone: it may be anywhere, so only it can begin.
    Name(Name),
}

/// Why a text names no gateway.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GatewayError {
    /// Neither form.
    #[error("gateway \"{0}\" is neither an address nor @ and a fully qualified name")]
    Neither(String),
    /// The name after `@` is wrong.
    #[error("gateway {0}")]
    Name(#[from] NameError),
}

impl Gateway {
    /// Reads `192.0.2.1`, `2001:db8::1` or `@gateway.example.com`.
    pub fn parse(text: &str) -> Result<Self, GatewayError> {
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Gateway::Name(Name::parse(name)?));
        }
        text.parse().map(Gateway::Address).map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            GatewayError::Neither(shown.escape_default().to_string())
        })
    }

    /// Where the records of this gateway are: its name, or the name of its address in the reverse map.
    pub fn owner(&self) -> Name {
        match self {
            Gateway::Address(address) => Name::reverse(*address),
            Gateway::Name(name) => name.clone(),
        }
    }

    /// The identity that such a gateway proves in IKE.
    pub fn id(&self) -> Id {
        match self {
            Gateway::Address(address) => Id::Address(*address),
            Gateway::Name(name) => Id::Fqdn(name.as_str().into()),
        }
    }
}

impl From<IpAddr> for Gateway {
    fn from(address: IpAddr) -> Self {
        Gateway::Address(address)
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gateway::Address(address) => write!(f, "{address}"),
            Gateway::Name(name) => write!(f, "@{name}"),
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// TXT `X-IPsec-Server`: its `@fqdn` is an identity, not a place.
    Txt,
    /// KEY (RFC 2535).
    Key,
    /// IPSECKEY (RFC 4025): a name in it is a host to be looked up.
    IpsecKey,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Txt => "TXT",
            Source::Key => "KEY",
            Source::IpsecKey => "IPSECKEY",
        })
    }
}

/// What one TXT or IPSECKEY record says: whoever owns it may be spoken for by this gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The lowest is tried first. IPSECKEY has 0 to 255, TXT 0 to 65535.
    pub precedence: u16,
    /// Who speaks for the owner.
    pub gateway: Gateway,
    /// The gateway's key; none if it is to be looked up with the gateway.
    pub key: Option<PublicKey>,
    /// The record that said so.
    pub source: Source,
}

impl Delegation {
    /// Whether this record says that `gateway` may speak for its owner.
    pub fn is_to(&self, gateway: &Gateway) -> bool {
        self.gateway == *gateway
    }
}

/// Why a record is of no use. Texts of the record are shown escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A TXT record that begins with `X-IPsec-Server` and goes on wrongly.
    #[error("TXT record is X-IPsec-Server {0}: it reads X-IPsec-Server(10)=192.0.2.1 AQ…")]
    Txt(&'static str),
    /// Its gateway.
    #[error("TXT record X-IPsec-Server: {0}")]
    TxtGateway(GatewayError),
    /// Rdata that ends early or has something left over.
    #[error("{0} record is malformed: {1}")]
    Malformed(Source, String),
    /// A KEY for something else: flags, protocol or algorithm.
    #[error("KEY record is not for IPsec: {0}")]
    NotForIpsec(String),
    /// An IPSECKEY of another algorithm than RSA.
    #[error("IPSECKEY record has {0}: RSA keys (algorithm 2) are used here")]
    Algorithm(String),
    /// The key itself.
    #[error("{0} record: {1}")]
    Key(Source, KeyError),
}

#[cfg(test)]
pub(crate) mod tests {
    use ipsec_keys::PublicKey;

    /// Some key of 1024 bits.
    pub(crate) fn key() -> PublicKey {
        let mut modulus = vec![0x85, 0xf2, 0xd6, 0x76, 0x9b, 0x03];
        modulus.resize(128, 0x55);
        PublicKey::new(&modulus, &[3]).unwrap()
    }
}
