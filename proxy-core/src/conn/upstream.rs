//! One connection to an upstream.

use alloc::boxed::Box;

use super::Link;
use super::application::Application;
use crate::buf::{Chain, Chunk};
use crate::command::ConnId;
use crate::error::UpstreamError;
use crate::exchange::context::Context;
use crate::exchange::proxy::Seat;
use crate::fastcgi;
use crate::h1::body::{BodyDecoder, Decoded};
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
    /// The present reply, where a program gives it that does not speak HTTP.
    pub(crate) application: Option<Box<Application>>,
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
            application: None,
        }
    }

    /// Forgets the exchange that ended.
    pub(crate) fn reset(&mut self) {
        self.decoder = BodyDecoder::Ended;
        self.keep_alive = false;
        self.application = None;
    }

    /// Takes the next part of the reply's body off what came.
    ///
    /// # Errors
    /// Broken framing.
    pub(crate) fn decode(&mut self) -> Result<Decoded, UpstreamError> {
        let Some(application) = &mut self.application else {
            return Ok(self.decoder.decode(self.link.inbox())?);
        };
        let (decoded, may_be_kept) = application.decode(&mut self.decoder, self.link.inbox())?;
        self.keep_alive |= may_be_kept;
        Ok(decoded)
    }

    /// Whether the end of the connection is the proper end of the body.
    pub(crate) fn ends_with_connection(&self) -> bool {
        let in_records = matches!(self.application.as_deref(), Some(Application::FastCgi(..)));
        self.decoder.ends_with_connection() && !in_records
    }

    /// Queues a part of the request's body whose length was said before, or that is in records.
    pub(crate) fn queue_part(&mut self, part: Chunk) {
        if matches!(self.application.as_deref(), Some(Application::FastCgi(..))) {
            fastcgi::encode::stdin(part, |chunk| self.link.queue(chunk));
        } else {
            self.link.queue(part);
        }
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
            self.queue_part(chunk);
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
        if matches!(self.application.as_deref(), Some(Application::FastCgi(..))) {
            self.link.queue(fastcgi::encode::stdin_end());
        }
    }
}
