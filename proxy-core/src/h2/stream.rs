//! One stream: an exchange, the link that it speaks to, and both windows.
//!
//! ```text
//!              HEADERS                END_STREAM came            END_STREAM went
//!   (idle) ──────────────► open ──────────────────────► input ──────────────────► gone
//!                            │                         closed          ▲
//!                            └───── END_STREAM went: the rest is not wanted ──────┘
//! ```
//! RST_STREAM, from either side, leads to "gone" from everywhere.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::ErrorCode;
use super::output::Half;
use crate::buf::{Chain, Chunk};
use crate::command::ConnId;
use crate::conn::Link;
use crate::exchange::Exchange;
use crate::exchange::request_body::Mode;

/// One stream.
pub(crate) struct Stream {
    pub(super) half: Half,
    pub(crate) exchange: Box<Exchange>,
    pub(crate) link: Link,
    /// What we let the client send, in bytes.
    pub(super) recv_window: i64,
    /// DATA that the exchange has not asked for yet; never more than its window.
    pub(super) pending: Chain,
    /// What is missing of the announced length, in bytes.
    pub(super) expected: Option<u64>,
    /// END_STREAM came.
    pub(super) input_closed: bool,
    /// Whether it waits to be advanced, and whether it waits to be sent.
    pub(super) is_ready: bool,
    pub(super) is_queued: bool,
}

impl Stream {
    /// Takes a part of the request's body.
    ///
    /// # Errors
    /// What the stream is reset with.
    pub(super) fn take_data(&mut self, data: Chunk, counted: u32, end_stream: bool) -> Result<(), ErrorCode> {
        if self.input_closed {
            return Err(ErrorCode::StreamClosed);
        }
        self.recv_window -= i64::from(counted);
        if self.recv_window < 0 {
            return Err(ErrorCode::FlowControl);
        }
        if let Some(left) = &mut self.expected {
            *left = left.checked_sub(data.len() as u64).ok_or(ErrorCode::Protocol)?;
        }
        self.exchange.facts.request_length += u64::from(counted);
        self.pending.push_compact(data);
        if end_stream { self.end_input() } else { Ok(()) }
    }

    /// The request has ended with these lines.
    ///
    /// # Errors
    /// As [`end_input`](Self::end_input).
    pub(super) fn end_with(&mut self, trailers: Chunk) -> Result<(), ErrorCode> {
        self.link.put_trailers(trailers);
        self.end_input()
    }

    /// The request has ended.
    ///
    /// # Errors
    /// RFC 9113, section 8.1.1: it is shorter than it was announced to be.
    pub(super) fn end_input(&mut self) -> Result<(), ErrorCode> {
        self.input_closed = true;
        if self.expected.is_some_and(|left| left > 0) { Err(ErrorCode::Protocol) } else { Ok(()) }
    }

    /// Gives the exchange what it asks for. Returns how many bytes, if anything.
    pub(super) fn feed(&mut self) -> Option<usize> {
        if self.link.wants_input()
            && let Some(chunk) = self.pending.pop_front()
        {
            let bytes = chunk.len();
            self.link.deliver(chunk);
            return Some(bytes);
        }
        if self.input_closed && self.pending.is_empty() && self.link.ended_early().is_none() {
            self.link.deliver_end();
            return Some(0);
        }
        None
    }

    /// By how much the client's window is to grow: as far as the exchange asks for more than is here.
    pub(super) fn credit(&mut self, window: i64) -> Option<u32> {
        let unwanted = self.exchange.body.mode() == Mode::Discard;
        if unwanted || !self.link.wants_input() || self.input_closed || self.recv_window > window / 2 {
            return None;
        }
        let credit = u32::try_from(window - self.recv_window).ok().filter(|credit| *credit > 0)?;
        self.recv_window = window;
        Some(credit)
    }

    /// Whether there is something that could go out.
    pub(super) fn has_output(&self) -> bool {
        self.half.has_output(&self.link)
    }
}

/// The streams of a connection, in the order of their ids.
#[derive(Default)]
pub(crate) struct Streams {
    #[expect(clippy::vec_box, reason = "streams are large, and those behind a closed one move")]
    list: Vec<Box<Stream>>,
}

impl Streams {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a stream; its id is higher than all others.
    pub(super) fn push(&mut self, stream: Box<Stream>) {
        debug_assert!(self.list.last().is_none_or(|last| last.half.id < stream.half.id));
        self.list.push(stream);
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.list.binary_search_by_key(&id, |stream| stream.half.id).ok()
    }

    /// The stream with this id.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id)?;
        self.list.get_mut(place).map(|stream| &mut **stream)
    }

    /// The stream with this id whose link has this key.
    pub(crate) fn find(&mut self, id: u32, key: ConnId) -> Option<&mut Stream> {
        self.get_mut(id).filter(|stream| stream.link.id == key)
    }

    /// Takes a stream out.
    pub(super) fn remove(&mut self, id: u32) -> Option<Box<Stream>> {
        let place = self.place(id)?;
        Some(self.list.remove(place))
    }

    /// Takes the last stream out.
    pub(super) fn pop(&mut self) -> Option<Box<Stream>> {
        self.list.pop()
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.list.iter_mut().map(|stream| &mut **stream)
    }
}
