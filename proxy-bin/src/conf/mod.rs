//! nginx.conf, from bytes to a tree that is known to make sense.
//!
//! Read in this order: [`span`] (places in files) → [`lexer`] (words) → [`parser`] (directives and blocks) →
//! [`include`] (several files become one tree) → [`directive`] (what each directive may look like and where it may
//! stand; the validating walk) → [`value`] (sizes, times, flags). [`diagnostic`] is how all of them report.
//! Every stage returns its value *and* its findings, so one run reports all mistakes of a configuration.

pub mod diagnostic;
pub mod directive;
pub mod include;
pub mod lexer;
pub mod parser;
pub mod span;
pub mod tree;
pub mod value;
