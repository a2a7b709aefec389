//! The incoming byte stream, cut into frames.
//!
//! DATA passes through as it comes, in slices of the memory that it was read into; every other frame is small and is
//! handed over whole, in place where all of it is at hand, and gathered where it is not.

use alloc::vec::Vec;

use super::ErrorCode;
use super::frame::{FrameHead, HEAD_BYTES, Kind, PREFACE, flag};
use crate::buf::Chunk;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame, with all of its payload.
    Frame(FrameHead, Chunk),
    /// A part of a DATA frame.
    Data {
        /// The stream.
        stream: u32,
        /// The part's bytes, without padding.
        data: Chunk,
        /// What the part counts against the windows, padding included, in bytes.
        counted: u32,
        /// Whether the stream has no more.
        end_stream: bool,
        /// Whether this is the frame's last part.
        last: bool,
    },
}

/// Cuts a peer's bytes into frames.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    gathered: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    /// The preface, of which so many bytes are still to come.
    #[default]
    Preface,
    /// A frame's head.
    Head,
    /// A frame's payload.
    Payload(FrameHead),
    /// The first byte of a DATA payload that has padding.
    Padding(FrameHead),
    /// A DATA payload: so many bytes of data, and of padding, are still to come.
    Data(FrameHead, usize, usize),
}

impl Reader {
    /// Reads what a server sends: it has no preface.
    #[must_use]
    pub const fn of_server() -> Self {
        Self { state: State::Head, gathered: Vec::new() }
    }

    /// Whether the preface, or a frame that is no DATA, has begun and not ended.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        match self.state {
            State::Preface | State::Payload(_) => true,
            State::Head => !self.gathered.is_empty(),
            State::Padding(_) | State::Data(..) => false,
        }
    }

    /// Whether a DATA frame has begun and not ended.
    #[must_use]
    pub const fn is_in_data(&self) -> bool {
        matches!(self.state, State::Padding(_) | State::Data(..))
    }

    /// The next event; nothing until more has come.
    ///
    /// # Errors
    /// Connection errors.
    pub fn next(&mut self, input: &mut Chunk) -> Result<Option<Event>, ErrorCode> {
        loop {
            match self.state {
                State::Preface => {
                    let Some(preface) = self.gather(PREFACE.len(), input) else {
                        let begun = PREFACE.get(..self.gathered.len());
                        return if begun == Some(&*self.gathered) {
                            Ok(None)
                        } else {
                            Err(ErrorCode::Protocol)
                        };
                    };
                    if *preface != *PREFACE {
                        return Err(ErrorCode::Protocol);
                    }
                    self.state = State::Head;
                }
                State::Head => {
                    let Some(head) = self.gather(HEAD_BYTES, input) else { return Ok(None) };
                    let Some(head) = FrameHead::parse(&head) else { return Ok(None) };
                    self.state = after(head)?;
                }
                State::Payload(head) => {
                    let Some(payload) = self.gather(head.len, input) else { return Ok(None) };
                    self.state = State::Head;
                    return Ok(Some(Event::Frame(head, payload)));
                }
                State::Padding(head) => {
                    let Some(padding) = self.gather(1, input) else { return Ok(None) };
                    let padding = padding.first().map_or(0, |bytes| usize::from(*bytes));
                    let data = head.len.checked_sub(1 + padding).ok_or(ErrorCode::Protocol)?;
                    self.state = State::Data(head, data, padding);
                    // The length byte counts against the windows, too.
                    return Ok(Some(self.part(head, Chunk::empty(), 1)));
                }
                State::Data(head, data, padding) => {
                    if input.is_empty() && data + padding > 0 {
                        return Ok(None);
                    }
                    let part = input.split_to(data);
                    let skipped = if part.len() == data { padding.min(input.len()) } else { 0 };
                    input.advance(skipped);
                    self.state = State::Data(head, data - part.len(), padding - skipped);
                    let counted = part.len() + skipped;
                    return Ok(Some(self.part(head, part, counted)));
                }
            }
        }
    }

    fn part(&mut self, head: FrameHead, data: Chunk, counted: usize) -> Event {
        let last = matches!(self.state, State::Data(_, 0, 0));
        if last {
            self.state = State::Head;
        }
        let end_stream = last && head.has(flag::END_STREAM);
        Event::Data { stream: head.stream, data, counted: counted as u32, end_stream, last }
    }

    /// The next `len` bytes in one piece, once they are there.
    fn gather(&mut self, len: usize, input: &mut Chunk) -> Option<Chunk> {
        if self.gathered.is_empty() && input.len() >= len {
            return Some(input.split_to(len));
        }
        let part = input.split_to(len - self.gathered.len());
        self.gathered.extend_from_slice(&part);
        (self.gathered.len() == len).then(|| Chunk::from_vec(core::mem::take(&mut self.gathered)))
    }
}

