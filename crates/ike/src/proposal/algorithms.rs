//! Algorithm lists as `ike=`, `esp=` and `ah=` write them (`3des-md5-modp1536,aes128-sha1!`), and the lists used when a
//! connection names none. The algorithms themselves are rows of `crypto`'s tables.

use crate::crypto::{AuthAlg, Cipher, EspCipher, Group, Hash};
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
    /// Authenticator; none only where AH goes with it.
    pub auth: Option<AuthAlg>,
}

impl EspSuite {
    /// Octets of KEYMAT: the cipher's key and the authenticator's.
    pub fn keymat_len(&self) -> usize {
        self.cipher.key_len() + self.auth.map_or(0, AuthAlg::key_len)
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeAlgorithms {
    /// Offered, best first.
    pub suites: Vec<IkeSuite>,
    /// Whether only `suites` are accepted (a `!` in `ike=`). Otherwise every cipher and hash of the tables is, with the
    /// groups in `suites` and those used by default.
    pub strict: bool,
}

/// What ESP offers and accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspAlgorithms {
    /// Offered, best first.
    pub suites: Vec<EspSuite>,
    /// Group for perfect forward secrecy named after a `;`.
    pub pfs_group: Option<Group>,
    /// Whether only `suites` are accepted (a `!` in `esp=`). Otherwise everything in the tables is.
    pub strict: bool,
}

/// Strong first; 3DES with SHA-1 and MD5 is what FreeS/WAN and its contemporaries speak.
const IKE_DEFAULT: [(Cipher, Hash); 4] = [
    (Cipher::AES256, Hash::SHA1),
    (Cipher::AES128, Hash::SHA1),
    (Cipher::TRIPLE_DES, Hash::SHA1),
    (Cipher::TRIPLE_DES, Hash::MD5),
];

const ESP_DEFAULT: [(EspCipher, AuthAlg); 4] = [
    (EspCipher::AES256, AuthAlg::SHA1),
    (EspCipher::AES128, AuthAlg::SHA1),
    (EspCipher::TRIPLE_DES, AuthAlg::SHA1),
    (EspCipher::TRIPLE_DES, AuthAlg::MD5),
];

impl Default for IkeAlgorithms {
    fn default() -> Self {
        let groups = Group::all().filter(|g| g.is_default());
        let suites = groups
            .flat_map(|group| {
                IKE_DEFAULT.map(|(cipher, hash)| IkeSuite {
                    cipher,
                    hash,
                    group,
                })
            })
            .collect();
        Self {
            suites,
            strict: false,
        }
    }
}

impl Default for EspAlgorithms {
    fn default() -> Self {
        let suites = ESP_DEFAULT
            .map(|(cipher, auth)| EspSuite {
                cipher,
                auth: Some(auth),
            })
            .to_vec();
        Self {
            suites,
            pfs_group: None,
            strict: false,
        }
    }
}

/// A list that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmError {
    /// An empty list or item.
    #[error("empty algorithm list")]
    Empty,
    /// Single DES.
    #[error(
        "\"{0}\": single DES is never used, its key is too short to protect anything; use 3des or aes128"
    )]
    SingleDes(String),
    /// A word that is nothing known.
    #[error("\"{item}\": \"{word}\" is not known here; expected {expected}")]
    Unknown {
        /// The item of the list.
        item: String,
        /// The word in it.
        word: String,
        /// What could stand there.
        expected: String,
    },
    /// `!` elsewhere than at the end.
    #[error("\"!\" (accept nothing else) belongs at the end of the whole list")]
    Strict,
    /// Items that name different PFS groups.
    #[error("\"{0}\": a list has one group for perfect forward secrecy")]
    PfsGroups(String),
}

/// Splits off the final `!` and cuts at commas.
fn items(list: &str) -> Result<(Vec<String>, bool), AlgorithmError> {
    let list = list.trim();
    let (list, strict) = match list.strip_suffix('!') {
        Some(rest) => (rest, true),
        None => (list, false),
    };
    if list.contains('!') {
        return Err(AlgorithmError::Strict);
    }
    let items: Vec<String> = list
        .split(',')
        .map(|i| i.trim().to_ascii_lowercase())
        .collect();
    if items.iter().any(String::is_empty) {
        Err(AlgorithmError::Empty)
    } else {
        Ok((items, strict))
    }
}

/// Words of an item; the truncation length in `md5-96` is the only one there is and says nothing.
fn words(item: &str) -> Vec<&str> {
    item.split(['-', ';'])
        .filter(|w| *w != "96" && !w.is_empty())
        .collect()
}

fn unknown(item: &str, word: &str, expected: impl Iterator<Item = String>) -> AlgorithmError {
    let expected: Vec<String> = expected.collect();
    AlgorithmError::Unknown {
        item: item.to_owned(),
        word: word.to_owned(),
        expected: expected.join(", "),
    }
}

fn single_des(item: &str, word: &str) -> Result<(), AlgorithmError> {
    if matches!(word, "des" | "des56" | "des_cbc" | "1des") {
        return Err(AlgorithmError::SingleDes(item.to_owned()));
    }
    Ok(())
}

