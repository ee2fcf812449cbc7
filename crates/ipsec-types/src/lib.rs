//! The values that every room of the project talks about, and their text forms both ways: addresses with a prefix,
//! address ranges, ports, SPIs, SA ids, traffic selectors, key data and algorithm numbers.
//!
//! `no_std`, `core` only, no allocation: the kernel module uses it as it is. Wire formats, name resolution and
//! anything that does I/O live elsewhere.
//!
//! Every type that a person types or reads implements [`core::str::FromStr`] and [`core::fmt::Display`], and what
//! `Display` writes, `FromStr` reads back.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod alg;
pub mod data;
pub mod port;
pub mod range;
pub mod said;
pub mod selector;
pub mod subnet;

pub use alg::{AuthAlg, CompAlg, EncAlg, EspSuite};
pub use data::{DataError, DataFormat};
pub use port::{Port, ProtoPort, ProtoPortError};
pub use range::{AddrRange, RangeError};
pub use said::{MagicSpi, SaId, SaIdError, SaProto, Spi};
pub use selector::{Packet, Selector};
pub use subnet::{Subnet, SubnetError};

/// The unspecified address (`0.0.0.0` or `::`) of the family that `like` has.
pub const fn unspecified(like: core::net::IpAddr) -> core::net::IpAddr {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
