//! The one table of ESP, AH and IPCOMP transforms. A new cipher is a new row here and an implementation in the home.
//!
//! Not here: the implementations (the home's), or how packets carry them (`esp`, `ah`, `ipcomp`).

/// How a cipher is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The data goes as it is (RFC 2410).
    Null,
    /// Cipher block chaining: the IV goes before the data, and must be unpredictable.
    Cbc,
    /// Counter mode (RFC 3686): the counter block is nonce, IV, and a counter of 32 bits from 1. No IV may come twice.
    Ctr,
    /// Authenticated encryption with a nonce of salt and IV (RFC 4106, RFC 7634). No IV may come twice.
    Aead,
}

/// A cipher for ESP.
#[derive(Debug)]
pub struct Encryption {
    /// PF_KEY number, `SADB_EALG_*` (RFC 2367 section 3.5; the numbers are IKE's ESP transform ids).
    pub id: u8,
    /// KLIPS' name, as `/proc/net/ipsec_spi` shows it.
    pub name: &'static str,
    /// How it is used.
    pub mode: Mode,
    /// Key lengths it takes, in bytes, without the salt.
    pub keys: &'static [usize],
    /// Length of the salt (AEAD) or nonce (counter mode), in bytes. PF_KEY has it behind the key.
    pub salt: usize,
    /// What the padded data is a multiple of, in bytes.
    pub block: usize,
    /// IV length on the wire, in bytes.
    pub iv: usize,
    /// Length of an AEAD's own ICV, in bytes; 0 for what does not authenticate.
    pub icv: usize,
    /// Whether a key of a right length is one not to be used.
    pub weak: fn(&[u8]) -> bool,
}

impl Encryption {
    /// Whether no ESP may go without a MAC beside it (RFC 2410 section 4, RFC 3686 section 5.1).
    pub fn needs_mac(&self) -> bool {
        matches!(self.mode, Mode::Null | Mode::Ctr)
    }

    /// The shortest and the longest key in PF_KEY, in bits, salt included.
    pub fn key_bits(&self) -> (u16, u16) {
        let bits = |key: Option<&usize>| key.map_or(0, |key| (key + self.salt) as u16 * 8);
        (bits(self.keys.first()), bits(self.keys.last()))
    }
}

/// A MAC for ESP and AH.
#[derive(Debug, PartialEq, Eq)]
pub struct Authentication {
    /// PF_KEY number, `SADB_AALG_*`.
    pub id: u8,
    /// KLIPS' name, as `/proc/net/ipsec_spi` shows it.
    pub name: &'static str,
    /// Key length, in bytes.
    pub key: usize,
    /// Length of the whole MAC, in bytes.
    pub mac: usize,
    /// Length on the wire, in bytes (truncated, RFC 2104 section 5).
    pub icv: usize,
}

impl Authentication {
    /// Its key in PF_KEY, in bits.
    pub fn key_bits(&self) -> u16 {
        self.key as u16 * 8
    }
}

/// A compression for IPCOMP.
#[derive(Debug, PartialEq, Eq)]
pub struct Compression {
    /// PF_KEY number, `SADB_X_CALG_*`.
    pub id: u8,
    /// KLIPS' name.
    pub name: &'static str,
}

/// `SADB_EALG_3DESCBC`.
pub const EALG_3DES_CBC: u8 = 3;
/// `SADB_EALG_NULL`.
pub const EALG_NULL: u8 = 11;
/// `SADB_EALG_AESCBC` (ESP_AES of RFC 3602).
pub const EALG_AES_CBC: u8 = 12;
/// `SADB_X_EALG_AESCTR`.
pub const EALG_AES_CTR: u8 = 13;
/// `SADB_X_EALG_AES_GCM_ICV8`.
pub const EALG_AES_GCM_8: u8 = 18;
/// `SADB_X_EALG_AES_GCM_ICV12`.
pub const EALG_AES_GCM_12: u8 = 19;
/// `SADB_X_EALG_AES_GCM_ICV16`.
pub const EALG_AES_GCM_16: u8 = 20;
/// `SADB_X_EALG_CAMELLIACBC`.
pub const EALG_CAMELLIA_CBC: u8 = 22;
/// ENCR_CHACHA20_POLY1305; PF_KEY has no number for it elsewhere, this is IKE's.
pub const EALG_CHACHA20_POLY1305: u8 = 28;
/// `SADB_AALG_MD5HMAC`.
pub const AALG_MD5_HMAC: u8 = 2;
/// `SADB_AALG_SHA1HMAC`.
pub const AALG_SHA1_HMAC: u8 = 3;
/// `SADB_X_AALG_SHA2_256HMAC`.
pub const AALG_SHA2_256_HMAC: u8 = 5;
/// `SADB_X_AALG_SHA2_384HMAC`.
pub const AALG_SHA2_384_HMAC: u8 = 6;
/// `SADB_X_AALG_SHA2_512HMAC`.
pub const AALG_SHA2_512_HMAC: u8 = 7;
/// `SADB_X_AALG_AES_XCBC_MAC`.
pub const AALG_AES_XCBC: u8 = 9;
/// AES-CMAC, which Linux' PF_KEY and IKEv1 have no number for; libreswan's.
pub const AALG_AES_CMAC: u8 = 250;
/// `SADB_X_CALG_DEFLATE`.
pub const CALG_DEFLATE: u8 = 2;

