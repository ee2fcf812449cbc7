//! Whom an end of a connection stands for: a known identity, anyone, or this machine's own.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

pub use ipsec_keys::{Id as KnownId, IdError};

/// The identity of an end.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// None given: any will do.
    #[default]
    None,
    /// The identity of this machine (`%myid`), whatever it is at the moment.
    MyId,
    /// This one.
    Known(KnownId),
}

impl Id {
    /// Whether any will do.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The identity, if it is known.
    pub const fn known(&self) -> Option<&KnownId> {
        match self {
            Self::Known(id) => Some(id),
            Self::None | Self::MyId => None,
        }
    }

    /// Same identity: names compare without regard to case, as in DNS.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => a.same(b),
            _ => self == other,
        }
    }

    /// A form in which same identities are equal, for hashing.
    #[must_use]
    pub fn normal(&self) -> Self {
        let plain = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match self {
            Self::Known(KnownId::Fqdn(name)) => Self::Known(KnownId::Fqdn(plain(name))),
            Self::Known(KnownId::UserFqdn(name)) => Self::Known(KnownId::UserFqdn(plain(name))),
            other => other.clone(),
        }
    }
}

impl From<IpAddr> for Id {
    fn from(addr: IpAddr) -> Self {
        Self::Known(KnownId::Address(addr))
    }
}

impl From<KnownId> for Id {
    /// The unspecified address is anyone.
    fn from(id: KnownId) -> Self {
        if id.is_any() {
            Self::None
        } else {
            Self::Known(id)
        }
    }
}

impl FromStr for Id {
    type Err = IdError;

    /// Reads an address, `@fqdn`, `user@fqdn`, `@#hex`, `%any` or `%myid`; looks no name up.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "%myid" {
            return Ok(Self::MyId);
        }
        KnownId::parse_literal(text).map(Self::from)
    }
}

impl fmt::Display for Id {
    /// The form that `FromStr` reads. A peer chooses its name, so characters that a terminal
    /// or a shell would act on are shown as `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("(none)"),
            Self::MyId => f.write_str("%myid"),
            Self::Known(id) => {
                let harmless = |c: &char| c.is_ascii_graphic() && !"'\"`$\\;&|<>".contains(*c);
                let text: String = id
                    .to_string()
                    .chars()
                    .map(|c| if harmless(&c) { c } else { '?' })
                    .collect();
                f.write_str(&text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_both_ways() {
        for text in [
            "192.0.2.1",
            "2001:db8::1",
            "@east",
            "joe@example.com",
            "%myid",
            "@#deadbeef",
        ] {
            assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
        }
        assert_eq!("%any".parse(), Ok(Id::None));
    }

    #[test]
    fn names_compare_as_in_dns() {
        let east: Id = "@East.Example.COM.".parse().unwrap();
        assert!(east.same(&"@east.example.com".parse().unwrap()));
        assert_eq!(east.normal(), "@east.example.com".parse().unwrap());
        assert!(!east.same(&"@west".parse().unwrap()));
    }

    #[test]
    fn nothing_a_shell_acts_on_is_shown() {
        let id = Id::Known(KnownId::Fqdn("a`rm`;$x\n'".into()));
        assert_eq!(id.to_string(), "@a?rm???x??");
    }
}
