//! Who a peer says it is (RFC 2407 section 4.6.2), and for whom a Quick Mode is: the two meanings
//! of an Identification payload, owned and checked. Its octets are `wire::Id`'s business.

use core::fmt;
use core::net::IpAddr;

use ipsec_types::{AddrRange, Port, ProtoPort, Subnet};

use crate::wire::{Id, IdType, IdValue};

/// UDP, the only protocol besides 0 that a phase 1 identity may name.
const UDP: u8 = 17;
/// The only port besides 0 that a phase 1 identity may name.
const IKE_PORT: u16 = 500;
/// Longest name or opaque identity that is taken from a peer.
const MAX_NAME: usize = 1024;

/// A phase 1 identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Addr(IpAddr),
    /// ID_FQDN: a host name, without `@`.
    Fqdn(String),
    /// ID_USER_FQDN: `user@host`.
    UserFqdn(String),
    /// ID_DER_ASN1_DN: a distinguished name, as it is.
    DerAsn1Dn(Vec<u8>),
    /// ID_KEY_ID: opaque.
    KeyId(Vec<u8>),
}

/// What is wrong with an Identification payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Phase 1 identities have protocol and port 0/0 or 17/500.
    #[error("protocol/port in Phase 1 ID Payload must be 0/0 or 17/500 but are {protocol}/{port}")]
    ProtoPort {
        /// Protocol given.
        protocol: u8,
        /// Port given.
        port: u16,
    },
    /// A name that is no text, is empty or overlong, or holds a NUL.
    #[error("{0} payload is empty, overlong or no plain text")]
    Name(IdType),
    /// `user@host` without `@`.
    #[error("peer's ID_USER_FQDN contains no @")]
    NoAt,
    /// A type that does not belong here.
    #[error("unacceptable identity type {0}")]
    Kind(IdType),
    /// A subnet whose address has bits outside the mask.
    #[error("{0} payload has bits set in the host part of a subnet")]
    Subnet(IdType),
    /// A port of a protocol that has none.
    #[error("ID payload names port {port} of protocol {protocol}, which has none")]
    NoPorts {
        /// Protocol given.
        protocol: u8,
        /// Port given.
        port: u16,
    },
}

impl Identity {
    /// The identification type, whose name the log shows.
    pub fn kind(&self) -> IdType {
        self.to_wire().value.id_type()
    }

    /// Takes the identity that a peer declares in phase 1.
    ///
    /// # Errors
    /// A subnet or range, a name that is no text, protocol and port other than 0/0 and 17/500.
    pub fn from_wire(id: &Id<'_>) -> Result<Self, IdentityError> {
        let (protocol, port) = (id.protocol, id.port);
        if (protocol, port) != (0, 0) && (protocol, port) != (UDP, IKE_PORT) {
            return Err(IdentityError::ProtoPort { protocol, port });
        }
        let kind = id.value.id_type();
        let opaque = |data: &[u8]| match data.len() {
            1..=MAX_NAME => Ok(data.to_vec()),
            _ => Err(IdentityError::Name(kind)),
        };
        let name = |data: &[u8]| {
            let text = String::from_utf8(opaque(data)?).map_err(|_| IdentityError::Name(kind))?;
            if text.contains('\0') {
                Err(IdentityError::Name(kind))
            } else {
                Ok(text)
            }
        };
        match id.value {
            IdValue::Ipv4(addr) => Ok(Self::Addr(addr.into())),
            IdValue::Ipv6(addr) => Ok(Self::Addr(addr.into())),
            IdValue::Fqdn(data) => name(data).map(Self::Fqdn),
            IdValue::UserFqdn(data) => match name(data)? {
                name if name.contains('@') => Ok(Self::UserFqdn(name)),
                _ => Err(IdentityError::NoAt),
            },
            IdValue::DerAsn1Dn(data) => opaque(data).map(Self::DerAsn1Dn),
            IdValue::KeyId(data) => opaque(data).map(Self::KeyId),
            _ => Err(IdentityError::Kind(kind)),
        }
    }

    /// For the wire, with protocol and port 0.
    pub fn to_wire(&self) -> Id<'_> {
        Id::new(match self {
            Self::Addr(addr) => IdValue::address(*addr),
            Self::Fqdn(name) => IdValue::Fqdn(name.as_bytes()),
            Self::UserFqdn(name) => IdValue::UserFqdn(name.as_bytes()),
            Self::DerAsn1Dn(data) => IdValue::DerAsn1Dn(data),
            Self::KeyId(data) => IdValue::KeyId(data),
        })
    }
}

