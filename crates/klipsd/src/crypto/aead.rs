//! AEADs for ESP: AES-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634).
//!
//! By ring where the ICV is whole; it has neither shorter ones nor AES with 192 bits. Those are put together here from AES, counter
//! mode and GHASH.

use std::hint::black_box;

use aes::{Aes128Enc, Aes192Enc, Aes256Enc};
use cipher::consts::U16;
use cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use ghash::GHash;
use ghash::universal_hash::UniversalHash as _;
use klips::CryptoError;
use klips::home::NONCE;
use klips::transform::{EALG_AES_GCM_8, EALG_AES_GCM_12, EALG_AES_GCM_16, EALG_CHACHA20_POLY1305};
use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use subtle::ConstantTimeEq as _;

use super::cipher::count;

/// A whole ICV, in bytes.
const TAG: usize = 16;

/// A keyed AEAD; its key schedule is wiped when dropped.
pub enum KeyedAead {
    /// AES-GCM with whole ICV and a key of 128 or 256 bits, or ChaCha20-Poly1305.
    Whole(Box<Ring>),
    /// AES-GCM with 128-bit key and a short ICV.
    Gcm128(Box<Gcm<Aes128Enc>>),
    /// AES-GCM with 192-bit key.
    Gcm192(Box<Gcm<Aes192Enc>>),
    /// AES-GCM with 256-bit key and a short ICV.
    Gcm256(Box<Gcm<Aes256Enc>>),
}

impl KeyedAead {
    /// Keys the AEAD of this PF_KEY number (`SADB_X_EALG_*`). The salt is not part of the key.
    ///
    /// # Errors
    /// `Unsupported` for another number, `BadKey` for a length it does not take.
    pub fn new(id: u8, key: &[u8]) -> Result<Self, CryptoError> {
        let icv = match id {
            EALG_CHACHA20_POLY1305 => return Ring::new(&CHACHA20_POLY1305, key).map(Self::Whole),
            EALG_AES_GCM_8 => 8,
            EALG_AES_GCM_12 => 12,
            EALG_AES_GCM_16 => TAG,
            _ => return Err(CryptoError::Unsupported),
        };
        match (key.len(), icv) {
            (16, TAG) => Ring::new(&AES_128_GCM, key).map(Self::Whole),
            (32, TAG) => Ring::new(&AES_256_GCM, key).map(Self::Whole),
            (16, _) => Gcm::new(key, icv).map(Self::Gcm128),
            (24, _) => Gcm::new(key, icv).map(Self::Gcm192),
            (32, _) => Gcm::new(key, icv).map(Self::Gcm256),
            _ => Err(CryptoError::BadKey),
        }
    }
}

impl klips::Aead for KeyedAead {
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::Whole(key) => key.seal(nonce, aad, data),
            Self::Gcm128(key) => key.seal(nonce, aad, data),
            Self::Gcm192(key) => key.seal(nonce, aad, data),
            Self::Gcm256(key) => key.seal(nonce, aad, data),
        }
    }

    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        match self {
            Self::Whole(key) => key.open(nonce, aad, data),
            Self::Gcm128(key) => key.open(nonce, aad, data),
            Self::Gcm192(key) => key.open(nonce, aad, data),
            Self::Gcm256(key) => key.open(nonce, aad, data),
        }
    }
}

/// What there is before the ICV, and the ICV.
fn split(data: &mut [u8], icv: usize) -> Result<(&mut [u8], &mut [u8]), CryptoError> {
    let at = data.len().checked_sub(icv).ok_or(CryptoError::BadLength)?;
    data.split_at_mut_checked(at).ok_or(CryptoError::BadLength)
}

/// An AEAD of ring's.
pub struct Ring {
    key: LessSafeKey,
    algorithm: &'static Algorithm,
}

