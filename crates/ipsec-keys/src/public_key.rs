//! The public half: RFC 2537/3110 key blobs, their `0s…` text, and the nine-character key id.

use crate::data::{self, DataError};
use core::fmt;
use rsa::BoxedUint;
use thiserror::Error;

/// Smallest modulus that is accepted, in bits.
pub const MIN_BITS: usize = 1024;
/// Keys with a smaller modulus, in bits, are accepted with a warning.
pub const SAFE_BITS: usize = 2048;
/// Largest modulus that is accepted, in bits.
pub const MAX_BITS: usize = 8192;

const KEY_ID_CHARS: usize = 9;

/// An RSA public key. Modulus and exponent are big-endian without leading zero bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// Why a key is refused. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The text around the blob is wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The blob ends within the exponent, or has no modulus (RFC 3110 section 2).
    #[error("key blob is cut short: an RFC 3110 blob holds exponent length, exponent and modulus")]
    Truncated,
    /// Modulus below [`MIN_BITS`] or above [`MAX_BITS`].
    #[error(
        "modulus of {0} bits: it must have {MIN_BITS} to {MAX_BITS} (`ipsec newhostkey' makes a key that will do)"
    )]
    ModulusSize(usize),
    /// Even modulus.
    #[error("modulus is even: this is no RSA key")]
    EvenModulus,
    /// Exponent that is even, below 3, or above 33 bits.
    #[error("public exponent must be odd, at least 3 and at most 33 bits long")]
    Exponent,
    /// Bits asked for at generation.
    #[error("bit count {0} is not a multiple of 16 from {MIN_BITS} to {MAX_BITS}")]
    BitCount(usize),
    /// A private key whose numbers do not fit together.
    #[error("inconsistent private key: {0}")]
    Inconsistent(&'static str),
    /// The signature is not by this key over these bytes, or the bytes don't fit into the modulus.
    #[error("signature check failed")]
    Signature,
}

impl PublicKey {
    /// Takes modulus and exponent, big-endian, and checks them.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let modulus = trim(modulus);
        let exponent = trim(exponent);
        let bits = bit_length(modulus);
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(KeyError::ModulusSize(bits));
        }
        if modulus.last().is_none_or(|b| b & 1 == 0) {
            return Err(KeyError::EvenModulus);
        }
        let odd = exponent.last().is_some_and(|b| b & 1 == 1);
        if !odd || exponent == [1] || bit_length(exponent) > 33 {
            return Err(KeyError::Exponent);
        }
        Ok(Self {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// Reads an RFC 3110 blob: one length byte (or zero and two), exponent, modulus.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let (length, rest) = match blob {
            [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            [length, rest @ ..] if *length > 0 => (usize::from(*length), rest),
            _ => return Err(KeyError::Truncated),
        };
        let (exponent, modulus) = rest.split_at_checked(length).ok_or(KeyError::Truncated)?;
        if exponent.is_empty() || modulus.is_empty() {
            return Err(KeyError::Truncated);
        }
        Self::new(modulus, exponent)
    }

    /// The RFC 3110 blob.
    pub fn to_blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(1 + self.exponent.len() + self.modulus.len());
        // An exponent has five bytes at most, so the one-byte length always does.
        blob.push(self.exponent.len() as u8);
        blob.extend_from_slice(&self.exponent);
        blob.extend_from_slice(&self.modulus);
        blob
    }

    /// Reads `0s…` or `0x…`, as `leftrsasigkey=` holds it.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        Self::from_blob(&data::parse(text)?)
    }

    /// Reads base 64 without prefix, as KEY and TXT records hold it.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::from_blob(&data::parse_base64(text)?)
    }

    /// `0sAQ…`, as `leftrsasigkey=` takes it.
    pub fn to_text(&self) -> String {
        format!("0s{}", self.to_base64())
    }

    /// Base 64 of the blob without prefix, as KEY and TXT records hold it.
    pub fn to_base64(&self) -> String {
        data::to_base64(&self.to_blob())
    }

    /// The key id: the first nine base 64 digits of the blob, by which logs and `ipsec auto --status` name a key.
    pub fn key_id(&self) -> String {
        let mut text = self.to_base64();
        text.truncate(KEY_ID_CHARS);
        text
    }

    /// Modulus, big-endian, no leading zero bytes.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Public exponent, big-endian, no leading zero bytes.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// Length of the modulus in bits.
    pub fn bits(&self) -> usize {
        bit_length(&self.modulus)
    }

    /// What is to be said to people about a key that is accepted and should not be used any longer.
    pub fn warning(&self) -> Option<String> {
        let bits = self.bits();
        (bits < SAFE_BITS).then(|| {
            format!(
                "it has {bits} bits, which is weak: keys should have {SAFE_BITS} or more (`ipsec newhostkey' makes one)"
            )
        })
    }

    /// Length of a signature in bytes.
    pub fn size(&self) -> usize {
        self.modulus.len()
    }

    /// The key in the form of crate `rsa`.
    pub fn to_rsa(&self) -> Result<rsa::RsaPublicKey, KeyError> {
        let n = BoxedUint::from_be_slice_vartime(&self.modulus);
        let e = BoxedUint::from_be_slice_vartime(&self.exponent);
        rsa::RsaPublicKey::new_with_size_limits(n, e, MIN_BITS..=MAX_BITS)
            .map_err(|_| KeyError::Exponent)
    }

    /// The key as a SubjectPublicKeyInfo in PEM (RFC 7468), which strongSwan and OpenSSL read.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        use rsa::pkcs8::{EncodePublicKey, LineEnding};
        self.to_rsa()?
            .to_public_key_pem(LineEnding::LF)
            .map_err(|_| KeyError::Exponent)
    }

    /// Checks an IKEv1 signature (RFC 2409 section 5.1): PKCS #1 v1.5 padding around the bare hash, no DigestInfo.
    pub fn verify_unprefixed(&self, hash: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let scheme = rsa::Pkcs1v15Sign::new_unprefixed();
        self.to_rsa()?
            .verify(scheme, hash, signature)
            .map_err(|_| KeyError::Signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {} bits)", self.key_id(), self.bits())
    }
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    &bytes[zeros..]
}

