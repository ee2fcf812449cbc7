//! What algorithm lists mean (`ike=aes256-sha2_256-modp2048,3des-sha1!`, `esp=aes_gcm128-null`, `ah=sha2_256`), and the lists used
//! when a connection names none. The algorithms themselves are rows of `crypto`'s tables.

use super::words::{AlgorithmError, Item, items};
use crate::crypto::{AuthAlg, Cipher, EspCipher, Group, Hash, Standing, canonical};
use core::fmt;

/// Cipher, hash and group of phase 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IkeSuite {
    /// Cipher.
    pub cipher: Cipher,
    /// Hash, also the PRF.
    pub hash: Hash,
    /// Diffie-Hellman group.
    pub group: Group,
}

impl IkeSuite {
    /// As `ipsec auto --status` shows it: `AES_CBC_256-SHA2_256-MODP2048`.
    pub fn official(&self) -> String {
        let (cipher, hash) = (self.cipher.official(), self.hash.official());
        format!("{cipher}-{hash}-{}", self.group.official())
    }
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.cipher, self.hash, self.group)
    }
}

/// Cipher and authenticator of ESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EspSuite {
    /// Cipher.
    pub cipher: EspCipher,
    /// Authenticator; none where the cipher authenticates itself, or AH goes with it.
    pub auth: Option<AuthAlg>,
}

impl EspSuite {
    /// Octets of KEYMAT: the cipher's key with its salt, and the authenticator's key.
    pub fn keymat_len(&self) -> usize {
        self.cipher.keymat_len() + self.auth.map_or(0, AuthAlg::key_len)
    }

    /// Whether packets are authenticated, by the cipher or beside it.
    pub fn authenticates(&self) -> bool {
        self.auth.is_some() || self.cipher.is_aead()
    }

    /// As `ipsec auto --status` shows it: `AES_CBC_256-HMAC_SHA2_256_128`, `AES_GCM_16_256-NONE`.
    pub fn official(&self) -> String {
        let auth = self.auth.map_or("NONE", AuthAlg::official);
        format!("{}-{auth}", self.cipher.official())
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.auth {
            Some(auth) => write!(f, "{}-{auth}", self.cipher),
            None => write!(f, "{}", self.cipher),
        }
    }
}

/// What phase 1 offers and accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IkeAlgorithms {
    /// Offered, best first.
    pub suites: Vec<IkeSuite>,
    /// Whether only `suites` are accepted (a `!` in `ike=`). Otherwise every cipher, hash and group of the tables is, but
    /// for those that must be named.
    pub strict: bool,
}

/// What ESP offers and accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspAlgorithms {
    /// Offered, best first.
    pub suites: Vec<EspSuite>,
    /// Group for perfect forward secrecy named behind the others.
    pub pfs_group: Option<Group>,
    /// Whether only `suites` are accepted (a `!` in `esp=`). Otherwise everything in the tables is, but for what must be
    /// named.
    pub strict: bool,
}

/// Strong first; 3DES with SHA-1 and MODP 1536 last is what FreeS/WAN and its contemporaries speak. A dozen, so that with two
/// authentication methods the first message still fits a packet.
const IKE_DEFAULT: [(Cipher, Hash, Group); 12] = [
    (Cipher::AES256, Hash::SHA2_256, Group::ECP256),
    (Cipher::AES256, Hash::SHA2_256, Group::CURVE25519),
    (Cipher::AES256, Hash::SHA2_256, Group::MODP2048),
    (Cipher::AES128, Hash::SHA2_256, Group::ECP256),
    (Cipher::AES128, Hash::SHA2_256, Group::CURVE25519),
    (Cipher::AES128, Hash::SHA2_256, Group::MODP2048),
    (Cipher::AES256, Hash::SHA1, Group::MODP2048),
    (Cipher::AES128, Hash::SHA1, Group::MODP2048),
    (Cipher::AES256, Hash::SHA1, Group::MODP1536),
    (Cipher::AES128, Hash::SHA1, Group::MODP1536),
    (Cipher::TRIPLE_DES, Hash::SHA1, Group::MODP2048),
    (Cipher::TRIPLE_DES, Hash::SHA1, Group::MODP1536),
];

