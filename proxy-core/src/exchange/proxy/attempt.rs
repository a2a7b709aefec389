//! One attempt: a server, a connection to it, and how both are given back.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::RefCell;
use core::net::{IpAddr, SocketAddr};

use super::{Phase, Seat};
use crate::access::proxy_header;
use crate::buf::Chunk;
use crate::command::{Address, CloseHow, Command, ConnId, ConnectOptions};
use crate::config::{BindAddress, Proxy, ProxyHttpVersion};
use crate::conn::{Link, UpstreamConn};
use crate::error::UpstreamError;
use crate::exchange::context::{Conn, Context};
use crate::exchange::{Exchange, Stage, Try};
use crate::h2::trunk;
use crate::shared::upstream::tally::Ended;
use crate::timer::Reason;
use crate::tls::client::Identity;
use crate::trace::Step;
use crate::upstream::{Group, Outcome};

impl Exchange {
    /// Asks the next server; ends with 502 if there is none.
    pub(crate) fn next_attempt(&mut self, link: &mut Link, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return };
        let Some(group) = self.find_group(proxy, &generation, link, ctx) else { return };
        let now = ctx.now.instant;
        if self.proxy.began.is_none() {
            self.proxy.began = Some(now);
            self.proxy.tries_max = group.borrow_mut().tries_max(&proxy.next_upstream, now);
            self.prepare_choice(&group, ctx);
        }
        let chosen = group.borrow_mut().choose(&mut self.proxy.pick, &mut ctx.random, now);
        let stale = group.borrow_mut().take_stale();
        stale.into_iter().for_each(|id| close_idle(id, ctx));
        ctx.note(|| {
            let group = group.borrow();
            let address = chosen.and_then(|server| group.address(server).cloned());
            Step::Peer { group: group.name.as_bytes().to_vec(), address, location: self.facts.location }
        });
        let Some(server) = chosen else {
            if !self.wait_in_queue(&group, link, ctx) {
                self.no_server_left(&group, link, ctx);
            }
            return;
        };
        self.proxy.tries += 1;
        let address = group.borrow().address(server).cloned();
        self.open_try(address, ctx);
        self.note_choice(&group, server, ctx);
        // A pooled connection may have another local address than this location wants.
        let version = self.choose_version(proxy);
        let identity = self.tls_identity(proxy, &generation, ctx);
        // Over TLS a server may have led us to HTTP/1.1.
        let none_pooled = version == ProxyHttpVersion::Http2 && identity.is_none();
        let pooled = if proxy.bind.is_some() || proxy.proxy_protocol.is_some() || none_pooled {
            None
        } else {
            group.borrow_mut().pool.take(server, identity.as_ref())
        };
        self.proxy.inflight = group.borrow().begin_inflight(server, now);
        self.proxy.seat = Some(Seat { group, server });
        match pooled.and_then(|id| take_idle(id, link.id, ctx)) {
            Some(conn) => self.resume(conn),
            None if version == ProxyHttpVersion::Http2 => self.board(proxy, identity, link, ctx),
            None => self.connect(proxy, identity, link, ctx),
        }
        if self.proxy.phase != Phase::Connecting {
            self.begin_request(ctx);
        }
    }

    fn open_try(&mut self, address: Option<Address>, ctx: &Context) {
        self.facts.tries.push(Try {
            address,
            name: "".into(),
            status: None,
            started: ctx.now.instant,
            queued_us: self.queued_us(ctx.now.instant),
            connect_us: Some(0),
            header_us: None,
            response_us: None,
            bytes_sent: 0,
            bytes_received: 0,
            response_length: 0,
            last_of_group: false,
        });
    }

    pub(super) fn connect(
        &mut self,
        proxy: &Proxy,
        identity: Option<Arc<Identity>>,
        link: &Link,
        ctx: &mut Context,
    ) {
        let Some(attempt) = self.facts.tries.last_mut() else { return };
        attempt.connect_us = None;
        let Some(address) = attempt.address.clone() else { return };
        let id = ConnId(ctx.conns.insert(Conn::Working { client: link.id }));
        let mut conn = Box::new(UpstreamConn::new(id, ctx.now.instant));
        conn.identity = identity;
        conn.exclusive = proxy.proxy_protocol.is_some();
        let options = self.connect_options(proxy, ctx);
        ctx.commands.push_back(Command::Connect { conn: id, address, options });
        conn.link.set_deadline(proxy.connect_timeout, Reason::UpstreamConnect, ctx);
        self.proxy.phase = Phase::Connecting;
        self.proxy.conn = Some(conn);
    }

    /// The socket's options, `proxy_bind`'s address computed.
    pub(super) fn connect_options(&self, proxy: &Proxy, ctx: &mut Context) -> ConnectOptions {
        let mut options = ConnectOptions {
            keepalive: proxy.socket_keepalive,
            send_buffer_bytes: proxy.send_buffer_bytes,
            recv_buffer_bytes: proxy.recv_buffer_bytes,
            ..ConnectOptions::default()
        };
        let Some(bind) = &proxy.bind else { return options };
        options.transparent = bind.transparent;
        options.bind = match &bind.address {
            BindAddress::Fixed(address) => Some(*address),
            BindAddress::Computed(template) => {
                let generation = Rc::clone(&self.generation);
                let text = self.evaluate(template, &generation, ctx);
                let address = bind_address(&text);
                if address.is_none() && !text.is_empty() {
                    let text = text.escape_ascii();
                    let message = format_args!("invalid local address \"{text}\"");
                    self.log_error(crate::command::Level::Error, &message, ctx);
                }
                address
            }
        };
        options
    }

    /// The connection stands; with TLS its handshake is only about to begin.
    pub(super) fn connected(&mut self, link: &mut Link, ctx: &mut Context) {
        self.queue_proxy_header(ctx);
        if self.begin_handshake(link, ctx) {
            return;
        }
        self.ready(ctx);
    }

    /// `proxy_protocol`: says who the client is, in front of everything else. In front of TLS it goes out at once.
    fn queue_proxy_header(&mut self, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return };
        let Some(version) = proxy.proxy_protocol else { return };
        let peer = &self.facts.conn.peer;
        let header = proxy_header::write(version, Some((&peer.client, &peer.local)));
        if let Some(conn) = self.proxy.conn.as_mut() {
            conn.link.queue(Chunk::from_vec(header));
            if proxy.tls.is_some() {
                conn.link.flush(ctx);
            }
        }
    }

    /// The request may be written.
    pub(super) fn ready(&mut self, ctx: &mut Context) {
        if let Some(conn) = self.proxy.conn.as_mut() {
            conn.link.deadline.clear();
        }
        let now = ctx.now.instant;
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.connect_us = Some(now.as_micros() - attempt.started.as_micros());
        }
        if self.version() == ProxyHttpVersion::Http2 && !self.is_on_stream() {
            self.follow_protocol(ctx);
        }
        self.begin_request(ctx);
    }

    /// Writes the request's head, and as much of its body as is at hand.
    fn begin_request(&mut self, ctx: &mut Context) {
        self.proxy.phase = Phase::Exchanging;
        self.proxy.request_sent = false;
        self.write_request_head(ctx);
        if let Some(conn) = self.proxy.conn.as_mut() {
            conn.link.flush(ctx);
            conn.want_recv(ctx);
        }
    }

    /// As nginx does it, this is a try of its own, at the group: `127.0.0.1:81, backend` in `$upstream_addr`.
    fn no_server_left(&mut self, group: &RefCell<Group>, link: &mut Link, ctx: &mut Context) {
        let error = UpstreamError::NoLiveServers;
        self.open_try(None, ctx);
        if let Some(attempt) = self.facts.tries.last_mut() {
            attempt.name.clone_from(&group.borrow().name);
            attempt.connect_us = None;
            attempt.response_us = Some(0);
            attempt.status = Some(error.status());
        }
        self.log_error(crate::command::Level::Error, &error, ctx);
        self.stage = Stage::Proxy;
        if self.proxy.cache.is_none() || !self.use_stale_for_error(error, ctx) {
            self.fail_status(error.status(), link, ctx);
        }
    }

    /// Gives server and connection back. `reusable` says that the connection may serve another request.
    pub(crate) fn end_attempt(&mut self, outcome: Outcome, reusable: bool, ctx: &mut Context) {
        self.log_remarks(ctx);
        let now = ctx.now.instant;
        if let Some(attempt) = self.facts.tries.last_mut()
            && self.proxy.conn.is_some()
        {
            attempt.response_us.get_or_insert(now.as_micros() - attempt.started.as_micros());
        }
        self.note_end(outcome, ctx);
        let seat = self.proxy.seat.take();
        if let Some(seat) = &seat {
            if seat.group.borrow().is_counted {
                self.count_try(seat, ctx);
            }
            let out = seat.group.borrow_mut().settle(seat.server, outcome, now);
            if out {
                let doing = self.proxy.phase.words();
                let text = format_args!("upstream server temporarily disabled while {doing}");
                self.log_error(crate::command::Level::Warn, &text, ctx);
            }
            ctx.wakes.extend(seat.group.borrow().first_waiting());
        }
        self.proxy.phase = Phase::Idle;
        self.proxy.request_ended = false;
        let Some(mut conn) = self.proxy.conn.take() else { return };
        match seat {
            Some(seat) if reusable && !conn.exclusive && !ctx.draining && conn.link.leg().is_none() => {
                keep(conn, &seat, ctx);
            }
            _ => {
                ctx.conns.remove(conn.link.id.0);
                ctx.streams -= usize::from(conn.link.leg().is_some());
                conn.link.close(CloseHow::Graceful, ctx);
            }
        }
    }

    /// Tells the control API's numbers about the try that has ended.
    fn count_try(&self, seat: &Seat, ctx: &Context) {
        let Some(attempt) = self.facts.tries.last() else { return };
        let age_us = ctx.now.instant.as_micros().saturating_sub(attempt.started.as_micros());
        let ended = Ended {
            // Without a head the status is our own.
            status: attempt.status.filter(|_| attempt.header_us.is_some()),
            sent: attempt.bytes_sent,
            received: attempt.bytes_received,
            selected_ms: ctx.now.unix_ms.saturating_sub(age_us / 1000),
        };
        seat.group.borrow().count(seat.server, ended);
    }

    /// Whether this attempt runs on a connection that had served before.
    pub(super) fn is_reused(&self) -> bool {
        self.proxy.conn.as_ref().is_some_and(|conn| conn.requests > 1)
    }

    /// Lets a server that was tried be tried again: its pooled connection was dead, it was not.
    pub(super) fn let_server_be_tried_again(&mut self) {
        if let Some(seat) = &self.proxy.seat {
            self.proxy.pick.tried.remove(seat.server);
        }
    }
}

