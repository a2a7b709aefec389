//! One check of one server: a connection, a request with the settings of the location, and what is thought of the reply.
//!
//! ```text
//! Connecting (─► Handshaking) ─► Head ─► Body ─► judged ─► Kept ─ next check ─► Head
//!     └──────────┴───────┴─ failed, or timed out
//! ```

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::grpc::Call;
use super::judge::{self, Test};
use crate::access::proxy_header;
use crate::buf::Chunk;
use crate::command::{
    Address, CloseHow, Command, Completion, ConnId, ConnectOptions, ListenerId, Peer, Room,
};
use crate::config::{BindAddress, CheckKind, HealthCheck, ProxyHttpVersion};
use crate::conn::Link;
use crate::conn::link::Ended;
use crate::error::UpstreamError;
use crate::exchange::context::{Conn, Context, Generation};
use crate::exchange::proxy::attempt::bind_address;
use crate::exchange::proxy::request::write_set_headers;
use crate::exchange::{ConnFacts, Facts, Try};
use crate::h1::body::{BodyDecoder, Decoded};
use crate::h1::{Parsed, ResponseLimits, encode, parse_response};
use crate::h2::encode::Scheme;
use crate::http::framing::response_framing;
use crate::http::{HeaderId, Method, ResponseHead, Status};
use crate::shared::upstream::{GroupState, Member};
use crate::time::Instant;
use crate::timer::Reason;

/// How much of a body is looked at, in bytes: nginx's bound.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Header lines of a reply.
const FIELDS_MAX: usize = 1000;
/// Interim replies before the final one.
const INTERIM_MAX: usize = 16;

/// One check of one server.
pub(crate) struct Probe {
    pub(super) link: Link,
    pub(super) check: Arc<HealthCheck>,
    pub(super) group: Arc<GroupState>,
    pub(super) member: Member,
    pub(super) generation: Rc<Generation>,
    pub(super) facts: Facts,
    pub(super) phase: Phase,
    /// What went wrong in the handshake.
    pub(super) refusal: Option<String>,
    opened: Instant,
    /// Checks that this connection has served, the present one included.
    served: u32,
    decoder: BodyDecoder,
    keep_alive: bool,
    /// The last test that was passed.
    passed: Test,
    body: Vec<u8>,
    /// The calls on this connection, where it is gRPC's.
    call: Option<Box<Call>>,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Handshaking,
    Head,
    Body,
    /// The connection waits for the next check.
    Kept,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The server is fine; this was the last test.
    Passed(Test),
    /// The reply is not what it should be.
    Failed(Test),
    /// There was no reply.
    Broken(UpstreamError),
    /// A connection that was kept is of no use any more; nothing was being checked.
    Lapsed,
}

impl Finding {
    /// Whether the check passed.
    pub(super) const fn is_pass(self) -> bool {
        matches!(self, Self::Passed(_))
    }
}

impl Probe {
    /// Begins a check on a new connection. Returns its key.
    pub(super) fn begin(
        check: &Arc<HealthCheck>,
        group: &Arc<GroupState>,
        member: &Member,
        ctx: &mut Context,
    ) -> ConnId {
        let id = ConnId(ctx.conns.insert(Conn::Driven));
        let address = with_port(&member.config.address, check.port);
        let mut probe = Box::new(Self {
            link: Link::new(id),
            check: Arc::clone(check),
            group: Arc::clone(group),
            member: member.clone(),
            generation: Rc::clone(&ctx.generation),
            facts: facts(check, &member.config.address, ctx),
            phase: Phase::Connecting,
            refusal: None,
            opened: ctx.now.instant,
            served: 1,
            decoder: BodyDecoder::Ended,
            keep_alive: false,
            passed: Test::Connect,
            body: Vec::new(),
            call: matches!(check.kind, CheckKind::Grpc { .. }).then(|| Box::new(Call::new())),
        });
        let options = probe.connect_options(ctx);
        ctx.commands.push_back(Command::Connect { conn: id, address, options });
        probe.link.set_deadline(check.proxy.connect_timeout, Reason::UpstreamConnect, ctx);
        if let Some(slot) = ctx.conns.get_mut(id.0) {
            *slot = Conn::Probe(probe);
        }
        id
    }

