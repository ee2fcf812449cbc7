//! The bodies of extensions: one type each, with its layout, a checked reader and a writer beside each other.
//!
//! Layouts are given in octets and start after the four of `sadb_ext` (u16 length in 64-bit words, u16 type).
//! Proposals and algorithm lists live in [`crate::proposal`].

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{AuthAlg, EncAlg, Spi};

use crate::builder::Sink;
use crate::error::ErrorKind;
use crate::fields::Fields;
use crate::types::{IdentType, SaFlags, SaState};

/// `AF_INET` on Linux.
pub const AF_INET: u16 = 2;
/// `AF_INET6` on Linux.
pub const AF_INET6: u16 = 10;

/// SA and SA2: `spi` u32 network order, `replay` u8, `state` u8, `auth` u8, `encrypt` u8, `flags` u32, then KLIPS'
/// `ref` u32 and 4 reserved octets. The short form of RFC 2367, without the last two, is read as `ref` 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sa {
    /// SPI.
    pub spi: Spi,
    /// Size of the replay window in packets; 0 is none.
    pub replay: u8,
    /// State.
    pub state: SaState,
    /// Authentication algorithm.
    pub auth: AuthAlg,
    /// Encryption algorithm; for IPCOMP, the compression algorithm's number.
    pub encrypt: EncAlg,
    /// Flags.
    pub flags: SaFlags,
    /// KLIPS' reference of the SA, 0 where it has none.
    pub sa_ref: u32,
}

impl Sa {
    /// An SA known by its SPI alone, as DELETE, GET, GRPSA and ADDFLOW carry it.
    pub const fn of_spi(spi: Spi, flags: SaFlags) -> Self {
        Self {
            spi,
            replay: 0,
            state: SaState::Larval,
            auth: AuthAlg::NONE,
            encrypt: EncAlg::NONE,
            flags,
            sa_ref: 0,
        }
    }

    pub(crate) fn parse(mut body: Fields<'_>) -> Result<Self, ErrorKind> {
        let spi = Spi::from_be_bytes(body.take()?);
        let replay = body.u8()?;
        let state = body.u8()?;
        let state = SaState::from_number(state).ok_or(ErrorKind::SaState(state))?;
        let auth = AuthAlg(body.u8()?);
        let encrypt = EncAlg(body.u8()?);
        let flags = SaFlags(body.u32()?);
        if !flags.is_known() {
            return Err(ErrorKind::SaFlags(flags.0));
        }
        let mut sa_ref = 0;
        if !body.rest().is_empty() {
            sa_ref = body.u32()?;
            body.zeros::<4>()?;
        }
        body.end()?;
        Ok(Self {
            spi,
            replay,
            state,
            auth,
            encrypt,
            flags,
            sa_ref,
        })
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        out.put(&self.spi.to_be_bytes());
        out.put(&[
            self.replay,
            self.state.number(),
            self.auth.0,
            self.encrypt.0,
        ]);
        out.put(&self.flags.0.to_ne_bytes());
        out.put(&self.sa_ref.to_ne_bytes());
        out.put(&[0; 4]);
    }
}

/// LIFETIME_*: `allocations` u32, `bytes` u64, `addtime` u64, `usetime` u64, then KLIPS' `packets` u32 and a reserved
/// u32. RFC 2367's form, without the last two, is read as `packets` 0. In limits, 0 means no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lifetime {
    /// Connections allocated.
    pub allocations: u32,
    /// Octets.
    pub bytes: u64,
    /// Limits: seconds from the adding. Current: when it was added, seconds since 1970.
    pub addtime: u64,
    /// Limits: seconds from the first use. Current: when it was first used, seconds since 1970, 0 never.
    pub usetime: u64,
    /// Packets.
    pub packets: u32,
}

