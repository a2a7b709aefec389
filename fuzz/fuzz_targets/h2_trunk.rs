//! See `ringgate_fuzz::h2_trunk`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::h2_trunk::run(input));
