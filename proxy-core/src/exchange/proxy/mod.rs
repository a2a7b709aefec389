//! `proxy_pass`: asking an upstream, and another one if that fails.
//!
//! ```text
//!          ┌──────────────── next server ◄───────────────┐
//!          ▼                                             │ failed, and a retry is legal
//! start ─► choose ─► Connecting (─► Handshaking) ─► Exchanging ─► head ───┴─► body ─► end ─► pool or close
//!              └──── from the pool ──┘  │
//!                                       └─ 101 ─► Tunnel
//! ```
//! - [`dynamic`]: which servers there are, where only the request tells.
//! - [`choose`]: what the choice goes by: keys, cookies, sessions.
//! - [`queue`]: waiting for a server with room.
//! - [`attempt`]: which server, which connection.
//! - [`secure`]: TLS on that connection.
//! - [`request`]: the head that it gets.
//! - [`gateway`]: what it gets where it does not speak HTTP.
//! - [`reply`]: what it answers; [`intake`]: how fast that is read.
//! - [`stream`]: what is different where the upstream speaks HTTP/2.
//! - [`budget`]: how many requests may be at a second server.
//! - [`watch`]: what the group learns from that.
//! - [`failure`]: whose fault it was, and whether another server is asked.

pub(crate) mod attempt;
mod budget;
mod choose;
mod dynamic;
mod failure;
mod gateway;
mod intake;
mod queue;
mod ranges;
mod reply;
pub(crate) mod request;
mod secure;
mod stored;
mod stream;
mod watch;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::cache::CacheRun;
use super::context::Context;
use super::request_body::Mode;
use super::{Exchange, Stage};
use crate::command::{Completion, ConnId, FileId, IoError, Room};
use crate::config::{Endpoint, ProxyHttpVersion};
use crate::conn::link::Ended;
use crate::conn::{Link, UpstreamConn};
use crate::error::UpstreamError;
use crate::http::framing::BodyFraming;
use crate::time::{Instant, Millis};
use crate::timer::Reason;
use crate::upstream::{Group, Pick};
use budget::BudgetShare;
use dynamic::Waiting;
use intake::Intake;
use queue::Queued;

/// What is known while upstreams are asked.
#[derive(Debug, Default)]
pub(crate) struct ProxyRun {
    /// The connection in use, with the group and the server that it belongs to.
    pub(crate) conn: Option<Box<UpstreamConn>>,
    pub(crate) seat: Option<Seat>,
    phase: Phase,
    /// Whom the evaluated URL names.
    endpoint: Option<Endpoint>,
    /// The servers to choose from, once they are known.
    group: Option<Rc<RefCell<Group>>>,
    /// Whom it asks next.
    pick: Pick,
    tries: u32,
    /// How many tries there may be: settled with the first.
    tries_max: u32,
    /// Tries that were not counted.
    forgiven: u32,
    /// The version that the present attempt speaks.
    version: Option<ProxyHttpVersion>,
    /// What `sticky` found in the request: a server's name, or a session's.
    session: Vec<u8>,
    /// The cookie that `sticky` sets: a whole line, or nothing.
    pub(crate) cookie: Vec<u8>,
    /// Its place in the queue, while or after it waited there.
    queued: Option<Queued>,
    /// Its share of the retry budget.
    budget: BudgetShare,
    /// The time of the present request at its server counts, though it is not known yet.
    inflight: bool,
    /// When the first server was asked.
    began: Option<Instant>,
    /// Whether bytes of the request may have reached this server.
    request_sent: bool,
    /// How the request's body is framed towards the upstream.
    framing: BodyFraming,
    /// Whether all of the request was handed to the link.
    request_ended: bool,
    /// The size of a request that its protocol has no room for; 0 for one that it has.
    unsendable_bytes: usize,
    /// Whether the body was partly handed to a server and cannot be sent again.
    body_gone: bool,
    /// Whether a Upgrade was asked for.
    pub(crate) upgrade_asked: bool,
    /// What the reply says about ranges (`proxy_force_ranges`).
    pub(crate) ranges: ranges::Ranges,
    /// How much of a reply may wait, as the location and X-Accel-Buffering have it.
    pub(crate) room: Option<super::reply_body::Room>,
    /// What it has to do with its cache, while it has.
    pub(crate) cache: Option<Box<CacheRun>>,
    /// The copy of the reply that `proxy_store` makes, while it is made.
    pub(crate) stored: Option<FileId>,
    /// Whether the cache was looked for.
    pub(crate) cache_asked: bool,
    /// How fast the reply is read (`proxy_limit_rate`).
    intake: Option<Intake>,
}

