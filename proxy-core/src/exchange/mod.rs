//! One request and its reply: the machine in the middle.
//!
//! ```text
//!                 ┌──────────── internal redirect ─────────────┐
//!                 ▼                                            │
//! (head) ──► Phases ──► Gather ──► Proxy ──► Tunnel            │
//!               │  (request body)   │ │ 101      │             │
//!               │                   │ └──────────┼─ error page ┘
//!               ├──► Delayed ───────┤            │
//!               └──► File ──────────┤            │
//!                                   ▼            ▼
//!                                 Reply ──► Drain ──► Done
//! ```
//! - `Phases` runs nginx's phases up to the content handler ([`phases`], [`rewrite`]).
//! - `Delayed` waits because `limit_req` says so ([`preaccess`]).
//! - `Access` waits inside of the preaccess and access phases ([`access`]).
//! - `File` waits for a file that is looked for, or sends it ([`content`](crate::content)).
//! - `Gather` waits for the whole request body where `proxy_request_buffering` is on.
//! - `Cache` looks for a kept reply, and sends it ([`cache`]).
//! - `Proxy` asks one server after another ([`proxy`]); `Tunnel` is what an upgrade becomes ([`tunnel`]).
//! - `Reply` sends what is left of the reply; `Drain` drops what is left of the request.
//!
//! The client's connection drives it: whenever something happened to either side, [`Exchange::advance`] moves every
//! part as far as it goes. Nothing here waits, and nothing is done twice.

pub(crate) mod access;
mod auth_basic;
mod auth_request;
pub(crate) mod browser;
pub(crate) mod cache;
mod charset;
pub(crate) mod context;
mod cookies;
pub(crate) mod error_log;
mod expires;
pub mod facts;
pub(crate) mod finish;
mod mirror;
pub(crate) mod phases;
pub(crate) mod preaccess;
pub(crate) mod proxy;
mod rate;
mod real_ip;
pub(crate) mod redirect;
pub(crate) mod reply_body;
pub(crate) mod reply_head;
pub(crate) mod request_body;
pub(crate) mod respond;
pub(crate) mod rewrite;
pub(crate) mod spill;
pub(crate) mod sub;
mod tls;
mod trailers;
pub(crate) mod tunnel;
mod user_id;
pub mod vars;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use smallvec::SmallVec;

pub use context::Pools;
pub(crate) use facts::Slots;
pub use facts::{ConnFacts, DynamicTarget, Facts, LimitStatus, Reply, TlsFacts, Try};

use crate::buf::Chunk;
use crate::command::{Completion, FileId, Level, Room};
use crate::config::{Content, CoreSettings, Location, Proxy};
use crate::conn::Link;
use crate::content::files::FileRun;
use crate::error::ClientError;
use crate::filter::FilterRun;
use crate::filter::plan::Plan;
use crate::http::framing::{BodyFraming, RequestMeta};
use crate::http::{Method, Status};
use crate::shared::Admission;
use crate::time::Instant;
use crate::timer::Reason;
use access::AccessRun;
use context::{Context, FileRole, Generation};
use proxy::ProxyRun;
use reply_body::ReplyBody;
use request_body::{Mode, RequestBody};
use rewrite::RewriteRun;
use sub::{SUBREQUESTS_MAX, SubNature, Subs};
use tunnel::Tunnel;

/// How many times one request may be routed anew before it is refused: nginx's own bound.
pub(crate) const INTERNAL_REDIRECTS_MAX: u32 = 10;