const AES_KEYS: &[usize] = &[16, 24, 32];

const fn cbc(id: u8, name: &'static str, keys: &'static [usize], block: usize) -> Encryption {
    Encryption {
        id,
        name,
        mode: Mode::Cbc,
        keys,
        salt: 0,
        block,
        iv: block,
        icv: 0,
        weak: |_| false,
    }
}

/// Counter mode and what is built on it: an IV of 8 bytes that a salt of 4 goes before, data of any length (padded to 4 by ESP).
const fn counter(
    id: u8,
    name: &'static str,
    mode: Mode,
    keys: &'static [usize],
    icv: usize,
) -> Encryption {
    Encryption {
        id,
        name,
        mode,
        keys,
        salt: 4,
        block: 4,
        iv: 8,
        icv,
        weak: |_| false,
    }
}

/// The ciphers. Single DES (2) is not among them and never will be.
pub static ENCRYPTIONS: &[Encryption] = &[
    // RFC 2451
    Encryption {
        weak: is_single_des,
        ..cbc(EALG_3DES_CBC, "3DES", &[24], 8)
    },
    // RFC 2410
    Encryption {
        mode: Mode::Null,
        iv: 0,
        ..cbc(EALG_NULL, "NULL", &[0], 4)
    },
    // RFC 3602
    cbc(EALG_AES_CBC, "AES", AES_KEYS, 16),
    // RFC 3686
    counter(EALG_AES_CTR, "AES_CTR", Mode::Ctr, AES_KEYS, 0),
    // RFC 4106
    counter(EALG_AES_GCM_8, "AES_GCM_8", Mode::Aead, AES_KEYS, 8),
    counter(EALG_AES_GCM_12, "AES_GCM_12", Mode::Aead, AES_KEYS, 12),
    counter(EALG_AES_GCM_16, "AES_GCM_16", Mode::Aead, AES_KEYS, 16),
    // RFC 4312
    cbc(EALG_CAMELLIA_CBC, "CAMELLIA", AES_KEYS, 16),
    // RFC 7634
    counter(
        EALG_CHACHA20_POLY1305,
        "CHACHA20_POLY1305",
        Mode::Aead,
        &[32],
        16,
    ),
];

/// Triple DES with two equal keys in a row is single DES (RFC 2451 section 2.3). Parity bits do not count.
fn is_single_des(key: &[u8]) -> bool {
    let equal = |a: usize, b: usize| match (key.get(a..a + 8), key.get(b..b + 8)) {
        (Some(a), Some(b)) => a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b) & 0xfe) == 0,
        _ => true,
    };
    equal(0, 8) || equal(8, 16)
}

const fn mac(id: u8, name: &'static str, key: usize, mac: usize, icv: usize) -> Authentication {
    Authentication {
        id,
        name,
        key,
        mac,
        icv,
    }
}

