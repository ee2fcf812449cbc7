//! The private half: checked when taken in, wiped when dropped, and never printed but into the file of secrets.

use crate::public_key::{bit_length, trim};
use crate::{KeyError, PublicKey};
use core::fmt;
use rsa::BoxedUint;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use zeroize::Zeroizing;

/// An RSA private key whose numbers are known to fit together.
#[derive(Clone)]
pub struct PrivateKey {
    public: PublicKey,
    key: rsa::RsaPrivateKey,
}

/// The numbers of a private key, big-endian; the last three may be left out, and are checked when given.
#[derive(Default)]
pub struct PrivateNumbers {
    /// n = p·q.
    pub modulus: Zeroizing<Vec<u8>>,
    /// e.
    pub public_exponent: Zeroizing<Vec<u8>>,
    /// d, the inverse of e modulo lcm(p-1, q-1).
    pub private_exponent: Zeroizing<Vec<u8>>,
    /// p.
    pub prime1: Zeroizing<Vec<u8>>,
    /// q.
    pub prime2: Zeroizing<Vec<u8>>,
    /// d mod (p-1).
    pub exponent1: Option<Zeroizing<Vec<u8>>>,
    /// d mod (q-1).
    pub exponent2: Option<Zeroizing<Vec<u8>>>,
    /// The inverse of q modulo p.
    pub coefficient: Option<Zeroizing<Vec<u8>>>,
}

impl PrivateKey {
    /// Takes a key apart into its numbers and checks that they agree: n = p·q, d·e = 1, and the CRT values.
    pub fn from_numbers(numbers: &PrivateNumbers) -> Result<Self, KeyError> {
        let public = PublicKey::new(&numbers.modulus, &numbers.public_exponent)?;
        let bits = public.bits();
        let number = |bytes: &[u8]| -> Result<BoxedUint, KeyError> {
            let bytes = trim(bytes);
            if bit_length(bytes) > bits {
                return Err(KeyError::Inconsistent(
                    "a number is longer than the modulus",
                ));
            }
            Ok(BoxedUint::from_be_slice_vartime(bytes))
        };
        let (p, q) = (number(&numbers.prime1)?, number(&numbers.prime2)?);
        let widest = bit_length(trim(&numbers.prime1)).max(bit_length(trim(&numbers.prime2)));
        let n = number(&numbers.modulus)?;
        let e = number(&numbers.public_exponent)?;
        let d = number(&numbers.private_exponent)?;
        let key = if widest > bits.div_ceil(2) {
            rsa::RsaPrivateKey::from_components_with_wide_primes(n, e, d, vec![p, q])
        } else {
            rsa::RsaPrivateKey::from_components(n, e, d, vec![p, q])
        };
        let key = Self {
            public,
            key: key.map_err(explain)?,
        };
        key.check_crt(numbers)?;
        Ok(key)
    }

    pub(crate) fn from_rsa(key: rsa::RsaPrivateKey) -> Result<Self, KeyError> {
        let public = PublicKey::new(&key.n_bytes(), &key.e_bytes())?;
        Ok(Self { public, key })
    }

    fn check_crt(&self, numbers: &PrivateNumbers) -> Result<(), KeyError> {
        let own = self.numbers();
        let checks = [
            (
                &numbers.exponent1,
                &own.exponent1,
                "Exponent1 is not PrivateExponent mod (Prime1 - 1)",
            ),
            (
                &numbers.exponent2,
                &own.exponent2,
                "Exponent2 is not PrivateExponent mod (Prime2 - 1)",
            ),
            (
                &numbers.coefficient,
                &own.coefficient,
                "Coefficient is not the inverse of Prime2 mod Prime1",
            ),
        ];
        for (given, own, complaint) in checks {
            if let (Some(given), Some(own)) = (given, own)
                && trim(given) != trim(own)
            {
                return Err(KeyError::Inconsistent(complaint));
            }
        }
        Ok(())
    }

    /// All the numbers, for writing them out.
    pub fn numbers(&self) -> PrivateNumbers {
        let bytes = |n: &BoxedUint| Zeroizing::new(n.to_be_bytes_trimmed_vartime().into_vec());
        let prime = |i: usize| {
            self.key
                .primes()
                .get(i)
                .map(|p| bytes(p.as_ref()))
                .unwrap_or_default()
        };
        PrivateNumbers {
            modulus: bytes(self.key.n().as_ref()),
            public_exponent: bytes(self.key.e()),
            private_exponent: bytes(self.key.d()),
            prime1: prime(0),
            prime2: prime(1),
            exponent1: self.key.dp().map(bytes),
            exponent2: self.key.dq().map(bytes),
            coefficient: self.key.crt_coefficient().as_ref().map(bytes),
        }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key in the form of crate `rsa`.
    pub fn rsa(&self) -> &rsa::RsaPrivateKey {
        &self.key
    }

    /// Makes an IKEv1 signature (RFC 2409 section 5.1): PKCS #1 v1.5 padding around the bare hash, blinded.
    pub fn sign_unprefixed(&self, hash: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key
            .sign_with_rng(&mut rand::rng(), rsa::Pkcs1v15Sign::new_unprefixed(), hash)
            .map_err(|_| KeyError::Signature)
    }
}

fn explain(error: rsa::Error) -> KeyError {
    KeyError::Inconsistent(match error {
        rsa::Error::InvalidModulus => "Modulus is not Prime1 times Prime2",
        rsa::Error::InvalidPrime => "Prime1 or Prime2 is no prime of this key",
        rsa::Error::InvalidExponent => {
            "PrivateExponent is not the inverse of PublicExponent mod lcm(Prime1 - 1, Prime2 - 1)"
        }
        _ => "the numbers do not belong together",
    })
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PrivateKey({}, {} bits)",
            self.public.key_id(),
            self.public.bits()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_number_is_found() {
        let key = PrivateKey::generate(&mut rand::rng(), 1024).unwrap();
        assert!(PrivateKey::from_numbers(&key.numbers()).is_ok());
        let spoil: [fn(&mut PrivateNumbers); 8] = [
            |n| n.modulus[5] ^= 1,
            |n| n.public_exponent[0] = 5,
            |n| n.private_exponent[9] ^= 1,
            |n| n.prime1[9] ^= 1,
            |n| n.prime2[9] ^= 1,
            |n| n.exponent1.as_mut().unwrap()[9] ^= 1,
            |n| n.exponent2.as_mut().unwrap()[9] ^= 1,
            |n| n.coefficient.as_mut().unwrap()[9] ^= 1,
        ];
        for (i, spoil) in spoil.iter().enumerate() {
            let mut numbers = key.numbers();
            spoil(&mut numbers);
            assert!(
                PrivateKey::from_numbers(&numbers).is_err(),
                "spoiled number {i} passed"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = PrivateKey::generate(&mut rand::rng(), 1024).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(
            shown,
            format!("PrivateKey({}, 1024 bits)", key.public().key_id())
        );
    }
}
