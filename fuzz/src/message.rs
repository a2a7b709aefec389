//! A reader of messages in one direction, as a connection would be one: heads, then bodies, one behind the other.
//!
//! What it read is a list of [`Event`]s. That list must not depend on how the bytes were cut.

use std::fmt::Debug;

use proxy_core::buf::Chunk;
use proxy_core::h1::Parsed;
use proxy_core::h1::body::{BodyDecoder, Decoded};
use proxy_core::http::{BodyFraming, Field, Span};

/// So many messages are read from one input.
const MESSAGES_MAX: usize = 32;

/// What a direction of HTTP/1 means by a head.
pub(crate) trait Side {
    /// A parsed head.
    type Head: Debug;
    /// Who is to blame for a head.
    type Error: Debug;

    /// The parser.
    fn parse(&mut self, bytes: &Chunk) -> Result<Parsed<Self::Head>, Self::Error>;

    /// Checks a head's invariants and decides about the body; the text says all that was decided. None for the framing
    /// ends the reading: the connection has switched.
    fn decide(&mut self, head: &Self::Head, len: usize)
    -> Result<(Option<BodyFraming>, String), Self::Error>;

    /// The most bytes that a head may have when it is not whole yet.
    fn partial_bytes_max(&self) -> usize;
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A head, and what it means.
    Head(String),
    /// Bytes of a body, all that came one behind the other.
    Data(Vec<u8>),
    /// The end of a body, with its trailers.
    End(Vec<u8>),
    /// The reading ends here.
    Error(String),
    /// The connection has switched to another protocol.
    Switched,
}

/// The reader of one connection.
pub(crate) struct Reader<S> {
    side: S,
    buffer: Vec<u8>,
    body: Option<BodyDecoder>,
    messages: usize,
    stopped: bool,
    pub(crate) events: Vec<Event>,
}

impl<S: Side> Reader<S> {
    pub(crate) fn new(side: S) -> Self {
        Self { side, buffer: Vec::new(), body: None, messages: 0, stopped: false, events: Vec::new() }
    }

    /// All events of bytes that come in these pieces.
    pub(crate) fn read<'a>(side: S, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut reader = Self::new(side);
        pieces.for_each(|piece| reader.feed(piece));
        reader.events
    }

    /// More bytes arrive.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if !self.stopped {
            self.buffer.extend_from_slice(piece);
        }
        while !self.stopped {
            let went_on = if self.body.is_some() { self.decode() } else { self.parse() };
            if !went_on {
                break;
            }
        }
    }

    fn stop(&mut self, event: Event) -> bool {
        self.events.push(event);
        self.stopped = true;
        false
    }

    /// A head; `false` if it needs more bytes or nothing more is read.
    fn parse(&mut self) -> bool {
        let bytes = Chunk::from_vec(self.buffer.clone());
        let (head, len) = match self.side.parse(&bytes) {
            Ok(Parsed::Partial) => {
                let max = self.side.partial_bytes_max();
                assert!(bytes.len() <= max, "{} bytes are no whole head, at most {max}", bytes.len());
                return false;
            }
            Ok(Parsed::Complete { head, len }) => (head, len),
            Err(error) => return self.stop(Event::Error(format!("{error:?}"))),
        };
        assert!(0 < len && len <= self.buffer.len());
        let (framing, decided) = match self.side.decide(&head, len) {
            Ok(decision) => decision,
            Err(error) => return self.stop(Event::Error(format!("{error:?}"))),
        };
        self.events.push(Event::Head(format!("{head:?} {decided}")));
        self.messages += 1;
        let Some(framing) = framing else { return self.stop(Event::Switched) };
        self.buffer.drain(..len);
        self.body = Some(BodyDecoder::new(framing));
        self.stopped = self.messages == MESSAGES_MAX;
        !self.stopped
    }

    /// A part of a body; `false` if it needs more bytes.
    fn decode(&mut self) -> bool {
        let Some(decoder) = &mut self.body else { return false };
        let mut input = Chunk::from_vec(std::mem::take(&mut self.buffer));
        let before = input.len();
        match decoder.decode(&mut input) {
            Ok(Decoded::NeedMore) => {
                assert!(input.is_empty() && !decoder.is_ended());
                return false;
            }
            Ok(Decoded::Data(data)) => {
                assert!(!data.is_empty() && input.len() < before);
                match self.events.last_mut() {
                    Some(Event::Data(all)) => all.extend_from_slice(&data),
                    _ => self.events.push(Event::Data(data.to_vec())),
                }
            }
            Ok(Decoded::End(trailers)) => {
                assert!(decoder.is_ended());
                self.events.push(Event::End(trailers.to_vec()));
                self.body = None;
            }
            Err(error) => return self.stop(Event::Error(format!("{error:?}"))),
        }
        self.buffer = input.to_vec();
        true
    }
}

/// Asserts that a range lies inside the head and that its text cannot end a line.
pub(crate) fn check_span(bytes: &[u8], span: Span) {
    assert!(span.range().end <= bytes.len(), "{span:?} lies outside a head of {} bytes", bytes.len());
    let text = span.of(bytes);
    assert!(!text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{:?}", text.escape_ascii());
}

/// Asserts that fields lie inside the head and are what they are said to be.
pub(crate) fn check_fields(bytes: &[u8], fields: &[Field]) {
    for field in fields {
        check_span(bytes, field.name);
        check_span(bytes, field.value);
        assert!(!field.name.is_empty());
        let value = field.value.of(bytes);
        assert_eq!(value.trim_ascii(), value, "blanks around a value");
        let known = field.id.name();
        assert!(known.is_empty() || known.eq_ignore_ascii_case(field.name.of(bytes)));
    }
}
