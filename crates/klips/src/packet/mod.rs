//! A packet in one buffer with head and tail room, and views of what is in it.
//!
//! Not here: IPsec headers (`esp`, `ah`, `ipcomp`), which are laid into this buffer by their own modules.

mod buffer;
mod fragment;
pub mod icmp;
pub mod ip;

pub use buffer::{HEADROOM, MAX_PACKET, MAX_TRANSFORMS, NoRoom, Packet, TAILROOM};
pub use fragment::{FRAGMENT_HEADER, transmit};
pub use ip::{IpHeader, Malformed};

/// The Internet checksum (RFC 1071) of `parts`, each of even length except the last.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        let mut pairs = part.chunks_exact(2);
        for pair in &mut pairs {
            sum += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
        if let [last] = pairs.remainder() {
            sum += u64::from(*last) << 8;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
