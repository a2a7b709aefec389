//! See `ringgate_fuzz::worker`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::worker::run(input));
