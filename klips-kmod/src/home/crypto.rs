//! Which of the kernel's transforms stands for which row of the core's table.
//!
//! Not here: the calls into the crypto API (`sys::crypto`).

use core::ffi::CStr;

use klips::home::MAX_MAC;
use klips::transform::{
    AALG_MD5_HMAC, AALG_SHA1_HMAC, Authentication, EALG_3DES_CBC, EALG_AES_CBC, Encryption,
};
use klips::{Cipher, CryptoError, Mac};

use crate::sys::crypto::{Shash, Skcipher};
use crate::sys::provision;

pub(crate) use crate::sys::crypto::{deflate, inflate};

/// The crypto API's names for the ciphers, by PF_KEY number.
const CIPHERS: [(u8, &CStr); 2] = [(EALG_AES_CBC, c"cbc(aes)"), (EALG_3DES_CBC, c"cbc(des3_ede)")];
/// The crypto API's names for the MACs, by PF_KEY number.
const MACS: [(u8, &CStr); 2] = [(AALG_SHA1_HMAC, c"hmac(sha1)"), (AALG_MD5_HMAC, c"hmac(md5)")];

/// Which transform object is meant, by PF_KEY number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cipher(u8),
    Mac(u8),
}

/// A transform object without a key.
pub(crate) enum Object {
    Cipher(Skcipher),
    Mac(Shash),
}

impl Kind {
    /// Makes one. May sleep.
    pub(crate) fn make(self) -> Result<Object, CryptoError> {
        match self {
            Self::Cipher(id) => Skcipher::new(name(&CIPHERS, id)?).map(Object::Cipher),
            Self::Mac(id) => Shash::new(name(&MACS, id)?).map(Object::Mac),
        }
    }
}

fn name(table: &[(u8, &'static CStr)], id: u8) -> Result<&'static CStr, CryptoError> {
    let row = table.iter().find(|(known, _)| *known == id);
    row.map(|(_, name)| *name).ok_or(CryptoError::Unsupported)
}

/// A cipher with its key.
pub(crate) struct KernelCipher(Skcipher);

impl KernelCipher {
    /// Keys the cipher of `row`, out of what the writer brought.
    pub(crate) fn new(row: &'static Encryption, key: &[u8]) -> Result<Self, CryptoError> {
        name(&CIPHERS, row.id)?;
        match provision::take_transform(Kind::Cipher(row.id)) {
            Some(Object::Cipher(mut cipher)) => {
                cipher.set_key(key)?;
                Ok(Self(cipher))
            }
            _ => Err(CryptoError::NoMemory),
        }
    }
}

impl Cipher for KernelCipher {
    fn encrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        self.0.crypt(true, iv, data)
    }

    fn decrypt(&self, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        self.0.crypt(false, iv, data)
    }
}

/// A MAC with its key.
pub(crate) struct KernelMac(Shash);

impl KernelMac {
    /// Keys the MAC of `row`, out of what the writer brought.
    pub(crate) fn new(row: &'static Authentication, key: &[u8]) -> Result<Self, CryptoError> {
        name(&MACS, row.id)?;
        match provision::take_transform(Kind::Mac(row.id)) {
            Some(Object::Mac(mut mac)) => {
                mac.set_key(key)?;
                Ok(Self(mac))
            }
            _ => Err(CryptoError::NoMemory),
        }
    }
}

impl Mac for KernelMac {
    fn mac(&self, segments: &[&[u8]], out: &mut [u8; MAX_MAC]) -> Result<(), CryptoError> {
        self.0.digest(segments, out)
    }
}
