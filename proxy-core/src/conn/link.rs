//! One end of a byte stream.
//!
//! The rules of [`command`](crate::command) live here: one `Recv` and one `Send` in flight, no `Recv` while there are
//! unread bytes (that is the backpressure), a half-close only when all is sent.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::port::Port;
use super::{Allowance, Pace};
use crate::buf::{Buf, Chain, Chunk};
use crate::command::{CloseHow, Command, ConnId, IoError, Room};
use crate::exchange::context::Context;
use crate::h2::trunk::door;
use crate::time::{Instant, Millis, Now};
use crate::timer::{Deadline, Reason};
use crate::tls::{self, Session};

/// One end of a byte stream.
#[derive(Debug)]
pub(crate) struct Link {
    /// The connection's key.
    pub(crate) id: ConnId,
    /// The deadline in force.
    pub(crate) deadline: Deadline,
    /// Bytes that were read and not yet understood.
    pub(super) inbox: Chunk,
    /// The beginning of a head whose end has not come yet; its end will be looked for in `inbox`.
    gathered: Vec<u8>,
    pub(super) ended: Option<Ended>,
    pub(super) receiving: bool,
    pub(super) out: Chain,
    pub(super) sending_bytes: usize,
    /// All bytes that the other end has taken.
    pub(super) sent_bytes: u64,
    /// All bytes that came.
    pub(super) received_bytes: u64,
    pub(super) broken: Option<IoError>,
    finish: Finish,
    /// What lies between the bytes here and those on the wire, where that is TLS.
    tls: Option<Box<Session>>,
    /// Where an HTTP/2 stream carries the bytes.
    pub(super) port: Option<Box<Port>>,
    /// How fast bytes may go; none for as fast as they are taken.
    pub(crate) pace: Option<Pace>,
    /// It leads nowhere: what is queued waits to be taken.
    detached: bool,
}

/// How the incoming direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In order.
    Eof,
    /// With an error.
    Failed(IoError),
}

/// What becomes of the outgoing direction when all is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    Open,
    ShutdownWhenSent,
    /// As before, and TLS has said so already.
    Farewell,
    Shut,
}

impl Link {
    pub(crate) fn new(id: ConnId) -> Self {
        Self {
            id,
            deadline: Deadline::default(),
            inbox: Chunk::empty(),
            gathered: Vec::new(),
            ended: None,
            receiving: false,
            out: Chain::new(),
            sending_bytes: 0,
            sent_bytes: 0,
            received_bytes: 0,
            broken: None,
            finish: Finish::Open,
            tls: None,
            port: None,
            pace: None,
            detached: false,
        }
    }

    /// A link that leads nowhere: a subrequest writes its reply there, and its parent takes it.
    pub(crate) fn detached(id: ConnId) -> Self {
        // Nothing will ever come, and nothing is to be asked for.
        Self { detached: true, receiving: true, ..Self::new(id) }
    }

    /// Takes what was queued on a link that leads nowhere.
    pub(crate) fn take_output(&mut self) -> Chain {
        debug_assert!(self.detached);
        self.sent_bytes += self.out.len() as u64;
        core::mem::take(&mut self.out)
    }

    /// Ends a link that leads nowhere.
    pub(crate) fn retire(&mut self, ctx: &mut Context) {
        debug_assert!(self.detached);
        self.deadline.disarm(&mut ctx.timers);
        self.out.clear();
    }

    /// Puts TLS between the bytes here and those on the wire.
    pub(crate) fn with_tls(self, session: Session) -> Self {
        Self { tls: Some(Box::new(session)), ..self }
    }

    /// From here on there is TLS between the bytes here and those on the wire; ours come first.
    pub(crate) fn connect_tls(&mut self, session: Session, ctx: &mut Context) {
        debug_assert!(self.out.is_empty() && self.inbox.is_empty());
        self.tls = Some(Box::new(session));
        self.flush(ctx);
    }

