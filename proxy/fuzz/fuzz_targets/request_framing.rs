#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bulaq::fuzzing::request_framing(data));
