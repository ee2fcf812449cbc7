// SPDX-License-Identifier: GPL-2.0

//! Which of the kernel's transforms stands for which row of the core's table, and whether the
//! running kernel has it.
//!
//! Not here: the calls into the crypto API (`sys::crypto`).

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use klips::home::{MAX_MAC, NONCE};
use klips::transform::{self, Authentication, Encryption, Mode};
use klips::{Aead, Cipher, CryptoError, Mac};

use crate::sys::crypto::{self, Shash, Skcipher};
use crate::sys::provision;

pub(crate) use crate::sys::crypto::{deflate, inflate};

/// A transform of the crypto API for a row of the core's table.
struct Row {
    /// PF_KEY number.
    id: u8,
    /// The crypto API's name.
    name: &'static CStr,
    /// Whether the kernel had it when last asked. A module may bring it later.
    had: AtomicBool,
}

const fn row(id: u8, name: &'static CStr) -> Row {
    Row {
        id,
        name,
        had: AtomicBool::new(false),
    }
}

/// Ciphers and AEADs.
static CIPHERS: [Row; 8] = [
    row(transform::EALG_AES_CBC, c"cbc(aes)"),
    row(transform::EALG_3DES_CBC, c"cbc(des3_ede)"),
    row(transform::EALG_CAMELLIA_CBC, c"cbc(camellia)"),
    row(transform::EALG_AES_CTR, c"ctr(aes)"),
    row(transform::EALG_AES_GCM_8, c"gcm(aes)"),
    row(transform::EALG_AES_GCM_12, c"gcm(aes)"),
    row(transform::EALG_AES_GCM_16, c"gcm(aes)"),
    row(
        transform::EALG_CHACHA20_POLY1305,
        c"rfc7539(chacha20,poly1305)",
    ),
];
/// MACs.
static MACS: [Row; 7] = [
    row(transform::AALG_SHA1_HMAC, c"hmac(sha1)"),
    row(transform::AALG_MD5_HMAC, c"hmac(md5)"),
    row(transform::AALG_SHA2_256_HMAC, c"hmac(sha256)"),
    row(transform::AALG_SHA2_384_HMAC, c"hmac(sha384)"),
    row(transform::AALG_SHA2_512_HMAC, c"hmac(sha512)"),
    row(transform::AALG_AES_XCBC, c"xcbc(aes)"),
    row(transform::AALG_AES_CMAC, c"cmac(aes)"),
];

fn find(table: &'static [Row], id: u8) -> Result<&'static Row, CryptoError> {
    table
        .iter()
        .find(|row| row.id == id)
        .ok_or(CryptoError::Unsupported)
}

/// The longest key of an AEAD, in bytes.
const MAX_KEY: usize = 32;

/// An AEAD's key on its way; wiped when dropped.
#[derive(PartialEq, Eq)]
pub(crate) struct Key {
    bytes: [u8; MAX_KEY],
    len: usize,
}

impl Key {
    fn new(key: &[u8]) -> Result<Self, CryptoError> {
        let mut own = Self {
            bytes: [0; MAX_KEY],
            len: key.len(),
        };
        own.bytes
            .get_mut(..key.len())
            .ok_or(CryptoError::BadKey)?
            .copy_from_slice(key);
        Ok(own)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.bytes = [0; MAX_KEY];
        core::hint::black_box(&self.bytes);
    }
}

/// Which transform object is meant, by PF_KEY number.
#[derive(PartialEq, Eq)]
pub(crate) enum Kind {
    Cipher(u8),
    Mac(u8),
    /// With its key, which can be set only where sleeping is allowed.
    Aead(u8, Key),
}

/// A transform object; without a key, but for an AEAD.
pub(crate) enum Object {
    Cipher(Skcipher),
    Mac(Shash),
    Aead(crypto::Aead),
}

impl Kind {
    fn row(&self) -> Result<&'static Row, CryptoError> {
        match self {
            Self::Cipher(id) | Self::Aead(id, _) => find(&CIPHERS, *id),
            Self::Mac(id) => find(&MACS, *id),
        }
    }

    /// Makes one, for which a module is loaded if `load` says so. Without, only what the kernel was
    /// seen to have is asked for: a cipher may be made of others, and the kernel would load those.
    /// May sleep.
    pub(crate) fn make(&self, load: bool) -> Result<Object, CryptoError> {
        let row = self.row()?;
        if !load && !row.had.load(Ordering::Relaxed) {
            return Err(CryptoError::Unsupported);
        }
        let made = match self {
            Self::Cipher(_) => Skcipher::new(row.name, load).map(Object::Cipher),
            Self::Mac(_) => Shash::new(row.name, load).map(Object::Mac),
            Self::Aead(id, key) => {
                let icv = transform::encryption(*id).map_or(0, |row| row.icv);
                let key = key.bytes.get(..key.len).ok_or(CryptoError::BadKey)?;
                crypto::Aead::new(row.name, icv, key, load).map(Object::Aead)
            }
        };
        match made {
            Ok(_) => row.had.store(true, Ordering::Relaxed),
            Err(CryptoError::Unsupported) => row.had.store(false, Ordering::Relaxed),
            Err(_) => {}
        }
        made
    }
}

