//! One connection to an upstream that speaks HTTP/2: the streams of many exchanges over one link.
//!
//! ```text
//! link.inbox ─► Reader ─► input ─► Leg: heads, data, end ─► stirred ─► its exchange asks: take_head, pull
//! link.queue ◄─ Output ◄────────────────────────────────────────────── its exchange's link flushes: heads, data, end
//!
//! Connecting ─► Open ─► Leaving (GOAWAY) ─►  closed
//!      └──────────┴──────────────────────────────► Dead: until the last exchange has seen it
//! ```
//! An exchange owns its link, a trunk owns the wire. Whatever an exchange wants goes through the [`door`]; what happens
//! on the wire *stirs* the exchanges that it concerns, and the worker drives those. What a turn leaves to be sent goes
//! out when the turn ends ([`settle`]), so that many exchanges share one `Send`.
//!
//! What an upstream may make us keep is bounded: [`STREAMS_MAX`] streams of [`leg::STREAM_WINDOW`] bytes each, heads of
//! `proxy_buffer_size`, and its floods as a client's ([`flood`](super::flood)).
//!
//! Reference: RFC 9113; ngx_http_grpc_module, ngx_http_proxy_v2_module for what is logged.

pub(crate) mod door;
mod input;
mod leg;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ErrorCode;
use super::conn::{Block, OUT_BYTES_MAX, UNSENT_BYTES_MAX};
use super::decode::Decoder;
use super::flood::Counts;
use super::frame::{self, PREFACE, WINDOW_DEFAULT, WINDOW_MAX};
use super::output::{Half, Heads, Output};
use super::reader::Reader;
use super::response::ResponseBuilder;
use crate::command::{CloseHow, Completion, ConnId, Room};
use crate::conn::Link;
use crate::conn::link::Ended;
use crate::error::UpstreamError;
use crate::exchange::context::{Conn, Context};
use crate::exchange::proxy::Seat;
use crate::time::Instant;
use crate::timer::Reason;
use crate::tls::client::Identity;
use leg::{Leg, Legs, STREAM_WINDOW};

/// How many streams are opened on one connection at the most, whatever the upstream would take.
const STREAMS_MAX: u32 = 128;

/// How many are opened before the upstream has said what it takes: the least that RFC 9113 recommends.
const STREAMS_UNTOLD: u32 = 100;

/// What the upstream may send on all streams together, in bytes: never less than what their own windows allow, so that
/// a slow client holds up its own stream only.
const CONNECTION_WINDOW: i64 = STREAMS_MAX as i64 * STREAM_WINDOW as i64;

/// How many streams that we have reset are remembered: what the upstream had sent before it knew is no error.
const RESETS_REMEMBERED: usize = 128;

/// How many exchanges that wait for room on the connection are stirred at once.
const STIRRED_AT_ONCE: usize = 4;

/// One connection to an upstream.
pub(crate) struct Trunk {
    link: Link,
    /// The group and the server that it belongs to; none for a connection of one exchange's own.
    seat: Option<Seat>,
    /// Under what it was made, where that was with TLS.
    identity: Option<Arc<Identity>>,
    reader: Reader,
    decoder: Decoder,
    builder: ResponseBuilder,
    block: Option<Block>,
    output: Output,
    legs: Legs,
    /// The links of exchanges that have no stream yet.
    attached: Vec<ConnId>,
    /// The links that wait for room on the connection, or for a stream of their own.
    waiting: VecDeque<ConnId>,
    counts: Counts,
    /// What we let the upstream send on all streams together, in bytes.
    recv_window: i64,
    /// The number of the next stream.
    next_id: u32,
    resets: VecDeque<u32>,
    has_settings: bool,
    opened: Instant,
    /// Exchanges so far.
    requests: u64,
    /// Whether a reply has come to its end.
    has_served: bool,
    phase: Phase,
    /// It takes no more exchanges.
    is_closing: bool,
    /// Its group knows that it has room.
    is_listed: bool,
    /// Its group knows that it carries nothing.
    is_idle: bool,
    /// It is to be settled when the turn ends.
    is_dirty: bool,
}

/// How far a trunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    /// GOAWAY came with this error: no new streams.
    Leaving(u32),
    Dead(UpstreamError),
}

impl Trunk {
    fn new(link: Link, seat: Option<Seat>, identity: Option<Arc<Identity>>, now: Instant) -> Box<Self> {
        Box::new(Self {
            link,
            seat,
            identity,
            reader: Reader::of_server(),
            decoder: Decoder::default(),
            builder: ResponseBuilder::default(),
            block: None,
            output: Output::new(),
            legs: Legs::default(),
            attached: Vec::new(),
            waiting: VecDeque::new(),
            counts: Counts::new(now),
            recv_window: CONNECTION_WINDOW,
            next_id: 1,
            resets: VecDeque::new(),
            has_settings: false,
            opened: now,
            requests: 0,
            has_served: false,
            phase: Phase::Connecting,
            is_closing: false,
            is_listed: false,
            is_idle: false,
            is_dirty: false,
        })
    }