    /// From here on there is TLS between the bytes here and those on the wire, these first ones included.
    pub(crate) fn start_tls(&mut self, session: Session, first: &Chunk, ctx: &mut Context) {
        self.tls = Some(Box::new(session));
        for part in first.chunks(ctx.pools.small.block_bytes().max(1)) {
            let mut buf = ctx.pools.small.take();
            let fits = buf.try_extend(part);
            debug_assert!(fits, "a part is as large as a block at the most");
            self.handle_records(buf, ctx);
        }
    }

    /// Whether there is TLS between the bytes here and those on the wire.
    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The TLS session.
    pub(crate) fn tls(&mut self) -> Option<&mut Session> {
        self.tls.as_deref_mut()
    }

    /// It was no TLS after all: the bytes so far are what they are.
    pub(crate) fn drop_tls(&mut self) {
        if let Some(mut session) = self.tls.take() {
            self.inbox = session.take_plain();
        }
    }

    /// Handles the TLS records at hand.
    pub(crate) fn advance_tls(&mut self, ctx: &mut Context) {
        let Some(session) = self.tls.as_deref_mut() else { return };
        let mut text = Vec::new();
        session.advance(&mut text);
        self.read_tls(Chunk::from_vec(text), ctx);
    }

    /// The unread bytes; whoever understands some advances it.
    pub(crate) const fn inbox(&mut self) -> &mut Chunk {
        &mut self.inbox
    }

    /// Whether there are unread bytes.
    pub(crate) fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether the beginning of a head waits for its end.
    pub(crate) fn has_partial_head(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// The unread bytes from the beginning of the head on, in one piece; none until a line end has come since the last
    /// look, because no head can be complete before.
    pub(crate) fn take_head_input(&mut self) -> Option<Chunk> {
        if self.gathered.is_empty() {
            return (!self.inbox.is_empty()).then(|| core::mem::take(&mut self.inbox));
        }
        let news = core::mem::take(&mut self.inbox);
        if news.is_empty() {
            return None;
        }
        self.gathered.extend_from_slice(&news);
        let whole = core::mem::take(&mut self.gathered);
        if memchr::memchr(b'\n', &news).is_none() && whole.len() < GATHER_BLIND_MAX {
            self.gathered = whole;
            return None;
        }
        Some(Chunk::from_vec(whole))
    }

    /// Puts the beginning of a head aside until more comes.
    pub(crate) fn gather(&mut self, partial: &Chunk) {
        debug_assert!(self.gathered.is_empty());
        self.gathered.extend_from_slice(partial);
    }

    /// The beginning of a head whose end will not come.
    pub(crate) fn take_gathered(&mut self) -> Chunk {
        Chunk::from_vec(core::mem::take(&mut self.gathered))
    }

    /// Puts bytes back that were taken and not understood.
    pub(crate) fn put_back(&mut self, rest: Chunk) {
        debug_assert!(self.inbox.is_empty());
        self.inbox = rest;
    }

    /// How the incoming direction ended, once all that came before is read.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.filter(|_| self.inbox.is_empty())
    }

    /// How the incoming direction ended, whatever is still unread.
    pub(crate) const fn ended_early(&self) -> Option<Ended> {
        self.ended
    }

    /// Why nothing can be sent any more.
    pub(crate) const fn broken(&self) -> Option<IoError> {
        self.broken
    }

    /// Asks for more bytes, unless some are unread, asked for, or impossible.
    pub(crate) fn want_recv(&mut self, room: Room, ctx: &mut Context) {
        if !self.receiving && self.ended.is_none() && self.inbox.is_empty() {
            self.receiving = true;
            match &self.port {
                None => ctx.commands.push_back(Command::Recv { conn: self.id, room }),
                Some(_) => door::pull(self, ctx),
            }
        }
    }

    /// A `Recv` is complete.
    pub(crate) fn handle_recv(&mut self, result: Result<Buf, IoError>, ctx: &mut Context) {
        debug_assert!(self.receiving && self.inbox.is_empty());
        self.receiving = false;
        match result {
            Ok(buf) if buf.is_empty() => self.ended = Some(Ended::Eof),
            Ok(buf) if self.tls.is_some() => self.handle_records(buf, ctx),
            Ok(buf) => {
                self.received_bytes += buf.len() as u64;
                self.inbox = buf.freeze();
            }
            Err(error) => self.ended = Some(Ended::Failed(error)),
        }
    }

