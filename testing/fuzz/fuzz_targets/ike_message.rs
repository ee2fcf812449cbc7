//! ISAKMP messages, clear and decrypted, parsed and written back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ike::wire::fuzz(data));
