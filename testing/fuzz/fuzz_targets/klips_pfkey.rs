//! PF_KEY requests against the tables of a host.
#![no_main]

use klipsd::home::UserHome;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut klips = klips::fuzz::host(&UserHome).expect("memory");
    klips::fuzz::pfkey(&UserHome, &mut klips, data);
});
