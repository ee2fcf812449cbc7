//! Which of the algorithms KLIPS can do, as it says when pluto registers. What it can't is neither offered nor accepted.

use super::algorithms::EspSuite;
use crate::crypto::{AuthAlg, EspCipher};
use core::fmt;

/// Sets of PF_KEY numbers. Printed with the names of `esp=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supported {
    ciphers: [u64; 4],
    auths: [u64; 4],
}

impl Default for Supported {
    /// Everything, where there is no KLIPS to ask.
    fn default() -> Self {
        Self {
            ciphers: [u64::MAX; 4],
            auths: [u64::MAX; 4],
        }
    }
}

const fn bit(number: u8) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

fn has(set: &[u64; 4], number: u8) -> bool {
    let (word, bit) = bit(number);
    set.get(word).is_some_and(|w| w & bit != 0)
}

fn set_of(numbers: impl Iterator<Item = u8>) -> [u64; 4] {
    let mut set = [0; 4];
    for number in numbers {
        let (word, bit) = bit(number);
        if let Some(word) = set.get_mut(word) {
            *word |= bit;
        }
    }
    set
}

impl Supported {
    /// These ciphers and authenticators, by PF_KEY number, and no others.
    pub fn only(ciphers: impl Iterator<Item = u8>, auths: impl Iterator<Item = u8>) -> Self {
        Self {
            ciphers: set_of(ciphers),
            auths: set_of(auths),
        }
    }

    /// Whether KLIPS can do ESP so.
    pub fn has_esp(&self, suite: &EspSuite) -> bool {
        has(&self.ciphers, suite.cipher.pfkey().0)
            && suite.auth.is_none_or(|auth| self.has_auth(auth))
    }

    /// Whether KLIPS has an authenticator.
    pub fn has_auth(&self, auth: AuthAlg) -> bool {
        has(&self.auths, auth.pfkey().0)
    }
}

impl fmt::Display for Supported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ciphers: Vec<&str> = EspCipher::all()
            .filter(|cipher| has(&self.ciphers, cipher.pfkey().0))
            .map(EspCipher::name)
            .collect();
        let auths: Vec<&str> = AuthAlg::all()
            .filter(|auth| self.has_auth(*auth))
            .map(AuthAlg::name)
            .collect();
        write!(f, "{} with {}", ciphers.join(", "), auths.join(", "))
    }
}
