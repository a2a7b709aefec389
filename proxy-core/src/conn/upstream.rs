//! One connection to an upstream.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::Link;
use super::application::Application;
use super::link::Ended;
use super::port::LegAt;
use crate::buf::{Buf, Chain, Chunk};
use crate::command::{ConnId, IoError};
use crate::error::UpstreamError;
use crate::exchange::context::Context;
use crate::exchange::proxy::Seat;
use crate::fastcgi;
use crate::h1::body::{BodyDecoder, Decoded};
use crate::h1::encode;
use crate::http::BodyFraming;
use crate::http::framing::ResponseMeta;
use crate::time::Instant;
use crate::tls::client::Identity;

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
    /// What is missing of a stream's announced body, in bytes.
    expected: Option<u64>,
    /// It speaks for one client, and no other may use it (`proxy_protocol`).
    pub(crate) exclusive: bool,
    /// Whether the present reply leaves the connection open.
    pub(crate) keep_alive: bool,
    /// The present reply, where a program gives it that does not speak HTTP.
    pub(crate) application: Option<Box<Application>>,
    /// Under what it was made, where that was with TLS.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The protocol that ALPN has led to; empty for none.
    pub(crate) protocol: Box<[u8]>,
}

impl UpstreamConn {
    pub(crate) fn new(id: ConnId, now: Instant) -> Self {
        Self {
            link: Link::new(id),
            seat: None,
            opened: now,
            requests: 1,
            decoder: BodyDecoder::Ended,
            expected: None,
            keep_alive: false,
            exclusive: false,
            application: None,
            identity: None,
            protocol: Box::default(),
        }
    }

    /// A stream on a trunk.
    pub(crate) fn on_trunk(key: ConnId, leg: LegAt, has_served: bool, now: Instant) -> Self {
        Self { link: Link::of_leg(key, leg), requests: 1 + u64::from(has_served), ..Self::new(key, now) }
    }

    /// The head has come: so is its body framed. On a stream it ends with the stream, wherever there is one.
    pub(crate) fn expect_body(&mut self, meta: &ResponseMeta) {
        let on_stream = self.link.leg().is_some() && meta.framing != BodyFraming::None;
        self.expected = meta.framing.length().filter(|_| on_stream);
        self.decoder = if on_stream { BodyDecoder::UntilClose } else { BodyDecoder::new(meta.framing) };
    }

    /// So much of the body came.
    ///
    /// # Errors
    /// More than the stream had announced.
    pub(crate) fn count_body(&mut self, bytes: usize) -> Result<(), UpstreamError> {
        if let Some(left) = &mut self.expected {
            *left = left.checked_sub(bytes as u64).ok_or(UpstreamError::LongBody)?;
        }
        Ok(())
    }

    /// Whether the stream has come to its end, and with it the body: the lines behind it.
    ///
    /// # Errors
    /// Less came than was announced.
    pub(crate) fn end_of_stream(&mut self) -> Result<Option<Chunk>, UpstreamError> {
        if self.link.leg().is_none() || self.decoder.is_ended() || self.link.ended() != Some(Ended::Eof) {
            return Ok(None);
        }
        if self.expected.is_some_and(|left| left > 0) {
            return Err(UpstreamError::ShortBody);
        }
        self.decoder = BodyDecoder::Ended;
        Ok(Some(self.link.take_trailers()))
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

    /// Bytes came while it waited. Returns whether they were TLS's own business, a new ticket say, so that it may wait on.
    pub(crate) fn overhear(&mut self, result: Result<Buf, IoError>, ctx: &mut Context) -> bool {
        self.link.handle_recv(result, ctx);
        let stays = !self.link.has_input() && self.link.ended_early().is_none() && !self.link.is_sending();
        if stays {
            self.want_recv(ctx);
        }
        stays
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

    /// Frames the end of the request's body. The lines behind it have a place on a stream only.
    pub(crate) fn queue_body_end(&mut self, framing: BodyFraming, mut trailers: Chunk, ctx: &mut Context) {
        if framing == BodyFraming::Chunked {
            encode::last_chunk(&mut ctx.scratch, b"");
            let end = ctx.take_scratch();
            self.link.queue(end);
        }
        if matches!(self.application.as_deref(), Some(Application::FastCgi(..))) {
            self.link.queue(fastcgi::encode::stdin_end());
        }
        self.link.end_stream(&mut trailers);
    }
}
