//! Algorithm numbers of PF_KEY (RFC 2367 with KLIPS' additions) and of the IPsec DOI (RFC 2407), and the names by
//! which people know them. What an algorithm does belongs to the data path and to IKE.

use core::fmt;

/// A PF_KEY authentication algorithm, `SADB_AALG_*`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AuthAlg(pub u8);

/// A PF_KEY encryption algorithm, `SADB_EALG_*`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EncAlg(pub u8);

/// A compression algorithm, `SADB_X_CALG_*`; the same numbers as the IPCOMP transforms of the DOI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CompAlg(pub u8);

impl AuthAlg {
    /// No authentication.
    pub const NONE: Self = Self(0);
    /// HMAC-MD5-96 (RFC 2403), 128-bit key.
    pub const MD5_HMAC: Self = Self(2);
    /// HMAC-SHA1-96 (RFC 2404), 160-bit key.
    pub const SHA1_HMAC: Self = Self(3);
    /// HMAC-SHA2-256-128 (RFC 4868), 256-bit key.
    pub const SHA2_256_HMAC: Self = Self(5);
    /// HMAC-SHA2-384-192 (RFC 4868), 384-bit key.
    pub const SHA2_384_HMAC: Self = Self(6);
    /// HMAC-SHA2-512-256 (RFC 4868), 512-bit key.
    pub const SHA2_512_HMAC: Self = Self(7);
    /// HMAC-RIPEMD160-96 (RFC 2857); KLIPS does not have it.
    pub const RIPEMD160_HMAC: Self = Self(8);
    /// AES-XCBC-MAC-96 (RFC 3566), 128-bit key.
    pub const AES_XCBC_MAC: Self = Self(9);
    /// AES-CMAC-96 (RFC 4494), 128-bit key. IKEv1 has no number for it; 250 is the one that libreswan uses.
    pub const AES_CMAC: Self = Self(250);

    const NAMES: &[(Self, &str, u16)] = &[
        (Self::MD5_HMAC, "hmac-md5-96", 128),
        (Self::SHA1_HMAC, "hmac-sha1-96", 160),
        (Self::SHA2_256_HMAC, "hmac-sha2-256-128", 256),
        (Self::SHA2_384_HMAC, "hmac-sha2-384-192", 384),
        (Self::SHA2_512_HMAC, "hmac-sha2-512-256", 512),
        (Self::RIPEMD160_HMAC, "hmac-ripemd160-96", 160),
        (Self::AES_XCBC_MAC, "aes-xcbc-96", 128),
        (Self::AES_CMAC, "aes-cmac-96", 128),
    ];

    /// The name of `ipsec spi --ah`, `hmac-md5-96`.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES
            .iter()
            .find(|(alg, ..)| *alg == self)
            .map(|(_, name, _)| *name)
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, n, _)| *n == name)
            .map(|(alg, ..)| *alg)
    }

    /// The key length in bits that IPsec gives this algorithm; 0 for none, `None` when unknown.
    pub fn key_bits(self) -> Option<u16> {
        if self == Self::NONE {
            return Some(0);
        }
        Self::NAMES
            .iter()
            .find(|(alg, ..)| *alg == self)
            .map(|(.., bits)| *bits)
    }

    /// From the DOI's authentication algorithm attribute (RFC 2407 section 4.5): HMAC-MD5 1, HMAC-SHA 2, and up.
    pub const fn from_ike_attribute(value: u16) -> Option<Self> {
        match value {
            1 => Some(Self::MD5_HMAC),
            2 => Some(Self::SHA1_HMAC),
            5 => Some(Self::SHA2_256_HMAC),
            6 => Some(Self::SHA2_384_HMAC),
            7 => Some(Self::SHA2_512_HMAC),
            8 => Some(Self::RIPEMD160_HMAC),
            9 => Some(Self::AES_XCBC_MAC),
            250 => Some(Self::AES_CMAC),
            _ => None,
        }
    }

    /// The DOI's authentication algorithm attribute value, if it has one.
    pub const fn to_ike_attribute(self) -> Option<u16> {
        match self {
            Self::MD5_HMAC => Some(1),
            Self::SHA1_HMAC => Some(2),
            Self(n @ (5..=9 | 250)) => Some(n as u16),
            _ => None,
        }
    }
}

impl EncAlg {
    /// No encryption (AH, or an ESP that only authenticates in old KLIPS).
    pub const NONE: Self = Self(0);
    /// Single DES: a number to recognise and refuse.
    pub const DES_CBC: Self = Self(2);
    /// 3DES-CBC (RFC 2451), 192-bit key with parity.
    pub const TRIPLE_DES_CBC: Self = Self(3);
    /// NULL (RFC 2410).
    pub const NULL: Self = Self(11);
    /// AES-CBC (RFC 3602), 128-, 192- or 256-bit key.
    pub const AES_CBC: Self = Self(12);

