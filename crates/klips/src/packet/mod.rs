//! A packet in one buffer with head and tail room, and views of what is in it.
//!
//! Not here: IPsec headers (`esp`, `ah`, `ipcomp`), which are laid into this buffer by their own modules.

mod buffer;
mod fragment;
pub mod icmp;
pub mod ip;
mod shown;

pub use buffer::{HEADROOM, MAX_PACKET, MAX_TRANSFORMS, NoRoom, Packet, TAILROOM, Tag};
pub use fragment::{FRAGMENT_HEADER, transmit};
pub use ip::{IpHeader, Malformed};
pub use shown::{Hidden, SHOWING};

/// The Internet checksum (RFC 1071) of `parts`, each of even length except the last.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        // Two words at a time: 2^16 is 1 in this arithmetic.
        let (words, rest) = part.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        ip::set(&mut last, 0, rest);
        sum += u64::from(u32::from_be_bytes(last));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    /// RFC 1071 section 3's numbers, and what is left of them at each length.
    #[test]
    fn sums_of_all_lengths() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let sums = [0, 0, 1, 0xf201, 0xf204, 0xe605, 0xe6fa, 0xdcfb, 0xddf2];
        for (len, sum) in sums.into_iter().enumerate() {
            assert_eq!(checksum(&[&bytes[..len]]), !sum, "{len} bytes");
        }
        assert_eq!(checksum(&[&bytes[..2], &bytes[2..]]), !0xddf2);
        assert_eq!(checksum(&[&[0xff; 65535]]), !0xff00);
    }
}