impl fmt::Display for Identity {
    /// As ipsec.conf writes identities; octets that are no plain ASCII are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_wire().value.fmt(f)
    }
}

/// The addresses of a client identity of Quick Mode (RFC 2407 section 4.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// One host.
    Host(IpAddr),
    /// A subnet, even if it was sent with an all-ones mask.
    Subnet(Subnet),
    /// A range, even if it happens to be a subnet.
    Range(AddrRange),
}

/// A client identity of Quick Mode: whose packets one end of the tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Addresses.
    pub span: Span,
    /// Protocol and port, 0 for any.
    pub proto_port: ProtoPort,
}

impl Client {
    /// All of a subnet; one of a single host is sent as ID_IPV4_ADDR or ID_IPV6_ADDR.
    pub fn new(net: Subnet, proto_port: ProtoPort) -> Self {
        let span = if net.is_host() {
            Span::Host(net.addr())
        } else {
            Span::Subnet(net)
        };
        Self { span, proto_port }
    }

    /// The addresses as a subnet, if they are exactly one.
    pub fn subnet(&self) -> Option<Subnet> {
        match self.span {
            Span::Host(addr) => Some(Subnet::host(addr)),
            Span::Subnet(net) => Some(net),
            Span::Range(range) => range.to_subnet(),
        }
    }

    /// Whether both carry the same packets, in whatever form they were sent.
    pub fn same(&self, other: &Self) -> bool {
        self.bounds() == other.bounds() && self.proto_port == other.proto_port
    }

    fn bounds(&self) -> (IpAddr, IpAddr) {
        match self.span {
            Span::Host(addr) => (addr, addr),
            Span::Subnet(net) => (net.addr(), net.last()),
            Span::Range(range) => (range.first(), range.last()),
        }
    }

    /// Takes a client identity of Quick Mode.
    ///
    /// # Errors
    /// A name, a subnet with host bits, a port of a protocol without ports.
    pub fn from_wire(id: &Id<'_>) -> Result<Self, IdentityError> {
        let (protocol, port) = (id.protocol, id.port);
        if port != 0 && !ProtoPort::has_ports(protocol) {
            return Err(IdentityError::NoPorts { protocol, port });
        }
        let kind = id.value.id_type();
        let subnet = |addr: IpAddr, prefix| {
            let net = Subnet::new(addr, prefix)
                .ok()
                .filter(|net| net.addr() == addr);
            net.map(Span::Subnet).ok_or(IdentityError::Subnet(kind))
        };
        let range = |first: IpAddr, last: IpAddr| {
            AddrRange::new(first, last)
                .map(Span::Range)
                .map_err(|_| IdentityError::Kind(kind))
        };
        let span = match id.value {
            IdValue::Ipv4(addr) => Span::Host(addr.into()),
            IdValue::Ipv6(addr) => Span::Host(addr.into()),
            IdValue::Ipv4Subnet(addr, prefix) => subnet(addr.into(), prefix)?,
            IdValue::Ipv6Subnet(addr, prefix) => subnet(addr.into(), prefix)?,
            IdValue::Ipv4Range(first, last) => range(first.into(), last.into())?,
            IdValue::Ipv6Range(first, last) => range(first.into(), last.into())?,
            _ => return Err(IdentityError::Kind(kind)),
        };
        Ok(Self {
            span,
            proto_port: ProtoPort {
                proto: protocol,
                port: Port(port),
            },
        })
    }

    /// For the wire.
    pub fn to_wire(&self) -> Id<'static> {
        let value = match self.span {
            Span::Host(addr) => IdValue::address(addr),
            Span::Subnet(net) => IdValue::subnet(net.addr(), net.prefix()),
            Span::Range(range) => match (range.first(), range.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => IdValue::Ipv4Range(first, last),
                (IpAddr::V6(first), IpAddr::V6(last)) => IdValue::Ipv6Range(first, last),
                // A range has one family; its first address alone is never more than it.
                (first, _) => IdValue::address(first),
            },
        };
        Id {
            protocol: self.proto_port.proto,
            port: self.proto_port.port.0,
            value,
        }
    }
}

