//! An attempt failed: who is told, and whether another server may be asked.
//!
//! A request is sent again only if that is safe: nothing was passed on to the client, the body is still at hand, the
//! condition is one that `proxy_next_upstream` names, and the method is idempotent or nothing had been sent yet. A
//! connection from the pool that turns out to be dead counts against nobody and does not use up a try.

use alloc::rc::Rc;

use super::Phase;
use crate::command::{Address, IoError, Level};
use crate::config::NextUpstream;
use crate::conn::Link;
use crate::error::UpstreamError;
use crate::exchange::context::Context;
use crate::exchange::{Exchange, Stage};
use crate::fastcgi::Fault;
use crate::http::Status;
use crate::upstream::Outcome;

impl Exchange {
    /// The present attempt failed with `error`.
    pub(crate) fn attempt_failed(&mut self, error: UpstreamError, link: &mut Link, ctx: &mut Context) {
        if error != UpstreamError::Handshake {
            self.log_failure(error, ctx);
        }
        let unlucky = (self.is_reused() && was_dead(error)) || error.is_unprocessed();
        let dead_in_pool = unlucky && !self.head_sent && self.proxy.forgiven < FORGIVEN_MAX;
        if error.is_unprocessed() {
            self.proxy.request_sent = false;
        }
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.status.get_or_insert(error.status());
        }
        if self.head_sent || self.proxy.phase == Phase::Body {
            self.end_attempt(Outcome::Failure, false, ctx);
            self.leave_cache(ctx);
            self.reply.cut();
            self.stage = Stage::Reply;
            return;
        }
        if dead_in_pool {
            self.proxy.forgiven += 1;
            self.proxy.tries = self.proxy.tries.saturating_sub(1);
            self.let_server_be_tried_again();
        } else {
            self.note_failure(ctx);
        }
        let generation = Rc::clone(&self.generation);
        let proxy = self.proxy_settings(&generation);
        let may_retry = proxy.is_some_and(|proxy| {
            let next = &proxy.next_upstream;
            self.may_retry(next.covers(error), error.is_unprocessed(), next, ctx)
        });
        self.end_attempt(if dead_in_pool { Outcome::Neutral } else { Outcome::Failure }, false, ctx);
        if may_retry {
            self.retry(link, ctx);
        } else if self.proxy.cache.is_none() || !self.use_stale_for_error(error, ctx) {
            self.fail_status(error.status(), link, ctx);
        }
    }

    /// Says what failed. A connection that could not even be begun is said with its address; where that is not because
    /// of the server, the level says that something is wrong here.
    fn log_failure(&self, error: UpstreamError, ctx: &mut Context) {
        if let UpstreamError::Cgi(fault) = error {
            return self.log_fault(fault, ctx);
        }
        let address = self.facts.tries.last().and_then(|attempt| attempt.address.as_ref());
        let (UpstreamError::Connect(cause), Some(address)) = (error, address) else {
            return self.log_error(Level::Error, &error, ctx);
        };
        // An address without a route (ENETUNREACH) is refused at once.
        let begun = matches!(address, Address::Ip(_)) && cause.is_from_peer() && cause.errno != 101;
        if begun {
            return self.log_error(Level::Error, &error, ctx);
        }
        // EAGAIN is a Unix socket's way to say that its queue is full.
        let level = if cause.is_from_peer() || cause.errno == 11 { Level::Error } else { Level::Crit };
        let message = format_args!("connect() to {address} failed ({cause}) while connecting to upstream");
        self.log_error(level, &message, ctx);
    }

    /// What was wrong with a reply that is not HTTP's. What was caught in standard error is logged already.
    fn log_fault(&self, fault: Fault, ctx: &mut Context) {
        match fault {
            Fault::Caught => {}
            Fault::RequestTooBig(_) => self.log_error(Level::Alert, &fault, ctx),
            Fault::Version(_)
            | Fault::Type(_)
            | Fault::RequestIdHigh(_)
            | Fault::RequestIdLow(_)
            | Fault::Unexpected(_)
            | Fault::StdoutClosed
            | Fault::RequestClosed
            | Fault::Status => {
                let doing = self.proxy.phase.words();
                self.log_error(Level::Error, &format_args!("{fault} while {doing}"), ctx);
            }
        }
    }

    /// A reply came whose status `proxy_next_upstream` names. Returns whether another server is asked instead.
    pub(super) fn retry_for_status(&mut self, status: Status, link: &mut Link, ctx: &mut Context) -> bool {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return false };
        let next = &proxy.next_upstream;
        if !next.statuses.contains(&status) || !self.may_retry(true, false, next, ctx) {
            return false;
        }
        let forgiving = matches!(status.0, 403 | 404);
        self.end_attempt(if forgiving { Outcome::Neutral } else { Outcome::Failure }, false, ctx);
        self.facts.upstream_head = None;
        self.retry(link, ctx);
        true
    }

    /// Whether the request may go to another server: something is left to be tried, the condition is one that was named, all of
    /// the request is at hand, a second request does no harm, and the group can bear it.
    fn may_retry(&mut self, covered: bool, unprocessed: bool, next: &NextUpstream, ctx: &Context) -> bool {
        let total = next.timeout_total;
        let late = self.proxy.began.is_some_and(|began| !total.is_zero() && ctx.now.instant >= began + total);
        // What is on its way to the kernel may be on its way to the server.
        let sending = self.proxy.conn.as_ref().is_some_and(|conn| conn.link.is_sending());
        let sent = self.proxy.request_sent || sending && self.proxy.phase != Phase::Handshaking;
        let safe = next.non_idempotent || unprocessed || !sent || self.facts.head.method().is_idempotent();
        if !(covered && !late && safe) || self.proxy.body_gone || !self.has_tries_left(next, ctx) {
            return false;
        }
        let limits = self.proxy.seat.as_ref().and_then(|seat| seat.group.borrow().policy.retry_budget);
        self.proxy.budget.spend(limits)
    }

    /// Whether a server is left to ask. The group may have got other ones since the request began, and lost some that
    /// it has asked.
    fn has_tries_left(&mut self, next: &NextUpstream, ctx: &Context) -> bool {
        if self.proxy.tries < self.proxy.tries_max {
            return true;
        }
        let Some(group) = &self.proxy.group else { return false };
        let (mut group, now) = (group.borrow_mut(), ctx.now.instant);
        self.proxy.tries_max = group.tries_max(next, now);
        self.proxy.tries < self.proxy.tries_max
            || next.tries_max == 0 && group.has_untried(&self.proxy.pick.tried, now)
    }

    fn retry(&mut self, link: &mut Link, ctx: &mut Context) {
        if let Some(spill) = self.body.spill() {
            spill.rewind();
        }
        self.proxy.request_ended = false;
        self.proxy.request_sent = false;
        self.next_attempt(link, ctx);
    }
}

