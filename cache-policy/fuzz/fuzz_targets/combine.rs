#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bulaq_cache_policy::fuzzing::combine(data));
