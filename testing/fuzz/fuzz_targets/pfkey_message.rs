//! PF_KEY messages, as requests and as answers, with every accessor.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pfkey::fuzz(data));
