//! Raw deflate (RFC 1951) in place, for IPCOMP (RFC 2394). States are kept per thread: making one costs more than a packet.

use std::cell::RefCell;

use klips::CryptoError;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// Compression level: packets are small, and level 6 finds little more than 3 in them.
const LEVEL: i32 = 3;
/// A negative window size asks miniz for raw deflate.
const RAW: i32 = -15;
/// Largest packet, and so the largest thing that comes out of either.
const MAX: usize = 65_535;

struct State {
    compressor: Box<CompressorOxide>,
    decompressor: Box<DecompressorOxide>,
    scratch: Vec<u8>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State {
        compressor: Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, RAW, 0))),
        decompressor: Box::default(),
        scratch: vec![0; MAX],
    });
}

/// Deflates `buffer[..len]` in place, and answers the new length.
///
/// # Errors
/// `BadData` when it does not get shorter, and then `buffer` is as it was; `BadLength` when `len` is beyond it.
pub fn deflate(buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
    let data = buffer.get_mut(..len).ok_or(CryptoError::BadLength)?;
    STATE.with_borrow_mut(|state| {
        state.compressor.reset();
        // One octet less than there was: a longer result is of no use.
        let room = len.saturating_sub(1).min(MAX);
        let out = &mut state.scratch[..room];
        let (status, taken, written) =
            compress(&mut state.compressor, data, out, TDEFLFlush::Finish);
        if status != TDEFLStatus::Done || taken != len || written >= len {
            return Err(CryptoError::BadData);
        }
        data[..written].copy_from_slice(&out[..written]);
        Ok(written)
    })
}

/// Inflates `buffer[..len]` in place, and answers the new length, at most `buffer.len()`.
///
/// # Errors
/// `BadData` for what is no deflate stream, goes on after its end, or does not fit.
pub fn inflate(buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
    let room = buffer.len().min(MAX);
    if len > buffer.len() {
        return Err(CryptoError::BadLength);
    }
    STATE.with_borrow_mut(|state| {
        let data = &buffer[..len];
        state.decompressor.init();
        let out = &mut state.scratch[..room];
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, _, written) = decompress(&mut state.decompressor, data, out, 0, flags);
        if status != TINFLStatus::Done {
            return Err(CryptoError::BadData);
        }
        buffer[..written].copy_from_slice(&out[..written]);
        Ok(written)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_foreign_stream() {
        let mut buffer = vec![0u8; 2000];
        let text: Vec<u8> = b"the same again, "
            .iter()
            .copied()
            .cycle()
            .take(1000)
            .collect();
        buffer[..1000].copy_from_slice(&text);
        let length = deflate(&mut buffer, 1000).unwrap();
        assert!(length < 100);
        buffer[length..].fill(0);
        assert_eq!(inflate(&mut buffer, length).unwrap(), 1000);
        assert_eq!(buffer[..1000], text);
        // As zlib writes it, level 6, window 2^11 as FreeS/WAN uses it.
        let foreign = hex::decode("cb48cdc9c957c8402701").unwrap();
        buffer[..foreign.len()].copy_from_slice(&foreign);
        let length = inflate(&mut buffer, foreign.len()).unwrap();
        assert_eq!(&buffer[..length], b"hello hello hello hello");
    }

    #[test]
    fn what_does_not_shrink_stays() {
        let mut state = 1u32;
        let random: Vec<u8> = (0..500)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let mut buffer = random.clone();
        assert_eq!(deflate(&mut buffer, 500), Err(CryptoError::BadData));
        assert_eq!(buffer, random);
        assert_eq!(deflate(&mut [], 0), Err(CryptoError::BadData));
        assert_eq!(inflate(&mut buffer, 501), Err(CryptoError::BadLength));
    }

    #[test]
    fn a_bomb_stops_at_the_buffer() {
        let mut big = vec![0u8; 60_000];
        let length = deflate(&mut big, 60_000).unwrap();
        let mut small = vec![0u8; 1500];
        small[..length].copy_from_slice(&big[..length]);
        assert_eq!(inflate(&mut small, length), Err(CryptoError::BadData));
    }

    #[test]
    fn no_mutated_stream_panics() {
        let mut good = vec![7u8; 300];
        let length = deflate(&mut good, 300).unwrap();
        for at in 0..length {
            for bit in 0..8 {
                let mut bad = vec![0u8; 1000];
                bad[..length].copy_from_slice(&good[..length]);
                bad[at] ^= 1 << bit;
                let _ = inflate(&mut bad, length);
            }
        }
    }
}