/// One request and its reply.
pub(crate) struct Exchange {
    pub(crate) facts: Facts,
    /// The configuration that it began with.
    pub(crate) generation: Rc<Generation>,
    pub(crate) stage: Stage,
    pub(crate) meta: RequestMeta,
    /// The method as far as the reply is concerned: an error page is fetched with GET.
    pub(crate) method: Method,
    pub(crate) body: RequestBody,
    pub(crate) reply: ReplyBody,
    /// What changes the reply's body before that.
    pub(crate) filters: Option<Box<FilterRun>>,
    /// What filters do to the reply's head.
    pub(crate) plan: Plan,
    /// Whether the head was handed to the link.
    pub(crate) head_sent: bool,
    /// Whether the client's connection may serve another request.
    pub(crate) keep_alive: bool,
    pub(crate) proxy: ProxyRun,
    pub(crate) file: FileRun,
    pub(crate) tunnel: Tunnel,
    /// What `limit_conn` has counted this request at.
    pub(crate) admissions: SmallVec<[Admission; 2]>,
    /// When `limit_req` lets it go on.
    pub(crate) delayed_until: Instant,
    /// What an upstream's X-Accel-Redirect left for the reply.
    pub(crate) carried: Carried,
    /// The rewrite directives that run.
    pub(crate) rewrite: RewriteRun,
    /// The checks of the access phase.
    pub(crate) access: AccessRun,
    /// Whole WWW-Authenticate lines, for whatever reply it will be.
    pub(crate) challenge: Vec<u8>,
    /// What makes it a subrequest; none for a client's own request.
    pub(crate) sub: Option<SubNature>,
    /// Its own subrequests.
    pub(crate) subs: Option<Box<Subs>>,
    /// How many levels of subrequests there may be below.
    pub(crate) subs_left: u8,
    /// Whether the location's mirrors were begun.
    pub(crate) mirrored: bool,
    /// Whether the request's body is waited for by mirrors or by content that is made here.
    pub(crate) gathers_for_content: bool,
    /// An index or a candidate of `try_files` was appended to the URI and belongs behind a regex location's `alias`.
    pub(crate) add_uri_to_alias: bool,
    /// `add_trailer` has something for this reply.
    adds_trailers: bool,
    pub(crate) internal: bool,
    pub(crate) redirects_left: u32,
    /// The status that an error page stands for, and that the client sees unless the page says otherwise.
    pub(crate) error_status: Option<Status>,
    /// Whether an error page is being made: another error does not lead to another page.
    pub(crate) in_error_page: bool,
    /// What the client's link had sent before this exchange.
    pub(crate) sent_before: u64,
    /// Bytes of the reply's head.
    pub(crate) head_bytes: u64,
    /// Whether all of the request had been read when the exchange was closed.
    body_read: bool,
}

/// The fields of a reply with X-Accel-Redirect, of a redirect or of a refused range that the page made for it keeps.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Takes the place of a guessed one.
    pub(crate) content_type: Chunk,
    /// The Location of a redirect whose page another location makes; empty for none.
    pub(crate) location: Vec<u8>,
    /// Whole lines about how long it is fresh: `expires` takes their place.
    pub(crate) freshness: Vec<u8>,
    /// Other whole lines.
    pub(crate) lines: Vec<u8>,
}

/// Where an exchange stands; see the drawing above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Phases,
    Delayed,
    Access,
    Gather,
    Cache,
    Proxy,
    File,
    Tunnel,
    Reply,
    Drain,
    Done(Ending),
}

/// How an exchange ends for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection may serve the next request.
    KeepAlive,
    /// The connection is closed once all is sent.
    Close,
    /// The connection is closed at once, whatever is left unsent.
    Abort,
    /// As `Abort`, with a reset (`reset_timedout_connection`).
    Reset,
}

impl Exchange {
    /// An exchange without a request: one that ended, emptied, or a new one.
    pub(crate) fn recycled(
        conn: &Rc<ConnFacts>,
        generation: &Rc<Generation>,
        ctx: &mut Context,
    ) -> Box<Self> {
        let mut exchange = if let Some(mut used) = ctx.spare.pop() {
            used.facts.conn = Rc::clone(conn);
            used.generation = Rc::clone(generation);
            used
        } else {
            Box::new(Self::blank(Rc::clone(conn), Rc::clone(generation), Rc::default()))
        };
        exchange.facts.request_id = u128::from(ctx.random.next()) << 64 | u128::from(ctx.random.next());
        exchange
    }

    /// An exchange without a request.
    fn blank(conn: Rc<ConnFacts>, generation: Rc<Generation>, slots: Rc<RefCell<Slots>>) -> Self {
        Self {
            facts: Facts::blank_with(conn, slots),
            generation,
            stage: Stage::Phases,
            meta: RequestMeta::default(),
            method: Method::Other,
            body: RequestBody::default(),
            reply: ReplyBody::default(),
            filters: None,
            plan: Plan::default(),
            head_sent: false,
            keep_alive: false,
            proxy: ProxyRun::default(),
            file: FileRun::default(),
            tunnel: Tunnel::default(),
            admissions: SmallVec::new(),
            delayed_until: Instant::default(),
            carried: Carried::default(),
            rewrite: RewriteRun::default(),
            access: AccessRun::default(),
            challenge: Vec::new(),
            sub: None,
            subs: None,
            subs_left: SUBREQUESTS_MAX,
            mirrored: false,
            gathers_for_content: false,
            add_uri_to_alias: false,
            adds_trailers: false,
            internal: false,
            redirects_left: INTERNAL_REDIRECTS_MAX,
            error_status: None,
            in_error_page: false,
            sent_before: 0,
            head_bytes: 0,
            body_read: false,
        }
    }