impl Lifetime {
    /// No limits.
    pub const NONE: Self = Self {
        allocations: 0,
        bytes: 0,
        addtime: 0,
        usetime: 0,
        packets: 0,
    };

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    pub(crate) fn parse(mut body: Fields<'_>) -> Result<Self, ErrorKind> {
        let mut lifetime = Self {
            allocations: body.u32()?,
            bytes: body.u64()?,
            addtime: body.u64()?,
            usetime: body.u64()?,
            packets: 0,
        };
        if !body.rest().is_empty() {
            lifetime.packets = body.u32()?;
            body.zeros::<4>()?;
        }
        body.end()?;
        Ok(lifetime)
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        out.put(&self.allocations.to_ne_bytes());
        out.put(&self.bytes.to_ne_bytes());
        out.put(&self.addtime.to_ne_bytes());
        out.put(&self.usetime.to_ne_bytes());
        out.put(&self.packets.to_ne_bytes());
        out.put(&[0; 4]);
    }
}

/// ADDRESS_*: `proto` u8, `prefixlen` u8 (0, or that of a host), 2 reserved octets, then a `sockaddr_in` (16 octets) or
/// `sockaddr_in6` (28) with port and address in network order, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address.
    pub addr: IpAddr,
    /// Port in host order, 0 for any.
    pub port: u16,
    /// RFC 2367's transport protocol; KLIPS leaves it 0 and uses [`ExtType::Protocol`].
    pub proto: u8,
}

impl Address {
    /// An address without port or protocol.
    pub const fn new(addr: IpAddr) -> Self {
        Self {
            addr,
            port: 0,
            proto: 0,
        }
    }

    /// An address with a port.
    pub const fn with_port(addr: IpAddr, port: u16) -> Self {
        Self {
            addr,
            port,
            proto: 0,
        }
    }

    pub(crate) fn parse(mut body: Fields<'_>) -> Result<Self, ErrorKind> {
        let proto = body.u8()?;
        let prefix = body.u8()?;
        body.zeros::<2>()?;
        let family = body.u16()?;
        let port = u16::from_be_bytes(body.take()?);
        let (addr, host): (IpAddr, u8) = match family {
            AF_INET => {
                let addr = Ipv4Addr::from(body.take::<4>()?).into();
                // sin_zero: RFC 2367 wants zeros, and comparing flows relies on it.
                body.zeros::<8>()?;
                (addr, 32)
            }
            AF_INET6 => {
                body.take::<4>()?;
                let addr = Ipv6Addr::from(body.take::<16>()?).into();
                body.take::<4>()?;
                body.zeros::<4>()?;
                (addr, 128)
            }
            _ => return Err(ErrorKind::AddressFamily(family)),
        };
        body.end()?;
        if prefix != 0 && prefix != host {
            return Err(ErrorKind::AddressPrefix(prefix));
        }
        Ok(Self { addr, port, proto })
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        out.put(&[self.proto, 0, 0, 0]);
        let port = self.port.to_be_bytes();
        match self.addr {
            IpAddr::V4(addr) => {
                out.put(&AF_INET.to_ne_bytes());
                out.put(&port);
                out.put(&addr.octets());
                out.put(&[0; 8]);
            }
            IpAddr::V6(addr) => {
                out.put(&AF_INET6.to_ne_bytes());
                out.put(&port);
                out.put(&[0; 4]);
                out.put(&addr.octets());
                out.put(&[0; 8]);
            }
        }
    }
}

/// KEY_*: `bits` u16, 2 reserved octets, the key, padded with zeros. `Debug` shows its length only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The key's octets; the last may be used in part.
    pub bytes: &'a [u8],
    /// How many bits of them count.
    pub bits: u16,
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bits)", self.bits)
    }
}

