//! Domain names that are safe to log, print and compare, and the names of addresses in the reverse maps.

use core::fmt;
use std::net::IpAddr;
use thiserror::Error;

/// Longest label, in octets (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
/// Longest name as text without the final dot: 255 octets on the wire.
const MAX_NAME: usize = 253;

/// A fully qualified domain name: lower case, no final dot, printable characters only, lengths as RFC 1035 has them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is no domain name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there, or the root alone.
    #[error("empty name: a fully qualified name like gateway.example.com belongs here")]
    Empty,
    /// Two dots together, or a dot in front.
    #[error("\"{0}\" has an empty label: labels are separated by single dots")]
    EmptyLabel(String),
    /// A label above 63 octets.
    #[error("label \"{0}\" is longer than {MAX_LABEL} characters")]
    LongLabel(String),
    /// The whole above 253 characters.
    #[error("name of {0} characters: {MAX_NAME} are the most")]
    Long(usize),
    /// A character that no host or reverse map needs, and that zone files or logs would misread.
    #[error("{0:?} can't be in the name: letters, digits, - and _ can, and / in reverse maps")]
    Character(char),
}

impl Name {
    /// Reads `gateway.example.com`, with or without a final dot.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::Long(text.len()));
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(NameError::EmptyLabel(text.escape_default().to_string()));
            }
            if let Some(bad) = label.chars().find(|c| !may_stand_in_a_name(*c)) {
                return Err(NameError::Character(bad));
            }
            if label.len() > MAX_LABEL {
                return Err(NameError::LongLabel(label.to_string()));
            }
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The name of an address in its reverse map: `4.3.2.1.in-addr.arpa`, or 32 nibbles under `ip6.arpa` (RFC 3596 section 2.5).
    pub fn reverse(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let mut text = String::with_capacity(72);
                for octet in v6.octets().iter().rev() {
                    text.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
                }
                text + "ip6.arpa"
            }
        })
    }

    /// Without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label; none above the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_once('.').map(|(_, rest)| Self(rest.into()))
    }

    /// Reads an uncompressed name from the wire; returns what follows it.
    pub(crate) fn from_wire(mut wire: &[u8]) -> Result<(Self, &[u8]), WireNameError> {
        let mut text = String::new();
        loop {
            let (length, rest) = wire.split_first().ok_or(WireNameError::Cut)?;
            if *length == 0 {
                return Ok((Self::parse(&text)?, rest));
            }
            if usize::from(*length) > MAX_LABEL {
                return Err(WireNameError::Compressed);
            }
            let (label, rest) = rest
                .split_at_checked(usize::from(*length))
                .ok_or(WireNameError::Cut)?;
            if !text.is_empty() {
                text.push('.');
            }
            for octet in label {
                match char::from(*octet) {
                    // A dot within a label would read as two labels.
                    '.' => return Err(NameError::Character('.').into()),
                    c => text.push(c),
                }
            }
            if text.len() > MAX_NAME {
                return Err(NameError::Long(text.len()).into());
            }
            wire = rest;
        }
    }

    /// The name on the wire, uncompressed.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.0.len() + 2);
        for label in self.0.split('.') {
            // A label has 63 octets at most.
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire
    }
}

/// Why octets are no name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum WireNameError {
    #[error("the name is cut short")]
    Cut,
    #[error("the name is compressed, which RFC 4025 forbids")]
    Compressed,
    #[error(transparent)]
    Name(#[from] NameError),
}

fn may_stand_in_a_name(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ';' | '(' | ')' | '@' | '$' | '\'' | '`')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_maps() {
        let name = |text: &str| Name::reverse(text.parse().unwrap()).to_string();
        assert_eq!(name("1.2.3.4"), "4.3.2.1.in-addr.arpa");
        assert_eq!(name("::ffff:1.2.3.4"), "4.3.2.1.in-addr.arpa");
        // RFC 3596 section 2.5.
        assert_eq!(
            name("4321:0:1:2:3:4:567:89ab"),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"
        );
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(
            Name::parse("Gateway.Example.COM.").unwrap().as_str(),
            "gateway.example.com"
        );
        assert!(Name::parse("0/25.2.0.192.in-addr.arpa").is_ok());
        assert_eq!(Name::parse("."), Err(NameError::Empty));
        assert_eq!(
            Name::parse("a..b"),
            Err(NameError::EmptyLabel("a..b".into()))
        );
        assert_eq!(Name::parse("a b"), Err(NameError::Character(' ')));
        assert_eq!(Name::parse("a\nb"), Err(NameError::Character('\n')));
        assert!(matches!(
            Name::parse(&"a".repeat(64)),
            Err(NameError::LongLabel(_))
        ));
        assert_eq!(Name::parse(&"a.".repeat(128)), Err(NameError::Long(255)));
    }

    #[test]
    fn wire_both_ways() {
        let name = Name::parse("gateway.example.com").unwrap();
        let mut wire = name.to_wire();
        assert_eq!(wire, b"\x07gateway\x07example\x03com\0");
        wire.push(9);
        assert_eq!(Name::from_wire(&wire), Ok((name, &[9][..])));
        assert_eq!(Name::from_wire(b"\xc0\x0c"), Err(WireNameError::Compressed));
        assert_eq!(Name::from_wire(b"\x03ab"), Err(WireNameError::Cut));
        assert_eq!(
            Name::from_wire(b"\x03a.b\0"),
            Err(NameError::Character('.').into())
        );
    }
}
