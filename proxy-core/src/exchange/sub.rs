//! Subrequests: an exchange that runs another request through the same phases.
//!
//! ```text
//! exchange ──spawn_sub──► Sub { exchange, link } ──► its own phases, upstream, files, subrequests
//!     ▲                        │ what it queues on its link, which leads nowhere
//!     └──── take_output ◄──────┘
//! ```
//! A subrequest has a URI, a location, tries and a reply of its own, and everything else of its parent: head,
//! connection, server, variables. It is an [`Exchange`] as any other; instead of a client it has a detached [`Link`],
//! from which its parent takes the reply's body, or throws it away. The key of that link stands in the worker's table,
//! so that timers, files, names and upstream connections find the subrequest that they belong to.
//!
//! An exchange without subrequests pays one test where it is driven.
//!
//! Reference: nginx's ngx_http_subrequest and ngx_http_finalize_request.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::cache::CacheRun;
use super::context::{Conn, Context};
use super::facts::CacheFacts;
use super::{Ending, Exchange, Facts, Stage};
use crate::buf::{Chain, Chunk};
use crate::command::{ConnId, Level};
use crate::conn::Link;
use crate::http::framing::RequestMeta;
use crate::http::{BodyFraming, Method};
use crate::timer::Reason;
use crate::trace::Step;

/// How deep subrequests may lie inside of each other: nginx's own bound.
pub(crate) const SUBREQUESTS_MAX: u8 = 50;

/// How much of a body becomes a variable's value at the most, in bytes.
const CAPTURE_BYTES_MAX: usize = 8 * 1024;

/// Moves an exchange. Returns whether it did.
pub(crate) type Act<'a> = dyn FnMut(&mut Exchange, &mut Link, &mut Context) -> bool + 'a;

/// What makes an exchange a subrequest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubNature {
    /// Whether only its head is wanted.
    pub(crate) head_only: bool,
    /// Whether it keeps the parent's method; otherwise it asks with GET.
    pub(crate) keeps_method: bool,
}

/// What a subrequest is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `auth_request`: its status decides.
    Auth,
    /// `mirror`: nobody looks at the reply.
    Mirror,
    /// The body is a part of the parent's.
    Splice,
    /// The body becomes the value of a variable.
    Capture,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth_request",
            Self::Mirror => "mirror",
            Self::Splice => "include",
            Self::Capture => "variable",
        }
    }
}

/// One subrequest.
pub(crate) struct Sub {
    purpose: Purpose,
    exchange: Box<Exchange>,
    link: Link,
    /// How many bytes it had made when it was looked at last.
    seen_bytes: u64,
    /// What it has made, where that is kept.
    captured: Vec<u8>,
}

/// What is to be asked.
pub(crate) struct Wish {
    pub(crate) purpose: Purpose,
    pub(crate) uri: Chunk,
    pub(crate) args: Chunk,
    pub(crate) nature: SubNature,
    /// Whether the parent's body is sent along.
    pub(crate) with_body: bool,
}

/// The subrequests of one exchange that have not ended.
#[derive(Default)]
pub(crate) struct Subs {
    running: Vec<Sub>,
}

impl Exchange {
    /// Whether this is a subrequest.
    pub(crate) const fn is_sub(&self) -> bool {
        self.sub.is_some()
    }

    /// Whether nobody wants the reply's body.
    pub(crate) fn is_head_only(&self) -> bool {
        self.sub.is_some_and(|sub| sub.head_only)
    }

    /// How the exchange ended, once everything that it began is over as well; a client that is gone waits for nothing.
    pub(crate) fn over(&self) -> Option<Ending> {
        match self.stage {
            Stage::Done(Ending::KeepAlive | Ending::Close) if self.has_subs() => None,
            Stage::Done(ending) => Some(ending),
            Stage::Phases
            | Stage::Delayed
            | Stage::Access
            | Stage::Gather
            | Stage::Cache
            | Stage::Proxy
            | Stage::File
            | Stage::Tunnel
            | Stage::Reply
            | Stage::Drain => None,
        }
    }

    /// Whether a subrequest has not ended.
    pub(crate) fn has_subs(&self) -> bool {
        self.subs.as_ref().is_some_and(|subs| !subs.running.is_empty())
    }

