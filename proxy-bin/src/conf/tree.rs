//! The configuration as a tree of directives, before anybody knows what they mean.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::span::Span;

/// A directive's name or one of its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The value with quotes and escapes resolved; any bytes, as nginx allows.
    pub bytes: Vec<u8>,
    /// Where it stands, with its quotes.
    pub span: Span,
    /// Whether it was written in quotes.
    pub quoted: bool,
}

impl Arg {
    /// The value as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// Whether the value is exactly `text`.
    pub fn is(&self, text: &str) -> bool {
        self.bytes == text.as_bytes()
    }

    /// What follows `prefix`, as text, if the value starts with it.
    pub fn strip(&self, prefix: &str) -> Option<Cow<'_, str>> {
        self.bytes.strip_prefix(prefix.as_bytes()).map(String::from_utf8_lossy)
    }
}

/// One directive: `name args;` or `name args { block }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The name.
    pub name: Arg,
    /// The arguments behind the name.
    pub args: Vec<Arg>,
    /// The block, if it has one.
    pub block: Option<Block>,
    /// From the name to the `;` or `{`.
    pub span: Span,
}

impl Directive {
    /// The `;` or `{`: nginx counts lines from here.
    pub fn terminator(&self) -> Span {
        self.span.last_byte()
    }

    /// The directives in the block; none if there is no block.
    pub fn children(&self) -> &[Self] {
        self.block.as_ref().map_or(&[], |block| &block.items)
    }
}

/// What stands between `{` and `}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The directives in their order.
    pub items: Vec<Directive>,
    /// The `}` (or where it should have been).
    pub close: Span,
}

/// The tree as text, one directive a line, for tests and for people: `name "arg" … { }`.
pub fn dump(items: &[Directive]) -> String {
    let mut out = String::new();
    dump_level(items, 0, &mut out);
    out
}

fn dump_level(items: &[Directive], depth: usize, out: &mut String) {
    for item in items {
        let _ = write!(out, "{:indent$}{}", "", item.name.text().escape_debug(), indent = depth * 2);
        for arg in &item.args {
            let _ = write!(out, " {:?}", arg.text());
        }
        match &item.block {
            None => out.push('\n'),
            Some(block) => {
                out.push_str(" {\n");
                dump_level(&block.items, depth + 1, out);
                let _ = writeln!(out, "{:indent$}}}", "", indent = depth * 2);
            }
        }
    }
}
