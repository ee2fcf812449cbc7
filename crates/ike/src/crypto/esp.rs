//! Algorithms of IPsec SAs as IKE negotiates them: one row each, with numbers on the wire and in PF_KEY, names in `esp=`,
//! and key lengths. The algorithms themselves run in KLIPS.

use super::names::{Standing, canonical, is_called, named_row};
use crate::wire::{AhTransformId, AuthAlgorithm, EspTransformId, IpcompTransformId};
use ipsec_types::{AuthAlg as PfkeyAuth, EncAlg as PfkeyCipher};

#[derive(Debug)]
struct CipherRow {
    name: &'static str,
    aliases: &'static [&'static str],
    official: &'static str,
    id: EspTransformId,
    pfkey: PfkeyCipher,
    /// Value of the key length attribute, for ciphers that need it.
    key_bits: Option<u16>,
    key_len: usize,
    /// Octets of KEYMAT behind the key: a counter mode's nonce (RFC 3686) or an AEAD's salt (RFC 4106, RFC 7634).
    salt_len: usize,
    aead: bool,
    standing: Standing,
}

use PfkeyCipher as P;
use Standing::{Accepted, Named, Offered};

/// Ciphers whose attribute carries the key length in bits.
macro_rules! keyed {
    ($name:literal, $aliases:expr, $official:literal, $id:ident, $pfkey:ident, $bits:literal, $salt:literal, $aead:literal, $standing:ident) => {
        CipherRow {
            name: $name,
            aliases: $aliases,
            official: $official,
            id: EspTransformId::$id,
            pfkey: P::$pfkey,
            key_bits: Some($bits),
            key_len: $bits / 8,
            salt_len: $salt,
            aead: $aead,
            standing: $standing,
        }
    };
}

