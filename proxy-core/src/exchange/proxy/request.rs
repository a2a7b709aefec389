//! The head of the request that an upstream gets, written anew: nothing is forwarded that was not understood.

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::buf::Chunk;
use crate::config::{Proxy, ProxyHttpVersion, SetHeaders, TargetUri, UpgradePolicy};
use crate::exchange::context::{Context, Generation};
use crate::exchange::request_body::Mode;
use crate::exchange::vars::Env;
use crate::exchange::{Exchange, Facts};
use crate::h1::encode;
use crate::http::framing::BodyFraming;
use crate::http::{HeaderId, Method};
use crate::route::escape_uri;

impl Exchange {
    /// Writes the head, and the body as far as it is in memory, to the upstream's link.
    pub(super) fn write_request_head(&mut self, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return };
        if self.body.mode() == Mode::Buffer && self.body.spill().is_none() {
            self.facts.request_body = self.body.held().chunks().into();
        }
        if let Some(gateway) = &proxy.gateway {
            return self.write_gateway_request(proxy, gateway, &generation, ctx);
        }
        let own_body = proxy.body.as_ref().map(|body| self.evaluate(body, &generation, ctx));
        self.proxy.framing = match &own_body {
            Some(body) => BodyFraming::Length(body.len() as u64),
            None => self.upstream_framing(proxy),
        };
        if self.proxy.framing == BodyFraming::Chunked && self.version() == ProxyHttpVersion::Http2 {
            // The end of the stream says where the body ends.
            self.proxy.framing = BodyFraming::UntilClose;
        }
        debug_assert!(ctx.scratch.is_empty());
        let mut out = core::mem::take(&mut ctx.scratch);
        self.write_request_line(&mut out, proxy, &generation, ctx);
        write_set_headers(self.set_headers(proxy), &self.facts, &ctx.env(&generation), &mut out);
        self.write_upgrade(&mut out, proxy);
        self.write_framing(&mut out);
        if proxy.is_grpc {
            self.write_te(&mut out, proxy);
        }
        if proxy.pass_request_headers {
            self.write_client_fields(&mut out, proxy);
        }
        out.extend_from_slice(b"\r\n");
        ctx.scratch = out;
        self.write_small_body(proxy, own_body, ctx);
    }

    fn write_request_line(
        &mut self,
        out: &mut Vec<u8>,
        proxy: &Proxy,
        generation: &Generation,
        ctx: &Context,
    ) {
        match &proxy.method {
            Some(method) => method.write(&self.facts, &ctx.env(generation), out),
            // An error page is fetched with GET, whatever the request was.
            None if self.asks_anew() && !self.is_converted() => {
                out.extend_from_slice(if self.method == Method::Head { b"HEAD" } else { b"GET" });
            }
            None if self.is_converted() => out.extend_from_slice(b"GET"),
            None => out.extend_from_slice(self.facts.head.method_text.of(&self.facts.head.bytes)),
        }
        out.push(b' ');
        let start = out.len();
        self.facts.write_upstream_target(proxy, &ctx.env(generation), out);
        if !is_target(out.get(start..).unwrap_or_default()) {
            // A blank or a line end, by way of a variable or a decoded URI, would end the target early.
            let raw = out.split_off(start);
            escape_blanks(&raw, out);
        }
        out.push(b' ');
        out.extend_from_slice(match self.version() {
            ProxyHttpVersion::Http10 => b"HTTP/1.0\r\n",
            ProxyHttpVersion::Http11 => b"HTTP/1.1\r\n",
            ProxyHttpVersion::Http2 => b"HTTP/2.0\r\n",
        });
    }

    /// Whether the request's own method is not the one to ask with: for an error page, and for most subrequests.
    fn asks_anew(&self) -> bool {
        self.method != self.facts.head.method() || self.sub.is_some_and(|sub| !sub.keeps_method)
    }

    /// The fields that are sent: others where the reply may be kept.
    pub(super) fn set_headers<'a>(&self, proxy: &'a Proxy) -> &'a SetHeaders {
        let cache = proxy.cache.as_ref().filter(|_| self.asks_for_cache());
        cache.map_or(&proxy.set_headers, |cache| &cache.set_headers)
    }

    /// How the body is framed: its length where that is known, chunks where it is not.
    pub(super) fn upstream_framing(&self, proxy: &Proxy) -> BodyFraming {
        if !proxy.pass_request_body {
            return BodyFraming::None;
        }
        match self.meta.framing {
            BodyFraming::Chunked if self.body.mode() == Mode::Stream && !self.body.is_complete() => {
                BodyFraming::Chunked
            }
            BodyFraming::Chunked => BodyFraming::Length(self.body.received_bytes()),
            BodyFraming::None | BodyFraming::Length(_) | BodyFraming::UntilClose => self.meta.framing,
        }
    }

    fn write_framing(&self, out: &mut Vec<u8>) {
        match self.proxy.framing {
            BodyFraming::Length(bytes) => {
                out.extend_from_slice(b"Content-Length: ");
                encode::decimal(out, bytes);
                out.extend_from_slice(b"\r\n");
            }
            BodyFraming::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            BodyFraming::None | BodyFraming::UntilClose => {}
        }
    }

    /// A handshake is forwarded where the location says nothing about Upgrade; what it does say was written already.
    fn write_upgrade(&mut self, out: &mut Vec<u8>, proxy: &Proxy) {
        self.proxy.upgrade_asked = self.meta.upgrade && self.version() == ProxyHttpVersion::Http11;
        if self.proxy.upgrade_asked && proxy.upgrade == UpgradePolicy::Forward {
            let protocol = self.facts.head.value(HeaderId::Upgrade).unwrap_or_default();
            encode::field(out, b"Upgrade", protocol);
            out.extend_from_slice(b"Connection: upgrade\r\n");
        } else if proxy.http_version == ProxyHttpVersion::Http10
            && !proxy.set_headers.names.contains_id(HeaderId::Connection)
        {
            out.extend_from_slice(b"Connection: close\r\n");
        }
    }

    /// gRPC asks for trailers, and some servers insist: what the client says of that is passed on, and no more.
    fn write_te(&self, out: &mut Vec<u8>, proxy: &Proxy) {
        let head = &self.facts.head;
        let named = head.fields.iter().filter(|field| field.id == HeaderId::Te).any(|field| {
            let mut parts = field.value.of(&head.bytes).split(|byte| matches!(byte, b',' | b';'));
            parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        });
        if named && !proxy.set_headers.names.contains_id(HeaderId::Te) {
            out.extend_from_slice(b"TE: trailers\r\n");
        }
    }

    /// The client's fields, less those that are set, that frame, or that are about its own connection.
    fn write_client_fields(&self, out: &mut Vec<u8>, proxy: &Proxy) {
        let set_headers = self.set_headers(proxy);
        let head = &self.facts.head;
        let bytes = head.bytes.as_slice();
        let mut lines = encode::Lines::of(bytes);
        for field in &head.fields {
            let ours = matches!(
                field.id,
                HeaderId::ContentLength | HeaderId::Expect | HeaderId::Host | HeaderId::TransferEncoding
            );
            if ours
                || (proxy.is_grpc && field.id == HeaderId::Te)
                || set_headers.names.contains(field.id, field.name.of(bytes))
                || self.meta.connection.drops(bytes, field)
            {
                continue;
            }
            lines.pass(field, out);
        }
        lines.flush(out);
    }

    /// What of the body is in memory goes out behind the head; a small one in the same buffer. `own_body` is what
    /// `proxy_set_body` puts in its place.
    fn write_small_body(&mut self, proxy: &Proxy, own_body: Option<Vec<u8>>, ctx: &mut Context) {
        if let Some(body) = own_body {
            let head = ctx.take_scratch();
            let Some(conn) = self.proxy.conn.as_mut() else { return };
            conn.link.queue_head(head);
            if !body.is_empty() {
                conn.link.queue(Chunk::from_vec(body));
            }
            conn.queue_body_end(self.proxy.framing, Chunk::empty(), ctx);
            self.proxy.request_ended = true;
            return;
        }
        let passes = proxy.pass_request_body && self.body.mode() == Mode::Buffer;
        let in_memory = passes && self.body.spill().is_none();
        let held = self.body.held();
        let one_piece = held.len() <= COPY_BYTES_MAX && self.version() != ProxyHttpVersion::Http2;
        if in_memory && one_piece {
            for chunk in held.chunks() {
                ctx.scratch.extend_from_slice(chunk);
            }
        }
        let head = ctx.take_scratch();
        let trailers = self.request_trailers();
        let Some(conn) = self.proxy.conn.as_mut() else { return };
        conn.link.queue_head(head);
        if in_memory && !one_piece {
            for chunk in held.chunks() {
                conn.link.queue(chunk.clone());
            }
        }
        let nothing_to_send = matches!(self.proxy.framing, BodyFraming::None | BodyFraming::Length(0));
        self.proxy.request_ended = in_memory || nothing_to_send;
        if self.proxy.request_ended {
            conn.queue_body_end(self.proxy.framing, trailers, ctx);
        }
    }
}

