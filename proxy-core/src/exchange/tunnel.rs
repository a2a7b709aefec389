//! What an upgrade becomes: bytes both ways until both ends are done.
//!
//! Each direction is moved as it comes, with the backpressure of a single read: no more is read from one side while
//! the other has not taken what was read before. The end of one direction half-closes the other side and lets the rest
//! flow; silence in both for `proxy_read_timeout` ends the tunnel.

use alloc::rc::Rc;

use super::context::Context;
use super::{Ending, Exchange, Stage};
use crate::command::Room;
use crate::conn::Link;
use crate::http::framing::ResponseMeta;
use crate::http::{ResponseHead, Status};
use crate::timer::Reason;
use crate::upstream::Outcome;

/// A tunnel's state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tunnel {
    /// All bytes that had moved when the deadline was last set.
    moved: u64,
}

impl Exchange {
    /// Passes the 101 on and turns both connections into pipes; bytes that came early go along.
    pub(crate) fn start_tunnel(
        &mut self,
        head: ResponseHead,
        meta: ResponseMeta,
        link: &mut Link,
        ctx: &mut Context,
    ) {
        let generation = Rc::clone(&self.generation);
        self.facts.reply.status = head.status.unwrap_or_default();
        self.keep_alive = false;
        let framing = super::reply_body::ReplyFraming::None;
        self.write_proxied_head(head, &meta, framing, &generation, ctx);
        self.reply.begin(framing);
        self.send_head(link, ctx);
        if link.is_stream() {
            // RFC 8441, section 5: this is what a 101 is there.
            self.facts.reply.status = Status::OK;
        }
        link.pace = None;
        self.tunnel = Tunnel { moved: u64::MAX };
        self.stage = Stage::Tunnel;
    }

    /// Moves bytes both ways.
    pub(crate) fn run_tunnel(&mut self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(timeout) = self.proxy_settings(&generation).map(|proxy| proxy.read_timeout) else { return };
        let Some(conn) = self.proxy.conn.as_mut() else { return };
        let up = relay(link, &mut conn.link, ctx);
        let down = relay(&mut conn.link, link, ctx);
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.bytes_received += if conn.link.leg().is_some() { down } else { 0 };
            attempt.response_length += down;
        }
        self.facts.request_length += up;
        let over = link.is_over() && conn.link.is_over();
        let broken = link.is_dead() || conn.link.is_dead();
        if over || broken {
            return self.end_tunnel(ctx);
        }
        let moved =
            link.sent_bytes() + conn.link.sent_bytes() + link.received_bytes() + conn.link.received_bytes();
        if moved != self.tunnel.moved {
            self.tunnel.moved = moved;
            link.deadline.clear();
            conn.link.set_deadline(timeout, Reason::UpstreamRead, ctx);
        }
    }

    /// Ends both connections.
    pub(crate) fn end_tunnel(&mut self, ctx: &mut Context) {
        self.facts.reply.complete = true;
        self.end_attempt(Outcome::Success, false, ctx);
        self.stage = Stage::Done(Ending::Close);
    }
}

/// Moves what `from` has to `to`, and the end of it. Returns how many bytes.
fn relay(from: &mut Link, to: &mut Link, ctx: &mut Context) -> u64 {
    let mut moved = 0;
    if !to.is_shut() && to.unsent_bytes() < TUNNEL_BYTES_MAX && from.has_input() {
        let chunk = core::mem::take(from.inbox());
        moved = chunk.len() as u64;
        to.queue(chunk);
    }
    to.flush(ctx);
    if to.unsent_bytes() < TUNNEL_BYTES_MAX {
        from.want_recv(Room::Large, ctx);
    }
    if from.ended().is_some() && !to.is_shut() {
        to.shutdown_when_sent(ctx);
    }
    moved
}

/// How much of one direction waits to be sent, in bytes, before no more is read.
const TUNNEL_BYTES_MAX: usize = 64 * 1024;

impl Link {
    /// Whether both directions have ended in order.
    fn is_over(&self) -> bool {
        self.ended().is_some() && self.is_shut() && self.unsent_bytes() == 0
    }

    /// Whether it cannot be used any more.
    fn is_dead(&self) -> bool {
        self.broken().is_some() || matches!(self.ended_early(), Some(crate::conn::link::Ended::Failed(_)))
    }
}