const ESP_DEFAULT: [(EspCipher, Option<AuthAlg>); 7] = [
    (EspCipher::AES_GCM256, None),
    (EspCipher::AES_GCM128, None),
    (EspCipher::AES256, Some(AuthAlg::SHA2_256)),
    (EspCipher::AES128, Some(AuthAlg::SHA2_256)),
    (EspCipher::AES256, Some(AuthAlg::SHA1)),
    (EspCipher::AES128, Some(AuthAlg::SHA1)),
    (EspCipher::TRIPLE_DES, Some(AuthAlg::SHA1)),
];

impl Default for IkeAlgorithms {
    fn default() -> Self {
        let suite = |(cipher, hash, group)| IkeSuite {
            cipher,
            hash,
            group,
        };
        Self {
            suites: IKE_DEFAULT.map(suite).to_vec(),
            strict: false,
        }
    }
}

impl Default for EspAlgorithms {
    fn default() -> Self {
        Self {
            suites: ESP_DEFAULT
                .map(|(cipher, auth)| EspSuite { cipher, auth })
                .to_vec(),
            pfs_group: None,
            strict: false,
        }
    }
}

fn push_new<T: PartialEq>(out: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for one in more {
        if !out.contains(&one) {
            out.push(one);
        }
    }
}

/// Whether something is taken from a peer whose suite is not in the list.
fn acceptable(standing: Standing, mut named: impl Iterator<Item = bool>) -> bool {
    standing != Standing::Named || named.any(|is| is)
}

fn group_names() -> impl Iterator<Item = &'static str> {
    Group::all().map(Group::name)
}

impl IkeAlgorithms {
    /// Reads the value of `ike=`. Items are `cipher[-hash[-group]]`; an item without a hash or group stands for those
    /// offered by default.
    ///
    /// # Errors
    /// The first word not understood, with what could stand there.
    pub fn parse(list: &str) -> Result<Self, AlgorithmError> {
        let (items, strict) = items(list)?;
        let mut suites = Vec::new();
        for mut item in items {
            push_new(&mut suites, Self::parse_item(&mut item)?);
        }
        Ok(Self { suites, strict })
    }

    fn parse_item(item: &mut Item) -> Result<Vec<IkeSuite>, AlgorithmError> {
        let ciphers = item.take(Cipher::by_name).transpose();
        let ciphers = ciphers
            .unwrap_or_else(|| Err(item.rest().unwrap_or_default().to_owned()))
            .map_err(|word| ike_cipher_unknown(item, &word))?;
        let hashes = item
            .take(Hash::by_name)
            .map_err(|word| item.unknown(&word, Hash::all().map(Hash::name)))?
            .unwrap_or_else(|| offered(Hash::all(), Hash::standing));
        let groups = item
            .take(Group::by_name)
            .map_err(|word| item.unknown(&word, group_names()))?
            .unwrap_or_else(|| offered(Group::all(), Group::standing));
        if let Some(word) = item.rest() {
            if AuthAlg::by_name(word).is_some() && Hash::by_name(word).is_none() {
                return Err(item.misplaced(
                    "AES-XCBC and AES-CMAC are pseudo-random functions of IKEv2 only (RFC 4434, RFC 4615); use sha2_256",
                ));
            }
            let known = Hash::all().map(Hash::name).chain(group_names());
            return Err(item.unknown(word, known));
        }
        let mut suites = Vec::new();
        for &group in &groups {
            for &cipher in &ciphers {
                suites.extend(hashes.iter().map(|&hash| IkeSuite {
                    cipher,
                    hash,
                    group,
                }));
            }
        }
        Ok(suites)
    }

    /// Whether a peer may choose or offer this.
    pub fn accepts(&self, suite: &IkeSuite) -> bool {
        let hash = || self.suites.iter().map(|s| s.hash == suite.hash);
        let group = || self.suites.iter().map(|s| s.group == suite.group);
        self.suites.contains(suite)
            || !self.strict
                && acceptable(suite.hash.standing(), hash())
                && acceptable(suite.group.standing(), group())
    }
}

