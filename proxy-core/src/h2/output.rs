//! What goes out: a stream's heads, data and end as frames, and everything else that is said about it.
//!
//! Frames are collected in one piece of memory; only large payloads are linked between such pieces, without a copy. So
//! the replies of many streams leave with one `Send`.

use alloc::vec::Vec;

use super::ErrorCode;
use super::encode::Encoder;
use super::flood::{Counts, Deed, Flood};
use super::frame::{FrameHead, HEAD_BYTES, Kind, Settings, WINDOW_DEFAULT, flag};
use super::stream::Stream;
use crate::buf::Chunk;
use crate::conn::Link;
use crate::exchange::context::Context;
use crate::http::{HeaderId, Status};

/// A payload up to this size, in bytes, is copied behind its frame's head.
const COPY_BYTES_MAX: usize = 3 * 1024;

/// From this size on, in bytes, what was collected goes to the link.
const COLLECT_BYTES_MAX: usize = 16 * 1024;

/// DATA that the client's windows make smaller than this, in bytes, is a sliver.
const SLIVER_BYTES: usize = 64;

/// The outgoing half of a connection.
pub(crate) struct Output {
    /// Frames that were not handed to the link yet.
    pub(super) frames: Vec<u8>,
    pub(super) encoder: Encoder,
    /// What the client says.
    pub(super) peer: Settings,
    /// What the client lets us send on all streams together, in bytes.
    pub(super) window: i64,
}

impl Output {
    pub(super) fn new() -> Self {
        Self {
            frames: Vec::new(),
            encoder: Encoder::default(),
            peer: Settings::default(),
            window: i64::from(WINDOW_DEFAULT),
        }
    }

    /// Hands what was collected to the link.
    pub(super) fn flush(&mut self, link: &mut Link, ctx: &mut Context) {
        if !self.frames.is_empty() {
            debug_assert!(ctx.scratch.is_empty());
            core::mem::swap(&mut self.frames, &mut ctx.scratch);
            let chunk = ctx.take_scratch();
            core::mem::swap(&mut self.frames, &mut ctx.scratch);
            link.queue(chunk);
        }
    }