    /// The connection stands: says so to the upstream and to everybody who waits for it.
    fn connected(&mut self, ctx: &mut Context) {
        self.phase = Phase::Open;
        self.output.frames.extend_from_slice(PREFACE);
        frame::write_client_settings(STREAM_WINDOW, &mut self.output.frames);
        let more = CONNECTION_WINDOW - i64::from(WINDOW_DEFAULT);
        frame::write_window_update(0, u32::try_from(more).unwrap_or(0), &mut self.output.frames);
        ctx.stirred.extend(self.attached.iter().copied());
        self.mark(ctx);
    }

    /// Has it settled when the turn ends.
    fn mark(&mut self, ctx: &mut Context) {
        if !core::mem::replace(&mut self.is_dirty, true) {
            ctx.dirty_trunks.push_back(self.link.id);
        }
    }

    /// How many streams may be open at once.
    fn streams_max(&self) -> usize {
        let told = if self.has_settings { self.output.peer.streams_max } else { STREAMS_UNTOLD };
        told.min(STREAMS_MAX) as usize
    }

    /// Whether one more exchange may be attached.
    fn has_room(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open)
            && !self.is_closing
            && self.legs.len() + self.attached.len() < self.streams_max()
            && self.next_id < WINDOW_MAX
    }

    /// Tells its group whether it has room, and whether it carries anything.
    fn tell_group(&mut self) {
        let Some(seat) = &self.seat else { return };
        let id = self.link.id;
        let (room, carries) = (self.has_room(), !self.is_empty());
        let alive = matches!(self.phase, Phase::Connecting | Phase::Open);
        if room != self.is_listed {
            self.is_listed = room;
            let trunks = &mut seat.group.borrow_mut().trunks;
            if room {
                trunks.list(seat.server, id, self.identity.clone())
            } else {
                trunks.unlist(seat.server, id)
            }
        }
        if self.is_idle && (carries || !alive) {
            self.is_idle = false;
            seat.group.borrow_mut().trunks.work(seat.server, id);
        }
    }

    const fn is_empty(&self) -> bool {
        self.legs.is_empty() && self.attached.is_empty()
    }

    /// Takes no more exchanges.
    fn leave(&mut self) {
        self.is_closing = true;
        self.tell_group();
    }

    /// The upstream broke a rule of the connection.
    fn violated(&mut self, code: ErrorCode, ctx: &mut Context) {
        frame::write_goaway(0, code, &mut self.output.frames);
        self.output.flush(&mut self.link, ctx);
        self.link.flush(ctx);
        self.die(UpstreamError::Violation(code), ctx);
    }

    /// The connection has ended: everybody on it sees why.
    fn die(&mut self, error: UpstreamError, ctx: &mut Context) {
        if matches!(self.phase, Phase::Dead(_)) {
            return;
        }
        self.phase = Phase::Dead(error);
        self.tell_group();
        self.link.close(CloseHow::Graceful, ctx);
        for leg in self.legs.iter_mut() {
            let cut = error == UpstreamError::ClosedBeforeHead && leg.has_final;
            leg.fail(if cut { UpstreamError::ClosedInBody } else { error });
            ctx.stirred.push_back(leg.key);
        }
        ctx.stirred.extend(self.attached.iter().copied());
        self.waiting.clear();
    }

    /// Reads frames, unless the upstream leaves too many answers untaken.
    fn read(&mut self, ctx: &mut Context) {
        while self.link.has_input() && self.backlog() < UNSENT_BYTES_MAX {
            let event = match self.reader.next(self.link.inbox()) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(code) => return self.violated(code, ctx),
            };
            if let Err(code) = self.handle(event, ctx) {
                return self.violated(code, ctx);
            }
        }
        match self.link.ended() {
            Some(Ended::Eof) => self.die(UpstreamError::ClosedBeforeHead, ctx),
            Some(Ended::Failed(error)) => self.die(UpstreamError::Recv(error), ctx),
            None => self.mark(ctx),
        }
    }

    fn backlog(&self) -> usize {
        self.link.unsent_bytes() + self.output.frames.len()
    }

    /// Sends what was collected, asks for more, and stirs who waits for room.
    fn settle(&mut self, ctx: &mut Context) {
        self.is_dirty = false;
        if !matches!(self.phase, Phase::Open | Phase::Leaving(_)) {
            return;
        }
        if CONNECTION_WINDOW - self.recv_window >= CONNECTION_WINDOW / 2
            && let Ok(credit) = u32::try_from(CONNECTION_WINDOW - self.recv_window)
        {
            self.recv_window = CONNECTION_WINDOW;
            frame::write_window_update(0, credit, &mut self.output.frames);
        }
        self.output.flush(&mut self.link, ctx);
        self.link.flush(ctx);
        if self.link.broken().is_some() {
            self.leave();
        }
        if self.backlog() < OUT_BYTES_MAX {
            let some = self.waiting.len().min(STIRRED_AT_ONCE);
            for key in self.waiting.drain(..some) {
                ctx.stirred.push_back(key);
            }
        }
        if self.link.has_input() {
            // It waited for the upstream to take answers.
            return self.read(ctx);
        }
        let room = if self.is_empty() { Room::Small } else { Room::Large };
        self.link.want_recv(room, ctx);
    }

    /// An exchange has left.
    fn after_release(&mut self, ctx: &mut Context) {
        if matches!(self.phase, Phase::Dead(_)) {
            return;
        }
        if let Some(next) = self.waiting.pop_front() {
            ctx.stirred.push_back(next);
        }
        self.mark(ctx);
        if !self.is_empty() {
            return self.tell_group();
        }
        let now = ctx.now.instant;
        let kept = self.phase == Phase::Open && !self.is_closing && !ctx.draining;
        let limits = self.seat.as_ref().filter(|_| kept).and_then(|seat| {
            let group = seat.group.borrow();
            group.may_keep(seat.server, self.requests, self.opened, now).then_some(group.limits)
        });
        let (Some(limits), Some(seat)) = (limits, self.seat.clone()) else { return self.end(ctx) };
        self.tell_group();
        self.is_idle = true;
        let id = self.link.id;
        let evicted = seat.group.borrow_mut().trunks.rest(seat.server, id);
        self.link.set_deadline(limits.timeout, Reason::UpstreamIdle, ctx);
        match evicted {
            Some(evicted) if evicted == id => {
                self.is_idle = false;
                self.end(ctx);
            }
            Some(evicted) => {
                with(evicted, ctx, |other, ctx| {
                    other.is_idle = false;
                    other.end(ctx);
                });
            }
            None => {}
        }
    }

    /// Ends a connection that carries nothing.
    fn end(&mut self, ctx: &mut Context) {
        debug_assert!(self.is_empty());
        self.output.flush(&mut self.link, ctx);
        self.link.flush(ctx);
        self.die(UpstreamError::ClosedBeforeHead, ctx);
    }

    fn remember_reset(&mut self, id: u32) {
        if self.resets.len() >= RESETS_REMEMBERED {
            self.resets.pop_front();
        }
        self.resets.push_back(id);
    }
}

