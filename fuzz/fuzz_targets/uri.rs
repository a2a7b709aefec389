//! See `ringgate_fuzz::uri`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::uri::run(input));
