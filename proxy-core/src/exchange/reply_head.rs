//! The head of the reply, in nginx's order: status line, Server, Date, Content-Type, Content-Length, Last-Modified,
//! Location, Transfer-Encoding, Connection, Keep-Alive, then what the upstream sent, then `add_header`.
//!
//! It is written into the worker's scratch memory; [`Exchange::send_head`] takes it from there.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use super::Exchange;
use super::context::{Context, Generation};
use super::expires::ExpiresFields;
use super::reply_body::ReplyFraming;
use super::respond::LocalReply;
use crate::buf::Chunk;
use crate::config::{AddHeader, CoreSettings, Expires, Piece, Proxy, ServerTokens, Variable};
use crate::content::pages;
use crate::content::serve::last_modified_field;
use crate::filter::plan::{Encoding, Outlook, Plan, Treat};
use crate::h1::encode;
use crate::http::date::parse as parse_date;
use crate::http::framing::ResponseMeta;
use crate::http::{HeaderId, ResponseHead, Status, Version};

impl Exchange {
    /// The head of a reply that is made here.
    pub(crate) fn write_local_head(
        &mut self,
        reply: &LocalReply,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        let Some(core) = self.core(generation) else { return };
        self.limit_keep_alive(core);
        let product = self.product(core, generation, ctx);
        begin_head(reply.status, reply.status.reason().as_bytes(), &product, ctx);
        if reply.status != Status::NO_CONTENT && !reply.not_modified {
            let content_type = reply.content_type.as_deref();
            let content_type = content_type.unwrap_or_else(|| self.content_type(generation));
            if !content_type.is_empty() {
                // A redirect's page is no text of the site's.
                let charset = core.charset.as_ref().filter(|_| reply.location.is_none());
                self.write_content_type(content_type, charset, generation, ctx);
            }
            if !reply.streamed && !self.plan.length_lost && self.reply.framing() != ReplyFraming::Chunked {
                length_field(&mut ctx.scratch, reply.length.unwrap_or(reply.body.len() as u64));
            }
        }
        self.write_age_and_place(reply, core, ctx);
        let out = &mut ctx.scratch;
        let location = reply.location.as_deref();
        if self.reply.framing() == ReplyFraming::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        self.connection_fields(reply.status, core, ctx);
        if reply.varies && !self.plan.vary {
            ctx.scratch.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        if let Some(location) = location.filter(|_| !reply.location_is_made) {
            encode::field(&mut ctx.scratch, b"Location", location);
        }
        ctx.scratch.extend_from_slice(&self.proxy.cookie);
        ctx.scratch.extend_from_slice(&self.carried.lines);
        ctx.scratch.extend_from_slice(&self.challenge);
        if !reply.etag.is_empty() && !core.replaces(HeaderId::Etag, reply.status) {
            self.etag_field(&reply.etag, &mut ctx.scratch);
        }
        if reply.gzip && self.plan.encoding != Encoding::Drop {
            ctx.scratch.extend_from_slice(b"Content-Encoding: gzip\r\n");
        }
        let expiry = self.expiry(core, reply.status, || reply.last_modified_s, generation, ctx);
        if let Some(expiry) = expiry {
            expiry.write_expires(&mut ctx.scratch);
            expiry.write_cache_control(&mut ctx.scratch);
        } else {
            ctx.scratch.extend_from_slice(&self.carried.freshness);
        }
        self.add_fields(reply.status, core, generation, ctx);
        self.user_id_fields(generation, ctx);
        self.encoding_field(ctx);
        ctx.scratch.extend_from_slice(&reply.late_fields);
        ctx.scratch.extend_from_slice(b"\r\n");
    }

    /// Last-Modified, and a Location that is one of ours.
    fn write_age_and_place(&self, reply: &LocalReply, core: &CoreSettings, ctx: &mut Context) {
        let out = &mut ctx.scratch;
        // An error page's own age says nothing about what was asked for.
        let own_last_modified =
            matches!(reply.status.0, 200 | 206 | 304) && !core.replaces(HeaderId::LastModified, reply.status);
        let own_last_modified = own_last_modified && !self.plan.forget_last_modified;
        if let Some(unix_s) = reply.last_modified_s.filter(|_| own_last_modified) {
            last_modified_field(unix_s, out);
        }
        match &reply.location {
            Some(location) if reply.location_is_made => encode::field(out, b"Location", location),
            None if !self.carried.location.is_empty() => {
                encode::field(out, b"Location", &self.carried.location);
            }
            Some(_) | None => {}
        }
    }

    fn etag_field(&self, etag: &[u8], out: &mut Vec<u8>) {
        match self.plan.treat(HeaderId::Etag, etag) {
            Treat::Drop => {}
            Treat::Pass => encode::field(out, b"ETag", etag),
            Treat::Replace(etag) => encode::field(out, b"ETag", &etag),
        }
    }

    /// What the Server field and the pages say of us.
    pub(crate) fn product(
        &self,
        core: &CoreSettings,
        generation: &Generation,
        ctx: &Context,
    ) -> Cow<'static, [u8]> {
        match &core.server_tokens {
            ServerTokens::On => Cow::Borrowed(pages::PRODUCT.as_bytes()),
            ServerTokens::Off => Cow::Borrowed(pages::PRODUCT_NAME.as_bytes()),
            ServerTokens::Text(text) => Cow::Owned(self.evaluate(text, generation, ctx)),
        }
    }

