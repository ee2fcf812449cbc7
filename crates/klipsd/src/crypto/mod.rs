//! The ciphers, MACs and compression that the core's `Home` asks for, by ring, RustCrypto and miniz_oxide.

pub mod aead;
pub mod cbc_mac;
pub mod cipher;
pub mod deflate;
pub mod mac;

pub use aead::KeyedAead;
pub use cipher::KeyedCipher;
pub use mac::KeyedMac;
