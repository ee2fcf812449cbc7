//! The long computations of the exchanges as values: Diffie-Hellman and RSA. An exchange hands
//! a [`Job`] out and goes on with its [`JobResult`]; on which thread it runs is the driver's choice.

use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use rsa::{RsaPrivateKey, RsaPublicKey};
use zeroize::Zeroizing;

use super::error::Error;
use super::ident::Identity;
use crate::crypto::{DhKey, Group, Secret, sign_rsa, verify_rsa};

/// Randomness for a job, drawn when it is made.
type Seed = Zeroizing<[u8; 32]>;

/// A computation of a millisecond or more. Owns all it needs.
#[derive(Debug)]
pub struct Job(Kind);

enum Kind {
    KeyPair {
        group: Group,
        seed: Seed,
    },
    Agree {
        key: Arc<DhKey>,
        peer: Vec<u8>,
    },
    KeyPairAndAgree {
        group: Group,
        seed: Seed,
        peer: Vec<u8>,
    },
    Sign {
        key: Arc<RsaPrivateKey>,
        seed: Seed,
        hash: Vec<u8>,
    },
    Verify {
        keys: Vec<RsaPublicKey>,
        hash: Vec<u8>,
        signature: Vec<u8>,
    },
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyPair { .. } => "DH key pair",
            Self::Agree { .. } => "DH shared secret",
            Self::KeyPairAndAgree { .. } => "DH key pair and shared secret",
            Self::Sign { .. } => "RSA signature",
            Self::Verify { .. } => "RSA signature check",
        })
    }
}

/// What a [`Job`] computed, for the exchange that made it.
pub struct JobResult(Outcome);

enum Outcome {
    KeyPair(Arc<DhKey>),
    Shared(Result<Secret, Error>),
    Both(Arc<DhKey>, Result<Secret, Error>),
    Signature(Result<Vec<u8>, Error>),
    Verified {
        matched: Option<usize>,
        tried: usize,
    },
}

impl fmt::Debug for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobResult(..)")
    }
}

fn seed(rng: &mut dyn CryptoRng) -> Seed {
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut seed[..]);
    seed
}

impl Job {
    pub(super) fn key_pair(group: Group, rng: &mut dyn CryptoRng) -> Self {
        Self(Kind::KeyPair {
            group,
            seed: seed(rng),
        })
    }

    pub(super) fn agree(key: Arc<DhKey>, peer: Vec<u8>) -> Self {
        Self(Kind::Agree { key, peer })
    }

    pub(super) fn key_pair_and_agree(group: Group, peer: Vec<u8>, rng: &mut dyn CryptoRng) -> Self {
        Self(Kind::KeyPairAndAgree {
            group,
            seed: seed(rng),
            peer,
        })
    }

    pub(super) fn sign(key: Arc<RsaPrivateKey>, hash: Vec<u8>, rng: &mut dyn CryptoRng) -> Self {
        Self(Kind::Sign {
            key,
            seed: seed(rng),
            hash,
        })
    }

    pub(super) fn verify(keys: Vec<RsaPublicKey>, hash: Vec<u8>, signature: Vec<u8>) -> Self {
        Self(Kind::Verify {
            keys,
            hash,
            signature,
        })
    }

    /// What is computed, for the log.
    pub fn what(&self) -> &'static str {
        match self.0 {
            Kind::KeyPair { .. } => "DH key pair",
            Kind::Agree { .. } | Kind::KeyPairAndAgree { .. } => "DH shared secret",
            Kind::Sign { .. } => "RSA signature",
            Kind::Verify { .. } => "RSA signature check",
        }
    }

    /// Computes.
    pub fn run(self) -> JobResult {
        let pair =
            |group, seed: Seed| Arc::new(DhKey::generate(group, &mut StdRng::from_seed(*seed)));
        JobResult(match self.0 {
            Kind::KeyPair { group, seed } => Outcome::KeyPair(pair(group, seed)),
            Kind::Agree { key, peer } => Outcome::Shared(key.agree(&peer).map_err(Error::from)),
            Kind::KeyPairAndAgree { group, seed, peer } => {
                let key = pair(group, seed);
                let shared = key.agree(&peer).map_err(Error::from);
                Outcome::Both(key, shared)
            }
            Kind::Sign { key, seed, hash } => {
                let signed = sign_rsa(&key, &mut StdRng::from_seed(*seed), &hash);
                Outcome::Signature(signed.map_err(|_| Error::NoPrivateKey))
            }
            Kind::Verify {
                keys,
                hash,
                signature,
            } => Outcome::Verified {
                matched: keys
                    .iter()
                    .position(|key| verify_rsa(key, &hash, &signature).is_ok()),
                tried: keys.len(),
            },
        })
    }
}

/// A result handed to an exchange that did not ask for it; only a wrong driver does that.
const MIXED_UP: Error = Error::Header("computation was mixed up with another");

impl JobResult {
    pub(super) fn key_pair(self) -> Result<Arc<DhKey>, Error> {
        match self.0 {
            Outcome::KeyPair(key) => Ok(key),
            _ => Err(MIXED_UP),
        }
    }

    pub(super) fn shared(self) -> Result<Secret, Error> {
        match self.0 {
            Outcome::Shared(shared) => shared,
            _ => Err(MIXED_UP),
        }
    }

    pub(super) fn both(self) -> Result<(Arc<DhKey>, Secret), Error> {
        match self.0 {
            Outcome::Both(key, shared) => Ok((key, shared?)),
            _ => Err(MIXED_UP),
        }
    }

    pub(super) fn signature(self) -> Result<Vec<u8>, Error> {
        match self.0 {
            Outcome::Signature(signature) => signature,
            _ => Err(MIXED_UP),
        }
    }

    /// Which of the keys made the signature.
    pub(super) fn verified(self, id: &Identity) -> Result<usize, Error> {
        match self.0 {
            Outcome::Verified {
                matched: Some(key), ..
            } => Ok(key),
            Outcome::Verified {
                matched: None,
                tried,
            } => Err(Error::Signature {
                id: id.to_string(),
                tried,
            }),
            _ => Err(MIXED_UP),
        }
    }
}
