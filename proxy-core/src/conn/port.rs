//! A [`Link`] that an HTTP/2 stream carries, not a socket: the seam between exchanges and HTTP/2.
//!
//! An exchange knows nothing but a link: it asks it for bytes and queues bytes on it. Over a socket that becomes
//! commands; over a stream it becomes what the stream's connection finds here:
//!
//! | the exchange says | a socket's link | a stream's link |
//! | --- | --- | --- |
//! | `want_recv` | a `Recv` | the client may send as much again: WINDOW_UPDATE |
//! | `queue`, `flush` | a `Send` | DATA, as the windows and the connection have room |
//! | `queue_head` | the same bytes | HEADERS: the lines of the head, compressed |
//! | `end_stream` | nothing: the framing said it | END_STREAM, behind the trailers if there are some |
//!
//! So backpressure is one thing in both: what is not asked for is not read, and what is not taken is not produced.

use smallvec::SmallVec;

use super::Link;
use super::link::Ended;
use crate::buf::{Chain, Chunk};
use crate::command::{ConnId, IoError};
use crate::error::UpstreamError;

/// What a stream's link has beside a socket's.
#[derive(Debug, Default)]
pub(crate) struct Port {
    /// Heads that wait to be compressed: interim ones, then the reply's.
    heads: SmallVec<[Chunk; 1]>,
    /// How many bytes the next turn may take: `limit_rate`.
    pub(super) allowance_bytes: usize,
    /// The reply has ended, with these trailer lines.
    end: Option<Chunk>,
    /// Bytes that are no body: the frames of heads, and the heads of all frames.
    overhead_bytes: u64,
    /// Where it is a stream to an upstream: which.
    leg: Option<LegAt>,
    /// The lines that came behind the body.
    trailers: Chunk,
    /// What the stream failed with.
    error: Option<UpstreamError>,
}

/// Where a stream to an upstream is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegAt {
    /// The connection.
    pub(crate) trunk: ConnId,
    /// The stream's number; 0 until its head has gone.
    pub(crate) stream: u32,
    /// How large the reply's head may be, in bytes.
    pub(crate) head_bytes_max: usize,
}

impl Link {
    /// The link of a stream. `id` is the key that files, timers and upstreams know it by.
    pub(crate) fn of_stream(id: ConnId) -> Self {
        let mut link = Self::new(id);
        link.port = Some(alloc::boxed::Box::default());
        link
    }

    /// The link of an exchange that is attached to a trunk.
    pub(crate) fn of_leg(id: ConnId, leg: LegAt) -> Self {
        let port = Port { leg: Some(leg), ..Port::default() };
        let mut link = Self::new(id);
        link.port = Some(alloc::boxed::Box::new(port));
        link
    }

    /// Which stream to an upstream it is, if it is one.
    pub(crate) fn leg(&self) -> Option<LegAt> {
        self.port.as_ref()?.leg
    }

    /// The lines that came behind the body.
    pub(crate) fn take_trailers(&mut self) -> Chunk {
        self.port.as_mut().map(|port| core::mem::take(&mut port.trailers)).unwrap_or_default()
    }

    /// What the stream to the upstream failed with.
    pub(crate) fn leg_error(&self) -> Option<UpstreamError> {
        self.port.as_ref()?.error
    }

    /// Whether a stream carries it.
    pub(crate) const fn is_stream(&self) -> bool {
        self.port.is_some()
    }

    /// Queues a head: interim or final, whole, with its status line.
    pub(crate) fn queue_head(&mut self, head: Chunk) {
        match &mut self.port {
            None => self.queue(head),
            Some(_) if self.broken.is_some() => {}
            Some(port) => {
                self.sending_bytes += head.len();
                port.heads.push(head);
            }
        }
    }

    /// Everything of the reply is queued. Over a socket the framing says so itself.
    pub(crate) fn end_stream(&mut self, trailers: &mut Chunk) {
        if let Some(port) = &mut self.port {
            port.end = Some(core::mem::take(trailers));
        }
    }

    /// What went out that is no body, where that is not the head's length; as nginx counts it, in bytes.
    pub(crate) fn overhead_bytes(&self) -> Option<u64> {
        self.port.as_ref().map(|port| port.overhead_bytes)
    }

    /// Whether the client cannot get its reply any more. A socket's end means that; a stream's is only the request's.
    pub(crate) const fn is_gone(&self) -> bool {
        match self.ended {
            _ if self.broken.is_some() => true,
            Some(Ended::Eof) => self.port.is_none(),
            Some(Ended::Failed(_)) => true,
            None => false,
        }
    }