/// A server that this exchange is counted at.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) group: Rc<RefCell<Group>>,
    pub(crate) server: usize,
}

/// How far the present attempt is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No server was chosen.
    #[default]
    Idle,
    /// The name of the servers is being looked up.
    Resolving(Waiting),
    /// There was no room at any server.
    Queued(Queued),
    /// The connection is being made.
    Connecting,
    /// TLS is being agreed on.
    Handshaking,
    /// The request goes out and the head is awaited.
    Exchanging,
    /// The head was passed on; the body follows.
    Body,
    /// The reply has ended.
    Ended,
}

impl Phase {
    /// What nginx calls it in its error log.
    const fn words(self) -> &'static str {
        match self {
            Self::Idle | Self::Resolving(_) | Self::Queued(_) | Self::Connecting => "connecting to upstream",
            Self::Handshaking => "SSL handshaking to upstream",
            Self::Exchanging => "reading response header from upstream",
            Self::Body | Self::Ended => "reading upstream",
        }
    }
}

impl Exchange {
    /// Begins to ask upstreams, once the request's body is there if it is to be there first.
    pub(crate) fn start_proxy(&mut self, buffer: bool, link: &mut Link, ctx: &mut Context) {
        if !self.evaluate_target(link, ctx) {
            return;
        }
        self.want_request_body(if buffer { Mode::Buffer } else { Mode::Stream }, link, ctx);
        self.stage = if buffer && !self.body.is_complete() { Stage::Gather } else { Stage::Proxy };
        if self.stage == Stage::Gather {
            self.set_body_deadline(link, ctx);
        }
    }

    pub(crate) fn set_body_deadline(&self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        if let Some(core) = self.core(&generation) {
            link.set_deadline(core.client_body.timeout, Reason::ClientBody, ctx);
        }
    }

    /// Moves the request and the reply as far as they go.
    pub(crate) fn run_proxy(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.proxy.phase == Phase::Idle {
            if !self.proxy.cache_asked && !self.begin_cache(link, ctx) {
                return;
            }
            self.next_attempt(link, ctx);
        }
        if self.stage == Stage::Proxy {
            self.pump_request(link, ctx);
            self.note_carried();
        }
        if self.stage == Stage::Proxy {
            self.pump_reply(link, ctx);
            self.log_remarks(ctx);
        }
        if self.stage == Stage::Proxy && !self.notice_client_gone(link, ctx) {
            self.watch_both(link, ctx);
        }
    }

    /// Moves what the client sends to the upstream.
    fn pump_request(&mut self, link: &mut Link, ctx: &mut Context) {
        let streams = self.body.mode() == Mode::Stream;
        if streams && !self.body.is_complete() && !self.pump_request_body(link, ctx) {
            return;
        }
        let trailers = self.request_trailers();
        let Some(conn) = self.proxy.conn.as_mut() else { return };
        if matches!(self.proxy.phase, Phase::Connecting | Phase::Handshaking) || self.proxy.request_ended {
            return conn.link.flush(ctx);
        }
        if streams {
            if conn.link.unsent_bytes() < REQUEST_BYTES_MAX {
                let mut held = self.body.take_held();
                if !held.is_empty() {
                    self.proxy.body_gone = true;
                    conn.queue_body(&mut held, self.proxy.framing, ctx);
                }
                if self.body.is_complete() {
                    conn.queue_body_end(self.proxy.framing, trailers, ctx);
                    self.proxy.request_ended = true;
                } else if self.body.held().is_empty() {
                    // What was taken makes room: ask for more at once.
                    conn.link.flush(ctx);
                    self.pump_request_body(link, ctx);
                    return;
                }
            }
        } else if let Some(spill) = self.body.spill() {
            if let Some(error) = spill.failed() {
                return self.fail_file(error, "reading client request body", link, ctx);
            }
            if conn.link.unsent_bytes() < REQUEST_BYTES_MAX {
                if let Some(chunk) = spill.take() {
                    conn.queue_part(chunk);
                }
                spill.want_read(ctx);
                if spill.unread() == 0 {
                    conn.queue_body_end(self.proxy.framing, trailers, ctx);
                    self.proxy.request_ended = true;
                }
            }
        }
        conn.link.flush(ctx);
    }

