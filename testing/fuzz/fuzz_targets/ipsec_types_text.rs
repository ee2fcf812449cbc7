//! The text forms of subnets, ranges, SA ids, protocol and port, and key data.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| ipsec_types::fuzz(text));
