//! ISAKMP messages, clear and decrypted, parsed and written back; what they say about NAT.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ike::wire::fuzz(data);
    ike::v1::fuzz_nat(data);
});
