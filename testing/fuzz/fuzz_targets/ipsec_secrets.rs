//! ipsec.secrets and the look-up in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ipsec_keys::fuzz_secrets(data));
