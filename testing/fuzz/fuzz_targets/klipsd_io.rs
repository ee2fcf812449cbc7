//! Frames from the TUN device, ICMP errors, ancillary data, deflate streams and lines of klips.ctl.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| klipsd::fuzz(data));
