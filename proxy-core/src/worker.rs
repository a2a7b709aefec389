//! All that one thread owns, and the switchboard in front of it.
//!
//! A completion finds its connection by key, the connection is taken out of the table and driven, and is put back. The
//! decisions are made elsewhere: in [`conn`](crate::conn) and [`exchange`](crate::exchange).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::access::forwarded::text_of;
use crate::cache::{keeper, writer};
use crate::command::{
    Address, CloseHow, Command, Completion, ConnId, FileId, ListenerId, Peer, Report, ResolveId,
};
use crate::config::Config;
use crate::conn::{ClientConn, Link, name_server};
use crate::dns::Secret;
pub use crate::exchange::Pools;
use crate::exchange::context::{Conn, Context, FileRole, Generation};
use crate::exchange::proxy::attempt::{close_idle, retire};
use crate::exchange::{ConnFacts, Exchange, sub};
use crate::h2::trunk;
use crate::shared::Shared;
use crate::time::{Instant, Now};
use crate::timer::Reason;
use crate::tls::{Session, ocsp};
use crate::trace::Step;
use crate::upstream::{health, names, watch};

/// The whole proxy as one thread sees it: inputs are the `handle_` functions, outputs the `poll_` ones. After every
/// input, poll each output until it has no more.
pub struct Worker {
    ctx: Context,
}

impl Worker {
    /// A worker of a process. `seed` feeds `$request_id` and every other random choice; `pools` is what the driver
    /// reads into.
    #[must_use]
    pub fn new(config: Arc<Config>, shared: Arc<Shared>, pools: Pools, seed: u64, now: Now) -> Self {
        let mut secret = Secret::new(seed, 0);
        let generation = Rc::new(Generation::new(config, None, &shared, &mut secret, now.instant));
        let mut ctx = Context::new(generation, shared, pools, secret, now);
        watch::start(&mut ctx);
        keeper::start(&mut ctx);
        health::start(&mut ctx);
        ocsp::start(&mut ctx);
        Self { ctx }
    }

    /// A client connected to `listener`. The connection may be closed by the next command already.
    pub fn handle_accept(&mut self, listener: ListenerId, peer: Peer, now: Now) -> ConnId {
        self.turn(now);
        let ctx = &mut self.ctx;
        let id = ConnId(ctx.conns.insert(Conn::Driven));
        ctx.tally.accepted += 1;
        let full = ctx.conns.len() - ctx.streams > ctx.generation.config.process.worker_connections as usize;
        if full && !ctx.shed_idle_client() {
            ctx.conns.remove(id.0);
            ctx.log_worker_connections();
            ctx.commands.push_back(Command::Close { conn: id, how: CloseHow::Graceful });
            return id;
        }
        ctx.tally.handled += 1;
        ctx.tally.active += 1;
        ctx.tally.waiting += 1;
        ctx.clients += 1;
        let facts = ConnFacts {
            client_text: client_text(&peer.client),
            peer,
            number: ctx.shared.next_connection(),
            listener,
            accepted: now.instant,
            tls_port: ctx.generation.config.listeners.get(listener.0 as usize).is_some_and(|at| at.tls),
            proxy: None,
            replaced: None,
            tls: None,
        };
        let mut link = Link::new(id);
        let listener = ctx.generation.config.listeners.get(listener.0 as usize);
        let proxied = listener.is_some_and(|listener| listener.proxy_protocol);
        if facts.tls_port && !proxied {
            link = link.with_tls(Session::accepting());
        }
        let mut client = Box::new(ClientConn::new(link, Rc::new(facts), now.instant));
        if proxied {
            client.expect_proxy_header();
        }
        client.wait_first(ctx);
        self.put_back(id, client);
        id
    }

