//! `ringgate lint`: what a configuration says that nobody means.
//!
//! nginx accepts each of these, and each has cost somebody an evening: a header that is lost, an address that can be
//! forged, a slash too few. A rule looks at the tree of directives as it is written, so that it also speaks about what
//! ringgate itself would refuse. Each finding has a place, the name of its rule and a remedy.
//!
//! [`scope`](crate::conf::scope) knows what holds at a place; the rules stand in [`proxying`], [`headers`] and [`trust`], one function
//! each.

mod headers;
mod proxying;
mod trust;

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::cli::Options;
use crate::conf::diagnostic::{self, Diagnostic, has_errors};
use crate::conf::directive;
use crate::conf::include::Loaded;
use crate::conf::scope::{self, Scope};
use crate::conf::span::{Sources, Span};
use crate::conf::tree::Directive;
use crate::say;
use crate::site::ConfSource;

/// One trap that the configuration steps into.
#[derive(Debug)]
pub struct Finding {
    /// The rule's name, for tools and for those who want to look it up.
    pub rule: &'static str,
    /// What, where, and what to do about it.
    pub diagnostic: Diagnostic,
}

impl Finding {
    fn new(rule: &'static str, span: Span, message: impl std::fmt::Display) -> Self {
        Self { rule, diagnostic: Diagnostic::warn(span, format!("{rule}: {message}")) }
    }

    fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.diagnostic.label(span, text);
        self
    }

    fn help(mut self, text: impl Into<String>) -> Self {
        self.diagnostic.help(text);
        self
    }
}

/// A rule looks at one place and says what it finds.
type Rule = fn(&Scope<'_>, &mut Vec<Finding>);

/// Every rule, in the order of the reading path.
const RULES: &[Rule] = &[
    proxying::forwarding_headers,
    proxying::host,
    proxying::trailing_slash,
    proxying::swallowed,
    proxying::connection_upgrade,
    proxying::streaming_timeout,
    proxying::wildcard_backend,
    headers::lost,
    headers::cors_twice,
    headers::injection,
    trust::alias_traversal,
    trust::real_ip_from_anyone,
    trust::forged_address,
    trust::shared_secrets_in_cache,
];

/// All findings of a tree, in reading order.
#[must_use]
pub fn lint(tree: &[Directive]) -> Vec<Finding> {
    let mut findings = Vec::new();
    scope::walk(tree, &mut |scope| RULES.iter().for_each(|rule| rule(scope, &mut findings)));
    findings.sort_by_key(|finding| finding.diagnostic.span.map(|span| (span.file, span.start)));
    findings.dedup_by(|a, b| {
        a.diagnostic.span == b.diagnostic.span && a.diagnostic.message == b.diagnostic.message
    });
    findings
}

/// Prints what is found: for people, or as JSON. Succeeds where nothing is.
#[must_use]
pub fn run(options: &Options, json: bool) -> ExitCode {
    let Loaded { sources, tree, mut diagnostics } = ConfSource::from_options(options).read();
    directive::check(&tree, &sources, &mut diagnostics);
    diagnostics.retain(|found| found.severity == diagnostic::Severity::Emerg);
    diagnostic::arrange(&mut diagnostics);
    let findings = lint(&tree);
    let colours = std::io::stderr().is_terminal();
    if !diagnostics.is_empty() {
        say::error(diagnostic::render(&diagnostics, &sources, colours).trim_end_matches('\n'));
    }
    if json {
        say::output(as_json(&findings, &sources).as_bytes());
    } else if findings.is_empty() {
        say::error("nginx: nothing found");
    } else {
        let found: Vec<_> = findings.iter().map(|finding| finding.diagnostic.clone()).collect();
        say::output(diagnostic::render(&found, &sources, std::io::stdout().is_terminal()).as_bytes());
    }
    if findings.is_empty() && !has_errors(&diagnostics) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One object for each finding: `rule`, `message`, `file`, `line`, `column`, `help`, `related`.
fn as_json(findings: &[Finding], sources: &Sources) -> String {
    let place = |span: Option<Span>| {
        let Some(span) = span else { return (None, None, None) };
        let position = sources.start(span);
        let file =
            sources.file(span.file).and_then(|file| file.path()).map(|path| path.display().to_string());
        (file, Some(position.line), Some(position.column))
    };
    let objects = findings.iter().map(|finding| {
        let found = &finding.diagnostic;
        let related = found.labels.iter().map(|(span, text)| {
            let (file, line, column) = place(Some(*span));
            serde_json::json!({ "file": file, "line": line, "column": column, "message": text })
        });
        let message = found.message.strip_prefix(finding.rule).unwrap_or(&found.message);
        let (file, line, column) = place(found.span);
        serde_json::json!({
            "rule": finding.rule,
            "message": message.trim_start_matches(": "),
            "file": file,
            "line": line,
            "column": column,
            "help": found.helps,
            "related": related.collect::<serde_json::Value>(),
        })
    });
    let list: serde_json::Value = objects.collect();
    format!("{list:#}\n")
}
