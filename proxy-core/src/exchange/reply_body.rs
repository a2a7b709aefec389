//! The reply's body on its way to the client: held, spilled, framed.
//!
//! ```text
//! source ─► held ──────────────────────────► link     while the client keeps up
//! source ─► pending ─► temporary file ─► held ─► link  once more is held than fits in memory
//! ```
//! The order of bytes is always: held, then the file's, then pending.

use alloc::sync::Arc;

use super::context::{Context, FileRole};
use super::spill::Spill;
use crate::buf::{Chain, Chunk};
use crate::command::{ConnId, IoError};
use crate::conn::Link;
use crate::h1::encode;

/// How the body is framed towards the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyFraming {
    /// There is none: HEAD, 204, 304.
    #[default]
    None,
    /// As many bytes as Content-Length says; so many are left.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Until the connection closes.
    UntilClose,
    /// Until the stream ends.
    Stream,
}

/// What may be kept of a body that the client is slower to take than the source to give.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// What comes is passed on as it comes (`proxy_buffering off`).
    pub(crate) unbuffered: bool,
    /// In memory, in bytes.
    pub(crate) memory_bytes_max: usize,
    /// In a temporary file, in bytes; 0 uses none.
    pub(crate) file_bytes_max: u64,
    /// Where temporary files are made.
    pub(crate) directory: Arc<[u8]>,
}

/// A reply's body.
#[derive(Debug, Default)]
pub(crate) struct ReplyBody {
    framing: ReplyFraming,
    held: Chain,
    pending: Chain,
    /// The part of what is still to come that goes out, counted from the next byte.
    window: Option<core::ops::Range<u64>>,
    spill: Option<Spill>,
    trailers: Chunk,
    source_ended: bool,
    /// Everything, the last chunk included, was handed to the link.
    ended: bool,
    cut: bool,
    /// The client was given time and did not keep up: a temporary file may be used.
    may_spill: bool,
}

impl ReplyBody {
    /// Sets the framing; the head is about to be sent.
    pub(crate) const fn begin(&mut self, framing: ReplyFraming) {
        self.framing = framing;
    }

    /// The framing in force.
    pub(crate) const fn framing(&self) -> ReplyFraming {
        self.framing
    }

    /// Only this part of what the source gives goes out.
    pub(crate) const fn cut_out(&mut self, part: core::ops::Range<u64>) {
        self.window = Some(part);
    }

    /// All that is still to come goes out: the source gives nothing else.
    pub(crate) const fn forget_window(&mut self) {
        self.window = None;
    }

    /// What of the next bytes lies in the part that goes out.
    fn cut_to_window(&mut self, mut data: Chunk) -> Chunk {
        let Some(window) = &mut self.window else { return data };
        let skipped = window.start.min(data.len() as u64);
        data.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
        window.start -= skipped;
        window.end -= skipped;
        if window.start == 0 {
            data.truncate(usize::try_from(window.end).unwrap_or(usize::MAX));
            window.end -= data.len() as u64;
        }
        data
    }

    /// Bytes from the source. What the framing has no place for is dropped.
    pub(crate) fn push(&mut self, data: Chunk) {
        let data = if self.window.is_some() { self.cut_to_window(data) } else { data };
        if data.is_empty() {
            return;
        }
        match self.framing {
            ReplyFraming::None => {}
            ReplyFraming::Length(_)
            | ReplyFraming::Chunked
            | ReplyFraming::UntilClose
            | ReplyFraming::Stream => {
                if self.spills() {
                    self.pending.push_compact(data)
                } else {
                    self.held.push_compact(data)
                }
            }
        }
    }

    /// The source has given all.
    pub(crate) fn end(&mut self, trailers: Chunk) {
        self.trailers = trailers;
        self.source_ended = true;
    }

    /// The source broke off: the client must see that this is not the end.
    pub(crate) fn cut(&mut self) {
        self.pending.clear();
        self.source_ended = true;
        self.cut = true;
    }

    /// Whether the source broke off.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether the source has given all.
    pub(crate) const fn source_ended(&self) -> bool {
        self.source_ended
    }