impl<'a> Key<'a> {
    /// A key of whole octets, at most 8191 of them.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let bits = u16::try_from(bytes.len().checked_mul(8)?).ok()?;
        (bits > 0).then_some(Self { bytes, bits })
    }

    pub(crate) fn parse(mut body: Fields<'a>) -> Result<Self, ErrorKind> {
        let bits = body.u16()?;
        body.zeros::<2>()?;
        let octets = usize::from(bits).div_ceil(8);
        let bytes = body.rest().get(..octets).ok_or(ErrorKind::KeyBits(bits))?;
        if bits == 0 || body.rest().len() != octets.next_multiple_of(8) {
            return Err(ErrorKind::KeyBits(bits));
        }
        Ok(Self { bytes, bits })
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        out.put(&self.bits.to_ne_bytes());
        out.put(&[0; 2]);
        out.put(self.bytes);
    }
}

/// IDENTITY_*: `type` u16, 2 reserved octets, `id` u64, then text ended and padded by zero octets, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ident<'a> {
    /// Kind.
    pub kind: IdentType,
    /// A number of the sender's own.
    pub id: u64,
    /// The text, maybe empty.
    pub text: &'a str,
}

impl<'a> Ident<'a> {
    pub(crate) fn parse(mut body: Fields<'a>) -> Result<Self, ErrorKind> {
        let kind = body.u16()?;
        let kind = IdentType::from_number(kind).ok_or(ErrorKind::IdentType(kind))?;
        body.zeros::<2>()?;
        let id = body.u64()?;
        let text = match body.rest() {
            [] => "",
            rest => {
                let end = rest
                    .iter()
                    .position(|b| *b == 0)
                    .ok_or(ErrorKind::IdentString)?;
                let (text, padding) = rest.split_at(end);
                if padding.len() > 8 || padding.iter().any(|b| *b != 0) {
                    return Err(ErrorKind::IdentString);
                }
                core::str::from_utf8(text).map_err(|_| ErrorKind::IdentString)?
            }
        };
        Ok(Self { kind, id, text })
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        out.put(&self.kind.number().to_ne_bytes());
        out.put(&[0; 2]);
        out.put(&self.id.to_ne_bytes());
        if !self.text.is_empty() {
            if self.text.contains('\0') {
                out.fail(ErrorKind::IdentString);
            }
            out.put(self.text.as_bytes());
            out.put(&[0]);
        }
    }
}

/// SPIRANGE: `min` u32 and `max` u32 in network order, 4 reserved octets.
pub(crate) fn parse_spi_range(mut body: Fields<'_>) -> Result<(Spi, Spi), ErrorKind> {
    let min = Spi::from_be_bytes(body.take()?);
    let max = Spi::from_be_bytes(body.take()?);
    body.zeros::<4>()?;
    body.end()?;
    if min > max || min.is_reserved() {
        return Err(ErrorKind::SpiRange {
            min: min.0,
            max: max.0,
        });
    }
    Ok((min, max))
}

/// X_DEBUG: twelve u32 flag words, in the order of [`DebugFlags::NAMES`], and 4 reserved octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DebugFlags(pub [u32; 12]);

impl DebugFlags {
    /// What each word is for, as `ipsec klipsdebug --set` names them.
    pub const NAMES: [&str; 12] = [
        "tunnel", "netlink", "xform", "eroute", "spi", "radij", "esp", "ah", "rcv", "pfkey",
        "ipcomp", "verbose",
    ];

    /// All flags of all parts.
    pub const ALL: Self = Self([u32::MAX; 12]);

    /// The flags of one part.
    pub fn get(&self, name: &str) -> Option<u32> {
        Self::NAMES
            .iter()
            .zip(self.0)
            .find(|(n, _)| **n == name)
            .map(|(_, flags)| flags)
    }

