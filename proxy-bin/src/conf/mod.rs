//! nginx.conf, from bytes to a tree that is known to make sense.
//!
//! Read in this order: [`span`] (places in files) → [`lexer`] (words) → [`parser`] (directives and blocks) →
//! [`include`] (several files become one tree) → [`directive`] (what each directive may look like and where it may
//! stand; the validating walk) → [`value`] (sizes, times, flags) → [`lower`] (the typed configuration).
//! [`diagnostic`] is how all of them report.
//! Every stage returns its value *and* its findings, so one run reports all mistakes of a configuration.

pub mod diagnostic;
pub mod directive;
pub mod include;
pub mod lexer;
pub mod lower;
pub mod parser;
pub mod scope;
pub mod span;
pub mod tree;
pub mod value;

use std::path::Path;

use self::diagnostic::Diagnostic;
use self::include::Files;
use self::lower::{Environment, Lowered};
use self::span::Sources;

/// A configuration, read and compiled, with all that was found on the way.
#[derive(Debug)]
pub struct Compiled {
    /// The texts, e.g. for `-T`.
    pub sources: Sources,
    /// The result; only good if there are no errors.
    pub lowered: Lowered,
    /// What was found, in reading order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    /// Whether the result can be used.
    pub fn is_good(&self) -> bool {
        !diagnostic::has_errors(&self.diagnostics)
    }
}

/// Reads `main` (an absolute path) with all that it includes, checks it and compiles it. `globals` is the value of
/// `-g`.
pub fn compile(files: &dyn Files, main: &Path, globals: Option<&str>, env: &Environment<'_>) -> Compiled {
    let include::Loaded { sources, tree, mut diagnostics } = include::load(files, main, globals);
    let checked = directive::check(&tree, &sources, &mut diagnostics);
    let lowered = lower::lower(&checked, &sources, env, &mut diagnostics);
    diagnostic::arrange(&mut diagnostics);
    Compiled { sources, lowered, diagnostics }
}