pub(crate) fn bit_length(trimmed: &[u8]) -> usize {
    trimmed.first().map_or(0, |first| {
        trimmed.len() * 8 - first.leading_zeros() as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus() -> Vec<u8> {
        let mut n = vec![0x85, 0xf2, 0xd6, 0x76, 0x9b, 0x03, 0x59, 0xb6];
        n.resize(128, 0x55);
        n
    }

    #[test]
    fn key_id_is_nine_base64_digits() {
        // The example of the reference's regression test for key ids: this exponent and modulus start AQOF8tZ2m.
        assert_eq!(
            PublicKey::new(&modulus(), &[3]).unwrap().key_id(),
            "AQOF8tZ2m"
        );
    }

    #[test]
    fn blob_both_ways() {
        for exponent in [&[3u8][..], &[1, 0, 1]] {
            let key = PublicKey::new(&modulus(), exponent).unwrap();
            assert_eq!(PublicKey::from_blob(&key.to_blob()).unwrap(), key);
            assert_eq!(PublicKey::from_text(&key.to_text()).unwrap(), key);
        }
    }

    #[test]
    fn pem_is_openssls() {
        let modulus = "ab6ff67ef5556fd7fd88b2c60731394419512d9d6f53f7b3c22b225a2fb95b07\
                       1127e4db382b96f90bc75201ae9f3b97d282661858951b192d9af121b25da2ab\
                       831d0b23f0bcb40ef13f06c67798c101ba2850d74e829ca4b27e03d454f21db8\
                       b3823474c2ddc1aac34d764e13333fe21d57c6c78c1f9066344b8aaac3e96517";
        let modulus: Vec<u8> = (0..modulus.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&modulus[at..at + 2], 16).unwrap())
            .collect();
        let key = PublicKey::new(&modulus, &[1, 0, 1]).unwrap();
        assert_eq!(
            key.to_pem().unwrap(),
            "-----BEGIN PUBLIC KEY-----\n\
             MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCrb/Z+9VVv1/2IssYHMTlEGVEt\n\
             nW9T97PCKyJaL7lbBxEn5Ns4K5b5C8dSAa6fO5fSgmYYWJUbGS2a8SGyXaKrgx0L\n\
             I/C8tA7xPwbGd5jBAbooUNdOgpyksn4D1FTyHbizgjR0wt3BqsNNdk4TMz/iHVfG\n\
             x4wfkGY0S4qqw+llFwIDAQAB\n\
             -----END PUBLIC KEY-----\n"
        );
    }

    #[test]
    fn long_form_of_the_length() {
        let mut blob = vec![0, 0, 1, 3];
        blob.extend(modulus());
        assert_eq!(PublicKey::from_blob(&blob).unwrap().exponent(), [3]);
    }

    #[test]
    fn bad_blobs_are_named() {
        assert_eq!(PublicKey::from_blob(&[]), Err(KeyError::Truncated));
        assert_eq!(PublicKey::from_blob(&[0, 1]), Err(KeyError::Truncated));
        assert_eq!(PublicKey::from_blob(&[9, 1]), Err(KeyError::Truncated));
        assert_eq!(
            PublicKey::from_blob(&[1, 3, 0x85]),
            Err(KeyError::ModulusSize(8))
        );
        assert_eq!(PublicKey::new(&modulus(), &[2]), Err(KeyError::Exponent));
        assert_eq!(PublicKey::new(&modulus(), &[1]), Err(KeyError::Exponent));
        let mut even = modulus();
        even[127] = 2;
        assert_eq!(PublicKey::new(&even, &[3]), Err(KeyError::EvenModulus));
    }

    #[test]
    fn a5_short_keys_are_refused_and_weak_ones_told_of() {
        for (bits, taken, warned) in [
            (512, false, false),
            (1016, false, false),
            (1023, false, false),
            (1024, true, true),
            (2047, true, true),
            (2048, true, false),
            (3072, true, false),
            (8192, true, false),
            (8193, false, false),
        ] {
            let mut modulus = vec![0xff; usize::div_ceil(bits, 8)];
            modulus[0] >>= modulus.len() * 8 - bits;
            let mut blob = vec![3, 1, 0, 1];
            blob.extend(&modulus);
            let text = data::to_base64(&blob);
            for key in [
                PublicKey::new(&modulus, &[1, 0, 1]),
                PublicKey::from_blob(&blob),
                PublicKey::from_base64(&text),
                PublicKey::from_text(&format!("0s{text}")),
            ] {
                assert_eq!(key.is_ok(), taken, "{bits}");
                match key {
                    Ok(key) => assert_eq!(key.warning().is_some(), warned, "{bits}"),
                    Err(error) => assert!(error.to_string().contains("1024"), "{error}"),
                }
            }
        }
    }

    #[test]
    fn mutated_blobs_never_panic() {
        let blob = PublicKey::new(&modulus(), &[3]).unwrap().to_blob();
        for at in 0..blob.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = blob.clone();
                bad[at] = value;
                crate::fuzz_key(&bad);
            }
            crate::fuzz_key(&blob[..at]);
        }
    }
}
