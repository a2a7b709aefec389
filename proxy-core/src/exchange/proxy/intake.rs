//! `proxy_limit_rate`: how fast a buffered reply is read from its upstream, and X-Accel-Limit-Rate.
//!
//! A read brings what it brings; what is more than may be taken now stays unread, and nothing more is asked for.
//!
//! Reference: ngx_event_pipe, ngx_http_upstream_module.

use crate::config::Proxy;
use crate::conn::{Allowance, Link, Pace};
use crate::error::UpstreamError;
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::http::{HeaderId, ResponseHead};
use crate::time::Instant;

/// How fast a reply's body is read from the upstream.
#[derive(Debug)]
pub(super) struct Intake {
    pace: Pace,
    /// Bytes of it that were taken so far.
    taken: u64,
}

impl Intake {
    /// When it may be read on, if that is not yet.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.pace.resume(now)
    }
}

impl Exchange {
    /// The body is about to be read: at this pace.
    pub(super) fn set_intake(&mut self, proxy: &Proxy, generation: &Generation, ctx: &mut Context) {
        let rate = self.bytes_of(proxy.limit_rate.as_ref(), generation, ctx);
        let pace = Pace::new(rate, 0, ctx.now.instant, 0, ctx.now);
        self.proxy.intake = pace.map(|pace| Intake { pace, taken: 0 });
    }

    /// Whether nothing more may be read for a while.
    pub(super) fn is_paced(&self, ctx: &Context) -> bool {
        self.proxy.intake.as_ref().is_some_and(|intake| intake.paused_until(ctx.now.instant).is_some())
    }

    /// Decodes as much of what is there as may be taken now.
    pub(super) fn decode_paced(&mut self, link: &Link, ctx: &mut Context) -> Result<(), UpstreamError> {
        let (Some(intake), Some(conn)) = (&mut self.proxy.intake, self.proxy.conn.as_mut()) else {
            return Ok(());
        };
        let inbox = conn.link.inbox();
        let whole = inbox.clone();
        match intake.pace.ask(intake.taken, ctx.now) {
            Allowance::Bytes(bytes) => inbox.truncate(usize::try_from(bytes).unwrap_or(usize::MAX)),
            // The end may have to be seen, so what follows is done all the same.
            Allowance::Until(_) => inbox.truncate(0),
        }
        let offered = inbox.len();
        let result = self.decode_input(link, ctx);
        if let (Some(intake), Some(conn)) = (&mut self.proxy.intake, self.proxy.conn.as_mut()) {
            let taken = offered - conn.link.inbox().len();
            intake.taken += taken as u64;
            *conn.link.inbox() = whole.slice(taken..whole.len());
            // The rest after what was taken begins ctx.now.
            intake.pace.ask(intake.taken, ctx.now);
        }
        result
    }

    /// X-Accel-Limit-Rate: a plain number of bytes per second, for whatever reply comes of this one.
    pub(crate) fn take_accel_limit_rate(&mut self, head: &ResponseHead, proxy: &Proxy) {
        let Some(value) = head.value(HeaderId::XAccelLimitRate) else { return };
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if !proxy.ignore_headers.accel_limit_rate && digits {
            let rate = core::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            self.facts.limit_rate = rate.or(self.facts.limit_rate);
        }
    }
}