/// Lets `act` move a trunk, and forgets the trunk if it is over. Nothing if there is no such trunk.
fn with<R>(id: ConnId, ctx: &mut Context, act: impl FnOnce(&mut Trunk, &mut Context) -> R) -> Option<R> {
    let slot = ctx.conns.get_mut(id.0)?;
    if !matches!(slot, Conn::Trunk(_)) {
        return None;
    }
    let Conn::Trunk(mut trunk) = core::mem::replace(slot, Conn::Driven) else { return None };
    let result = act(&mut trunk, ctx);
    if matches!(trunk.phase, Phase::Dead(_)) && trunk.is_empty() {
        ctx.conns.remove(id.0);
    } else if let Some(slot) = ctx.conns.get_mut(id.0) {
        *slot = Conn::Trunk(trunk);
    }
    Some(result)
}

/// Something happened to a trunk's socket.
pub(crate) fn handle_completion(id: ConnId, completion: Completion, ctx: &mut Context) {
    with(id, ctx, |trunk, ctx| {
        if matches!(trunk.phase, Phase::Dead(_)) {
            return;
        }
        match completion {
            Completion::Connect { result: Ok(_), .. } => trunk.connected(ctx),
            Completion::Connect { result: Err(error), .. } => trunk.die(UpstreamError::Connect(error), ctx),
            Completion::Recv { result, .. } => {
                trunk.link.handle_recv(result, ctx);
                trunk.read(ctx);
            }
            Completion::Send { chain, result, .. } => {
                trunk.link.handle_sent(chain, result);
                trunk.mark(ctx);
            }
            Completion::OpenFile { .. }
            | Completion::ReadFile { .. }
            | Completion::WriteFile { .. }
            | Completion::RenameFile { .. }
            | Completion::FreeSpace { .. }
            | Completion::Verify { .. }
            | Completion::ListDirectory { .. }
            | Completion::Resolve { .. } => {}
        }
    });
}

/// The turn ends: what was collected goes out.
pub(crate) fn settle(id: ConnId, ctx: &mut Context) {
    with(id, ctx, Trunk::settle);
}

/// A deadline of the trunk may have passed: it carried nothing for long enough.
pub(crate) fn handle_timeout(id: ConnId, ctx: &mut Context) {
    with(id, ctx, |trunk, ctx| {
        let fired = trunk.link.deadline.fired(&mut ctx.timers, id, ctx.now.instant);
        if fired == Some(Reason::UpstreamIdle) && trunk.is_empty() {
            trunk.leave();
            trunk.end(ctx);
        }
    });
}

/// Nobody may use it any more: it ends with the exchanges that are on it.
pub(crate) fn retire(id: ConnId, ctx: &mut Context) {
    with(id, ctx, |trunk, ctx| {
        // Its group has forgotten it already, or is about to be told.
        trunk.leave();
        if trunk.is_empty() {
            trunk.end(ctx);
        }
    });
}
