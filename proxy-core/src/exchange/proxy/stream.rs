//! An attempt at an upstream that speaks HTTP/2: a stream on a connection that it shares with others
//! ([`trunk`](crate::h2::trunk)).
//!
//! For everything else it is an attempt like any other: its link says when there is room, what came, and what ended. A
//! protocol can only be switched to on a connection of its own, so upgrades are asked for with HTTP/1.1.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Phase;
use crate::buf::Chunk;
use crate::command::ConnId;
use crate::config::{Proxy, ProxyHttpVersion};
use crate::conn::port::LegAt;
use crate::conn::{Link, UpstreamConn};
use crate::error::UpstreamError;
use crate::exchange::Exchange;
use crate::exchange::context::{Conn, Context};
use crate::h1::is_plain;
use crate::h2::trunk::door::{self, Berth, Standing};
use crate::http::framing::{ResponseMeta, response_framing};
use crate::http::{HeaderId, ResponseHead};
use crate::timer::Reason;
use crate::tls::client::Identity;

impl Exchange {
    /// The version that the next attempt speaks.
    pub(super) fn choose_version(&mut self, proxy: &Proxy) -> ProxyHttpVersion {
        let switches = proxy.http_version == ProxyHttpVersion::Http2 && self.meta.upgrade && !proxy.is_grpc;
        let version = if switches { ProxyHttpVersion::Http11 } else { proxy.http_version };
        self.proxy.version = Some(version);
        version
    }

    /// The version that the present attempt speaks.
    pub(super) fn version(&self) -> ProxyHttpVersion {
        self.proxy.version.unwrap_or(ProxyHttpVersion::Http11)
    }

    /// Whether the present attempt is a stream.
    pub(super) fn is_on_stream(&self) -> bool {
        self.proxy.conn.as_ref().is_some_and(|conn| conn.link.leg().is_some())
    }

    /// Gets a place on a connection to the server that was chosen, a new one where none has room.
    pub(super) fn board(
        &mut self,
        proxy: &Proxy,
        identity: Option<Arc<Identity>>,
        link: &Link,
        ctx: &mut Context,
    ) {
        let (Some(seat), Some(attempt)) = (self.proxy.seat.clone(), self.facts.tries.last()) else { return };
        let Some(address) = attempt.address.clone() else { return };
        let key = ConnId(ctx.conns.insert(Conn::Working { client: link.id }));
        ctx.streams += 1;
        // Another connection may have another local address than this location wants.
        let shared =
            if proxy.bind.is_some() { None } else { door::attach(&seat, identity.as_ref(), key, ctx) };
        if shared.is_none() && identity.is_some() {
            // The handshake decides which protocol it will be.
            ctx.conns.remove(key.0);
            ctx.streams -= 1;
            return self.connect(proxy, identity, link, ctx);
        }
        let berth = shared.unwrap_or_else(|| {
            let options = self.connect_options(proxy, ctx);
            let seat = proxy.bind.is_none().then_some(seat);
            door::open(seat, address, options, key, ctx)
        });
        let mut conn = on_trunk(key, berth, proxy, ctx);
        if !berth.is_open {
            if let Some(attempt) = self.facts.tries.last_mut() {
                attempt.connect_us = None;
            }
            conn.link.set_deadline(proxy.connect_timeout, Reason::UpstreamConnect, ctx);
            self.proxy.phase = Phase::Connecting;
        }
        self.proxy.conn = Some(conn);
    }

    /// A connection from the pool: it has led to HTTP/1.1.
    pub(super) fn resume(&mut self, conn: Box<UpstreamConn>) {
        if self.version() == ProxyHttpVersion::Http2 {
            self.proxy.version = Some(ProxyHttpVersion::Http11);
        }
        self.proxy.conn = Some(conn);
    }

