//! Phase 1 hashes and the PRF made of each, HMAC: one row each. Adding SHA-2 is adding rows.

use super::secret::Secret;
use crate::wire::OakleyHash;
use core::fmt;
use digest::{Digest, block_api::EagerHash};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;

struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    id: OakleyHash,
    len: usize,
    digest: fn(parts: &[&[u8]]) -> Vec<u8>,
    prf: fn(key: &[u8], parts: &[&[u8]]) -> Secret,
}

static ROWS: [Row; 2] = [
    Row {
        name: "sha1",
        aliases: &["sha", "sha1_96"],
        id: OakleyHash::SHA1,
        len: 20,
        digest: digest::<Sha1>,
        prf: prf::<Sha1>,
    },
    Row {
        name: "md5",
        aliases: &["md5_96"],
        id: OakleyHash::MD5,
        len: 16,
        digest: digest::<Md5>,
        prf: prf::<Md5>,
    },
];

/// A phase 1 hash.
#[derive(Clone, Copy)]
pub struct Hash(&'static Row);

impl Hash {
    /// SHA-1.
    pub const SHA1: Self = Self(&ROWS[0]);
    /// MD5.
    pub const MD5: Self = Self(&ROWS[1]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// The hash that `ike=` calls so.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|h| h.0.name == name || h.0.aliases.contains(&name))
    }

    /// The hash with this number.
    pub fn from_wire(id: OakleyHash) -> Option<Self> {
        Self::all().find(|h| h.0.id == id)
    }

    /// Name as `ike=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
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

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Hash {}

impl core::hash::Hash for Hash {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
