//! ipsec.conf and policy groups: read, merged, converted, and every complaint rendered.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ipsec_conf::fuzz(data));
