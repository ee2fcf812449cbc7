//! Algorithm lists as words: items between commas, in them places between `-` or `;`, in those alternatives between `+`. And what
//! is said about words that fit nowhere. What the words mean is in `algorithms`.

use crate::crypto::{AuthAlg, Cipher, EspCipher, Group, Hash, canonical};

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
    #[error("\"{item}\": \"{word}\" is not known here; {}expected {expected}", did_you_mean(.nearest))]
    Unknown {
        /// The item of the list.
        item: String,
        /// The word in it.
        word: String,
        /// What could stand there.
        expected: String,
        /// The one of them that the word looks like.
        nearest: Option<&'static str>,
    },
    /// A word that is known, and has no place there.
    #[error("\"{item}\": {why}")]
    Misplaced {
        /// The item of the list.
        item: String,
        /// Why not, and what instead.
        why: String,
    },
    /// `!` elsewhere than at the end.
    #[error("\"!\" (accept nothing else) belongs at the end of the whole list")]
    Strict,
    /// Items that name different PFS groups.
    #[error("\"{0}\": a list has one group for perfect forward secrecy")]
    PfsGroups(String),
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("did you mean \"{name}\"? "))
}

/// One item of a list.
pub(super) struct Item {
    pub(super) text: String,
    places: std::vec::IntoIter<Vec<String>>,
    next: Option<Vec<String>>,
}

/// Splits off the final `!` and cuts at commas.
pub(super) fn items(list: &str) -> Result<(Vec<Item>, bool), AlgorithmError> {
    let list = list.trim();
    let (list, strict) = match list.strip_suffix('!') {
        Some(rest) => (rest, true),
        None => (list, false),
    };
    if list.contains('!') {
        return Err(AlgorithmError::Strict);
    }
    let items: Result<Vec<Item>, AlgorithmError> = list.split(',').map(Item::new).collect();
    Ok((items?, strict))
}

/// Whether a word names an algorithm of any kind.
fn is_known(word: &str) -> bool {
    Cipher::by_name(word).is_some()
        || EspCipher::by_name(word).is_some()
        || Hash::by_name(word).is_some()
        || AuthAlg::by_name(word).is_some()
        || Group::by_name(word).is_some()
}

impl Item {
    fn new(text: &str) -> Result<Self, AlgorithmError> {
        let text = text.trim().to_ascii_lowercase();
        let mut places: Vec<Vec<String>> = Vec::new();
        for place in text.split(['-', ';']).filter(|p| !p.is_empty()) {
            // A number belongs to the word before it where they make a name, as in sha2-256, aes-128 and md5-96.
            let number = place.bytes().all(|b| b.is_ascii_digit());
            if let Some([before]) = places.last_mut().filter(|_| number).map(Vec::as_mut_slice) {
                let joined = format!("{before}_{place}");
                if is_known(&joined) {
                    *before = joined;
                    continue;
                }
            }
            if place != "hmac" {
                places.push(place.split('+').map(str::to_owned).collect());
            }
        }
        if places.iter().flatten().any(String::is_empty) || places.is_empty() {
            return Err(AlgorithmError::Empty);
        }
        let mut places = places.into_iter();
        let next = places.next();
        Ok(Self { text, places, next })
    }

    /// The next place's alternatives, if `find` knows the first of them.
    ///
    /// # Errors
    /// The first of the others that it does not know.
    pub(super) fn take<T>(
        &mut self,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, String> {
        let Some(words) = &self.next else {
            return Ok(None);
        };
        if words.first().and_then(|w| find(w)).is_none() {
            return Ok(None);
        }
        let all = words.iter().map(|w| find(w).ok_or_else(|| w.clone()));
        let all = all.collect::<Result<Vec<T>, String>>()?;
        self.next = self.places.next();
        Ok(Some(all))
    }

    /// The word at which reading stopped.
    pub(super) fn rest(&self) -> Option<&str> {
        self.next.as_ref()?.first().map(String::as_str)
    }

    /// What to say about a word that stands where one of `expected` should.
    pub(super) fn unknown(
        &self,
        word: &str,
        expected: impl Iterator<Item = &'static str>,
    ) -> AlgorithmError {
        if matches!(word, "des" | "des56" | "des_cbc" | "1des") {
            return AlgorithmError::SingleDes(self.text.clone());
        }
        if let Some(why) = never(&canonical(word)) {
            return self.misplaced(why);
        }
        let expected: Vec<&'static str> = expected.collect();
        let close = |name: &&&str| strsim::damerau_levenshtein(word, name) <= word.len() / 3;
        AlgorithmError::Unknown {
            item: self.text.clone(),
            word: word.to_owned(),
            nearest: expected
                .iter()
                .filter(close)
                .min_by_key(|name| strsim::damerau_levenshtein(word, name))
                .copied(),
            expected: expected.join(", "),
        }
    }

    pub(super) fn misplaced(&self, why: impl ToString) -> AlgorithmError {
        AlgorithmError::Misplaced {
            item: self.text.clone(),
            why: why.to_string(),
        }
    }
}

/// Why algorithms that people know are not used at all.
fn never(word: &str) -> Option<&'static str> {
    match word {
        "modp768" | "dh1" => {
            Some("MODP 768 is never used, it has been broken; use modp2048, ecp256 or curve25519")
        }
        "dh22" | "dh23" | "dh24" => Some(
            "groups 22 to 24 are never used, nobody can show that their primes hold no trapdoor; use modp2048, ecp256 or curve25519",
        ),
        _ => None,
    }
}
