//! One client's HTTP/2 connection: many exchanges over one link.
//!
//! ```text
//! link.inbox ─► Reader ─► input: heads ─► Stream { Exchange, Link }  ─► ready ─► advance
//!                         input: data  ─► Stream.pending ─► its link ◄──────────┘  │
//! link.queue ◄─ Output  ◄─ queued ◄──────────────────── its link's heads, data, end ┘
//! ```
//! A stream that something happened to is *ready*: its exchange is advanced, takes what it asked for, and leaves on its
//! link what it has to say. A stream with something to say is *queued*: whenever the socket has room, the first in the
//! queue sends one frame of data at most and queues up again. That is fair to all, and priorities change nothing.
//!
//! [`input`](super::input) is the other half of this machine: what a client's frames mean.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::ErrorCode;
use super::decode::Decoder;
use super::flood::Counts;
use super::frame::{self, WINDOW_DEFAULT};
use super::head::HeadBuilder;
use super::output::Output;
use super::reader::Reader;
use super::stream::{Stream, Streams};
use crate::command::{ConnId, IoError, ListenerId, Room};
use crate::config::{CoreSettings, LocationId, Server};
use crate::conn::Link;
use crate::conn::client::head_limits;
use crate::exchange::context::{Context, Generation};
use crate::exchange::{ConnFacts, Exchange, Stage};
use crate::h1::HeadLimits;
use crate::http::Status;
use crate::time::Millis;
use crate::timer::Reason;

/// How much is handed to the socket's link before the client has taken some of it, in bytes.
pub(super) const OUT_BYTES_MAX: usize = 64 * 1024;

/// From so many unsent bytes on no more frames are read: a client that makes us answer has to take the answers.
pub(crate) const UNSENT_BYTES_MAX: usize = 2 * OUT_BYTES_MAX;

/// A stream with less than this waiting, in bytes, is asked for more before it sends again.
const REFILL_BYTES: usize = 32 * 1024;

/// What a client may send on all streams together before somebody has asked for it, in bytes.
const CONNECTION_WINDOW: i64 = 1024 * 1024;

/// What it may send on a stream whose body is being read, in bytes.
const STREAM_WINDOW: i64 = 256 * 1024;

/// How many streams that we have reset are remembered: what the client had sent before it knew is no error.
const RESETS_REMEMBERED: usize = 64;

/// One client's HTTP/2 connection.
pub(crate) struct Http2 {
    pub(super) facts: Rc<ConnFacts>,
    /// Its listener in the present configuration.
    pub(super) listener: Option<ListenerId>,
    pub(super) reader: Reader,
    pub(super) decoder: Decoder,
    pub(super) builder: HeadBuilder,
    pub(super) block: Option<Block>,
    pub(super) output: Output,
    pub(crate) streams: Streams,
    /// Streams that something happened to.
    ready: VecDeque<u32>,
    /// Streams that have something to send.
    queued: VecDeque<u32>,
    pub(super) counts: Counts,
    /// What we let the client send on all streams together, in bytes.
    pub(super) recv_window: i64,
    /// DATA that no exchange has asked for yet, in bytes.
    pub(super) pending_bytes: usize,
    /// The highest stream that the client has opened.
    pub(super) last_stream: u32,
    pub(super) requests: u64,
    pub(super) resets: VecDeque<u32>,
    pub(super) settings: Http2Settings,
    /// Whether the client's SETTINGS came.
    pub(super) has_settings: bool,
    pub(super) phase: Phase,
    /// The level of the last exchange; before there was one, the listener's default server's.
    pub(crate) last: (Rc<Generation>, LocationId),
    /// What the client had taken when the deadline was last moved.
    sent_mark: u64,
    /// It is to be driven when the turn ends.
    is_dirty: bool,
}

/// What holds for the whole connection, as the listener's default server has it.
pub(crate) struct Http2Settings {
    /// `http2_max_concurrent_streams`
    pub(super) streams_max: u32,
    /// `http2_body_preread_size` in bytes.
    pub(super) preread_bytes: u32,
    /// `client_header_timeout`
    pub(super) header_timeout: Millis,
    /// The bounds of a head, should the listener be gone.
    pub(super) limits: HeadLimits,
}

impl Http2Settings {
    /// The settings of a listener's default server.
    pub(crate) const fn of(server: &Server) -> Self {
        Self {
            streams_max: server.http2_streams_max,
            preread_bytes: server.http2_preread_bytes,
            header_timeout: server.client_header_timeout,
            limits: head_limits(server),
        }
    }
}

