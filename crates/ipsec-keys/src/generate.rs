//! Making a new RSA key: two random primes for the public exponent 65537.

use crate::{KeyError, MAX_BITS, MIN_BITS, PrivateKey};
use crypto_bigint::{Limb, NonZero};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use rsa::BoxedUint;
use rsa::rand_core::CryptoRng;

/// Bits of a host key unless told otherwise: good beyond 2030 (NIST SP 800-57 part 1, table 2).
pub const DEFAULT_BITS: usize = 3072;
/// The public exponent of every key made here (FIPS 186-5 section 5.1 wants 65537 or more). FreeS/WAN's was 3.
pub const PUBLIC_EXPONENT: u32 = 65_537;

impl PrivateKey {
    /// Makes a key of `bits`, a multiple of 16 from [`MIN_BITS`] to [`MAX_BITS`].
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R, bits: usize) -> Result<Self, KeyError> {
        if !(MIN_BITS..=MAX_BITS).contains(&bits) || !bits.is_multiple_of(16) {
            return Err(KeyError::BitCount(bits));
        }
        loop {
            let half = (bits / 2) as u32;
            let (a, b) = (prime(rng, half), prime(rng, half));
            if a == b {
                continue;
            }
            let (p, q) = if a > b { (a, b) } else { (b, a) };
            let e = BoxedUint::from(u64::from(PUBLIC_EXPONENT));
            let key = rsa::RsaPrivateKey::from_p_q(p, q, e)
                .map_err(|_| KeyError::Inconsistent("the new primes yield no private exponent"))?;
            return Self::from_rsa(key);
        }
    }
}

/// A random prime of `bits` with its two top bits set, whose predecessor the public exponent doesn't divide.
fn prime<R: CryptoRng + ?Sized>(rng: &mut R, bits: u32) -> BoxedUint {
    let limb = NonZero::new(Limb::from(PUBLIC_EXPONENT)).expect("the exponent is not zero");
    loop {
        let sieve = SmallFactorsSieveFactory::new(Flavor::Any, bits, SetBits::TwoMsb)
            .expect("half of the least modulus is enough for the sieve");
        let found = sieve_and_find(rng, sieve, |_, candidate: &BoxedUint| {
            candidate.rem_limb(limb) != Limb::ONE && is_prime(Flavor::Any, candidate)
        });
        if let Ok(Some(prime)) = found {
            return prime;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_consistent_and_signs() {
        for bits in [1024, 1040, 2192] {
            let key = PrivateKey::generate(&mut rand::rng(), bits).unwrap();
            assert_eq!(key.public().bits(), bits);
            assert_eq!(key.public().exponent(), [1, 0, 1]);
            let signature = key.sign_unprefixed(b"a hash of twenty byt").unwrap();
            key.public()
                .verify_unprefixed(b"a hash of twenty byt", &signature)
                .unwrap();
            assert!(
                key.public()
                    .verify_unprefixed(b"another hash of 20 b", &signature)
                    .is_err()
            );
        }
    }

    #[test]
    fn odd_sizes_are_refused() {
        for bits in [0, 1008, 1030, MAX_BITS + 16] {
            assert_eq!(
                PrivateKey::generate(&mut rand::rng(), bits).unwrap_err(),
                KeyError::BitCount(bits)
            );
        }
    }
}