    /// Begins the next check on a connection that was kept.
    pub(super) fn begin_again(&mut self, check: &Arc<HealthCheck>, ctx: &mut Context) {
        debug_assert!(self.phase == Phase::Kept);
        self.check = Arc::clone(check);
        self.generation = Rc::clone(&ctx.generation);
        self.facts = facts(check, &self.member.config.address, ctx);
        self.served += 1;
        self.send_request(ctx);
    }

    /// Something happened to the connection. How the check ended, if it did.
    pub(super) fn handle_completion(&mut self, completion: Completion, ctx: &mut Context) -> Option<Finding> {
        match completion {
            Completion::Connect { result: Err(error), .. } => {
                return Some(Finding::Broken(UpstreamError::Connect(error)));
            }
            Completion::Connect { result: Ok(_), .. } => match self.check.kind {
                CheckKind::Tcp => return Some(Finding::Passed(Test::Connect)),
                CheckKind::Http { .. } | CheckKind::Grpc { .. } => {
                    if let Some(version) = self.check.proxy.proxy_protocol {
                        self.link.queue(Chunk::from_vec(proxy_header::write(version, None)));
                        self.link.flush(ctx);
                    }
                    if !self.begin_handshake(ctx) {
                        self.begin_request(ctx);
                    }
                }
            },
            Completion::Recv { result, .. } => self.link.handle_recv(result, ctx),
            Completion::Send { chain, result, .. } => self.link.handle_sent(chain, result),
            Completion::OpenFile { .. }
            | Completion::ReadFile { .. }
            | Completion::WriteFile { .. }
            | Completion::Verify { .. }
            | Completion::ListDirectory { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::Resolve { .. } => {}
        }
        self.link.flush(ctx);
        self.advance(ctx)
    }

    /// The connection's deadline has passed.
    pub(super) const fn handle_timeout(&self, reason: Reason) -> Finding {
        Finding::Broken(match (self.phase, reason) {
            (Phase::Kept, _) => return Finding::Lapsed,
            (Phase::Connecting, _) => UpstreamError::ConnectTimeout,
            (Phase::Handshaking, _) => UpstreamError::HandshakeTimeout,
            (Phase::Head | Phase::Body, Reason::UpstreamSend) => UpstreamError::SendTimeout,
            (Phase::Head | Phase::Body, _) => UpstreamError::RecvTimeout,
        })
    }

    /// What was being done, in nginx's words.
    pub(super) const fn doing(&self) -> &'static str {
        match self.phase {
            Phase::Connecting => "connecting to upstream",
            Phase::Handshaking => "SSL handshaking to upstream",
            Phase::Head if self.link.unsent_bytes() > 0 => "sending request to upstream",
            Phase::Head => "reading response header from upstream",
            Phase::Body | Phase::Kept => "reading upstream",
        }
    }

    /// Whether a failure only means that the other end had closed a connection that was kept.
    pub(super) const fn was_dead(&self, finding: Finding) -> bool {
        let dead = matches!(
            finding,
            Finding::Broken(
                UpstreamError::Send(_) | UpstreamError::Recv(_) | UpstreamError::ClosedBeforeHead
            )
        );
        dead && self.served > 1
    }

    /// The check has ended well: keeps the connection for the next one, if it may be. Returns whether it does.
    pub(super) fn keep(&mut self, ctx: &mut Context) -> bool {
        let Some(time) = self.check.keepalive_time else { return false };
        let until = self.opened + time;
        if !self.keep_alive || self.link.has_input() || ctx.now.instant >= until || ctx.draining {
            return false;
        }
        self.phase = Phase::Kept;
        self.body = Vec::new();
        self.link.set_deadline_at(until, Reason::UpstreamIdle, ctx);
        self.link.want_recv(Room::Small, ctx);
        true
    }

