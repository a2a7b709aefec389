//! What a group is told about its servers' replies, where it goes by that: `least_time`, `outlier_ejection`,
//! `sticky learn`.

use crate::command::Level;
use crate::exchange::Exchange;
use crate::exchange::context::Context;
use crate::http::Status;
use crate::upstream::Outcome;
use crate::upstream::outlier::Ejection;

impl Exchange {
    /// The final head has come.
    pub(super) fn note_head(&mut self, status: Status, ctx: &mut Context) {
        let Some(seat) = &self.proxy.seat else { return };
        if !seat.group.borrow().watches_replies {
            return;
        }
        let us = self.facts.tries.last().and_then(|attempt| attempt.header_us).unwrap_or(0);
        let ejection = seat.group.borrow().note_head(seat.server, status, us, ctx.now.instant);
        let by_header = seat.group.borrow().measures_headers();
        if by_header {
            self.end_inflight();
        }
        self.log_ejection(ejection, ctx);
    }

    /// The server did not answer, or not well.
    pub(super) fn note_failure(&mut self, ctx: &mut Context) {
        let Some(seat) = &self.proxy.seat else { return };
        let ejection = seat.group.borrow().note_failure(seat.server, ctx.now.instant);
        self.log_ejection(ejection, ctx);
    }

    /// The attempt is over, whatever came of it.
    pub(super) fn note_end(&mut self, outcome: Outcome, ctx: &mut Context) {
        self.end_inflight();
        let Some(seat) = &self.proxy.seat else { return };
        if outcome != Outcome::Success {
            return;
        }
        if seat.group.borrow().watches_replies
            && let Some(us) = self.facts.tries.last().and_then(|attempt| attempt.response_us)
        {
            seat.group.borrow().note_end(seat.server, us);
        }
        self.learn_session(false, ctx);
    }

    fn end_inflight(&mut self) {
        if core::mem::take(&mut self.proxy.inflight)
            && let (Some(seat), Some(attempt)) = (&self.proxy.seat, self.facts.tries.last())
        {
            seat.group.borrow().end_inflight(seat.server, attempt.started);
        }
    }

    fn log_ejection(&self, ejection: Option<Ejection>, ctx: &mut Context) {
        if let Some(ejection) = ejection {
            let doing = self.proxy.phase.words();
            self.log_error(Level::Warn, &format_args!("{ejection} while {doing}"), ctx);
        }
    }
}
