//! PF_KEY version 2: the messages between key daemons or manual tools and KLIPS (RFC 2367 with KLIPS' extensions
//! for eroutes, SA groups and debugging). The codec is `no_std` without `alloc`; feature `std` adds [`client`],
//! which finds and talks to the KLIPS at hand. What the requests *do* belongs to the data path.
//!
//! # On the wire
//!
//! A message is a 16-octet [`Header`] and extensions, each with its own length and type, every length in
//! 64-bit words. All integers are in the host's byte order; addresses, ports and SPIs are in network order
//! (RFC 2367 section 2.2 and 2.3). Each struct's layout stands with its type in [`ext`].
//!
//! # Reading
//!
//! [`Message::request`] (towards KLIPS) and [`Message::reply`] (from KLIPS) check everything once: lengths, types,
//! duplicates, which extensions that message may and must carry, address families, masks, ports, key lengths,
//! strings. After that no accessor fails or panics. An [`Error`] names the place, the reason and the errno
//! that KLIPS answers.
//!
//! # Writing
//!
//! [`Builder`] writes single extensions into the caller's buffer. [`request`] holds whole messages, with typed
//! parameters: everything that pluto, `ipsec eroute` and `ipsec spi` ask, and what KLIPS says by itself.
//!
//! ```
//! use pfkey::{Message, request};
//! let mut buf = [0u8; pfkey::MAX_MESSAGE_LEN];
//! let trap = ipsec_types::SaId::magic(ipsec_types::MagicSpi::Trap);
//! let flow = ipsec_types::Selector::nets("10.0.1.0/24".parse().unwrap(), "10.0.2.0/24".parse().unwrap());
//! let bytes = request::add_flow(&mut buf, request::Ids { seq: 1, pid: 42 }, &flow, trap, pfkey::SaFlags::NONE).unwrap();
//! let message = Message::request(bytes).unwrap();
//! assert_eq!(message.selector(), Some(flow));
//! assert_eq!(message.said(), Some(trap));
//! ```
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]
#![cfg_attr(not(any(feature = "std", test)), no_std)]

pub mod builder;
#[cfg(feature = "std")]
pub mod client;
pub mod error;
pub mod ext;
mod fields;
pub mod header;
pub mod message;
pub mod proposal;
mod read;
pub mod request;
mod sets;
pub mod types;

pub use builder::Builder;
pub use error::{Error, ErrorKind, errno};
pub use ext::{Address, DebugFlags, Ident, Key, Lifetime, NatT, Sa};
pub use header::{Direction, HEADER_LEN, Header};
pub use message::Message;
pub use proposal::{Alg, Comb};
pub use types::{ExtType, IdentType, MsgType, SaFlags, SaState, SaType};

/// The longest message that either side accepts, in octets. Enough for every message KLIPS knows, with 512-bit keys,
/// two identities of 255 octets and a proposal of eight combinations.
pub const MAX_MESSAGE_LEN: usize = 2048;

/// What a fuzzer feeds: reads `data` in both directions and touches every accessor; rebuilds nothing.
pub fn fuzz(data: &[u8]) {
    for direction in [Direction::ToKlips, Direction::FromKlips] {
        if let Ok(message) = Message::new_checked(data, direction) {
            message.visit();
        }
    }
}