    /// Begins a subrequest. Returns its link's key; none where it is nested too deep.
    pub(crate) fn spawn_sub(&mut self, wish: Wish, link: &Link, ctx: &mut Context) -> Option<ConnId> {
        let Some(left) = self.subs_left.checked_sub(1) else {
            let uri = crate::content::files::shown(&wish.uri);
            let message = alloc::format!("subrequests cycle while processing \"{uri}\"");
            self.log_error(Level::Error, &message, ctx);
            return None;
        };
        ctx.note(|| Step::Subrequest { purpose: wish.purpose.name(), uri: wish.uri.to_vec() });
        let root = ctx.root_of(link.id);
        let id = ConnId(ctx.conns.insert(Conn::Sub { root }));
        let mut exchange = Self::recycled(&self.facts.conn, &self.generation, ctx);
        exchange.facts.inherit(&self.facts, ctx);
        exchange.facts.uri = wish.uri;
        exchange.facts.has_args_mark = !wish.args.is_empty();
        exchange.facts.args = wish.args;
        exchange.sub = Some(wish.nature);
        exchange.subs_left = left;
        exchange.internal = true;
        let body = if wish.with_body { self.body.shared() } else { None };
        let framing = body.as_ref().map_or(BodyFraming::None, |body| match body.received_bytes() {
            0 => self.meta.framing,
            bytes => BodyFraming::Length(bytes),
        });
        exchange.method = if wish.nature.keeps_method { self.method } else { Method::Get };
        if !wish.nature.keeps_method {
            exchange.facts.head.method = Some(Method::Get);
        }
        exchange.begin(RequestMeta {
            framing: BodyFraming::None,
            keep_alive: false,
            expect_continue: false,
            upgrade: false,
            ..self.meta.clone()
        });
        if let Some(body) = body {
            exchange.body = body;
            exchange.meta.framing = framing;
        }
        let sub = Sub {
            purpose: wish.purpose,
            exchange,
            link: Link::detached(id),
            seen_bytes: 0,
            captured: Vec::new(),
        };
        self.subs.get_or_insert_default().running.push(sub);
        Some(id)
    }

    /// Renews a cache's entry by a subrequest in this very location: it runs none of the phases before. Returns whether
    /// it was begun.
    pub(crate) fn spawn_update(
        &mut self,
        run: Box<CacheRun>,
        facts: Box<CacheFacts>,
        link: &Link,
        ctx: &mut Context,
    ) -> bool {
        let nature = SubNature { head_only: true, keeps_method: true };
        let (uri, args) = (self.facts.uri.clone(), self.facts.args.clone());
        let wish = Wish { purpose: Purpose::Mirror, uri, args, nature, with_body: true };
        if self.spawn_sub(wish, link, ctx).is_none() {
            return false;
        }
        let Some(sub) = self.subs.as_mut().and_then(|subs| subs.running.last_mut()) else { return false };
        let exchange = &mut sub.exchange;
        exchange.facts.has_args_mark = self.facts.has_args_mark;
        exchange.facts.uri_unchanged = self.facts.uri_unchanged;
        exchange.facts.raw_is_valid = self.facts.raw_is_valid;
        exchange.facts.quoted = self.facts.quoted;
        exchange.facts.location = self.facts.location;
        exchange.facts.found = self.facts.found;
        exchange.facts.valid_location = self.facts.valid_location;
        *exchange.facts.captures.borrow_mut() = self.facts.captures.borrow().clone();
        exchange.facts.cache = Some(facts);
        exchange.proxy.cache_asked = true;
        exchange.proxy.cache = Some(run);
        exchange.start_proxy(true, &mut sub.link, ctx);
        true
    }

    /// Moves every subrequest as far as it goes. Returns whether the exchange itself may go on.
    pub(crate) fn run_subs(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        let Some(mut subs) = self.subs.take() else { return false };
        let mut moved = false;
        let mut running = Vec::with_capacity(subs.running.len());
        for mut sub in core::mem::take(&mut subs.running) {
            moved |= self.run_sub(&mut sub, ctx);
            if let Stage::Done(ending) = sub.exchange.stage
                && !sub.exchange.has_subs()
            {
                moved = true;
                self.end_sub(sub, ending, link, ctx);
            } else {
                running.push(sub);
            }
        }
        // What ended may have begun others: they come behind.
        if let Some(mut begun) = self.subs.take() {
            running.append(&mut begun.running);
        }
        if !running.is_empty() {
            subs.running = running;
            self.subs = Some(subs);
        }
        moved
    }

    /// Moves one subrequest. Returns whether its parent may go on for it.
    fn run_sub(&mut self, sub: &mut Sub, ctx: &mut Context) -> bool {
        // Each round takes what the round before has made; a reply has an end, or stops where it waits for something.
        loop {
            sub.exchange.advance(&mut sub.link, ctx);
            match sub.purpose {
                Purpose::Auth | Purpose::Mirror => {
                    if sub.link.take_output().is_empty() {
                        return false;
                    }
                }
                Purpose::Splice => {
                    let made = sub.link.sent_bytes() + sub.link.unsent_bytes() as u64;
                    return core::mem::replace(&mut sub.seen_bytes, made) < made;
                }
                Purpose::Capture => {
                    let output = sub.link.take_output();
                    if output.is_empty() {
                        return false;
                    }
                    let room = CAPTURE_BYTES_MAX.saturating_sub(sub.captured.len());
                    sub.captured.extend(output.to_vec().into_iter().take(room));
                }
            }
        }
    }

