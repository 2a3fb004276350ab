#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lighthouse_telemetry_tests::fuzz::journal(data));