impl NextUpstream {
    /// Whether a failure is one of those that the directive names.
    #[must_use]
    pub fn covers(&self, error: UpstreamError) -> bool {
        match error {
            UpstreamError::ConnectTimeout
            | UpstreamError::HandshakeTimeout
            | UpstreamError::SendTimeout
            | UpstreamError::RecvTimeout => self.timeout,
            UpstreamError::Connect(error) if error == IoError::TIMED_OUT => self.timeout,
            UpstreamError::Connect(_)
            | UpstreamError::Handshake
            | UpstreamError::Send(_)
            | UpstreamError::Recv(_)
            | UpstreamError::ClosedBeforeHead
            | UpstreamError::ClosedInBody
            | UpstreamError::NoLiveServers => self.error,
            UpstreamError::Cgi(Fault::RequestTooBig(_)) => false,
            UpstreamError::InvalidHeader
            | UpstreamError::HeaderTooBig
            | UpstreamError::InvalidFraming
            | UpstreamError::Unasked
            | UpstreamError::Cgi(_)
            | UpstreamError::Rejected(_)
            | UpstreamError::Violation(_)
            | UpstreamError::ShortBody
            | UpstreamError::LongBody
            | UpstreamError::InvalidTrailer => self.invalid_header,
            UpstreamError::Refused | UpstreamError::GoneAway(_) => self.error || self.invalid_header,
        }
    }
}

/// How often a request is sent again without a try being used up: connections that were dead in their pool, streams that
/// were refused.
const FORGIVEN_MAX: u32 = 64;

/// Errors that a connection shows when its other end had closed it while it waited.
const fn was_dead(error: UpstreamError) -> bool {
    matches!(error, UpstreamError::Send(_) | UpstreamError::Recv(_) | UpstreamError::ClosedBeforeHead)
}
