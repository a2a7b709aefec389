//! One client's connection: heads in, exchanges through, keep-alive or an orderly end.
//!
//! ```text
//!            ┌───────────── keep-alive ─────────────┐
//!            ▼                                      │
//! accept ─► Waiting ─► ReadingHead ─► Exchanging ───┤
//!              │            │                       ├─► Lingering ─► closed
//!              ├── closed ──┴─ (error: Exchanging) ─┤
//!              └── HTTP/2's preface ─► Http2 ───────┘
//!
//! accept on a TLS port ─► Handshake ─► Waiting
//! accept on a port with the PROXY protocol ─► ProxyHeader ─► Handshake or Waiting
//! ```

use alloc::boxed::Box;
use alloc::rc::Rc;

use super::Link;
use crate::buf::Chunk;
use crate::command::{CloseHow, Level, ListenerId, Room};
use crate::config::{CoreSettings, Linger, Server, ServerId};
use crate::error::ClientError;
use crate::exchange::context::{Context, Generation};
use crate::exchange::phases::find_server;
use crate::exchange::{ConnFacts, Ending, Exchange, Stage};
use crate::h1::{HeadLimits, Parsed, parse_request, refused_head};
use crate::h2::conn::Http2;
use crate::h2::frame::PREFACE;
use crate::http::framing::request_framing;
use crate::http::{HeaderId, Host, RequestHead};
use crate::route;
use crate::time::Instant;
use crate::timer::Reason;

/// One client's connection.
pub(crate) struct ClientConn {
    pub(crate) link: Link,
    pub(crate) facts: Rc<ConnFacts>,
    /// Its listener in the present configuration; none once a reload has dropped it.
    pub(crate) listener: Option<ListenerId>,
    pub(crate) exchange: Option<Box<Exchange>>,
    /// What it is once its client has said that it speaks HTTP/2.
    pub(super) h2: Option<Box<Http2>>,
    pub(crate) state: State,
    /// Requests so far.
    requests: u64,
    /// Whether bytes of the next request were there when the last one ended (`$pipe`).
    pipelined: bool,
    /// When the first byte of the present head came.
    head_began: Instant,
    /// Until then an idle connection is not to be closed for our convenience (`keepalive_min_timeout`).
    pub(super) protected_until: Option<Instant>,
    /// When lingering must end.
    linger_until: Instant,
    /// The settings of the last exchange's level, for what follows it.
    pub(super) last: Option<(Rc<Generation>, crate::config::LocationId)>,
}

/// Where a connection stands; see the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    ProxyHeader,
    Handshake,
    Waiting,
    ReadingHead,
    Exchanging,
    Http2,
    Lingering,
    Closed,
}

impl ClientConn {
    pub(crate) fn new(link: Link, facts: Rc<ConnFacts>, now: Instant) -> Self {
        let listener = Some(facts.listener);
        let state = if facts.tls_port { State::Handshake } else { State::Waiting };
        Self {
            link,
            facts,
            listener,
            exchange: None,
            h2: None,
            state,
            requests: 0,
            pipelined: false,
            head_began: now,
            protected_until: None,
            linger_until: now,
            last: None,
        }
    }

    /// Moves everything as far as it goes.
    pub(crate) fn drive(&mut self, ctx: &mut Context) {
        loop {
            match self.state {
                State::ProxyHeader => {
                    if !self.read_proxy_header(ctx) {
                        break;
                    }
                }
                State::Handshake => {
                    if !self.handshake(ctx) {
                        break;
                    }
                }
                State::Waiting | State::ReadingHead => {
                    if !self.read_head(ctx) {
                        break;
                    }
                }
                State::Exchanging => {
                    let Some(exchange) = &mut self.exchange else { break };
                    exchange.advance(&mut self.link, ctx);
                    let Some(ending) = exchange.over() else { break };
                    self.end_exchange(ending, ctx);
                }
                State::Http2 => {
                    self.drive_h2(ctx);
                    break;
                }
                State::Lingering => {
                    self.linger(ctx);
                    break;
                }
                State::Closed => break,
            }
        }
    }

    /// Waits for the first request of a connection that was just accepted.
    pub(crate) fn wait_first(&mut self, ctx: &mut Context) {
        let generation = Rc::clone(&ctx.generation);
        if let Some(server) = self.default_server(&generation) {
            self.link.set_deadline(server.client_header_timeout, Reason::ClientHeader, ctx);
        }
        self.link.want_recv(Room::Small, ctx);
    }