fn offered<T: Copy>(all: impl Iterator<Item = T>, standing: fn(T) -> Standing) -> Vec<T> {
    all.filter(|one| standing(*one) == Standing::Offered)
        .collect()
}

/// Ciphers of ESP have no place in phase 1 unless they are there too.
fn ike_cipher_unknown(item: &Item, word: &str) -> AlgorithmError {
    let esp_only = EspCipher::by_name(word);
    match esp_only {
        Some(cipher) if cipher.is_aead() => item.misplaced(format!(
            "{cipher} is not defined for IKEv1's phase 1, only for IKEv2 (RFC 5282); use aes256 or aes128, and {cipher} in esp="
        )),
        Some(cipher) if cipher == EspCipher::NULL => item.misplaced("the negotiation itself is always encrypted; use aes256 or aes128"),
        Some(cipher) => item.misplaced(format!(
            "{cipher} is not defined for IKEv1's phase 1, only for IKEv2 (RFC 5930); use aes256 or aes128"
        )),
        None => item.unknown(word, Cipher::all().map(Cipher::name)),
    }
}

impl EspAlgorithms {
    /// Reads the value of `esp=`. Items are `cipher[-authenticator][-group]`; an item without an authenticator stands for
    /// those offered by default, unless its cipher authenticates itself (which may be written `-null` or `-none`).
    ///
    /// # Errors
    /// The first word not understood, with what could stand there.
    pub fn parse(list: &str) -> Result<Self, AlgorithmError> {
        let (items, strict) = items(list)?;
        let mut out = Self {
            suites: Vec::new(),
            pfs_group: None,
            strict,
        };
        for mut item in items {
            let (suites, group) = Self::parse_item(&mut item)?;
            if group.is_some() && out.pfs_group.is_some_and(|g| Some(g) != group) {
                return Err(AlgorithmError::PfsGroups(item.text));
            }
            out.pfs_group = out.pfs_group.or(group);
            push_new(&mut out.suites, suites);
        }
        Ok(out)
    }

    fn parse_item(item: &mut Item) -> Result<(Vec<EspSuite>, Option<Group>), AlgorithmError> {
        let ciphers = item.take(EspCipher::by_name).transpose();
        let ciphers = ciphers
            .unwrap_or_else(|| Err(item.rest().unwrap_or_default().to_owned()))
            .map_err(|word| item.unknown(&word, EspCipher::all().map(EspCipher::name)))?;
        let auth_names = || AuthAlg::all().map(AuthAlg::name);
        let auths = item
            .take(auth_or_none)
            .map_err(|word| item.unknown(&word, auth_names()))?;
        let group = item
            .take(Group::by_name)
            .map_err(|word| item.unknown(&word, group_names()))?;
        let group = match group.as_deref() {
            None => None,
            Some([one]) => Some(*one),
            Some(_) => return Err(AlgorithmError::PfsGroups(item.text.clone())),
        };
        if let Some(word) = item.rest() {
            return Err(item.unknown(word, auth_names().chain(group_names())));
        }
        let mut suites = Vec::new();
        for cipher in ciphers {
            let auths = auths_of(item, cipher, auths.as_deref())?;
            suites.extend(auths.into_iter().map(|auth| EspSuite { cipher, auth }));
        }
        Ok((suites, group))
    }

    /// Whether a peer may choose or offer this; without an authenticator (AH goes with it) only the cipher counts.
    pub fn accepts(&self, suite: &EspSuite) -> bool {
        let same = |s: &EspSuite| {
            s.cipher == suite.cipher && (suite.auth.is_none() || s.auth == suite.auth)
        };
        let cipher = || self.suites.iter().map(|s| s.cipher == suite.cipher);
        let auth = || self.suites.iter().map(|s| s.auth == suite.auth);
        self.suites.iter().any(same)
            || !self.strict
                && acceptable(suite.cipher.standing(), cipher())
                && suite
                    .auth
                    .is_none_or(|own| acceptable(own.standing(), auth()))
    }
}

/// An authenticator, or the word for none.
fn auth_or_none(word: &str) -> Option<Option<AuthAlg>> {
    if matches!(canonical(word).as_str(), "null" | "none") {
        Some(None)
    } else {
        AuthAlg::by_name(word).map(Some)
    }
}