/// Preferred first.
#[rustfmt::skip]
static CIPHERS: [CipherRow; 21] = [
    keyed!("aes_gcm256", &["aesgcm16256", "aesgcmc256", "aes256gcm", "aes256gcm16", "aes256gcm128"], "AES_GCM_16_256", AES_GCM_16, AES_GCM_16, 256, 4, true, Offered),
    keyed!("aes_gcm192", &["aesgcm16192", "aesgcmc192", "aes192gcm", "aes192gcm16", "aes192gcm128"], "AES_GCM_16_192", AES_GCM_16, AES_GCM_16, 192, 4, true, Accepted),
    keyed!("aes_gcm128", &["aesgcm", "aesgcm16", "aesgcmc", "aesgcm16128", "aesgcmc128", "aes128gcm", "aes128gcm16", "aes128gcm128"], "AES_GCM_16_128", AES_GCM_16, AES_GCM_16, 128, 4, true, Offered),
    keyed!("aes_gcm_12_256", &["aesgcmb256", "aes256gcm12", "aes256gcm96"], "AES_GCM_12_256", AES_GCM_12, AES_GCM_12, 256, 4, true, Accepted),
    keyed!("aes_gcm_12_192", &["aesgcmb192", "aes192gcm12", "aes192gcm96"], "AES_GCM_12_192", AES_GCM_12, AES_GCM_12, 192, 4, true, Accepted),
    keyed!("aes_gcm_12_128", &["aesgcm12", "aesgcmb", "aesgcmb128", "aes128gcm12", "aes128gcm96"], "AES_GCM_12_128", AES_GCM_12, AES_GCM_12, 128, 4, true, Accepted),
    keyed!("aes_gcm_8_256", &["aesgcma256", "aes256gcm8", "aes256gcm64"], "AES_GCM_8_256", AES_GCM_8, AES_GCM_8, 256, 4, true, Accepted),
    keyed!("aes_gcm_8_192", &["aesgcma192", "aes192gcm8", "aes192gcm64"], "AES_GCM_8_192", AES_GCM_8, AES_GCM_8, 192, 4, true, Accepted),
    keyed!("aes_gcm_8_128", &["aesgcm8", "aesgcma", "aesgcma128", "aes128gcm8", "aes128gcm64"], "AES_GCM_8_128", AES_GCM_8, AES_GCM_8, 128, 4, true, Accepted),
    CipherRow {
        name: "chacha20_poly1305",
        aliases: &["chacha20", "chacha20poly1305256"],
        official: "CHACHA20_POLY1305",
        id: EspTransformId::CHACHA20_POLY1305,
        pfkey: P::CHACHA20_POLY1305,
        key_bits: None,
        key_len: 32,
        salt_len: 4,
        aead: true,
        standing: Accepted,
    },
    keyed!("aes256", &["aescbc256"], "AES_CBC_256", AES, AES_CBC, 256, 0, false, Offered),
    keyed!("aes192", &["aescbc192"], "AES_CBC_192", AES, AES_CBC, 192, 0, false, Accepted),
    keyed!("aes128", &["aes", "aescbc", "aescbc128"], "AES_CBC_128", AES, AES_CBC, 128, 0, false, Offered),
    keyed!("aes_ctr256", &["aes256ctr"], "AES_CTR_256", AES_CTR, AES_CTR, 256, 4, false, Accepted),
    keyed!("aes_ctr192", &["aes192ctr"], "AES_CTR_192", AES_CTR, AES_CTR, 192, 4, false, Accepted),
    keyed!("aes_ctr128", &["aesctr", "aes128ctr"], "AES_CTR_128", AES_CTR, AES_CTR, 128, 4, false, Accepted),
    keyed!("camellia256", &["camelliacbc256"], "CAMELLIA_CBC_256", CAMELLIA, CAMELLIA_CBC, 256, 0, false, Accepted),
    keyed!("camellia192", &["camelliacbc192"], "CAMELLIA_CBC_192", CAMELLIA, CAMELLIA_CBC, 192, 0, false, Accepted),
    keyed!("camellia128", &["camellia", "camelliacbc", "camelliacbc128"], "CAMELLIA_CBC_128", CAMELLIA, CAMELLIA_CBC, 128, 0, false, Accepted),
    CipherRow {
        name: "3des",
        aliases: &["3descbc", "3des168", "3des192", "3descbc192"],
        official: "3DES_CBC",
        id: EspTransformId::TRIPLE_DES,
        pfkey: P::TRIPLE_DES_CBC,
        key_bits: None,
        key_len: 24,
        salt_len: 0,
        aead: false,
        standing: Offered,
    },
    CipherRow {
        name: "null",
        aliases: &["espnull"],
        official: "NULL",
        id: EspTransformId::NULL,
        pfkey: P::NULL,
        key_bits: None,
        key_len: 0,
        salt_len: 0,
        aead: false,
        standing: Named,
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
    #[error("{0} is not implemented; AES, Camellia, 3DES, NULL and ChaCha20-Poly1305 are")]
    Unknown(EspTransformId),
    /// A cipher that must be given with a key length.
    #[error("{0} without KEY_LENGTH")]
    NoKeyLength(EspTransformId),
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
    /// AES-GCM with an ICV of 16 octets, 256-bit key.
    pub const AES_GCM256: Self = Self(&CIPHERS[0]);
    /// AES-GCM with an ICV of 16 octets, 128-bit key.
    pub const AES_GCM128: Self = Self(&CIPHERS[2]);
    /// ChaCha20-Poly1305.
    pub const CHACHA20_POLY1305: Self = Self(&CIPHERS[9]);
    /// AES-CBC, 256-bit key.
    pub const AES256: Self = Self(&CIPHERS[10]);
    /// AES-CBC, 192-bit key.
    pub const AES192: Self = Self(&CIPHERS[11]);
    /// AES-CBC, 128-bit key.
    pub const AES128: Self = Self(&CIPHERS[12]);
    /// AES in counter mode, 128-bit key.
    pub const AES_CTR128: Self = Self(&CIPHERS[15]);
    /// Triple DES in CBC mode.
    pub const TRIPLE_DES: Self = Self(&CIPHERS[19]);
    /// No encryption (RFC 2410), used only when named in the configuration.
    pub const NULL: Self = Self(&CIPHERS[20]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        CIPHERS.iter().map(Self)
    }

    /// The cipher that `esp=` calls so.
    pub fn by_name(word: &str) -> Option<Self> {
        let word = canonical(word);
        Self::all().find(|c| is_called(&word, c.0.name, c.0.aliases))
    }

    /// The cipher with this transform id and key length attribute. AES-CBC without the attribute means 128 bits; 3DES,
    /// NULL and ChaCha20-Poly1305, which have one length, may come with it.
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
        let mut rows = Self::all().filter(|c| c.0.id == id);
        let fixed = rows.clone().find(|c| c.0.key_bits.is_none());
        match (key_bits, fixed) {
            _ if rows.clone().next().is_none() => Err(EspRefusal::Unknown(id)),
            (None, Some(cipher)) => Ok(cipher),
            (None, None) if id == EspTransformId::AES => Ok(Self::AES128),
            (None, None) => Err(EspRefusal::NoKeyLength(id)),
            (Some(bits), Some(cipher)) if bits as usize == cipher.key_len() * 8 => Ok(cipher),
            (Some(bits), _) => rows
                .find(|c| c.0.key_bits.map(u32::from) == Some(bits))
                .ok_or(EspRefusal::KeyLength { cipher: id, bits }),
        }
    }

    /// Name as `esp=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Name as `ipsec auto --status` shows it, `AES_GCM_16_256`.
    pub fn official(self) -> &'static str {
        self.0.official
    }

    /// Transform id.
    pub fn id(self) -> EspTransformId {
        self.0.id
    }

    /// PF_KEY's number.
    pub fn pfkey(self) -> PfkeyCipher {
        self.0.pfkey
    }

    /// Key length attribute in bits, if the cipher is sent with one.
    pub fn key_bits(self) -> Option<u16> {
        self.0.key_bits
    }

    /// Octets of key, without salt or nonce.
    pub fn key_len(self) -> usize {
        self.0.key_len
    }

    /// Octets of KEYMAT: the key, and the salt or nonce behind it. PF_KEY takes them so too.
    pub fn keymat_len(self) -> usize {
        self.0.key_len + self.0.salt_len
    }

    /// Whether it authenticates as well, so that no authenticator goes with it.
    pub fn is_aead(self) -> bool {
        self.0.aead
    }

    /// When it is used.
    pub fn standing(self) -> Standing {
        self.0.standing
    }
}