/// Finds out which transforms the kernel has, by making each once. May sleep.
pub(crate) fn probe() {
    for row in transform::ENCRYPTIONS {
        let kind = match row.mode {
            Mode::Null => continue,
            Mode::Cbc | Mode::Ctr => Kind::Cipher(row.id),
            Mode::Aead => {
                let len = row.keys.first().copied().unwrap_or(0);
                Kind::Aead(
                    row.id,
                    Key {
                        bytes: [0; MAX_KEY],
                        len,
                    },
                )
            }
        };
        let _ = kind.make(true);
    }
    for row in transform::AUTHENTICATIONS {
        let _ = Kind::Mac(row.id).make(true);
    }
}

/// Whether the kernel has this cipher.
pub(crate) fn has_encryption(row: &Encryption) -> bool {
    row.mode == Mode::Null
        || find(&CIPHERS, row.id).is_ok_and(|row| row.had.load(Ordering::Relaxed))
}

/// Whether the kernel has this MAC.
pub(crate) fn has_authentication(row: &Authentication) -> bool {
    find(&MACS, row.id).is_ok_and(|row| row.had.load(Ordering::Relaxed))
}

/// A cipher with its key.
pub(crate) struct KernelCipher(Skcipher);

impl KernelCipher {
    /// Keys the cipher of `row`, out of what the writer brought.
    pub(crate) fn new(row: &'static Encryption, key: &[u8]) -> Result<Self, CryptoError> {
        match provision::take_transform(Kind::Cipher(row.id))? {
            Object::Cipher(mut cipher) => {
                cipher.set_key(key)?;
                Ok(Self(cipher))
            }
            _ => Err(CryptoError::Unsupported),
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

/// An AEAD with its key.
pub(crate) struct KernelAead(crypto::Aead);

impl KernelAead {
    /// The AEAD of `row` with this key, which the writer brought.
    pub(crate) fn new(row: &'static Encryption, key: &[u8]) -> Result<Self, CryptoError> {
        match provision::take_transform(Kind::Aead(row.id, Key::new(key)?))? {
            Object::Aead(aead) => Ok(Self(aead)),
            _ => Err(CryptoError::Unsupported),
        }
    }
}

impl Aead for KernelAead {
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        self.0.crypt(true, nonce, aad, data)
    }

    fn open(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        self.0.crypt(false, nonce, aad, data)
    }
}

/// A MAC with its key.
pub(crate) struct KernelMac(Shash);

impl KernelMac {
    /// Keys the MAC of `row`, out of what the writer brought.
    pub(crate) fn new(row: &'static Authentication, key: &[u8]) -> Result<Self, CryptoError> {
        match provision::take_transform(Kind::Mac(row.id))? {
            Object::Mac(mut mac) => {
                mac.set_key(key)?;
                Ok(Self(mac))
            }
            _ => Err(CryptoError::Unsupported),
        }
    }
}

impl Mac for KernelMac {
    fn mac(&self, segments: &[&[u8]], out: &mut [u8; MAX_MAC]) -> Result<(), CryptoError> {
        self.0.digest(segments, out)
    }
}
