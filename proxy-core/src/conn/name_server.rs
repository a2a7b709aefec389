//! Connections to name servers: the [`Resolver`]'s wires as sockets of this worker, and its deadline as a timer of it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use crate::buf::{Chain, Chunk};
use crate::cache::keeper;
use crate::command::{
    Address, CloseHow, Command, Completion, ConnId, ConnectOptions, IoError, Level, Report, ResolveId, Room,
};
use crate::config;
use crate::dns::{Action, Failure, Resolved, Resolver, Secret, Subject, WireId};
use crate::exchange::context::{Conn, Context};
use crate::time::Millis;
use crate::timer::{Deadline, Reason};
use crate::tls::ocsp;
use crate::upstream::{health, watch};

/// A resolver of this worker, shared by all that ask it.
pub(crate) type SharedResolver = Rc<ResolverSeat>;

/// A resolver and what it has of the worker.
pub(crate) struct ResolverSeat {
    /// Tells the resolvers of a worker apart, those of older configurations too. Never 0.
    pub(crate) serial: u32,
    machine: RefCell<Resolver>,
    wires: RefCell<BTreeMap<WireId, ConnId>>,
    /// The key that its timer goes by, while it waits for something.
    alarm: Cell<Option<ConnId>>,
}

/// A socket that is connected to a name server.
pub(crate) struct NameServerConn {
    resolver: SharedResolver,
    wire: WireId,
    datagram: bool,
}

/// A timer without a connection.
pub(crate) struct Alarm {
    pub(crate) ring: Ring,
    pub(crate) deadline: Deadline,
}

/// Whom an [`Alarm`] wakes.
#[derive(Clone)]
pub(crate) enum Ring {
    /// A resolver, for its questions.
    Resolver(SharedResolver),
    /// The names of upstream groups.
    Watches,
    /// What is done for caches in the background.
    Caches,
    /// Active checks.
    Checks,
    /// The responders of certificates.
    Staples,
}

impl ResolverSeat {
    pub(crate) fn new(serial: u32, settings: Arc<config::Resolver>, secret: Secret) -> SharedResolver {
        debug_assert!(serial > 0);
        Rc::new(Self {
            serial,
            machine: RefCell::new(Resolver::new(settings, secret)),
            wires: RefCell::default(),
            alarm: Cell::default(),
        })
    }

    /// Whether this is the resolver that `settings` describe.
    pub(crate) fn is(&self, settings: &config::Resolver) -> bool {
        **self.machine.borrow().settings() == *settings
    }

    /// Looks something up. The result, where it is known at once; otherwise it will be among
    /// [`Context::resolved`].
    pub(crate) fn lookup(
        self: &Rc<Self>,
        id: ResolveId,
        subject: Subject,
        timeout: Millis,
        ctx: &mut Context,
    ) -> Option<Result<Resolved, Failure>> {
        let result = self.machine.borrow_mut().lookup(id, subject, timeout, ctx.now.instant);
        self.obey(ctx);
        result
    }

    /// Nobody is answered any more.
    fn stop(self: &Rc<Self>, ctx: &mut Context) {
        self.machine.borrow_mut().stop();
        self.obey(ctx);
    }

    /// Does what the machine wants, and sets its timer.
    fn obey(self: &Rc<Self>, ctx: &mut Context) {
        loop {
            let Some(action) = self.machine.borrow_mut().poll_action() else { break };
            match action {
                Action::Open { wire, address, datagram } => {
                    self.open(wire, Address::Ip(address), datagram, ctx);
                }
                Action::Send { wire, bytes } => {
                    let Some(conn) = self.wires.borrow().get(&wire).copied() else { continue };
                    let chain = Chain::from(Chunk::from_vec(bytes));
                    ctx.commands.push_back(Command::Send { conn, chain });
                    ctx.commands.push_back(Command::Recv { conn, room: Room::Small });
                }
                Action::Close { wire } => {
                    let Some(conn) = self.wires.borrow_mut().remove(&wire) else { continue };
                    ctx.conns.remove(conn.0);
                    ctx.commands.push_back(Command::Close { conn, how: CloseHow::Graceful });
                }
                Action::Answer { id, result } => ctx.resolved.push_back((id, result)),
                Action::Log { message } => {
                    let message = message.into_bytes();
                    ctx.reports.push_back(Report::Error { log: 0, level: Level::Error, message });
                }
            }
        }
        self.set_alarm(ctx);
    }

    fn open(self: &Rc<Self>, wire: WireId, address: Address, datagram: bool, ctx: &mut Context) {
        let conn = NameServerConn { resolver: Rc::clone(self), wire, datagram };
        let conn = ConnId(ctx.conns.insert(Conn::NameServer(Box::new(conn))));
        self.wires.borrow_mut().insert(wire, conn);
        let options = ConnectOptions { datagram, ..ConnectOptions::default() };
        ctx.commands.push_back(Command::Connect { conn, address, options });
    }