    /// Forgets the request and everything that it refers to; what is left is as [`blank`](Self::blank) as a new one.
    pub(crate) fn scrub(&mut self) {
        let slots = if self.is_sub() {
            // They are the parent's.
            Rc::default()
        } else {
            self.facts.slots.borrow_mut().clear();
            Rc::clone(&self.facts.slots)
        };
        let (conn, generation) = (Rc::clone(&self.facts.conn), Rc::clone(&self.generation));
        *self = Self::blank(conn, generation, slots);
    }

    /// The head is understood: the phases may begin.
    pub(crate) fn begin(&mut self, meta: RequestMeta) {
        self.body = RequestBody::new(meta.framing);
        self.keep_alive = meta.keep_alive;
        self.meta = meta;
    }

    /// As [`begin`](Self::begin) has it, but a stream brings the body, without framing.
    pub(crate) fn frame_stream(&mut self, framing: BodyFraming) {
        self.meta.framing = framing;
        self.body = RequestBody::of_stream(framing);
    }

    /// `keepalive_timeout`, `keepalive_requests` and `keepalive_time` of the location that answers have their say.
    pub(crate) fn limit_keep_alive(&mut self, core: &CoreSettings) {
        let keepalive = &core.keepalive;
        let age_ms = self.facts.started.millis_since(self.facts.conn.accepted);
        self.keep_alive &= !keepalive.timeout.is_zero()
            && self.facts.conn_requests < keepalive.requests_max
            && age_ms <= keepalive.time_max.0
            && !self.is_bad_at_keep_alive(keepalive.disable);
    }

    /// Whether nothing of the request is left unread.
    pub(crate) const fn body_was_read(&self) -> bool {
        self.body_read
    }

    /// A deadline of the client's connection has passed.
    pub(crate) fn handle_client_timeout(&mut self, reason: Reason, link: &mut Link, ctx: &mut Context) {
        let error = ClientError::Timeout;
        let doing = match (reason, self.facts.tries.is_empty()) {
            (Reason::ClientSend, true) => " while sending response to client",
            (Reason::ClientSend, false) => " while sending to client",
            _ => "",
        };
        self.log_error(Level::Info, &format_args!("{error}{doing}"), ctx);
        if !self.head_sent && reason == Reason::ClientBody {
            self.facts.reply.status = error.status();
        }
        self.abandon_upstream(ctx);
        let reset =
            self.core(&Rc::clone(&self.generation)).is_some_and(|core| core.reset_timedout_connection);
        let _ = link;
        self.stage = Stage::Done(if reset { Ending::Reset } else { Ending::Abort });
    }

    /// Moves every part as far as it goes.
    pub(crate) fn advance(&mut self, link: &mut Link, ctx: &mut Context) {
        loop {
            while self.step(link, ctx) {}
            if self.subs.is_none() || !self.run_subs(link, ctx) {
                break;
            }
        }
        link.flush(ctx);
    }

    /// One step. Returns whether another one may move something.
    fn step(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        // An internal redirect may come back to the stage that it left: from one upstream to another, say.
        let before = (self.stage, self.redirects_left);
        match self.stage {
            Stage::Phases => self.run_phases(link, ctx),
            Stage::Delayed => self.run_delayed(link, ctx),
            Stage::Access => self.wait_in_access(link, ctx),
            Stage::Gather => self.gather(link, ctx),
            Stage::Cache => self.run_cache(link, ctx),
            Stage::Proxy => self.run_proxy(link, ctx),
            Stage::File => self.run_file(link, ctx),
            Stage::Tunnel => self.run_tunnel(link, ctx),
            Stage::Reply => self.run_reply(link, ctx),
            Stage::Drain => self.drain(link, ctx),
            Stage::Done(_) => {}
        }
        (self.stage, self.redirects_left) != before
    }

    /// Waits for the whole request body, then asks the upstream.
    fn gather(&mut self, link: &mut Link, ctx: &mut Context) {
        if !self.pump_request_body(link, ctx) || self.notice_client_gone(link, ctx) {
            return;
        }
        if let Some(error) = self.body.spill().and_then(|spill| spill.failed()) {
            self.fail_file(error, "writing client request body", link, ctx);
        } else if self.body.is_gathered() {
            link.deadline.clear();
            self.facts.request_body_file = self.body.file_name().cloned();
            if core::mem::take(&mut self.gathers_for_content) {
                self.stage = Stage::Phases;
                return self.run_content(link, ctx);
            }
            self.stage = Stage::Proxy;
        } else if link.is_receiving() {
            // The timeout is between two reads; while a file is written nothing is waited for from the client.
            self.set_body_deadline(link, ctx);
        } else {
            link.deadline.clear();
        }
    }