impl IkeAlgorithms {
    /// Reads the value of `ike=`. Items are `cipher[-hash[-group]]`; an item without a hash or group stands for all
    /// hashes, or all groups used by default.
    ///
    /// # Errors
    /// The first word not understood, with what could stand there.
    pub fn parse(list: &str) -> Result<Self, AlgorithmError> {
        let (items, strict) = items(list)?;
        let mut suites = Vec::new();
        for item in &items {
            for suite in Self::parse_item(item)? {
                if !suites.contains(&suite) {
                    suites.push(suite);
                }
            }
        }
        Ok(Self { suites, strict })
    }

    fn parse_item(item: &str) -> Result<Vec<IkeSuite>, AlgorithmError> {
        let mut words = words(item).into_iter().peekable();
        let word = words.next().ok_or(AlgorithmError::Empty)?;
        single_des(item, word)?;
        let known = || Cipher::all().map(|c| c.to_string());
        let cipher = Cipher::by_name(word).ok_or_else(|| unknown(item, word, known()))?;
        let hashes = match words.peek().and_then(|w| Hash::by_name(w)) {
            Some(hash) => {
                words.next();
                vec![hash]
            }
            None => Hash::all().collect(),
        };
        let groups = match words.peek().and_then(|w| Group::by_name(w)) {
            Some(group) => {
                words.next();
                vec![group]
            }
            None => Group::all().filter(|g| g.is_default()).collect(),
        };
        if let Some(word) = words.next() {
            let known = Hash::all()
                .map(|h| h.to_string())
                .chain(Group::all().map(|g| g.to_string()));
            return Err(unknown(item, word, known));
        }
        let suite = |group| {
            hashes.iter().map(move |&hash| IkeSuite {
                cipher,
                hash,
                group,
            })
        };
        Ok(groups.into_iter().flat_map(suite).collect())
    }

    /// Whether a peer may choose or offer this.
    pub fn accepts(&self, suite: &IkeSuite) -> bool {
        self.suites.contains(suite)
            || !self.strict
                && (suite.group.is_default() || self.suites.iter().any(|s| s.group == suite.group))
    }
}

impl EspAlgorithms {
    /// Reads the value of `esp=`. Items are `cipher[-authenticator][;group]`; an item without an authenticator stands for
    /// all of them.
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
        for item in &items {
            let (suites, group) = Self::parse_item(item)?;
            if group.is_some() && out.pfs_group.is_some_and(|g| Some(g) != group) {
                return Err(AlgorithmError::PfsGroups(item.clone()));
            }
            out.pfs_group = out.pfs_group.or(group);
            suites.into_iter().for_each(|s| {
                if !out.suites.contains(&s) {
                    out.suites.push(s);
                }
            });
        }
        Ok(out)
    }

    fn parse_item(item: &str) -> Result<(Vec<EspSuite>, Option<Group>), AlgorithmError> {
        let mut words = words(item).into_iter().peekable();
        let word = words.next().ok_or(AlgorithmError::Empty)?;
        single_des(item, word)?;
        let known = || EspCipher::all().map(|c| c.to_string());
        let cipher = EspCipher::by_name(word).ok_or_else(|| unknown(item, word, known()))?;
        let auths = match words.peek().and_then(|w| AuthAlg::by_name(w)) {
            Some(auth) => {
                words.next();
                vec![auth]
            }
            None => AuthAlg::all().collect(),
        };
        let group = words.peek().and_then(|w| Group::by_name(w));
        if group.is_some() {
            words.next();
        }
        if let Some(word) = words.next() {
            let known = AuthAlg::all()
                .map(|a| a.to_string())
                .chain(Group::all().map(|g| g.to_string()));
            return Err(unknown(item, word, known));
        }
        let suites = auths
            .into_iter()
            .map(|auth| EspSuite {
                cipher,
                auth: Some(auth),
            })
            .collect();
        Ok((suites, group))
    }

    /// Whether a peer may choose or offer this; without an authenticator (AH goes with it) only the cipher counts.
    pub fn accepts(&self, suite: &EspSuite) -> bool {
        let same = |s: &EspSuite| {
            s.cipher == suite.cipher && (suite.auth.is_none() || s.auth == suite.auth)
        };
        !self.strict || self.suites.iter().any(same)
    }
}

/// Reads the value of `ah=`: authenticators by name, with or without `hmac-` before and `-96` behind.
///
/// # Errors
/// The first word not understood.
pub fn parse_ah(list: &str) -> Result<Vec<AuthAlg>, AlgorithmError> {
    let (items, _) = items(list)?;
    let one = |item: &String| {
        let name: Vec<&str> = words(item).into_iter().filter(|w| *w != "hmac").collect();
        let known = AuthAlg::all().map(|a| a.to_string());
        match name[..] {
            [name] => AuthAlg::by_name(name).ok_or_else(|| unknown(item, name, known)),
            _ => Err(unknown(item, item, known)),
        }
    };
    items.iter().map(one).collect()
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
