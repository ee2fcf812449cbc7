//! Packets from the wire (ESP, in UDP too, AH, IPCOMP, IPIP) and packets to send, against SAs of every kind.
#![no_main]

use std::sync::Mutex;

use klipsd::home::UserHome;

static HOST: Mutex<Option<klips::Klips<UserHome>>> = Mutex::new(None);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut host = HOST.lock().expect("one thread");
    let klips = host.get_or_insert_with(|| klips::fuzz::host(&UserHome).expect("memory"));
    klips::fuzz::packets(&UserHome, klips, data);
});