    pub(super) fn close(&mut self, ctx: &mut Context) {
        self.link.close(CloseHow::Graceful, ctx);
    }

    /// Moves the check as far as it goes.
    fn advance(&mut self, ctx: &mut Context) -> Option<Finding> {
        let finding = match self.phase {
            Phase::Connecting => None,
            Phase::Handshaking => return self.shake_hands(ctx),
            Phase::Head => {
                let read = if self.call.is_some() { self.read_call(ctx) } else { self.read_head(ctx) };
                read.unwrap_or_else(|error| Some(Finding::Broken(error)))
            }
            Phase::Body => None,
            Phase::Kept => return self.overhear(ctx),
        };
        let finding = match (finding, self.phase) {
            (None, Phase::Body) => self.read_body(ctx),
            (finding, _) => finding,
        };
        if finding.is_none() && matches!(self.phase, Phase::Head | Phase::Body) {
            self.wait(ctx);
        }
        finding
    }

    /// Whatever comes on a connection that waits means that it has ended, unless it is TLS's own business.
    fn overhear(&mut self, ctx: &mut Context) -> Option<Finding> {
        // HTTP/2 has business of its own while it waits.
        let minded = self.call.as_mut().map_or(Ok(true), |call| call.read(self.link.inbox()));
        let over = minded.is_err() || !self.send_of_call(ctx);
        if over || self.link.has_input() || self.link.ended_early().is_some() {
            return Some(Finding::Lapsed);
        }
        self.link.want_recv(Room::Small, ctx);
        None
    }

    fn wait(&mut self, ctx: &mut Context) {
        self.link.want_recv(Room::Large, ctx);
        let proxy = Arc::clone(&self.check.proxy);
        let (span, reason) = if self.link.unsent_bytes() > 0 {
            (proxy.send_timeout, Reason::UpstreamSend)
        } else {
            (proxy.read_timeout, Reason::UpstreamRead)
        };
        self.link.set_deadline(span, reason, ctx);
    }

    fn read_head(&mut self, ctx: &mut Context) -> Result<Option<Finding>, UpstreamError> {
        let limits = ResponseLimits {
            total_bytes_max: self.check.proxy.buffering.head_bytes_max,
            fields_max: FIELDS_MAX,
        };
        for _ in 0..INTERIM_MAX {
            let Some(mut bytes) = self.link.take_head_input() else { return self.look_for_end() };
            let mut fields = Vec::new();
            match parse_response(&bytes, &mut fields, &limits)? {
                Parsed::Partial => {
                    self.link.gather(&bytes);
                    return self.look_for_end();
                }
                Parsed::Complete { head, len } => {
                    bytes.advance(len);
                    self.link.put_back(bytes);
                    let switched = head.status == Some(Status(101));
                    if switched || !head.status.is_some_and(Status::is_interim) {
                        return self.take_head(head, ctx);
                    }
                }
            }
        }
        Err(UpstreamError::InvalidFraming)
    }

    /// Sends what HTTP/2 has to say. Returns whether the connection may carry another call.
    fn send_of_call(&mut self, ctx: &mut Context) -> bool {
        let Some(call) = &mut self.call else { return true };
        if let Some(out) = call.take_output() {
            self.link.queue(out);
            self.link.flush(ctx);
        }
        call.may_go_on()
    }

    fn read_call(&mut self, ctx: &mut Context) -> Result<Option<Finding>, UpstreamError> {
        let Some(call) = &mut self.call else { return Ok(None) };
        let ended = call.read(self.link.inbox())?;
        self.keep_alive = self.send_of_call(ctx);
        let (Some(call), CheckKind::Grpc { status, .. }) = (&self.call, &self.check.kind) else {
            return Ok(None);
        };
        if !ended {
            return self.look_for_end();
        }
        let is_well = call.is_well(*status);
        Ok(Some(if is_well { Finding::Passed(Test::Grpc) } else { Finding::Failed(Test::Grpc) }))
    }

