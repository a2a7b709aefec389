//! See `ringgate_fuzz::fastcgi`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringgate_fuzz::fastcgi::run(input));
