//! CBC ciphers for ESP: 3DES (RFC 2451) and AES (RFC 3602). Key schedules are made once per SA.

use ::cbc::{Decryptor, Encryptor};
use aes::{Aes128, Aes192, Aes256};
use cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    KeyInit,
};
use des::TdesEde3;
use klips::CryptoError;
use klips::transform::{EALG_3DES_CBC, EALG_AES_CBC};

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
}

impl KeyedCipher {
    /// Keys the cipher of this PF_KEY number (`SADB_EALG_*`).
    ///
    /// # Errors
    /// `Unsupported` for another number, `BadKey` for a length it does not take, or for 3DES keys of which two
    /// neighbours are the same, which make it single DES.
    pub fn new(id: u8, key: &[u8]) -> Result<Self, CryptoError> {
        let bad = |_| CryptoError::BadKey;
        match (id, key.len()) {
            (EALG_3DES_CBC, 24) => {
                if degenerates(key) {
                    return Err(CryptoError::BadKey);
                }
                Ok(Self::TripleDes(Box::new(
                    TdesEde3::new_from_slice(key).map_err(bad)?,
                )))
            }
            (EALG_AES_CBC, 16) => Ok(Self::Aes128(Box::new(
                Aes128::new_from_slice(key).map_err(bad)?,
            ))),
            (EALG_AES_CBC, 24) => Ok(Self::Aes192(Box::new(
                Aes192::new_from_slice(key).map_err(bad)?,
            ))),
            (EALG_AES_CBC, 32) => Ok(Self::Aes256(Box::new(
                Aes256::new_from_slice(key).map_err(bad)?,
            ))),
            (EALG_3DES_CBC | EALG_AES_CBC, _) => Err(CryptoError::BadKey),
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

impl klips::Cipher for KeyedCipher {
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::TripleDes(c) => encrypt(c.as_ref(), iv, data),
            Self::Aes128(c) => encrypt(c.as_ref(), iv, data),
            Self::Aes192(c) => encrypt(c.as_ref(), iv, data),
            Self::Aes256(c) => encrypt(c.as_ref(), iv, data),
        }
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::TripleDes(c) => decrypt(c.as_ref(), iv, data),
            Self::Aes128(c) => decrypt(c.as_ref(), iv, data),
            Self::Aes192(c) => decrypt(c.as_ref(), iv, data),
            Self::Aes256(c) => decrypt(c.as_ref(), iv, data),
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
