//! What a client's frames mean (RFC 9113, sections 5 and 6).
//!
//! An error that is returned here is the connection's. A stream's error resets the stream and is counted, for a client
//! can make us do that as often as it likes.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::ErrorCode;
use super::conn::{Block, Http2, Phase, cancel};
use super::flood::{CONTINUATIONS_MAX, Deed, Flood};
use super::frame::{self, FrameHead, Kind, WINDOW_MAX, flag, headers_fragment, number};
use super::head::Built;
use super::output::{Half, Heads};
use super::reader::Event;
use super::stream::Stream;
use super::trailers::Trailers;
use crate::buf::{Chain, Chunk};
use crate::command::{ConnId, Level, Report};
use crate::conn::Link;
use crate::conn::client::{default_server_id, head_limits, prepare};
use crate::error::ClientError;
use crate::exchange::Exchange;
use crate::exchange::context::{Conn, Context};
use crate::exchange::phases::find_server;
use crate::h1::HeadLimits;
use crate::http::framing::BodyFraming;
use crate::http::{Method, Span};

/// How much of a block is gathered at least, in bytes, whatever `large_client_header_buffers` says.
const BLOCK_BYTES_MIN: usize = frame::PAYLOAD_BYTES_MAX;

impl From<Flood> for ErrorCode {
    fn from(Flood: Flood) -> Self {
        Self::EnhanceYourCalm
    }
}

impl Http2 {
    /// Takes what was read. `client` is the connection's key.
    pub(super) fn handle(
        &mut self,
        event: Event,
        client: ConnId,
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        match event {
            Event::Frame(head, payload) => self.handle_frame(head, &payload, client, ctx),
            Event::Data { stream, data, counted, end_stream, last } => {
                if self.block.is_some() || !self.has_settings {
                    return Err(ErrorCode::Protocol);
                }
                if last && counted == 0 && !end_stream {
                    self.counts.add(Deed::Empty, ctx.now.instant)?;
                }
                self.handle_data(stream, data, counted, end_stream, ctx)
            }
        }
    }

    fn handle_frame(
        &mut self,
        head: FrameHead,
        payload: &Chunk,
        client: ConnId,
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        if self.block.is_some() != (head.kind == Kind::Continuation)
            || (!self.has_settings && (head.kind != Kind::Settings || head.has(flag::ACK)))
        {
            return Err(ErrorCode::Protocol);
        }
        let now = ctx.now.instant;
        match head.kind {
            Kind::Headers => self.handle_headers(head, payload, client, ctx),
            Kind::Continuation => self.handle_continuation(head, payload, client, ctx),
            Kind::Settings if head.has(flag::ACK) => Ok(()),
            Kind::Settings => {
                self.counts.add(Deed::Settings, now)?;
                self.handle_settings(payload)
            }
            Kind::Ping if head.has(flag::ACK) => Ok(self.counts.add(Deed::Idle, now)?),
            Kind::Ping => {
                self.counts.add(Deed::Ping, now)?;
                frame::write_pong(payload, &mut self.output.frames);
                Ok(())
            }
            Kind::WindowUpdate => {
                self.counts.add(Deed::Window, now)?;
                self.handle_window_update(head.stream, number(payload), ctx)
            }
            Kind::Reset => self.handle_reset(head.stream, ctx),
            // A client that goes away still wants its replies; when it is done it closes.
            Kind::Priority | Kind::Unknown | Kind::GoAway => Ok(self.counts.add(Deed::Idle, now)?),
            Kind::Data | Kind::PushPromise => Err(ErrorCode::Protocol),
        }
    }