impl Ring {
    fn new(algorithm: &'static Algorithm, key: &[u8]) -> Result<Box<Self>, CryptoError> {
        let key = UnboundKey::new(algorithm, key).map_err(|_| CryptoError::BadKey)?;
        let key = LessSafeKey::new(key);
        Ok(Box::new(Self { key, algorithm }))
    }

    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        let (data, icv) = split(data, TAG)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), data)
            .map_err(|_| CryptoError::BadLength)?;
        icv.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.key
            .open_in_place(nonce, Aad::from(aad), data)
            .map(drop)
            .map_err(|_| CryptoError::BadTag)
    }
}

impl Drop for Ring {
    /// ring wipes nothing: the key schedule gives way to that of a key of zeros.
    fn drop(&mut self) {
        let zeros = [0; 32];
        let zeros = zeros.get(..self.algorithm.key_len()).unwrap_or(&zeros);
        if let Ok(zero) = UnboundKey::new(self.algorithm, zeros) {
            self.key = LessSafeKey::new(zero);
            black_box(&self.key);
        }
    }
}

/// AES-GCM (NIST SP 800-38D) with an ICV of this length.
pub struct Gcm<C> {
    cipher: C,
    hash: GHash,
    icv: usize,
}

impl<C: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>> Gcm<C> {
    fn new(key: &[u8], icv: usize) -> Result<Box<Self>, CryptoError> {
        let cipher = C::new_from_slice(key).map_err(|_| CryptoError::BadKey)?;
        let mut subkey = ghash::Key::default();
        cipher.encrypt_block(&mut subkey);
        let hash = GHash::new(&subkey);
        zeroize::Zeroize::zeroize(subkey.as_mut_slice());
        Ok(Box::new(Self { cipher, hash, icv }))
    }

    fn counter_block(nonce: &[u8; NONCE], counter: u8) -> [u8; 16] {
        let mut block = [0; 16];
        block[..NONCE].copy_from_slice(nonce);
        block[15] = counter;
        block
    }