    fn look_for_end(&self) -> Result<Option<Finding>, UpstreamError> {
        match (self.link.ended(), self.link.broken()) {
            (Some(Ended::Failed(error)), _) => Err(UpstreamError::Recv(error)),
            (Some(Ended::Eof), Some(error)) => Err(UpstreamError::Send(error)),
            (Some(Ended::Eof), None) => Err(UpstreamError::ClosedBeforeHead),
            (None, _) => Ok(None),
        }
    }

    fn take_head(&mut self, head: ResponseHead, ctx: &Context) -> Result<Option<Finding>, UpstreamError> {
        let meta = response_framing(&head, Method::Get)?;
        let now = ctx.now.instant.as_micros();
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.status = head.status;
            attempt.header_us = Some(now - attempt.started.as_micros());
        }
        match judge::head(&self.check, &head) {
            Err(test) => return Ok(Some(Finding::Failed(test))),
            Ok(test) => self.passed = test,
        }
        self.facts.upstream_head = Some(head);
        if !judge::wants_body(&self.check) {
            return Ok(Some(self.judge_rest(ctx)));
        }
        self.decoder = BodyDecoder::new(meta.framing);
        self.keep_alive = meta.keep_alive;
        self.phase = Phase::Body;
        Ok(None)
    }

    /// Reads the body to its end, or as much of it as is looked at.
    fn read_body(&mut self, ctx: &Context) -> Option<Finding> {
        loop {
            match self.decoder.decode(self.link.inbox()) {
                Err(_) => return Some(Finding::Broken(UpstreamError::InvalidFraming)),
                Ok(Decoded::End(_)) => return Some(self.judge_rest(ctx)),
                Ok(Decoded::Data(data)) => {
                    let room = BODY_BYTES_MAX - self.body.len();
                    self.body.extend_from_slice(data.get(..room).unwrap_or(&data));
                    if self.body.len() == BODY_BYTES_MAX {
                        self.keep_alive = false;
                        return Some(self.judge_rest(ctx));
                    }
                }
                Ok(Decoded::NeedMore) => break,
            }
        }
        match self.link.ended()? {
            Ended::Eof if self.decoder.ends_with_connection() => Some(self.judge_rest(ctx)),
            Ended::Eof => Some(Finding::Broken(UpstreamError::ClosedInBody)),
            Ended::Failed(error) => Some(Finding::Broken(UpstreamError::Recv(error))),
        }
    }

    fn judge_rest(&self, ctx: &Context) -> Finding {
        let env = ctx.env(&self.generation);
        match judge::rest(&self.check, self.passed, &self.body, &self.facts, &env) {
            Ok(test) => Finding::Passed(test),
            Err(test) => Finding::Failed(test),
        }
    }

    /// The connection is ready.
    pub(super) fn begin_request(&mut self, ctx: &mut Context) {
        let now = ctx.now.instant.as_micros();
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.connect_us = Some(now - attempt.started.as_micros());
        }
        self.send_request(ctx);
    }

    /// Calls the health service, with the location's `grpc_set_header`.
    fn send_call(&mut self, ctx: &mut Context) {
        let CheckKind::Grpc { service, .. } = &self.check.kind else { return };
        let Some(call) = &mut self.call else { return };
        let proxy = &self.check.proxy;
        let scheme = if self.link.is_tls() { Scheme::Https } else { Scheme::Http };
        let mut lines = Vec::new();
        write_set_headers(&proxy.set_headers, &self.facts, &ctx.env(&self.generation), &mut lines);
        call.begin(scheme, proxy.proxy_host.as_ref(), &lines, service);
        self.phase = Phase::Head;
        self.send_of_call(ctx);
        self.wait(ctx);
    }

    /// The location's `proxy_set_header` with the variables as far as they have values; a Host in any case.
    fn send_request(&mut self, ctx: &mut Context) {
        let CheckKind::Http { uri, .. } = &self.check.kind else { return self.send_call(ctx) };
        let proxy = &self.check.proxy;
        let mut out = core::mem::take(&mut ctx.scratch);
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(uri);
        out.extend_from_slice(match proxy.http_version {
            ProxyHttpVersion::Http10 => b" HTTP/1.0\r\n",
            // Who speaks HTTP/2 without TLS is asked with HTTP/1.1 all the same: most servers take both.
            ProxyHttpVersion::Http11 | ProxyHttpVersion::Http2 => b" HTTP/1.1\r\n",
        });
        let start = out.len();
        write_set_headers(&proxy.set_headers, &self.facts, &ctx.env(&self.generation), &mut out);
        let written = out.get(start..).unwrap_or_default();
        let has_host = written
            .split(|byte| *byte == b'\n')
            .any(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"host:")));
        if !has_host {
            encode::field(&mut out, b"Host", &proxy.proxy_host);
        }
        if !proxy.set_headers.names.contains_id(HeaderId::Connection) {
            match (self.check.keepalive_time, proxy.http_version) {
                (None, _) => out.extend_from_slice(b"Connection: close\r\n"),
                (Some(_), ProxyHttpVersion::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
                (Some(_), ProxyHttpVersion::Http11 | ProxyHttpVersion::Http2) => {}
            }
        }
        out.extend_from_slice(b"\r\n");
        ctx.scratch = out;
        let head: Chunk = ctx.take_scratch();
        self.phase = Phase::Head;
        self.decoder = BodyDecoder::Ended;
        self.link.queue(head);
        self.link.flush(ctx);
        self.wait(ctx);
    }

    fn connect_options(&self, ctx: &Context) -> ConnectOptions {
        let proxy = &self.check.proxy;
        let bind = proxy.bind.as_ref().and_then(|bind| match &bind.address {
            BindAddress::Fixed(address) => Some(*address),
            BindAddress::Computed(template) => {
                let mut text = Vec::new();
                template.write(&self.facts, &ctx.env(&self.generation), &mut text);
                bind_address(&text)
            }
        });
        ConnectOptions {
            bind,
            transparent: proxy.bind.as_ref().is_some_and(|bind| bind.transparent),
            keepalive: proxy.socket_keepalive,
            send_buffer_bytes: proxy.send_buffer_bytes,
            recv_buffer_bytes: proxy.recv_buffer_bytes,
            ..ConnectOptions::default()
        }
    }
}

