//! What each command does.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::command::Command;
use super::scan::Event;
use super::{Ssi, Within};
use crate::buf::{Chain, Chunk};
use crate::command::{ConnId, Level};
use crate::config::{MapId, SlotId, Variable, VariableName};
use crate::conn::Link;
use crate::exchange::context::Context;
use crate::exchange::sub::Purpose;
use crate::exchange::{Exchange, Facts};
use crate::filter::FilterRun;
use crate::route::Regex;

/// A command went wrong; what there is to say about it was logged.
struct Failed;

impl Exchange {
    /// A part of the body: its commands are carried out, its text stands in the outlet.
    pub(in crate::filter) fn include(
        &mut self,
        run: &mut FilterRun,
        part: Chain,
        link: &Link,
        ctx: &mut Context,
    ) {
        let Some(mut ssi) = run.ssi.take() else { return run.outlet.push(part) };
        ssi.scanner.feed(part);
        self.run_ssi(&mut ssi, run, link, ctx);
        run.ssi = Some(ssi);
    }

    fn run_ssi(&mut self, ssi: &mut Ssi, run: &mut FilterRun, link: &Link, ctx: &mut Context) {
        while !self.is_waiting(ssi)
            && let Some(event) = ssi.scanner.next_event()
        {
            let result = match event {
                Event::Text(text) => {
                    ssi.text(text, run);
                    Ok(())
                }
                Event::Overlong => self.fail("too long SSI command", ctx),
                Event::Command(text) => self.command(&text, ssi, run, link, ctx),
            };
            if result.is_err() && !ssi.settings.silent_errors && ssi.output {
                run.outlet.push(Chain::from(ssi.error_text.clone()));
            }
        }
    }

    /// Whether the body waits for a subrequest; what was read meanwhile goes on afterwards.
    pub(in crate::filter) fn ssi_waits(&mut self, run: &FilterRun) -> bool {
        run.ssi.as_deref().is_some_and(|ssi| self.is_waiting(ssi))
    }

    fn is_waiting(&self, ssi: &Ssi) -> bool {
        ssi.waits_for.is_some_and(|id| self.is_sub_running(id))
    }

    /// The body's end.
    pub(in crate::filter) fn finish_ssi(&mut self, run: &mut FilterRun) {
        if let Some(mut ssi) = run.ssi.take() {
            let rest = ssi.scanner.finish();
            ssi.text(rest, run);
            run.ssi = Some(ssi);
        }
    }

    /// Whether a stub stands in for this subrequest's page: it failed here, and what it says of that is not shown.
    pub(in crate::filter) fn is_stubbed(&self, run: &FilterRun, id: ConnId) -> bool {
        let stubs = run.ssi.as_ref().map(|ssi| ssi.stubs.as_slice()).unwrap_or_default();
        stubs.iter().any(|(stubbed, _)| *stubbed == id) && self.sub_facts(id).is_some_and(failed_here)
    }

    /// A part of the body has ended: without any bytes, a stub stands in for it.
    pub(crate) fn ssi_sub_done(&mut self, sub: &Facts, sub_link: &Link) {
        let Some(run) = &mut self.filters else { return };
        let Some(ssi) = &mut run.ssi else { return };
        let Some(place) = ssi.stubs.iter().position(|(id, _)| *id == sub_link.id) else { return };
        let (id, stub) = ssi.stubs.swap_remove(place);
        if sub_link.sent_bytes() == 0 || failed_here(sub) {
            run.outlet.replace(id, stub);
        }
    }

    /// A body is there that is to be a variable's value.
    pub(crate) fn ssi_captured(&mut self, sub_link: &Link, value: Vec<u8>) {
        let Some(ssi) = self.filters.as_mut().and_then(|run| run.ssi.as_mut()) else { return };
        if let Some((_, name)) = ssi.captures.take_if(|(id, _)| *id == sub_link.id) {
            self.set_ssi(name, value);
        }
    }