    fn tag(&self, nonce: &[u8; NONCE], aad: &[u8], coded: &[u8]) -> Result<[u8; TAG], CryptoError> {
        let mut hash = self.hash.clone();
        hash.update_padded(aad);
        hash.update_padded(coded);
        let bits = |bytes: &[u8]| (bytes.len() as u64 * 8).to_be_bytes();
        let mut lengths = ghash::Block::default();
        lengths[..8].copy_from_slice(&bits(aad));
        lengths[8..].copy_from_slice(&bits(coded));
        hash.update(&[lengths]);
        let mut tag: [u8; TAG] = hash.finalize().into();
        count(&self.cipher, &Self::counter_block(nonce, 1), &mut tag)?;
        Ok(tag)
    }

    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        let (data, icv) = split(data, self.icv)?;
        count(&self.cipher, &Self::counter_block(nonce, 2), data)?;
        icv.copy_from_slice(&self.tag(nonce, aad, data)?[..self.icv]);
        Ok(())
    }

    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        let (data, icv) = split(data, self.icv)?;
        let tag = self.tag(nonce, aad, data)?;
        if !bool::from(tag[..self.icv].ct_eq(icv)) {
            return Err(CryptoError::BadTag);
        }
        count(&self.cipher, &Self::counter_block(nonce, 2), data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klips::Aead as _;

    /// Seals and opens; `coded` has a whole ICV, of which the shorter ones are the beginning.
    fn both_ways(id: u8, icv: usize, [key, nonce, aad, plain, coded]: [&str; 5]) {
        let [key, nonce, aad, plain, coded] =
            [key, nonce, aad, plain, coded].map(|h| hex::decode(h.replace(' ', "")).unwrap());
        let nonce = nonce[..].try_into().unwrap();
        let keyed = KeyedAead::new(id, &key).unwrap();
        let mut data = plain.clone();
        data.resize(plain.len() + icv, 0xee);
        keyed.seal(nonce, &aad, &mut data).unwrap();
        assert_eq!(hex::encode(&data), hex::encode(&coded[..data.len()]));
        let sealed = data.clone();
        keyed.open(nonce, &aad, &mut data).unwrap();
        assert_eq!(data[..plain.len()], plain);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x40;
            assert_eq!(
                keyed.open(nonce, &aad, &mut forged),
                Err(CryptoError::BadTag)
            );
        }
        let mut forged = sealed.clone();
        let other = [&aad[..], b"x"].concat();
        assert_eq!(
            keyed.open(nonce, &other, &mut forged),
            Err(CryptoError::BadTag)
        );
        assert!(
            keyed
                .open(nonce, &aad, &mut sealed.clone()[..icv - 1])
                .is_err()
        );
    }

    fn all_gcm(vector: [&str; 5]) {
        for (id, icv) in [
            (EALG_AES_GCM_8, 8),
            (EALG_AES_GCM_12, 12),
            (EALG_AES_GCM_16, 16),
        ] {
            both_ways(id, icv, vector);
        }
    }

    const PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    const AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    const NONCE_4: &str = "cafebabefacedbaddecaf888";

    /// Cases 1, 4, 10 and 16 of the GCM specification (McGrew, Viega), appendix B.
    #[test]
    fn gcm_specification() {
        let zeros = "000000000000000000000000";
        all_gcm([
            &"0".repeat(32),
            zeros,
            "",
            "",
            "58e2fccefa7e3061367f1d57a4e7455a",
        ]);
        all_gcm([
            "feffe9928665731c6d6a8f9467308308",
            NONCE_4,
            AAD,
            PLAIN,
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05\
             1ba30b396a0aac973d58e091 5bc94fbc3221a5db94fae95ae7121a47",
        ]);
        all_gcm([
            "feffe9928665731c6d6a8f9467308308feffe9928665731c",
            NONCE_4,
            AAD,
            PLAIN,
            "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f47\
             18e2448b2fe324d9ccda2710 2519498e80f1478f37ba55bd6d27618c",
        ]);
        all_gcm([
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            NONCE_4,
            AAD,
            PLAIN,
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
             c5f61e6393ba7a0abcc9f662 76fc6ece0f4e1768cddf8853bb2d551b",
        ]);
    }

    /// RFC 8439 section 2.8.2.
    #[test]
    fn chacha20_poly1305_rfc8439() {
        let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                     sunscreen would be it.";
        both_ways(
            EALG_CHACHA20_POLY1305,
            16,
            [
                "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
                "070000004041424344454647",
                "50515253c0c1c2c3c4c5c6c7",
                &hex::encode(text),
                "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b\
                 1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
                 3ff4def08e4b7a9de576d26586cec64b6116 1ae10b594f09e26a7e902ecbd0600691",
            ],
        );
    }

    /// What is put together here and what ring does are the same.
    #[test]
    fn short_and_whole_are_of_one_kind() {
        for (key, length) in [
            (&[7; 16][..], 0),
            (&[8; 32], 1),
            (&[9; 16], 1400),
            (&[1; 32], 4001),
        ] {
            let ring = KeyedAead::new(EALG_AES_GCM_16, key).unwrap();
            let own = KeyedAead::new(EALG_AES_GCM_8, key).unwrap();
            assert!(matches!(ring, KeyedAead::Whole(_)) && !matches!(own, KeyedAead::Whole(_)));
            let mut whole: Vec<u8> = (0..length + 16).map(|n| n as u8).collect();
            let mut short = whole[..length + 8].to_vec();
            ring.seal(&[3; NONCE], b"12345678abcd", &mut whole).unwrap();
            own.seal(&[3; NONCE], b"12345678abcd", &mut short).unwrap();
            assert_eq!(whole[..length + 8], short, "length {length}");
        }
    }

    #[test]
    fn wrong_keys_are_refused() {
        for (id, length) in [
            (EALG_AES_GCM_16, 15),
            (EALG_AES_GCM_8, 20),
            (EALG_CHACHA20_POLY1305, 16),
        ] {
            let made = KeyedAead::new(id, &vec![1; length]);
            assert!(matches!(made, Err(CryptoError::BadKey)));
        }
        assert!(matches!(
            KeyedAead::new(12, &[1; 16]),
            Err(CryptoError::Unsupported)
        ));
    }
}
