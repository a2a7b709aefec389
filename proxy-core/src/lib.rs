//! The sans-IO core (see the README for the map).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