    /// The media type of the present URI, by its extension.
    pub(crate) fn content_type<'a>(&'a self, generation: &'a Generation) -> &'a [u8] {
        if !self.carried.content_type.is_empty() {
            return &self.carried.content_type;
        }
        let Some(core) = self.core(generation) else { return b"" };
        core.types.of_uri(&self.facts.uri).unwrap_or(&core.default_type)
    }

    /// The head of an upstream's reply.
    pub(crate) fn write_proxied_head(
        &mut self,
        head: ResponseHead,
        meta: &ResponseMeta,
        framing: ReplyFraming,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        let (Some(core), Some(proxy)) = (self.core(generation), self.proxy_settings(generation)) else {
            return;
        };
        self.limit_keep_alive(core);
        let asks = !proxy.cookie_flags.is_empty() || matches!(core.expires, Expires::Computed { .. });
        if asks {
            // What is computed for the fields may depend on them.
            self.facts.upstream_head = Some(head.clone());
        }
        let status = self.facts.reply.status;
        let own_reason = self.error_status.is_some() || head.version == Version::Http2;
        let own_reason = own_reason || (head.reason.is_empty() && proxy.gateway.is_some());
        let not_modified = self.proxy.ranges.not_modified;
        let own_reason = own_reason || self.proxy.ranges.part.is_some() || not_modified;
        let reason = if own_reason { status.reason().as_bytes() } else { head.reason.of(&head.bytes) };
        let product = self.product(core, generation, ctx);
        begin_proxied(status, reason, &head, proxy, &product, ctx);
        if let Some(content_type) = head.value(HeaderId::ContentType).filter(|_| !not_modified) {
            let accel = head.value(HeaderId::XAccelCharset).filter(|_| !proxy.ignore_headers.accel_charset);
            self.pass_content_type(content_type, accel, core, generation, ctx);
        } else if !self.carried.content_type.is_empty() {
            encode::field(&mut ctx.scratch, b"Content-Type", &self.carried.content_type);
        }
        let out = &mut ctx.scratch;
        let length = meta.content_length.filter(|_| !self.plan.length_lost);
        let length = length.filter(|_| framing != ReplyFraming::Chunked && status.0 != 204 && !not_modified);
        let part = self.proxy.ranges.part.as_ref().map(|part| part.end - part.start);
        if let Some(length) = length.map(|length| part.unwrap_or(length)) {
            length_field(out, length);
        }
        let moved = self.moved_location(&head, proxy, core, generation, ctx);
        let out = &mut ctx.scratch;
        if let Some(url) = &moved {
            encode::field(out, b"Location", url);
        }
        if framing == ReplyFraming::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if meta.upgraded {
            upgrade_fields(&head, out);
        } else {
            self.connection_fields(status, core, ctx);
        }
        ctx.scratch.extend_from_slice(&self.proxy.cookie);
        ctx.scratch.extend_from_slice(&self.carried.freshness);
        ctx.scratch.extend_from_slice(&self.carried.lines);
        ctx.scratch.extend_from_slice(&self.challenge);
        self.pass_fields(&head, meta, moved.is_some(), proxy, generation, ctx);
        self.facts.upstream_head = Some(head);
        self.add_fields(status, core, generation, ctx);
        self.user_id_fields(generation, ctx);
        self.encoding_field(ctx);
        self.proxy.ranges.write(&mut ctx.scratch);
        ctx.scratch.extend_from_slice(b"\r\n");
    }

