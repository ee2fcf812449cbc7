//! Octets that must not leak: wiped when dropped, absent from Debug, compared in constant time.

use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key, shared secret or intermediate value of a key schedule.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes over octets; whatever other copies exist are the caller's to wipe.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// The octets. Keep copies of them out of logs and errors.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Cuts into the first `at` octets and the rest; `at` beyond the end leaves nothing for the rest.
    pub fn split(&self, at: usize) -> (Self, Self) {
        let (a, b) = self.0.split_at(at.min(self.0.len()));
        (Self(a.to_vec()), Self(b.to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        ct_eq(&self.0, &other.0)
    }
}

impl Eq for Secret {}

/// Whether two strings are the same, in time that depends on their lengths only. For every hash a peer sends.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
