//! Phase 1 ciphers: one row each, with what the wire, the configuration and the key schedule need to know.
//! Adding a cipher is adding a row (and a dependency). ESP's ciphers are in `esp`.

use crate::wire::OakleyCipher;
use aes::{Aes128, Aes192, Aes256};
use cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use core::fmt;
use des::TdesEde3;

type Crypt = fn(key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<(), CipherError>;

#[derive(Debug)]
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    id: OakleyCipher,
    /// Value of the key length attribute, for ciphers that need it.
    key_bits: Option<u16>,
    /// Key length meant when the attribute is missing.
    default_length: bool,
    key_len: usize,
    block_len: usize,
    encrypt: Crypt,
    decrypt: Crypt,
}

static ROWS: [Row; 4] = [
    Row {
        name: "aes128",
        aliases: &["aes", "aes_128"],
        id: OakleyCipher::AES_CBC,
        key_bits: Some(128),
        default_length: true,
        key_len: 16,
        block_len: 16,
        encrypt: encrypt::<cbc::Encryptor<Aes128>>,
        decrypt: decrypt::<cbc::Decryptor<Aes128>>,
    },
    Row {
        name: "aes192",
        aliases: &["aes_192"],
        id: OakleyCipher::AES_CBC,
        key_bits: Some(192),
        default_length: false,
        key_len: 24,
        block_len: 16,
        encrypt: encrypt::<cbc::Encryptor<Aes192>>,
        decrypt: decrypt::<cbc::Decryptor<Aes192>>,
    },
    Row {
        name: "aes256",
        aliases: &["aes_256"],
        id: OakleyCipher::AES_CBC,
        key_bits: Some(256),
        default_length: false,
        key_len: 32,
        block_len: 16,
        encrypt: encrypt::<cbc::Encryptor<Aes256>>,
        decrypt: decrypt::<cbc::Decryptor<Aes256>>,
    },
    Row {
        name: "3des",
        aliases: &["3des_cbc", "3des168"],
        id: OakleyCipher::TRIPLE_DES_CBC,
        key_bits: None,
        default_length: true,
        key_len: 24,
        block_len: 8,
        encrypt: encrypt::<cbc::Encryptor<TdesEde3>>,
        decrypt: decrypt::<cbc::Decryptor<TdesEde3>>,
    },
];

/// A phase 1 cipher with its key length.
#[derive(Clone, Copy)]
pub struct Cipher(&'static Row);

/// Wrong lengths given to a cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The data is not a whole number of blocks.
    #[error("{len} octets are not a whole number of {block}-octet cipher blocks")]
    NotBlocks {
        /// Octets given.
        len: usize,
        /// Octets of a block.
        block: usize,
    },
    /// The key or the initialization vector has a wrong length.
    #[error("key or initialization vector has a wrong length")]
    KeyLength,
}

/// Why a cipher on the wire is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherRefusal {
    /// Single DES.
    #[error(
        "single DES is never used: its 56-bit key has been broken by brute force since 1998; offer 3DES or AES"
    )]
    SingleDes,
    /// Not implemented.
    #[error("{0} is not implemented; 3DES and AES are")]
    Unknown(OakleyCipher),
    /// A key length that the cipher lacks.
    #[error("{cipher} has no key length of {bits} bits")]
    KeyLength {
        /// The cipher.
        cipher: OakleyCipher,
        /// The attribute's value.
        bits: u32,
    },
}

impl Cipher {
    /// AES-CBC, 128-bit key.
    pub const AES128: Self = Self(&ROWS[0]);
    /// AES-CBC, 192-bit key.
    pub const AES192: Self = Self(&ROWS[1]);
    /// AES-CBC, 256-bit key.
    pub const AES256: Self = Self(&ROWS[2]);
    /// Triple DES in CBC mode, 168-bit key.
    pub const TRIPLE_DES: Self = Self(&ROWS[3]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// The cipher that `ike=` calls so.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|c| c.0.name == name || c.0.aliases.contains(&name))
    }

    /// The cipher with this number and key length attribute. AES without the attribute means 128 bits.
    ///
    /// # Errors
    /// Single DES, an unknown cipher, or a key length it lacks.
    pub fn from_wire(id: OakleyCipher, key_bits: Option<u32>) -> Result<Self, CipherRefusal> {
        if id == OakleyCipher::DES_CBC {
            return Err(CipherRefusal::SingleDes);
        }
        let mut rows = Self::all().filter(|c| c.0.id == id).peekable();
        if rows.peek().is_none() {
            return Err(CipherRefusal::Unknown(id));
        }
        match key_bits {
            None => rows
                .find(|c| c.0.default_length)
                .ok_or(CipherRefusal::Unknown(id)),
            Some(bits) => rows
                .find(|c| c.0.key_bits.map(u32::from) == Some(bits))
                .ok_or(CipherRefusal::KeyLength { cipher: id, bits }),
        }
    }

    /// Name as `ike=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Number on the wire.
    pub fn id(self) -> OakleyCipher {
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

    /// Octets of a block, and of the initialization vector.
    pub fn block_len(self) -> usize {
        self.0.block_len
    }

    /// Encrypts whole blocks in place.
    ///
    /// # Errors
    /// Data that is not whole blocks; a key or IV of a wrong length.
    pub fn encrypt(self, key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<(), CipherError> {
        (self.0.encrypt)(key, iv, data)
    }

    /// Decrypts whole blocks in place.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub fn decrypt(self, key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<(), CipherError> {
        (self.0.decrypt)(key, iv, data)
    }
}

fn encrypt<M: BlockModeEncrypt + KeyIvInit>(
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), CipherError> {
    let mut mode = M::new_from_slices(key, iv).map_err(|_| CipherError::KeyLength)?;
    let len = data.len();
    match Block::<M>::slice_as_chunks_mut(data) {
        (blocks, []) => mode.encrypt_blocks(blocks),
        _ => {
            return Err(CipherError::NotBlocks {
                len,
                block: M::block_size(),
            });
        }
    }
    Ok(())
}

fn decrypt<M: BlockModeDecrypt + KeyIvInit>(
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), CipherError> {
    let mut mode = M::new_from_slices(key, iv).map_err(|_| CipherError::KeyLength)?;
    let len = data.len();
    match Block::<M>::slice_as_chunks_mut(data) {
        (blocks, []) => mode.decrypt_blocks(blocks),
        _ => {
            return Err(CipherError::NotBlocks {
                len,
                block: M::block_size(),
            });
        }
    }
    Ok(())
}

impl PartialEq for Cipher {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Cipher {}

impl core::hash::Hash for Cipher {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
