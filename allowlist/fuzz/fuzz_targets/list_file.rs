#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bulaq_allowlist::fuzzing::list_file(data));
