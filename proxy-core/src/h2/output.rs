//! What goes out: a stream's heads, data and end as frames, and everything else that is said about it.
//!
//! Frames are collected in one piece of memory; only large payloads are linked between such pieces, without a copy. So
//! the replies of many streams leave with one `Send`.

use alloc::vec::Vec;

use super::ErrorCode;
use super::encode::{Encoder, Scheme};
use super::flood::{Counts, Deed, Flood};
use super::frame::{FrameHead, HEAD_BYTES, Kind, Settings, WINDOW_DEFAULT, WINDOW_MAX, flag};
use crate::buf::Chunk;
use crate::conn::Link;
use crate::exchange::context::Context;
use crate::http::{HeaderId, Status};

/// A payload up to this size, in bytes, is copied behind its frame's head.
const COPY_BYTES_MAX: usize = 3 * 1024;

/// From this size on, in bytes, what was collected goes to the link.
const COLLECT_BYTES_MAX: usize = 16 * 1024;

/// DATA that the peer's windows make smaller than this, in bytes, is a sliver.
const SLIVER_BYTES: usize = 64;

/// The outgoing half of a stream.
#[derive(Debug)]
pub(crate) struct Half {
    /// The stream's number.
    pub(super) id: u32,
    /// What the peer lets us send, in bytes; negative where SETTINGS took back what was used.
    pub(super) window: i64,
    /// END_STREAM or RST_STREAM went, or must not go any more.
    pub(super) closed: bool,
    /// What its heads are.
    pub(super) heads: Heads,
}

/// What the heads of a stream are that we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heads {
    /// A reply's.
    Reply,
    /// A reply's to Extended CONNECT: only a switch of protocols may be answered with success.
    Switch,
    /// A request's, with this scheme.
    Request(Scheme),
}

impl Half {
    /// A half that may send as much as the peer says.
    pub(super) const fn new(id: u32, window: u32, heads: Heads) -> Self {
        Self { id, window: window as i64, closed: false, heads }
    }

    /// The peer lets us send more.
    ///
    /// # Errors
    /// More than a window can be.
    pub(super) fn grow(&mut self, bytes: i64) -> Result<(), ErrorCode> {
        self.window += bytes;
        if self.window > i64::from(WINDOW_MAX) { Err(ErrorCode::FlowControl) } else { Ok(()) }
    }

    /// Whether this link has something that could go out.
    pub(super) fn has_output(&self, link: &Link) -> bool {
        !self.closed && (link.has_head() || link.has_end() || (link.ready_bytes() > 0 && self.window > 0))
    }
}

/// The outgoing half of a connection.
pub(crate) struct Output {
    /// Frames that were not handed to the link yet.
    pub(super) frames: Vec<u8>,
    pub(super) encoder: Encoder,
    /// What the peer says.
    pub(super) peer: Settings,
    /// What the peer lets us send on all streams together, in bytes.
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

