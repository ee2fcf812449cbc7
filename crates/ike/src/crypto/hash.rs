//! Phase 1 hashes and the PRF made of each, HMAC: one row each.

use super::names::{Standing, canonical, is_called, named_row};
use super::secret::Secret;
use crate::wire::OakleyHash;
use digest::{Digest, block_api::EagerHash};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    official: &'static str,
    id: OakleyHash,
    standing: Standing,
    len: usize,
    digest: fn(parts: &[&[u8]]) -> Vec<u8>,
    prf: fn(key: &[u8], parts: &[&[u8]]) -> Secret,
}

macro_rules! row {
    ($name:literal, $aliases:expr, $official:literal, $id:ident, $standing:ident, $len:literal, $hash:ty) => {
        Row {
            name: $name,
            aliases: $aliases,
            official: $official,
            id: OakleyHash::$id,
            standing: Standing::$standing,
            len: $len,
            digest: digest::<$hash>,
            prf: prf::<$hash>,
        }
    };
}

/// Preferred first.
#[rustfmt::skip]
static ROWS: [Row; 5] = [
    row!("sha2_256", &["sha2", "sha256", "hmacsha2256"], "SHA2_256", SHA2_256, Offered, 32, Sha256),
    row!("sha2_384", &["sha384", "hmacsha2384"], "SHA2_384", SHA2_384, Accepted, 48, Sha384),
    row!("sha2_512", &["sha512", "hmacsha2512"], "SHA2_512", SHA2_512, Accepted, 64, Sha512),
    row!("sha1", &["sha", "sha196", "hmacsha1"], "SHA1", SHA1, Offered, 20, Sha1),
    row!("md5", &["md596", "hmacmd5"], "MD5", MD5, Named, 16, Md5),
];

/// A phase 1 hash.
#[derive(Clone, Copy)]
pub struct Hash(&'static Row);

impl Hash {
    /// SHA-256.
    pub const SHA2_256: Self = Self(&ROWS[0]);
    /// SHA-384.
    pub const SHA2_384: Self = Self(&ROWS[1]);
    /// SHA-512.
    pub const SHA2_512: Self = Self(&ROWS[2]);
    /// SHA-1.
    pub const SHA1: Self = Self(&ROWS[3]);
    /// MD5, used only when named in the configuration.
    pub const MD5: Self = Self(&ROWS[4]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// The hash that `ike=` calls so.
    pub fn by_name(word: &str) -> Option<Self> {
        let word = canonical(word);
        Self::all().find(|h| is_called(&word, h.0.name, h.0.aliases))
    }

    /// The hash with this number.
    pub fn from_wire(id: OakleyHash) -> Option<Self> {
        Self::all().find(|h| h.0.id == id)
    }

    /// Name as `ike=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Name as `ipsec auto --status` shows it, `SHA2_256`.
    pub fn official(self) -> &'static str {
        self.0.official
    }

    /// When it is used.
    pub fn standing(self) -> Standing {
        self.0.standing
    }

    /// Number on the wire.
    pub fn id(self) -> OakleyHash {
        self.0.id
    }

    /// Octets of the hash and of the PRF.
    pub fn output_len(self) -> usize {
        self.0.len
    }

    /// The hash of `parts` one after another.
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        (self.0.digest)(parts)
    }

    /// RFC 2409's prf(key, parts one after another): HMAC over this hash.
    pub fn prf(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        (self.0.prf)(key, parts)
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut d = D::new();
    parts.iter().for_each(|p| d.update(p));
    d.finalize().to_vec()
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn prf<D: EagerHash>(key: &[u8], parts: &[&[u8]]) -> Secret
where
    Hmac<D>: KeyInit + Mac,
{
    let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|p| mac.update(p));
    Secret::new(mac.finalize().into_bytes().to_vec())
}

named_row!(Hash);