    /// A TLS handshake is complete: speaks what it has led to. gRPC is HTTP/2, whatever the server says.
    pub(super) fn follow_protocol(&mut self, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return };
        let Some(conn) = self.proxy.conn.as_ref() else { return };
        if *conn.protocol != *b"h2" && !proxy.is_grpc {
            self.proxy.version = Some(ProxyHttpVersion::Http11);
            return;
        }
        let Some(Conn::Working { client }) = ctx.conns.get(conn.link.id.0) else { return };
        let client = *client;
        let Some(conn) = self.proxy.conn.take() else { return };
        let key = ConnId(ctx.conns.insert(Conn::Working { client }));
        ctx.streams += 1;
        let seat = self.proxy.seat.clone().filter(|_| proxy.bind.is_none());
        let UpstreamConn { link, identity, .. } = *conn;
        let berth = door::adopt(link, seat, identity, key, ctx);
        self.proxy.conn = Some(on_trunk(key, berth, proxy, ctx));
    }

    /// Something happened to the attempt's stream, or to the connection that it waits for. Returns whether there is such
    /// an attempt, and it can go on.
    pub(crate) fn handle_stirred(&mut self, key: ConnId, link: &mut Link, ctx: &mut Context) -> bool {
        let Some(conn) = self.proxy.conn.as_mut().filter(|conn| conn.link.id == key) else { return false };
        conn.link.ask_again();
        if self.proxy.phase != Phase::Connecting {
            return true;
        }
        match door::standing(&conn.link, ctx) {
            Standing::Connecting => return false,
            Standing::Open => self.ready(ctx),
            Standing::Failed(error) => self.attempt_failed(error, link, ctx),
        }
        true
    }

    /// The lines behind the request's body that the present attempt gets. Towards HTTP/1 they are dropped, as in nginx; on
    /// a stream they pass by the rules of the head's fields: what is set, or not passed on, cannot come by the back door.
    pub(super) fn request_trailers(&self) -> Chunk {
        let all = self.body.trailers();
        if all.is_empty() || !self.is_on_stream() {
            return Chunk::empty();
        }
        let generation = &self.generation;
        let Some(proxy) = self.proxy_settings(generation).filter(|proxy| proxy.pass_request_headers) else {
            return Chunk::empty();
        };
        let server = generation.config.server(self.facts.server);
        let is_passed = |name: &[u8]| {
            let id = HeaderId::from_token(name);
            let plain = server.is_none_or(|server| {
                !server.ignore_invalid_headers || is_plain(name, server.underscores_in_headers)
            });
            let head = self.facts.head.bytes.as_slice();
            let mut ours = self.meta.connection.named.iter().map(|named| named.of(head));
            plain
                && !self.set_headers(proxy).names.contains(id, name)
                && !ours.any(|ours| ours.eq_ignore_ascii_case(name))
        };
        let mut passed = Vec::new();
        for line in all.split_inclusive(|byte| *byte == b'\n') {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            if is_passed(name) {
                passed.extend_from_slice(line);
            }
        }
        if passed.is_empty() { Chunk::empty() } else { Chunk::from_vec(passed) }
    }

    /// What the stream has taken so far.
    pub(super) fn note_carried(&mut self) {
        if let Some(conn) = self.proxy.conn.as_ref().filter(|conn| conn.link.leg().is_some())
            && let Some(attempt) = self.facts.tries.last_mut()
        {
            attempt.bytes_sent = conn.link.sent_bytes();
            self.proxy.request_sent |= attempt.bytes_sent > 0;
        }
    }

    /// The next head of the reply.
    pub(super) fn read_stream_head(
        &mut self,
        ctx: &mut Context,
    ) -> Result<Option<(ResponseHead, ResponseMeta)>, UpstreamError> {
        let Some(conn) = self.proxy.conn.as_mut() else { return Ok(None) };
        let Some(head) = door::take_head(&mut conn.link, ctx)? else { return Ok(None) };
        conn.link.ask_again();
        let meta = response_framing(&head, self.method_sent())?;
        self.note_head_of_try(&head, ctx);
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.bytes_received += head.bytes.len() as u64;
        }
        Ok(Some((head, meta)))
    }

    /// Decodes what of the body came with the head: on a stream all of it that is here, and its end.
    pub(super) fn decode_at_hand(&mut self, link: &Link, ctx: &mut Context) -> Result<(), UpstreamError> {
        // Bounded by what waits on the stream, and that by its window.
        while self.is_on_stream() && !self.is_paced(ctx) && self.reply_has_room(link) {
            let Some(conn) = self.proxy.conn.as_mut().filter(|conn| !conn.decoder.is_ended()) else { break };
            conn.want_recv(ctx);
            if !conn.link.has_input() && conn.link.ended().is_none() {
                return Ok(());
            }
            self.decode_body(link, ctx)?;
            let stuck = |conn: &UpstreamConn| conn.link.has_input() || conn.link.ended().is_some();
            if self.proxy.conn.as_deref().is_some_and(stuck) {
                return Ok(());
            }
        }
        self.decode_body(link, ctx)
    }
}

fn on_trunk(key: ConnId, berth: Berth, proxy: &Proxy, ctx: &Context) -> Box<UpstreamConn> {
    let head_bytes_max = proxy.buffering.head_bytes_max;
    let leg = LegAt { trunk: berth.trunk, stream: 0, head_bytes_max };
    Box::new(UpstreamConn::on_trunk(key, leg, berth.has_served, ctx.now.instant))
}
