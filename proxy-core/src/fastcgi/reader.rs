//! Records on their way in (FastCGI, section 3.3): cut wherever the network cuts them.
//!
//! ```text
//!             ┌──────────────────────── next record ───────────────────────┐
//!             ▼                                                            │
//! Header(8 bytes) ─► Content ─► Padding ─┬─ STDOUT, STDERR ────────────────┘
//!                                        └─ END_REQUEST ─► Ended: what follows is not looked at
//! ```

use super::kind::{END_REQUEST, STDERR, STDOUT};
use super::{Fault, HEADER_BYTES, VERSION};
use crate::buf::Chunk;

/// What came. The slices share the input's memory.
///
/// A record's header and its padding are used up silently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part of standard output, never empty.
    Stdout(Chunk),
    /// Standard output is closed.
    StdoutEnd,
    /// A part of standard error, never empty: as much of one record as is here.
    Stderr(Chunk),
    /// The request is ended, its padding included.
    End,
    /// The request is about to be ended: the record's header is here.
    Ending,
}

/// Takes records apart.
#[derive(Debug, Default)]
pub struct Reader {
    kind: u8,
    /// Bytes of the content that are still to come, then of the padding.
    content: u16,
    padding: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// So many bytes of a header have come.
    #[default]
    Start,
    Header(u8),
    Content,
    Padding,
    Ended,
}

impl Reader {
    /// Whether the request was ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes the next event off the front of `input`; none where more must come. Each round of it uses up input.
    ///
    /// # Errors
    /// What is no record of ours, with the byte that shows it.
    pub fn next_event(&mut self, input: &mut Chunk) -> Result<Option<Event>, Fault> {
        loop {
            match self.state {
                State::Ended => return Ok(None),
                State::Start => self.state = State::Header(0),
                State::Header(have) => {
                    let Some(byte) = input.first().copied() else { return Ok(None) };
                    input.advance(1);
                    self.state = State::Header(have + 1);
                    self.header_byte(have, byte)?;
                    if usize::from(have) + 1 < HEADER_BYTES {
                        continue;
                    }
                    self.state = State::Content;
                    match self.kind {
                        STDOUT if self.content == 0 => {
                            self.state = State::Padding;
                            return Ok(Some(Event::StdoutEnd));
                        }
                        END_REQUEST => return Ok(Some(Event::Ending)),
                        _ => {}
                    }
                }
                State::Content if self.content == 0 => self.state = State::Padding,
                State::Content => {
                    let take = usize::from(self.content).min(input.len());
                    if take == 0 {
                        return Ok(None);
                    }
                    let part = input.split_to(take);
                    self.content = self.content.saturating_sub(u16::try_from(take).unwrap_or(u16::MAX));
                    match self.kind {
                        STDOUT => return Ok(Some(Event::Stdout(part))),
                        STDERR => return Ok(Some(Event::Stderr(part))),
                        // The application's and the protocol's status, which nginx does not look at either.
                        _ => {}
                    }
                }
                State::Padding => {
                    let take = usize::from(self.padding).min(input.len());
                    input.advance(take);
                    self.padding = self.padding.saturating_sub(u8::try_from(take).unwrap_or(u8::MAX));
                    if self.padding > 0 {
                        return Ok(None);
                    }
                    if self.kind == END_REQUEST {
                        self.state = State::Ended;
                        return Ok(Some(Event::End));
                    }
                    self.state = State::Start;
                }
            }
        }
    }

    /// The last bytes of the last part of a stream were not taken after all: they are in front of the input again.
    pub(super) fn give_back(&mut self, bytes: usize) {
        debug_assert!(self.state == State::Content);
        self.content = self.content.saturating_add(u16::try_from(bytes).unwrap_or(u16::MAX));
    }

    /// One byte of a header, at its place.
    const fn header_byte(&mut self, place: u8, byte: u8) -> Result<(), Fault> {
        match place {
            0 if byte != VERSION => return Err(Fault::Version(byte)),
            1 if !matches!(byte, END_REQUEST | STDOUT | STDERR) => return Err(Fault::Type(byte)),
            1 => self.kind = byte,
            2 if byte != 0 => return Err(Fault::RequestIdHigh(byte)),
            3 if byte != 1 => return Err(Fault::RequestIdLow(byte)),
            4 => self.content = (byte as u16) << 8,
            5 => self.content |= byte as u16,
            6 => self.padding = byte,
            _ => {}
        }
        Ok(())
    }
}
