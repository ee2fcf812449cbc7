//! Transport protocols and ports as `leftprotoport=` writes them: `17/1701`, `tcp/80`, `icmp`.

use core::fmt;
use core::str::FromStr;

/// A TCP, UDP or SCTP port in host order; for ICMP, type in the high byte and code in the low. 0 is any port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Port(pub u16);

impl Port {
    /// Any port.
    pub const ANY: Self = Self(0);

    /// Whether this stands for every port.
    pub const fn is_any(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            f.write_str("%any")
        } else {
            self.0.fmt(f)
        }
    }
}

/// A protocol with a port. `proto` 0 is any protocol (and then `port` is any).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ProtoPort {
    /// IP protocol number; 0 is any.
    pub proto: u8,
    /// Port in host order; 0 is any.
    pub port: Port,
}

/// Why a text is no protocol and port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtoPortError {
    /// The protocol is neither a known name nor a number to 255.
    Protocol,
    /// The port is neither `%any`, a known service nor a number to 65535.
    Port,
    /// A port on a protocol that has none, or on any protocol.
    PortWithoutProtocol,
}

impl fmt::Display for ProtoPortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "unknown protocol: expected a number to 255 or one of tcp, udp, icmp, ipv6-icmp, sctp, gre, ospf, l2tp",
            Self::Port => "bad port: expected a number to 65535, %any, or a name such as l2f, http, domain",
            Self::PortWithoutProtocol => "a port needs a protocol that has ports: 6 (tcp), 17 (udp), 132 (sctp), or 1 and 58 (icmp)",
        })
    }
}

impl core::error::Error for ProtoPortError {}

const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ospf", 89),
    ("ipcomp", 108),
    ("l2tp", 115),
    ("sctp", 132),
];

const SERVICES: &[(&str, u16)] = &[
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("https", 443),
    ("isakmp", 500),
    ("syslog", 514),
    ("l2f", 1701),
    ("l2tp", 1701),
    ("nfs", 2049),
];

/// The number of a protocol written as a number or a name of the IANA protocols list.
pub fn protocol_number(text: &str) -> Option<u8> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    PROTOCOLS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, n)| *n)
}

/// The usual name of a protocol number, if it has one here.
pub fn protocol_name(proto: u8) -> Option<&'static str> {
    PROTOCOLS
        .iter()
        .find(|(_, n)| *n == proto)
        .map(|(name, _)| *name)
}

impl ProtoPort {
    /// Any protocol, any port.
    pub const ANY: Self = Self {
        proto: 0,
        port: Port::ANY,
    };

    /// The same protocol with any port.
    pub const fn with_any_port(self) -> Self {
        Self {
            port: Port::ANY,
            ..self
        }
    }

    /// Whether packets of `proto` carry ports (or an ICMP type and code) that a selector can name.
    pub const fn has_ports(proto: u8) -> bool {
        matches!(proto, 1 | 6 | 17 | 58 | 132)
    }
}

impl fmt::Display for ProtoPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.proto, self.port.0)
    }
}

impl FromStr for ProtoPort {
    type Err = ProtoPortError;

    /// Reads `proto` or `proto/port`; either may be a number or a name, the port `%any`.
    fn from_str(text: &str) -> Result<Self, ProtoPortError> {
        let (proto, port) = match text.split_once('/') {
            Some((proto, port)) => (proto, Some(port)),
            None => (text, None),
        };
        let proto = protocol_number(proto).ok_or(ProtoPortError::Protocol)?;
        let port = match port {
            None | Some("%any") => 0,
            Some(p) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) => {
                p.parse().map_err(|_| ProtoPortError::Port)?
            }
            Some(p) => SERVICES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(p))
                .map(|(_, n)| *n)
                .ok_or(ProtoPortError::Port)?,
        };
        if port != 0 && !Self::has_ports(proto) {
            return Err(ProtoPortError::PortWithoutProtocol);
        }
        Ok(Self {
            proto,
            port: Port(port),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn forms() {
        for (text, proto, port) in [
            ("17/1701", 17, 1701),
            ("tcp/80", 6, 80),
            ("icmp", 1, 0),
            ("udp/l2f", 17, 1701),
            ("17/%any", 17, 0),
            ("0", 0, 0),
            ("UDP/domain", 17, 53),
            ("47", 47, 0),
        ] {
            assert_eq!(
                text.parse::<ProtoPort>(),
                Ok(ProtoPort {
                    proto,
                    port: Port(port)
                }),
                "{text}"
            );
        }
        for (text, want) in [
            ("", ProtoPortError::Protocol),
            ("256", ProtoPortError::Protocol),
            ("foo/1", ProtoPortError::Protocol),
            ("17/65536", ProtoPortError::Port),
            ("17/", ProtoPortError::Port),
            ("17/-1", ProtoPortError::Port),
            ("47/1", ProtoPortError::PortWithoutProtocol),
            ("0/53", ProtoPortError::PortWithoutProtocol),
        ] {
            assert_eq!(text.parse::<ProtoPort>(), Err(want), "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(proto: u8, port: u16) {
            let pp = ProtoPort { proto, port: Port(if ProtoPort::has_ports(proto) { port } else { 0 }) };
            prop_assert_eq!(pp.to_string().parse::<ProtoPort>().unwrap(), pp);
        }
    }
}