/// The authenticators that go with a cipher.
fn auths_of(
    item: &Item,
    cipher: EspCipher,
    named: Option<&[Option<AuthAlg>]>,
) -> Result<Vec<Option<AuthAlg>>, AlgorithmError> {
    match named {
        None | Some([None]) if cipher.is_aead() => Ok(vec![None]),
        _ if cipher.is_aead() => Err(item.misplaced(format!(
            "{cipher} authenticates what it encrypts and takes no authenticator; write {cipher} or {cipher}-null"
        ))),
        Some(auths) if auths.contains(&None) => Err(item.misplaced(format!(
            "{cipher} without an authenticator lets anyone alter packets; write {cipher}-sha2_256"
        ))),
        Some(auths) => Ok(auths.to_vec()),
        None => Ok(offered(AuthAlg::all(), AuthAlg::standing)
            .into_iter()
            .map(Some)
            .collect()),
    }
}

/// Reads the value of `pfsgroup=`.
///
/// # Errors
/// What is wrong with the word, and what could stand there.
pub fn parse_group(text: &str) -> Result<Group, AlgorithmError> {
    let (mut items, _) = items(text)?;
    let [item] = items.as_mut_slice() else {
        return Err(AlgorithmError::PfsGroups(text.to_owned()));
    };
    match item.take(Group::by_name).as_ref().map(Option::as_deref) {
        Ok(Some([group])) if item.rest().is_none() => Ok(*group),
        Ok(Some(_)) => Err(AlgorithmError::PfsGroups(text.to_owned())),
        _ => Err(item.unknown(item.rest().unwrap_or_default(), group_names())),
    }
}

/// What AH offers and accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AhAlgorithms {
    /// Offered, best first.
    pub auths: Vec<AuthAlg>,
    /// Whether only `auths` are accepted (a `!` behind them). Otherwise everything in the table is, but for what must be
    /// named.
    pub strict: bool,
}

impl Default for AhAlgorithms {
    fn default() -> Self {
        Self {
            auths: offered(AuthAlg::all(), AuthAlg::standing),
            strict: false,
        }
    }
}

impl AhAlgorithms {
    /// Reads the value of `phase2alg=` where `phase2=ah`: authenticators by name, with or without `hmac-` before and their
    /// length behind.
    ///
    /// # Errors
    /// The first word not understood.
    pub fn parse(list: &str) -> Result<Self, AlgorithmError> {
        let (items, strict) = items(list)?;
        let mut auths = Vec::new();
        for mut item in items {
            let known = || AuthAlg::all().map(AuthAlg::name);
            let some = item.take(AuthAlg::by_name).transpose();
            let some = some
                .unwrap_or_else(|| Err(item.rest().unwrap_or_default().to_owned()))
                .map_err(|word| item.unknown(&word, known()))?;
            if let Some(word) = item.rest() {
                return Err(item.unknown(word, known()));
            }
            push_new(&mut auths, some);
        }
        Ok(Self { auths, strict })
    }

    /// The authenticators of an ESP list, for AH that goes with it; what is offered by default if it names none.
    pub fn of_esp(esp: &EspAlgorithms) -> Self {
        let mut auths = Vec::new();
        push_new(&mut auths, esp.suites.iter().filter_map(|s| s.auth));
        if auths.is_empty() {
            return Self::default();
        }
        Self {
            auths,
            strict: esp.strict,
        }
    }

    /// Whether a peer may choose or offer this.
    pub fn accepts(&self, auth: AuthAlg) -> bool {
        self.auths.contains(&auth) || !self.strict && auth.standing() != Standing::Named
    }
}

fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, suites: &[T], strict: bool) -> fmt::Result {
    for (i, suite) in suites.iter().enumerate() {
        write!(f, "{}{suite}", if i > 0 { "," } else { "" })?;
    }
    f.write_str(if strict { "!" } else { "" })
}

impl fmt::Display for IkeAlgorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &self.suites, self.strict)
    }
}

impl fmt::Display for EspAlgorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &self.suites, self.strict)
    }
}

impl fmt::Display for AhAlgorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &self.auths, self.strict)
    }
}
