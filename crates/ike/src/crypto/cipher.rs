//! Phase 1 ciphers: one row each, with what the wire, the configuration and the key schedule need to know.
//! Adding a cipher is adding a row (and a dependency). ESP's ciphers are in `esp`.

use super::names::{canonical, is_called, named_row};
use crate::wire::OakleyCipher;
use aes::{Aes128, Aes192, Aes256};
use camellia::{Camellia128, Camellia192, Camellia256};
use cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use des::TdesEde3;

type Crypt = fn(key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<(), CipherError>;

#[derive(Debug)]
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    official: &'static str,
    id: OakleyCipher,
    /// Value of the key length attribute, for ciphers that need it.
    key_bits: Option<u16>,
    key_len: usize,
    block_len: usize,
    encrypt: Crypt,
    decrypt: Crypt,
}

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    official: &'static str,
    id: OakleyCipher,
    key_bits: Option<u16>,
    (key_len, block_len): (usize, usize),
    (encrypt, decrypt): (Crypt, Crypt),
) -> Row {
    Row {
        name,
        aliases,
        official,
        id,
        key_bits,
        key_len,
        block_len,
        encrypt,
        decrypt,
    }
}

macro_rules! cbc {
    ($cipher:ty) => {
        (
            encrypt::<cbc::Encryptor<$cipher>>,
            decrypt::<cbc::Decryptor<$cipher>>,
        )
    };
}

const AES: OakleyCipher = OakleyCipher::AES_CBC;
const CAMELLIA: OakleyCipher = OakleyCipher::CAMELLIA_CBC;

/// Preferred first.
#[rustfmt::skip]
static ROWS: [Row; 7] = [
    row("aes256", &["aescbc256"], "AES_CBC_256", AES, Some(256), (32, 16), cbc!(Aes256)),
    row("aes192", &["aescbc192"], "AES_CBC_192", AES, Some(192), (24, 16), cbc!(Aes192)),
    row("aes128", &["aes", "aescbc", "aescbc128"], "AES_CBC_128", AES, Some(128), (16, 16), cbc!(Aes128)),
    row("camellia256", &["camelliacbc256"], "CAMELLIA_CBC_256", CAMELLIA, Some(256), (32, 16), cbc!(Camellia256)),
    row("camellia192", &["camelliacbc192"], "CAMELLIA_CBC_192", CAMELLIA, Some(192), (24, 16), cbc!(Camellia192)),
    row("camellia128", &["camellia", "camelliacbc", "camelliacbc128"], "CAMELLIA_CBC_128", CAMELLIA, Some(128), (16, 16), cbc!(Camellia128)),
    row("3des", &["3descbc", "3des168", "3des192", "3descbc192"], "3DES_CBC_192", OakleyCipher::TRIPLE_DES_CBC, None, (24, 8), cbc!(TdesEde3)),
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
    #[error("{0} is not implemented; OAKLEY_3DES_CBC, OAKLEY_AES_CBC and OAKLEY_CAMELLIA_CBC are")]
    Unknown(OakleyCipher),
    /// A cipher that must be given with a key length.
    #[error("{0} without OAKLEY_KEY_LENGTH")]
    NoKeyLength(OakleyCipher),
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
    /// AES-CBC, 256-bit key.
    pub const AES256: Self = Self(&ROWS[0]);
    /// AES-CBC, 192-bit key.
    pub const AES192: Self = Self(&ROWS[1]);
    /// AES-CBC, 128-bit key.
    pub const AES128: Self = Self(&ROWS[2]);
    /// Camellia-CBC, 256-bit key.
    pub const CAMELLIA256: Self = Self(&ROWS[3]);
    /// Camellia-CBC, 128-bit key.
    pub const CAMELLIA128: Self = Self(&ROWS[5]);
    /// Triple DES in CBC mode, 168-bit key.
    pub const TRIPLE_DES: Self = Self(&ROWS[6]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        ROWS.iter().map(Self)
    }

    /// The cipher that `ike=` calls so.
    pub fn by_name(word: &str) -> Option<Self> {
        let word = canonical(word);
        Self::all().find(|c| is_called(&word, c.0.name, c.0.aliases))
    }

    /// The cipher with this number and key length attribute. AES without the attribute means 128 bits, as drafts of
    /// RFC 3602 had it.
    ///
    /// # Errors
    /// Single DES, an unknown cipher, or a key length it lacks.
    pub fn from_wire(id: OakleyCipher, key_bits: Option<u32>) -> Result<Self, CipherRefusal> {
        if id == OakleyCipher::DES_CBC {
            return Err(CipherRefusal::SingleDes);
        }
        let mut rows = Self::all().filter(|c| c.0.id == id);
        match key_bits {
            _ if rows.clone().next().is_none() => Err(CipherRefusal::Unknown(id)),
            None if id == OakleyCipher::AES_CBC => Ok(Self::AES128),
            None => rows
                .find(|c| c.0.key_bits.is_none())
                .ok_or(CipherRefusal::NoKeyLength(id)),
            Some(bits) => rows
                .find(|c| c.0.key_bits.map(u32::from) == Some(bits))
                .ok_or(CipherRefusal::KeyLength { cipher: id, bits }),
        }
    }

    /// Name as `ike=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Name as `ipsec auto --status` shows it, `AES_CBC_256`.
    pub fn official(self) -> &'static str {
        self.0.official
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

named_row!(Cipher);
