//! A client's connection once it speaks HTTP/2: over TLS because ALPN said so, on a plain port because it began with the
//! preface and the listener takes it. What it says is [`Http2`]'s to understand; this is the door to it.

use alloc::rc::Rc;

use super::ClientConn;
use super::client::State;
use crate::buf::Chunk;
use crate::command::{CloseHow, ConnId};
use crate::exchange::context::{Context, Generation};
use crate::exchange::sub::Act;
use crate::h2::conn::{Fate, Http2, Http2Settings};
use crate::h2::frame::PREFACE;
use crate::timer::Reason;

/// HTTP/2's name in ALPN.
const PROTOCOL: &[u8] = b"h2";

impl ClientConn {
    /// Whether this is HTTP/2's preface or its beginning, and this listener takes it.
    #[cold]
    pub(super) fn speaks_h2(&self, bytes: &[u8], generation: &Generation) -> bool {
        let wanted = match &self.facts.tls {
            Some(tls) => *tls.protocol == *PROTOCOL,
            None => {
                let listener = self.listener.and_then(|id| generation.config.listeners.get(id.0 as usize));
                listener.is_some_and(|listener| listener.http2)
                    || self.default_server(generation).is_some_and(|server| server.http2)
            }
        };
        let common = bytes.len().min(PREFACE.len());
        wanted && bytes.get(..common) == PREFACE.get(..common)
    }

    /// The client speaks HTTP/2; these are its first bytes.
    pub(super) fn begin_h2(&mut self, bytes: Chunk, generation: &Rc<Generation>, ctx: &mut Context) -> bool {
        let named = self.facts.tls.as_ref().and_then(|tls| generation.config.server(tls.server));
        let Some(server) = named.or_else(|| self.default_server(generation)) else { return false };
        let settings = Http2Settings::of(server);
        let level = (Rc::clone(generation), server.root);
        ctx.tally.reading -= 1;
        ctx.tally.waiting += 1;
        self.state = State::Http2;
        self.h2 = Some(Http2::new(Rc::clone(&self.facts), self.listener, settings, level, ctx));
        self.link.put_back(bytes);
        true
    }

    pub(super) fn drive_h2(&mut self, ctx: &mut Context) {
        if self.facts.tls.as_ref().is_some_and(|tls| tls.early) {
            self.notice_end_of_early_data();
            self.state = State::Http2;
        }
        let Some(h2) = &mut self.h2 else { return };
        h2.set_listener(self.listener, &self.facts);
        let fate = h2.drive(&mut self.link, ctx);
        self.follow(fate, ctx);
    }

    pub(super) fn handle_h2_timeout(&mut self, reason: Reason, ctx: &mut Context) {
        let Some(h2) = &mut self.h2 else { return };
        let fate = h2.handle_timeout(reason, &mut self.link, ctx);
        self.follow(fate, ctx);
    }

    /// Does with the connection what its HTTP/2 half has come to.
    fn follow(&mut self, fate: Fate, ctx: &mut Context) {
        match fate {
            Fate::Open => {}
            Fate::Gone => self.close(CloseHow::Graceful, ctx),
            Fate::Ended => {
                self.last = self.h2.take().map(|h2| h2.last);
                ctx.tally.waiting -= 1;
                self.close_orderly(true, ctx);
            }
        }
    }

    /// Something came for the connection. Over HTTP/2 more may be about to come: it is driven when the turn ends.
    pub(crate) fn drive_soon(&mut self, ctx: &mut Context) {
        match &mut self.h2 {
            Some(h2) => h2.mark_dirty(self.link.id, ctx),
            None => self.drive(ctx),
        }
    }

    /// Drives the connection if something happened on it.
    pub(crate) fn settle_h2(&mut self, ctx: &mut Context) {
        if self.h2.as_mut().is_some_and(|h2| h2.take_dirty()) {
            self.drive(ctx);
        }
    }

    /// Tells a stream's exchange something.
    pub(crate) fn drive_stream(&mut self, id: u32, key: ConnId, act: &mut Act<'_>, ctx: &mut Context) {
        if let Some(h2) = &mut self.h2
            && let Some(stream) = h2.streams.find(id, key)
            && act(&mut stream.exchange, &mut stream.link, ctx)
        {
            h2.mark_ready(id);
            h2.mark_dirty(self.link.id, ctx);
        }
    }

    /// A deadline of a stream may have passed.
    pub(crate) fn handle_stream_timeout(&mut self, id: u32, key: ConnId, ctx: &mut Context) {
        if let Some(h2) = &mut self.h2 {
            h2.handle_stream_timeout(id, key, ctx);
            h2.mark_dirty(self.link.id, ctx);
        }
    }

    /// No more requests are wanted: ends it if nothing is under way, or as soon as it was idle for long enough. One that
    /// was only just accepted is served its first request, which may be on its way; `client_header_timeout` bounds that.
    pub(crate) fn leave(&mut self, ctx: &mut Context) {
        if let Some(h2) = &mut self.h2 {
            h2.leave();
            self.drive(ctx);
        } else if !self.has_served() {
            // Its reply says that the connection closes.
        } else if self.is_idle(ctx.now.instant) {
            self.close(CloseHow::Graceful, ctx);
        } else if let Some(until) = self.protected_until.filter(|_| self.waits()) {
            let due = self.link.deadline.get().map_or(until, |(at, _)| at.min(until));
            self.link.set_deadline_at(due, Reason::Keepalive, ctx);
        }
    }
}
