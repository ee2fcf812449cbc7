//! The Internet checksum (RFC 1071), as headers, segments and partial checksums need it.

/// One's-complement sum of `data` on top of `initial`, folded to 16 bits, not complemented.
#[must_use]
pub fn sum(data: &[u8], initial: u32) -> u16 {
    let mut total = u64::from(initial);
    let (chunks, rest) = data.as_chunks::<4>();
    for chunk in chunks {
        total += u64::from(u32::from_be_bytes(*chunk));
    }
    let mut last = [0u8; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += u64::from(u32::from_be_bytes(last));
    fold(total)
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

/// Sum of the pseudo header: `addresses` is source and destination one after the other
/// (8 or 32 octets), `length` that of the transport header and its data.
#[must_use]
pub fn pseudo(addresses: &[u8], protocol: u8, length: usize) -> u16 {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let initial = u32::from(protocol) + (length >> 16) + (length & 0xffff);
    sum(addresses, initial)
}

/// The checksum field's value for `data`, in which that field is zero, over a pseudo header sum.
#[must_use]
pub fn finish(data: &[u8], pseudo: u16) -> u16 {
    !sum(data, u32::from(pseudo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc1071_example() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&data, 0), 0xddf2);
    }

    #[test]
    fn odd_length_pads_with_zero() {
        assert_eq!(sum(&[0x12, 0x34, 0x56], 0), sum(&[0x12, 0x34, 0x56, 0], 0));
    }

    #[test]
    fn ipv4_header_verifies() {
        let mut header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        let check = finish(&header, 0);
        assert_eq!(check, 0xb861);
        header[10..12].copy_from_slice(&check.to_be_bytes());
        assert_eq!(sum(&header, 0), 0xffff);
    }
}
