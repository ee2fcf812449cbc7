//! Frames of the control socket, as pluto and whack read them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (whack::frame::decode_request(data), whack::frame::decode_reply(data), whack::frame::read(&mut { data }));
});
