//! SA payloads, offered to and answering our policies in both phases, and `ike=`, `esp=` and `ah=` lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ike::proposal::fuzz(data));
