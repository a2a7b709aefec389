//! What the fuzz targets do with their input, and what must hold whatever it is.
//!
//! Each target is one module with a `run(input)`, which panics where a rule is broken. `fuzz_targets/` hands them
//! libFuzzer's inputs; `tests/golden/fuzz.rs` includes this file as a module and hands them the committed corpora.
//! An input begins with a few control bytes (limits, where to cut) and goes on with the bytes themselves, so that seeds
//! and findings can be read.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a target may panic: that is its verdict")]

pub mod chunked;
pub mod conf;
pub mod dns;
pub mod fastcgi;
pub mod h1_request;
pub mod h1_response;
pub mod h2_conn;
pub mod h2_frames;
pub mod h2_trunk;
pub mod hpack;
mod message;
mod pieces;
mod sites;
pub mod uri;
pub mod worker;
