//! The ciphers, MACs and compression that the core's `Home` asks for, by RustCrypto and miniz_oxide.

pub mod cbc;
pub mod deflate;
pub mod mac;

pub use cbc::KeyedCipher;
pub use mac::KeyedMac;