    pub(super) fn default_server<'a>(&self, generation: &'a Generation) -> Option<&'a Server> {
        generation.config.server(self.default_server_id(generation))
    }

    /// The server for what names none: the one that the handshake was made with, or the listener's default one.
    pub(super) fn default_server_id(&self, generation: &Generation) -> ServerId {
        let listener = self.listener.map(|id| id.0 as usize);
        let negotiated = self.facts.tls.as_ref().and_then(|tls| tls.server_in(generation, listener));
        negotiated.unwrap_or_else(|| self.listener_default(generation))
    }

    pub(super) fn listener_default(&self, generation: &Generation) -> ServerId {
        default_server_id(self.listener, generation)
    }

    /// Looks for a head in what was read. Returns whether something moved.
    fn read_head(&mut self, ctx: &mut Context) -> bool {
        let Some(bytes) = self.link.take_head_input() else { return self.wait_for_more(ctx) };
        let generation = Rc::clone(&ctx.generation);
        let Some(server) = self.default_server(&generation) else {
            self.close(CloseHow::Graceful, ctx);
            return false;
        };
        if self.state == State::Waiting {
            if self.facts.tls.as_ref().is_some_and(|tls| tls.early) {
                self.notice_end_of_early_data();
            }
            self.state = State::ReadingHead;
            self.head_began = ctx.now.instant;
            ctx.tally.waiting -= 1;
            ctx.tally.reading += 1;
            self.link.set_deadline(server.client_header_timeout, Reason::ClientHeader, ctx);
        }
        ctx.ready_fields();
        match parse_request(&bytes, &mut ctx.fields, &head_limits(server)) {
            Ok(Parsed::Partial) => {
                self.link.gather(&bytes);
                self.wait_for_more(ctx)
            }
            Ok(Parsed::Complete { head, len }) => {
                self.link.put_back(bytes.slice(len..bytes.len()));
                self.begin_exchange(head, len, &generation, ctx);
                true
            }
            Err(_) if self.requests == 0 && self.speaks_h2(&bytes, &generation) => {
                if bytes.len() < PREFACE.len() {
                    // Not before all of it is there: until then it may be anything.
                    self.link.gather(&bytes);
                    return self.wait_for_more(ctx);
                }
                self.begin_h2(bytes, &generation, ctx)
            }
            Err(error) => {
                self.begin_failed(&bytes, error, &generation, ctx);
                true
            }
        }
    }

    /// More is needed: asks for it, or notices that none will come.
    fn wait_for_more(&mut self, ctx: &mut Context) -> bool {
        if self.link.ended().is_none() {
            self.link.want_recv(Room::Small, ctx);
            return false;
        }
        if self.state == State::ReadingHead && self.link.has_partial_head() {
            let generation = Rc::clone(&ctx.generation);
            let bytes = self.link.take_gathered();
            self.begin_failed(&bytes, ClientError::Closed, &generation, ctx);
            return true;
        }
        self.close(CloseHow::Graceful, ctx);
        false
    }

    fn begin_exchange(
        &mut self,
        head: RequestHead,
        len: usize,
        generation: &Rc<Generation>,
        ctx: &mut Context,
    ) {
        let mut exchange = self.new_exchange(head, generation, ctx);
        exchange.facts.request_length = len as u64;
        let default = self.listener_default(generation);
        let mut prepared = prepare(&mut exchange, generation, default);
        if exchange.facts.server != default && prepared.is_ok() {
            prepared = self.read_as_named(&mut exchange, generation, ctx);
        }
        self.enter(exchange, ctx);
        if let Err(error) = prepared
            && let Some(exchange) = &mut self.exchange
        {
            exchange.keep_alive = false;
            exchange.fail_client(error, &mut self.link, ctx);
        }
    }

    /// The server that the head names may take other fields than the default one that it was read for: nginx changes
    /// over behind the Host field, we read the head once more.
    fn read_as_named(
        &self,
        exchange: &mut Exchange,
        generation: &Generation,
        ctx: &mut Context,
    ) -> Result<(), ClientError> {
        let Some(named) = generation.config.server(exchange.facts.server) else { return Ok(()) };
        let limits = head_limits(named);
        if self.default_server(generation).is_none_or(|default| head_limits(default).takes_as(&limits)) {
            return Ok(());
        }
        let bytes = exchange.facts.head.bytes.clone();
        ctx.ready_fields();
        if let Parsed::Complete { head, .. } = parse_request(&bytes, &mut ctx.fields, &limits)? {
            exchange.facts.head = head;
            prepare(exchange, generation, self.listener_default(generation))?;
        }
        Ok(())
    }

    /// A head that cannot be understood: the exchange exists to answer it and to log it.
    fn begin_failed(
        &mut self,
        bytes: &Chunk,
        error: ClientError,
        generation: &Rc<Generation>,
        ctx: &mut Context,
    ) {
        let default = self.default_server_id(generation);
        let fields_max = generation.config.server(default).map_or(0, |server| server.headers_max);
        let head = refused_head(bytes, error, fields_max);
        let mut exchange = self.new_exchange(head, generation, ctx);
        exchange.facts.request_length = bytes.len() as u64;
        exchange.keep_alive = false;
        recognise(&mut exchange, generation, default);
        self.enter(exchange, ctx);
        if let Some(exchange) = &mut self.exchange {
            if matches!(error, ClientError::Closed | ClientError::Timeout) {
                exchange.facts.reply.status = if error == ClientError::Closed {
                    crate::http::Status::BAD_REQUEST
                } else {
                    error.status()
                };
                let part = if memchr::memchr(b'\n', bytes).is_some() { "headers" } else { "line" };
                exchange.log_error(
                    Level::Info,
                    &format_args!("{error} while reading client request {part}"),
                    ctx,
                );
                exchange.stage = Stage::Done(Ending::Abort);
            } else {
                exchange.fail_client(error, &mut self.link, ctx);
            }
        }
    }

    fn new_exchange(
        &mut self,
        head: RequestHead,
        generation: &Rc<Generation>,
        ctx: &mut Context,
    ) -> Box<Exchange> {
        self.requests += 1;
        ctx.tally.requests += 1;
        let mut exchange = Exchange::recycled(&self.facts, generation, ctx);
        exchange.facts.head = head;
        exchange.facts.conn_requests = self.requests;
        exchange.facts.pipelined = self.pipelined;
        exchange.facts.started = self.head_began;
        exchange.method = exchange.facts.head.method();
        exchange.sent_before = self.link.sent_bytes();
        exchange
    }

    fn enter(&mut self, exchange: Box<Exchange>, ctx: &mut Context) {
        self.link.deadline.clear();
        if self.state == State::Waiting {
            ctx.tally.waiting -= 1;
        } else {
            ctx.tally.reading -= 1;
        }
        ctx.tally.writing += 1;
        if exchange.generation.config.reads_counters {
            ctx.publish_tally();
        }
        self.protected_until = None;
        exchange.note_server(ctx);
        self.state = State::Exchanging;
        self.exchange = Some(exchange);
    }

    fn end_exchange(&mut self, ending: Ending, ctx: &mut Context) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let ending = if exchange.looks_whole_but_is_not() { Ending::Reset } else { ending };
        self.last = Some((Rc::clone(&exchange.generation), exchange.facts.location));
        exchange.close(&self.link, ctx);
        self.link.pace = None;
        ctx.tally.writing -= 1;
        let unread = !exchange.body_was_read() || self.link.has_input();
        ctx.spare_exchange(exchange);
        match ending {
            Ending::KeepAlive => self.wait_next(ctx),
            Ending::Close => self.close_orderly(unread, ctx),
            Ending::Abort | Ending::Reset => {
                ctx.tally.waiting += 1;
                self.state = State::Waiting;
                let how = if ending == Ending::Reset { CloseHow::Reset } else { CloseHow::Graceful };
                self.close(how, ctx);
            }
        }
    }

    /// Waits for the next request; it may be here already.
    fn wait_next(&mut self, ctx: &mut Context) {
        self.state = State::Waiting;
        ctx.tally.waiting += 1;
        self.pipelined = self.link.has_input();
        if self.pipelined {
            return;
        }
        let last = self.last.clone();
        if let Some(core) = settings(last.as_ref()) {
            self.link.set_deadline(core.keepalive.timeout, Reason::Keepalive, ctx);
            let least = core.keepalive.timeout_min;
            self.protected_until = (!least.is_zero()).then(|| ctx.now.instant + least);
        }
        if ctx.draining || self.listener.is_none() {
            self.close(CloseHow::Graceful, ctx);
        }
    }

    /// The reply is out: closes at once, or reads on for a while so that the client gets to see it.
    pub(super) fn close_orderly(&mut self, unread: bool, ctx: &mut Context) {
        ctx.tally.waiting += 1;
        self.state = State::Waiting;
        let last = self.last.clone();
        let Some(core) = settings(last.as_ref()) else { return self.close(CloseHow::Graceful, ctx) };
        let lingers = match core.lingering.when {
            Linger::Never => false,
            Linger::WhenUnread => unread,
            Linger::Always => true,
        };
        if !lingers || self.link.ended_early().is_some() {
            return self.close(CloseHow::Graceful, ctx);
        }
        self.state = State::Lingering;
        self.linger_until = ctx.now.instant + core.lingering.time;
        self.link.shutdown_when_sent(ctx);
        self.linger(ctx);
    }

    /// Drops what still comes, until the end, the silence or the bound.
    fn linger(&mut self, ctx: &mut Context) {
        self.link.inbox().truncate(0);
        if self.link.ended_early().is_some()
            || self.link.broken().is_some()
            || ctx.now.instant >= self.linger_until
        {
            return self.close(CloseHow::Graceful, ctx);
        }
        let last = self.last.clone();
        let timeout = settings(last.as_ref()).map_or(crate::time::Millis(0), |core| core.lingering.timeout);
        let at = (ctx.now.instant + timeout).min(self.linger_until);
        self.link.set_deadline_at(at, Reason::Linger, ctx);
        self.link.want_recv(Room::Large, ctx);
    }

    /// A deadline has passed.
    pub(crate) fn handle_timeout(&mut self, reason: Reason, ctx: &mut Context) {
        if self.state == State::Http2 {
            return self.handle_h2_timeout(reason, ctx);
        }
        match reason {
            Reason::ClientHeader if self.state == State::ReadingHead => {
                let generation = Rc::clone(&ctx.generation);
                let bytes = self.link.take_gathered();
                self.begin_failed(&bytes, ClientError::Timeout, &generation, ctx);
                self.drive(ctx);
            }
            Reason::ClientHeader | Reason::Keepalive => self.close(CloseHow::Graceful, ctx),
            Reason::Linger if self.state == State::Lingering => self.close(CloseHow::Graceful, ctx),
            Reason::ClientBody | Reason::ClientSend | Reason::Linger => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.handle_client_timeout(reason, &mut self.link, ctx);
                }
                self.drive(ctx);
            }
            Reason::Resolve => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.handle_resolve_timeout(&mut self.link, ctx);
                }
                self.drive(ctx);
            }
            Reason::UpstreamQueue => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.leave_queue(&mut self.link);
                }
                self.drive(ctx);
            }
            Reason::AuthDelay
            | Reason::LimitReq
            | Reason::Cache
            | Reason::RateLimit
            | Reason::NameServer
            | Reason::HealthCheck
            | Reason::Staple
            | Reason::UpstreamConnect
            | Reason::UpstreamSend
            | Reason::UpstreamRead
            | Reason::UpstreamIdle
            | Reason::Spill => self.drive(ctx),
        }
    }

    /// Ends the connection now.
    pub(crate) fn close(&mut self, how: CloseHow, ctx: &mut Context) {
        if let Some(mut h2) = self.h2.take() {
            h2.abort(ctx);
        }
        if let Some(mut exchange) = self.exchange.take() {
            exchange.close(&self.link, ctx);
            ctx.tally.writing -= 1;
            ctx.spare_exchange(exchange);
        } else {
            match self.state {
                State::ProxyHeader | State::Handshake | State::Waiting | State::Http2 | State::Lingering => {
                    ctx.tally.waiting -= 1
                }
                State::ReadingHead => ctx.tally.reading -= 1,
                State::Exchanging | State::Closed => {}
            }
        }
        self.state = State::Closed;
        self.link.close(how, ctx);
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether it has had a reply.
    pub(crate) fn has_served(&self) -> bool {
        self.requests > 0 || self.h2.as_ref().is_some_and(|h2| h2.has_served())
    }

    /// Whether nothing is under way: a reload or a full worker may close it.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.waits() && self.protected_until.is_none_or(|until| until <= now)
    }

    pub(super) fn waits(&self) -> bool {
        match &self.h2 {
            Some(h2) => h2.is_idle() && !self.link.has_input(),
            None => {
                matches!(self.state, State::Waiting | State::Handshake | State::ProxyHeader)
                    && !self.link.has_input()
            }
        }
    }
}