    /// Sets the deadlines of both sides for what they are waited for.
    fn watch_both(&mut self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return };
        let paused = self.proxy.intake.as_ref().and_then(|intake| intake.paused_until(ctx.now.instant));
        let files = self.proxy.room.as_ref().is_some_and(|room| room.file_bytes_max > 0);
        let starved = !self.reply_has_room(link);
        // Once there is a reply, its silence counts, whatever the client still has to say.
        let streams_both = self.proxy.phase == Phase::Body && self.is_on_stream();
        if let Some(conn) = self.proxy.conn.as_mut() {
            match self.proxy.phase {
                Phase::Connecting | Phase::Handshaking => {}
                _ if conn.link.unsent_bytes() > 0 => {
                    conn.link.set_deadline(proxy.send_timeout, Reason::UpstreamSend, ctx);
                }
                Phase::Body if let Some(at) = paused => {
                    conn.link.set_deadline_at(at, Reason::RateLimit, ctx);
                }
                Phase::Exchanging | Phase::Body if (self.proxy.request_ended || streams_both) && !starved => {
                    conn.link.set_deadline(proxy.read_timeout, Reason::UpstreamRead, ctx);
                }
                // A client that keeps up needs no file; one that does not shall not hold the upstream for long.
                Phase::Body if starved && files && self.reply.waits_for_patience() => {
                    if conn.link.deadline.get().is_none_or(|(_, reason)| reason != Reason::Spill) {
                        conn.link.set_deadline(SPILL_PATIENCE, Reason::Spill, ctx);
                    }
                }
                Phase::Idle
                | Phase::Resolving(_)
                | Phase::Queued(_)
                | Phase::Exchanging
                | Phase::Body
                | Phase::Ended => conn.link.deadline.clear(),
            }
        }
        if let Phase::Resolving(waiting) = self.proxy.phase {
            link.set_deadline_at(waiting.until, Reason::Resolve, ctx);
        } else if let Phase::Queued(place) = self.proxy.phase {
            link.set_deadline_at(place.wakes(ctx.now.instant), Reason::UpstreamQueue, ctx);
        } else if let Some(at) = link.paused_until(ctx.now.instant) {
            link.set_deadline_at(at, Reason::RateLimit, ctx);
        } else if link.is_sending() && self.head_sent {
            if let Some(core) = self.core(&generation) {
                link.set_deadline(core.send_timeout, Reason::ClientSend, ctx);
            }
        } else if !self.body.is_complete() && self.body.mode() == Mode::Stream && link.is_receiving() {
            self.set_body_deadline(link, ctx);
        } else {
            link.deadline.clear();
        }
    }

    /// Something happened to the upstream's connection. Returns whether the exchange is to be driven.
    pub(crate) fn handle_upstream(
        &mut self,
        id: ConnId,
        completion: Completion,
        link: &mut Link,
        ctx: &mut Context,
    ) -> bool {
        let Some(conn) = self.proxy.conn.as_mut().filter(|conn| conn.link.id == id) else { return true };
        match completion {
            Completion::Connect { result, .. } => match result {
                Ok(_) => self.connected(link, ctx),
                Err(error) => self.attempt_failed(UpstreamError::Connect(error), link, ctx),
            },
            Completion::Recv { result, .. } => {
                let before = conn.link.received_bytes();
                conn.link.handle_recv(result, ctx);
                if let Some(attempt) = self.facts.tries.last_mut() {
                    attempt.bytes_received += conn.link.received_bytes() - before;
                }
            }
            Completion::Send { chain, result, .. } => {
                let before = conn.link.sent_bytes();
                let taken = result.unwrap_or(0);
                conn.link.handle_sent(chain, result);
                // What a handshake sends is no request.
                self.proxy.request_sent |= taken > 0 && self.proxy.phase != Phase::Handshaking;
                if let Some(attempt) = self.facts.tries.last_mut() {
                    attempt.bytes_sent += conn.link.sent_bytes() - before;
                }
                if self.only_waits(link, ctx) {
                    return false;
                }
            }
            Completion::OpenFile { .. }
            | Completion::ReadFile { .. }
            | Completion::WriteFile { .. }
            | Completion::Verify { .. }
            | Completion::ListDirectory { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::Resolve { .. } => {}
        }
        if self.proxy.phase == Phase::Handshaking {
            self.shake_hands(link, ctx);
        }
        true
    }

    /// Whether all of the request is out and its reply, which was asked for, is all that is left to wait for: then only the
    /// deadline moves. This is where nearly every request comes by.
    fn only_waits(&mut self, client: &Link, ctx: &mut Context) -> bool {
        if self.stage != Stage::Proxy || self.proxy.phase != Phase::Exchanging || !self.proxy.request_ended {
            return false;
        }
        let generation = Rc::clone(&self.generation);
        let has_room = self.reply_has_room(client);
        let (Some(proxy), Some(conn)) = (self.proxy_settings(&generation), self.proxy.conn.as_mut()) else {
            return false;
        };
        let link = &mut conn.link;
        let waits = has_room && link.unsent_bytes() == 0 && link.broken().is_none() && link.is_receiving();
        if !waits || link.is_shut() || link.is_tls() {
            return false;
        }
        link.set_deadline(proxy.read_timeout, Reason::UpstreamRead, ctx);
        true
    }

    /// A deadline of the upstream's connection has passed.
    pub(crate) fn handle_upstream_timeout(&mut self, reason: Reason, link: &mut Link, ctx: &mut Context) {
        if self.stage == Stage::Tunnel {
            return self.end_tunnel(ctx);
        }
        if reason == Reason::Spill {
            return self.reply.allow_spill();
        }
        if reason == Reason::RateLimit {
            // The pause is over: the caller goes on.
            return;
        }
        let error = match reason {
            Reason::UpstreamConnect if self.proxy.phase == Phase::Handshaking => {
                UpstreamError::HandshakeTimeout
            }
            Reason::UpstreamConnect => UpstreamError::ConnectTimeout,
            Reason::UpstreamSend => UpstreamError::SendTimeout,
            Reason::UpstreamRead
            | Reason::UpstreamIdle
            | Reason::ClientHeader
            | Reason::ClientBody
            | Reason::ClientSend
            | Reason::Keepalive
            | Reason::Linger
            | Reason::LimitReq
            | Reason::Cache
            | Reason::AuthDelay
            | Reason::RateLimit
            | Reason::Resolve
            | Reason::UpstreamQueue
            | Reason::NameServer
            | Reason::HealthCheck
            | Reason::Staple
            | Reason::Spill => UpstreamError::RecvTimeout,
        };
        self.attempt_failed(error, link, ctx);
    }

    /// What is being done at an upstream, in nginx's words; nothing where none is at work.
    pub(crate) fn upstream_work(&self) -> Option<&'static str> {
        self.proxy.conn.as_ref().map(|_| self.proxy.phase.words())
    }

    /// Ends the present attempt, if there is one, for reasons that are not the upstream's.
    pub(crate) fn abandon_upstream(&mut self, ctx: &mut Context) {
        self.stop_resolving(ctx);
        self.stop_waiting();
        self.end_attempt(crate::upstream::Outcome::Neutral, false, ctx);
        self.proxy.budget.give_back();
    }

    /// Forgets which servers were asked: the request goes to another location.
    pub(crate) fn forget_attempts(&mut self, ctx: &mut Context) {
        self.abandon_upstream(ctx);
        self.leave_cache(ctx);
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.last_of_group = true;
        }
        self.facts.dynamic_target = None;
        // As in nginx, a cookie that `sticky` has set goes with whatever reply there will be.
        let cookie = core::mem::take(&mut self.proxy.cookie);
        self.proxy = ProxyRun { body_gone: self.proxy.body_gone, cookie, ..ProxyRun::default() };
    }
}

impl UpstreamConn {
    /// Asks for the reply's next bytes.
    pub(crate) fn want_recv(&mut self, ctx: &mut Context) {
        self.link.want_recv(Room::Large, ctx);
    }

    /// How its incoming direction ended.
    pub(crate) fn ended_with(&self) -> Option<Option<IoError>> {
        self.link.ended().map(|ended| match ended {
            Ended::Eof => None,
            Ended::Failed(error) => Some(error),
        })
    }
}

/// How long a reply that fills its buffers waits for the client before it goes to a temporary file.
const SPILL_PATIENCE: Millis = Millis(25);

/// How much of a request is handed to an upstream's link before it has taken some of it, in bytes.
const REQUEST_BYTES_MAX: usize = 128 * 1024;
