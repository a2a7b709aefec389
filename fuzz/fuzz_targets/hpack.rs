//! See `ringgate_fuzz::hpack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::hpack::run(input));
