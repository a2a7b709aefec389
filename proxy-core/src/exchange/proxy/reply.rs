//! What the upstream answers: interim replies, the head, the body, and the end of it.

use alloc::format;
use alloc::rc::Rc;

use super::Phase;
use crate::buf::Chunk;
use crate::cache::writer;
use crate::command::Level;
use crate::config::{IfModifiedSince, Proxy, ProxyHttpVersion};
use crate::conn::Link;
use crate::content::conditional::{Precondition, Validators};
use crate::error::UpstreamError;
use crate::exchange::context::{Context, Generation};
use crate::exchange::reply_body::{ReplyFraming, Room};
use crate::exchange::request_body::Mode;
use crate::exchange::{Carried, Exchange, Stage};
use crate::filter;
use crate::h1::body::Decoded;
use crate::h1::encode;
use crate::h1::{Parsed, ResponseLimits, parse_response};
use crate::http::date::parse as parse_date;
use crate::http::framing::{ResponseMeta, response_framing};
use crate::http::{BodyFraming, HeaderId, Method, ResponseHead, Status, Version};
use crate::upstream::Outcome;

impl Exchange {
    /// Moves what the upstream sent to the client.
    pub(super) fn pump_reply(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.proxy.phase == Phase::Exchanging {
            self.read_heads(link, ctx);
        }
        loop {
            if self.proxy.phase == Phase::Body && self.stage == Stage::Proxy {
                self.read_body(link, ctx);
            }
            if self.stage != Stage::Proxy || !self.head_sent {
                return;
            }
            self.spill_reply(link, ctx);
            self.pump_reply_body(link, ctx);
            link.flush(ctx);
            if !self.can_read_on(link) || self.is_paced(ctx) || !self.store_has_room(ctx) {
                return;
            }
        }
    }

    /// Whether what went to the client or to the file made room while nothing is asked of the upstream. Each round of
    /// [`pump_reply`](Self::pump_reply) that finds this true reads bytes or asks for some.
    fn can_read_on(&self, link: &Link) -> bool {
        let Some(conn) = self.proxy.conn.as_ref() else { return false };
        self.stage == Stage::Proxy
            && self.proxy.phase == Phase::Body
            && !conn.link.is_receiving()
            && self.proxy.room.as_ref().is_none_or(|room| self.reply.has_room(link, room))
    }

    /// Reads heads up to the final one; interim ones are passed on or stepped over.
    fn read_heads(&mut self, link: &mut Link, ctx: &mut Context) {
        let mut interim = 0;
        while self.proxy.phase == Phase::Exchanging && self.stage == Stage::Proxy {
            match self.read_any_head(ctx) {
                Ok(None) => break,
                Ok(Some((head, meta))) if meta.upgraded && self.proxy.upgrade_asked => {
                    self.start_tunnel(head, meta, link, ctx);
                }
                Ok(Some((_, meta))) if meta.upgraded => {
                    return self.attempt_failed(UpstreamError::InvalidFraming, link, ctx);
                }
                Ok(Some((head, _))) if head.status.is_some_and(Status::is_interim) => {
                    interim += 1;
                    if interim > INTERIM_MAX {
                        return self.attempt_failed(UpstreamError::InvalidFraming, link, ctx);
                    }
                    self.pass_interim(&head, link, ctx);
                }
                Ok(Some((head, meta))) => self.accept_head(head, meta, link, ctx),
                Err(error) => return self.attempt_failed(error, link, ctx),
            }
        }
        self.look_for_end_before_head(link, ctx);
    }

    fn look_for_end_before_head(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.proxy.phase != Phase::Exchanging || self.stage != Stage::Proxy {
            return;
        }
        let Some(conn) = self.proxy.conn.as_mut() else { return };
        let error = match (conn.ended_with(), conn.link.broken()) {
            (Some(Some(error)), _) => UpstreamError::Recv(error),
            (Some(None), Some(error)) => UpstreamError::Send(error),
            (Some(None), None) => UpstreamError::ClosedBeforeHead,
            // It takes no more, but it may have answered already: its reply is awaited.
            (None, _) => return conn.want_recv(ctx),
        };
        self.attempt_failed(error, link, ctx);
    }

