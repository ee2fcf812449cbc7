//! SA ids: the triple (destination, SPI, protocol) that names an SA, and the FreeS/WAN texts for it (ipsec_ttosa(3)).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A security parameter index in host order. Below 256 is reserved (RFC 2406 section 2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Spi(pub u32);

impl Spi {
    /// The lowest SPI that a host may give to an SA.
    pub const FIRST_USABLE: Self = Self(256);

    /// From the four bytes on the wire.
    pub const fn from_be_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// The four bytes on the wire.
    pub const fn to_be_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// Whether the number is of the reserved ones, 0 to 255.
    pub const fn is_reserved(self) -> bool {
        self.0 < Self::FIRST_USABLE.0
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for Spi {
    type Err = SaIdError;

    /// Reads decimal, `0x` hexadecimal, or octal with a leading zero.
    fn from_str(text: &str) -> Result<Self, SaIdError> {
        number(text).map(Self)
    }
}

/// The protocols an SA id may name; the discriminant is the IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum SaProto {
    /// IP in IP, the tunnel half of a tunnel-mode SA: `tun`.
    IpIp = 4,
    /// Encapsulating Security Payload: `esp`.
    Esp = 50,
    /// Authentication Header: `ah`.
    Ah = 51,
    /// KLIPS-internal magic SAs, the shunts: `int`.
    Int = 61,
    /// IP Payload Compression: `comp`.
    Comp = 108,
}

impl SaProto {
    /// All of them, in the order of their names in this table.
    pub const ALL: [Self; 5] = [Self::Ah, Self::Esp, Self::IpIp, Self::Comp, Self::Int];

    /// The prefix in an SA id.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IpIp => "tun",
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::Int => "int",
            Self::Comp => "comp",
        }
    }

    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The protocol with this IP protocol number. IPv6-in-IP (41) has no SA id of its own: it is `tun` as well.
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            4 => Some(Self::IpIp),
            50 => Some(Self::Esp),
            51 => Some(Self::Ah),
            61 => Some(Self::Int),
            108 => Some(Self::Comp),
            _ => None,
        }
    }

    /// The protocol with this prefix (`ah`, `esp`, `tun`, `comp`, `int`).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

impl fmt::Display for SaProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The magic SPIs of `int` SAs: what an eroute does without an SA.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum MagicSpi {
    /// Send in the clear.
    Pass = 256,
    /// Discard silently.
    Drop = 257,
    /// Discard and answer with ICMP.
    Reject = 258,
    /// A negotiation is under way: keep the last packet.
    Hold = 259,
    /// Ask the key daemon, hold the packet.
    Trap = 260,
    /// As trap, for the whole subnet of the eroute.
    TrapSubnet = 261,
}

impl MagicSpi {
    /// All of them, by number.
    pub const ALL: [Self; 6] = [
        Self::Pass,
        Self::Drop,
        Self::Reject,
        Self::Hold,
        Self::Trap,
        Self::TrapSubnet,
    ];

    /// The text, `%pass` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "%pass",
            Self::Drop => "%drop",
            Self::Reject => "%reject",
            Self::Hold => "%hold",
            Self::Trap => "%trap",
            Self::TrapSubnet => "%trapsubnet",
        }
    }

    /// The SPI.
    pub const fn spi(self) -> Spi {
        Spi(self as u32)
    }

    /// The magic meaning of an SPI, if it has one.
    pub fn from_spi(spi: Spi) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.spi() == spi)
    }
}

/// The name of an SA.
///
/// `Display` writes `tun0x1001@192.0.2.1`; the alternate form `{:#}` writes `tun.1001@192.0.2.1` or, over IPv6,
/// `tun:1001@2001:db8::1`. Shunts are written `%pass` and so on; `FromStr` reads all of these and decimal SPIs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SaId {
    /// Destination address of the packets that carry the SA.
    pub dst: IpAddr,
    /// The SPI.
    pub spi: Spi,
    /// The protocol.
    pub proto: SaProto,
}

