//! The `ringgate` binary as a library, so that tests can reach its parts.
//!
//! Read in this order: [`cli`] (what was asked) → [`paths`] (where things are) → [`load`] (the configuration) →
//! [`privilege`], [`daemon`], [`pidfile`] and [`signal`] (the process). [`quick`] and [`demo`] need no configuration
//! file: they write one and run it.

pub mod cli;
pub mod conf;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod load;
pub mod paths;
pub mod pidfile;
pub mod privilege;
pub mod quick;
pub mod say;
pub mod signal;
pub mod version;