/// An address with or without a port, as `proxy_bind` takes it.
pub(crate) fn bind_address(text: &[u8]) -> Option<SocketAddr> {
    let text = core::str::from_utf8(text).ok()?;
    let alone = text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    let bracketed =
        || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(|ip| SocketAddr::new(ip, 0));
    alone.or_else(|| text.parse().ok()).or_else(bracketed)
}

/// A connection from the pool for this client's use.
fn take_idle(id: ConnId, client: ConnId, ctx: &mut Context) -> Option<Box<UpstreamConn>> {
    let slot = ctx.conns.get_mut(id.0)?;
    if !matches!(slot, Conn::Idle(_)) {
        return None;
    }
    match core::mem::replace(slot, Conn::Working { client }) {
        Conn::Idle(mut conn) => {
            conn.link.deadline.clear();
            conn.requests += 1;
            Some(conn)
        }
        Conn::Client(_)
        | Conn::Driven
        | Conn::Stream { .. }
        | Conn::Working { .. }
        | Conn::Trunk(_)
        | Conn::Sub { .. }
        | Conn::NameServer(_)
        | Conn::Probe(_)
        | Conn::Fetch(_)
        | Conn::Alarm(_) => None,
    }
}

/// Puts a connection into its group's pool, or closes it where the group's limits say so.
fn keep(mut conn: Box<UpstreamConn>, seat: &Seat, ctx: &mut Context) {
    let now = ctx.now.instant;
    let id = conn.link.id;
    if !seat.group.borrow().may_keep(seat.server, conn.requests, conn.opened, now) {
        ctx.conns.remove(id.0);
        return conn.link.close(CloseHow::Graceful, ctx);
    }
    let timeout = seat.group.borrow().limits.timeout;
    conn.link.set_deadline(timeout, Reason::UpstreamIdle, ctx);
    conn.seat = Some(seat.clone());
    conn.reset();
    conn.want_recv(ctx);
    let identity = conn.identity.clone();
    if let Some(slot) = ctx.conns.get_mut(id.0) {
        *slot = Conn::Idle(conn);
    }
    if let Some(evicted) = seat.group.borrow_mut().pool.put(seat.server, id, identity) {
        close_idle(evicted, ctx);
    }
}

/// Lets a group go that no request asks any more.
pub(crate) fn retire(group: &RefCell<Group>, ctx: &mut Context) {
    let idle = group.borrow_mut().retire();
    idle.into_iter().for_each(|id| close_idle(id, ctx));
}

/// Closes a connection that waits in no pool any more.
pub(crate) fn close_idle(id: ConnId, ctx: &mut Context) {
    if matches!(ctx.conns.get(id.0), Some(Conn::Trunk(_))) {
        trunk::retire(id, ctx);
    } else if let Some(Conn::Idle(mut conn)) = ctx.conns.remove(id.0) {
        conn.link.close(CloseHow::Graceful, ctx);
    }
}
