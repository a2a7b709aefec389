//! What an upstream's frames mean (RFC 9113, sections 5 and 6).
//!
//! An error that is returned here is the connection's. A stream's error resets the stream and fails its exchange.

use super::super::flood::{CONTINUATIONS_MAX, Deed};
use super::super::frame::{
    self, FrameHead, Kind, PAYLOAD_BYTES_MAX, WINDOW_MAX, flag, headers_fragment, number,
};
use super::super::reader::Event;
use super::{Block, ErrorCode, Leg, Phase, Trunk};
use crate::buf::Chunk;
use crate::error::UpstreamError;
use crate::exchange::context::Context;
use crate::http::ResponseHead;

impl Trunk {
    /// Takes what was read.
    pub(super) fn handle(&mut self, event: Event, ctx: &mut Context) -> Result<(), ErrorCode> {
        match event {
            Event::Frame(head, payload) => self.handle_frame(head, &payload, ctx),
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

    fn handle_frame(&mut self, head: FrameHead, payload: &Chunk, ctx: &mut Context) -> Result<(), ErrorCode> {
        if self.block.is_some() != (head.kind == Kind::Continuation)
            || (!self.has_settings && (head.kind != Kind::Settings || head.has(flag::ACK)))
        {
            return Err(ErrorCode::Protocol);
        }
        let now = ctx.now.instant;
        match head.kind {
            Kind::Headers => self.handle_headers(head, payload, ctx),
            Kind::Continuation => self.handle_continuation(head, payload, ctx),
            Kind::Settings if head.has(flag::ACK) => Ok(self.counts.add(Deed::Idle, now)?),
            Kind::Settings => {
                self.counts.add(Deed::Settings, now)?;
                self.handle_settings(payload, ctx)
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
            Kind::Reset => self.handle_reset(head.stream, payload, ctx),
            Kind::GoAway => self.handle_goaway(payload, ctx),
            Kind::Priority | Kind::Unknown => Ok(self.counts.add(Deed::Idle, now)?),
            Kind::Data | Kind::PushPromise => Err(ErrorCode::Protocol),
        }
    }

    /// Whether we have opened this stream, at some time.
    const fn was_opened(&self, id: u32) -> bool {
        id % 2 == 1 && id < self.next_id
    }

    fn handle_headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        let fragment = headers_fragment(head, payload)?;
        if !self.was_opened(head.stream) {
            return Err(ErrorCode::Protocol);
        }
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.finish_block(head.stream, end_stream, fragment, ctx);
        }
        if fragment.is_empty() {
            self.counts.add(Deed::Empty, ctx.now.instant)?;
        }
        let bytes = fragment.to_vec();
        self.block = Some(Block { stream: head.stream, end_stream, bytes, continuations: 0 });
        Ok(())
    }

    fn handle_continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        let Some(mut block) = self.block.take().filter(|block| block.stream == head.stream) else {
            return Err(ErrorCode::Protocol);
        };
        let most = self.legs.get_mut(head.stream).map_or(0, |leg| leg.head_bytes_max);
        block.continuations += 1;
        let bytes = block.bytes.len() + payload.len();
        if block.continuations > CONTINUATIONS_MAX || bytes > most.max(BLOCK_BYTES_MIN) {
            return Err(ErrorCode::EnhanceYourCalm);
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.finish_block(block.stream, block.end_stream, &block.bytes, ctx);
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
        ctx: &mut Context,
    ) -> Result<(), ErrorCode> {
        let Self { legs, decoder, builder, .. } = self;
        let Some(leg) = legs.get_mut(id) else {
            decoder.decode(block, &mut |_| {}).map_err(|_| ErrorCode::Compression)?;
            return self.step_over(id, ctx);
        };
        let is_head = !leg.has_final;
        if is_head {
            ctx.ready_fields();
            builder.begin(leg.head_bytes_max, core::mem::take(&mut ctx.fields));
        } else {
            builder.begin_trailers(leg.head_bytes_max);
        }
        decoder.decode(block, &mut |line| builder.add(&line)).map_err(|_| ErrorCode::Compression)?;
        let taken = if is_head {
            builder.finish().and_then(|head| {
                ctx.scratch.extend_from_slice(builder.text());
                let bytes = ctx.take_scratch();
                leg.take_head(ResponseHead { bytes, ..head }, end_stream)
            })
        } else {
            builder.finish_trailers().and_then(|lines| leg.take_trailers(lines, end_stream))
        };
        if taken.is_ok() {
            if is_head || core::mem::take(&mut leg.wants_input) {
                ctx.stirred.push_back(leg.key);
            }
            return Ok(());
        }
        self.settle_leg(id, taken, ctx);
        Ok(())
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
        if !self.was_opened(id) {
            return Err(ErrorCode::Protocol);
        }
        let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.error.is_none()) else {
            return self.step_over(id, ctx);
        };
        let taken = leg.take_data(data, counted, end_stream);
        if taken.is_ok() && (end_stream || counted > 0) && core::mem::take(&mut leg.wants_input) {
            ctx.stirred.push_back(leg.key);
        }
        self.settle_leg(id, taken, ctx);
        Ok(())
    }