    /// Bytes of TLS came.
    fn handle_records(&mut self, buf: Buf, ctx: &mut Context) {
        let Some(session) = self.tls.as_deref_mut() else { return };
        let text = session.receive(buf);
        self.read_tls(text, ctx);
    }

    /// Takes what the TLS session made of the bytes that came, and sends what it has to say.
    fn read_tls(&mut self, text: Chunk, ctx: &mut Context) {
        let Some(session) = self.tls.as_deref_mut() else { return };
        match session.stage() {
            tls::Stage::Closed => self.ended = Some(Ended::Eof),
            tls::Stage::Failed(_) => self.ended = Some(Ended::Failed(IoError::PROTOCOL)),
            tls::Stage::Hello | tls::Stage::Handshake | tls::Stage::Early | tls::Stage::Open => {}
        }
        self.received_bytes += text.len() as u64;
        debug_assert!(self.inbox.is_empty() || text.is_empty());
        if !text.is_empty() {
            self.inbox = text;
        }
        // The last words of our handshake go with the first request.
        if !session.has_first_word() {
            self.flush(ctx);
        }
    }

    /// Links bytes behind what is to be sent.
    pub(crate) fn queue(&mut self, chunk: Chunk) {
        debug_assert!(self.finish == Finish::Open);
        if self.broken.is_none() {
            self.out.push_compact(chunk);
        }
    }

    /// Sends what is queued, if nothing is in flight; then half-closes if that was asked for.
    pub(crate) fn flush(&mut self, ctx: &mut Context) {
        self.flush_at_most(usize::MAX, ctx);
    }

    /// As [`flush`](Self::flush), but at most `bytes_max` bytes of it.
    pub(crate) fn flush_at_most(&mut self, bytes_max: usize, ctx: &mut Context) {
        if self.sending_bytes > 0 && self.port.is_none() {
            return;
        }
        if self.detached {
            return;
        }
        let bytes_max = if self.pace.is_some() { self.paced(bytes_max, ctx.now) } else { bytes_max };
        if let Some(port) = &mut self.port {
            port.allowance_bytes = bytes_max;
            return door::flush(self, ctx);
        }
        let mut chain = self.out.split_to(bytes_max.min(self.send_bytes_max()));
        if let Some(session) = self.tls.as_deref_mut() {
            if !chain.is_empty() {
                session.seal(&chain);
            }
            if self.out.is_empty() && self.finish == Finish::ShutdownWhenSent && session.may_seal() {
                self.finish = Finish::Farewell;
                session.seal_end();
            }
            chain = core::mem::take(session.outgoing());
        }
        if !chain.is_empty() {
            self.sending_bytes = chain.len();
            ctx.commands.push_back(Command::Send { conn: self.id, chain });
        } else if self.finish == Finish::Farewell
            || self.finish == Finish::ShutdownWhenSent && self.out.is_empty()
        {
            self.finish = Finish::Shut;
            if self.broken.is_none() {
                ctx.commands.push_back(Command::Shutdown { conn: self.id });
            }
        }
    }

    /// How much of what is queued one `Send` may carry now, in bytes.
    fn send_bytes_max(&self) -> usize {
        match &self.tls {
            None => SEND_BYTES_MAX,
            Some(session) if session.may_seal() && session.sealed_bytes() == 0 => {
                tls::session::SEAL_BYTES_MAX
            }
            Some(_) => 0,
        }
    }

    /// How much of `bytes_max` may go at this pace.
    fn paced(&mut self, bytes_max: usize, now: Now) -> usize {
        match &mut self.pace {
            Some(pace) if !self.out.is_empty() => match pace.ask(self.sent_bytes, now) {
                Allowance::Bytes(bytes) => bytes_max.min(usize::try_from(bytes).unwrap_or(usize::MAX)),
                Allowance::Until(_) => 0,
            },
            Some(_) | None => bytes_max,
        }
    }