/// A block of fields whose end has not come.
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) continuations: u32,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// New streams are welcome.
    Open,
    /// GOAWAY went: the streams that there are come to their end.
    Leaving,
    /// GOAWAY with an error went: nothing more is read.
    Failed,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Open,
    /// All is said: an orderly end.
    Ended,
    /// The other side is gone.
    Gone,
}

impl Http2 {
    /// A connection whose preface has begun to come.
    pub(crate) fn new(
        facts: Rc<ConnFacts>,
        listener: Option<ListenerId>,
        settings: Http2Settings,
        level: (Rc<Generation>, LocationId),
        ctx: &Context,
    ) -> Box<Self> {
        let mut output = Output::new();
        frame::write_settings(settings.streams_max, settings.preread_bytes, &mut output.frames);
        let mut http2 = Self {
            facts,
            listener,
            reader: Reader::default(),
            decoder: Decoder::default(),
            builder: HeadBuilder::default(),
            block: None,
            output,
            streams: Streams::default(),
            ready: VecDeque::new(),
            queued: VecDeque::new(),
            counts: Counts::new(ctx.now.instant),
            recv_window: i64::from(WINDOW_DEFAULT),
            pending_bytes: 0,
            last_stream: 0,
            requests: 0,
            resets: VecDeque::new(),
            settings,
            has_settings: false,
            phase: Phase::Open,
            last: level,
            sent_mark: u64::MAX,
            is_dirty: false,
        };
        http2.credit_connection();
        Box::new(http2)
    }

    /// Moves everything as far as it goes.
    pub(crate) fn drive(&mut self, link: &mut Link, ctx: &mut Context) -> Fate {
        if self.phase != Phase::Failed
            && let Err(code) = self.read(link, ctx)
        {
            self.fail(code, ctx);
        }
        self.serve(link, ctx);
        self.credit_connection();
        self.output.flush(link, ctx);
        link.flush(ctx);
        if link.is_gone() {
            self.abort(ctx);
            return Fate::Gone;
        }
        let ended = self.phase == Phase::Failed || (self.phase == Phase::Leaving && self.streams.is_empty());
        if ended && link.unsent_bytes() == 0 {
            return Fate::Ended;
        }
        let room = if self.pending_bytes > 0 || self.reader.is_in_data() { Room::Large } else { Room::Small };
        if self.phase != Phase::Failed {
            link.want_recv(room, ctx);
        }
        self.watch(link, ctx);
        Fate::Open
    }

    /// Reads frames, unless the client leaves too many answers untaken.
    fn read(&mut self, link: &mut Link, ctx: &mut Context) -> Result<(), ErrorCode> {
        while link.has_input() && link.unsent_bytes() + self.output.frames.len() < UNSENT_BYTES_MAX {
            let Some(event) = self.reader.next(link.inbox())? else { break };
            self.handle(event, link.id, ctx)?;
        }
        Ok(())
    }

    /// Something happened to a stream.
    pub(crate) fn mark_ready(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id)
            && !core::mem::replace(&mut stream.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Has the connection, whose key is `id`, driven when the turn ends.
    pub(crate) fn mark_dirty(&mut self, id: ConnId, ctx: &mut Context) {
        if !core::mem::replace(&mut self.is_dirty, true) {
            ctx.dirty_clients.push_back(id);
        }
    }

    /// Whether it was to be driven; it is not any more.
    pub(crate) const fn take_dirty(&mut self) -> bool {
        core::mem::replace(&mut self.is_dirty, false)
    }

    /// Advances streams and sends what they have. It ends: a stream is only advanced again when it has sent or got
    /// bytes, and the link has room for so many.
    fn serve(&mut self, link: &mut Link, ctx: &mut Context) {
        loop {
            while let Some(id) = self.ready.pop_front() {
                self.advance(id, ctx);
            }
            if link.unsent_bytes() + self.output.frames.len() >= OUT_BYTES_MAX {
                return;
            }
            let Some(id) = self.queued.pop_front() else { return };
            self.send(id, link, ctx);
        }
    }

    fn advance(&mut self, id: u32, ctx: &mut Context) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.is_ready = false;
        stream.exchange.advance(&mut stream.link, ctx);
        // Bounded by what is pending, and that by the window.
        while let Some(bytes) = stream.feed() {
            self.pending_bytes -= bytes;
            stream.exchange.advance(&mut stream.link, ctx);
        }
        let window = STREAM_WINDOW.max(i64::from(self.settings.preread_bytes));
        if let Some(credit) = stream.credit(window) {
            frame::write_window_update(id, credit, &mut self.output.frames);
        }
        if stream.has_output() {
            self.enqueue(id);
        } else if stream.exchange.over().is_some() {
            self.end(id, ctx);
        }
    }