/// What follows a frame's head.
fn after(head: FrameHead) -> Result<State, ErrorCode> {
    head.check()?;
    match head.kind {
        Kind::Data if head.has(flag::PADDED) && head.len == 0 => Err(ErrorCode::FrameSize),
        Kind::Data if head.has(flag::PADDED) => Ok(State::Padding(head)),
        Kind::Data => Ok(State::Data(head, head.len, 0)),
        Kind::Headers
        | Kind::Priority
        | Kind::Reset
        | Kind::Settings
        | Kind::PushPromise
        | Kind::Ping
        | Kind::GoAway
        | Kind::WindowUpdate
        | Kind::Continuation
        | Kind::Unknown => Ok(State::Payload(head)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Reads `bytes` in two pieces; the parts of each DATA frame are put together again.
    fn read(bytes: &[u8], cut: usize) -> (Vec<Event>, Option<ErrorCode>) {
        let mut reader = Reader::default();
        let mut events: Vec<Event> = Vec::new();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            let mut input = Chunk::from_vec(piece.to_vec());
            loop {
                match reader.next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(event)) => join(&mut events, event),
                    Err(error) => return (events, Some(error)),
                }
            }
            assert!(input.is_empty());
        }
        (events, None)
    }

    fn join(events: &mut Vec<Event>, event: Event) {
        if let (
            Some(Event::Data { data, counted, end_stream, last: last @ false, .. }),
            Event::Data { data: more, counted: n, end_stream: end, last: done, .. },
        ) = (events.last_mut(), &event)
        {
            *data = Chunk::from_vec([data.as_slice(), more].concat());
            (*counted, *end_stream, *last) = (*counted + n, *end, *done);
            return;
        }
        events.push(event);
    }

    #[test]
    fn frames_are_the_same_at_every_split() {
        let bytes = [
            PREFACE,
            &frame(4, 0, 0, b""),
            &frame(1, 4, 1, b"block"),
            &frame(0, 0, 1, b"body"),
            &frame(0, 8 | 1, 1, b"\x03tail___"),
            &frame(0, 1, 3, b""),
            &frame(0x10, 0, 0, b"priority update"),
            &frame(8, 0, 0, &[0, 0, 1, 0]),
        ]
        .concat();
        let data = |stream, text: &[u8], counted, end_stream| {
            let data = Chunk::from_vec(text.to_vec());
            Event::Data { stream, data, counted, end_stream, last: true }
        };
        let other = |kind, flags, stream, payload: &[u8]| {
            let head = FrameHead { len: payload.len(), kind, flags, stream };
            Event::Frame(head, Chunk::from_vec(payload.to_vec()))
        };
        let expected = [
            other(Kind::Settings, 0, 0, b""),
            other(Kind::Headers, 4, 1, b"block"),
            data(1, b"body", 4, false),
            data(1, b"tail", 8, true),
            data(3, b"", 0, true),
            other(Kind::Unknown, 0, 0, b"priority update"),
            other(Kind::WindowUpdate, 0, 0, &[0, 0, 1, 0]),
        ];
        for cut in 0..=bytes.len() {
            let (events, error) = read(&bytes, cut);
            assert_eq!((events.as_slice(), error), (&expected[..], None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error_at_every_split() {
        for (bytes, error) in [
            (&b"GET / HTTP/1.1\r\n"[..], ErrorCode::Protocol),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", ErrorCode::Protocol),
            (&[PREFACE, &[0, 0x40, 1, 0, 0, 0, 0, 0, 1]].concat(), ErrorCode::FrameSize),
            (&[PREFACE, &frame(0, 8, 1, b"\x05four")].concat(), ErrorCode::Protocol),
            (&[PREFACE, &frame(0, 8, 1, b"")].concat(), ErrorCode::FrameSize),
        ] {
            for cut in 0..=bytes.len() {
                assert_eq!(read(bytes, cut).1, Some(error), "{} at {cut}", bytes.escape_ascii());
            }
        }
    }
}