    /// When it may go on sending, if its pace holds it back.
    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.pace.as_ref().filter(|_| !self.out.is_empty() && !self.is_sending())?.resume(now)
    }

    /// A `Send` is complete. Returns whether it failed.
    pub(crate) fn handle_sent(&mut self, mut chain: Chain, result: Result<usize, IoError>) {
        debug_assert!(self.sending_bytes == chain.len());
        self.sending_bytes = 0;
        match result {
            Ok(taken) => {
                chain.advance(taken);
                if let Some(session) = self.tls.as_deref_mut() {
                    if chain.is_empty() {
                        self.sent_bytes += session.take_sealed() as u64;
                    }
                    return session.outgoing().prepend(chain);
                }
                self.sent_bytes += taken as u64;
                if !chain.is_empty() {
                    self.out.prepend(chain);
                    self.out.defragment();
                }
            }
            Err(error) => {
                self.broken = Some(error);
                self.out.clear();
                if let Some(session) = self.tls.as_deref_mut() {
                    session.outgoing().clear();
                    session.take_sealed();
                }
            }
        }
    }

    /// Half-closes when all is sent.
    pub(crate) fn shutdown_when_sent(&mut self, ctx: &mut Context) {
        if self.finish == Finish::Open {
            self.finish = Finish::ShutdownWhenSent;
            self.end_stream(&mut Chunk::empty());
        }
        self.flush(ctx);
    }

    /// Whether the outgoing direction is closed or will be.
    pub(crate) fn is_shut(&self) -> bool {
        self.finish != Finish::Open
    }

    /// Bytes that wait to be sent, those in flight included.
    pub(crate) const fn unsent_bytes(&self) -> usize {
        match &self.tls {
            None => self.out.len() + self.sending_bytes,
            Some(session) => self.out.len() + session.sealed_bytes(),
        }
    }

    /// Whether a `Send` is in flight.
    pub(crate) const fn is_sending(&self) -> bool {
        self.sending_bytes > 0 || (self.port.is_some() && !self.out.is_empty())
    }

    /// Whether a `Recv` is in flight.
    pub(crate) const fn is_receiving(&self) -> bool {
        self.receiving
    }

    /// All bytes that the other end has taken.
    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// All bytes that came.
    pub(crate) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Sets or moves the deadline to `span` from now.
    pub(crate) fn set_deadline(&mut self, span: Millis, reason: Reason, ctx: &mut Context) {
        let at = ctx.now.instant + span;
        self.set_deadline_at(at, reason, ctx);
    }

    /// Sets or moves the deadline.
    pub(crate) fn set_deadline_at(&mut self, at: Instant, reason: Reason, ctx: &mut Context) {
        self.deadline.set(&mut ctx.timers, self.id, at, reason);
    }

    /// Ends the connection. Nothing may be asked of it afterwards.
    pub(crate) fn close(&mut self, how: CloseHow, ctx: &mut Context) {
        self.deadline.disarm(&mut ctx.timers);
        self.out.clear();
        self.inbox = Chunk::empty();
        if let Some(mut session) = self.tls.take()
            && how == CloseHow::Graceful
            && self.broken.is_none()
            && self.finish == Finish::Open
            && self.sending_bytes == 0
        {
            if session.may_seal() {
                session.seal_end();
            }
            let farewell = core::mem::take(session.outgoing());
            if !farewell.is_empty() {
                ctx.commands.push_back(Command::Send { conn: self.id, chain: farewell });
            }
        }
        match &self.port {
            None => ctx.commands.push_back(Command::Close { conn: self.id, how }),
            Some(_) => door::release(self, ctx),
        }
    }
}

/// How much one `Send` carries at the most, in bytes: a slow reader's progress shows at this grain.
pub(crate) const SEND_BYTES_MAX: usize = 256 * 1024;

/// How much of a head is gathered without a line end before it is looked at anyway, for its limits, in bytes.
const GATHER_BLIND_MAX: usize = 1024;
