//! The walk that checks a tree against the table: names, places, blocks, argument counts, repetitions.
//!
//! It gives back the part of the tree that passed, each directive with its entry, so that what comes next (lowering)
//! can go on in spite of mistakes elsewhere.

use std::collections::HashMap;

use super::{Body, Contexts, Entry, Support, all, lookup};
use crate::conf::diagnostic::{Diagnostic, Severity, has_errors, nearest};
use crate::conf::span::Sources;
use crate::conf::tree::Directive;
use crate::conf::value::Field;

/// A directive that may stand where it stands.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The directive.
    pub directive: &'a Directive,
    /// Its entry.
    pub entry: &'static Entry,
    /// What its block holds; empty for free blocks, whose lines are the directive's own business.
    pub children: Vec<Self>,
}

/// Checks a whole tree.
pub fn check<'a>(
    tree: &'a [Directive],
    sources: &Sources,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Checked<'a>> {
    // A syntax error may have swallowed anything.
    let whole = !has_errors(diagnostics);
    let mut checker = Checker { sources, diagnostics, tuned: Vec::new() };
    let checked = checker.level(tree, Contexts::MAIN, false);
    if whole && !tree.iter().any(|directive| directive.name.is("events")) {
        let message = "no \"events\" section in configuration";
        checker
            .diagnostics
            .push_mut(Diagnostic::new(Severity::Emerg, None, message))
            .help("`events {}` is enough");
    }
    let tuned = std::mem::take(&mut checker.tuned);
    for (first, count) in tuned {
        checker.say_tunes(first, count);
    }
    checked
}

struct Checker<'s> {
    sources: &'s Sources,
    diagnostics: &'s mut Vec<Diagnostic>,
    /// Directives without effect: the first of each name and how many there are.
    tuned: Vec<(&'s Directive, usize)>,
}

impl<'a: 's, 's> Checker<'s> {
    /// `muted`: inside a block that is unsupported as a whole, which has been said.
    fn level(&mut self, items: &'a [Directive], context: Contexts, muted: bool) -> Vec<Checked<'a>> {
        let mut first_of: HashMap<&'static str, &'a Directive> = HashMap::new();
        let mut checked = Vec::new();
        for directive in items {
            let Some(entry) = self.entry(directive, context) else { continue };
            if !self.shape(directive, entry, context) {
                continue;
            }
            if let Some(first) = first_of.insert(entry.name, directive)
                && !entry.repeats
            {
                let message = format!("\"{}\" directive is duplicate", entry.name);
                self.error(directive, message).label(first.span, "first here");
                continue;
            }
            let honoured = muted || self.support(directive, entry);
            let children = match entry.body {
                Body::Block(inner) => self.level(directive.children(), inner, muted || !honoured),
                Body::Free | Body::None => Vec::new(),
            };
            if honoured && !muted {
                checked.push(Checked { directive, entry, children });
            }
        }
        checked
    }

    fn error(&mut self, directive: &Directive, message: impl Into<String>) -> &mut Diagnostic {
        let mut diagnostic = Diagnostic::emerg(directive.name.span, message);
        diagnostic.anchor(directive.terminator());
        self.diagnostics.push_mut(diagnostic)
    }

    /// Finds the entry for this name in this context.
    fn entry(&mut self, directive: &Directive, context: Contexts) -> Option<&'static Entry> {
        let name = directive.name.text();
        let entries = lookup(&name);
        if let Some(entry) = entries.iter().find(|entry| entry.contexts.intersects(context)) {
            return Some(entry);
        }
        if entries.is_empty() {
            let here = all().filter(|entry| entry.contexts.intersects(context));
            let suggestion = nearest(&name, here.map(|entry| entry.name))
                .or_else(|| nearest(&name, all().map(|entry| entry.name)));
            let diagnostic = self.error(directive, format!("unknown directive \"{name}\""));
            if let Some(suggestion) = suggestion {
                diagnostic.help(format!("did you mean \"{suggestion}\"?"));
            }
            return None;
        }
        let places: Vec<_> = entries.iter().map(|entry| entry.contexts.names()).collect();
        self.error(directive, format!("\"{name}\" directive is not allowed here"))
            .help(format!("it may stand in: {}", places.join(", ")));
        None
    }

    /// Block or not, and the number of arguments.
    fn shape(&mut self, directive: &Directive, entry: &Entry, context: Contexts) -> bool {
        let name = entry.name;
        if entry.body == Body::None && directive.block.is_some() {
            self.error(directive, format!("directive \"{name}\" is not terminated by \";\""));
            return false;
        }
        if entry.body != Body::None && directive.block.is_none() {
            self.error(directive, format!("directive \"{name}\" has no opening \"{{\""));
            return false;
        }
        if !entry.arity.accepts(directive.args.len()) {
            let forgotten = self.forgotten_semicolon(directive, context);
            let message = format!("invalid number of arguments in \"{name}\" directive");
            let diagnostic = self.error(directive, message);
            diagnostic.help(format!(
                "\"{name}\" takes {}, {} given",
                entry.arity.describe(),
                directive.args.len()
            ));
            if let Some(span) = forgotten {
                diagnostic.label(span, "a directive starts here: is a \";\" missing before it?");
            }
            return false;
        }
        if entry.arity.is_flag()
            && let Some(arg) = directive.args.first()
            && let Err(diagnostic) = Field::new(directive, arg).flag()
        {
            self.diagnostics.push(*diagnostic);
            return false;
        }
        true
    }

    /// The first argument that begins a line and is the name of a directive that could stand here.
    fn forgotten_semicolon(
        &self,
        directive: &Directive,
        context: Contexts,
    ) -> Option<crate::conf::span::Span> {
        let mut line = self.sources.line(directive.name.span);
        for arg in &directive.args {
            let start = self.sources.line(arg.span);
            let here = |entry: &&Entry| entry.contexts.intersects(context);
            if start != line && lookup(&arg.text()).iter().any(here) {
                return Some(arg.span);
            }
            line = self.sources.end(arg.span).line;
        }
        None
    }

    /// Says what is not honoured; `false` if it must not count.
    fn support(&mut self, directive: &'a Directive, entry: &'static Entry) -> bool {
        let off = directive.args.first().is_some_and(|arg| arg.is("off") || arg.is("0"));
        match entry.support {
            Support::Works => true,
            Support::OffOnly if off => false,
            Support::Tunes => {
                match self.tuned.iter_mut().find(|(first, _)| first.name.bytes == directive.name.bytes) {
                    Some((_, count)) => *count += 1,
                    None => self.tuned.push((directive, 1)),
                }
                false
            }
            Support::Unsupported | Support::OffOnly => {
                let message = format!(
                    "\"{}\" directive is known to nginx but ringgate does not support it yet",
                    entry.name
                );
                self.error(directive, message);
                false
            }
        }
    }

    fn say_tunes(&mut self, first: &Directive, count: usize) {
        let message =
            format!("\"{}\" directive is accepted but has no effect in ringgate", first.name.text());
        let mut diagnostic = Diagnostic::notice(first.name.span, message);
        diagnostic.anchor(first.terminator());
        if count > 1 {
            diagnostic.help(format!("it stands in {count} places; this is the first"));
        }
        self.diagnostics.push(diagnostic);
    }
}
