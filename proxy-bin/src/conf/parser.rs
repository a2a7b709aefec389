//! Tokens to directives, with nginx's messages and with recovery.
//!
//! Every text gives a tree: after a mistake the parser does what its writer most likely meant (a missing `;` before
//! `}` ends the directive, a missing `}` at the end closes the block), so that the mistakes behind it are found too
//! and nothing is reported twice.

use super::diagnostic::Diagnostic;
use super::lexer::{Error, ErrorKind, Lexer, Token};
use super::span::{FileId, Span};
use super::tree::{Arg, Block, Directive};

/// Blocks may be nested this deep at most; nginx has no bound, but no configuration comes near.
pub const BLOCK_DEPTH_MAX: usize = 100;

/// What a text is, which decides about blocks and about the wording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// A configuration file.
    File,
    /// The value of `-g`: directives without blocks.
    CommandLine,
}

/// Parses one text; returns the tree and all syntax errors, in order.
pub fn parse(file: FileId, bytes: &[u8], kind: TextKind) -> (Vec<Directive>, Vec<Diagnostic>) {
    let mut lexer = Lexer::new(file, bytes);
    let mut parser = Parser::new(kind);
    for token in lexer.by_ref() {
        match token {
            Token::Word(word) => parser.words.push(word),
            Token::End(span) => parser.end(span),
            Token::Open(span) => parser.open(span),
            Token::Close(span) => parser.close(span),
            Token::Error(error) => parser.lexical(error),
        }
    }
    parser.finish(lexer.end())
}

/// A block that is still open.
struct Open {
    /// `None` for a `{` without a name, whose contents are checked and dropped, and for blocks nested too deep.
    head: Option<(Arg, Vec<Arg>)>,
    span: Span,
    items: Vec<Directive>,
}

struct Parser {
    kind: TextKind,
    words: Vec<Arg>,
    stack: Vec<Open>,
    items: Vec<Directive>,
    diagnostics: Vec<Diagnostic>,
    /// A lexical error spoilt the directive at hand: it is dropped, for its arguments are not what was meant.
    spoilt: bool,
    /// Blocks open beyond [`BLOCK_DEPTH_MAX`]; they are not built.
    too_deep: usize,
}

impl Parser {
    fn new(kind: TextKind) -> Self {
        Self {
            kind,
            words: Vec::new(),
            stack: Vec::new(),
            items: Vec::new(),
            diagnostics: Vec::new(),
            spoilt: false,
            too_deep: 0,
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.diagnostics.push_mut(Diagnostic::emerg(span, message))
    }

    /// Takes the words of the directive that ends now.
    fn head(&mut self) -> Option<(Arg, Vec<Arg>)> {
        let mut words = std::mem::take(&mut self.words).into_iter();
        let name = words.next()?;
        Some((name, words.collect()))
    }

    fn push(&mut self, directive: Directive) {
        if std::mem::take(&mut self.spoilt) || self.too_deep > 0 {
            return;
        }
        match self.stack.last_mut() {
            Some(open) => open.items.push(directive),
            None => self.items.push(directive),
        }
    }

    fn end(&mut self, terminator: Span) {
        match self.head() {
            Some((name, args)) => {
                let span = name.span.to(terminator);
                self.push(Directive { name, args, block: None, span });
            }
            None if std::mem::take(&mut self.spoilt) => {}
            None => {
                self.error(terminator, "unexpected \";\"");
            }
        }
    }

    fn open(&mut self, brace: Span) {
        let head = self.head();
        let spoilt = std::mem::take(&mut self.spoilt);
        if head.is_none() && !spoilt {
            self.error(brace, "unexpected \"{\"").help("a block starts with a name, as in `server {`");
        }
        if self.kind == TextKind::CommandLine {
            self.error(brace, "block directives are not supported in -g option");
        }
        if self.stack.len() >= BLOCK_DEPTH_MAX {
            if self.too_deep == 0 {
                self.error(brace, format!("blocks are nested deeper than {BLOCK_DEPTH_MAX} levels"));
            }
            self.too_deep += 1;
            return;
        }
        let span = head.as_ref().map_or(brace, |(name, _)| name.span.to(brace));
        self.stack.push(Open { head: head.filter(|_| !spoilt), span, items: Vec::new() });
    }

    fn close(&mut self, brace: Span) {
        if let Some(last) = self.words.last() {
            let behind = last.span;
            self.error(brace, "unexpected \"}\"")
                .label(behind, "a \";\" is missing after this")
                .help("every directive ends in \";\"; a \"}\" may only stand where a directive could start");
            self.end(behind);
        }
        self.spoilt = false;
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        match self.stack.pop() {
            Some(open) => self.close_block(open, brace),
            None => {
                self.error(brace, "unexpected \"}\"")
                    .help("no block is open here: there is one \"}\" too many");
            }
        }
    }

    fn close_block(&mut self, open: Open, close: Span) {
        let Some((name, args)) = open.head else { return };
        let block = Some(Block { items: open.items, close });
        self.push(Directive { name, args, block, span: open.span });
    }

    fn lexical(&mut self, error: Error) {
        self.spoilt = true;
        match error.kind {
            ErrorKind::AfterQuote(byte) => {
                self.error(error.span, format!("unexpected \"{}\"", (byte as char).escape_debug())).help(
                    "only white space, \";\" or \"{\" may follow a closing quote; quote the whole argument instead",
                );
            }
            ErrorKind::OpenQuote(quote) => {
                let quote = quote as char;
                self.error(error.span, "unexpected end of file, expecting \";\" or \"}\"")
                    .anchor_at_end()
                    .help(format!("the {quote} that opens here is never closed"));
                self.words.clear();
            }
            ErrorKind::TooLong(Some(quote)) => {
                let quote = quote as char;
                let message =
                    format!("too long parameter, probably missing terminating \"{quote}\" character");
                self.error(error.span, message);
            }
            ErrorKind::TooLong(None) => {
                self.error(error.span, "too long parameter");
            }
        }
    }

    fn finish(mut self, end: Span) -> (Vec<Directive>, Vec<Diagnostic>) {
        if let Some(last) = self.words.last() {
            let behind = last.span;
            let message = match self.kind {
                TextKind::File => "unexpected end of file, expecting \";\" or \"}\"",
                TextKind::CommandLine => "unexpected end of parameter, expecting \";\"",
            };
            self.error(behind, message).anchor(end).help("a \";\" is missing after this");
            self.end(behind);
        } else if !self.spoilt
            && let Some(open) = self.stack.last()
        {
            let span = open.span;
            self.error(span, "unexpected end of file, expecting \"}\"")
                .anchor(end)
                .help("the block that opens here is never closed");
        }
        self.too_deep = 0;
        while let Some(open) = self.stack.pop() {
            self.close_block(open, end);
        }
        (self.items, self.diagnostics)
    }
}