    fn set_alarm(self: &Rc<Self>, ctx: &mut Context) {
        let at = self.machine.borrow().poll_timeout();
        let id = match (at, self.alarm.get()) {
            (None, None) => return,
            (None, Some(id)) => {
                self.alarm.set(None);
                if let Some(Conn::Alarm(mut alarm)) = ctx.conns.remove(id.0) {
                    alarm.deadline.disarm(&mut ctx.timers);
                }
                return;
            }
            (Some(_), Some(id)) => id,
            (Some(_), None) => {
                let ring = Ring::Resolver(Rc::clone(self));
                let alarm = Alarm { ring, deadline: Deadline::default() };
                let id = ConnId(ctx.conns.insert(Conn::Alarm(Box::new(alarm))));
                self.alarm.set(Some(id));
                id
            }
        };
        if let (Some(at), Some(Conn::Alarm(alarm))) = (at, ctx.conns.get_mut(id.0)) {
            alarm.deadline.set(&mut ctx.timers, id, at, Reason::NameServer);
        }
    }
}

impl Conn {
    /// A name server's connection.
    pub(crate) const fn name_server(&self) -> Option<&NameServerConn> {
        match self {
            Self::NameServer(conn) => Some(conn),
            Self::Client(_)
            | Self::Driven
            | Self::Stream { .. }
            | Self::Working { .. }
            | Self::Trunk(_)
            | Self::Sub { .. }
            | Self::Idle(_)
            | Self::Probe(_)
            | Self::Fetch(_)
            | Self::Alarm(_) => None,
        }
    }
}

/// Ends all connections to name servers: nobody waits for an answer any more.
pub(crate) fn stop_all(ctx: &mut Context) {
    let busy = ctx.conns.iter().filter_map(|(_, conn)| match conn {
        Conn::Alarm(alarm) => match &alarm.ring {
            Ring::Resolver(resolver) => Some(Rc::clone(resolver)),
            Ring::Watches | Ring::Caches | Ring::Checks | Ring::Staples => None,
        },
        Conn::Client(_)
        | Conn::Driven
        | Conn::Stream { .. }
        | Conn::Working { .. }
        | Conn::Trunk(_)
        | Conn::Sub { .. }
        | Conn::Idle(_)
        | Conn::Probe(_)
        | Conn::Fetch(_)
        | Conn::NameServer(_) => None,
    });
    let busy: Vec<_> = busy.collect();
    busy.into_iter().for_each(|resolver| resolver.stop(ctx));
}

/// Something happened to a name server's connection.
pub(crate) fn handle_completion(id: ConnId, completion: Completion, ctx: &mut Context) {
    let Some(conn) = ctx.conns.get(id.0).and_then(Conn::name_server) else { return };
    let (resolver, wire, datagram) = (Rc::clone(&conn.resolver), conn.wire, conn.datagram);
    let now = ctx.now.instant;
    let fail = |doing: &str, error: Option<IoError>| {
        resolver.machine.borrow_mut().handle_failed(wire, doing, error, now);
    };
    match completion {
        Completion::Connect { result: Ok(_), .. } => resolver.machine.borrow_mut().handle_opened(wire),
        Completion::Connect { result: Err(error), .. } => fail("connect()", Some(error)),
        Completion::Send { result: Err(error), .. } => fail("send()", Some(error)),
        Completion::Send { mut chain, result: Ok(sent), .. } => {
            chain.advance(sent);
            if !chain.is_empty() && !datagram {
                ctx.commands.push_back(Command::Send { conn: id, chain });
            }
        }
        Completion::Recv { result: Err(error), .. } => fail("recv()", Some(error)),
        // An empty datagram is no end.
        Completion::Recv { result: Ok(buf), .. } if buf.is_empty() && !datagram => fail("recv()", None),
        Completion::Recv { result: Ok(buf), .. } => {
            resolver.machine.borrow_mut().handle_received(wire, buf.as_slice(), now);
            resolver.obey(ctx);
            return receive_again(id, ctx);
        }
        Completion::OpenFile { .. }
        | Completion::ReadFile { .. }
        | Completion::WriteFile { .. }
        | Completion::Verify { .. }
        | Completion::ListDirectory { .. }
        | Completion::RenameFile { .. }
        | Completion::FreeSpace { .. }
        | Completion::Resolve { .. } => return,
    }
    resolver.obey(ctx);
}

/// A `Recv` has ended and the wire still waits.
fn receive_again(id: ConnId, ctx: &mut Context) {
    if ctx.conns.get(id.0).and_then(Conn::name_server).is_some() {
        ctx.commands.push_back(Command::Recv { conn: id, room: Room::Small });
    }
}

/// A timer has rung.
pub(crate) fn handle_alarm(id: ConnId, ctx: &mut Context) {
    let Some(Conn::Alarm(alarm)) = ctx.conns.get_mut(id.0) else { return };
    let ring = alarm.ring.clone();
    if alarm.deadline.fired(&mut ctx.timers, id, ctx.now.instant).is_none() {
        return;
    }
    match ring {
        Ring::Resolver(resolver) => {
            resolver.machine.borrow_mut().handle_timeout(ctx.now.instant);
            resolver.obey(ctx);
        }
        Ring::Watches => watch::handle_alarm(ctx),
        Ring::Caches => keeper::handle_alarm(ctx),
        Ring::Checks => health::handle_alarm(ctx),
        Ring::Staples => ocsp::handle_alarm(ctx),
    }
}