    fn enqueue(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id)
            && !core::mem::replace(&mut stream.is_queued, true)
        {
            self.queued.push_back(id);
        }
    }

    /// Lets the stream that is next in the queue send.
    fn send(&mut self, id: u32, link: &mut Link, ctx: &mut Context) {
        let Self { streams, output, counts, .. } = self;
        let Some(stream) = streams.get_mut(id) else { return };
        stream.is_queued = false;
        let chunk_bytes = chunk_bytes(&stream.exchange);
        match output.send(&mut stream.half, &mut stream.link, chunk_bytes, counts, link, ctx) {
            Err(_) => self.fail(ErrorCode::EnhanceYourCalm, ctx),
            Ok(false) if stream.exchange.over().is_some() => self.end(id, ctx),
            Ok(false) => {}
            Ok(true) if stream.link.unsent_bytes() < REFILL_BYTES => self.mark_ready(id),
            Ok(true) => self.enqueue(id),
        }
    }

    /// A stream's window has grown.
    pub(super) fn wake_sender(&mut self, id: u32) {
        if self.streams.get_mut(id).is_some_and(|stream| stream.has_output()) {
            self.enqueue(id);
        }
    }

    /// Takes a stream that is reset out.
    pub(super) fn take(&mut self, id: u32) -> Option<Box<Stream>> {
        let stream = self.streams.remove(id)?;
        self.pending_bytes -= stream.pending.len();
        self.last = (Rc::clone(&stream.exchange.generation), stream.exchange.facts.location);
        Some(stream)
    }

    /// All streams that wait for a window look at it again.
    pub(super) fn wake_senders(&mut self) {
        for stream in self.streams.iter_mut() {
            if stream.has_output() && !core::mem::replace(&mut stream.is_queued, true) {
                self.queued.push_back(stream.half.id);
            }
        }
    }

    /// A stream has come to its end, or has to.
    fn end(&mut self, id: u32, ctx: &mut Context) {
        let Some(stream) = self.streams.remove(id) else { return };
        // As nginx: an end without END_STREAM is our failure, unless the client was too slow or `return 444` meant it; a
        // request whose rest nobody wants is none.
        let meant = stream.link.broken() == Some(IoError::TIMED_OUT)
            || stream.exchange.facts.reply.status == Status::CLOSE;
        if !stream.half.closed {
            self.output.reset(id, if meant { ErrorCode::Protocol } else { ErrorCode::Internal });
        } else if !stream.input_closed {
            self.output.reset(id, ErrorCode::NoError);
        }
        if !stream.input_closed {
            self.remember_reset(id);
        }
        self.last = (Rc::clone(&stream.exchange.generation), stream.exchange.facts.location);
        self.pending_bytes -= stream.pending.len();
        close(stream, ctx);
        self.limit_requests(ctx);
    }

    pub(super) fn remember_reset(&mut self, id: u32) {
        if self.resets.len() >= RESETS_REMEMBERED {
            self.resets.pop_front();
        }
        self.resets.push_back(id);
    }

    /// `keepalive_requests` and `keepalive_time`: no new streams.
    fn limit_requests(&mut self, ctx: &Context) {
        let now = ctx.now.instant;
        let Some(keepalive) = self.level().map(|core| &core.keepalive) else { return };
        let age_ms = now.millis_since(self.facts.accepted);
        if self.requests >= keepalive.requests_max || age_ms > keepalive.time_max.0 {
            self.leave();
        }
    }

    /// Takes no more streams and says so; those that there are come to their end.
    pub(crate) fn leave(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Leaving;
            frame::write_goaway(self.last_stream, ErrorCode::NoError, &mut self.output.frames);
        }
    }

    /// The client broke a rule of the connection: says so and ends everything.
    pub(super) fn fail(&mut self, code: ErrorCode, ctx: &mut Context) {
        if self.phase != Phase::Failed {
            self.phase = Phase::Failed;
            frame::write_goaway(self.last_stream, code, &mut self.output.frames);
            self.log_failure(code, ctx);
        }
        self.abort(ctx);
    }

    /// Ends all streams at once.
    pub(crate) fn abort(&mut self, ctx: &mut Context) {
        while let Some(stream) = self.streams.pop() {
            cancel(stream, ctx);
        }
        self.ready.clear();
        self.queued.clear();
        self.pending_bytes = 0;
    }

    /// The client may send more, as long as not too much of it waits here.
    fn credit_connection(&mut self) {
        let window = CONNECTION_WINDOW - self.pending_bytes as i64;
        let credit = window - self.recv_window;
        if credit >= CONNECTION_WINDOW / 2
            && let Ok(credit) = u32::try_from(credit)
        {
            self.recv_window = window;
            frame::write_window_update(0, credit, &mut self.output.frames);
        }
    }

    /// Sets the connection's own deadline; streams have theirs.
    fn watch(&mut self, link: &mut Link, ctx: &mut Context) {
        let reason = link.deadline.get().map(|(_, reason)| reason);
        if link.is_sending() {
            if self.sent_mark != link.sent_bytes() || reason != Some(Reason::ClientSend) {
                self.sent_mark = link.sent_bytes();
                let timeout = self.level().map_or(TIMEOUT_DEFAULT, |core| core.send_timeout);
                link.set_deadline(timeout, Reason::ClientSend, ctx);
            }
        } else if self.block.is_some() || self.reader.is_inside() || !self.has_settings {
            if reason != Some(Reason::ClientHeader) {
                link.set_deadline(self.settings.header_timeout, Reason::ClientHeader, ctx);
            }
        } else if self.streams.is_empty() {
            if reason != Some(Reason::Keepalive) {
                let timeout = self.level().map_or(TIMEOUT_DEFAULT, |core| core.keepalive.timeout);
                link.set_deadline(timeout, Reason::Keepalive, ctx);
            }
        } else {
            link.deadline.clear();
        }
    }

    /// The connection's own deadline has passed.
    pub(crate) fn handle_timeout(&mut self, reason: Reason, link: &mut Link, ctx: &mut Context) -> Fate {
        if reason == Reason::ClientSend {
            link.fail(IoError::TIMED_OUT);
        } else if reason == Reason::Keepalive {
            self.leave();
        } else {
            self.fail(ErrorCode::Protocol, ctx);
        }
        self.drive(link, ctx)
    }

    /// A deadline of a stream has passed.
    pub(crate) fn handle_stream_timeout(&mut self, id: u32, key: ConnId, ctx: &mut Context) {
        let Some(stream) = self.streams.find(id, key) else { return };
        let fired = stream.link.deadline.fired(&mut ctx.timers, key, ctx.now.instant);
        let Some(reason) = fired else { return };
        if matches!(reason, Reason::ClientBody | Reason::ClientSend | Reason::Linger) {
            stream.exchange.handle_client_timeout(reason, &mut stream.link, ctx);
            stream.link.fail(IoError::TIMED_OUT);
        } else if reason == Reason::Resolve {
            stream.exchange.handle_resolve_timeout(&mut stream.link, ctx);
        } else if reason == Reason::UpstreamQueue {
            stream.exchange.leave_queue(&mut stream.link);
        }
        self.mark_ready(id);
    }

    fn level(&self) -> Option<&CoreSettings> {
        let (generation, location) = &self.last;
        generation.config.location(*location).map(|location| &*location.core)
    }

    /// Whether nothing is under way.
    pub(crate) const fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether it has had a request.
    pub(crate) const fn has_served(&self) -> bool {
        self.requests > 0
    }

    /// The listener's place in a new configuration, none where it is gone; what is known of the connection by now.
    pub(crate) fn set_listener(&mut self, listener: Option<ListenerId>, facts: &Rc<ConnFacts>) {
        self.listener = listener;
        if !Rc::ptr_eq(&self.facts, facts) {
            self.facts = Rc::clone(facts);
        }
    }
}

