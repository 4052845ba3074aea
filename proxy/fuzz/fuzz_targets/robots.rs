#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bulaq::fuzzing::robots(data));