/// Everything between a parsed head and the phases.
pub(crate) fn prepare(
    exchange: &mut Exchange,
    generation: &Generation,
    default: ServerId,
) -> Result<(), ClientError> {
    // The default server answers for a head that names none, and for errors before a name is known.
    let conn = &exchange.facts.conn;
    let negotiated =
        conn.tls.as_ref().and_then(|tls| tls.server_in(generation, Some(conn.listener.0 as usize)));
    let nameless = negotiated.unwrap_or(default);
    find_server(exchange, generation, nameless);
    let meta = match request_framing(&exchange.facts.head) {
        Ok(meta) => meta,
        Err(error) => {
            recognise(exchange, generation, nameless);
            return Err(error);
        }
    };
    let default = if meta.host.is_some() { default } else { nameless };
    if let Some(host) = &meta.host {
        exchange.facts.host = host.name.clone();
        exchange.facts.request_port = host.port;
    }
    find_server(exchange, generation, default);
    // nginx reads the request line before it knows the host.
    let merge = generation.config.server(nameless).is_none_or(|server| server.merge_slashes);
    let target = exchange.facts.head.target;
    let target = exchange.facts.head.bytes.slice(target.range());
    match route::normalise(&target, merge) {
        Ok(target) => exchange.facts.set_target(target),
        Err(error) => {
            forget_fields(exchange, error);
            find_server(exchange, generation, nameless);
            return Err(error);
        }
    }
    exchange.begin(meta);
    if exchange.facts.conn.tls_port {
        exchange.facts.check_tls(generation)?;
    }
    Ok(())
}

