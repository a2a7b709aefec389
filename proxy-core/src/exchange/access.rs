//! The access phase: may this client have what it asks for?
//!
//! ```text
//!              Declined, or Allowed with `satisfy all`
//!            ┌────────────────────────────────────────┐
//! begin ─► next check ─► Pending ─► resume_access ─►──┤
//!            │    │ Allowed with `satisfy any`        └─► (no more) ─► refused before? ─┬─► after_access
//!            │    └───────────────────────────────────────────────────► after_access   └─► 401, 403
//!            └─► Denied: with `satisfy any` remembered, otherwise the end
//! ```
//! The checks stand in the order in which nginx's modules ask: addresses first. A check that must wait says
//! [`Verdict::Pending`]; whoever gets its answer calls [`Exchange::resume_access`] with the verdict. Meanwhile the
//! exchange is in [`Stage::Access`], or in a stage of the check's own.
//!
//! Reference: nginx's ngx_http_core_access_phase, ngx_http_core_post_access_phase and ngx_http_access_module.

use alloc::rc::Rc;

use super::context::{Context, Generation};
use super::{Exchange, Stage};
use crate::command::Level;
use crate::config::Access;
use crate::conn::Link;
use crate::http::Status;
use crate::timer::Reason;

/// How far the access phase is.
#[derive(Debug, Default)]
pub(crate) struct AccessRun {
    /// The check that is asked, or whose answer is waited for.
    check: Check,
    /// With `satisfy any`: what the request is refused with unless a later check allows it.
    refused: Option<Status>,
}

/// The checks, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Check {
    /// `allow` and `deny`
    #[default]
    Address,
    /// All have been asked.
    Done,
}

impl Check {
    const fn next(self) -> Self {
        match self {
            Self::Address | Self::Done => Self::Done,
        }
    }
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has nothing to say about this request.
    Declined,
    /// It lets the request pass.
    Allowed,
    /// It refuses the request. With `satisfy any` another check may overrule 401 and 403; any other status is final.
    Denied(Status),
    /// It waits; the exchange is in a stage that the check has chosen, and [`Exchange::resume_access`] brings the answer.
    #[expect(dead_code, reason = "no check that waits has landed yet")]
    Pending,
}

impl Exchange {
    /// Runs the access phase of the location that the request is in.
    pub(crate) fn begin_access(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        let Some(access) = self.location(generation).and_then(|location| location.access.as_ref()) else {
            return self.after_access(generation, link, ctx);
        };
        self.access = AccessRun::default();
        self.ask_checks(access, generation, link, ctx);
    }

    /// Asks one check after another.
    fn ask_checks(&mut self, access: &Access, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        while self.access.check != Check::Done {
            let verdict = match self.access.check {
                Check::Address => self.check_address(access, ctx),
                Check::Done => Verdict::Declined,
            };
            if !self.weigh(verdict, access, generation, link, ctx) {
                return;
            }
        }
        self.finish_access(access, generation, link, ctx);
    }

    /// The check that said [`Verdict::Pending`] has its answer; it must not say so again.
    #[expect(dead_code, reason = "no check that waits has landed yet")]
    pub(crate) fn resume_access(&mut self, verdict: Verdict, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(access) = self.location(&generation).and_then(|location| location.access.as_ref()) else {
            return self.after_access(&generation, link, ctx);
        };
        self.stage = Stage::Phases;
        if self.weigh(verdict, access, &generation, link, ctx) {
            self.ask_checks(access, &generation, link, ctx);
        }
    }

    /// Draws the consequence of a verdict. Returns whether the next check is to be asked.
    fn weigh(
        &mut self,
        verdict: Verdict,
        access: &Access,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) -> bool {
        match verdict {
            Verdict::Allowed if access.satisfy_any => {
                self.access = AccessRun { check: Check::Done, refused: None };
                self.after_access(generation, link, ctx);
                return false;
            }
            Verdict::Denied(status @ (Status::FORBIDDEN | Status::UNAUTHORIZED)) if access.satisfy_any => {
                // 401 is the better news: the client can do something about it.
                if self.access.refused != Some(Status::UNAUTHORIZED) {
                    self.access.refused = Some(status);
                }
            }
            Verdict::Denied(status) => {
                self.refuse(status, access, link, ctx);
                return false;
            }
            Verdict::Pending => return false,
            Verdict::Allowed | Verdict::Declined => {}
        }
        self.access.check = self.access.check.next();
        true
    }

    fn finish_access(
        &mut self,
        access: &Access,
        generation: &Generation,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        match self.access.refused.take() {
            None => self.after_access(generation, link, ctx),
            Some(status) => {
                if status == Status::FORBIDDEN {
                    self.log_error(Level::Error, &"access forbidden by rule", ctx);
                }
                self.refuse(status, access, link, ctx);
            }
        }
    }

    /// `allow` and `deny`
    fn check_address(&self, access: &Access, ctx: &mut Context) -> Verdict {
        let rules = access.rules.as_ref();
        match rules.and_then(|rules| rules.verdict(&self.facts.conn.peer.client)) {
            None => Verdict::Declined,
            Some(true) => Verdict::Allowed,
            Some(false) => {
                if !access.satisfy_any {
                    self.log_error(Level::Error, &"access forbidden by rule", ctx);
                }
                Verdict::Denied(Status::FORBIDDEN)
            }
        }
    }

    /// The end of a request that was refused; `auth_delay` holds a 401 back.
    fn refuse(&mut self, status: Status, access: &Access, link: &mut Link, ctx: &mut Context) {
        if status != Status::UNAUTHORIZED || access.delay.is_zero() {
            return self.fail_status(status, link, ctx);
        }
        self.log_error(Level::Info, &"delaying unauthorized request", ctx);
        link.set_deadline(access.delay, Reason::AuthDelay, ctx);
        self.stage = Stage::Access;
    }

    /// The time that the exchange waits on purpose is over.
    pub(crate) fn handle_auth_delay_over(&mut self, link: &mut Link, ctx: &mut Context) {
        if self.stage == Stage::Access {
            self.stage = Stage::Phases;
            self.fail_status(Status::UNAUTHORIZED, link, ctx);
        }
    }

    /// Nothing moves until the deadline; but the client may go away.
    pub(crate) fn wait_in_access(&mut self, link: &mut Link, ctx: &mut Context) {
        self.notice_client_gone(link, ctx);
    }
}