    /// AES-CTR (RFC 3686), 128-, 192- or 256-bit key and a nonce of 32 bits behind it.
    pub const AES_CTR: Self = Self(13);
    /// AES-GCM with an ICV of 8 octets (RFC 4106), 128-, 192- or 256-bit key and a salt of 32 bits behind it.
    pub const AES_GCM_8: Self = Self(18);
    /// AES-GCM with an ICV of 12 octets.
    pub const AES_GCM_12: Self = Self(19);
    /// AES-GCM with an ICV of 16 octets.
    pub const AES_GCM_16: Self = Self(20);
    /// Camellia-CBC (RFC 4312), 128-, 192- or 256-bit key.
    pub const CAMELLIA_CBC: Self = Self(22);
    /// ChaCha20-Poly1305 (RFC 7634), 256-bit key and a salt of 32 bits behind it.
    pub const CHACHA20_POLY1305: Self = Self(28);

    const NAMES: &[(Self, &str, &[u16])] = &[
        (Self::TRIPLE_DES_CBC, "3des", &[192]),
        (Self::NULL, "null", &[0]),
        (Self::AES_CBC, "aes", &[128, 192, 256]),
        (Self::AES_CTR, "aes_ctr", &[160, 224, 288]),
        (Self::AES_GCM_8, "aes_gcm_8", &[160, 224, 288]),
        (Self::AES_GCM_12, "aes_gcm_12", &[160, 224, 288]),
        (Self::AES_GCM_16, "aes_gcm_16", &[160, 224, 288]),
        (Self::CAMELLIA_CBC, "camellia", &[128, 192, 256]),
        (Self::CHACHA20_POLY1305, "chacha20_poly1305", &[288]),
    ];

    /// The short name, `3des` or `aes`.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES
            .iter()
            .find(|(alg, ..)| *alg == self)
            .map(|(_, name, _)| *name)
    }

    /// The algorithm of that short name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, n, _)| *n == name)
            .map(|(alg, ..)| *alg)
    }

    /// The key lengths in bits it takes in PF_KEY's key extension, a salt or nonce included; empty when unknown.
    pub fn key_bits(self) -> &'static [u16] {
        Self::NAMES
            .iter()
            .find(|(alg, ..)| *alg == self)
            .map_or(&[], |(.., bits)| bits)
    }

    /// Whether it authenticates too, and so goes without an [`AuthAlg`].
    pub const fn is_aead(self) -> bool {
        matches!(
            self,
            Self::AES_GCM_8 | Self::AES_GCM_12 | Self::AES_GCM_16 | Self::CHACHA20_POLY1305
        )
    }

    /// How many of the bits of [`EncAlg::key_bits`] are salt or nonce, at the key's end.
    pub const fn salt_bits(self) -> u16 {
        if self.is_aead() || matches!(self, Self::AES_CTR) {
            32
        } else {
            0
        }
    }

    /// Whether the same IV under the same key gives it away, so that keys must be fresh for each SA and not come from a file (RFC
    /// 3686 section 7, RFC 4106 section 10, RFC 7634 section 4).
    pub const fn needs_fresh_key(self) -> bool {
        self.salt_bits() != 0
    }

    /// Whether it may be used with an [`AuthAlg`] only (RFC 2410, RFC 3686).
    pub const fn needs_auth(self) -> bool {
        matches!(self, Self::NULL | Self::AES_CTR)
    }
}

impl CompAlg {
    /// No compression.
    pub const NONE: Self = Self(0);
    /// DEFLATE (RFC 2394), IPCOMP CPI 2.
    pub const DEFLATE: Self = Self(2);
    /// LZS (RFC 2395), CPI 3.
    pub const LZS: Self = Self(3);

    /// The name of `ipsec spi --comp`.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::DEFLATE => Some("deflate"),
            Self::LZS => Some("lzs"),
            _ => None,
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::DEFLATE, Self::LZS]
            .into_iter()
            .find(|alg| alg.name() == Some(name))
    }
}

/// AH and ESP transform identifiers of the DOI (RFC 2407 sections 4.4.3 to 4.4.5, RFC 3602).
pub mod doi {
    /// AH with MD5.
    pub const AH_MD5: u8 = 2;
    /// AH with SHA-1.
    pub const AH_SHA: u8 = 3;
    /// AH with SHA2-256.
    pub const AH_SHA2_256: u8 = 5;
    /// AH with SHA2-384.
    pub const AH_SHA2_384: u8 = 6;
    /// AH with SHA2-512.
    pub const AH_SHA2_512: u8 = 7;
    /// Single DES: always refused.
    pub const ESP_DES: u8 = 2;
    /// 3DES-CBC.
    pub const ESP_3DES: u8 = 3;
    /// NULL.
    pub const ESP_NULL: u8 = 11;
    /// AES-CBC.
    pub const ESP_AES: u8 = 12;
    /// AES-CTR (RFC 3686).
    pub const ESP_AES_CTR: u8 = 13;
    /// AES-GCM with an ICV of 8 octets (RFC 4106).
    pub const ESP_AES_GCM_8: u8 = 18;
    /// AES-GCM with an ICV of 12 octets.
    pub const ESP_AES_GCM_12: u8 = 19;
    /// AES-GCM with an ICV of 16 octets.
    pub const ESP_AES_GCM_16: u8 = 20;
    /// Camellia-CBC (RFC 4312).
    pub const ESP_CAMELLIA: u8 = 22;
    /// ChaCha20-Poly1305 (RFC 7634).
    pub const ESP_CHACHA20_POLY1305: u8 = 28;
    /// IPCOMP with DEFLATE.
    pub const IPCOMP_DEFLATE: u8 = 2;
    /// IPCOMP with LZS.
    pub const IPCOMP_LZS: u8 = 3;
}

