//! HMAC-MD5 (RFC 2403) and HMAC-SHA1 (RFC 2404). The states after the padded key are made once per SA.

use hmac::{Hmac, KeyInit, Mac as _};
use klips::CryptoError;
use klips::home::MAX_MAC;
use klips::transform::{AALG_MD5_HMAC, AALG_SHA1_HMAC};
use md5::Md5;
use sha1::Sha1;

/// A keyed MAC; its states are wiped when dropped.
pub enum KeyedMac {
    /// HMAC-MD5.
    Md5(Box<Hmac<Md5>>),
    /// HMAC-SHA1.
    Sha1(Box<Hmac<Sha1>>),
}

impl KeyedMac {
    /// Keys the MAC of this PF_KEY number (`SADB_AALG_*`).
    ///
    /// # Errors
    /// `Unsupported` for another number.
    pub fn new(id: u8, key: &[u8]) -> Result<Self, CryptoError> {
        let bad = |_| CryptoError::BadKey;
        match id {
            AALG_MD5_HMAC => Ok(Self::Md5(Box::new(Hmac::new_from_slice(key).map_err(bad)?))),
            AALG_SHA1_HMAC => Ok(Self::Sha1(Box::new(
                Hmac::new_from_slice(key).map_err(bad)?,
            ))),
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
}