    fn handle_headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        client: ConnId,
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        let fragment = headers_fragment(head, payload)?;
        let id = head.stream;
        if id.is_multiple_of(2) {
            return Err(ErrorCode::Protocol);
        }
        let known = id > self.last_stream || self.streams.get_mut(id).is_some() || self.resets.contains(&id);
        if !known {
            return Err(ErrorCode::StreamClosed);
        }
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.finish_block(id, end_stream, fragment, client, ctx);
        }
        if fragment.is_empty() {
            self.counts.add(Deed::Empty, ctx.now.instant)?;
        }
        self.block = Some(Block { stream: id, end_stream, bytes: fragment.to_vec(), continuations: 0 });
        Ok(())
    }

    fn handle_continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        client: ConnId,
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        let most = self.limits(ctx).total_bytes_max.max(BLOCK_BYTES_MIN);
        let Some(mut block) = self.block.take().filter(|block| block.stream == head.stream) else {
            return Err(ErrorCode::Protocol);
        };
        block.continuations += 1;
        if block.continuations > CONTINUATIONS_MAX || block.bytes.len() + payload.len() > most {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.finish_block(block.stream, block.end_stream, &block.bytes, client, ctx);
        }
        if payload.is_empty() {
            self.counts.add(Deed::Empty, ctx.now.instant)?;
        }
        self.block = Some(block);
        Ok(())
    }

    /// A block is whole. It is decoded whatever becomes of it: the tables have to stay in step.
    fn finish_block(
        &mut self,
        id: u32,
        end_stream: bool,
        block: &[u8],
        client: ConnId,
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        if id <= self.last_stream {
            return self.take_trailers(id, end_stream, block, ctx);
        }
        self.last_stream = id;
        let limits = self.limits(ctx);
        ctx.ready_fields();
        self.builder.begin(&limits, core::mem::take(&mut ctx.fields));
        let Self { decoder, builder, .. } = self;
        decoder.decode(block, &mut |line| builder.add(&line, &limits)).map_err(|_| ErrorCode::Compression)?;
        let random = &mut ctx.random;
        let built = self.builder.finish(|| u128::from(random.next()) << 64 | u128::from(random.next()));
        if self.phase != Phase::Open {
            // GOAWAY has told the client that it will not be looked at.
            ctx.recycle_fields(built.head.fields);
            return Ok(());
        }
        if self.streams.len() >= self.settings.streams_max as usize {
            ctx.recycle_fields(built.head.fields);
            self.output.reset(id, ErrorCode::RefusedStream);
            self.remember_reset(id);
            return Ok(self.counts.add(Deed::Refused, ctx.now.instant)?);
        }
        self.open(id, built, end_stream, block.len(), client, ctx);
        Ok(())
    }

    /// A second block ends the request: fields behind the body (RFC 9113, section 8.1), bounded as HTTP/1's are.
    fn take_trailers(
        &mut self,
        id: u32,
        end_stream: bool,
        block: &[u8],
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        let mut trailers = Trailers::default();
        self.decoder.decode(block, &mut |line| trailers.add(&line)).map_err(|_| ErrorCode::Compression)?;
        let Some(stream) = self.streams.get_mut(id) else {
            return Ok(self.counts.add(Deed::Idle, ctx.now.instant)?);
        };
        let result = if stream.input_closed {
            Err(ErrorCode::StreamClosed)
        } else if end_stream {
            trailers.finish().and_then(|lines| stream.end_with(lines))
        } else {
            Err(ErrorCode::Protocol)
        };
        match result {
            Ok(()) => {
                self.mark_ready(id);
                Ok(())
            }
            Err(code) => self.reset_stream(id, code, ctx),
        }
    }

    /// A new stream.
    fn open(
        &mut self,
        id: u32,
        built: Built,
        end_stream: bool,
        block_bytes: usize,
        client: ConnId,
        ctx: &mut Context,
    ) {
        let generation = Rc::clone(&ctx.generation);
        let key = ConnId(ctx.conns.insert(Conn::Stream { client, id }));
        self.requests += 1;
        ctx.streams += 1;
        ctx.tally.requests += 1;
        ctx.tally.writing += 1;
        let mut exchange = Exchange::recycled(&self.facts, &generation, ctx);
        let facts = &mut exchange.facts;
        facts.head = built.head;
        ctx.scratch.extend_from_slice(self.builder.text());
        facts.head.bytes = ctx.take_scratch();
        facts.conn_requests = self.requests;
        facts.started = ctx.now.instant;
        facts.request_length = block_bytes as u64;
        let method = facts.head.method();
        exchange.method = if built.extended { Method::Get } else { method };
        let mut link = Link::of_stream(key);
        if end_stream {
            link.deliver_end();
        }
        let default = default_server_id(self.listener, &generation);
        let begun = match built.error {
            None => prepare(&mut exchange, &generation, default),
            Some(error) => {
                find_server(&mut exchange, &generation, default);
                Err(error)
            }
        };
        let begun = begun.and_then(|()| exchange.begin_stream(end_stream && !built.extended));
        let expected =
            exchange.meta.framing.length().filter(|_| begun.is_ok() && !built.extended && !end_stream);
        if let Err(error) = begun {
            if !matches!(error, ClientError::MissingHost | ClientError::InvalidContentLength) {
                // nginx has no request line before all of its parts are found to be good.
                exchange.facts.head.line = Span::default();
            }
            exchange.fail_client(error, &mut link, ctx);
        }
        let heads = if built.extended { Heads::Switch } else { Heads::Reply };
        self.streams.push(Box::new(Stream {
            half: Half::new(id, self.output.peer.window, heads),
            exchange,
            link,
            recv_window: i64::from(self.settings.preread_bytes),
            pending: Chain::new(),
            expected,
            input_closed: end_stream,
            is_ready: false,
            is_queued: false,
        }));
        self.mark_ready(id);
    }

    fn handle_data(
        &mut self,
        id: u32,
        data: Chunk,
        counted: u32,
        end_stream: bool,
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        self.recv_window -= i64::from(counted);
        if self.recv_window < 0 {
            return Err(ErrorCode::FlowControl);
        }
        if id > self.last_stream {
            return Err(ErrorCode::Protocol);
        }
        let Some(stream) = self.streams.get_mut(id) else {
            // It was sent before the client knew that the stream is gone, or it makes us work for nothing.
            if !self.resets.contains(&id) {
                self.counts.add(Deed::Idle, ctx.now.instant)?;
            }
            return Ok(());
        };
        let before = stream.pending.len();
        let taken = stream.take_data(data, counted, end_stream);
        self.pending_bytes += stream.pending.len() - before;
        match taken {
            Ok(()) => {
                self.mark_ready(id);
                Ok(())
            }
            Err(code) => self.reset_stream(id, code, ctx),
        }
    }

    fn handle_settings(&mut self, payload: &[u8]) -> Result<(), ErrorCode> {
        let before = self.output.peer;
        self.output.peer.apply(payload)?;
        let after = self.output.peer;
        if after.window != before.window {
            let change = i64::from(after.window) - i64::from(before.window);
            for stream in self.streams.iter_mut() {
                stream.half.grow(change)?;
            }
            self.wake_senders();
        }
        if after.table_bytes != before.table_bytes {
            self.output.encoder.limit_table(after.table_bytes);
        }
        self.has_settings = true;
        frame::write_settings_ack(&mut self.output.frames);
        Ok(())
    }

    fn handle_window_update(&mut self, id: u32, bytes: u32, ctx: &mut Context) -> Result<(), ErrorCode> {
        if id == 0 {
            self.output.window += i64::from(bytes);
            if bytes == 0 || self.output.window > i64::from(WINDOW_MAX) {
                return Err(if bytes == 0 { ErrorCode::Protocol } else { ErrorCode::FlowControl });
            }
            self.wake_senders();
            return Ok(());
        }
        if id > self.last_stream {
            return Err(ErrorCode::Protocol);
        }
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let grown = if bytes == 0 { Err(ErrorCode::Protocol) } else { stream.half.grow(i64::from(bytes)) };
        match grown {
            Ok(()) => {
                self.wake_sender(id);
                Ok(())
            }
            Err(code) => self.reset_stream(id, code, ctx),
        }
    }

    /// The client wants no more of a stream.
    fn handle_reset(&mut self, id: u32, ctx: &mut Context) -> Result<(), ErrorCode> {
        if id > self.last_stream {
            return Err(ErrorCode::Protocol);
        }
        let Some(stream) = self.take(id) else {
            return Ok(self.counts.add(Deed::Idle, ctx.now.instant)?);
        };
        cancel(stream, ctx);
        Ok(self.counts.add(Deed::Reset, ctx.now.instant)?)
    }

    /// The client broke a rule of a stream.
    fn reset_stream(&mut self, id: u32, code: ErrorCode, ctx: &mut Context) -> Result<(), ErrorCode> {
        if let Some(stream) = self.take(id) {
            self.output.reset(id, code);
            self.remember_reset(id);
            cancel(stream, ctx);
        }
        Ok(self.counts.add(Deed::Reset, ctx.now.instant)?)
    }

    /// The bounds of a head, as the listener's default server has them.
    fn limits(&self, ctx: &Context) -> HeadLimits {
        let generation = &ctx.generation;
        let server = generation.config.server(default_server_id(self.listener, generation));
        server.map_or(self.settings.limits, head_limits)
    }

    /// Says in the error log why a connection ends.
    pub(super) fn log_failure(&self, code: ErrorCode, ctx: &mut Context) {
        let client: &[u8] = &self.facts.client_text;
        let text = match code {
            ErrorCode::EnhanceYourCalm => "http2 flood detected",
            ErrorCode::FlowControl => "client violated flow control",
            ErrorCode::Compression => "client sent an invalid header block",
            ErrorCode::FrameSize => "client sent a frame with an incorrect length",
            ErrorCode::NoError
            | ErrorCode::Protocol
            | ErrorCode::Internal
            | ErrorCode::SettingsTimeout
            | ErrorCode::StreamClosed
            | ErrorCode::RefusedStream
            | ErrorCode::Cancel
            | ErrorCode::Connect => "client violated the HTTP/2 protocol",
        };
        let generation = Rc::clone(&ctx.generation);
        let server = generation.config.server(default_server_id(self.listener, &generation));
        let level = server.and_then(|server| generation.config.location(server.root));
        for log in level.into_iter().flat_map(|level| level.core.error_logs.iter()) {
            if Level::Info <= log.level {
                let number = self.facts.number;
                let client = client.escape_ascii();
                let message: Vec<u8> =
                    alloc::format!("*{number} {text} while processing HTTP/2 connection, client: {client}")
                        .into();
                ctx.reports.push_back(Report::Error { log: log.log, level: Level::Info, message });
            }
        }
    }
}

impl Exchange {
    /// The head came on a stream: its end, not the framing of HTTP/1, says where the body ends.
    ///
    /// # Errors
    /// A length was announced, and the request ends without so much.
    fn begin_stream(&mut self, end_stream: bool) -> Result<(), ClientError> {
        let framing = match (self.meta.framing, end_stream) {
            (BodyFraming::Length(bytes), true) if bytes > 0 => return Err(ClientError::InvalidContentLength),
            (framing, true) => framing,
            (BodyFraming::None, false) if self.meta.upgrade => BodyFraming::None,
            (BodyFraming::None | BodyFraming::Chunked | BodyFraming::UntilClose, false) => {
                BodyFraming::Chunked
            }
            (framing @ BodyFraming::Length(_), false) => framing,
        };
        self.frame_stream(framing);
        Ok(())
    }
}
