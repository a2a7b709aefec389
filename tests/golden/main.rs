//! Golden tests: tables of inputs and what must come of them, as files beside this one.
//!
//! [`cases`] reads files of byte strings and compares what comes out; `GOLDEN_BLESS=1 cargo test --test golden` writes
//! that into the files instead. Read the difference before you commit it.

mod cases;
mod content;
mod dns;
mod dynamic;
mod fastcgi;
mod fuzz;
mod h1;
mod h2;
mod h2_out;
mod limits;
mod route;
mod trailers;