/// Why a text is no SA id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SaIdError {
    /// The text was empty.
    Empty,
    /// A `%` word that is no shunt.
    UnknownMagic,
    /// There is no `@` before an address.
    NoAt,
    /// The text does not begin with one of the protocol names.
    Protocol,
    /// No SPI between protocol and `@`.
    NoSpi,
    /// The SPI is no number of 32 bits.
    Spi,
    /// The part after `@` is no numeric address.
    Address,
    /// `.` announces IPv4 and `:` IPv6, and the address is of the other kind.
    WrongFamily,
}

impl fmt::Display for SaIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty text where an SA id such as esp0x1234@192.0.2.1 should be",
            Self::UnknownMagic => "unknown % word: expected %pass, %drop, %reject, %hold, %trap or %trapsubnet",
            Self::NoAt => "no @ in the SA id: expected protocol, SPI, @, address, as in esp0x1234@192.0.2.1",
            Self::Protocol => "the SA id does not begin with a protocol: expected ah, esp, tun, comp or int",
            Self::NoSpi => "no SPI between the protocol and the @ of the SA id",
            Self::Spi => "the SPI is not a number from 0 to 0xffffffff",
            Self::Address => "no numeric address after the @ of the SA id",
            Self::WrongFamily => "`.' before the SPI announces an IPv4 address, `:' an IPv6 address; the address is of the other kind",
        })
    }
}

impl core::error::Error for SaIdError {}

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl SaId {
    /// The id from its parts.
    pub const fn new(proto: SaProto, spi: Spi, dst: IpAddr) -> Self {
        Self { dst, spi, proto }
    }

    /// The id of a shunt, `int` to `0.0.0.0`.
    pub const fn magic(magic: MagicSpi) -> Self {
        Self {
            dst: ANY_V4,
            spi: magic.spi(),
            proto: SaProto::Int,
        }
    }

    /// The shunt that this id stands for, if it is one.
    pub fn as_magic(&self) -> Option<MagicSpi> {
        if self.proto == SaProto::Int {
            MagicSpi::from_spi(self.spi)
        } else {
            None
        }
    }

    /// Whether this is the old pass-through id, `tun0` to nowhere (`%passthrough`).
    pub fn is_passthrough(&self) -> bool {
        self.proto == SaProto::IpIp && self.spi.0 == 0 && self.dst.is_unspecified()
    }
}

impl fmt::Display for SaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_passthrough() {
            return f.pad(if self.dst.is_ipv4() {
                "%passthrough4"
            } else {
                "%passthrough6"
            });
        }
        if let Some(magic) = self.as_magic() {
            return f.pad(magic.name());
        }
        if f.alternate() {
            let mark = if self.dst.is_ipv4() { '.' } else { ':' };
            return write!(f, "{}{mark}{:x}@{}", self.proto, self.spi.0, self.dst);
        }
        write!(f, "{}{}@{}", self.proto, self.spi, self.dst)
    }
}

/// Decimal, `0x` hexadecimal or octal with a leading zero, without sign.
fn number(text: &str) -> Result<u32, SaIdError> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    hex_or(digits, radix)
}

fn hex_or(digits: &str, radix: u32) -> Result<u32, SaIdError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(SaIdError::Spi);
    }
    u32::from_str_radix(digits, radix).map_err(|_| SaIdError::Spi)
}

fn magic_word(text: &str) -> Result<SaId, SaIdError> {
    match text {
        "%passthrough" | "%passthrough4" => Ok(SaId::new(SaProto::IpIp, Spi(0), ANY_V4)),
        "%passthrough6" => Ok(SaId::new(SaProto::IpIp, Spi(0), ANY_V6)),
        _ => MagicSpi::ALL
            .into_iter()
            .find(|m| m.name() == text)
            .map(SaId::magic)
            .ok_or(SaIdError::UnknownMagic),
    }
}

impl FromStr for SaId {
    type Err = SaIdError;

