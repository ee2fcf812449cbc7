//! The values that every room of the project talks about, and their text forms both ways: addresses with a prefix,
//! address ranges, ports, SPIs, SA ids, traffic selectors, key data and algorithm numbers.
//!
//! `no_std`, `core` only, no allocation: the kernel module uses it as it is. Wire formats, name resolution and
//! anything that does I/O live elsewhere.
//!
//! Every type that a person types or reads implements [`core::str::FromStr`] and [`core::fmt::Display`], and what
//! `Display` writes, `FromStr` reads back.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]
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
pub mod suite;

pub use alg::{AuthAlg, CompAlg, EncAlg};
pub use data::{DataError, DataFormat};
pub use port::{Port, ProtoPort, ProtoPortError};
pub use range::{AddrRange, RangeError};
pub use said::{MagicSpi, SaId, SaIdError, SaProto, Spi};
pub use selector::{Packet, Selector};
pub use subnet::{Subnet, SubnetError};
pub use suite::{EspSuite, SuiteError};

/// The unspecified address (`0.0.0.0` or `::`) of the family that `like` has.
pub const fn unspecified(like: core::net::IpAddr) -> core::net::IpAddr {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// What a fuzzer feeds: reads `text` as every type, and checks that what is read is written back the same.
///
/// # Panics
/// When a value and its text disagree.
pub fn fuzz(text: &str) {
    fn round_trip<T: core::str::FromStr + core::fmt::Display + PartialEq>(text: &str) {
        let Ok(value) = text.parse::<T>() else { return };
        let mut buf = Fixed {
            bytes: [0; 128],
            len: 0,
        };
        let written = core::fmt::Write::write_fmt(&mut buf, format_args!("{value}"));
        let again = core::str::from_utf8(&buf.bytes[..buf.len])
            .ok()
            .and_then(|t| t.parse().ok());
        assert!(
            written.is_ok() && again == Some(value),
            "a value and its text disagree"
        );
    }
    round_trip::<Subnet>(text);
    round_trip::<AddrRange>(text);
    round_trip::<SaId>(text);
    round_trip::<Spi>(text);
    round_trip::<ProtoPort>(text);
    let _ = data::decode(text, &mut [0; 64]);
}

/// A text buffer on the stack.
struct Fixed {
    bytes: [u8; 128],
    len: usize,
}

impl core::fmt::Write for Fixed {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let room = self
            .bytes
            .get_mut(self.len..)
            .and_then(|rest| rest.get_mut(..s.len()))
            .ok_or(core::fmt::Error)?;
        room.copy_from_slice(s.as_bytes());
        self.len += s.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text(text in "[%a-z0-9.:@/-]{0,30}") {
            super::fuzz(&text);
        }
    }
}