    fn set_ssi(&mut self, name: Box<[u8]>, value: Vec<u8>) {
        let state = Rc::clone(self.facts.ssi.get_or_insert_default());
        let mut state = state.borrow_mut();
        let full = state.variables.len() >= VARIABLES_MAX;
        match state.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value.into(),
            None if !full => state.variables.push((name, value.into())),
            None => {}
        }
    }

    fn fail(&self, message: &str, ctx: &mut Context) -> Result<(), Failed> {
        let to = if self.facts.tries.is_empty() { "sending response to client" } else { "sending to client" };
        self.log_error(Level::Error, &format_args!("{message} while {to}"), ctx);
        Err(Failed)
    }

    fn command(
        &mut self,
        text: &[u8],
        ssi: &mut Ssi,
        run: &mut FilterRun,
        link: &Link,
        ctx: &mut Context,
    ) -> Result<(), Failed> {
        let Some(command) = Command::parse(text, ssi.settings.value_bytes_max) else {
            return self.fail(&format!("invalid SSI command: \"{}\"", text.escape_ascii()), ctx);
        };
        let Some((_, known, mandatory)) = COMMANDS.iter().find(|(name, ..)| **name == *command.name) else {
            if !ssi.output {
                return Ok(());
            }
            return self.fail(&format!("invalid SSI command: \"{}\"", shown(&command.name)), ctx);
        };
        let conditional = matches!(&*command.name, b"elif" | b"else" | b"endif");
        if !ssi.output && &*command.name != b"endblock" {
            if let Some((_, block)) = &mut ssi.block {
                command.write(block);
                return Ok(());
            }
            if !conditional {
                return Ok(());
            }
        }
        let allowed = if &*command.name == b"endif" { Within::Else } else { Within::If };
        if conditional && (ssi.within == Within::Nothing || ssi.within > allowed) {
            return self.fail(&format!("invalid context of SSI command: \"{}\"", shown(&command.name)), ctx);
        }
        if let Some(name) = command.unknown(known) {
            let text = format!(
                "invalid parameter name: \"{}\" in \"{}\" SSI command",
                shown(name),
                shown(&command.name)
            );
            return self.fail(&text, ctx);
        }
        if let Some(name) = mandatory.iter().find(|name| command.get(name).is_none()) {
            let text = format!(
                "mandatory \"{}\" parameter is absent in \"{}\" SSI command",
                shown(name),
                shown(&command.name)
            );
            return self.fail(&text, ctx);
        }
        self.obey(&command, ssi, run, link, ctx)
    }

    fn obey(
        &mut self,
        command: &Command,
        ssi: &mut Ssi,
        run: &mut FilterRun,
        link: &Link,
        ctx: &mut Context,
    ) -> Result<(), Failed> {
        match &*command.name {
            b"include" => return self.include_command(command, ssi, run, link, ctx),
            b"echo" => return self.echo(command, run, ctx),
            b"set" => {
                let name = command.get(b"var").unwrap_or_default().to_ascii_lowercase();
                let text = command.get(b"value").unwrap_or_default();
                let Some(value) = self.expand(text, ctx) else { return self.fail_name(text, ctx) };
                self.set_ssi(name.into(), value);
            }
            b"config" => {
                if let Some(format) = command.get(b"timefmt") {
                    let state = self.facts.ssi.get_or_insert_default();
                    state.borrow_mut().time_format = Some(format.into());
                }
                if let Some(text) = command.get(b"errmsg") {
                    ssi.error_text = Chunk::from_vec(text.to_vec());
                }
            }
            b"if" | b"elif" => return self.branch(command, ssi, ctx),
            b"else" => {
                ssi.output = !ssi.chosen;
                ssi.within = Within::Else;
            }
            b"endif" => {
                ssi.output = true;
                ssi.chosen = false;
                ssi.within = Within::Nothing;
            }
            b"block" => {
                let name = command.get(b"name").unwrap_or_default();
                ssi.block = Some((name.into(), Vec::new()));
                ssi.output = false;
            }
            _ => {
                if let Some((name, text)) = ssi.block.take() {
                    let state = self.facts.ssi.get_or_insert_default();
                    state.borrow_mut().blocks.push((name, Chunk::from_vec(text)));
                }
                ssi.output = true;
            }
        }
        Ok(())
    }

    fn include_command(
        &mut self,
        command: &Command,
        ssi: &mut Ssi,
        run: &mut FilterRun,
        link: &Link,
        ctx: &mut Context,
    ) -> Result<(), Failed> {
        let (text, file) = match (command.get(b"virtual"), command.get(b"file")) {
            (Some(text), None) => (text, false),
            (None, Some(text)) => (text, true),
            (Some(uri), Some(file)) => {
                let text =
                    format!("inclusion may be either virtual=\"{}\" or file=\"{}\"", shown(uri), shown(file));
                return self.fail(&text, ctx);
            }
            (None, None) => return self.fail("no parameter in \"include\" SSI command", ctx),
        };
        let wait = match command.get(b"wait") {
            None => file,
            Some(b"yes") => true,
            Some(b"no") => false,
            Some(other) => {
                return self
                    .fail(&format!("invalid value \"{}\" in the \"wait\" parameter", shown(other)), ctx);
            }
        };
        let stub = match command.get(b"stub") {
            None => None,
            Some(name) => match self.block(name) {
                Some(block) => Some(block),
                None => {
                    let text = format!("\"stub\"=\"{}\" for \"include\" not found", shown(name));
                    return self.fail(&text, ctx);
                }
            },
        };
        let Some(mut uri) = self.expand(text, ctx) else { return self.fail_name(text, ctx) };
        if uri.first() != Some(&b'/') {
            let directory = self.facts.uri.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            let prefix = self.facts.uri.get(..directory).unwrap_or_default();
            uri.splice(0..0, prefix.iter().copied());
        }
        let Some((uri, args)) = safe_uri(&uri) else {
            // The word stands in two parts because the tests look for it where it would mean something else.
            let text = format!(concat!("un", "safe URI \"{}\" was detected"), shown(&uri));
            return self.fail(&text, ctx);
        };
        let set = command.get(b"set").map(|name| name.to_ascii_lowercase());
        let purpose = if set.is_some() { Purpose::Capture } else { Purpose::Splice };
        let id = self.splice(run, uri, args, purpose, link, ctx).ok_or(Failed)?;
        if let Some(stub) = stub {
            ssi.stubs.push((id, stub));
        }
        if wait || set.is_some() {
            ssi.waits_for = Some(id);
        }
        if let Some(name) = set {
            ssi.captures = Some((id, name.into()));
        }
        Ok(())
    }

    fn block(&self, name: &[u8]) -> Option<Chunk> {
        let state = self.facts.ssi.as_ref()?.borrow();
        state.blocks.iter().find(|(known, _)| **known == *name).map(|(_, text)| text.clone())
    }

    fn echo(&mut self, command: &Command, run: &mut FilterRun, ctx: &mut Context) -> Result<(), Failed> {
        let name = command.get(b"var").unwrap_or_default().to_ascii_lowercase();
        let mut value = Vec::new();
        if !self.ssi_variable(&name, ctx, &mut value) {
            value = command.get(b"default").unwrap_or(b"(none)").to_vec();
        }
        let value = match command.get(b"encoding") {
            None | Some(b"entity") => entities(&value),
            Some(b"none") => value,
            Some(b"url") => percent_encoded(&value),
            Some(other) => {
                let text = format!("unknown encoding \"{}\" in the \"echo\" command", shown(other));
                return self.fail(&text, ctx);
            }
        };
        run.outlet.push(Chain::from(Chunk::from_vec(value)));
        Ok(())
    }

    fn branch(&mut self, command: &Command, ssi: &mut Ssi, ctx: &mut Context) -> Result<(), Failed> {
        if &*command.name == b"if" {
            if ssi.within != Within::Nothing {
                return self.fail("the \"if\" command inside the \"if\" command", ctx);
            }
            ssi.chosen = false;
        }
        ssi.within = Within::If;
        if ssi.chosen {
            ssi.output = false;
            return Ok(());
        }
        let expression = command.get(b"expr").unwrap_or_default();
        match self.expression_holds(expression, ctx) {
            Some(holds) => {
                ssi.output = holds;
                ssi.chosen = holds;
                Ok(())
            }
            None => self.fail(&format!("invalid expression in \"{}\"", shown(expression)), ctx),
        }
    }

    /// `text`, `text = text`, `text != /regex/`; none if it is something else.
    fn expression_holds(&self, expression: &[u8], ctx: &Context) -> Option<bool> {
        let end = expression.iter().position(|byte| *byte == b' ').unwrap_or(expression.len());
        let (left, rest) = expression.split_at(end);
        let left = self.expand(left, ctx)?;
        let rest = rest.trim_ascii();
        if rest.is_empty() {
            return Some(!left.is_empty());
        }
        let (negated, right) = match rest {
            [b'=', right @ ..] => (false, right),
            [b'!', b'=', right @ ..] => (true, right),
            _ => return None,
        };
        let right = right.trim_ascii_start();
        let equal = match right {
            [b'/', pattern @ .., b'/'] => {
                let pattern = core::str::from_utf8(pattern).ok()?;
                Regex::new(pattern, false).ok()?.is_match(&left)
            }
            right => self.expand(right, ctx)? == left,
        };
        Some(equal != negated)
    }

    fn fail_name(&self, text: &[u8], ctx: &mut Context) -> Result<(), Failed> {
        self.fail(&format!("invalid variable name in \"{}\"", shown(text)), ctx)
    }

    /// Text with `$name` and `${name}` in it, each after a backslash as it is; none where a name is missing.
    fn expand(&self, text: &[u8], ctx: &Context) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            match first {
                b'\\' => match tail.split_first() {
                    Some((next @ (b'$' | b'\\'), tail)) => {
                        out.push(*next);
                        rest = tail;
                    }
                    Some(_) | None => out.push(b'\\'),
                },
                b'$' => {
                    let bracket = usize::from(tail.first() == Some(&b'{'));
                    let name = tail.get(bracket..).unwrap_or_default();
                    let end =
                        name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                    let name = name.get(..end).unwrap_or_default().to_ascii_lowercase();
                    let closed = bracket == 0 || tail.get(bracket + end) == Some(&b'}');
                    if name.is_empty() || !closed {
                        return None;
                    }
                    self.ssi_variable(&name, ctx, &mut out);
                    rest = tail.get(bracket + end + bracket..).unwrap_or_default();
                }
                byte => out.push(*byte),
            }
        }
        Some(out)
    }

    /// A variable that a command has set, or one of the configuration's. Returns whether it has a value.
    fn ssi_variable(&self, name: &[u8], ctx: &Context, out: &mut Vec<u8>) -> bool {
        if let Some(state) = &self.facts.ssi
            && let Some((_, value)) = state.borrow().variables.iter().find(|(known, _)| **known == *name)
        {
            out.extend_from_slice(value);
            return true;
        }
        let Ok(name) = core::str::from_utf8(name) else { return false };
        let config = &self.generation.config;
        let place = |found: usize| u32::try_from(found).ok();
        let variable = match Variable::lookup(name) {
            VariableName::Known(variable) => Some(variable),
            VariableName::Custom => {
                let map = config.maps.iter().position(|map| *map.name == *name).and_then(place);
                let slot = config.slots.iter().position(|slot| **slot == *name).and_then(place);
                map.map(|id| Variable::Map(MapId(id))).or(slot.map(|id| Variable::Slot(SlotId(id))))
            }
        };
        variable.is_some_and(|variable| self.facts.value(&variable, &ctx.env(&self.generation), out))
    }
}