    fn from_str(text: &str) -> Result<Self, SaIdError> {
        if text.is_empty() {
            return Err(SaIdError::Empty);
        }
        if text.starts_with('%') {
            return magic_word(text);
        }
        let (head, addr) = text.split_once('@').ok_or(SaIdError::NoAt)?;
        let (proto, spi) = SaProto::ALL
            .into_iter()
            .find_map(|p| head.strip_prefix(p.name()).map(|rest| (p, rest)))
            .ok_or(SaIdError::Protocol)?;
        if spi.is_empty() {
            return Err(SaIdError::NoSpi);
        }
        let dst: IpAddr = addr.parse().map_err(|_| SaIdError::Address)?;
        let (spi, v4) = if let Some(hex) = spi.strip_prefix('.') {
            (hex_or(hex, 16)?, Some(true))
        } else if let Some(hex) = spi.strip_prefix(':') {
            (hex_or(hex, 16)?, Some(false))
        } else {
            // A foreign protocol such as `espp9` is a wrong name, not a wrong number.
            if !spi.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(SaIdError::Protocol);
            }
            (number(spi)?, None)
        };
        if v4.is_some_and(|v4| v4 != dst.is_ipv4()) {
            return Err(SaIdError::WrongFamily);
        }
        Ok(Self {
            dst,
            spi: Spi(spi),
            proto,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString};

    #[test]
    fn forms_of_the_manual_page() {
        for (text, plain, marked) in [
            ("esp257@1.2.3.0", "esp0x101@1.2.3.0", "esp.101@1.2.3.0"),
            ("ah0x20@1.2.3.4", "ah0x20@1.2.3.4", "ah.20@1.2.3.4"),
            ("tun20@1.2.3.4", "tun0x14@1.2.3.4", "tun.14@1.2.3.4"),
            (
                "comp:14@2001:db8::1",
                "comp0x14@2001:db8::1",
                "comp:14@2001:db8::1",
            ),
            (
                "tun.1001@192.0.2.1",
                "tun0x1001@192.0.2.1",
                "tun.1001@192.0.2.1",
            ),
            ("int256@0.0.0.0", "%pass", "%pass"),
            ("int0x105@0.0.0.0", "%trapsubnet", "%trapsubnet"),
            ("int262@0.0.0.0", "int0x106@0.0.0.0", "int.106@0.0.0.0"),
            ("%passthrough", "%passthrough4", "%passthrough4"),
            ("%hold", "%hold", "%hold"),
        ] {
            let id: SaId = text.parse().unwrap();
            assert_eq!(id.to_string(), plain);
            assert_eq!(format!("{id:#}"), marked);
        }
    }

    #[test]
    fn refuses_and_says_why() {
        for (text, want) in [
            ("", SaIdError::Empty),
            ("%pas", SaIdError::UnknownMagic),
            ("ah2.2", SaIdError::NoAt),
            ("goo2@1.2.3.4", SaIdError::Protocol),
            ("espp9@1.2.3.4", SaIdError::Protocol),
            ("ah@1.2.3.4", SaIdError::NoSpi),
            ("esp7x7@1.2.3.4", SaIdError::Spi),
            ("esp.@1.2.3.4", SaIdError::Spi),
            ("esp0x1ffffffff@1.2.3.4", SaIdError::Spi),
            ("esp77@1.0x2.3.4", SaIdError::Address),
            ("esp.77@::1", SaIdError::WrongFamily),
            ("esp:77@1.2.3.4", SaIdError::WrongFamily),
        ] {
            assert_eq!(text.parse::<SaId>(), Err(want), "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(which in 0usize..5, spi: u32, v6: bool, bits: u128) {
            let dst = if v6 { IpAddr::V6(bits.into()) } else { IpAddr::V4((bits as u32).into()) };
            let id = SaId::new(SaProto::ALL[which], Spi(spi), dst);
            prop_assume!(id.as_magic().is_none());
            prop_assert_eq!(id.to_string().parse::<SaId>().unwrap(), id);
            prop_assert_eq!(format!("{:#}", id).parse::<SaId>().unwrap(), id);
        }

        #[test]
        fn any_text_is_refused_without_panic(text in "(ah|esp|tun|%)?[.:]?[0-9a-fx]{0,9}@?[0-9.:]{0,9}") {
            if let Ok(id) = text.parse::<SaId>() {
                prop_assert_eq!(id.to_string().parse::<SaId>().unwrap(), id);
            }
        }
    }
}