    fn end_sub(&mut self, mut sub: Sub, ending: Ending, link: &mut Link, ctx: &mut Context) {
        if ending == Ending::Abort && sub.purpose == Purpose::Splice {
            // A part of the body is missing: the client must see it.
            self.reply.cut();
        }
        self.facts.learn(&sub.exchange.facts);
        match sub.purpose {
            Purpose::Mirror => {}
            Purpose::Splice => self.ssi_sub_done(&sub.exchange.facts, &sub.link),
            Purpose::Capture => self.ssi_captured(&sub.link, core::mem::take(&mut sub.captured)),
            Purpose::Auth => self.auth_request_done(&sub.exchange.facts, link, ctx),
        }
        sub.close(ctx);
        ctx.spare_exchange(sub.exchange);
    }

    /// Takes what a subrequest has made; none if it has ended.
    pub(crate) fn take_sub_output(&mut self, id: ConnId) -> Option<Chain> {
        let running = &mut self.subs.as_mut()?.running;
        running.iter_mut().find(|sub| sub.link.id == id).map(|sub| sub.link.take_output())
    }

    /// What is known about a subrequest that has not ended.
    pub(crate) fn sub_facts(&self, id: ConnId) -> Option<&Facts> {
        let running = &self.subs.as_ref()?.running;
        running.iter().find(|sub| sub.link.id == id).map(|sub| &sub.exchange.facts)
    }

    /// Whether a subrequest has not ended.
    pub(crate) fn is_sub_running(&self, id: ConnId) -> bool {
        self.subs.as_ref().is_some_and(|subs| subs.running.iter().any(|sub| sub.link.id == id))
    }

    /// Ends all subrequests: the exchange ends.
    pub(crate) fn drop_subs(&mut self, ctx: &mut Context) {
        let Some(mut subs) = self.subs.take() else { return };
        for mut sub in core::mem::take(&mut subs.running) {
            sub.close(ctx);
            ctx.spare_exchange(sub.exchange);
        }
    }

    /// Lets `act` drive the subrequest whose link has this key.
    pub(crate) fn with_sub(&mut self, id: ConnId, act: &mut Act<'_>, ctx: &mut Context) -> bool {
        let Some(subs) = &mut self.subs else { return false };
        for sub in &mut subs.running {
            if sub.link.id == id {
                return act(&mut sub.exchange, &mut sub.link, ctx);
            }
            if sub.exchange.with_sub(id, act, ctx) {
                return true;
            }
        }
        false
    }

    /// A deadline of a subrequest's own link may have passed: the next step sees to what is not handled here.
    pub(crate) fn handle_sub_timeout(&mut self, link: &mut Link, ctx: &mut Context) -> bool {
        let id = link.id;
        let now = ctx.now.instant;
        let reason = link.deadline.fired(&mut ctx.timers, id, now);
        if reason == Some(Reason::Resolve) {
            self.handle_resolve_timeout(link, ctx);
        }
        reason.is_some()
    }
}

impl Sub {
    fn close(&mut self, ctx: &mut Context) {
        self.exchange.close(&self.link, ctx);
        self.link.retire(ctx);
        ctx.conns.remove(self.link.id.0);
    }
}

impl Facts {
    /// Takes over what a subrequest shares with its parent.
    fn inherit(&mut self, parent: &Self, ctx: &Context) {
        self.conn_requests = parent.conn_requests;
        self.pipelined = parent.pipelined;
        self.head = parent.head.clone();
        self.host = parent.host.clone();
        self.request_port = parent.request_port;
        self.raw = parent.raw.clone();
        self.server = parent.server;
        self.location = parent.location;
        self.slots = Rc::clone(&parent.slots);
        *self.maps.borrow_mut() = parent.maps.borrow().clone();
        self.started = ctx.now.instant;
        self.request_id = parent.request_id;
        self.limit_req_status = parent.limit_req_status;
        self.limit_conn_status = parent.limit_conn_status;
        self.ssi.clone_from(&parent.ssi);
        self.is_sub = true;
    }

    /// A map keeps its first value for a request, its subrequests included.
    fn learn(&self, sub: &Self) {
        let mut known = self.maps.borrow_mut();
        for (id, value) in sub.maps.borrow().iter() {
            if !known.iter().any(|(other, _)| other == id) {
                known.push((*id, value.clone()));
            }
        }
    }
}

impl core::fmt::Debug for Sub {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sub").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}