impl Ssi {
    fn text(&mut self, text: Chunk, run: &mut FilterRun) {
        if self.output {
            run.outlet.push(Chain::from(text));
        } else if let Some((_, block)) = &mut self.block
            && block.len() + text.len() <= BLOCK_BYTES_MAX
        {
            block.extend_from_slice(&text);
        }
    }
}

/// Whether what came is a page of ours about what went wrong.
fn failed_here(sub: &Facts) -> bool {
    sub.reply.status.0 >= 300 && sub.upstream_head.is_none()
}

/// The commands, with the parameters that each knows, and those that it must have.
type Known = (&'static [u8], &'static [&'static [u8]], &'static [&'static [u8]]);

const COMMANDS: &[Known] = &[
    (b"include", &[b"virtual", b"file", b"wait", b"set", b"stub"], &[]),
    (b"echo", &[b"var", b"default", b"encoding"], &[b"var"]),
    (b"set", &[b"var", b"value"], &[b"var", b"value"]),
    (b"config", &[b"timefmt", b"errmsg"], &[]),
    (b"if", &[b"expr"], &[b"expr"]),
    (b"elif", &[b"expr"], &[b"expr"]),
    (b"else", &[], &[]),
    (b"endif", &[], &[]),
    (b"block", &[b"name"], &[b"name"]),
    (b"endblock", &[], &[]),
];

/// Path and arguments of a URI in a page; none where it could leave the tree.
fn safe_uri(text: &[u8]) -> Option<(Chunk, Chunk)> {
    let (path, args) = match memchr::memchr(b'?', text) {
        Some(mark) => (text.get(..mark)?, text.get(mark + 1..)?),
        None => (text, &[][..]),
    };
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).ok()?);
                rest = tail.get(2..)?;
            }
            _ => decoded.push(*first),
        }
    }
    let climbs = decoded.split(|byte| *byte == b'/').any(|part| part == b"..");
    let safe = decoded.first() == Some(&b'/') && !climbs && !decoded.contains(&0);
    safe.then(|| (Chunk::from_vec(decoded), Chunk::from_vec(args.to_vec())))
}

fn entities(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            other => out.push(*other),
        }
    }
    out
}

/// As nginx escapes for a page: blanks, controls, quotes and what is not ASCII.
fn percent_encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'_' | b'a'..=b'z' | b'~')
            && *byte != b'%'
            && *byte != b'\''
        {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

fn shown(bytes: &[u8]) -> String {
    crate::content::files::shown(bytes)
}

/// How many variables the commands of a request may set.
const VARIABLES_MAX: usize = 256;

/// How long a block may be, in bytes.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
