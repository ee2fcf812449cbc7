//! RSA keys and `ipsec.secrets`: generation, RFC 3110 blobs (`0sAQ…`), key ids, and the file of secrets read, searched and written.
//!
//! Not here: what IKE signs (crate `ike`), and where keys come from in DNS (crate `ipsec-dns`).

pub mod data;
mod generate;
mod id;
mod private_key;
mod public_key;
pub mod secrets;

pub use generate::{DEFAULT_BITS, PUBLIC_EXPONENT};
pub use id::{Id, IdError};
pub use private_key::PrivateKey;
pub use public_key::{KeyError, MAX_BITS, MIN_BITS, PublicKey};
pub use secrets::{Place, Problem, Psk, Secrets};

/// Reads any bytes as an RFC 3110 key blob and as text data; for fuzzing.
pub fn fuzz_key(input: &[u8]) {
    if let Ok(key) = PublicKey::from_blob(input) {
        assert_eq!(PublicKey::from_blob(&key.to_blob()), Ok(key));
    }
    if let Ok(text) = core::str::from_utf8(input) {
        let _ = data::parse(text);
        let _ = Id::parse_literal(text);
    }
}

/// Reads any bytes as `ipsec.secrets`, without includes and name look-ups; for fuzzing.
pub fn fuzz_secrets(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (secrets, _) = Secrets::parse("fuzz", &text);
    let here = Id::any4();
    let _ = secrets.psk(&here, &here, Some(&Id::any4()));
    let _ = secrets.rsa(&here, &here);
}
