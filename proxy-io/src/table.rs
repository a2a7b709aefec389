//! A worker's connections by the index of their key, and the operations on them.
//!
//! ```text
//!             Connect                      connected
//!   (vacant) ─────────> Connecting ──────────────────────> Open { reader, writer }, or Line of the ring
//!      │   accepted                                             │
//!      └────────────────────────────────────────────────────────┤
//!   (vacant) <──────────────────── Close ───────────────────────┘
//! ```
//!
//! The core chooses the keys. A slot's generation tells whether a command still means its tenant.

use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proxy_core::buf::Chain;
use proxy_core::command::{Address, CloseHow, Completion, ConnId, ConnectOptions, IoError, Room};
use socket2::SockRef;

use crate::conn::{BoxFuture, Link, Shelf, read_side, write_side};
use crate::connect::connect;
use crate::control::Mailbox;
use crate::kernel::Socket;
use crate::ready::{Token, waker};
use crate::ring::Plane;

type Connected = Result<(Socket, Address), IoError>;

/// All connections of a worker.
pub(crate) struct Table {
    slots: Vec<Slot>,
    shelf: Rc<Shelf>,
    mailbox: Arc<Mailbox>,
    /// Where open connections live, if not here.
    plane: Option<Plane>,
}

/// A place for a connection. The wakers stay when tenants come and go.
struct Slot {
    wake_reader: Waker,
    wake_writer: Waker,
    tenant: Option<Tenant>,
}

struct Tenant {
    id: ConnId,
    state: State,
}

enum State {
    Connecting(BoxFuture<Connected>),
    /// On monoio: two futures.
    Open {
        link: Rc<Link>,
        reader: BoxFuture<()>,
        writer: Option<BoxFuture<()>>,
    },
    /// On the ring: the number of its line.
    Line(u32),
}

impl Table {
    pub(crate) const fn new(shelf: Rc<Shelf>, mailbox: Arc<Mailbox>, plane: Option<Plane>) -> Self {
        Self { slots: Vec::new(), shelf, mailbox, plane }
    }

    /// A connected socket moves in.
    pub(crate) fn open(&mut self, id: ConnId, socket: Socket) {
        let state = State::open(id, socket, &self.shelf, self.plane.as_mut());
        self.move_in(id, state);
    }

    /// Starts to connect.
    pub(crate) fn connect(&mut self, id: ConnId, address: Address, options: ConnectOptions) {
        let future = connect(address, options, self.shelf.nonblocking);
        self.move_in(id, State::Connecting(Box::pin(future)));
        self.poll_reader(id.0.index);
    }

    /// Starts to read.
    pub(crate) fn recv(&mut self, id: ConnId, room: Room) {
        match state(&mut self.slots, id) {
            Some(State::Open { link, .. }) => link.wish_read(room),
            Some(State::Line(line)) => {
                let early = self.plane.as_mut().and_then(|plane| plane.recv(*line, room));
                return early.map_or((), |early| self.shelf.complete(early));
            }
            // A connection that is gone or not there yet: the core is wrong, and no answer will come.
            Some(State::Connecting(_)) | None => return debug_assert!(false, "receive on {id:?}"),
        }
        self.poll_reader(id.0.index);
    }

    /// Starts to write.
    pub(crate) fn send(&mut self, id: ConnId, chain: Chain) {
        match state(&mut self.slots, id) {
            Some(State::Open { link, writer, .. }) => {
                link.wish_write(chain);
                if writer.is_none() {
                    *writer = Some(Box::pin(write_side(Rc::clone(link), Rc::clone(&self.shelf))));
                }
            }
            Some(State::Line(line)) => {
                if let Some(plane) = &mut self.plane {
                    plane.send(*line, chain);
                }
                return;
            }
            Some(State::Connecting(_)) | None => return debug_assert!(false, "send on {id:?}"),
        }
        self.poll_writer(id.0.index);
    }

