//! The MACs: HMAC with MD5 (RFC 2403), SHA-1 (RFC 2404) and SHA-2 (RFC 4868), whose states after the padded key are made once per
//! SA; AES-XCBC (RFC 3566) and AES-CMAC (RFC 4494).

use hmac::{Hmac, Mac as _};
use klips::CryptoError;
use klips::home::MAX_MAC;
use klips::transform::{
    AALG_AES_CMAC, AALG_AES_XCBC, AALG_MD5_HMAC, AALG_SHA1_HMAC, AALG_SHA2_256_HMAC,
    AALG_SHA2_384_HMAC, AALG_SHA2_512_HMAC,
};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::cbc_mac::CbcMac;
use super::cipher::boxed;

/// A keyed MAC; its states are wiped when dropped.
pub enum KeyedMac {
    /// HMAC-MD5.
    Md5(Box<Hmac<Md5>>),
    /// HMAC-SHA1.
    Sha1(Box<Hmac<Sha1>>),
    /// HMAC-SHA2-256.
    Sha256(Box<Hmac<Sha256>>),
    /// HMAC-SHA2-384.
    Sha384(Box<Hmac<Sha384>>),
    /// HMAC-SHA2-512.
    Sha512(Box<Hmac<Sha512>>),
    /// AES-XCBC or AES-CMAC.
    Aes(Box<CbcMac>),
}

impl KeyedMac {
    /// Keys the MAC of this PF_KEY number (`SADB_AALG_*`).
    ///
    /// # Errors
    /// `Unsupported` for another number, `BadKey` for a length that an AES MAC does not take.
    pub fn new(id: u8, key: &[u8]) -> Result<Self, CryptoError> {
        match id {
            AALG_MD5_HMAC => boxed(key).map(Self::Md5),
            AALG_SHA1_HMAC => boxed(key).map(Self::Sha1),
            AALG_SHA2_256_HMAC => boxed(key).map(Self::Sha256),
            AALG_SHA2_384_HMAC => boxed(key).map(Self::Sha384),
            AALG_SHA2_512_HMAC => boxed(key).map(Self::Sha512),
            AALG_AES_XCBC => CbcMac::xcbc(key).map(Self::Aes),
            AALG_AES_CMAC => CbcMac::cmac(key).map(Self::Aes),
            _ => Err(CryptoError::Unsupported),
        }
    }
}

macro_rules! run {
    ($keyed:expr, $segments:expr, $out:expr) => {{
        let mut mac = $keyed.as_ref().clone();
        for segment in $segments {
            mac.update(segment);
        }
        let tag = mac.finalize().into_bytes();
        $out.get_mut(..tag.len())
            .ok_or(CryptoError::BadLength)?
            .copy_from_slice(&tag);
    }};
}

impl klips::Mac for KeyedMac {
    fn mac(&self, segments: &[&[u8]], out: &mut [u8; MAX_MAC]) -> Result<(), CryptoError> {
        match self {
            Self::Md5(keyed) => run!(keyed, segments, out),
            Self::Sha1(keyed) => run!(keyed, segments, out),
            Self::Sha256(keyed) => run!(keyed, segments, out),
            Self::Sha384(keyed) => run!(keyed, segments, out),
            Self::Sha512(keyed) => run!(keyed, segments, out),
            Self::Aes(keyed) => out[..16].copy_from_slice(&keyed.mac(segments)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klips::Mac;

    fn tag(id: u8, key: &[u8], segments: &[&[u8]], length: usize) -> String {
        let mut out = [0xee; MAX_MAC];
        KeyedMac::new(id, key)
            .unwrap()
            .mac(segments, &mut out)
            .unwrap();
        assert!(out[length..].iter().all(|b| *b == 0xee));
        hex::encode(&out[..length])
    }

    /// RFC 2202 sections 2 and 3, cases 1 to 3.
    #[test]
    fn rfc2202() {
        let md5 = |key: &[u8], data: &[&[u8]]| tag(AALG_MD5_HMAC, key, data, 16);
        let sha1 = |key: &[u8], data: &[&[u8]]| tag(AALG_SHA1_HMAC, key, data, 20);
        assert_eq!(
            md5(&[0x0b; 16], &[b"Hi There"]),
            "9294727a3638bb1c13f48ef8158bfc9d"
        );
        assert_eq!(
            sha1(&[0x0b; 20], &[b"Hi There"]),
            "b617318655057264e28bc0b6fb378c8ef146be00"
        );
        let jefe: &[&[u8]] = &[b"what do ya want", b" for nothing?"];
        assert_eq!(md5(b"Jefe", jefe), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(
            sha1(b"Jefe", jefe),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        assert_eq!(
            md5(&[0xaa; 16], &[&[0xdd; 50]]),
            "56be34521d144c88dbb8c733f0e8b3f6"
        );
        assert_eq!(
            sha1(&[0xaa; 20], &[&[0xdd; 50]]),
            "125d7342b9ac11cd91a39af48aa17b4f63f175d3"
        );
    }

    /// RFC 4868 sections 2.7.1 and 2.7.2.1, cases AUTH256-1, AUTH384-1, AUTH512-1 and -2 of each, before truncation.
    #[test]
    fn rfc4868() {
        let cases = [
            (
                AALG_SHA2_256_HMAC,
                32,
                "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7",
            ),
            (
                AALG_SHA2_384_HMAC,
                48,
                "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee9737a959796489bddbc4c5df61d5b3297b4fb68dab9f1b582c2",
            ),
            (
                AALG_SHA2_512_HMAC,
                64,
                "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8\
                 ac2878ebd5803f6f0b61dbce5e251ff8789a4722c1be65aea45fd464e89f8f5b",
            ),
        ];
        for (id, length, want) in cases {
            assert_eq!(
                tag(id, &vec![0x0b; length], &[b"Hi ", b"There"], length),
                want
            );
        }
    }

    #[test]
    fn aes_macs_by_number() {
        let key: Vec<u8> = (0..16).collect();
        assert_eq!(
            tag(AALG_AES_XCBC, &key, &[&[0, 1], &[2]], 16),
            "5b376580ae2f19afe7219ceef172756f"
        );
        let key = hex::decode("2b7e151628aed2a6abf7158809cf4f3c").unwrap();
        assert_eq!(
            tag(AALG_AES_CMAC, &key, &[], 16),
            "bb1d6929e95937287fa37d129b756746"
        );
        assert!(matches!(
            KeyedMac::new(AALG_AES_XCBC, &[1; 20]),
            Err(CryptoError::BadKey)
        ));
    }
}