/// nginx refuses a URI before it has read a field.
#[cold]
fn forget_fields(exchange: &mut Exchange, error: ClientError) {
    let facts = &mut exchange.facts;
    facts.host = Chunk::empty();
    facts.head = refused_head(&facts.head.bytes.clone(), error, 0);
    facts.request_length = facts.head.line.len as u64 + b"\r\n".len() as u64;
}

/// A request with a fault is answered and logged by the server that it asked for, with as much of its URI as can be told,
/// as in nginx.
#[cold]
fn recognise(exchange: &mut Exchange, generation: &Generation, default: ServerId) {
    let head = &exchange.facts.head;
    let named = head.fields.iter().find(|field| field.id == HeaderId::Host);
    if let Some(host) = named.and_then(|field| Host::parse(&head.bytes, field.value)) {
        exchange.facts.host = host.name;
        exchange.facts.request_port = host.port;
    }
    find_server(exchange, generation, default);
    let merge = generation.config.server(exchange.facts.server).is_none_or(|server| server.merge_slashes);
    let target = exchange.facts.head.bytes.slice(exchange.facts.head.target.range());
    if let Ok(target) = route::normalise(&target, merge) {
        exchange.facts.set_target(target);
    }
}

/// The server for names that no other one has.
pub(crate) fn default_server_id(listener: Option<ListenerId>, generation: &Generation) -> ServerId {
    let listener = listener.and_then(|id| generation.config.listeners.get(id.0 as usize));
    listener.map_or(ServerId::default(), |listener| listener.default_server)
}

/// The bounds of a head.
pub(crate) const fn head_limits(server: &Server) -> HeadLimits {
    let (number, bytes) = server.large_client_header_buffers;
    HeadLimits {
        line_bytes_max: bytes,
        field_bytes_max: bytes,
        total_bytes_max: number.saturating_mul(bytes),
        fields_max: server.headers_max,
        ignore_invalid_headers: server.ignore_invalid_headers,
        underscores: server.underscores_in_headers,
    }
}

fn settings(last: Option<&(Rc<Generation>, crate::config::LocationId)>) -> Option<&CoreSettings> {
    let (generation, location) = last?;
    generation.config.location(*location).map(|location| &*location.core)
}
