//! One stream of a trunk: what came for an exchange and was not asked for yet, and both windows.
//!
//! ```text
//!            HEADERS went                head and END_STREAM came       all was taken, END_STREAM went
//! (attached) ────────────► awaiting ─► body ──────────► ended ─────────────────────────────► released
//!                              └── RST_STREAM, GOAWAY, a broken rule: failed ──(the exchange sees it)──┘
//! ```

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::super::ErrorCode;
use super::super::output::Half;
use crate::buf::{Chain, Chunk};
use crate::command::ConnId;
use crate::error::UpstreamError;
use crate::http::{ResponseHead, Status};

/// What an upstream may send on a stream before its exchange asks for it, in bytes.
pub(super) const STREAM_WINDOW: u32 = 128 * 1024;

/// How many interim heads may wait for an exchange.
const INTERIM_MAX: usize = 32;

/// One stream.
pub(super) struct Leg {
    pub(super) half: Half,
    /// The link of the exchange that it belongs to.
    pub(super) key: ConnId,
    /// What we let the upstream send, in bytes.
    recv_window: i64,
    /// DATA that the exchange has not asked for yet; never more than the window.
    pub(super) pending: Chain,
    /// Heads that it has not asked for yet.
    heads: SmallVec<[ResponseHead; 1]>,
    /// Whether the final head came, and whether it was taken.
    pub(super) has_final: bool,
    pub(super) final_taken: bool,
    /// The lines behind the body.
    trailers: Chunk,
    /// END_STREAM came.
    pub(super) input_closed: bool,
    pub(super) error: Option<UpstreamError>,
    /// The exchange waits for DATA.
    pub(super) wants_input: bool,
    /// It waits for room on the connection.
    pub(super) is_waiting: bool,
    /// How large a head may be, in bytes.
    pub(super) head_bytes_max: usize,
}

impl Leg {
    pub(super) fn new(half: Half, key: ConnId, head_bytes_max: usize) -> Self {
        Self {
            half,
            key,
            recv_window: i64::from(STREAM_WINDOW),
            pending: Chain::new(),
            heads: SmallVec::new(),
            has_final: false,
            final_taken: false,
            trailers: Chunk::empty(),
            input_closed: false,
            error: None,
            wants_input: false,
            is_waiting: false,
            head_bytes_max,
        }
    }

    /// Takes a head.
    ///
    /// # Errors
    /// What the stream fails with.
    pub(super) fn take_head(&mut self, head: ResponseHead, end_stream: bool) -> Result<(), UpstreamError> {
        if head.status.is_some_and(Status::is_interim) {
            if end_stream || self.heads.len() >= INTERIM_MAX {
                return Err(UpstreamError::Violation(ErrorCode::Protocol));
            }
        } else {
            self.has_final = true;
            self.input_closed = end_stream;
        }
        self.heads.push(head);
        Ok(())
    }

    /// Takes a part of the body.
    ///
    /// # Errors
    /// What the stream fails with.
    pub(super) fn take_data(
        &mut self,
        data: Chunk,
        counted: u32,
        end_stream: bool,
    ) -> Result<(), UpstreamError> {
        if self.input_closed {
            return Err(UpstreamError::Violation(ErrorCode::StreamClosed));
        }
        if !self.has_final {
            return Err(UpstreamError::Violation(ErrorCode::Protocol));
        }
        self.recv_window -= i64::from(counted);
        if self.recv_window < 0 {
            return Err(UpstreamError::Violation(ErrorCode::FlowControl));
        }
        self.pending.push_compact(data);
        self.input_closed = end_stream;
        Ok(())
    }

    /// Takes the lines behind the body.
    ///
    /// # Errors
    /// They do not end the stream.
    pub(super) fn take_trailers(&mut self, lines: Chunk, end_stream: bool) -> Result<(), UpstreamError> {
        if self.input_closed || !end_stream {
            return Err(UpstreamError::Violation(ErrorCode::Protocol));
        }
        self.trailers = lines;
        self.input_closed = true;
        Ok(())
    }

    /// The next head for the exchange.
    pub(super) fn next_head(&mut self) -> Option<ResponseHead> {
        if self.heads.is_empty() {
            return None;
        }
        let head = self.heads.remove(0);
        self.final_taken = self.has_final && self.heads.is_empty();
        Some(head)
    }

    /// The end of the body, once all of it was taken: the lines behind it.
    pub(super) fn next_end(&mut self) -> Option<Chunk> {
        let ended = self.input_closed && self.final_taken && self.pending.is_empty();
        ended.then(|| core::mem::take(&mut self.trailers))
    }

    /// By how much the upstream's window grows, because the exchange has taken everything and asks for more.
    pub(super) fn credit(&mut self) -> Option<u32> {
        let window = i64::from(STREAM_WINDOW);
        if self.input_closed || !self.pending.is_empty() || self.recv_window > window / 2 {
            return None;
        }
        let credit = u32::try_from(window - self.recv_window).ok()?;
        self.recv_window = window;
        Some(credit)
    }

    /// It has failed: what waits for its exchange stays, and is followed by this.
    pub(super) fn fail(&mut self, error: UpstreamError) {
        if !self.input_closed {
            self.error.get_or_insert(error);
        }
        self.half.closed = true;
    }
}

/// The streams of a trunk, in the order of their ids.
#[derive(Default)]
pub(super) struct Legs {
    list: Vec<Leg>,
}

impl Legs {
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a stream; its id is higher than all others.
    pub(super) fn push(&mut self, leg: Leg) {
        debug_assert!(self.list.last().is_none_or(|last| last.half.id < leg.half.id));
        self.list.push(leg);
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.list.binary_search_by_key(&id, |leg| leg.half.id).ok()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Leg> {
        let place = self.place(id)?;
        self.list.get_mut(place)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Leg> {
        let place = self.place(id)?;
        Some(self.list.remove(place))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.list.iter_mut()
    }
}