    /// Half-closes.
    pub(crate) fn shutdown(&mut self, id: ConnId) {
        if let Some(socket) = self.socket(id) {
            // A connection that is gone already cannot be shut down, and its end is reported by other means.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    /// Ends a connection: what is in flight is cancelled, and the descriptor closes when that is done.
    pub(crate) fn close(&mut self, id: ConnId, how: CloseHow) {
        if let (CloseHow::Reset, Some(socket)) = (how, self.socket(id)) {
            // Unix sockets know no reset.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
        match state(&mut self.slots, id) {
            Some(State::Line(line)) => self.plane.iter_mut().for_each(|plane| plane.close(*line)),
            Some(State::Open { .. } | State::Connecting(_)) => {}
            None => return,
        }
        if let Some(slot) = self.slots.get_mut(id.0.index as usize) {
            slot.tenant = None;
        }
    }

    /// Lets the reading side go on, or the connecting.
    pub(crate) fn poll_reader(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let Some(tenant) = &mut slot.tenant else { return };
        let mut cx = Context::from_waker(&slot.wake_reader);
        match &mut tenant.state {
            State::Open { reader, .. } => {
                let never = reader.as_mut().poll(&mut cx);
                debug_assert!(never.is_pending());
            }
            State::Line(_) => {}
            State::Connecting(future) => {
                let Poll::Ready(result) = future.as_mut().poll(&mut cx) else { return };
                let conn = tenant.id;
                let result = match result {
                    Ok((socket, local)) => {
                        tenant.state = State::open(conn, socket, &self.shelf, self.plane.as_mut());
                        Ok(local)
                    }
                    Err(error) => {
                        slot.tenant = None;
                        Err(error)
                    }
                };
                self.shelf.complete(Completion::Connect { conn, result });
            }
        }
    }

    /// Lets the writing side go on.
    pub(crate) fn poll_writer(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        if let Some(Tenant { state: State::Open { writer: Some(writer), .. }, .. }) = &mut slot.tenant {
            let never = writer.as_mut().poll(&mut Context::from_waker(&slot.wake_writer));
            debug_assert!(never.is_pending());
        }
    }

    /// The ring of the open connections, if they live there.
    pub(crate) const fn plane(&mut self) -> Option<&mut Plane> {
        self.plane.as_mut()
    }

    /// Closes everything.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.plane.iter_mut().for_each(Plane::clear);
    }

    /// An open connection's socket, for its options.
    fn socket(&mut self, id: ConnId) -> Option<SockRef<'_>> {
        match state(&mut self.slots, id)? {
            State::Open { link, .. } => Some(link.socket.options()),
            State::Line(line) => self.plane.as_ref()?.socket(*line).map(SockRef::from),
            State::Connecting(_) => None,
        }
    }

    fn move_in(&mut self, id: ConnId, state: State) {
        let index = id.0.index as usize;
        while self.slots.len() <= index {
            // Keys are dense, so this adds one slot at a time.
            let place = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            let wake_reader = waker(Token::Reader(place), &self.mailbox);
            let wake_writer = waker(Token::Writer(place), &self.mailbox);
            self.slots.push(Slot { wake_reader, wake_writer, tenant: None });
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.tenant = Some(Tenant { id, state });
        }
    }
}

fn state(slots: &mut [Slot], id: ConnId) -> Option<&mut State> {
    let tenant = slots.get_mut(id.0.index as usize)?.tenant.as_mut()?;
    (tenant.id == id).then_some(&mut tenant.state)
}

impl State {
    fn open(id: ConnId, socket: Socket, shelf: &Rc<Shelf>, plane: Option<&mut Plane>) -> Self {
        if let Some(plane) = plane {
            return Self::Line(plane.add(id, socket.into_std()));
        }
        let link = Rc::new(Link::new(id, socket));
        let reader = Box::pin(read_side(Rc::clone(&link), Rc::clone(shelf)));
        Self::Open { link, reader, writer: None }
    }
}