    /// Sends what a stream's link has: its heads, one frame of data at most, its end. Returns whether anything went.
    ///
    /// # Errors
    /// A peer that takes slivers only.
    pub(super) fn send(
        &mut self,
        half: &mut Half,
        from: &mut Link,
        payload_bytes_max: usize,
        counts: &mut Counts,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Result<bool, Flood> {
        if half.closed {
            return Ok(false);
        }
        let mut went = false;
        while let Some(head) = from.take_head() {
            self.send_head(half, from, &head);
            went = true;
        }
        let window = half.window.min(self.window);
        let window = usize::try_from(window).unwrap_or(0);
        let ready = from.ready_bytes();
        if ready > 0 && window > 0 {
            let len = ready.min(window).min(payload_bytes_max);
            let is_sliver = len < SLIVER_BYTES && len == window && len < ready;
            if is_sliver {
                counts.add(Deed::Sliver, ctx.now.instant)?;
            }
            counts.count_data(is_sliver);
            self.send_data(half, from, len, link, ctx);
            went = true;
        }
        if let Some(trailers) = from.take_end().filter(|_| !half.closed) {
            self.send_end(half, from, &trailers);
            went = true;
        }
        if self.frames.len() >= COLLECT_BYTES_MAX {
            self.flush(link, ctx);
        }
        Ok(went)
    }

    fn send_data(
        &mut self,
        half: &mut Half,
        from: &mut Link,
        len: usize,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let data = from.take_out(len);
        let len = data.len();
        let ends = from.ends_plainly();
        let flags = if ends { flag::END_STREAM } else { 0 };
        half.closed = ends;
        half.window -= len as i64;
        self.window -= len as i64;
        from.count_sent(len, HEAD_BYTES);
        FrameHead { len, kind: Kind::Data, flags, stream: half.id }.write(&mut self.frames);
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
    fn send_end(&mut self, half: &mut Half, from: &mut Link, trailers: &Chunk) {
        half.closed = true;
        let start = self.frames.len();
        if trailers.is_empty() {
            let head = FrameHead { len: 0, kind: Kind::Data, flags: flag::END_STREAM, stream: half.id };
            head.write(&mut self.frames);
        } else {
            self.begin_block();
            self.encoder.begin(&mut self.frames);
            self.lines(trailers, half.heads, false);
            self.end_block(start, flag::END_STREAM, half.id);
        }
        from.count_sent(0, self.frames.len() - start);
    }

    /// A head as HTTP/1 would have sent it, as HEADERS.
    fn send_head(&mut self, half: &mut Half, from: &mut Link, head: &[u8]) {
        let start = self.frames.len();
        let line_end = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        let (line, lines) = head.split_at_checked(line_end).unwrap_or_default();
        self.begin_block();
        let last = if let Heads::Request(scheme) = half.heads {
            let mut parts = line.trim_ascii_end().split(|byte| *byte == b' ');
            let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let authority = host_of(lines);
            self.encoder.request(method, scheme, authority, target, &mut self.frames);
            self.lines(lines, half.heads, false);
            true
        } else {
            self.reply_head(line, lines, half.heads)
        };
        let ends = last && from.ends_plainly();
        let flags = if ends { flag::END_STREAM } else { 0 };
        half.closed = ends;
        self.end_block(start, flags, half.id);
        from.count_sent(0, self.frames.len() - start);
    }

    /// A reply's head. Returns whether it is the last one.
    fn reply_head(&mut self, line: &[u8], lines: &[u8], heads: Heads) -> bool {
        let status = status_of(line);
        let switched = status == Status::SWITCHING_PROTOCOLS;
        let status = match status {
            Status::SWITCHING_PROTOCOLS => Status::OK,
            // RFC 8441, section 5: success would mean that the tunnel stands.
            Status(200..300) if heads == Heads::Switch => Status::BAD_GATEWAY,
            status => status,
        };
        self.encoder.status(status, &mut self.frames);
        self.lines(lines, heads, switched);
        !status.is_interim()
    }

    /// Field lines, less those about a connection.
    #[expect(clippy::wildcard_enum_match_arm, reason = "eight names of sixty")]
    fn lines(&mut self, lines: &[u8], heads: Heads, switched: bool) {
        let request = matches!(heads, Heads::Request(_));
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
                // It is the authority.
                HeaderId::Host if request => {}
                // RFC 9113, section 8.2.2: nothing else may be said there.
                HeaderId::Te if request && !value.eq_ignore_ascii_case(b"trailers") => {}
                HeaderId::Other if switched && name.eq_ignore_ascii_case(b"sec-websocket-accept") => {}
                _ if request => self.encoder.request_field(id, name, value, &mut self.frames),
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

/// The value of the Host line.
fn host_of(lines: &[u8]) -> &[u8] {
    let mut rest = lines;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = rest.get(..end).unwrap_or_default();
        rest = rest.get(end + 1..).unwrap_or_default();
        if let Some((name, value)) = line.split_at_checked("host:".len())
            && name.eq_ignore_ascii_case(b"host:")
        {
            return value.trim_ascii();
        }
    }
    b""
}

/// The status in `HTTP/1.1 200 OK`.
fn status_of(line: &[u8]) -> Status {
    let digits =
        line.get("HTTP/1.1 ".len()..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
    Status(digits.take(3).fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}