impl fmt::Display for Client {
    /// `10.0.1.0/24`, `10.0.1.5/32:17/53`, `10.0.1.1-10.0.1.9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span {
            Span::Host(addr) => write!(f, "{}", Subnet::host(addr))?,
            Span::Subnet(net) => write!(f, "{net}")?,
            Span::Range(range) => write!(f, "{}-{}", range.first(), range.last())?,
        }
        if self.proto_port != ProtoPort::ANY {
            write!(f, ":{}/{}", self.proto_port.proto, self.proto_port.port.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_both_ways() {
        for id in [
            Identity::Addr("192.0.2.1".parse().unwrap()),
            Identity::Addr("2001:db8::1".parse().unwrap()),
            Identity::Fqdn("east.example".into()),
            Identity::UserFqdn("joe@east.example".into()),
            Identity::KeyId(vec![1, 2, 3]),
            Identity::DerAsn1Dn(vec![0x30, 0]),
        ] {
            let body = id.to_wire().to_body();
            assert_eq!(Identity::from_wire(&Id::parse(&body).unwrap()), Ok(id));
        }
    }

    #[test]
    fn bad_identities_are_named() {
        let taken = |body: &[u8]| Identity::from_wire(&Id::parse(body).unwrap());
        let proto_port = IdentityError::ProtoPort {
            protocol: 6,
            port: 80,
        };
        assert_eq!(taken(&[1, 6, 0, 80, 1, 2, 3, 4]), Err(proto_port));
        assert!(taken(&[1, 17, 1, 0xf4, 1, 2, 3, 4]).is_ok());
        assert_eq!(
            taken(b"\x02\0\0\0a\0b"),
            Err(IdentityError::Name(IdType::FQDN))
        );
        assert_eq!(taken(b"\x02\0\0\0"), Err(IdentityError::Name(IdType::FQDN)));
        assert_eq!(taken(b"\x03\0\0\0joe"), Err(IdentityError::NoAt));
        let subnet = IdentityError::Kind(IdType::IPV4_ADDR_SUBNET);
        assert_eq!(taken(&[4, 0, 0, 0, 10, 0, 0, 0, 255, 0, 0, 0]), Err(subnet));
    }

    #[test]
    fn clients_both_ways() {
        let any = ProtoPort::ANY;
        let dns = ProtoPort {
            proto: 17,
            port: Port(53),
        };
        let taken = |c: &Client| Client::from_wire(&Id::parse(&c.to_wire().to_body()).unwrap());
        for net in [
            "10.0.1.0/24",
            "10.0.1.5/32",
            "2001:db8::/32",
            "2001:db8::1/128",
        ] {
            for proto_port in [any, dns] {
                let client = Client::new(net.parse().unwrap(), proto_port);
                assert_eq!(taken(&client), Ok(client));
                assert_eq!(client.subnet(), Some(net.parse().unwrap()));
            }
        }
        let range =
            AddrRange::new("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()).unwrap();
        let client = Client {
            span: Span::Range(range),
            proto_port: any,
        };
        assert_eq!(taken(&client), Ok(client));
        assert_eq!(client.subnet(), None);
    }

    #[test]
    fn same_packets_in_other_form() {
        let host = Client::new("10.0.1.5/32".parse().unwrap(), ProtoPort::ANY);
        let subnet = Client {
            span: Span::Subnet("10.0.1.5/32".parse().unwrap()),
            ..host
        };
        assert!(host.same(&subnet));
        assert_ne!(host, subnet);
    }

    #[test]
    fn bad_clients_are_named() {
        let taken = |body: &[u8]| Client::from_wire(&Id::parse(body).unwrap());
        let subnet = IdentityError::Subnet(IdType::IPV4_ADDR_SUBNET);
        assert_eq!(taken(&[4, 0, 0, 0, 10, 0, 0, 1, 255, 0, 0, 0]), Err(subnet));
        let ports = IdentityError::NoPorts {
            protocol: 50,
            port: 5,
        };
        assert_eq!(taken(&[1, 50, 0, 5, 10, 0, 0, 1]), Err(ports));
        assert_eq!(
            taken(b"\x02\0\0\0name"),
            Err(IdentityError::Kind(IdType::FQDN))
        );
    }
}
