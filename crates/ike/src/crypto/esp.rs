//! Algorithms of IPsec SAs as IKE negotiates them: one row each, with numbers on the wire, names in `esp=` and `ah=`, and
//! key lengths. The algorithms themselves run in KLIPS.

use crate::wire::{AhTransformId, AuthAlgorithm, EspTransformId, IpcompTransformId};
use core::fmt;

#[derive(Debug)]
struct CipherRow {
    name: &'static str,
    aliases: &'static [&'static str],
    id: EspTransformId,
    key_bits: Option<u16>,
    default_length: bool,
    key_len: usize,
}

static CIPHERS: [CipherRow; 4] = [
    CipherRow {
        name: "aes128",
        aliases: &["aes", "aes_128"],
        id: EspTransformId::AES,
        key_bits: Some(128),
        default_length: true,
        key_len: 16,
    },
    CipherRow {
        name: "aes192",
        aliases: &["aes_192"],
        id: EspTransformId::AES,
        key_bits: Some(192),
        default_length: false,
        key_len: 24,
    },
    CipherRow {
        name: "aes256",
        aliases: &["aes_256"],
        id: EspTransformId::AES,
        key_bits: Some(256),
        default_length: false,
        key_len: 32,
    },
    CipherRow {
        name: "3des",
        aliases: &["3des168"],
        id: EspTransformId::TRIPLE_DES,
        key_bits: None,
        default_length: true,
        key_len: 24,
    },
];

/// An ESP cipher with its key length.
#[derive(Clone, Copy)]
pub struct EspCipher(&'static CipherRow);

/// Why an ESP cipher on the wire is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EspRefusal {
    /// Single DES in any of its numbers.
    #[error(
        "single DES is never used: its 56-bit key has been broken by brute force since 1998; offer 3DES or AES"
    )]
    SingleDes,
    /// Not implemented.
    #[error("{0} is not implemented; ESP_3DES and ESP_AES are")]
    Unknown(EspTransformId),
    /// A key length that the cipher lacks.
    #[error("{cipher} has no key length of {bits} bits")]
    KeyLength {
        /// The cipher.
        cipher: EspTransformId,
        /// The attribute's value.
        bits: u32,
    },
}

impl EspCipher {
    /// AES-CBC, 128-bit key.
    pub const AES128: Self = Self(&CIPHERS[0]);
    /// AES-CBC, 192-bit key.
    pub const AES192: Self = Self(&CIPHERS[1]);
    /// AES-CBC, 256-bit key.
    pub const AES256: Self = Self(&CIPHERS[2]);
    /// Triple DES in CBC mode.
    pub const TRIPLE_DES: Self = Self(&CIPHERS[3]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        CIPHERS.iter().map(Self)
    }

    /// The cipher that `esp=` calls so.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|c| c.0.name == name || c.0.aliases.contains(&name))
    }

    /// The cipher with this transform id and key length attribute. AES without the attribute means 128 bits.
    ///
    /// # Errors
    /// Single DES, an unknown cipher, or a key length it lacks.
    pub fn from_wire(id: EspTransformId, key_bits: Option<u32>) -> Result<Self, EspRefusal> {
        if matches!(
            id,
            EspTransformId::DES | EspTransformId::DES_IV32 | EspTransformId::DES_IV64
        ) {
            return Err(EspRefusal::SingleDes);
        }
        let mut rows = Self::all().filter(|c| c.0.id == id).peekable();
        if rows.peek().is_none() {
            return Err(EspRefusal::Unknown(id));
        }
        match key_bits {
            None => rows
                .find(|c| c.0.default_length)
                .ok_or(EspRefusal::Unknown(id)),
            Some(bits) => rows
                .find(|c| c.0.key_bits.map(u32::from) == Some(bits))
                .ok_or(EspRefusal::KeyLength { cipher: id, bits }),
        }
    }

    /// Name as `esp=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Transform id, which is also PF_KEY's cipher number (SADB_EALG).
    pub fn id(self) -> EspTransformId {
        self.0.id
    }

    /// Key length attribute in bits, if the cipher is sent with one.
    pub fn key_bits(self) -> Option<u16> {
        self.0.key_bits
    }

    /// Octets of key.
    pub fn key_len(self) -> usize {
        self.0.key_len
    }
}

#[derive(Debug)]
struct AuthRow {
    name: &'static str,
    aliases: &'static [&'static str],
    id: AuthAlgorithm,
    ah_id: AhTransformId,
    key_len: usize,
}

static AUTHS: [AuthRow; 2] = [
    AuthRow {
        name: "sha1",
        aliases: &["sha", "sha1_96", "sha1-96"],
        id: AuthAlgorithm::HMAC_SHA1,
        ah_id: AhTransformId::SHA,
        key_len: 20,
    },
    AuthRow {
        name: "md5",
        aliases: &["md5_96", "md5-96"],
        id: AuthAlgorithm::HMAC_MD5,
        ah_id: AhTransformId::MD5,
        key_len: 16,
    },
];

/// An authentication algorithm of ESP and AH.
#[derive(Clone, Copy)]
pub struct AuthAlg(&'static AuthRow);

impl AuthAlg {
    /// HMAC-SHA1-96.
    pub const SHA1: Self = Self(&AUTHS[0]);
    /// HMAC-MD5-96.
    pub const MD5: Self = Self(&AUTHS[1]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        AUTHS.iter().map(Self)
    }

    /// The algorithm that `esp=` and `ah=` call so.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|a| a.0.name == name || a.0.aliases.contains(&name))
    }

    /// The algorithm with this attribute value.
    pub fn from_wire(id: AuthAlgorithm) -> Option<Self> {
        Self::all().find(|a| a.0.id == id)
    }

    /// Name as `esp=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Attribute value. PF_KEY's number (SADB_AALG) is one more.
    pub fn id(self) -> AuthAlgorithm {
        self.0.id
    }

    /// AH transform id.
    pub fn ah_id(self) -> AhTransformId {
        self.0.ah_id
    }

    /// Octets of key.
    pub fn key_len(self) -> usize {
        self.0.key_len
    }
}

/// The one compressor: deflate (RFC 2394).
pub const IPCOMP_DEFLATE: IpcompTransformId = IpcompTransformId::DEFLATE;

macro_rules! row_traits {
    ($($name:ident),*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.name == other.0.name
            }
        }

        impl Eq for $name {}

        impl core::hash::Hash for $name {
            fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
                self.0.name.hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.name)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.name)
            }
        }
    )*};
}
row_traits!(EspCipher, AuthAlg);
