//! TXT, KEY and IPSECKEY records, names and gateways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ipsec_dns::fuzz_records(data));