    /// A command was carried out.
    pub fn handle_completion(&mut self, completion: Completion, now: Now) {
        self.turn(now);
        match completion {
            Completion::Connect { conn, .. } => match self.ctx.conns.get(conn.0) {
                Some(Conn::NameServer(_)) => self.complete_name_server(conn, completion),
                Some(Conn::Trunk(_)) => trunk::handle_completion(conn, completion, &mut self.ctx),
                Some(Conn::Probe(_)) => health::handle_completion(conn, completion, &mut self.ctx),
                Some(Conn::Fetch(_)) => ocsp::handle_completion(conn, completion, &mut self.ctx),
                _ => self.complete_upstream(conn, completion),
            },
            Completion::Recv { conn, .. } | Completion::Send { conn, .. } => {
                match self.ctx.conns.get(conn.0) {
                    Some(Conn::Client(_)) => self.complete_client(conn, completion),
                    Some(Conn::Working { .. }) => self.complete_upstream(conn, completion),
                    Some(Conn::Idle(_)) => self.complete_idle(conn, completion),
                    Some(Conn::NameServer(_)) => self.complete_name_server(conn, completion),
                    Some(Conn::Trunk(_)) => trunk::handle_completion(conn, completion, &mut self.ctx),
                    Some(Conn::Probe(_)) => health::handle_completion(conn, completion, &mut self.ctx),
                    Some(Conn::Fetch(_)) => ocsp::handle_completion(conn, completion, &mut self.ctx),
                    Some(Conn::Sub { .. } | Conn::Driven | Conn::Stream { .. } | Conn::Alarm(_)) | None => {}
                }
            }
            Completion::OpenFile { file, .. }
            | Completion::ReadFile { file, .. }
            | Completion::WriteFile { file, .. }
            | Completion::RenameFile { file, .. }
            | Completion::FreeSpace { file, .. }
            | Completion::ListDirectory { file, .. } => self.complete_file(file, completion),
            Completion::Verify { id, matches } => {
                let Some(client) = self.ctx.verifying.remove(id.0) else { return };
                self.with_exchange(client, &mut |exchange, _, _| {
                    exchange.handle_verified(id, matches);
                    true
                });
            }
            Completion::Resolve { id, result } => {
                let now = self.ctx.now.instant;
                let outcome = || watch::of_system(result.clone(), now);
                if !watch::handle_resolved(id, outcome, &mut self.ctx) {
                    self.resolved(id, &names::Answer::of_system(result, now));
                }
            }
        }
        self.wake();
    }

    /// Drives the clients that may go on because of what others did. Bounded by the servers that were given back and by
    /// what came on streams: each of these is asked for.
    fn wake(&mut self) {
        loop {
            if let Some(id) = self.ctx.wakes.pop_front() {
                self.with_exchange(id, &mut |exchange, link, _| {
                    exchange.leave_queue(link);
                    true
                });
            } else if let Some(key) = self.ctx.stirred.pop_front() {
                self.stir(key);
            } else {
                return;
            }
        }
    }

    /// Moves the HTTP/2 connections on which something happened. They wait until the driver asks for commands, so that
    /// all that its turn has brought for the many streams of a connection leaves with one `Send`.
    #[inline(never)]
    fn settle(&mut self) {
        loop {
            if let Some(id) = self.ctx.dirty_clients.pop_front() {
                self.with_client(id, |client, ctx| client.settle_h2(ctx));
            } else if let Some(id) = self.ctx.dirty_trunks.pop_front() {
                trunk::settle(id, &mut self.ctx);
            } else {
                return;
            }
            self.wake();
        }
    }

    /// Something happened to an exchange's stream to an upstream.
    fn stir(&mut self, key: ConnId) {
        if let Some(Conn::Working { client }) = self.ctx.conns.get(key.0) {
            self.with_exchange(*client, &mut |exchange, link, ctx| exchange.handle_stirred(key, link, ctx));
        }
    }

    /// A name is known. Bounded by the clients there are: each waits for one name at the most.
    fn resolved(&mut self, id: ResolveId, answer: &names::Answer) {
        if ocsp::handle_resolved(id, answer, &mut self.ctx) {
            return;
        }
        for client in self.ctx.names.answered(id) {
            self.with_exchange(client, &mut |exchange, link, ctx| {
                exchange.handle_resolved(id, answer, link, ctx);
                true
            });
        }
    }