#[derive(Debug)]
struct AuthRow {
    name: &'static str,
    aliases: &'static [&'static str],
    official: &'static str,
    id: AuthAlgorithm,
    ah_id: AhTransformId,
    pfkey: PfkeyAuth,
    key_len: usize,
    /// Octets of ICV.
    icv_len: usize,
    standing: Standing,
}

macro_rules! auth {
    ($name:literal, $aliases:expr, $official:literal, $id:ident, $ah_id:ident, $pfkey:ident, $key:literal, $icv:literal, $standing:ident) => {
        AuthRow {
            name: $name,
            aliases: $aliases,
            official: $official,
            id: AuthAlgorithm::$id,
            ah_id: AhTransformId::$ah_id,
            pfkey: PfkeyAuth::$pfkey,
            key_len: $key,
            icv_len: $icv,
            standing: $standing,
        }
    };
}

/// Preferred first.
#[rustfmt::skip]
static AUTHS: [AuthRow; 7] = [
    auth!("sha2_256", &["sha2", "sha256", "hmacsha2256", "sha2256128", "hmacsha2256128"], "HMAC_SHA2_256_128", HMAC_SHA2_256, SHA2_256, SHA2_256_HMAC, 32, 16, Offered),
    auth!("sha2_384", &["sha384", "hmacsha2384", "sha2384192", "hmacsha2384192"], "HMAC_SHA2_384_192", HMAC_SHA2_384, SHA2_384, SHA2_384_HMAC, 48, 24, Accepted),
    auth!("sha2_512", &["sha512", "hmacsha2512", "sha2512256", "hmacsha2512256"], "HMAC_SHA2_512_256", HMAC_SHA2_512, SHA2_512, SHA2_512_HMAC, 64, 32, Accepted),
    auth!("sha1", &["sha", "sha196", "hmacsha1", "hmacsha196"], "HMAC_SHA1_96", HMAC_SHA1, SHA, SHA1_HMAC, 20, 12, Offered),
    auth!("aes_xcbc", &["aesxcbc96", "aesxcbcmac"], "AES_XCBC_96", AES_XCBC, AES_XCBC, AES_XCBC_MAC, 16, 12, Accepted),
    auth!("aes_cmac", &["aescmac96"], "AES_CMAC_96", AES_CMAC, AES_CMAC, AES_CMAC, 16, 12, Accepted),
    auth!("md5", &["md596", "hmacmd5", "hmacmd596"], "HMAC_MD5_96", HMAC_MD5, MD5, MD5_HMAC, 16, 12, Named),
];

