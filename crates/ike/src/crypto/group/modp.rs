//! Exponentiation modulo a prime with generator 2, in constant time.

use super::{Arithmetic, Fault};
use crate::crypto::secret::Secret;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use rand::CryptoRng;
use std::sync::LazyLock;
use zeroize::{Zeroize, Zeroizing};

/// One MODP group.
pub(super) struct Modp {
    bits: u32,
    /// Length of private exponents: twice the group's strength, rounded up to whole words (RFC 3526 section 8).
    exponent_bits: u32,
    params: LazyLock<BoxedMontyParams>,
}

impl Modp {
    pub(super) const fn new(
        bits: u32,
        exponent_bits: u32,
        params: LazyLock<BoxedMontyParams>,
    ) -> Self {
        Self {
            bits,
            exponent_bits,
            params,
        }
    }

    fn power(&self, base: BoxedUint, private: &[u8]) -> BoxedUint {
        let mut exponent = BoxedUint::from_be_slice_truncated(private, self.exponent_bits);
        let mut base = BoxedMontyForm::new(base, &self.params);
        let mut power = base.pow_bounded_exp(&exponent, self.exponent_bits);
        let result = power.retrieve();
        exponent.zeroize();
        base.zeroize();
        power.zeroize();
        result
    }

    fn number(&self, octets: &[u8]) -> BoxedUint {
        BoxedUint::from_be_slice_truncated(octets, self.bits)
    }

    /// The prime, big-endian.
    pub(super) fn prime(&self) -> Vec<u8> {
        self.params.modulus().as_ref().to_be_bytes().into_vec()
    }
}

/// A prime from its hexadecimal form, ready for exponentiation.
pub(super) fn params(prime: &str, bits: u32) -> BoxedMontyParams {
    let prime = BoxedUint::from_be_hex(prime, bits).expect("the table's primes are hexadecimal");
    BoxedMontyParams::new(Odd::new(prime).expect("the table's primes are odd"))
}

impl Arithmetic for Modp {
    fn public_len(&self) -> usize {
        self.bits as usize / 8
    }

    fn private(&self, rng: &mut dyn CryptoRng) -> Zeroizing<Vec<u8>> {
        let mut octets = Zeroizing::new(vec![0; self.exponent_bits as usize / 8]);
        rng.fill_bytes(&mut octets);
        octets
    }

    fn public(&self, private: &[u8]) -> Vec<u8> {
        let mut generator = vec![0; self.public_len()];
        if let Some(last) = generator.last_mut() {
            *last = 2;
        }
        self.power(self.number(&generator), private)
            .to_be_bytes()
            .into_vec()
    }

    /// Between 2 and p-2: others would let a third party know the secret.
    fn check(&self, peer: &[u8]) -> Result<(), Fault> {
        // Public values need no constant time; comparing octets compares numbers of equal length.
        let mut largest = self.prime();
        let mut one = vec![0; largest.len()];
        if let (Some(low), Some(unit)) = (largest.last_mut(), one.last_mut()) {
            *low -= 1; // p is odd, so p-1 differs in the last octet only
            *unit = 1;
        }
        if peer <= &one[..] || peer >= &largest[..] {
            return Err(Fault::Range);
        }
        Ok(())
    }

    fn agree(&self, private: &[u8], peer: &[u8]) -> Result<Secret, Fault> {
        let mut shared = self.power(self.number(peer), private);
        let mut octets = shared.to_be_bytes();
        let secret = Secret::new(octets.to_vec());
        octets.zeroize();
        shared.zeroize();
        Ok(secret)
    }
}
