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

use super::auth_basic::PasswordRun;
use super::context::{Context, Generation};
use super::{Exchange, Stage};
use crate::command::{Completion, FileId, Level, VerifyId};
use crate::config::Access;
use crate::conn::Link;
use crate::http::Status;
use crate::time::Instant;
use crate::timer::Reason;
use crate::trace::{AccessCheck, AccessOutcome, Step};

/// How far the access phase is.
#[derive(Debug, Default)]
pub(crate) struct AccessRun {
    /// The check that is asked, or whose answer is waited for.
    check: Check,
    /// With `satisfy any`: what the request is refused with unless a later check allows it.
    refused: Option<Status>,
    /// Until when a 401 is held back.
    delayed_until: Option<Instant>,
    /// What `auth_basic` waits for.
    pub(super) password: PasswordRun,
}

/// The checks, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Check {
    /// `allow` and `deny`
    #[default]
    Address,
    /// `auth_basic`
    Password,
    /// `auth_request`
    Request,
    /// All have been asked.
    Done,
}

impl Check {
    const fn next(self) -> Self {
        match self {
            Self::Address => Self::Password,
            Self::Password => Self::Request,
            Self::Request | Self::Done => Self::Done,
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
    Pending,
}

impl Exchange {
    /// Runs the access phase of the location that the request is in.
    pub(crate) fn begin_access(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        let access = self.location(generation).and_then(|location| location.access.as_ref());
        let Some(access) = access.filter(|_| !self.is_sub()) else {
            return self.after_access(generation, link, ctx);
        };
        debug_assert!(self.access.password.is_idle());
        self.access = AccessRun::default();
        self.ask_checks(access, generation, link, ctx);
    }

    /// Asks one check after another.
    fn ask_checks(&mut self, access: &Access, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        while self.access.check != Check::Done {
            let verdict = match self.access.check {
                Check::Address => self.check_address(access, ctx),
                Check::Password => self.check_password(access, generation, link, ctx),
                Check::Request => self.check_request(access, link, ctx),
                Check::Done => Verdict::Declined,
            };
            self.note_verdict(verdict, ctx);
            if !self.weigh(verdict, access, generation, link, ctx) {
                return;
            }
        }
        self.finish_access(access, generation, link, ctx);
    }

    /// The check that said [`Verdict::Pending`] has its answer; it must not say so again.
    pub(crate) fn resume_access(&mut self, verdict: Verdict, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(access) = self.location(&generation).and_then(|location| location.access.as_ref()) else {
            return self.after_access(&generation, link, ctx);
        };
        self.stage = Stage::Phases;
        self.note_verdict(verdict, ctx);
        if self.weigh(verdict, access, &generation, link, ctx) {
            self.ask_checks(access, &generation, link, ctx);
        }
    }

    fn note_verdict(&self, verdict: Verdict, ctx: &Context) {
        let check = match self.access.check {
            Check::Address => AccessCheck::Address,
            Check::Password => AccessCheck::Password,
            Check::Request => AccessCheck::Request,
            Check::Done => return,
        };
        ctx.note(|| {
            let verdict = match verdict {
                Verdict::Declined => AccessOutcome::Declined,
                Verdict::Allowed => AccessOutcome::Allowed,
                Verdict::Denied(status) => AccessOutcome::Denied(status),
                Verdict::Pending => AccessOutcome::Pending,
            };
            let (client, location) = (self.facts.conn.peer.client.clone(), self.facts.location);
            Step::Access { check, client, verdict, location }
        });
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
                self.access.check = Check::Done;
                self.challenge.clear();
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
        self.access.delayed_until = Some(ctx.now.instant + access.delay);
        self.stage = Stage::Access;
    }

    /// Goes on with what a check waited for; while there is nothing, the client may go away.
    pub(crate) fn wait_in_access(&mut self, link: &mut Link, ctx: &mut Context) {
        if let Some(until) = self.access.delayed_until {
            if ctx.now.instant >= until {
                link.deadline.clear_if(Reason::AuthDelay);
                self.access.delayed_until = None;
                self.stage = Stage::Phases;
                return self.fail_status(Status::UNAUTHORIZED, link, ctx);
            }
            link.set_deadline_at(until, Reason::AuthDelay, ctx);
            self.notice_client_gone(link, ctx);
            return;
        }
        match self.pump_password(link, ctx) {
            Verdict::Pending => {
                self.notice_client_gone(link, ctx);
            }
            verdict @ (Verdict::Declined | Verdict::Allowed | Verdict::Denied(_)) => {
                self.resume_access(verdict, link, ctx)
            }
        }
    }

    /// A password was compared.
    pub(crate) fn handle_verified(&mut self, id: VerifyId, matches: Option<bool>) {
        self.access.password.handle_verified(id, matches);
    }
}

impl AccessRun {
    /// An operation on a file is complete.
    pub(crate) fn handle_file(&mut self, file: FileId, completion: Completion) {
        self.password.handle_file(file, completion);
    }

    /// Lets go of what is waited for.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        self.password.close(ctx);
    }
}
