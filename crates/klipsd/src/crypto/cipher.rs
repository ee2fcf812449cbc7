//! Ciphers for ESP that do not authenticate: 3DES (RFC 2451), AES (RFC 3602) and Camellia (RFC 4312) in CBC, AES in counter mode
//! (RFC 3686). Key schedules are made once per SA.

use ::cbc::{Decryptor, Encryptor};
use aes::{Aes128, Aes128Enc, Aes192, Aes192Enc, Aes256, Aes256Enc};
use camellia::{Camellia128, Camellia192, Camellia256};
use cipher::consts::U16;
use cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
    InnerIvInit, KeyInit, StreamCipherCore,
};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use des::TdesEde3;
use klips::CryptoError;
use klips::transform::{EALG_3DES_CBC, EALG_AES_CBC, EALG_AES_CTR, EALG_CAMELLIA_CBC};

/// A keyed cipher; its key schedule is wiped when dropped.
pub enum KeyedCipher {
    /// 3DES, three keys.
    TripleDes(Box<TdesEde3>),
    /// AES with 128-bit key.
    Aes128(Box<Aes128>),
    /// AES with 192-bit key.
    Aes192(Box<Aes192>),
    /// AES with 256-bit key.
    Aes256(Box<Aes256>),
    /// Camellia with 128-bit key.
    Camellia128(Box<Camellia128>),
    /// Camellia with 192-bit key.
    Camellia192(Box<Camellia192>),
    /// Camellia with 256-bit key.
    Camellia256(Box<Camellia256>),
    /// AES in counter mode with 128-bit key.
    Ctr128(Box<Aes128Enc>),
    /// AES in counter mode with 192-bit key.
    Ctr192(Box<Aes192Enc>),
    /// AES in counter mode with 256-bit key.
    Ctr256(Box<Aes256Enc>),
}

/// A key schedule on the heap.
pub(super) fn boxed<C: KeyInit>(key: &[u8]) -> Result<Box<C>, CryptoError> {
    let keyed = C::new_from_slice(key).map_err(|_| CryptoError::BadKey)?;
    Ok(Box::new(keyed))
}

impl KeyedCipher {
    /// Keys the cipher of this PF_KEY number (`SADB_EALG_*`).
    ///
    /// # Errors
    /// `Unsupported` for another number, `BadKey` for a length it does not take, or for 3DES keys of which two
    /// neighbours are the same, which make it single DES.
    pub fn new(id: u8, key: &[u8]) -> Result<Self, CryptoError> {
        match (id, key.len()) {
            (EALG_3DES_CBC, 24) if degenerates(key) => Err(CryptoError::BadKey),
            (EALG_3DES_CBC, 24) => boxed(key).map(Self::TripleDes),
            (EALG_AES_CBC, 16) => boxed(key).map(Self::Aes128),
            (EALG_AES_CBC, 24) => boxed(key).map(Self::Aes192),
            (EALG_AES_CBC, 32) => boxed(key).map(Self::Aes256),
            (EALG_CAMELLIA_CBC, 16) => boxed(key).map(Self::Camellia128),
            (EALG_CAMELLIA_CBC, 24) => boxed(key).map(Self::Camellia192),
            (EALG_CAMELLIA_CBC, 32) => boxed(key).map(Self::Camellia256),
            (EALG_AES_CTR, 16) => boxed(key).map(Self::Ctr128),
            (EALG_AES_CTR, 24) => boxed(key).map(Self::Ctr192),
            (EALG_AES_CTR, 32) => boxed(key).map(Self::Ctr256),
            (EALG_3DES_CBC | EALG_AES_CBC | EALG_CAMELLIA_CBC | EALG_AES_CTR, _) => {
                Err(CryptoError::BadKey)
            }
            _ => Err(CryptoError::Unsupported),
        }
    }
}

/// Whether EDE collapses to one DES: two neighbouring keys alike but for parity bits.
fn degenerates(key: &[u8]) -> bool {
    let (keys, _) = key.as_chunks::<8>();
    keys.windows(2).any(|pair| {
        pair[0]
            .iter()
            .zip(&pair[1])
            .all(|(a, b)| (a ^ b) & 0xfe == 0)
    })
}

fn encrypt<C: BlockCipherEncrypt>(
    cipher: &C,
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), CryptoError> {
    let mut mode =
        Encryptor::inner_iv_slice_init(cipher, iv).map_err(|_| CryptoError::BadLength)?;
    let (blocks, rest) = cipher::Array::slice_as_chunks_mut(data);
    if !rest.is_empty() {
        return Err(CryptoError::BadLength);
    }
    mode.encrypt_blocks(blocks);
    Ok(())
}

fn decrypt<C: BlockCipherDecrypt>(
    cipher: &C,
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), CryptoError> {
    let mut mode =
        Decryptor::inner_iv_slice_init(cipher, iv).map_err(|_| CryptoError::BadLength)?;
    let (blocks, rest) = cipher::Array::slice_as_chunks_mut(data);
    if !rest.is_empty() {
        return Err(CryptoError::BadLength);
    }
    mode.decrypt_blocks(blocks);
    Ok(())
}

/// Counter mode from this counter block on, of which the last 32 bits count; the same both ways.
pub(super) fn count<C>(cipher: &C, block: &[u8], data: &mut [u8]) -> Result<(), CryptoError>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let core = CtrCore::<_, Ctr32BE>::inner_iv_slice_init(cipher, block)
        .map_err(|_| CryptoError::BadLength)?;
    core.try_apply_keystream_partial(data.into())
        .map_err(|_| CryptoError::BadLength)
}

