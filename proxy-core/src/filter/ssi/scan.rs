//! Text and commands of a body that comes in blocks.
//!
//! ```text
//! Text ──"<!--#"──► Command ──"-->" outside of quotes──► Text
//! ```
//! What may be the beginning of a command is held back; what turns out to be none is text.

use alloc::vec::Vec;

use crate::buf::{Chain, Chunk};

const OPENING: &[u8] = b"<!--#";
const CLOSING: &[u8] = b"-->";

/// How many parameters a command may have, as nginx has it.
pub(super) const PARAMETERS_MAX: usize = 16;

/// The two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of the opening have matched.
    Text(usize),
    /// Inside of a command: the quote that is open, and whether the next byte is escaped.
    Command { quote: Option<u8>, escaped: bool },
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Text(Chunk),
    /// What stands between `<!--#` and `-->`.
    Command(Vec<u8>),
    /// A command of which no end came within the bounds; its text is dropped.
    Overlong,
}

/// Splits a body.
#[derive(Debug)]
pub(super) struct Scanner {
    input: Chain,
    state: State,
    command: Vec<u8>,
    overlong: bool,
    command_bytes_max: usize,
}

impl Scanner {
    /// For commands whose values are at most so long, in bytes.
    pub(super) fn new(value_bytes_max: usize) -> Self {
        Self {
            input: Chain::new(),
            state: State::Text(0),
            command: Vec::new(),
            overlong: false,
            command_bytes_max: value_bytes_max.saturating_add(64).saturating_mul(PARAMETERS_MAX),
        }
    }

    /// Whether something was fed that has not been looked at.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// A part of the body.
    pub(super) fn feed(&mut self, mut part: Chain) {
        self.input.append(&mut part);
    }

    /// The body's end: what was held back is text after all. An unfinished command is dropped, as nginx does.
    pub(super) fn finish(&mut self) -> Chunk {
        match core::mem::replace(&mut self.state, State::Text(0)) {
            State::Text(matched) => Chunk::from_static(OPENING.get(..matched).unwrap_or_default()),
            State::Command { .. } => Chunk::empty(),
        }
    }

    /// What comes next; none until more is fed.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        while let Some(chunk) = self.input.chunks().first().cloned() {
            let (used, event) = match self.state {
                State::Text(matched) => self.scan_text(&chunk, matched),
                State::Command { quote, escaped } => self.scan_command(&chunk, quote, escaped),
            };
            self.input.advance(used);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn scan_text(&mut self, chunk: &Chunk, matched: usize) -> (usize, Option<Event>) {
        let bytes = chunk.as_slice();
        if matched > 0 {
            return self.go_on_matching(bytes, matched);
        }
        let at = memchr::memchr(b'<', bytes).unwrap_or(bytes.len());
        if at == 0 {
            self.state = State::Text(1);
            return (1, None);
        }
        (at, Some(Event::Text(chunk.slice(0..at))))
    }

    /// A `<` came; what stands behind it decides.
    fn go_on_matching(&mut self, bytes: &[u8], mut matched: usize) -> (usize, Option<Event>) {
        for (at, byte) in bytes.iter().enumerate() {
            if OPENING.get(matched) != Some(byte) {
                self.state = State::Text(0);
                let held = Chunk::from_static(OPENING.get(..matched).unwrap_or_default());
                return (at, Some(Event::Text(held)));
            }
            matched += 1;
            if matched == OPENING.len() {
                self.state = State::Command { quote: None, escaped: false };
                return (at + 1, None);
            }
        }
        self.state = State::Text(matched);
        (bytes.len(), None)
    }

    fn scan_command(
        &mut self,
        chunk: &Chunk,
        mut quote: Option<u8>,
        mut escaped: bool,
    ) -> (usize, Option<Event>) {
        for (at, byte) in chunk.iter().enumerate() {
            let opens = self.command.last() == Some(&b'=') && matches!(byte, b'"' | b'\'');
            match quote {
                _ if escaped => escaped = false,
                Some(_) if *byte == b'\\' => escaped = true,
                Some(open) if open == *byte => quote = None,
                None if opens => quote = Some(*byte),
                Some(_) | None => {}
            }
            self.command.push(*byte);
            if quote.is_none() && self.command.ends_with(CLOSING) {
                self.state = State::Text(0);
                return (at + 1, Some(self.end_command()));
            }
            if self.command.len() > self.command_bytes_max {
                // Only its end is looked for from here on, and no quote hides it.
                self.overlong = true;
                self.command.drain(..self.command.len() - CLOSING.len());
                quote = None;
            }
        }
        self.state = State::Command { quote, escaped };
        (chunk.len(), None)
    }

    fn end_command(&mut self) -> Event {
        let mut command = core::mem::take(&mut self.command);
        command.truncate(command.len() - CLOSING.len());
        if core::mem::take(&mut self.overlong) { Event::Overlong } else { Event::Command(command) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn run<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
        let mut scanner = Scanner::new(16);
        let mut out = String::new();
        let mut write = |event| match event {
            Event::Text(text) => out.push_str(core::str::from_utf8(&text).unwrap()),
            Event::Command(command) => {
                out.push('{');
                out.push_str(core::str::from_utf8(&command).unwrap());
                out.push('}');
            }
            Event::Overlong => out.push_str("{!}"),
        };
        for part in parts {
            scanner.feed(Chain::from(Chunk::from_vec(part.to_vec())));
            while let Some(event) = scanner.next_event() {
                write(event);
            }
        }
        write(Event::Text(scanner.finish()));
        out
    }

    #[test]
    fn the_events_do_not_depend_on_the_borders() {
        let long = ["<!--#a ", &"x".repeat(2000), "-->b"].concat();
        let table: &[(&str, &str)] = &[
            ("plain < text <!-- comment -->", "plain < text <!-- comment -->"),
            ("a<!--#echo var=\"x\" -->b", "a{echo var=\"x\" }b"),
            ("<!--#set value=\"-->\" -->.", "{set value=\"-->\" }."),
            ("<!--#set value='\\'-->' -->.", "{set value='\\'-->' }."),
            ("<<!--#a--><!--#b-->", "<{a}{b}"),
            ("<!-<!--#a-->", "<!-{a}"),
            ("<!--#a \" -->b", "{a \" }b"),
            ("<!--", "<!--"),
            ("a<!--#b", "a"),
            (&long, "{!}b"),
        ];
        for (text, expected) in table {
            let bytes = text.as_bytes();
            assert_eq!(run(core::iter::once(bytes)), *expected);
            assert_eq!(run(bytes.chunks(1)), *expected, "byte by byte");
            for cut in 0..bytes.len().min(64) {
                let (front, back) = bytes.split_at(cut);
                assert_eq!(run([front, back].into_iter()), *expected, "{text} at {cut}");
            }
        }
    }
}
