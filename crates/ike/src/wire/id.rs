//! Identification payload (RFC 2408 section 3.8, RFC 2407 section 4.6.2): who a peer is in phase 1, and which traffic an
//! IPsec SA is for in phase 2. Whether an identity is acceptable is the engine's business.

use super::error::{ErrorKind, ParseError};
use super::numbers::{IdType, PayloadType};
use super::reader::Reader;
use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An identification payload's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id<'a> {
    /// Transport protocol, 0 for any.
    pub protocol: u8,
    /// Port, 0 for any.
    pub port: u16,
    /// The identity.
    pub value: IdValue<'a>,
}

/// Identification data by type.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdValue<'a> {
    /// One IPv4 address.
    Ipv4(Ipv4Addr),
    /// One IPv6 address.
    Ipv6(Ipv6Addr),
    /// An IPv4 network and its prefix length; host bits are as sent.
    Ipv4Subnet(Ipv4Addr, u8),
    /// An IPv6 network and its prefix length; host bits are as sent.
    Ipv6Subnet(Ipv6Addr, u8),
    /// First and last IPv4 address.
    Ipv4Range(Ipv4Addr, Ipv4Addr),
    /// First and last IPv6 address.
    Ipv6Range(Ipv6Addr, Ipv6Addr),
    /// Domain name without the leading `@`. Octets: nothing promises UTF-8.
    Fqdn(&'a [u8]),
    /// user@domain.
    UserFqdn(&'a [u8]),
    /// Distinguished name in DER.
    DerAsn1Dn(&'a [u8]),
    /// General name in DER.
    DerAsn1Gn(&'a [u8]),
    /// Opaque octets.
    KeyId(&'a [u8]),
}

impl<'a> Id<'a> {
    /// An identity for any protocol and port.
    pub const fn new(value: IdValue<'a>) -> Self {
        Self {
            protocol: 0,
            port: 0,
            value,
        }
    }

    /// Reads the body of an ID payload (all after its generic header).
    ///
    /// # Errors
    /// Unknown type, wrong data length, a mask with holes, a range that ends before it starts.
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        Self::read(&mut Reader::new(PayloadType::ID, body, 0))
    }

    pub(super) fn read(r: &mut Reader<'a>) -> Result<Self, ParseError> {
        let at = r.offset();
        let id_type = IdType(r.u8()?);
        let protocol = r.u8()?;
        let port = r.u16()?;
        let data = r.rest();
        let value = IdValue::decode(id_type, data).map_err(|kind| match kind {
            ErrorKind::UnknownId(_) => r.error_at(at, kind),
            _ => r.error_at(at + 4, kind),
        })?;
        Ok(Self {
            protocol,
            port,
            value,
        })
    }

    /// The body of an ID payload, without generic header: what HASH_I and HASH_R call IDii_b and IDir_b.
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = vec![self.value.id_type().0, self.protocol];
        out.extend_from_slice(&self.port.to_be_bytes());
        self.value.emit(&mut out);
        out
    }
}

impl<'a> IdValue<'a> {
    /// The identity of one address.
    pub const fn address(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(a) => Self::Ipv4(a),
            IpAddr::V6(a) => Self::Ipv6(a),
        }
    }

    /// The identity of a network; `prefix` is cut to the family's bits.
    pub fn subnet(addr: IpAddr, prefix: u8) -> Self {
        match addr {
            IpAddr::V4(a) => Self::Ipv4Subnet(a, prefix.min(32)),
            IpAddr::V6(a) => Self::Ipv6Subnet(a, prefix.min(128)),
        }
    }

    /// The type on the wire.
    pub const fn id_type(&self) -> IdType {
        match self {
            Self::Ipv4(_) => IdType::IPV4_ADDR,
            Self::Ipv6(_) => IdType::IPV6_ADDR,
            Self::Ipv4Subnet(..) => IdType::IPV4_ADDR_SUBNET,
            Self::Ipv6Subnet(..) => IdType::IPV6_ADDR_SUBNET,
            Self::Ipv4Range(..) => IdType::IPV4_ADDR_RANGE,
            Self::Ipv6Range(..) => IdType::IPV6_ADDR_RANGE,
            Self::Fqdn(_) => IdType::FQDN,
            Self::UserFqdn(_) => IdType::USER_FQDN,
            Self::DerAsn1Dn(_) => IdType::DER_ASN1_DN,
            Self::DerAsn1Gn(_) => IdType::DER_ASN1_GN,
            Self::KeyId(_) => IdType::KEY_ID,
        }
    }

    fn decode(id_type: IdType, data: &'a [u8]) -> Result<Self, ErrorKind> {
        let v4 = |a: [u8; 4]| Ipv4Addr::from(a);
        let v6 = |a: [u8; 16]| Ipv6Addr::from(a);
        let bad = ErrorKind::IdValue(id_type);
        Ok(match id_type {
            IdType::IPV4_ADDR => Self::Ipv4(v4(exact(id_type, data)?)),
            IdType::IPV6_ADDR => Self::Ipv6(v6(exact(id_type, data)?)),
            IdType::IPV4_ADDR_SUBNET => {
                let (a, m) = pair(id_type, data)?;
                Self::Ipv4Subnet(v4(a), prefix(&m).ok_or(bad)?)
            }
            IdType::IPV6_ADDR_SUBNET => {
                let (a, m) = pair(id_type, data)?;
                Self::Ipv6Subnet(v6(a), prefix(&m).ok_or(bad)?)
            }
            IdType::IPV4_ADDR_RANGE => match pair(id_type, data)? {
                (a, b) if a <= b => Self::Ipv4Range(v4(a), v4(b)),
                _ => return Err(bad),
            },
            IdType::IPV6_ADDR_RANGE => match pair(id_type, data)? {
                (a, b) if a <= b => Self::Ipv6Range(v6(a), v6(b)),
                _ => return Err(bad),
            },
            IdType::FQDN => Self::Fqdn(data),
            IdType::USER_FQDN => Self::UserFqdn(data),
            IdType::DER_ASN1_DN => Self::DerAsn1Dn(data),
            IdType::DER_ASN1_GN => Self::DerAsn1Gn(data),
            IdType::KEY_ID => Self::KeyId(data),
            other => return Err(ErrorKind::UnknownId(other)),
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Ipv4(a) => out.extend_from_slice(&a.octets()),
            Self::Ipv6(a) => out.extend_from_slice(&a.octets()),
            Self::Ipv4Subnet(a, p) => {
                out.extend_from_slice(&a.octets());
                let mask = u32::MAX.checked_shl(32 - u32::from(p.min(32))).unwrap_or(0);
                out.extend_from_slice(&mask.to_be_bytes());
            }
            Self::Ipv6Subnet(a, p) => {
                out.extend_from_slice(&a.octets());
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(p.min(128)))
                    .unwrap_or(0);
                out.extend_from_slice(&mask.to_be_bytes());
            }
            Self::Ipv4Range(a, b) => {
                out.extend_from_slice(&a.octets());
                out.extend_from_slice(&b.octets());
            }
            Self::Ipv6Range(a, b) => {
                out.extend_from_slice(&a.octets());
                out.extend_from_slice(&b.octets());
            }
            Self::Fqdn(d)
            | Self::UserFqdn(d)
            | Self::DerAsn1Dn(d)
            | Self::DerAsn1Gn(d)
            | Self::KeyId(d) => {
                out.extend_from_slice(d);
            }
        }
    }
}

fn exact<const N: usize>(id_type: IdType, data: &[u8]) -> Result<[u8; N], ErrorKind> {
    data.try_into().map_err(|_| ErrorKind::IdLength {
        id_type,
        found: data.len(),
        expected: N,
    })
}

fn pair<const N: usize>(id_type: IdType, data: &[u8]) -> Result<([u8; N], [u8; N]), ErrorKind> {
    let error = ErrorKind::IdLength {
        id_type,
        found: data.len(),
        expected: 2 * N,
    };
    let (a, b) = data.split_at_checked(N).ok_or_else(|| error.clone())?;
    Ok((
        a.try_into().map_err(|_| error.clone())?,
        b.try_into().map_err(|_| error)?,
    ))
}

/// Length of a mask without holes.
fn prefix(mask: &[u8]) -> Option<u8> {
    let ones: u32 = mask.iter().map(|b| b.count_ones()).sum();
    let mut leading = 0;
    for b in mask {
        leading += b.leading_ones();
        if *b != 0xff {
            break;
        }
    }
    (ones == leading).then_some(ones as u8)
}

/// Prints an identity as ipsec.conf writes it (`@fqdn`, `user@fqdn`, `10.0.0.0/8`, `a-b`, `@#hex`).
impl fmt::Display for IdValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |d: &[u8]| d.escape_ascii().to_string();
        match *self {
            Self::Ipv4(a) => write!(f, "{a}"),
            Self::Ipv6(a) => write!(f, "{a}"),
            Self::Ipv4Subnet(a, p) => write!(f, "{a}/{p}"),
            Self::Ipv6Subnet(a, p) => write!(f, "{a}/{p}"),
            Self::Ipv4Range(a, b) => write!(f, "{a}-{b}"),
            Self::Ipv6Range(a, b) => write!(f, "{a}-{b}"),
            Self::Fqdn(d) => write!(f, "@{}", text(d)),
            Self::UserFqdn(d) => f.write_str(&text(d)),
            Self::DerAsn1Dn(d) | Self::DerAsn1Gn(d) | Self::KeyId(d) => {
                f.write_str("@#")?;
                d.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    }
}

impl fmt::Debug for IdValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.id_type())
    }
}