    /// Reads more of the request body. Returns whether the exchange goes on.
    pub(crate) fn pump_request_body(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        let generation = Rc::clone(&self.generation);
        let Some(core) = self.core(&generation) else { return false };
        let before = link.inbox().len();
        let pumped = self.body.pump(link, &core.client_body, ctx);
        // A stream counts its frames itself.
        if self.body.mode() != Mode::Discard && !link.is_stream() {
            self.facts.request_length += (before - link.inbox().len()) as u64;
        }
        match pumped {
            Ok(()) => true,
            Err(error) => {
                self.fail_client(error, link, ctx);
                false
            }
        }
    }

    /// Sends what is left of the reply.
    fn run_reply(&mut self, link: &mut Link, ctx: &mut Context) {
        self.spill_reply(link, ctx);
        self.pump_reply_body(link, ctx);
        link.flush(ctx);
        if self.body.mode() == Mode::Discard && !self.pump_request_body(link, ctx) {
            return;
        }
        self.finish_if_sent(link, ctx);
    }

    /// Moves the reply's body through its filters, if it has any, and on to the link.
    pub(crate) fn pump_reply_body(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.filters.is_some() {
            self.run_filters(link, ctx);
        }
        self.reply.pump(link, ctx);
    }

    /// Looks for the end of a client that waits for its reply. Returns whether it is gone.
    pub(crate) fn notice_client_gone(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        if self.body.is_complete() {
            link.want_recv(Room::Small, ctx);
        }
        let gone = link.is_gone();
        if !gone {
            return false;
        }
        let body_cut = !self.body.is_complete() && link.ended().is_some();
        let ignored =
            self.stage == Stage::Proxy && (self.ignores_client_abort() || self.is_storing()) && !body_cut;
        if ignored {
            return false;
        }
        if !self.body.is_complete() && link.broken().is_none() && link.ended().is_none() {
            // It ended after bytes that are still to be read.
            return false;
        }
        self.fail_client(ClientError::Closed, link, ctx);
        true
    }

    fn ignores_client_abort(&self) -> bool {
        let generation = Rc::clone(&self.generation);
        self.proxy_settings(&generation).is_some_and(|proxy| proxy.ignore_client_abort)
    }

    /// The location that the request is in.
    pub(crate) fn location<'a>(&self, generation: &'a Generation) -> Option<&'a Location> {
        generation.config.location(self.facts.location)
    }

    /// The core settings of the location that the request is in.
    pub(crate) fn core<'a>(&self, generation: &'a Generation) -> Option<&'a CoreSettings> {
        self.location(generation).map(|location| &*location.core)
    }

    /// The proxy settings of the location that the request is in.
    pub(crate) fn proxy_settings<'a>(&self, generation: &'a Generation) -> Option<&'a Proxy> {
        match &self.location(generation)?.content {
            Content::Proxy(proxy) => Some(proxy),
            Content::Files | Content::StubStatus | Content::Api { .. } | Content::EmptyGif => None,
        }
    }

    /// An operation on one of its files is complete.
    pub(crate) fn handle_file(&mut self, role: FileRole, file: FileId, completion: Completion) {
        let spill = match role {
            FileRole::RequestBody => self.body.spill(),
            FileRole::Reply => self.reply.spill(),
            FileRole::Content => return self.file.handle(file, completion),
            FileRole::Users => return self.access.handle_file(file, completion),
            FileRole::Cache => return self.handle_cache_file(file, completion),
            FileRole::CacheWriter | FileRole::CacheKeeper => return,
        };
        let Some(spill) = spill.filter(|spill| spill.is(file)) else { return };
        match completion {
            Completion::OpenFile { result, .. } => spill.handle_open(result),
            Completion::WriteFile { chain, result, .. } => spill.handle_write(&chain, result),
            Completion::ReadFile { result, .. } => spill.handle_read(result),
            Completion::Connect { .. }
            | Completion::Recv { .. }
            | Completion::Send { .. }
            | Completion::Verify { .. }
            | Completion::ListDirectory { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::Resolve { .. } => {}
        }
    }
}
