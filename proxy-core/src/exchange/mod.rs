//! One request and its reply.

pub mod facts;

pub use facts::{ConnFacts, Facts, Reply, Try};
