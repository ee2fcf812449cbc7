//! Identities as ipsec.conf and ipsec.secrets write them: addresses, `@fqdn`, `user@fqdn`, `@#hex`, `%any`, `%any6`.

use crate::data;
use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use thiserror::Error;

/// Who a participant is (RFC 2407 section 4.6.2). The unspecified address stands for anyone, `%any` or `%any6`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN, without the leading `@`.
    Fqdn(String),
    /// ID_USER_FQDN, `user@fqdn`.
    UserFqdn(String),
    /// ID_KEY_ID, opaque bytes.
    KeyId(Vec<u8>),
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Nothing there.
    #[error("empty identity")]
    Empty,
    /// `@#` without good hexadecimal after it.
    #[error("\"{0}\": @# must be followed by an even number of hexadecimal digits")]
    KeyId(String),
    /// A host name that would have to be looked up.
    #[error(
        "\"{0}\" is neither an address nor @fqdn nor user@fqdn (write @{0} for a name that is not looked up)"
    )]
    NeedsLookup(String),
    /// The name has no address.
    #[error(
        "cannot find an address for \"{name}\": {reason} (write @{name} for a name that is not looked up)"
    )]
    Lookup {
        /// The host name.
        name: String,
        /// What the resolver said.
        reason: String,
    },
}

impl Id {
    /// `%any`: any IPv4 peer.
    pub const fn any4() -> Self {
        Id::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// `%any6`: any IPv6 peer.
    pub const fn any6() -> Self {
        Id::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }

    /// Whether this stands for anyone.
    pub fn is_any(&self) -> bool {
        matches!(self, Id::Address(a) if a.is_unspecified())
    }

    /// Reads an identity; a bare host name is looked up, which may take time.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match Self::parse_literal(text) {
            Err(IdError::NeedsLookup(name)) => Self::look_up(name),
            other => other,
        }
    }

    /// Reads an identity and never looks a name up.
    pub fn parse_literal(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.eq_ignore_ascii_case("%any") {
            return Ok(Self::any4());
        }
        if text.eq_ignore_ascii_case("%any6") {
            return Ok(Self::any6());
        }
        if let Some(hex) = text.strip_prefix("@#") {
            let hex = hex.strip_prefix("0x").unwrap_or(hex);
            let bytes =
                data::parse(&format!("0x{hex}")).map_err(|_| IdError::KeyId(text.into()))?;
            return Ok(Id::KeyId(bytes.to_vec()));
        }
        match text.split_once('@') {
            Some(("", "")) => return Err(IdError::Empty),
            Some(("", fqdn)) => return Ok(Id::Fqdn(fqdn.into())),
            Some(_) => return Ok(Id::UserFqdn(text.into())),
            None => {}
        }
        text.parse()
            .map(Id::Address)
            .map_err(|_| IdError::NeedsLookup(text.into()))
    }

    fn look_up(name: String) -> Result<Self, IdError> {
        let fail = |reason: String| IdError::Lookup {
            name: name.clone(),
            reason,
        };
        let mut found = (name.as_str(), 0)
            .to_socket_addrs()
            .map_err(|e| fail(e.to_string()))?;
        found
            .next()
            .map(|a| Id::Address(a.ip()))
            .ok_or_else(|| fail("no address".into()))
    }

    /// Whether both name the same participant: names without regard to case and a final dot.
    pub fn same(&self, other: &Id) -> bool {
        fn plain(name: &str) -> &str {
            name.strip_suffix('.').unwrap_or(name)
        }
        match (self, other) {
            (Id::Fqdn(a), Id::Fqdn(b)) | (Id::UserFqdn(a), Id::UserFqdn(b)) => {
                plain(a).eq_ignore_ascii_case(plain(b))
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            id if *id == Self::any4() => f.write_str("%any"),
            id if *id == Self::any6() => f.write_str("%any6"),
            Id::Address(a) => write!(f, "{a}"),
            Id::Fqdn(name) => write!(f, "@{name}"),
            Id::UserFqdn(name) => f.write_str(name),
            Id::KeyId(bytes) => write!(f, "@#{}", &data::to_hex(bytes)[2..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_both_ways() {
        for text in [
            "192.0.2.1",
            "2001:db8::1",
            "@east.example",
            "joe@east.example",
            "@#0aff",
            "%any",
            "%any6",
        ] {
            assert_eq!(Id::parse_literal(text).unwrap().to_string(), text);
        }
        assert_eq!(Id::parse_literal("0.0.0.0").unwrap(), Id::any4());
    }

    #[test]
    fn names_compare_without_case() {
        let a = Id::parse_literal("@East.Example.").unwrap();
        assert!(a.same(&Id::parse_literal("@east.example").unwrap()));
        assert!(!a.same(&Id::parse_literal("x@east.example").unwrap()));
    }

    #[test]
    fn a_bare_name_is_told_apart() {
        assert!(matches!(
            Id::parse_literal("east.example"),
            Err(IdError::NeedsLookup(_))
        ));
        assert!(matches!(Id::parse_literal("@"), Err(IdError::Empty)));
        assert!(matches!(Id::parse_literal("@#xyz"), Err(IdError::KeyId(_))));
    }
}
