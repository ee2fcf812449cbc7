//! RFC 3110 key blobs, text data and identities.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ipsec_keys::fuzz_key(data));
