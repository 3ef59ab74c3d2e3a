#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::script_name_prefix(data));