    fn complete_name_server(&mut self, id: ConnId, completion: Completion) {
        name_server::handle_completion(id, completion, &mut self.ctx);
        self.deliver_resolved();
    }

    /// Tells whoever waits for the lookups that have ended.
    fn deliver_resolved(&mut self) {
        while let Some((id, result)) = self.ctx.resolved.pop_front() {
            let outcome = || result.clone().map_err(Into::into);
            if !watch::handle_resolved(id, outcome, &mut self.ctx) {
                self.resolved(id, &names::Answer::of_resolver(&result));
            }
        }
    }

    fn complete_client(&mut self, id: ConnId, completion: Completion) {
        self.with_client(id, |client, ctx| {
            match completion {
                Completion::Recv { result, .. } => client.link.handle_recv(result, ctx),
                Completion::Send { chain, result, .. } => client.link.handle_sent(chain, result),
                Completion::Connect { .. }
                | Completion::OpenFile { .. }
                | Completion::ReadFile { .. }
                | Completion::WriteFile { .. }
                | Completion::Verify { .. }
                | Completion::ListDirectory { .. }
                | Completion::RenameFile { .. }
                | Completion::FreeSpace { .. }
                | Completion::Resolve { .. } => {}
            }
            client.drive_soon(ctx);
        });
    }

    fn complete_upstream(&mut self, id: ConnId, completion: Completion) {
        let Some(Conn::Working { client }) = self.ctx.conns.get(id.0) else { return };
        let mut completion = Some(completion);
        self.with_exchange(*client, &mut |exchange, link, ctx| {
            completion.take().is_none_or(|completion| exchange.handle_upstream(id, completion, link, ctx))
        });
    }

    fn complete_file(&mut self, file: FileId, completion: Completion) {
        let Some(owner) = self.ctx.files.get(file.0).copied() else { return };
        match owner.role {
            FileRole::CacheWriter => return writer::handle(file, completion, &mut self.ctx),
            FileRole::CacheKeeper => return keeper::handle(file, completion, &mut self.ctx),
            FileRole::RequestBody
            | FileRole::Reply
            | FileRole::Content
            | FileRole::Users
            | FileRole::Cache => {}
        }
        let mut completion = Some(completion);
        self.with_exchange(owner.client, &mut |exchange, _, _| {
            if let Some(completion) = completion.take() {
                exchange.handle_file(owner.role, file, completion);
            }
            true
        });
    }

    /// Lets `act` move the exchange that belongs to this link (a client's, a stream's or a subrequest's), and drives the
    /// client if it did: driving one to which nothing happened would move its deadlines.
    fn with_exchange(&mut self, owner: ConnId, act: &mut sub::Act<'_>) {
        let root = self.ctx.root_of(owner);
        let mut act = |exchange: &mut Exchange, link: &mut Link, ctx: &mut Context| {
            if root == owner { act(exchange, link, ctx) } else { exchange.with_sub(owner, act, ctx) }
        };
        if let Some(Conn::Stream { client, id: stream }) = self.ctx.conns.get(root.0) {
            let stream = *stream;
            return self.with_client(*client, |client, ctx| client.drive_stream(stream, root, &mut act, ctx));
        }
        self.with_client(root, |client, ctx| {
            let moved = match &mut client.exchange {
                Some(exchange) => act(exchange, &mut client.link, ctx),
                None => true,
            };
            if moved {
                client.drive(ctx);
            }
        });
    }

    /// Takes the client out of the table, lets `act` drive it, and puts it back unless it has ended.
    fn with_client(&mut self, id: ConnId, act: impl FnOnce(&mut ClientConn, &mut Context)) {
        let Some(slot) = self.ctx.conns.get_mut(id.0) else { return };
        if !matches!(slot, Conn::Client(_)) {
            return;
        }
        if let Conn::Client(mut client) = core::mem::replace(slot, Conn::Driven) {
            act(&mut client, &mut self.ctx);
            self.put_back(id, client);
        }
    }

