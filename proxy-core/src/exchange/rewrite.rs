//! The rewrite module: a level's `return`, `rewrite`, `set`, `if` and `break`, run in order.
//!
//! A program runs until it ends, answers the request, or asks whether a file exists; then the exchange waits in
//! [`Stage::File`] and the program goes on where it stopped. What follows depends on the level:
//!
//! ```text
//! server's program ─► find the location ─► location's program ─┬─► access, content
//!                        ▲                                     │
//!                        └────────── the URI changed ──────────┘   at most 10 times
//! ```
//! Reference: nginx's ngx_http_rewrite_module and ngx_http_script.c.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::context::{Context, Generation};
use super::{Exchange, Stage};
use crate::buf::Chunk;
use crate::command::{FileInfo, FileKind, IoError, Level};
use crate::config::{
    Condition, FileTest, Flag, LocationId, Piece, RewriteLine, RewriteOp, SetTarget, Template, Variable,
};
use crate::conn::Link;
use crate::content::files::{Purpose, shown};
use crate::http::Status;
use crate::route::{Regex, escape_args};
use crate::trace::{Outcome, Step};

/// A program that runs, or waits for a file.
#[derive(Debug, Default)]
pub(crate) struct RewriteRun {
    level: ProgramOf,
    /// The next operation at each depth: the program itself, then the `if` blocks that it is inside of.
    next: SmallVec<[usize; 2]>,
    /// Whether a location must be looked for again.
    uri_changed: bool,
    /// Whether captures are escaped wherever they go: so it is, oddly, until the first `rewrite` has matched.
    quote: bool,
}

/// Whose program it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ProgramOf {
    #[default]
    Server,
    Location(LocationId),
}

/// What an operation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The next one.
    Next,
    /// The program ends here.
    Stop,
    /// The request is answered, or waits.
    Handled,
}

impl Exchange {
    /// Runs the server's program, and what follows it.
    pub(crate) fn rewrite_server(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        self.begin_program(ProgramOf::Server);
        self.run_program(generation, link, ctx);
    }

    /// Runs the program of the location that was found, and what follows it.
    pub(crate) fn rewrite_location_level(
        &mut self,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        self.begin_program(ProgramOf::Location(self.facts.location));
        self.run_program(generation, link, ctx);
    }

    fn begin_program(&mut self, level: ProgramOf) {
        self.rewrite = RewriteRun { level, next: SmallVec::from_elem(0, 1), uri_changed: false, quote: true };
    }

    fn run_program(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        // Bounded by the program's length: it has no jumps back.
        while let Some(line) = self.rewrite.next_line(self.rewrite.program(self, generation)) {
            let after = self.run_op(line, generation, link, ctx);
            self.warn_of_uninitialized("", ctx);
            match after {
                After::Next => {}
                After::Stop => break,
                After::Handled => return,
            }
        }
        self.leave_program(generation, link, ctx);
    }

    fn leave_program(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        if self.rewrite.level == ProgramOf::Server {
            return self.find_location(generation, link, ctx);
        }
        if !self.rewrite.uri_changed {
            return self.after_rewrite(generation, link, ctx);
        }
        if self.redirects_left == 0 {
            self.log_cycle("processing", ctx);
            return self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
        }
        self.redirects_left -= 1;
        self.enter_server_level(generation);
        self.find_location(generation, link, ctx);
    }

