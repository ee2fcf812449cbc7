//! What can be wrong with a message, where, and the errno that KLIPS answers for it.

use core::fmt;

use crate::types::{ExtType, MsgType};

/// The errno values that PF_KEY answers carry (Linux numbers).
pub mod errno {
    /// No such SA or eroute.
    pub const ENOENT: u8 = 2;
    /// No such process; KLIPS does not answer it.
    pub const ESRCH: u8 = 3;
    /// Out of memory.
    pub const ENOMEM: u8 = 12;
    /// Another request like it is under way.
    pub const EBUSY: u8 = 16;
    /// The SA or eroute exists.
    pub const EEXIST: u8 = 17;
    /// The message is malformed.
    pub const EINVAL: u8 = 22;
    /// The table is full.
    pub const ENOSPC: u8 = 28;
    /// The message's length is wrong.
    pub const EMSGSIZE: u8 = 90;
    /// Algorithm not known.
    pub const EPROTONOSUPPORT: u8 = 93;
    /// Request not known.
    pub const EOPNOTSUPP: u8 = 95;
    /// No room for the answer.
    pub const ENOBUFS: u8 = 105;
    /// The SA group that an eroute is to lead to has neither ESP nor AH: packets would leave in the clear.
    pub const ENOKEY: u8 = 126;
}

/// Why a message was refused, and at which octet of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// Octets from the start of the message to the extension (or 0 for the header) that is wrong.
    pub at: usize,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fewer octets than a header.
    Truncated,
    /// The header's length disagrees with the octets there are.
    MessageLength {
        /// Octets by the header.
        header: usize,
        /// Octets present.
        actual: usize,
    },
    /// More than [`crate::MAX_MESSAGE_LEN`].
    TooLong,
    /// Not PF_KEY version 2.
    Version(u8),
    /// No such message type.
    MsgType(u8),
    /// No such SA type, or one that this message cannot have.
    SaType(u8),
    /// A request with errno set.
    ErrnoInRequest(u8),
    /// A reserved field is not zero.
    Reserved,
    /// No such extension type.
    ExtType(u16),
    /// The extension's length is zero, beyond the message, or not that of its kind.
    ExtLength(ExtType),
    /// An extension's length runs beyond the message, or is zero.
    ExtOverrun,
    /// An extension came twice.
    Duplicate(ExtType),
    /// This message cannot carry that extension.
    NotPermitted(MsgType, ExtType),
    /// This message needs that extension.
    Missing(MsgType, ExtType),
    /// KLIPS does not understand this kind of extension.
    Unsupported(ExtType),
    /// Neither IPv4 nor IPv6 socket address.
    AddressFamily(u16),
    /// Prefix length of an address neither 0 nor full.
    AddressPrefix(u8),
    /// Addresses of a pair with different families.
    MixedFamilies,
    /// A mask with holes.
    Mask,
    /// Ports without a protocol that has any.
    PortWithoutProtocol,
    /// Key of no bits, or bits that disagree with the extension's length or with the algorithm.
    KeyBits(u16),
    /// Unknown SA state.
    SaState(u8),
    /// ADD and UPDATE need a mature SA.
    NotMature,
    /// Unknown SA flags.
    SaFlags(u32),
    /// An SPI below 256, where one for traffic is needed.
    ReservedSpi(u32),
    /// GETSPI's range is empty or starts below 256.
    SpiRange {
        /// Lowest.
        min: u32,
        /// Highest.
        max: u32,
    },
    /// AH needs authentication and no encryption, ESP encryption, IPCOMP a compression and no authentication.
    Algorithms,
    /// ESP that encrypts and does not authenticate.
    Unauthenticated,
    /// An identity of unknown kind.
    IdentType(u16),
    /// An identity's text has no zero octet at its end, or more after it than padding, or is not UTF-8.
    IdentString,
    /// A combination in a proposal with limits crossed over.
    Proposal,
    /// Unknown UDP encapsulation.
    NatTType(u8),
    /// The caller's buffer is too small for the message.
    NoRoom,
}