    /// The flag word of one part, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut u32> {
        Self::NAMES
            .iter()
            .zip(&mut self.0)
            .find(|(n, _)| **n == name)
            .map(|(_, flags)| flags)
    }

    /// What tells KLIPS to switch `bits` of one part on and leave all else: the top bit of `netlink` says so.
    pub fn switch_on(name: &str, bits: u32) -> Self {
        let mut flags = Self::default();
        flags
            .get_mut(name)
            .into_iter()
            .for_each(|word| *word = bits);
        flags.0[Self::NETLINK] |= Self::SWITCH_ON;
        flags
    }

    /// What tells KLIPS to switch `bits` of one part off and leave all else.
    pub fn switch_off(name: &str, bits: u32) -> Self {
        let mut flags = Self::ALL;
        flags
            .get_mut(name)
            .into_iter()
            .for_each(|word| *word = !bits);
        flags.0[Self::NETLINK] &= !Self::SWITCH_ON;
        flags
    }

    /// The flags after this message, where they were `before`: with the top bit of `netlink` the words are added,
    /// without it they are what may stay.
    pub fn applied_to(&self, before: [u32; 12]) -> [u32; 12] {
        let on = self.0[Self::NETLINK] & Self::SWITCH_ON != 0;
        let mut after = before;
        for (word, flags) in after.iter_mut().zip(self.0) {
            *word = if on { *word | flags } else { *word & flags };
        }
        if on {
            after[Self::NETLINK] =
                before[Self::NETLINK] | (self.0[Self::NETLINK] & !Self::SWITCH_ON);
        }
        after
    }

    const NETLINK: usize = 1;
    const SWITCH_ON: u32 = 1 << 31;

    pub(crate) fn parse(mut body: Fields<'_>) -> Result<Self, ErrorKind> {
        let mut words = [0; 12];
        for word in &mut words {
            *word = body.u32()?;
        }
        body.zeros::<4>()?;
        body.end()?;
        Ok(Self(words))
    }

    pub(crate) fn emit(&self, out: &mut Sink<'_>) {
        for word in self.0 {
            out.put(&word.to_ne_bytes());
        }
        out.put(&[0; 4]);
    }
}

/// X_PROTOCOL: `proto` u8, `direction` u8, `flags` u8, 1 reserved octet. Only the protocol is used.
pub(crate) fn parse_protocol(mut body: Fields<'_>) -> Result<u8, ErrorKind> {
    let proto = body.u8()?;
    body.take::<2>()?;
    body.zeros::<1>()?;
    body.end()?;
    Ok(proto)
}

/// How an SA is wrapped in UDP, from the four X_NAT_T extensions: TYPE holds `type` u8 and 3 reserved octets, SPORT and
/// DPORT hold a port u16 in network order and 2 reserved octets, OA is an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatT {
    /// 1: the drafts' form with a non-IKE marker, 2: RFC 3948.
    pub kind: u8,
    /// Our UDP port.
    pub sport: u16,
    /// The peer's UDP port.
    pub dport: u16,
    /// The peer's own address behind the NAT.
    pub oa: Option<IpAddr>,
}

impl NatT {
    /// `ESPINUDP_WITH_NON_IKE`, of draft-ietf-ipsec-udp-encaps-00.
    pub const NON_IKE: u8 = 1;
    /// `ESPINUDP`, RFC 3948.
    pub const ESP_IN_UDP: u8 = 2;
}

pub(crate) fn parse_nat_t_type(mut body: Fields<'_>) -> Result<u8, ErrorKind> {
    let kind = body.u8()?;
    body.zeros::<3>()?;
    body.end()?;
    if matches!(kind, NatT::NON_IKE | NatT::ESP_IN_UDP) {
        Ok(kind)
    } else {
        Err(ErrorKind::NatTType(kind))
    }
}

pub(crate) fn parse_nat_t_port(mut body: Fields<'_>) -> Result<u16, ErrorKind> {
    let port = u16::from_be_bytes(body.take()?);
    body.zeros::<2>()?;
    body.end()?;
    Ok(port)
}

/// X_SATYPE2: `satype` u8 and 3 reserved octets.
pub(crate) fn parse_satype2(mut body: Fields<'_>) -> Result<crate::types::SaType, ErrorKind> {
    let n = body.u8()?;
    body.zeros::<3>()?;
    body.end()?;
    crate::types::SaType::from_number(n)
        .filter(|t| t.proto().is_some())
        .ok_or(ErrorKind::SaType(n))
}
