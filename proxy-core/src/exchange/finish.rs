//! The end of an exchange: when the last byte is out, what is logged, what becomes of the connection.

use alloc::rc::Rc;

use super::context::Context;
use super::reply_body::ReplyFraming;
use super::request_body::Mode;
use super::{Ending, Exchange, Stage};
use crate::command::Room;
use crate::conn::Link;
use crate::timer::Reason;
use crate::trace::Step;

impl Exchange {
    /// Ends the reply when all of it is sent, and watches the clock while it is not.
    pub(crate) fn finish_if_sent(&mut self, link: &mut Link, ctx: &mut Context) {
        if link.broken().is_some() {
            self.stage = Stage::Done(Ending::Abort);
            return;
        }
        if !self.reply.ended() || link.unsent_bytes() > 0 {
            self.watch_client(link, ctx);
            return;
        }
        link.deadline.clear_if(Reason::ClientSend);
        link.deadline.clear_if(Reason::RateLimit);
        let cut = self.reply.is_cut();
        let unbounded = self.reply.framing() == ReplyFraming::UntilClose;
        self.facts.reply.complete = !cut;
        if cut {
            self.stage = Stage::Done(Ending::Abort);
        } else if !self.keep_alive || unbounded || ctx.draining {
            self.stage = Stage::Done(Ending::Close);
        } else if self.body.is_complete() || link.is_stream() {
            // What a stream still brings is its connection's to drop.
            self.stage = Stage::Done(Ending::KeepAlive);
        } else {
            self.body.set_mode(Mode::Discard, ctx);
            self.set_linger(link, ctx);
            self.stage = Stage::Drain;
        }
    }

    fn watch_client(&self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(core) = self.core(&generation) else { return };
        if link.is_sending() {
            link.set_deadline(core.send_timeout, Reason::ClientSend, ctx);
        } else if let Some(at) = link.paused_until(ctx.now.instant) {
            link.set_deadline_at(at, Reason::RateLimit, ctx);
        }
        if self.body.is_complete() {
            link.want_recv(Room::Small, ctx);
        }
    }

    fn set_linger(&self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let timeout = self.core(&generation).map_or(LINGER_DEFAULT, |core| core.lingering.timeout);
        link.set_deadline(timeout, Reason::Linger, ctx);
    }

    /// The reply is out and the client still sends the body of its request.
    pub(crate) fn drain(&mut self, link: &mut Link, ctx: &mut Context) {
        if !self.pump_request_body(link, ctx) {
            return;
        }
        if self.body.is_complete() {
            link.deadline.clear_if(Reason::Linger);
            self.stage = Stage::Done(Ending::KeepAlive);
        } else if link.ended().is_some() || link.broken().is_some() {
            self.stage = Stage::Done(Ending::Abort);
        } else {
            self.set_linger(link, ctx);
        }
    }

    /// Whether a mere close would tell the client that it has the whole reply, which it has not: only a reset tells the
    /// truth about a body that ends with the connection.
    pub(crate) fn looks_whole_but_is_not(&self) -> bool {
        self.head_sent && self.reply.framing() == ReplyFraming::UntilClose && !self.facts.reply.complete
    }

    /// Settles all accounts: counters, access log, files, the upstream's connection.
    pub(crate) fn close(&mut self, link: &Link, ctx: &mut Context) {
        self.drop_subs(ctx);
        self.abandon_upstream(ctx);
        self.leave_cache(ctx);
        let sent = link.sent_bytes() - self.sent_before;
        self.facts.reply.bytes_sent = sent;
        let head_bytes = link.overhead_bytes().unwrap_or(self.head_bytes);
        self.facts.reply.body_bytes_sent = sent.saturating_sub(head_bytes);
        self.drop_filters(ctx);
        if !self.is_sub() {
            ctx.note(|| Step::Ended { status: self.facts.reply.status, location: self.facts.location });
        }
        self.warn_of_uninitialized("", ctx);
        self.write_access_logs(ctx);
        self.warn_of_uninitialized(" while logging request", ctx);
        self.admissions.clear();
        self.body_read = self.body.is_complete();
        ctx.recycle_fields(core::mem::take(&mut self.facts.head.fields));
        if let Some(head) = self.facts.upstream_head.take() {
            ctx.recycle_fields(head.fields);
        }
        self.body.close(ctx);
        self.reply.close(ctx);
        self.file.close(ctx);
        self.access.close(ctx);
    }

    fn write_access_logs(&mut self, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(location) = self.location(&generation) else { return };
        if self.is_sub() && !location.core.log_subrequest {
            return;
        }
        for log in &*location.access_logs {
            ctx.log_access(log, &self.facts, &generation);
        }
    }
}

/// Where there is no location to say how long to linger.
const LINGER_DEFAULT: crate::time::Millis = crate::time::Millis::from_secs(5);
