//! See `ringgate_fuzz::chunked`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::chunked::run(input));