    /// A Location that `proxy_redirect` has made a path of ours is sent as a URL, as one that is made here.
    fn moved_location(
        &mut self,
        head: &ResponseHead,
        proxy: &Proxy,
        core: &CoreSettings,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Vec<u8>> {
        let hidden = proxy.hide_headers.contains_id(HeaderId::Location);
        let value = head.value(HeaderId::Location).filter(|_| !hidden && core.absolute_redirect)?;
        let path = self.rewrite_location(value, proxy, generation, ctx)?;
        self.absolute_location(&path, generation).filter(|url| encode::is_clean(url))
    }

    fn connection_fields(&self, status: Status, core: &CoreSettings, ctx: &mut Context) {
        if status == Status::SWITCHING_PROTOCOLS {
            return;
        }
        let out = &mut ctx.scratch;
        if !self.keep_alive || ctx.draining {
            out.extend_from_slice(b"Connection: close\r\n");
            return self.vary_field(out);
        }
        out.extend_from_slice(b"Connection: keep-alive\r\n");
        if let Some(seconds) = core.keepalive.header_s {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            encode::decimal(out, seconds);
            out.extend_from_slice(b"\r\n");
        }
        self.vary_field(out);
    }

    /// `gzip_vary`
    fn vary_field(&self, out: &mut Vec<u8>) {
        if self.plan.vary {
            out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
    }

    /// `gzip`
    fn encoding_field(&self, ctx: &mut Context) {
        if self.plan.encoding == Encoding::Gzip {
            ctx.scratch.extend_from_slice(b"Content-Encoding: gzip\r\n");
        }
    }

    /// Decides about the filters of a reply that is made here.
    pub(crate) fn plan_local(&mut self, reply: &LocalReply, generation: &Generation, ctx: &mut Context) {
        let Some(core) = self.core(generation) else { return };
        if self.location(generation).is_none_or(|location| location.filters.is_none()) {
            self.plan = Plan::default();
            return;
        }
        let expiry = self.expiry(core, reply.status, || reply.last_modified_s, generation, ctx);
        let content_type = reply.content_type.clone();
        let content_type =
            content_type.unwrap_or_else(|| Chunk::from_vec(self.content_type(generation).to_vec()));
        let outlook = Outlook {
            status: reply.status,
            content_type: &content_type,
            content_encoding: reply.gzip.then_some(b"gzip"),
            length: (!reply.streamed).then(|| reply.length.unwrap_or(reply.body.len() as u64)),
            unbuffered: false,
            expires_s: expiry.map(|expiry| expiry.at_s()),
            fields: reply,
        };
        self.plan_filters(&outlook, generation, ctx);
    }

    /// Decides about the filters of an upstream's reply.
    pub(crate) fn plan_proxied(
        &mut self,
        head: &ResponseHead,
        meta: &ResponseMeta,
        unbuffered: bool,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        let Some(core) = self.core(generation) else { return };
        if self.location(generation).is_none_or(|location| location.filters.is_none()) {
            return;
        }
        let status = self.facts.reply.status;
        let modified = || head.value(HeaderId::LastModified).and_then(parse_date);
        let outlook = Outlook {
            status,
            content_type: head.value(HeaderId::ContentType).unwrap_or_default(),
            content_encoding: head.value(HeaderId::ContentEncoding).filter(|value| !value.is_empty()),
            length: meta.content_length,
            unbuffered,
            expires_s: self.expiry(core, status, modified, generation, ctx).map(|expiry| expiry.at_s()),
            fields: head,
        };
        self.plan_filters(&outlook, generation, ctx);
    }

    /// The upstream's fields, less those that are hidden, spoken for, or about its own connection.
    fn pass_fields(
        &mut self,
        head: &ResponseHead,
        meta: &ResponseMeta,
        location_moved: bool,
        proxy: &Proxy,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        let Some(core) = self.core(generation) else { return };
        let status = self.facts.reply.status;
        let expiry = self.expiry(
            core,
            status,
            || head.value(HeaderId::LastModified).and_then(parse_date),
            generation,
            ctx,
        );
        let mut expires = ExpiresFields::new(expiry);
        let bytes = head.bytes.as_slice();
        let mut lines = encode::Lines::of(bytes);
        let plain = self.plan.is_plain();
        for field in &head.fields {
            let name = field.name.of(bytes);
            let spoken_for = matches!(field.id, HeaderId::ContentLength | HeaderId::ContentType)
                || (field.id == HeaderId::Location && location_moved)
                || (field.id == HeaderId::AcceptRanges && (self.proxy.ranges.offered || proxy.force_ranges))
                || (field.id == HeaderId::Trailer && !proxy.pass_trailers)
                || (self.proxy.ranges.not_modified
                    && matches!(field.id, HeaderId::ContentEncoding | HeaderId::AcceptRanges));
            if spoken_for
                || meta.connection.drops(bytes, field)
                || proxy.hide_headers.contains(field.id, name)
                || core.replaces(field.id, status)
            {
                continue;
            }
            let taken = (!plain && self.plan.takes(field, bytes, &mut lines, &mut ctx.scratch))
                || expires.takes(field.id, &mut lines, &mut ctx.scratch);
            if taken {
                continue;
            }
            match self.rewrite_field(field.id, field.value.of(bytes), proxy, generation, ctx) {
                None => lines.pass(field, &mut ctx.scratch),
                Some(value) => {
                    lines.flush(&mut ctx.scratch);
                    // A value that would end its line early is not sent at all.
                    let _ = encode::computed_field(&mut ctx.scratch, name, &value);
                }
            }
        }
        lines.flush(&mut ctx.scratch);
        expires.finish(&mut ctx.scratch);
    }

    fn rewrite_field(
        &mut self,
        id: HeaderId,
        value: &[u8],
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) -> Option<Vec<u8>> {
        if id == HeaderId::Location {
            self.rewrite_location(value, proxy, generation, ctx)
        } else if id == HeaderId::Refresh {
            self.rewrite_refresh(value, proxy, generation, ctx)
        } else if id == HeaderId::SetCookie {
            self.rewrite_cookie(value, proxy, generation, ctx)
        } else {
            None
        }
    }

    /// What `expires` and `add_header` gave the reply before its range turned out to be none: nginx keeps it, and so do we.
    pub(crate) fn fields_of_ok(
        &mut self,
        last_modified_s: Option<i64>,
        core: &CoreSettings,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Vec<u8> {
        debug_assert!(ctx.scratch.is_empty());
        if let Some(expiry) = self.expiry(core, Status::OK, || last_modified_s, generation, ctx) {
            expiry.write_expires(&mut ctx.scratch);
            expiry.write_cache_control(&mut ctx.scratch);
        }
        self.add_fields(Status::OK, core, generation, ctx);
        let fields = ctx.scratch.clone();
        ctx.scratch.clear();
        fields
    }

    /// `add_header`
    fn add_fields(
        &mut self,
        status: Status,
        core: &CoreSettings,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        if !core.add_headers.is_empty() {
            if core.add_headers.iter().any(|header| header.asks_for_reply()) {
                // What is written so far is what `$sent_http_…` sees: all but these fields.
                self.facts.reply.head = Chunk::from_vec(ctx.scratch.clone());
            }
            let mut value = core::mem::take(&mut ctx.value);
            for header in &*core.add_headers {
                if !header.applies_to(status) {
                    continue;
                }
                value.clear();
                header.value.write(&self.facts, &ctx.env(generation), &mut value);
                self.add_field(header, &value, ctx);
            }
            ctx.value = value;
        }
    }

    fn add_field(&self, header: &AddHeader, value: &[u8], ctx: &mut Context) {
        if !value.is_empty() && !encode::computed_field(&mut ctx.scratch, &header.name, value) {
            let text = format!("header \"{}\" would hold a line end", header.name.escape_ascii());
            self.log_error(crate::command::Level::Error, &text, ctx);
        }
    }
}

fn begin_head(status: Status, reason: &[u8], product: &[u8], ctx: &mut Context) {
    debug_assert!(ctx.scratch.is_empty());
    encode::status_line(&mut ctx.scratch, status, reason);
    server_field(product, &mut ctx.scratch);
    date_field(ctx);
}

/// Where the location passes the upstream's Server or Date on, ours is not sent, even if the upstream sends none; a
/// program behind a gateway need not send them.
fn begin_proxied(
    status: Status,
    reason: &[u8],
    head: &ResponseHead,
    proxy: &Proxy,
    product: &[u8],
    ctx: &mut Context,
) {
    debug_assert!(ctx.scratch.is_empty());
    encode::status_line(&mut ctx.scratch, status, reason);
    let passes =
        |id| !proxy.hide_headers.contains_id(id) && (proxy.gateway.is_none() || head.value(id).is_some());
    if !passes(HeaderId::Server) {
        server_field(product, &mut ctx.scratch);
    }
    if !passes(HeaderId::Date) {
        date_field(ctx);
    }
}

fn server_field(product: &[u8], out: &mut Vec<u8>) {
    if !product.is_empty() {
        let _ = encode::computed_field(out, b"Server", product);
    }
}

fn date_field(ctx: &mut Context) {
    ctx.scratch.extend_from_slice(b"Date: ");
    let date = ctx.dates.imf(ctx.now);
    ctx.scratch.extend_from_slice(date);
    ctx.scratch.extend_from_slice(b"\r\n");
}

fn upgrade_fields(head: &ResponseHead, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Connection: upgrade\r\n");
    if let Some(protocol) = head.value(HeaderId::Upgrade) {
        encode::field(out, b"Upgrade", protocol);
    }
}

impl AddHeader {
    /// Whether the value may depend on the reply's other fields: of a `map` nobody knows.
    fn asks_for_reply(&self) -> bool {
        let asks = |piece: &Piece| matches!(piece, Piece::Variable(Variable::SentHttp(_) | Variable::Map(_)));
        self.value.pieces().iter().any(asks)
    }

    /// Whether a reply with this status gets the field.
    pub(crate) const fn applies_to(&self, status: Status) -> bool {
        self.always || matches!(status.0, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
    }
}

impl CoreSettings {
    /// Whether `add_header` says what this field shall be: Last-Modified and ETag are replaced, not added to.
    fn replaces(&self, id: HeaderId, status: Status) -> bool {
        matches!(id, HeaderId::LastModified | HeaderId::Etag)
            && self.add_headers.iter().any(|header| header.id == id && header.applies_to(status))
    }
}

fn length_field(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    encode::decimal(out, length);
    out.extend_from_slice(b"\r\n");
}
