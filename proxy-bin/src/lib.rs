//! The `ringgate` binary as a library, so that tests can reach its parts.
//!
//! Read in this order: [`cli`] (what was asked) → [`paths`] (where things are) → [`quick`] and [`demo`], which need no
//! configuration file: they write one and run it.

pub mod cli;
pub mod demo;
pub mod paths;
pub mod quick;
pub mod say;
pub mod version;
