//! One connection to an upstream.

use super::Link;
use crate::buf::{Chain, Chunk};
use crate::command::ConnId;
use crate::exchange::context::Context;
use crate::exchange::proxy::Seat;
use crate::h1::body::BodyDecoder;
use crate::h1::encode;
use crate::http::BodyFraming;
use crate::time::Instant;

/// One connection to an upstream. While it works, its exchange owns it; while it waits, the worker's table does.
#[derive(Debug)]
pub(crate) struct UpstreamConn {
    pub(crate) link: Link,
    /// The group and the server in whose pool it waits.
    pub(crate) seat: Option<Seat>,
    pub(crate) opened: Instant,
    /// Requests that it has served, the present one included.
    pub(crate) requests: u64,
    /// The present reply's body.
    pub(crate) decoder: BodyDecoder,
    /// Whether the present reply leaves the connection open.
    pub(crate) keep_alive: bool,
}

impl UpstreamConn {
    pub(crate) fn new(id: ConnId, now: Instant) -> Self {
        Self {
            link: Link::new(id),
            seat: None,
            opened: now,
            requests: 1,
            decoder: BodyDecoder::Ended,
            keep_alive: false,
        }
    }

    /// Forgets the exchange that ended.
    pub(crate) fn reset(&mut self) {
        self.decoder = BodyDecoder::Ended;
        self.keep_alive = false;
    }

    /// Frames a part of the request's body.
    pub(crate) fn queue_body(&mut self, part: &mut Chain, framing: BodyFraming, ctx: &mut Context) {
        let chunked = framing == BodyFraming::Chunked;
        if chunked {
            encode::chunk_size(&mut ctx.scratch, part.len());
            let line = ctx.take_scratch();
            self.link.queue(line);
        }
        while let Some(chunk) = part.pop_front() {
            self.link.queue(chunk);
        }
        if chunked {
            self.link.queue(Chunk::from_static(b"\r\n"));
        }
    }

    /// Frames the end of the request's body.
    pub(crate) fn queue_body_end(&mut self, framing: BodyFraming, ctx: &mut Context) {
        if framing == BodyFraming::Chunked {
            encode::last_chunk(&mut ctx.scratch, b"");
            let end = ctx.take_scratch();
            self.link.queue(end);
        }
    }
}