    // What follows is for the stream's connection.

    /// The head goes out: this is the stream's number.
    pub(crate) fn open_leg(&mut self, stream: u32) {
        if let Some(leg) = self.port.as_mut().and_then(|port| port.leg.as_mut()) {
            leg.stream = stream;
        }
    }

    /// The body has ended with these lines.
    pub(crate) fn put_trailers(&mut self, lines: Chunk) {
        if let Some(port) = &mut self.port {
            port.trailers = lines;
        }
    }

    /// The stream to the upstream has failed.
    pub(crate) fn fail_leg(&mut self, error: UpstreamError) {
        self.fail(IoError::RESET);
        if let Some(port) = &mut self.port {
            port.error = Some(error);
        }
    }

    /// Something happened to the stream to the upstream: what was asked for may be there.
    pub(crate) const fn ask_again(&mut self) {
        self.receiving = false;
    }

    /// What is queued is not wanted.
    pub(crate) fn drop_output(&mut self) {
        self.out.clear();
        self.sending_bytes = 0;
        if let Some(port) = &mut self.port {
            port.heads.clear();
            port.end = None;
        }
    }

    /// The next head.
    pub(crate) fn take_head(&mut self) -> Option<Chunk> {
        let port = self.port.as_mut()?;
        if port.heads.is_empty() {
            return None;
        }
        let head = port.heads.remove(0);
        self.sending_bytes -= head.len();
        Some(head)
    }

    /// Whether the reply has ended and everything before its end was taken.
    pub(crate) fn has_end(&self) -> bool {
        self.out.is_empty() && self.port.as_ref().is_some_and(|port| port.end.is_some())
    }

    /// Whether the exchange asks for bytes.
    pub(crate) const fn wants_input(&self) -> bool {
        self.receiving
    }

    /// Whether a head waits to go out.
    pub(crate) fn has_head(&self) -> bool {
        self.port.as_ref().is_some_and(|port| !port.heads.is_empty())
    }

    /// How many bytes of the body may go out now.
    pub(crate) fn ready_bytes(&self) -> usize {
        self.port.as_ref().map_or(0, |port| port.allowance_bytes.min(self.out.len()))
    }

    /// The body's next bytes, at most so many.
    pub(crate) fn take_out(&mut self, bytes_max: usize) -> Chain {
        if let Some(port) = &mut self.port {
            port.allowance_bytes = port.allowance_bytes.saturating_sub(bytes_max);
        }
        self.out.split_to(bytes_max)
    }

    /// The reply's end, once everything before it was taken: its trailer lines, mostly none.
    pub(crate) fn take_end(&mut self) -> Option<Chunk> {
        if !self.out.is_empty() || self.has_head() {
            return None;
        }
        self.port.as_mut()?.end.take()
    }

    /// Whether nothing but the end is left, without trailers: it can go with what was just taken.
    pub(crate) fn ends_plainly(&self) -> bool {
        self.out.is_empty()
            && self.port.as_ref().is_some_and(|port| port.end.as_ref().is_some_and(|end| end.is_empty()))
    }

    /// Frames went out, with so many bytes of body and so many of everything else.
    pub(crate) fn count_sent(&mut self, body_bytes: usize, overhead_bytes: usize) {
        self.sent_bytes += (body_bytes + overhead_bytes) as u64;
        if let Some(port) = &mut self.port {
            port.overhead_bytes += overhead_bytes as u64;
        }
    }

    /// Hands over bytes that were asked for.
    pub(crate) fn deliver(&mut self, data: Chunk) {
        debug_assert!(self.receiving && self.inbox.is_empty());
        self.receiving = false;
        self.received_bytes += data.len() as u64;
        self.inbox = data;
    }

    /// The client sends no more.
    pub(crate) const fn deliver_end(&mut self) {
        self.receiving = false;
        self.ended = Some(Ended::Eof);
    }

    /// The stream or its connection is gone.
    pub(crate) fn fail(&mut self, error: IoError) {
        self.receiving = false;
        self.inbox = Chunk::empty();
        self.ended = Some(Ended::Failed(error));
        self.broken = Some(error);
        self.out.clear();
        self.sending_bytes = 0;
        if let Some(port) = &mut self.port {
            port.heads.clear();
            // What is cut must not look whole.
            port.end = None;
        }
    }
}
