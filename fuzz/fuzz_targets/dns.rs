//! See `ringgate_fuzz::dns`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::dns::run(input));