/// An authentication algorithm of ESP and AH.
#[derive(Clone, Copy)]
pub struct AuthAlg(&'static AuthRow);

impl AuthAlg {
    /// HMAC-SHA2-256-128.
    pub const SHA2_256: Self = Self(&AUTHS[0]);
    /// HMAC-SHA2-384-192.
    pub const SHA2_384: Self = Self(&AUTHS[1]);
    /// HMAC-SHA2-512-256.
    pub const SHA2_512: Self = Self(&AUTHS[2]);
    /// HMAC-SHA1-96.
    pub const SHA1: Self = Self(&AUTHS[3]);
    /// AES-XCBC-MAC-96.
    pub const AES_XCBC: Self = Self(&AUTHS[4]);
    /// AES-CMAC-96.
    pub const AES_CMAC: Self = Self(&AUTHS[5]);
    /// HMAC-MD5-96, used only when named in the configuration.
    pub const MD5: Self = Self(&AUTHS[6]);

    /// All rows of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        AUTHS.iter().map(Self)
    }

    /// The algorithm that `esp=` and `ah=` call so.
    pub fn by_name(word: &str) -> Option<Self> {
        let word = canonical(word);
        Self::all().find(|a| is_called(&word, a.0.name, a.0.aliases))
    }

    /// The algorithm with this attribute value.
    pub fn from_wire(id: AuthAlgorithm) -> Option<Self> {
        Self::all().find(|a| a.0.id == id)
    }

    /// Name as `esp=` writes it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Name as `ipsec auto --status` shows it, `HMAC_SHA2_256_128`.
    pub fn official(self) -> &'static str {
        self.0.official
    }

    /// Attribute value.
    pub fn id(self) -> AuthAlgorithm {
        self.0.id
    }

    /// AH transform id.
    pub fn ah_id(self) -> AhTransformId {
        self.0.ah_id
    }

    /// PF_KEY's number.
    pub fn pfkey(self) -> PfkeyAuth {
        self.0.pfkey
    }

    /// Octets of key.
    pub fn key_len(self) -> usize {
        self.0.key_len
    }

    /// Octets of ICV in each packet.
    pub fn icv_len(self) -> usize {
        self.0.icv_len
    }

    /// When it is used.
    pub fn standing(self) -> Standing {
        self.0.standing
    }
}

/// The one compressor: deflate (RFC 2394).
pub const IPCOMP_DEFLATE: IpcompTransformId = IpcompTransformId::DEFLATE;

named_row!(EspCipher, AuthAlg);