/// What is known while nobody has asked for anything: most variables have no value.
fn facts(check: &HealthCheck, address: &Address, ctx: &Context) -> Facts {
    let nobody = || Address::Unix("".into());
    let conn = ConnFacts {
        peer: Peer { client: nobody(), local: nobody() },
        client_text: Box::default(),
        number: 0,
        listener: ListenerId(0),
        accepted: ctx.now.instant,
        tls_port: false,
        proxy: None,
        replaced: None,
        tls: None,
    };
    let mut facts = Facts::blank(Rc::new(conn));
    facts.server = check.server;
    facts.location = check.location;
    facts.found = check.location;
    facts.started = ctx.now.instant;
    facts.tries.push(Try {
        address: Some(address.clone()),
        name: "".into(),
        status: None,
        started: ctx.now.instant,
        queued_us: None,
        connect_us: None,
        header_us: None,
        response_us: None,
        bytes_sent: 0,
        bytes_received: 0,
        response_length: 0,
        last_of_group: false,
    });
    facts
}

/// The address to check, where it is not the server's own.
fn with_port(address: &Address, port: Option<u16>) -> Address {
    match (address, port) {
        (Address::Ip(address), Some(port)) => {
            let mut address = *address;
            address.set_port(port);
            Address::Ip(address)
        }
        (address, _) => address.clone(),
    }
}
