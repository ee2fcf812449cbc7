//! AES-XCBC-MAC (RFC 3566) and AES-CMAC (RFC 4493): CBC-MACs whose last block is masked by one of two subkeys. They differ in how
//! these come from the key.

use aes::Aes128Enc;
use cipher::{BlockCipherEncrypt, KeyInit};
use klips::CryptoError;
use zeroize::Zeroize;

type Block = [u8; 16];

/// A keyed MAC; all of its keys are wiped when dropped.
pub struct CbcMac {
    cipher: Aes128Enc,
    /// Masks a last block that is whole.
    whole: Block,
    /// Masks one that had to be padded.
    padded: Block,
}

impl Drop for CbcMac {
    fn drop(&mut self) {
        self.whole.zeroize();
        self.padded.zeroize();
    }
}

fn encrypted(cipher: &Aes128Enc, mut block: Block) -> Block {
    cipher.encrypt_block((&mut block).into());
    block
}

fn mask(block: &mut Block, with: &[u8]) {
    block.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
}

/// Twice this number in GF(2^128), high bit first (RFC 4493 section 2.3).
fn doubled(block: Block) -> Block {
    let number = u128::from_be_bytes(block);
    // All ones where the top bit is set: no branch that a key decides.
    let carry = ((number as i128) >> 127) as u128 & 0x87;
    (number << 1 ^ carry).to_be_bytes()
}

impl CbcMac {
    /// AES-XCBC-MAC: keys of their own for the blocks and the masks.
    ///
    /// # Errors
    /// `BadKey` for a key that has not 16 bytes.
    pub fn xcbc(key: &[u8]) -> Result<Box<Self>, CryptoError> {
        let first = Aes128Enc::new_from_slice(key).map_err(|_| CryptoError::BadKey)?;
        let mut own = encrypted(&first, [1; 16]);
        let cipher = Aes128Enc::new(&own.into());
        own.zeroize();
        let (whole, padded) = (encrypted(&first, [2; 16]), encrypted(&first, [3; 16]));
        Ok(Box::new(Self {
            cipher,
            whole,
            padded,
        }))
    }

    /// AES-CMAC: the masks are multiples of an encrypted zero.
    ///
    /// # Errors
    /// `BadKey` for a key that has not 16 bytes.
    pub fn cmac(key: &[u8]) -> Result<Box<Self>, CryptoError> {
        let cipher = Aes128Enc::new_from_slice(key).map_err(|_| CryptoError::BadKey)?;
        let whole = doubled(encrypted(&cipher, [0; 16]));
        let padded = doubled(whole);
        Ok(Box::new(Self {
            cipher,
            whole,
            padded,
        }))
    }

    /// The MAC over the concatenation of `segments`.
    pub fn mac(&self, segments: &[&[u8]]) -> Block {
        let (mut state, mut filled) = ([0; 16], 0);
        for segment in segments {
            let mut rest = *segment;
            while !rest.is_empty() {
                // A whole block is left as it is until it is known not to be the last.
                if filled == state.len() {
                    state = encrypted(&self.cipher, state);
                    filled = 0;
                }
                let (now, later) = rest.split_at(rest.len().min(state.len() - filled));
                state[filled..]
                    .iter_mut()
                    .zip(now)
                    .for_each(|(a, b)| *a ^= b);
                filled += now.len();
                rest = later;
            }
        }
        match state.get_mut(filled) {
            None => mask(&mut state, &self.whole),
            Some(next) => {
                *next ^= 0x80;
                mask(&mut state, &self.padded);
            }
        }
        encrypted(&self.cipher, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mac: &CbcMac, message: &[u8], want: &str) {
        let pieces: Vec<&[u8]> = message.chunks(7).collect();
        for segments in [&[message][..], &pieces, &[&[], message, &[]]] {
            assert_eq!(
                hex::encode(mac.mac(segments)),
                want,
                "{} bytes",
                message.len()
            );
        }
    }

    /// RFC 3566 section 4.6, cases 1 to 7.
    #[test]
    fn xcbc_rfc3566() {
        let key: Vec<u8> = (0..16).collect();
        let mac = CbcMac::xcbc(&key).unwrap();
        let message: Vec<u8> = (0..34).collect();
        for (length, want) in [
            (0, "75f0251d528ac01c4573dfd584d79f29"),
            (3, "5b376580ae2f19afe7219ceef172756f"),
            (16, "d2a246fa349b68a79998a4394ff7a263"),
            (20, "47f51b4564966215b8985c63055ed308"),
            (32, "f54f0ec8d2b9f3d36807734bd5283fd4"),
            (34, "becbb3bccdb518a30677d5481fb6b4d8"),
        ] {
            check(&mac, &message[..length], want);
        }
        check(&mac, &[0; 1000], "f0dafee895db30253761103b5d84528f");
    }

    /// RFC 4493 section 4; RFC 4494 cuts the same to 96 bits.
    #[test]
    fn cmac_rfc4493() {
        let key = hex::decode("2b7e151628aed2a6abf7158809cf4f3c").unwrap();
        let message = hex::decode(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
             30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        )
        .unwrap();
        let mac = CbcMac::cmac(&key).unwrap();
        for (length, want) in [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ] {
            check(&mac, &message[..length], want);
        }
    }

    #[test]
    fn other_key_lengths_are_refused() {
        for length in [0, 15, 17, 32] {
            assert!(
                CbcMac::xcbc(&vec![1; length]).is_err() && CbcMac::cmac(&vec![1; length]).is_err()
            );
        }
    }
}
