#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bulaq::fuzzing::client_hello(data));