impl Error {
    /// An error at the header.
    pub(crate) const fn header(kind: ErrorKind) -> Self {
        Self { at: 0, kind }
    }

    /// The errno that KLIPS answers, one of [`errno`].
    pub const fn errno(&self) -> u8 {
        match self.kind {
            ErrorKind::Truncated | ErrorKind::MessageLength { .. } | ErrorKind::TooLong => {
                errno::EMSGSIZE
            }
            ErrorKind::NoRoom => errno::ENOBUFS,
            _ => errno::EINVAL,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PF_KEY message, octet {}: {}", self.at, self.kind)
    }
}

impl core::error::Error for Error {}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated => f.write_str("shorter than the 16 octets of a header"),
            Self::MessageLength { header, actual } => {
                write!(f, "the header says {header} octets, there are {actual}")
            }
            Self::TooLong => write!(f, "longer than {} octets", crate::MAX_MESSAGE_LEN),
            Self::Version(v) => write!(f, "version {v}, only 2 is known"),
            Self::MsgType(n) => write!(f, "message type {n} is unknown"),
            Self::SaType(n) => write!(f, "SA type {n} is unknown or does not fit the message"),
            Self::ErrnoInRequest(n) => write!(f, "a request with errno {n} set, must be 0"),
            Self::Reserved => f.write_str("a reserved field is not zero"),
            Self::ExtType(n) => write!(f, "extension type {n} is unknown, 1 to 30 are"),
            Self::ExtLength(ext) => write!(f, "extension {} has the wrong length", ext.name()),
            Self::ExtOverrun => f.write_str("an extension's length is zero or goes beyond the message"),
            Self::Duplicate(ext) => write!(f, "extension {} appears twice", ext.name()),
            Self::NotPermitted(msg, ext) => write!(f, "{} cannot carry extension {}", msg.name(), ext.name()),
            Self::Missing(msg, ext) => write!(f, "{} needs extension {}", msg.name(), ext.name()),
            Self::Unsupported(ext) => write!(f, "extension {} is not supported", ext.name()),
            Self::AddressFamily(n) => write!(f, "address family {n}, expected 2 (IPv4) or 10 (IPv6)"),
            Self::AddressPrefix(n) => write!(f, "prefix length {n} on an address, expected 0 or that of a host"),
            Self::MixedFamilies => f.write_str("addresses that belong together are of IPv4 and IPv6"),
            Self::Mask => f.write_str("a mask with a one bit after a zero bit"),
            Self::PortWithoutProtocol => f.write_str("a port with a protocol that has no ports"),
            Self::KeyBits(n) => write!(f, "a key of {n} bits does not fit its extension or its algorithm"),
            Self::SaState(n) => write!(f, "SA state {n} is unknown, 0 to 3 are"),
            Self::NotMature => f.write_str("the SA to add or update must be in state mature (1)"),
            Self::SaFlags(n) => write!(f, "SA flags {n:#x} hold unknown bits"),
            Self::ReservedSpi(n) => write!(f, "SPI {n:#x} is reserved, must be 0x100 or more"),
            Self::SpiRange { min, max } => {
                write!(f, "SPI range {min:#x} to {max:#x} is empty or starts below 0x100")
            }
            Self::Algorithms => f.write_str(
                "algorithms do not fit the SA type: AH needs authentication only, ESP a cipher (with authentication if it is null or in counter mode, without if it authenticates itself), IPCOMP a compression only",
            ),
            Self::Unauthenticated => f.write_str(
                "encryption without authentication (RFC 8221 section 4): give the SA an authenticator, or a cipher that authenticates",
            ),
            Self::IdentType(n) => write!(f, "identity type {n} is unknown, 0 to 4 are"),
            Self::IdentString => f.write_str("an identity's text must be UTF-8, ended and padded by zero octets"),
            Self::Proposal => f.write_str("a combination of the proposal has a lower limit above its upper, or a reserved field set"),
            Self::NatTType(n) => write!(f, "UDP encapsulation {n} is unknown, 1 and 2 are"),
            Self::NoRoom => f.write_str("the message does not fit its buffer"),
        }
    }
}