impl Facts {
    /// What an upstream is asked for: the client's target as it came, or what `proxy_pass` makes of it.
    pub(crate) fn write_upstream_target(&self, proxy: &Proxy, env: &Env<'_>, out: &mut Vec<u8>) {
        if let Some(target) = self.dynamic_target.as_ref().filter(|target| !target.uri.is_empty()) {
            return out.extend_from_slice(&target.uri);
        }
        match &proxy.uri {
            TargetUri::Unchanged if self.uri_unchanged && self.raw_is_valid => {
                return out.extend_from_slice(&self.raw);
            }
            TargetUri::Unchanged => escape_uri(&self.uri, out),
            TargetUri::Replace(prefix) => {
                // After `rewrite … break` the rewritten URI goes out as it is.
                let found = env.config.location(self.found).filter(|_| self.valid_location);
                let matched = found.map_or(0, |location| location.pattern.len());
                if found.is_some() {
                    out.extend_from_slice(prefix);
                }
                let rest = self.uri.get(matched..).unwrap_or_default();
                if self.quoted || !self.uri_unchanged {
                    escape_uri(rest, out);
                } else {
                    out.extend_from_slice(rest);
                }
            }
            TargetUri::Template(template) => return template.write(self, env, out),
        }
        if !self.args.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.args);
        }
    }
}

/// Writes the fields of `proxy_set_header` that have values.
pub(crate) fn write_set_headers(set: &SetHeaders, facts: &Facts, env: &Env<'_>, out: &mut Vec<u8>) {
    for header in &set.fields {
        if matches!(header.id, HeaderId::ContentLength | HeaderId::TransferEncoding) {
            continue;
        }
        let start = out.len();
        out.extend_from_slice(&header.name);
        out.extend_from_slice(b": ");
        let value = out.len();
        header.value.write(facts, env, out);
        let written = out.get(value..).unwrap_or_default();
        if written.is_empty() || !encode::is_clean(written) {
            out.truncate(start);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Whether nothing in it could end a request target early.
fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// Escapes what could end a request target early, and leaves its other parts what they are.
fn escape_blanks(raw: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in raw {
        if *byte > b' ' && *byte != 0x7f {
            out.push(*byte);
            continue;
        }
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
        out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
    }
}

/// A body up to this size goes behind its head in the same buffer.
const COPY_BYTES_MAX: usize = 2 * 1024;