/// The MACs.
pub static AUTHENTICATIONS: &[Authentication] = &[
    // RFC 2403
    mac(AALG_MD5_HMAC, "HMAC_MD5", 16, 16, 12),
    // RFC 2404
    mac(AALG_SHA1_HMAC, "HMAC_SHA1", 20, 20, 12),
    // RFC 4868
    mac(AALG_SHA2_256_HMAC, "HMAC_SHA2_256", 32, 32, 16),
    mac(AALG_SHA2_384_HMAC, "HMAC_SHA2_384", 48, 48, 24),
    mac(AALG_SHA2_512_HMAC, "HMAC_SHA2_512", 64, 64, 32),
    // RFC 3566
    mac(AALG_AES_XCBC, "AES_XCBC", 16, 16, 12),
    // RFC 4494
    mac(AALG_AES_CMAC, "AES_CMAC", 16, 16, 12),
];

/// The compressions.
pub static COMPRESSIONS: &[Compression] = &[
    // RFC 2394
    Compression {
        id: CALG_DEFLATE,
        name: "DEFLATE",
    },
];

/// The longest IV of the table, in bytes.
pub const MAX_IV: usize = 16;
/// The longest ICV of the table, in bytes.
pub const MAX_ICV: usize = 32;
/// The longest block of the table, in bytes.
pub const MAX_BLOCK: usize = 16;

/// The length of a salt or nonce, in bytes, for those that have one.
pub const SALT: usize = 4;
/// The IV of counter mode and of the AEADs, in bytes.
pub const COUNTER_IV: usize = 8;

/// `len` with padding to whole blocks. A block is a power of two, so it takes no division.
pub(crate) const fn padded(len: usize, block: usize) -> usize {
    (len + block - 1) & !(block - 1)
}

/// The cipher of this PF_KEY number.
pub fn encryption(id: u8) -> Option<&'static Encryption> {
    ENCRYPTIONS.iter().find(|t| t.id == id)
}

/// The MAC of this PF_KEY number.
pub fn authentication(id: u8) -> Option<&'static Authentication> {
    AUTHENTICATIONS.iter().find(|t| t.id == id)
}

/// The compression of this PF_KEY number.
pub fn compression(id: u8) -> Option<&'static Compression> {
    COMPRESSIONS.iter().find(|t| t.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold() {
        for t in ENCRYPTIONS {
            assert!(
                t.iv <= MAX_IV && t.icv <= MAX_ICV && t.block <= MAX_BLOCK,
                "{t:?}"
            );
            assert!(t.block.is_power_of_two() && t.block >= 4, "{t:?}");
            let counts = matches!(t.mode, Mode::Ctr | Mode::Aead);
            assert_eq!(
                (t.salt == SALT, t.iv == COUNTER_IV && t.block == 4),
                (counts, counts),
                "{t:?}"
            );
            assert_eq!(t.icv != 0, t.mode == Mode::Aead, "{t:?}");
            assert!(t.keys.is_sorted(), "{t:?}");
            let known = ipsec_types::EncAlg(t.id);
            let bits = t.keys.iter().map(|key| (key + t.salt) as u16 * 8);
            assert!(bits.eq(known.key_bits().iter().copied()), "{t:?}");
            assert_eq!(
                (known.is_aead(), known.needs_auth()),
                (t.mode == Mode::Aead, t.needs_mac())
            );
        }
        for t in AUTHENTICATIONS {
            assert!(
                t.icv <= MAX_ICV && t.icv <= t.mac && t.mac <= crate::home::MAX_MAC,
                "{t:?}"
            );
            assert_eq!(
                ipsec_types::AuthAlg(t.id).key_bits(),
                Some(t.key_bits()),
                "{t:?}"
            );
        }
    }

    #[test]
    fn names_are_those_of_the_texts() {
        use ipsec_types::{AuthAlg, SaProto, alg::XformName};
        use std::{format, string::ToString};
        for t in ENCRYPTIONS {
            let name = XformName {
                proto: SaProto::Esp,
                enc: t.id,
                auth: AuthAlg::NONE,
            };
            assert_eq!(name.to_string(), format!("ESP_{}", t.name));
        }
        for t in AUTHENTICATIONS {
            let name = XformName {
                proto: SaProto::Ah,
                enc: 0,
                auth: AuthAlg(t.id),
            };
            assert_eq!(name.to_string(), format!("AH_{}", t.name));
        }
    }

    #[test]
    fn single_des_is_refused() {
        assert!(encryption(2).is_none());
        assert!(is_single_des(&[7; 24]));
        let mut key = [1; 24];
        key[8] = 4;
        key[9] = 8;
        assert!(!is_single_des(&key) || key[8..16] == key[16..24]);
    }
}
