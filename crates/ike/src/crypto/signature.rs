//! RSA signatures of phase 1 (RFC 2409 section 5.1): PKCS #1 v1.5 type 1 padding round the bare HASH_I or HASH_R, without
//! the DigestInfo that newer protocols put before it. Where keys come from is `ipsec-keys`' and the engine's business.

use rand::CryptoRng;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};

/// What can go wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The peer's signature is not the one its key makes over this hash.
    #[error(
        "signature does not match the peer's {bits}-bit public key: wrong key configured, or an impostor"
    )]
    Mismatch {
        /// Size of the key tried.
        bits: usize,
    },
    /// The peer's signature is not as long as its key.
    #[error(
        "signature of {found} octets, the peer's public key makes {expected}: wrong key configured"
    )]
    Length {
        /// Octets sent.
        found: usize,
        /// Octets of the modulus.
        expected: usize,
    },
    /// Our own key cannot sign (inconsistent parts, or too short).
    #[error("our private key cannot sign: its parts are inconsistent")]
    PrivateKey,
}

/// Signs HASH_I or HASH_R with blinding: a private-key operation of some milliseconds, so a job for a worker thread.
///
/// # Errors
/// [`SignatureError::PrivateKey`] if the key is inconsistent or shorter than the hash needs.
pub fn sign<R: CryptoRng + ?Sized>(
    key: &RsaPrivateKey,
    rng: &mut R,
    hash: &[u8],
) -> Result<Vec<u8>, SignatureError> {
    key.sign_with_rng(rng, Pkcs1v15Sign::new_unprefixed(), hash)
        .map_err(|_| SignatureError::PrivateKey)
}

/// Checks a peer's signature over HASH_I or HASH_R.
///
/// Peers that drop leading zero octets of the signature are understood.
///
/// # Errors
/// A signature that this key did not make over this hash.
pub fn verify(key: &RsaPublicKey, hash: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let expected = key.size();
    if signature.len() > expected || signature.len() + 8 < expected {
        return Err(SignatureError::Length {
            found: signature.len(),
            expected,
        });
    }
    let mut whole = vec![0; expected - signature.len()];
    whole.extend_from_slice(signature);
    key.verify(Pkcs1v15Sign::new_unprefixed(), hash, &whole)
        .map_err(|_| SignatureError::Mismatch { bits: expected * 8 })
}