    fn run_op(
        &mut self,
        line: &RewriteLine,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> After {
        match &line.op {
            RewriteOp::Return { status, text } => {
                line.note(ctx, || Outcome::Answered(*status));
                self.respond_return(*status, text.as_ref(), generation, link, ctx);
                After::Handled
            }
            RewriteOp::Rewrite { regex, replacement, drop_args, flag } => {
                let captures = regex.captures(&self.facts.uri);
                self.log_match(regex, &self.facts.uri, captures.is_some(), generation, ctx);
                let Some(captures) = captures else {
                    self.facts.captures.replace(None);
                    line.note(ctx, || Outcome::NoMatch);
                    return After::Next;
                };
                self.facts.set_captures(regex, captures);
                if let Flag::Redirect(status) = flag {
                    line.note(ctx, || Outcome::Answered(*status));
                    self.rewrite_redirect(*status, replacement, *drop_args, generation, link, ctx);
                    return After::Handled;
                }
                let after = self.rewrite_uri(replacement, *drop_args, *flag, generation, link, ctx);
                line.note(ctx, || Outcome::Rewritten {
                    uri: self.facts.uri.to_vec(),
                    args: self.facts.args.to_vec(),
                });
                after
            }
            RewriteOp::Set { target, value } => {
                let value = self.script_value(value, generation, ctx);
                line.note(ctx, || Outcome::Set(value.clone()));
                self.set(*target, value, ctx);
                After::Next
            }
            RewriteOp::If { condition: Condition::File { path, .. }, .. } => {
                let path = self.script_value(path, generation, ctx);
                line.note(ctx, || Outcome::Asks(path.clone()));
                self.look_up(Purpose::Condition, path, link, ctx);
                After::Handled
            }
            RewriteOp::If { condition, location, .. } => {
                let holds = self.holds(condition, generation, ctx);
                line.note(ctx, || Outcome::If(holds));
                if holds {
                    self.enter_if(*location);
                }
                After::Next
            }
            RewriteOp::Break => {
                line.note(ctx, || Outcome::Break);
                self.rewrite.uri_changed = false;
                After::Stop
            }
        }
    }

    /// Goes on inside an `if` block, whose own level handles the request from here on. A server's block has no level
    /// that could: the location is yet to be found.
    fn enter_if(&mut self, location: LocationId) {
        if self.rewrite.level != ProgramOf::Server {
            self.facts.location = location;
        }
        self.rewrite.next.push(0);
    }

    /// The file that `if` asked about was looked at: the program goes on.
    pub(crate) fn resume_program(
        &mut self,
        found: Result<FileInfo, IoError>,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let generation = Rc::clone(&self.generation);
        let waiting = self.rewrite.present_line(self.rewrite.program(self, &generation));
        if let Some(line) = waiting
            && let RewriteOp::If { condition: Condition::File { test, negated, .. }, location, .. } = &line.op
        {
            if let Err(error) = found.as_ref()
                && !error.is_absence()
            {
                let text = alloc::format!("open() \"{}\" failed ({error})", self.file.shown_path());
                self.log_error(Level::Crit, &text, ctx);
            }
            let holds = found.is_ok_and(|info| test.holds(info)) != *negated;
            line.note(ctx, || Outcome::If(holds));
            if holds {
                self.enter_if(*location);
            }
        }
        self.stage = Stage::Phases;
        self.run_program(&generation, link, ctx);
    }

    fn holds(&mut self, condition: &Condition, generation: &Generation, ctx: &mut Context) -> bool {
        match condition {
            Condition::Truthy(value) => {
                let value = self.script_value(value, generation, ctx);
                !value.is_empty() && value != b"0"
            }
            Condition::Equals { value, with, negated } => {
                let same =
                    self.script_value(value, generation, ctx) == self.script_value(with, generation, ctx);
                same != *negated
            }
            Condition::Matches { value, regex, negated } => {
                let subject = Chunk::from_vec(self.script_value(value, generation, ctx));
                let matches = self.matches(regex, &subject);
                self.log_match(regex, &subject, matches, generation, ctx);
                matches != *negated
            }
            // Answered by the driver, in `resume_program`.
            Condition::File { .. } => false,
        }
    }

    fn matches(&mut self, regex: &Regex, subject: &Chunk) -> bool {
        match regex.captures(subject) {
            Some(captures) => {
                self.facts.set_captures(regex, captures);
                true
            }
            None => {
                self.facts.captures.replace(None);
                false
            }
        }
    }

    /// Once `$args` was set, the target that the client sent is no longer what is asked for.
    pub(super) fn set(&mut self, target: SetTarget, value: Vec<u8>, ctx: &mut Context) {
        match target {
            SetTarget::Slot(slot) => self.facts.set_slot(slot, &value),
            SetTarget::Args => {
                self.facts.has_args_mark = !value.is_empty();
                self.facts.args = Chunk::from_vec(value);
                self.facts.uri_unchanged = false;
            }
            SetTarget::LimitRate => match super::vars::size(&value) {
                Some(rate) => self.facts.limit_rate = Some(rate),
                None => {
                    let text = alloc::format!("invalid $limit_rate \"{}\"", String::from_utf8_lossy(&value));
                    self.log_error(Level::Error, &text, ctx);
                }
            },
        }
    }

    fn rewrite_uri(
        &mut self,
        replacement: &Template,
        drop_args: bool,
        flag: Flag,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> After {
        self.internal = true;
        self.facts.uri_unchanged = false;
        self.rewrite.quote = false;
        let (uri, args) = self.replaced(replacement, generation, ctx);
        match args {
            Some(mut args) => {
                if !drop_args && !self.facts.args.is_empty() {
                    args.push(b'&');
                    args.extend_from_slice(&self.facts.args);
                }
                self.facts.args = Chunk::from_vec(args);
            }
            None if drop_args => self.facts.args = Chunk::empty(),
            None => {}
        }
        self.facts.has_args_mark = !self.facts.args.is_empty();
        if uri.is_empty() {
            self.log_error(Level::Error, &"the rewritten URI has a zero length", ctx);
            self.fail_status(Status::INTERNAL_SERVER_ERROR, link, ctx);
            return After::Handled;
        }
        self.facts.uri = Chunk::from_vec(uri);
        if self.logs_rewrites(generation) {
            let (uri, args) = (shown(&self.facts.uri), shown(&self.facts.args));
            let text = alloc::format!("rewritten data: \"{uri}\", args: \"{args}\"");
            self.log_error(Level::Notice, &text, ctx);
        }
        match flag {
            Flag::Break => {
                self.facts.valid_location = false;
                self.rewrite.uri_changed = false;
                After::Stop
            }
            Flag::Last => {
                self.rewrite.uri_changed = true;
                After::Stop
            }
            Flag::Continue | Flag::Redirect(_) => {
                self.rewrite.uri_changed = true;
                After::Next
            }
        }
    }

    /// The new URI, and the new arguments if the replacement itself holds a question mark. One that comes out of a
    /// variable is part of the URI.
    fn replaced(
        &self,
        replacement: &Template,
        generation: &Generation,
        ctx: &Context,
    ) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut uri = Vec::new();
        let mut args: Option<Vec<u8>> = None;
        for piece in replacement.pieces() {
            let mark = match (&args, piece) {
                (None, Piece::Literal(text)) => memchr::memchr(b'?', text),
                (Some(_), _) | (None, Piece::Variable(_)) => None,
            };
            if let (Some(mark), Piece::Literal(text)) = (mark, piece) {
                uri.extend_from_slice(text.get(..mark).unwrap_or_default());
                args = Some(text.get(mark + 1..).unwrap_or_default().to_vec());
                continue;
            }
            let escapes = args.is_some();
            self.write_piece(piece, escapes, generation, ctx, args.as_mut().unwrap_or(&mut uri));
        }
        (uri, args)
    }

    fn rewrite_redirect(
        &mut self,
        status: Status,
        replacement: &Template,
        drop_args: bool,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let mut escaped = Vec::new();
        for piece in replacement.pieces() {
            self.write_piece(piece, true, generation, ctx, &mut escaped);
        }
        let mut url = unescape_for_redirect(&escaped);
        if !drop_args && !self.facts.args.is_empty() {
            let has_mark = replacement
                .pieces()
                .iter()
                .any(|piece| matches!(piece, Piece::Literal(text) if memchr::memchr(b'?', text).is_some()));
            url.push(if has_mark { b'&' } else { b'?' });
            url.extend_from_slice(&self.facts.args);
        }
        if self.logs_rewrites(generation) {
            self.log_error(Level::Notice, &alloc::format!("rewritten redirect: \"{}\"", shown(&url)), ctx);
        }
        self.respond_redirect(status, url, link, ctx);
    }

    /// `rewrite_log`
    fn logs_rewrites(&self, generation: &Generation) -> bool {
        self.core(generation).is_some_and(|core| core.rewrite_log)
    }

    fn log_match(
        &self,
        regex: &Regex,
        subject: &[u8],
        matches: bool,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        if self.logs_rewrites(generation) {
            let verb = if matches { "matches" } else { "does not match" };
            let text = alloc::format!("\"{}\" {verb} \"{}\"", regex.written(), shown(subject));
            self.log_error(Level::Notice, &text, ctx);
        }
    }

    /// `uninitialized_variable_warn`; `doing` is what was done meanwhile.
    pub(crate) fn warn_of_uninitialized(&self, doing: &str, ctx: &mut Context) {
        if self.facts.uninitialized.borrow().is_empty() {
            return;
        }
        let generation = Rc::clone(&self.generation);
        let slots = core::mem::take(&mut *self.facts.uninitialized.borrow_mut());
        if !self.core(&generation).is_some_and(|core| core.uninitialized_variable_warn) {
            return;
        }
        for name in slots.iter().filter_map(|slot| generation.config.slots.get(slot.0 as usize)) {
            self.log_error(
                Level::Warn,
                &alloc::format!("using uninitialized \"{name}\" variable{doing}"),
                ctx,
            );
        }
    }

    fn script_value(&self, template: &Template, generation: &Generation, ctx: &Context) -> Vec<u8> {
        let mut value = Vec::new();
        for piece in template.pieces() {
            self.write_piece(piece, self.rewrite.quote, generation, ctx, &mut value);
        }
        value
    }

    /// Captures are parts of the decoded URI: what was escaped is escaped again where it would mean something else.
    fn write_piece(
        &self,
        piece: &Piece,
        escapes: bool,
        generation: &Generation,
        ctx: &Context,
        out: &mut Vec<u8>,
    ) {
        match piece {
            Piece::Literal(text) => out.extend_from_slice(text),
            Piece::Variable(Variable::Capture(n)) => {
                let captures = self.facts.captures.borrow();
                let captures = captures.as_ref();
                let text = captures.and_then(|captures| captures.group(usize::from(*n))).unwrap_or_default();
                if escapes && (self.facts.quoted || self.facts.plus) {
                    escape_args(text, out);
                } else {
                    out.extend_from_slice(text);
                }
            }
            Piece::Variable(variable) => {
                self.facts.value(variable, &ctx.env(generation), out);
            }
        }
    }
}

impl RewriteLine {
    /// Notes what came of it, if anybody wants to know.
    fn note(&self, ctx: &Context, outcome: impl FnOnce() -> Outcome) {
        ctx.note(|| Step::Ran { origin: self.origin.clone(), outcome: outcome() });
    }
}

impl RewriteRun {
    fn program<'a>(&self, exchange: &Exchange, generation: &'a Generation) -> &'a [RewriteLine] {
        let config = &generation.config;
        match self.level {
            ProgramOf::Server => config.server(exchange.facts.server).map(|server| &*server.rewrite),
            ProgramOf::Location(id) => config.location(id).map(|location| &*location.rewrite),
        }
        .unwrap_or_default()
    }

    /// Takes the next operation, out of the innermost block that has one left.
    fn next_line<'a>(&mut self, program: &'a [RewriteLine]) -> Option<&'a RewriteLine> {
        loop {
            let block = self.block(program)?;
            let next = self.next.last_mut()?;
            if let Some(line) = block.get(*next) {
                *next += 1;
                return Some(line);
            }
            self.next.pop();
        }
    }

    /// The operation that was taken last.
    fn present_line<'a>(&self, program: &'a [RewriteLine]) -> Option<&'a RewriteLine> {
        self.block(program)?.get(self.next.last()?.checked_sub(1)?)
    }

    /// The innermost block: each outer level stands behind the `if` that was entered.
    fn block<'a>(&self, program: &'a [RewriteLine]) -> Option<&'a [RewriteLine]> {
        let (_, outer) = self.next.split_last()?;
        outer.iter().try_fold(program, |block, next| match &block.get(next.checked_sub(1)?)?.op {
            RewriteOp::If { body, .. } => Some(&**body),
            RewriteOp::Return { .. }
            | RewriteOp::Rewrite { .. }
            | RewriteOp::Set { .. }
            | RewriteOp::Break => None,
        })
    }
}

impl FileTest {
    /// Whether a file that exists passes.
    const fn holds(self, info: FileInfo) -> bool {
        match self {
            Self::Regular => matches!(info.kind, FileKind::Regular),
            Self::Directory => matches!(info.kind, FileKind::Directory),
            Self::Exists => true,
            Self::Executable => info.executable,
        }
    }
}

/// Decodes what need not be escaped in a Location field, up to the question mark; escapes of blanks, controls, `"`,
/// `#`, `$`, `%` and of everything beyond ASCII stay.
fn unescape_for_redirect(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'?' {
            break;
        }
        if byte == b'%'
            && let [high, low, behind @ ..] = tail
            && let Some(decoded) = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low)
        {
            if decoded > b'%' && decoded < 0x7f {
                out.push(decoded);
            } else {
                out.extend([b'%', *high, *low]);
            }
            rest = behind;
            if decoded == b'?' {
                break;
            }
            continue;
        }
        out.push(byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
