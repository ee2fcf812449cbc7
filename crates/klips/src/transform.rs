//! The one table of ESP, AH and IPCOMP transforms. A new cipher is a new row here and an implementation in the home.
//!
//! Not here: the implementations (the home's), or how packets carry them (`esp`, `ah`, `ipcomp`).

/// A cipher for ESP.
#[derive(Debug)]
pub struct Encryption {
    /// PF_KEY number, `SADB_EALG_*` (RFC 2367 section 3.5; the numbers are IKE's ESP transform ids).
    pub id: u8,
    /// KLIPS' name, as `/proc/net/ipsec_spi` shows it.
    pub name: &'static str,
    /// Key lengths it takes, in bytes.
    pub keys: &'static [usize],
    /// Block length, in bytes.
    pub block: usize,
    /// IV length on the wire, in bytes.
    pub iv: usize,
    /// Whether a key of a right length is one not to be used.
    pub weak: fn(&[u8]) -> bool,
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
/// `SADB_EALG_AESCBC` (ESP_AES of RFC 3602).
pub const EALG_AES_CBC: u8 = 12;
/// `SADB_AALG_MD5HMAC`.
pub const AALG_MD5_HMAC: u8 = 2;
/// `SADB_AALG_SHA1HMAC`.
pub const AALG_SHA1_HMAC: u8 = 3;
/// `SADB_X_CALG_DEFLATE`.
pub const CALG_DEFLATE: u8 = 2;

/// The ciphers. Single DES (2) is not among them and never will be.
pub static ENCRYPTIONS: &[Encryption] = &[
    // RFC 2451
    Encryption {
        id: EALG_3DES_CBC,
        name: "3DES",
        keys: &[24],
        block: 8,
        iv: 8,
        weak: is_single_des,
    },
    // RFC 3602
    Encryption {
        id: EALG_AES_CBC,
        name: "AES",
        keys: &[16, 24, 32],
        block: 16,
        iv: 16,
        weak: |_| false,
    },
];

/// Triple DES with two equal keys in a row is single DES (RFC 2451 section 2.3). Parity bits do not count.
fn is_single_des(key: &[u8]) -> bool {
    let equal = |a: usize, b: usize| match (key.get(a..a + 8), key.get(b..b + 8)) {
        (Some(a), Some(b)) => a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b) & 0xfe) == 0,
        _ => true,
    };
    equal(0, 8) || equal(8, 16)
}

/// The MACs.
pub static AUTHENTICATIONS: &[Authentication] = &[
    // RFC 2403
    Authentication {
        id: AALG_MD5_HMAC,
        name: "HMAC_MD5",
        key: 16,
        mac: 16,
        icv: 12,
    },
    // RFC 2404
    Authentication {
        id: AALG_SHA1_HMAC,
        name: "HMAC_SHA1",
        key: 20,
        mac: 20,
        icv: 12,
    },
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
pub const MAX_ICV: usize = 12;
/// The longest block of the table, in bytes.
pub const MAX_BLOCK: usize = 16;

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
        assert!(
            ENCRYPTIONS
                .iter()
                .all(|t| t.iv <= MAX_IV && t.block <= MAX_BLOCK && t.block.is_power_of_two())
        );
        assert!(
            AUTHENTICATIONS
                .iter()
                .all(|t| t.icv <= MAX_ICV && t.icv <= t.mac && t.mac <= crate::home::MAX_MAC)
        );
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
