//! What an exchange has to say in the error log, and to which files it goes.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt::Display;

use super::Exchange;
use super::context::Context;
use crate::command::{Level, Report};
use crate::log::error_line;
use crate::trace::Step;

impl Exchange {
    /// Writes `message` with all that is known of this exchange to the error logs of its location that want `level`.
    pub(crate) fn log_error(&self, level: Level, message: &dyn Display, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        ctx.note(|| Step::Message { level, text: format!("{message}").into_bytes() });
        let Some(core) = self.core(&generation) else { return };
        for log in core.error_logs.iter().filter(|log| level <= log.level) {
            let text = format!("{message}");
            let mut line = Vec::with_capacity(256);
            error_line::write(&mut line, &text, &self.facts, &ctx.env(&generation));
            let log = ctx.present_error_log(log.log, &generation);
            ctx.reports.push_back(Report::Error { log, level, message: line });
        }
    }

    /// A request that goes round in circles: says so, and sees to it that no error page is another round.
    pub(crate) fn log_cycle(&mut self, doing: &str, ctx: &mut Context) {
        self.in_error_page = true;
        let uri = crate::content::files::shown(&self.facts.uri);
        let message = format!("rewrite or internal redirection cycle while {doing} \"{uri}\"");
        self.log_error(Level::Error, &message, ctx);
    }
}
