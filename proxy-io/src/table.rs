//! A worker's connections by the index of their key, and the operations on them.
//!
//! ```text
//!             Connect                      connected
//!   (vacant) ─────────> Connecting ──────────────────────> Open { reader, writer }
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

use crate::conn::{BoxFuture, Link, Shelf, read_side, write_side};
use crate::connect::connect;
use crate::control::Mailbox;
use crate::kernel::Socket;
use crate::ready::{Token, waker};

type Connected = Result<(Socket, Address), IoError>;

/// All connections of a worker.
pub(crate) struct Table {
    slots: Vec<Slot>,
    shelf: Rc<Shelf>,
    mailbox: Arc<Mailbox>,
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
    Open { link: Rc<Link>, reader: BoxFuture<()>, writer: Option<BoxFuture<()>> },
}

impl Table {
    pub(crate) const fn new(shelf: Rc<Shelf>, mailbox: Arc<Mailbox>) -> Self {
        Self { slots: Vec::new(), shelf, mailbox }
    }

    /// A connected socket moves in.
    pub(crate) fn open(&mut self, id: ConnId, socket: Socket) {
        let state = State::open(id, socket, &self.shelf);
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
        // A connection that is gone or not there yet: the core is wrong, and no answer will come.
        let Some(State::Open { link, .. }) = self.state(id) else {
            return debug_assert!(false, "receive on {id:?}");
        };
        link.wish_read(room);
        self.poll_reader(id.0.index);
    }

    /// Starts to write.
    pub(crate) fn send(&mut self, id: ConnId, chain: Chain) {
        let shelf = Rc::clone(&self.shelf);
        let Some(State::Open { link, writer, .. }) = self.state(id) else {
            return debug_assert!(false, "send on {id:?}");
        };
        link.wish_write(chain);
        if writer.is_none() {
            *writer = Some(Box::pin(write_side(Rc::clone(link), shelf)));
        }
        self.poll_writer(id.0.index);
    }

    /// Half-closes.
    pub(crate) fn shutdown(&mut self, id: ConnId) {
        if let Some(State::Open { link, .. }) = self.state(id) {
            // A connection that is gone already cannot be shut down, and its end is reported by other means.
            let _ = link.socket.options().shutdown(Shutdown::Write);
        }
    }

    /// Ends a connection: what is in flight is cancelled, and the descriptor closes when that is done.
    pub(crate) fn close(&mut self, id: ConnId, how: CloseHow) {
        let Some(state) = self.state(id) else { return };
        if let (State::Open { link, .. }, CloseHow::Reset) = (state, how) {
            // Unix sockets know no reset.
            let _ = link.socket.options().set_linger(Some(Duration::ZERO));
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
            State::Connecting(future) => {
                let Poll::Ready(result) = future.as_mut().poll(&mut cx) else { return };
                let conn = tenant.id;
                let result = match result {
                    Ok((socket, local)) => {
                        tenant.state = State::open(conn, socket, &self.shelf);
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

    /// Closes everything.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    fn state(&mut self, id: ConnId) -> Option<&mut State> {
        let tenant = self.slots.get_mut(id.0.index as usize)?.tenant.as_mut()?;
        (tenant.id == id).then_some(&mut tenant.state)
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

impl State {
    fn open(id: ConnId, socket: Socket, shelf: &Rc<Shelf>) -> Self {
        let link = Rc::new(Link::new(id, socket));
        let reader = Box::pin(read_side(Rc::clone(&link), Rc::clone(shelf)));
        Self::Open { link, reader, writer: None }
    }
}