    /// Whether everything was handed to the link.
    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }

    /// The file in use.
    pub(crate) const fn spill(&mut self) -> Option<&mut Spill> {
        self.spill.as_mut()
    }

    fn spills(&self) -> bool {
        let filed = |spill: &Spill| spill.failed().is_none() && (!spill.is_ready() || spill.unread() > 0);
        self.spill.as_ref().is_some_and(filed) || !self.pending.is_empty()
    }

    /// Bytes that wait for the link, in memory.
    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.held.len() + self.pending.len()
    }

    /// Whether the source may give more.
    pub(crate) fn has_room(&self, link: &Link, room: &Room) -> bool {
        let waiting = self.held.len() + link.unsent_bytes();
        if room.file_bytes_max == 0 || (self.spill.is_none() && !self.may_spill) {
            return waiting < room.memory_bytes_max;
        }
        let filed = self.spill.as_ref().map_or(0, Spill::written);
        self.pending.len() < room.memory_bytes_max
            && (waiting < room.memory_bytes_max || filed < room.file_bytes_max)
    }

    /// Whether more than fits in memory waits for the client only because the client is still given time.
    pub(crate) const fn waits_for_patience(&self) -> bool {
        !self.may_spill
    }

    /// The client had its time.
    pub(crate) const fn allow_spill(&mut self) {
        self.may_spill = true;
    }

    /// Why a part of the body is lost: the file that it was in has failed.
    pub(crate) fn lost(&self) -> Option<IoError> {
        self.spill.as_ref().and_then(Spill::lost)
    }

    /// Moves bytes to the temporary file, if more wait than fit in memory, and back from it.
    pub(crate) fn pump_spill(&mut self, client: ConnId, link: &Link, room: &Room, ctx: &mut Context) {
        let Some(spill) = &mut self.spill else {
            let waiting = self.held.len() + link.unsent_bytes();
            if self.may_spill
                && room.file_bytes_max > 0
                && waiting >= room.memory_bytes_max
                && !self.source_ended
            {
                self.spill = Some(Spill::open(client, FileRole::Reply, &room.directory, ctx));
            }
            return;
        };
        if let Some(chunk) = spill.take() {
            self.held.push(chunk);
        }
        spill.reset_if_drained();
        if spill.failed().is_some() || (spill.is_ready() && spill.unread() == 0 && self.held.is_empty()) {
            // Nothing is in the file (or it is of no use): what waits is next.
            self.held.append(&mut self.pending);
        } else if spill.is_ready() && !self.pending.is_empty() {
            spill.write(core::mem::take(&mut self.pending), ctx);
        } else if self.held.len() < READ_AHEAD_BYTES {
            spill.want_read(ctx);
        }
    }

    /// Appends to `head` what of the body is small and at hand, so that both go out with one plain send.
    pub(crate) fn append_small(&mut self, head: &mut alloc::vec::Vec<u8>) {
        if self.framing == ReplyFraming::None || self.held.len() > COPY_BYTES_MAX || self.held.is_empty() {
            return;
        }
        let data = core::mem::take(&mut self.held);
        let chunked = self.framing == ReplyFraming::Chunked;
        if chunked {
            encode::chunk_size(head, data.len());
        }
        for chunk in data.chunks() {
            head.extend_from_slice(chunk);
        }
        if chunked {
            head.extend_from_slice(b"\r\n");
        }
        self.count(data.len());
        if self.source_ended && !self.cut {
            self.append_end(head);
        }
    }

    fn append_end(&mut self, out: &mut alloc::vec::Vec<u8>) {
        if self.framing == ReplyFraming::Chunked {
            encode::last_chunk(out, &self.trailers);
        }
        self.ended = true;
    }

    fn count(&mut self, sent: usize) {
        if let ReplyFraming::Length(left) = &mut self.framing {
            *left = left.saturating_sub(sent as u64);
        }
    }

    /// Frames what is held and hands it to the link, as far as the link has room.
    pub(crate) fn pump(&mut self, link: &mut Link, ctx: &mut Context) {
        while !self.held.is_empty() && link.unsent_bytes() < LINK_BYTES_MAX {
            let part = self.held.split_to(LINK_BYTES_MAX);
            self.count(part.len());
            self.frame(part, link, ctx);
        }
        let drained = self.held.is_empty() && !self.spills();
        if self.source_ended && drained && !self.ended {
            if self.framing == ReplyFraming::Chunked && !self.cut {
                encode::last_chunk(&mut ctx.scratch, &self.trailers);
                let line = ctx.take_scratch();
                link.queue(line);
            }
            if !self.cut {
                link.end_stream(&mut self.trailers);
            }
            self.ended = true;
        }
    }

    /// Hands one part to the link: a small chunk in one piece, anything else without a copy.
    fn frame(&self, mut part: Chain, link: &mut Link, ctx: &mut Context) {
        let chunked = self.framing == ReplyFraming::Chunked;
        if chunked {
            debug_assert!(ctx.scratch.is_empty());
            encode::chunk_size(&mut ctx.scratch, part.len());
            if part.len() <= COPY_BYTES_MAX {
                while let Some(chunk) = part.pop_front() {
                    ctx.scratch.extend_from_slice(&chunk);
                }
                ctx.scratch.extend_from_slice(b"\r\n");
            }
            let line = ctx.take_scratch();
            link.queue(line);
        }
        let rest = !part.is_empty();
        while let Some(chunk) = part.pop_front() {
            link.queue(chunk);
        }
        if chunked && rest {
            link.queue(Chunk::from_static(b"\r\n"));
        }
    }

    /// Frees everything.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        if let Some(spill) = self.spill.take() {
            spill.close(ctx);
        }
        *self = Self::default();
    }
}

/// A body up to this size goes behind its head in the same buffer: copying it costs less than a vectored write.
const COPY_BYTES_MAX: usize = 3 * 1024;

/// How much is handed to the link before the client has taken some of it, in bytes.
const LINK_BYTES_MAX: usize = 128 * 1024;

/// How much is read ahead from a temporary file, in bytes.
const READ_AHEAD_BYTES: usize = 64 * 1024;
