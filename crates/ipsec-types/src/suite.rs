//! ESP ciphers with their authenticators as `ipsec spi --esp` names them: `3des-md5-96`, `aes256-sha2-256-128`, `aes_gcm128`.

use core::fmt;

use crate::{AuthAlg, EncAlg};

/// A cipher and an authenticator for ESP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EspSuite {
    /// The cipher.
    pub enc: EncAlg,
    /// The authenticator; [`AuthAlg::NONE`] for none.
    pub auth: AuthAlg,
    /// The cipher's key length in bits, without salt or nonce, where the name fixes it, else 0.
    pub enc_bits: u16,
}

/// Why a name names no suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuiteError {
    /// No such cipher, or not with keys of this length.
    Cipher,
    /// No such authenticator.
    Auth,
    /// The cipher authenticates by itself, and takes no authenticator.
    AuthTwice(EncAlg),
    /// The cipher may not go without an authenticator.
    AuthMissing(EncAlg),
}

impl fmt::Display for SuiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |alg: &EncAlg| alg.name().unwrap_or("the cipher");
        match self {
            Self::Cipher => {
                f.write_str("unknown cipher; known are ")?;
                for (n, (written, alg)) in CIPHERS.iter().enumerate() {
                    write!(f, "{}{written}", if n == 0 { "" } else { ", " })?;
                    for (n, bits) in lengths(*alg).enumerate() {
                        let and = if n == 0 { " or with " } else { ", " };
                        write!(f, "{and}{}{bits}", joint(written))?;
                    }
                }
                f.write_str(", then - and an authenticator")
            }
            Self::Auth => {
                f.write_str("unknown authenticator; known are ")?;
                for (n, alg) in AUTHS.iter().enumerate() {
                    write!(f, "{}{}", if n == 0 { "" } else { ", " }, short(*alg))?;
                }
                Ok(())
            }
            Self::AuthTwice(alg) => write!(
                f,
                "{} authenticates by itself: it takes no authenticator behind it",
                name(alg)
            ),
            Self::AuthMissing(alg) => write!(
                f,
                "{} is never used without authentication: add an authenticator, as in {0}-sha2-256-128",
                name(alg)
            ),
        }
    }
}

impl core::error::Error for SuiteError {}

/// The ciphers by name. `aes_gcm` is short for the one with the full ICV.
const CIPHERS: &[(&str, EncAlg)] = &[
    ("3des", EncAlg::TRIPLE_DES_CBC),
    ("aes", EncAlg::AES_CBC),
    ("aes_ctr", EncAlg::AES_CTR),
    ("aes_gcm", EncAlg::AES_GCM_16),
    ("aes_gcm_8", EncAlg::AES_GCM_8),
    ("aes_gcm_12", EncAlg::AES_GCM_12),
    ("aes_gcm_16", EncAlg::AES_GCM_16),
    ("camellia", EncAlg::CAMELLIA_CBC),
    ("chacha20_poly1305", EncAlg::CHACHA20_POLY1305),
    ("null", EncAlg::NULL),
];

/// The authenticators, without the `hmac-` of their names.
const AUTHS: &[AuthAlg] = &[
    AuthAlg::MD5_HMAC,
    AuthAlg::SHA1_HMAC,
    AuthAlg::SHA2_256_HMAC,
    AuthAlg::SHA2_384_HMAC,
    AuthAlg::SHA2_512_HMAC,
    AuthAlg::AES_XCBC_MAC,
    AuthAlg::AES_CMAC,
];

/// The key lengths that may stand behind a name: of a cipher that has several.
fn lengths(alg: EncAlg) -> impl Iterator<Item = u16> {
    let all = alg.key_bits();
    let several = all.len() > 1;
    all.iter()
        .filter(move |_| several)
        .map(move |bits| bits - alg.salt_bits())
}

/// What joins a name and a key length: a name that ends in a digit would run into it.
fn joint(name: &str) -> &'static str {
    if name.ends_with(|c: char| c.is_ascii_digit()) {
        "_"
    } else {
        ""
    }
}

fn short(alg: AuthAlg) -> &'static str {
    let name = alg.name().unwrap_or("");
    name.strip_prefix("hmac-").unwrap_or(name)
}

fn cipher(written: &str) -> Option<(EncAlg, u16)> {
    CIPHERS
        .iter()
        .find_map(|(name, alg)| match written.strip_prefix(name)? {
            "" => Some((*alg, 0)),
            rest => {
                let digits = rest
                    .strip_prefix(joint(name))
                    .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
                let bits = digits.parse().ok()?;
                lengths(*alg).any(|l| l == bits).then_some((*alg, bits))
            }
        })
}

