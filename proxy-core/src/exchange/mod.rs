//! One request and its reply.

pub mod facts;

pub use facts::{ConnFacts, DynamicTarget, Facts, Reply, Try};