    /// Sends what a stream has: its heads, one frame of data at most, its end. Returns whether anything went.
    ///
    /// # Errors
    /// A client that takes slivers only.
    pub(super) fn send(
        &mut self,
        stream: &mut Stream,
        payload_bytes_max: usize,
        counts: &mut Counts,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Result<bool, Flood> {
        if stream.output_closed {
            return Ok(false);
        }
        let mut went = false;
        while let Some(head) = stream.link.take_head() {
            self.send_head(stream, &head);
            went = true;
        }
        let window = stream.send_window.min(self.window);
        let window = usize::try_from(window).unwrap_or(0);
        let ready = stream.link.ready_bytes();
        if ready > 0 && window > 0 {
            let len = ready.min(window).min(payload_bytes_max);
            if len < SLIVER_BYTES && len == window && len < ready {
                counts.add(Deed::Sliver, ctx.now.instant)?;
            }
            counts.allow_updates();
            self.send_data(stream, len, link, ctx);
            went = true;
        }
        if let Some(trailers) = stream.link.take_end().filter(|_| !stream.output_closed) {
            self.send_end(stream, &trailers);
            went = true;
        }
        if self.frames.len() >= COLLECT_BYTES_MAX {
            self.flush(link, ctx);
        }
        Ok(went)
    }

    fn send_data(&mut self, stream: &mut Stream, len: usize, link: &mut Link, ctx: &mut Context) {
        let data = stream.link.take_out(len);
        let len = data.len();
        let ends = stream.link.ends_plainly();
        let flags = if ends { flag::END_STREAM } else { 0 };
        stream.output_closed = ends;
        stream.send_window -= len as i64;
        self.window -= len as i64;
        stream.link.count_sent(len, HEAD_BYTES);
        FrameHead { len, kind: Kind::Data, flags, stream: stream.id }.write(&mut self.frames);
        if len <= COPY_BYTES_MAX {
            for chunk in data.chunks() {
                self.frames.extend_from_slice(chunk);
            }
            return;
        }
        self.flush(link, ctx);
        for chunk in data.chunks() {
            link.queue(chunk.clone());
        }
    }

    /// END_STREAM, behind the trailers if there are some.
    fn send_end(&mut self, stream: &mut Stream, trailers: &Chunk) {
        stream.output_closed = true;
        let start = self.frames.len();
        if trailers.is_empty() {
            let head = FrameHead { len: 0, kind: Kind::Data, flags: flag::END_STREAM, stream: stream.id };
            head.write(&mut self.frames);
        } else {
            self.begin_block();
            self.encoder.begin(&mut self.frames);
            self.lines(trailers, false);
            self.end_block(start, flag::END_STREAM, stream.id);
        }
        stream.link.count_sent(0, self.frames.len() - start);
    }

    /// A head as HTTP/1 would have sent it, as HEADERS.
    fn send_head(&mut self, stream: &mut Stream, head: &[u8]) {
        let start = self.frames.len();
        let line_end = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        let (line, lines) = head.split_at_checked(line_end).unwrap_or_default();
        let status = status_of(line);
        let switched = status == Status::SWITCHING_PROTOCOLS;
        let status = match status {
            Status::SWITCHING_PROTOCOLS => Status::OK,
            // RFC 8441, section 5: success would mean that the tunnel stands.
            Status(200..300) if stream.extended => Status::BAD_GATEWAY,
            status => status,
        };
        self.begin_block();
        self.encoder.status(status, &mut self.frames);
        self.lines(lines, switched);
        let ends = !status.is_interim() && stream.link.ends_plainly();
        let flags = if ends { flag::END_STREAM } else { 0 };
        stream.output_closed = ends;
        self.end_block(start, flags, stream.id);
        stream.link.count_sent(0, self.frames.len() - start);
    }

    /// Field lines, less those about a connection.
    #[expect(clippy::wildcard_enum_match_arm, reason = "six names of sixty")]
    fn lines(&mut self, lines: &[u8], switched: bool) {
        let mut rest = lines;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = rest.get(..end).unwrap_or_default();
            rest = rest.get(end + 1..).unwrap_or_default();
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = line.split_at_checked(colon).unwrap_or_default();
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let id = HeaderId::from_token(name);
            match id {
                HeaderId::Connection
                | HeaderId::KeepAlive
                | HeaderId::ProxyConnection
                | HeaderId::TransferEncoding
                | HeaderId::Upgrade
                | HeaderId::Http2Settings => {}
                HeaderId::Other if switched && name.eq_ignore_ascii_case(b"sec-websocket-accept") => {}
                _ => self.encoder.field(id, name, value, &mut self.frames),
            }
        }
    }

    /// Leaves room for the head of the frame that a block begins with.
    fn begin_block(&mut self) {
        self.frames.extend_from_slice(&[0; HEAD_BYTES]);
    }

    /// Writes the head of the frame that began at `start`, and CONTINUATION where the block is too large for one.
    fn end_block(&mut self, start: usize, flags: u8, stream: u32) {
        let len = self.frames.len() - start - HEAD_BYTES;
        let most = self.peer.payload_bytes_max as usize;
        if len <= most {
            let head = FrameHead { len, kind: Kind::Headers, flags: flags | flag::END_HEADERS, stream };
            if let Some(place) = self.frames.get_mut(start..start + HEAD_BYTES) {
                place.copy_from_slice(&head.to_bytes());
            }
            return;
        }
        let block = self.frames.split_off(start + HEAD_BYTES);
        self.frames.truncate(start);
        let mut parts = block.chunks(most).peekable();
        let (mut kind, mut flags) = (Kind::Headers, flags);
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            FrameHead { len: part.len(), kind, flags, stream }.write(&mut self.frames);
            self.frames.extend_from_slice(part);
            (kind, flags) = (Kind::Continuation, 0);
        }
    }

    /// What ends a stream that has not ended by itself.
    pub(super) fn reset(&mut self, stream: u32, code: ErrorCode) {
        super::frame::write_reset(stream, code, &mut self.frames);
    }
}

/// The status in `HTTP/1.1 200 OK`.
fn status_of(line: &[u8]) -> Status {
    let digits =
        line.get("HTTP/1.1 ".len()..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
    Status(digits.take(3).fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}