    fn put_back(&mut self, id: ConnId, client: Box<ClientConn>) {
        if client.is_closed() {
            self.ctx.conns.remove(id.0);
            self.ctx.tally.active -= 1;
            self.ctx.clients -= 1;
            self.ctx.report_drained();
        } else if let Some(slot) = self.ctx.conns.get_mut(id.0) {
            *slot = Conn::Client(client);
        }
    }

    /// A connection was to wait for its next request: whatever comes means that it is of no use any more, unless it was
    /// only TLS that had something to say.
    fn complete_idle(&mut self, id: ConnId, completion: Completion) {
        if let Completion::Recv { result, .. } = completion
            && let Some(slot) = self.ctx.conns.get_mut(id.0)
            && matches!(slot, Conn::Idle(conn) if conn.identity.is_some())
            && let Conn::Idle(mut conn) = core::mem::replace(slot, Conn::Driven)
        {
            let stays = conn.overhear(result, &mut self.ctx);
            if let Some(slot) = self.ctx.conns.get_mut(id.0) {
                *slot = Conn::Idle(conn);
            }
            if stays {
                return;
            }
        }
        self.drop_idle(id);
    }

    fn drop_idle(&mut self, id: ConnId) {
        if let Some(Conn::Idle(conn)) = self.ctx.conns.get(id.0)
            && let Some(seat) = &conn.seat
        {
            seat.group.borrow_mut().pool.remove(seat.server, id);
        }
        close_idle(id, &mut self.ctx);
    }