    pub(super) fn read_head(
        &mut self,
        ctx: &mut Context,
    ) -> Result<Option<(ResponseHead, ResponseMeta)>, UpstreamError> {
        if self.is_on_stream() {
            return self.read_stream_head(ctx);
        }
        let generation = Rc::clone(&self.generation);
        let total_bytes_max =
            self.proxy_settings(&generation).map_or(0, |proxy| proxy.buffering.head_bytes_max);
        let Some(conn) = self.proxy.conn.as_mut() else { return Ok(None) };
        let Some(mut bytes) = conn.link.take_head_input() else { return Ok(None) };
        ctx.ready_fields();
        let limits = ResponseLimits { total_bytes_max, fields_max: FIELDS_MAX };
        match parse_response(&bytes, &mut ctx.fields, &limits)? {
            Parsed::Partial => {
                conn.link.gather(&bytes);
                Ok(None)
            }
            Parsed::Complete { head, len } => {
                bytes.advance(len);
                conn.link.put_back(bytes);
                let method = self.method_sent();
                let meta = response_framing(&head, method)?;
                self.note_head_of_try(&head, ctx);
                Ok(Some((head, meta)))
            }
        }
    }

    pub(super) fn note_head_of_try(&mut self, head: &ResponseHead, ctx: &Context) {
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.status = head.status;
            let now = ctx.now.instant.as_micros();
            attempt.header_us.get_or_insert(now - attempt.started.as_micros());
        }
    }

    /// The method that the upstream saw: it decides whether the reply has a body.
    pub(super) fn method_sent(&self) -> Method {
        if self.is_converted() {
            return Method::Get;
        }
        self.method
    }

    /// 103 Early Hints go to clients that know interim replies; a 100 was ours to give, and others mean nothing.
    fn pass_interim(&mut self, head: &ResponseHead, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(core) = self.core(&generation) else { return };
        let wanted = core.early_hints.is_empty()
            || core.early_hints.iter().any(|template| {
                let value = self.evaluate(template, &generation, ctx);
                !value.is_empty() && value != b"0"
            });
        let known = self.facts.head.version >= Version::Http11 && !self.is_sub();
        if head.status != Some(Status::EARLY_HINTS) || !wanted || !known {
            return;
        }
        let mut out = core::mem::take(&mut ctx.scratch);
        encode::status_line(&mut out, Status::EARLY_HINTS, b"Early Hints");
        for field in &head.fields {
            let (name, value) = head.pair(field);
            if !crate::http::is_hop_by_hop(field.id) && field.id != HeaderId::ContentLength {
                encode::field(&mut out, name, value);
            }
        }
        out.extend_from_slice(b"\r\n");
        ctx.scratch = out;
        let chunk = ctx.take_scratch();
        link.queue_head(chunk);
        link.flush(ctx);
    }

    /// The final head: another server, an error page, or on to the client with it.
    fn accept_head(&mut self, head: ResponseHead, meta: ResponseMeta, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return };
        let status = head.status.unwrap_or_default();
        self.note_head(status, ctx);
        self.take_accel_limit_rate(&head, proxy);
        if self.needs_another_reply(&head, &meta, proxy, link, ctx) {
            return;
        }
        let intercepted =
            proxy.intercept_errors && status.0 >= 300 && self.has_error_page(status, &generation);
        if intercepted {
            self.facts.upstream_head = Some(head);
            self.end_attempt(Outcome::Success, false, ctx);
            self.remember_error(status, ctx);
            return self.fail_status(status, link, ctx);
        }
        if self.follow_accel_redirect(&head, proxy, link, ctx) {
            return;
        }
        let buffered = is_buffered(&head, proxy);
        if !buffered {
            // As nginx: what is passed on as it comes has no rate.
            self.facts.limit_rate = Some(0);
        } else if proxy.limit_rate.is_some() {
            self.set_intake(proxy, &generation, ctx);
        }
        self.proxy.room = Some(reply_room(buffered, proxy));
        self.facts.reply.status = self.error_status.unwrap_or(status);
        if let Some(conn) = self.proxy.conn.as_mut() {
            conn.expect_body(&meta);
            conn.keep_alive = meta.keep_alive;
        }
        let unbuffered = self.proxy.room.as_ref().is_some_and(|room| room.unbuffered);
        let Some(framing) = self.settle_framing(&head, &meta, proxy, &generation, unbuffered, link, ctx)
        else {
            return;
        };
        if !self.request_is_consumed() && self.body.mode() != Mode::Stream {
            self.body.set_mode(Mode::Discard, ctx);
        }
        self.write_proxied_head(head, &meta, framing, &generation, ctx);
        self.learn_session(true, ctx);
        if self.proxy.cache.is_some() {
            self.begin_store(buffered, proxy, &generation, link, ctx);
        } else if let Some(store) = proxy.store.as_ref().filter(|_| buffered) {
            self.begin_stored(store, proxy, &generation, link, ctx);
        }
        self.reply.begin(framing);
        self.proxy.phase = Phase::Body;
        self.take_body_at_hand(link, ctx);
        if !self.head_sent {
            self.send_head(link, ctx);
        }
        let ended = self.proxy.conn.as_ref().is_none_or(|conn| conn.decoder.is_ended());
        if self.is_head_only() && !ended && self.stage == Stage::Proxy && !self.is_storing() {
            // Nobody waits for a body that nobody wants: its connection goes with it.
            self.reply.end(Chunk::empty());
            self.end_attempt(Outcome::Success, false, ctx);
            self.proxy.phase = Phase::Ended;
            self.stage = Stage::Reply;
        }
    }

    /// Whether another server is asked instead, or the cache has a better answer.
    fn needs_another_reply(
        &mut self,
        head: &ResponseHead,
        meta: &ResponseMeta,
        proxy: &Proxy,
        link: &mut Link,
        ctx: &mut Context,
    ) -> bool {
        let status = head.status.unwrap_or_default();
        if self.proxy.cache.is_none() {
            return self.retry_for_status(status, link, ctx);
        }
        self.judge_reply(head, proxy, ctx);
        self.retry_for_status(status, link, ctx)
            || self.use_stale_for_status(status, ctx)
            || self.confirm_for_status(status, meta, ctx)
    }

    /// Decodes what came with the head, so that a small body leaves in the head's buffer.
    fn take_body_at_hand(&mut self, link: &mut Link, ctx: &mut Context) {
        if let Err(error) = self.decode_at_hand(link, ctx) {
            self.send_head(link, ctx);
            return self.attempt_failed(error, link, ctx);
        }
        self.run_filters(link, ctx);
    }

    fn has_error_page(&self, status: Status, generation: &Generation) -> bool {
        !self.in_error_page
            && self
                .core(generation)
                .is_some_and(|core| core.error_pages.iter().any(|page| page.status == status))
    }

    /// The reply's framing towards the client.
    fn client_framing(&self, meta: &ResponseMeta, generation: &Generation) -> ReplyFraming {
        let status = self.facts.reply.status;
        if self.method == Method::Head || status.is_bodiless() || self.is_head_only() {
            return ReplyFraming::None;
        }
        if self.plan.length_lost {
            return self.unknown_length_framing(generation);
        }
        match meta.framing {
            BodyFraming::None => ReplyFraming::Length(0),
            BodyFraming::Length(bytes) => ReplyFraming::Length(bytes),
            BodyFraming::Chunked | BodyFraming::UntilClose => self.unknown_length_framing(generation),
        }
    }

    /// Decodes what is there and asks for more, as far as there is room for it.
    fn read_body(&mut self, link: &mut Link, ctx: &mut Context) {
        if let Err(error) = self.decode_body(link, ctx) {
            return self.attempt_failed(error, link, ctx);
        }
        let Some(conn) = self.proxy.conn.as_mut() else { return };
        if conn.decoder.is_ended() {
            return self.end_of_reply(ctx);
        }
        match conn.ended_with() {
            Some(None) if conn.ends_with_connection() => {
                self.end_body(Chunk::empty(), ctx);
                self.end_of_reply(ctx);
            }
            Some(None) => self.attempt_failed(UpstreamError::ClosedInBody, link, ctx),
            Some(Some(error)) => {
                let error = conn.link.leg_error().unwrap_or(UpstreamError::Recv(error));
                self.attempt_failed(error, link, ctx);
            }
            None if self.is_paced(ctx) => {}
            None => {
                if self.reply_has_room(link)
                    && self.store_has_room(ctx)
                    && let Some(conn) = self.proxy.conn.as_mut()
                {
                    conn.want_recv(ctx);
                }
            }
        }
    }

    /// Whether the upstream may give more of the body.
    pub(super) fn reply_has_room(&self, link: &Link) -> bool {
        self.proxy.room.as_ref().is_none_or(|room| self.reply.has_room(link, room))
            && self.filters.as_ref().is_none_or(|run| run.has_room())
    }

    pub(super) fn decode_body(&mut self, link: &Link, ctx: &mut Context) -> Result<(), UpstreamError> {
        if self.proxy.intake.is_none() {
            return self.decode_input(link, ctx);
        }
        self.decode_paced(link, ctx)
    }

    pub(super) fn decode_input(&mut self, link: &Link, ctx: &mut Context) -> Result<(), UpstreamError> {
        let generation = Rc::clone(&self.generation);
        let pass_trailers = self.proxy_settings(&generation).is_some_and(|proxy| proxy.pass_trailers);
        let store = self.store_file();
        let Some(conn) = self.proxy.conn.as_mut() else { return Ok(()) };
        let room = self.proxy.room.as_ref();
        let source_ended = filter::source_ended(self.filters.as_deref(), &self.reply);
        let mut trailers = (conn.decoder.is_ended() && !source_ended).then(Chunk::empty);
        while !conn.decoder.is_ended()
            && conn.link.has_input()
            && room.is_none_or(|room| self.reply.has_room(link, room))
            && self.filters.as_ref().is_none_or(|run| run.has_room())
            && store.is_none_or(|file| writer::has_room(file, ctx))
        {
            let before = conn.link.inbox().len();
            let decoded = conn.decode()?;
            if conn.link.leg().is_some()
                && let Some(attempt) = self.facts.tries.last_mut()
            {
                attempt.bytes_received += (before - conn.link.inbox().len()) as u64;
            }
            match decoded {
                Decoded::NeedMore => {}
                Decoded::Data(data) => {
                    conn.count_body(data.len())?;
                    if let Some(attempt) = self.facts.tries.last_mut() {
                        attempt.response_length += data.len() as u64;
                    }
                    if let Some(file) = store {
                        writer::push(file, data.clone(), ctx);
                    }
                    filter::push(&mut self.filters, &mut self.reply, data);
                    if conn.decoder.is_ended() {
                        trailers = Some(Chunk::empty());
                    }
                }
                Decoded::End(lines) => {
                    self.facts.upstream_trailers = if pass_trailers { lines } else { Chunk::empty() };
                    trailers = Some(self.facts.upstream_trailers.clone());
                }
            }
        }
        if let Some(lines) = conn.end_of_stream()? {
            self.facts.upstream_trailers = if pass_trailers { lines } else { Chunk::empty() };
            trailers = Some(self.facts.upstream_trailers.clone());
        }
        if let Some(trailers) = trailers {
            self.end_body(trailers, ctx);
        }
        Ok(())
    }

    /// All of the reply was read: the connection goes back to its pool, unless something speaks against it.
    fn end_of_reply(&mut self, ctx: &mut Context) {
        self.finish_store(ctx);
        let reusable = self.is_reusable();
        if !self.body.is_complete() && self.body.mode() == Mode::Stream {
            self.body.set_mode(Mode::Discard, ctx);
        }
        self.end_attempt(Outcome::Success, reusable, ctx);
        self.proxy.phase = Phase::Ended;
        self.stage = Stage::Reply;
    }

    /// Whether the connection may serve another request now that all of the reply was read.
    pub(crate) fn is_reusable(&self) -> bool {
        let generation = Rc::clone(&self.generation);
        let may_keep = self.proxy_settings(&generation).is_some_and(|proxy| proxy.bind.is_none());
        let may_keep = may_keep && self.version() == ProxyHttpVersion::Http11;
        let request_ended = self.proxy.request_ended;
        self.proxy.conn.as_ref().is_some_and(|conn| {
            conn.keep_alive
                && may_keep
                && request_ended
                && conn.link.unsent_bytes() == 0
                && !conn.link.has_input()
                && conn.link.ended_early().is_none()
        })
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of the reply")]
    /// Settles how the reply goes to the client: whole, a part of it, or not at all since the client has it. None: the
    /// client was answered with an error.
    pub(crate) fn settle_framing(
        &mut self,
        head: &ResponseHead,
        meta: &ResponseMeta,
        proxy: &Proxy,
        generation: &Generation,
        unbuffered: bool,
        link: &mut Link,
        ctx: &mut Context,
    ) -> Option<ReplyFraming> {
        if self.proxy.cache.is_some() && !self.weigh_conditions(head, generation, link, ctx) {
            return None;
        }
        self.plan_proxied(head, meta, unbuffered, generation, ctx);
        let framing = self.client_framing(meta, generation);
        let length = meta.content_length;
        let framing = self.cut_out(head, length, framing, proxy, generation, link, ctx)?;
        let framing = self.framing_for_trailers(framing, self.facts.reply.status, generation);
        self.keep_alive &= framing != ReplyFraming::UntilClose;
        Some(framing)
    }

    /// What the client's conditions say of a reply that is kept: then the upstream was not told of them. False: the
    /// client was answered with 412.
    fn weigh_conditions(
        &mut self,
        head: &ResponseHead,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> bool {
        if !self.is_kept() || self.facts.reply.status != Status::OK || self.is_sub() {
            return true;
        }
        let mode = self.core(generation).map_or(IfModifiedSince::Off, |core| core.if_modified_since);
        let etag = head.value(HeaderId::Etag).unwrap_or_default();
        let last_modified_s = head.value(HeaderId::LastModified).and_then(parse_date);
        match (Validators { last_modified_s, etag }).weigh(&self.facts.head, mode) {
            Precondition::Holds => {}
            Precondition::NotModified => {
                self.facts.reply.status = Status::NOT_MODIFIED;
                self.proxy.ranges.not_modified = true;
            }
            Precondition::Failed => {
                self.fail_status(Status::PRECONDITION_FAILED, link, ctx);
                return false;
            }
        }
        true
    }

    /// Whether the cache can take more of the reply.
    fn store_has_room(&self, ctx: &mut Context) -> bool {
        let file = self.store_file();
        file.is_none_or(|file| writer::has_room(file, ctx))
    }

    /// Moves bytes to and from the reply's temporary file.
    pub(crate) fn spill_reply(&mut self, link: &Link, ctx: &mut Context) {
        if let Some(room) = self.proxy.room.take() {
            self.reply.pump_spill(link.id, link, &room, ctx);
            self.proxy.room = Some(room);
        }
        if let Some(error) = self.reply.lost()
            && !self.reply.is_cut()
        {
            let message = format!("temporary file failed ({error}) while reading upstream");
            self.log_error(Level::Crit, &message, ctx);
            self.end_attempt(Outcome::Neutral, false, ctx);
            self.reply.cut();
            self.stage = Stage::Reply;
        }
    }

    /// X-Accel-Redirect: another location of ours makes the reply.
    fn follow_accel_redirect(
        &mut self,
        head: &ResponseHead,
        proxy: &Proxy,
        link: &mut Link,
        ctx: &mut Context,
    ) -> bool {
        let Some(target) =
            head.value(HeaderId::XAccelRedirect).filter(|_| !proxy.ignore_headers.accel_redirect)
        else {
            return false;
        };
        let target = target.to_vec();
        self.carry(head, proxy, ctx);
        self.facts.upstream_head = Some(head.clone());
        self.end_attempt(Outcome::Success, false, ctx);
        match target.split_first() {
            // The request goes there as it is.
            Some((b'@', name)) => self.enter_named(name, link, ctx),
            _ => {
                if self.method != Method::Head {
                    self.become_get();
                }
                self.drop_request_body(ctx);
                self.set_uri_and_args(target);
                self.redirect_internally(link, ctx);
            }
        }
        true
    }

    /// Keeps what nginx keeps of such a head.
    fn carry(&mut self, head: &ResponseHead, proxy: &Proxy, ctx: &mut Context) {
        const FRESHNESS: [&[u8]; 2] = [b"cache-control", b"expires"];
        const KEPT: [&[u8]; 2] = [b"content-disposition", b"accept-ranges"];
        let generation = Rc::clone(&self.generation);
        let mut carried = Carried::default();
        for field in &head.fields {
            let (name, value) = head.pair(field);
            if field.id == HeaderId::ContentType {
                carried.content_type = Chunk::from_vec(value.to_vec());
            } else if field.id == HeaderId::SetCookie {
                let changed = self.rewrite_cookie(value, proxy, &generation, ctx);
                encode::field(&mut carried.lines, name, changed.as_deref().unwrap_or(value));
            } else if FRESHNESS.iter().any(|kept| name.eq_ignore_ascii_case(kept)) {
                encode::field(&mut carried.freshness, name, value);
            } else if KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
                && !(proxy.force_ranges && field.id == HeaderId::AcceptRanges)
            {
                encode::field(&mut carried.lines, name, value);
            }
        }
        self.carried = carried;
    }
}

/// Whether replies are read as fast as they come: `proxy_buffering`, unless X-Accel-Buffering says otherwise.
fn is_buffered(head: &ResponseHead, proxy: &Proxy) -> bool {
    match head.value(HeaderId::XAccelBuffering) {
        Some(value) if !proxy.ignore_headers.accel_buffering && value.eq_ignore_ascii_case(b"yes") => true,
        Some(value) if !proxy.ignore_headers.accel_buffering && value.eq_ignore_ascii_case(b"no") => false,
        _ => proxy.buffering.on,
    }
}

/// How much may wait for the client, in memory and in a file.
fn reply_room(buffered: bool, proxy: &Proxy) -> Room {
    let buffering = &proxy.buffering;
    Room {
        unbuffered: !buffered,
        memory_bytes_max: if buffered { buffering.memory_bytes_max } else { buffering.head_bytes_max },
        file_bytes_max: if buffered { buffering.file_bytes_max } else { 0 },
        directory: alloc::sync::Arc::clone(&buffering.temp_path),
    }
}

/// How many fields an upstream's head may have.
pub(super) const FIELDS_MAX: usize = 1000;

/// How many interim replies may come before the final one.
const INTERIM_MAX: usize = 32;