    /// A frame came for a stream that is gone: it was sent before the upstream knew, or it makes us work for nothing.
    fn step_over(&mut self, id: u32, ctx: &mut Context) -> Result<(), ErrorCode> {
        if !self.resets.contains(&id) {
            self.counts.add(Deed::Idle, ctx.now.instant)?;
        }
        Ok(())
    }

    /// The upstream broke a rule of a stream, if it did: resets it and fails its exchange.
    fn settle_leg(&mut self, id: u32, taken: Result<(), UpstreamError>, ctx: &mut Context) {
        let Err(error) = taken else { return };
        let code = if let UpstreamError::Violation(code) = error { code } else { ErrorCode::Protocol };
        self.output.reset(id, code);
        self.remember_reset(id);
        if let Some(leg) = self.legs.get_mut(id) {
            // Whatever had come before is worth nothing: it may have been complete.
            leg.input_closed = false;
            fail(leg, error, ctx);
        }
    }

    fn handle_settings(&mut self, payload: &[u8], ctx: &mut Context) -> Result<(), ErrorCode> {
        let before = self.output.peer;
        self.output.peer.apply(payload)?;
        let after = self.output.peer;
        if after.window != before.window {
            let change = i64::from(after.window) - i64::from(before.window);
            for leg in self.legs.iter_mut() {
                leg.half.grow(change)?;
                ctx.stirred.push_back(leg.key);
            }
        }
        if after.table_bytes != before.table_bytes {
            self.output.encoder.limit_table(after.table_bytes);
        }
        self.has_settings = true;
        frame::write_settings_ack(&mut self.output.frames);
        self.tell_group();
        Ok(())
    }

    fn handle_window_update(&mut self, id: u32, bytes: u32, ctx: &mut Context) -> Result<(), ErrorCode> {
        if id == 0 {
            let was_closed = self.output.window <= 0;
            self.output.window += i64::from(bytes);
            if bytes == 0 || self.output.window > i64::from(WINDOW_MAX) {
                return Err(if bytes == 0 { ErrorCode::Protocol } else { ErrorCode::FlowControl });
            }
            if was_closed {
                for leg in self.legs.iter_mut().filter(|leg| !leg.half.closed) {
                    ctx.stirred.push_back(leg.key);
                }
            }
            return Ok(());
        }
        if !self.was_opened(id) {
            return Err(ErrorCode::Protocol);
        }
        let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.error.is_none()) else { return Ok(()) };
        let was_closed = leg.half.window <= 0;
        let grown = match bytes {
            0 => Err(UpstreamError::Violation(ErrorCode::Protocol)),
            _ => leg.half.grow(i64::from(bytes)).map_err(UpstreamError::Violation),
        };
        if grown.is_ok() && was_closed && !leg.half.closed {
            ctx.stirred.push_back(leg.key);
        }
        self.settle_leg(id, grown, ctx);
        Ok(())
    }

    /// The upstream ends a stream.
    fn handle_reset(&mut self, id: u32, payload: &[u8], ctx: &mut Context) -> Result<(), ErrorCode> {
        if !self.was_opened(id) {
            return Err(ErrorCode::Protocol);
        }
        let Some(leg) = self.legs.get_mut(id) else { return self.step_over(id, ctx) };
        let code = frame::word(payload);
        let error = if code == ErrorCode::RefusedStream as u32 {
            UpstreamError::Refused
        } else {
            UpstreamError::Rejected(code)
        };
        // Behind a whole reply it only says that the rest of the request is not wanted (RFC 9113, section 8.1).
        fail(leg, error, ctx);
        Ok(())
    }

    /// The upstream takes no more requests, and some that it got it will not look at.
    fn handle_goaway(&mut self, payload: &[u8], ctx: &mut Context) -> Result<(), ErrorCode> {
        self.counts.add(Deed::Settings, ctx.now.instant)?;
        let last = number(payload);
        let code = frame::word(payload.get(4..).unwrap_or_default());
        self.phase = Phase::Leaving(code);
        self.is_closing = true;
        self.tell_group();
        for leg in self.legs.iter_mut().filter(|leg| leg.half.id > last) {
            fail(leg, UpstreamError::GoneAway(code), ctx);
        }
        ctx.stirred.extend(self.attached.iter().copied());
        if self.is_empty() {
            self.end(ctx);
        }
        Ok(())
    }
}

fn fail(leg: &mut Leg, error: UpstreamError, ctx: &mut Context) {
    leg.fail(error);
    ctx.stirred.push_back(leg.key);
}

/// How much of a block is gathered at least, in bytes, whatever `proxy_buffer_size` says.
const BLOCK_BYTES_MIN: usize = PAYLOAD_BYTES_MAX;