    /// The deadline that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.turn(now);
        // What came in time moves its deadlines first.
        self.settle();
        // Bounded by the entries that are due; one that is armed again lies in the future.
        while let Some(id) = self.ctx.timers.expire(now.instant) {
            match self.ctx.conns.get_mut(id.0) {
                Some(Conn::Client(_)) => self.with_client(id, |client, ctx| {
                    let fired = client.link.deadline.fired(&mut ctx.timers, id, now.instant);
                    if let Some(reason) = fired {
                        client.handle_timeout(reason, ctx);
                    }
                }),
                Some(Conn::Stream { client, id: stream }) => {
                    let (client, stream) = (*client, *stream);
                    self.with_client(client, |client, ctx| client.handle_stream_timeout(stream, id, ctx));
                }
                Some(Conn::Working { client }) => {
                    let client = *client;
                    self.expire_upstream(id, client, now.instant);
                }
                Some(Conn::Sub { .. }) => {
                    self.with_exchange(id, &mut |exchange, link, ctx| exchange.handle_sub_timeout(link, ctx))
                }
                Some(Conn::Idle(conn)) => {
                    let fired = conn.link.deadline.fired(&mut self.ctx.timers, id, now.instant);
                    if fired == Some(Reason::UpstreamIdle) {
                        self.drop_idle(id);
                    }
                }
                Some(Conn::Trunk(_)) => trunk::handle_timeout(id, &mut self.ctx),
                Some(Conn::Probe(_)) => health::handle_timeout(id, &mut self.ctx),
                Some(Conn::Fetch(_)) => ocsp::handle_timeout(id, &mut self.ctx),
                Some(Conn::Alarm(_)) => {
                    name_server::handle_alarm(id, &mut self.ctx);
                    self.deliver_resolved();
                }
                Some(Conn::Driven | Conn::NameServer(_)) | None => {}
            }
        }
        self.wake();
    }

    fn expire_upstream(&mut self, id: ConnId, client: ConnId, now: Instant) {
        self.with_exchange(client, &mut |exchange, link, ctx| {
            let conn = exchange.proxy.conn.as_mut().filter(|conn| conn.link.id == id);
            let reason = conn.and_then(|conn| conn.link.deadline.fired(&mut ctx.timers, id, now));
            if let Some(reason) = reason {
                exchange.handle_upstream_timeout(reason, link, ctx);
            }
            reason.is_some()
        });
    }

    /// A new configuration: exchanges in flight keep theirs. Listener ids mean the new configuration's from here on;
    /// connections of listeners that are gone end with the exchange that they are in.
    pub fn handle_reload(&mut self, config: Arc<Config>, now: Now) {
        self.turn(now);
        let old = Rc::clone(&self.ctx.generation);
        let ctx = &mut self.ctx;
        let new = Generation::new(config, Some(&old), &ctx.shared, &mut ctx.secret, now.instant);
        ctx.generation = Rc::new(new);
        watch::start(ctx);
        keeper::start(ctx);
        health::start(ctx);
        ocsp::start(ctx);
        let new = Rc::clone(&self.ctx.generation);
        for group in &old.groups {
            let kept = new.groups.iter().any(|other| Rc::ptr_eq(other, group));
            if !kept {
                retire(group, &mut self.ctx);
            }
        }
        for key in self.ctx.conns.keys() {
            self.with_client(ConnId(key), |client, ctx| {
                let address = client.listener.and_then(|id| old.config.listeners.get(id.0 as usize));
                client.listener = address.and_then(|old| {
                    let place = new.config.listeners.iter().position(|new| new.address == old.address)?;
                    u32::try_from(place).ok().map(ListenerId)
                });
                if client.listener.is_none() {
                    client.leave(ctx);
                }
            });
        }
    }

    /// Finish what is in flight, then report [`Report::Drained`]. Nothing more is accepted.
    pub fn handle_shutdown(&mut self, now: Now) {
        self.turn(now);
        self.ctx.draining = true;
        watch::stop(&mut self.ctx);
        keeper::stop(&mut self.ctx);
        health::stop(&mut self.ctx);
        ocsp::stop(&mut self.ctx);
        for group in self.ctx.generation.groups.clone() {
            let mut idle = group.borrow_mut().pool.drain();
            idle.append(&mut group.borrow_mut().trunks.drain());
            idle.into_iter().for_each(|id| close_idle(id, &mut self.ctx));
        }
        for key in self.ctx.conns.keys() {
            if matches!(self.ctx.conns.get(key), Some(Conn::Idle(_) | Conn::Trunk(_))) {
                close_idle(ConnId(key), &mut self.ctx);
            }
            self.with_client(ConnId(key), |client, ctx| {
                client.leave(ctx);
            });
        }
        self.ctx.report_drained();
    }

    /// The next command.
    pub fn poll_command(&mut self) -> Option<Command> {
        if !self.ctx.dirty_clients.is_empty() || !self.ctx.dirty_trunks.is_empty() {
            self.settle();
        }
        self.ctx.commands.pop_front()
    }

    /// The next report.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.ctx.next_report()
    }

    /// The next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ctx.timers.next_deadline()
    }

    /// From now on decisions are noted, for [`take_trace`](Self::take_trace). A worker that serves does not do this.
    pub fn start_trace(&mut self) {
        self.ctx.trace = Some(Box::default());
    }

    /// What was decided since the last call.
    #[must_use]
    pub fn take_trace(&mut self) -> Vec<Step> {
        self.ctx.trace.as_ref().map(|trace| trace.take()).unwrap_or_default()
    }

    /// Takes a written report's memory back.
    pub fn recycle(&mut self, lines: Vec<u8>) {
        self.ctx.logs.recycle(lines);
    }

    /// A new turn of the driver begins when its clock has moved: the counters of the last one are published.
    fn turn(&mut self, now: Now) {
        if now != self.ctx.now {
            self.ctx.now = now;
            self.ctx.publish_tally();
        }
    }
}

/// `$remote_addr`
fn client_text(address: &Address) -> Box<[u8]> {
    match address {
        Address::Ip(address) => text_of(address.ip()),
        Address::Unix(_) => b"unix:".as_slice().into(),
    }
}

impl core::fmt::Debug for Worker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Worker")
            .field("connections", &self.ctx.conns.len())
            .field("commands", &VecDeque::len(&self.ctx.commands))
            .finish_non_exhaustive()
    }
}