/// Ends the exchange of a stream that is gone, and logs it.
pub(super) fn cancel(mut stream: Box<Stream>, ctx: &mut Context) {
    stream.link.fail(IoError::RESET);
    stream.exchange.advance(&mut stream.link, ctx);
    if !matches!(stream.exchange.stage, Stage::Done(_)) && !stream.exchange.head_sent {
        stream.exchange.facts.reply.status = Status::CLIENT_CLOSED_REQUEST;
    }
    close(stream, ctx);
}

/// Settles a stream's accounts and gives everything back.
fn close(stream: Box<Stream>, ctx: &mut Context) {
    let Stream { mut exchange, mut link, .. } = *stream;
    exchange.close(&link, ctx);
    ctx.tally.writing -= 1;
    ctx.streams -= 1;
    ctx.conns.remove(link.id.0);
    link.close(crate::command::CloseHow::Graceful, ctx);
    ctx.spare_exchange(exchange);
}

/// `http2_chunk_size` of the exchange's location, in bytes.
fn chunk_bytes(exchange: &Exchange) -> usize {
    let location = exchange.generation.config.location(exchange.facts.location);
    location.map_or(frame::PAYLOAD_BYTES_MAX, |location| location.core.http2_chunk_bytes)
}

/// The timeouts' default, where no location says anything yet.
const TIMEOUT_DEFAULT: Millis = Millis::from_secs(60);
