//! See `ringgate_fuzz::conf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::conf::run(input));
