//! Cryptography of IKEv1: tables of ciphers, hashes, groups and IPsec algorithms, Diffie-Hellman, RFC 2409's key
//! schedule, RSA signatures. No messages and no policy here. The primitives come from RustCrypto.

mod cipher;
mod esp;
mod group;
mod hash;
mod names;
mod schedule;
mod secret;
mod signature;
#[cfg(test)]
mod tests;

pub use cipher::{Cipher, CipherError, CipherRefusal};
pub use esp::{AuthAlg, EspCipher, EspRefusal, IPCOMP_DEFLATE};
pub use group::{DhError, DhKey, Group, check_public};
pub use hash::Hash;
pub use names::Standing;
pub(crate) use names::canonical;
pub use schedule::{Iv, KeymatFor, Phase1Keys, Transcript, skeyid_psk, skeyid_signature};
pub use secret::{Secret, ct_eq};
pub use signature::{SignatureError, sign as sign_rsa, verify as verify_rsa};