impl klips::Cipher for KeyedCipher {
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::TripleDes(c) => encrypt(c.as_ref(), iv, data),
            Self::Aes128(c) => encrypt(c.as_ref(), iv, data),
            Self::Aes192(c) => encrypt(c.as_ref(), iv, data),
            Self::Aes256(c) => encrypt(c.as_ref(), iv, data),
            Self::Camellia128(c) => encrypt(c.as_ref(), iv, data),
            Self::Camellia192(c) => encrypt(c.as_ref(), iv, data),
            Self::Camellia256(c) => encrypt(c.as_ref(), iv, data),
            Self::Ctr128(c) => count(c.as_ref(), iv, data),
            Self::Ctr192(c) => count(c.as_ref(), iv, data),
            Self::Ctr256(c) => count(c.as_ref(), iv, data),
        }
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::TripleDes(c) => decrypt(c.as_ref(), iv, data),
            Self::Aes128(c) => decrypt(c.as_ref(), iv, data),
            Self::Aes192(c) => decrypt(c.as_ref(), iv, data),
            Self::Aes256(c) => decrypt(c.as_ref(), iv, data),
            Self::Camellia128(c) => decrypt(c.as_ref(), iv, data),
            Self::Camellia192(c) => decrypt(c.as_ref(), iv, data),
            Self::Camellia256(c) => decrypt(c.as_ref(), iv, data),
            Self::Ctr128(_) | Self::Ctr192(_) | Self::Ctr256(_) => self.encrypt(iv, data),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klips::Cipher;

    fn both_ways(id: u8, key: &str, iv: &str, plain: &str, coded: &str) {
        let [key, iv, plain, coded] = [key, iv, plain, coded].map(|h| hex::decode(h).unwrap());
        let cipher = KeyedCipher::new(id, &key).unwrap();
        let mut data = plain.clone();
        cipher.encrypt(&iv, &mut data).unwrap();
        assert_eq!(hex::encode(&data), hex::encode(&coded));
        cipher.decrypt(&iv, &mut data).unwrap();
        assert_eq!(data, plain);
    }

    #[test]
    fn aes_cbc_sp800_38a() {
        let iv = "000102030405060708090a0b0c0d0e0f";
        let plain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
        both_ways(
            EALG_AES_CBC,
            "2b7e151628aed2a6abf7158809cf4f3c",
            iv,
            plain,
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
        );
        both_ways(
            EALG_AES_CBC,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            iv,
            plain,
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a",
        );
        both_ways(
            EALG_AES_CBC,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            iv,
            plain,
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
        );
    }

    /// Case 4 of RFC 3602 section 4.
    #[test]
    fn aes_cbc_rfc3602() {
        both_ways(
            EALG_AES_CBC,
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
             c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e\
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        );
    }

    /// RFC 3713 appendix A, in ECB; the same under CBC with a zero IV.
    #[test]
    fn camellia_rfc3713() {
        let iv = "00000000000000000000000000000000";
        let plain = "0123456789abcdeffedcba9876543210";
        let key = format!("{plain}00112233445566778899aabbccddeeff");
        for (bits, coded) in [
            (128, "67673138549669730857065648eabe43"),
            (192, "b4993401b3e996f84ee5cee7d79b09b9"),
            (256, "9acc237dff16d76c20ef7c919e3a7509"),
        ] {
            both_ways(EALG_CAMELLIA_CBC, &key[..bits / 4], iv, plain, coded);
        }
    }

    /// RFC 3686 section 6, cases 2, 5 and 9: keys of 128, 192 and 256 bits, the last with an odd block.
    #[test]
    fn aes_ctr_rfc3686() {
        let plain: String = (0..36).map(|n| format!("{n:02x}")).collect();
        both_ways(
            EALG_AES_CTR,
            "7e24067817fae0d743d6ce1f32539163",
            "006cb6dbc0543b59da48d90b00000001",
            &plain[..64],
            "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
        );
        both_ways(
            EALG_AES_CTR,
            "7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a",
            "0096b03b020c6eadc2cb500d00000001",
            &plain[..64],
            "453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00",
        );
        both_ways(
            EALG_AES_CTR,
            "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d",
            "001cc5b751a51d70a1c1114800000001",
            &plain,
            "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
        );
    }

    /// NIST SP 800-67 appendix B.1 is ECB; this is its first block under CBC with a zero IV, which is the same.
    #[test]
    fn triple_des_sp800_67() {
        both_ways(
            EALG_3DES_CBC,
            "0123456789abcdef23456789abcdef01456789abcdef0123",
            "0000000000000000",
            "5468652071756663",
            "a826fd8ce53b855f",
        );
    }

    #[test]
    fn single_des_in_disguise_is_refused() {
        // First and second key alike but for a parity bit; then second and third.
        let mut key = hex::decode("0123456789abcdef0023456789abcdef456789abcdef0123").unwrap();
        assert!(matches!(
            KeyedCipher::new(EALG_3DES_CBC, &key),
            Err(CryptoError::BadKey)
        ));
        key[8] = 0x23;
        assert!(KeyedCipher::new(EALG_3DES_CBC, &key).is_ok());
        key.copy_within(8..16, 16);
        assert!(matches!(
            KeyedCipher::new(EALG_3DES_CBC, &key),
            Err(CryptoError::BadKey)
        ));
        assert!(matches!(
            KeyedCipher::new(2, &[0; 8]),
            Err(CryptoError::Unsupported)
        ));
    }

    #[test]
    fn odd_lengths_are_refused() {
        let cipher = KeyedCipher::new(EALG_AES_CBC, &[1; 16]).unwrap();
        assert_eq!(
            cipher.encrypt(&[0; 16], &mut [0; 17]),
            Err(CryptoError::BadLength)
        );
        assert_eq!(
            cipher.decrypt(&[0; 8], &mut [0; 16]),
            Err(CryptoError::BadLength)
        );
    }
}