impl EspSuite {
    /// The suite of that name: a cipher, its key length where it has several (`aes256`, `aes_gcm_12_256`), and an authenticator
    /// without `hmac-` (`-sha1-96`).
    ///
    /// # Errors
    /// What is unknown in it, or does not go together.
    pub fn from_name(name: &str) -> Result<Self, SuiteError> {
        let (enc, auth) = match name.split_once('-') {
            Some((enc, auth)) => (enc, Some(auth)),
            None => (name, None),
        };
        let (enc, enc_bits) = cipher(enc).ok_or(SuiteError::Cipher)?;
        let auth = match auth {
            None if enc.needs_auth() => return Err(SuiteError::AuthMissing(enc)),
            None => AuthAlg::NONE,
            Some(_) if enc.is_aead() => return Err(SuiteError::AuthTwice(enc)),
            Some(auth) => *AUTHS
                .iter()
                .find(|alg| short(**alg) == auth)
                .ok_or(SuiteError::Auth)?,
        };
        Ok(Self {
            enc,
            auth,
            enc_bits,
        })
    }

    /// Whether packets are authenticated, by the cipher or beside it.
    pub fn authenticates(&self) -> bool {
        self.auth != AuthAlg::NONE || self.enc.is_aead()
    }

    /// The authenticators that KLIPS has.
    pub fn auths() -> impl Iterator<Item = AuthAlg> {
        AUTHS.iter().copied()
    }

    /// The key lengths in bits it takes in PF_KEY's key extension, salt or nonce included.
    pub fn key_bits(&self) -> impl Iterator<Item = u16> + '_ {
        let salt = self.enc.salt_bits();
        let fits = move |bits: &u16| self.enc_bits == 0 || *bits == self.enc_bits + salt;
        self.enc.key_bits().iter().copied().filter(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn names() {
        let suite = |name: &str| {
            EspSuite::from_name(name).map(|s| (s.enc.0, s.auth.0, s.key_bits().collect::<Vec<_>>()))
        };
        for (name, enc, auth, bits) in [
            ("3des", 3, 0, &[192][..]),
            ("3des-md5-96", 3, 2, &[192]),
            ("aes-sha1-96", 12, 3, &[128, 192, 256]),
            ("aes192-sha1-96", 12, 3, &[192]),
            ("aes256-sha2-256-128", 12, 5, &[256]),
            ("camellia256-sha2-512-256", 22, 7, &[256]),
            ("null-aes-xcbc-96", 11, 9, &[0]),
            ("aes_ctr128-aes-cmac-96", 13, 250, &[160]),
            ("aes_gcm", 20, 0, &[160, 224, 288]),
            ("aes_gcm256", 20, 0, &[288]),
            ("aes_gcm_8_128", 18, 0, &[160]),
            ("aes_gcm_12", 19, 0, &[160, 224, 288]),
            ("aes_gcm_16_192", 20, 0, &[224]),
            ("chacha20_poly1305", 28, 0, &[288]),
        ] {
            assert_eq!(suite(name), Ok((enc, auth, bits.to_vec())), "{name}");
        }
        for name in [
            "",
            "des-md5-96",
            "aes64-sha1-96",
            "3des192",
            "aes_gcm_16128",
            "aes_gcm_8128",
            "chacha20_poly1305256",
            "rc4",
            "aes+128",
        ] {
            assert_eq!(suite(name), Err(SuiteError::Cipher), "{name}");
        }
        assert_eq!(suite("3des-sha3-96"), Err(SuiteError::Auth));
        assert_eq!(suite("null"), Err(SuiteError::AuthMissing(EncAlg::NULL)));
        assert_eq!(
            suite("aes_ctr256"),
            Err(SuiteError::AuthMissing(EncAlg::AES_CTR))
        );
        assert_eq!(
            suite("aes_gcm-sha1-96"),
            Err(SuiteError::AuthTwice(EncAlg::AES_GCM_16))
        );
    }

    #[test]
    fn errors_list_what_exists() {
        assert_eq!(
            SuiteError::Cipher.to_string(),
            "unknown cipher; known are 3des, aes or with 128, 192, 256, aes_ctr or with 128, 192, 256, aes_gcm or with 128, 192, 256, \
             aes_gcm_8 or with _128, _192, _256, aes_gcm_12 or with _128, _192, _256, aes_gcm_16 or with _128, _192, _256, \
             camellia or with 128, 192, 256, chacha20_poly1305, null, then - and an authenticator"
        );
        assert!(
            SuiteError::Auth
                .to_string()
                .ends_with("sha2-512-256, aes-xcbc-96, aes-cmac-96")
        );
        assert!(
            SuiteError::AuthMissing(EncAlg::NULL)
                .to_string()
                .ends_with("as in null-sha2-256-128")
        );
    }
}