/// The transform as `/proc/net/ipsec_spi` prints it: `ESP_3DES_HMAC_MD5`, `AH_HMAC_SHA1`, `COMP_DEFLATE`, `IPIP`.
#[derive(Clone, Copy, Debug)]
pub struct XformName {
    /// The SA's protocol.
    pub proto: crate::SaProto,
    /// Encryption (for `comp`, compression) algorithm number.
    pub enc: u8,
    /// Authentication algorithm.
    pub auth: AuthAlg,
}

impl fmt::Display for XformName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::SaProto;
        f.write_str(match self.proto {
            SaProto::Ah => "AH",
            SaProto::Esp => "ESP",
            SaProto::IpIp => "IPIP",
            SaProto::Comp => "COMP",
            SaProto::Int => "UNKNOWN_proto",
        })?;
        if self.proto == SaProto::Comp {
            return f.write_str(if CompAlg(self.enc) == CompAlg::DEFLATE {
                "_DEFLATE"
            } else {
                "_UNKNOWN_comp"
            });
        }
        f.write_str(match EncAlg(self.enc) {
            EncAlg::NONE => "",
            EncAlg::TRIPLE_DES_CBC => "_3DES",
            EncAlg::AES_CBC => "_AES",
            EncAlg::NULL => "_NULL",
            EncAlg::AES_CTR => "_AES_CTR",
            EncAlg::AES_GCM_8 => "_AES_GCM_8",
            EncAlg::AES_GCM_12 => "_AES_GCM_12",
            EncAlg::AES_GCM_16 => "_AES_GCM_16",
            EncAlg::CAMELLIA_CBC => "_CAMELLIA",
            EncAlg::CHACHA20_POLY1305 => "_CHACHA20_POLY1305",
            _ => "_UNKNOWN_encr",
        })?;
        f.write_str(match self.auth {
            AuthAlg::NONE => "",
            AuthAlg::MD5_HMAC => "_HMAC_MD5",
            AuthAlg::SHA1_HMAC => "_HMAC_SHA1",
            AuthAlg::SHA2_256_HMAC => "_HMAC_SHA2_256",
            AuthAlg::SHA2_384_HMAC => "_HMAC_SHA2_384",
            AuthAlg::SHA2_512_HMAC => "_HMAC_SHA2_512",
            AuthAlg::AES_XCBC_MAC => "_AES_XCBC",
            AuthAlg::AES_CMAC => "_AES_CMAC",
            _ => "_UNKNOWN_auth",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SaProto;
    use std::string::ToString;

    #[test]
    fn names_round_trip() {
        for n in 0..=255 {
            if let Some(name) = AuthAlg(n).name() {
                assert_eq!(AuthAlg::from_name(name), Some(AuthAlg(n)));
            }
            if let Some(name) = EncAlg(n).name() {
                assert_eq!(EncAlg::from_name(name), Some(EncAlg(n)));
            }
            if let Some(name) = CompAlg(n).name() {
                assert_eq!(CompAlg::from_name(name), Some(CompAlg(n)));
            }
            if let Some(value) = AuthAlg(n).to_ike_attribute() {
                assert_eq!(AuthAlg::from_ike_attribute(value), Some(AuthAlg(n)));
            }
        }
        assert_eq!(EncAlg::from_name("des"), None);
    }

    #[test]
    fn xform_names() {
        let name = |proto, enc, auth| XformName { proto, enc, auth }.to_string();
        assert_eq!(
            name(SaProto::Esp, 3, AuthAlg::MD5_HMAC),
            "ESP_3DES_HMAC_MD5"
        );
        assert_eq!(name(SaProto::Ah, 0, AuthAlg::SHA1_HMAC), "AH_HMAC_SHA1");
        assert_eq!(name(SaProto::Comp, 2, AuthAlg::NONE), "COMP_DEFLATE");
        assert_eq!(name(SaProto::IpIp, 0, AuthAlg::NONE), "IPIP");
        assert_eq!(
            name(SaProto::Esp, 20, AuthAlg::NONE),
            "ESP_AES_GCM_16",
            "an AEAD has no authenticator beside it"
        );
        assert_eq!(name(SaProto::Ah, 0, AuthAlg::AES_CMAC), "AH_AES_CMAC");
    }
}
