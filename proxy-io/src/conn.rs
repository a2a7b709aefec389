//! One connection's two sides: a future that reads and a future that writes, each with room for one request.
//!
//! ```text
//!   core: Recv ──> wish ──> reader ──(one monoio read)──> outbox ──> core: Completion::Recv
//!   core: Send ──> wish ──> writer ──(one monoio write)─> outbox ──> core: Completion::Send
//! ```
//!
//! Both futures live as long as the connection, so that an operation costs no allocation. Dropping them is how an
//! operation in flight is cancelled: monoio asks the kernel to stop it, and keeps its memory and the descriptor until
//! the kernel has answered. Only then is the descriptor closed. Nothing of it reaches the core.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use proxy_core::buf::{Buf, Chain};
use proxy_core::command::{Completion, ConnId, IoError, Room};
use proxy_core::worker::Pools;

use crate::errno;
use crate::kernel::{Filling, Held, Slices, Socket};

/// Above this number of buffers that wait for bytes, a read waits for readiness first and takes its memory only then:
/// the idle connections beyond cost no buffer. Below it, that would be a wasted operation for each read.
const WAITING_BUFFERS_MAX: usize = 512;
/// How many lists of slices are kept for vectored writes.
const SLICES_KEPT_MAX: usize = 64;

/// A future that a worker polls by hand.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// What all connections of a worker share.
pub(crate) struct Shelf {
    pub(crate) pools: Pools,
    /// Whether sockets must be nonblocking: with epoll, and not with io_uring, which would not wait then.
    pub(crate) nonblocking: bool,
    /// What was carried out since the core was last told.
    pub(crate) outbox: RefCell<Vec<Completion>>,
    /// The buffers that the kernel fills.
    pub(crate) receiving: Held,
    /// The chains that the kernel reads.
    pub(crate) sending: Held,
    slices: RefCell<Vec<Slices>>,
}

impl Shelf {
    pub(crate) fn new(pools: Pools, nonblocking: bool) -> Self {
        Self {
            pools,
            nonblocking,
            outbox: RefCell::default(),
            receiving: Held::default(),
            sending: Held::default(),
            slices: RefCell::default(),
        }
    }

    /// Hands a completion over.
    pub(crate) fn complete(&self, completion: Completion) {
        self.outbox.borrow_mut().push(completion);
    }
}

/// A connected socket and what the core wants of it next.
pub(crate) struct Link {
    id: ConnId,
    pub(crate) socket: Socket,
    read_wish: Cell<Option<Room>>,
    write_wish: Cell<Option<Chain>>,
}

impl Link {
    pub(crate) fn new(id: ConnId, socket: Socket) -> Self {
        Self { id, socket, read_wish: Cell::new(None), write_wish: Cell::new(None) }
    }

    /// Asks for a read; poll the reader then.
    pub(crate) fn wish_read(&self, room: Room) {
        let before = self.read_wish.replace(Some(room));
        debug_assert!(before.is_none(), "two receives at once on {:?}", self.id);
    }

    /// Asks for a write; poll the writer then.
    pub(crate) fn wish_write(&self, chain: Chain) {
        let before = self.write_wish.replace(Some(chain));
        debug_assert!(before.is_none(), "two sends at once on {:?}", self.id);
    }
}

/// The reading side; it never ends.
pub(crate) async fn read_side(link: Rc<Link>, shelf: Rc<Shelf>) {
    loop {
        let room = granted(&link.read_wish).await;
        let result = read_once(&link.socket, room, &shelf).await;
        shelf.complete(Completion::Recv { conn: link.id, result });
    }
}

/// The writing side; it never ends.
pub(crate) async fn write_side(link: Rc<Link>, shelf: Rc<Shelf>) {
    loop {
        let chain = granted(&link.write_wish).await;
        let (result, chain) = write_once(&link.socket, chain, &shelf).await;
        shelf.complete(Completion::Send { conn: link.id, chain, result });
    }
}

/// Waits for a wish. Nobody needs to be woken: who makes a wish polls the future.
fn granted<T>(wish: &Cell<Option<T>>) -> impl Future<Output = T> + '_ {
    poll_fn(|_| wish.take().map_or(Poll::Pending, Poll::Ready))
}

async fn read_once(socket: &Socket, room: Room, shelf: &Shelf) -> Result<Buf, IoError> {
    let pool = match room {
        Room::Small => &shelf.pools.small,
        Room::Large => &shelf.pools.large,
    };
    if shelf.receiving.count() >= WAITING_BUFFERS_MAX {
        socket.readable().await.map_err(|error| errno::number(&error))?;
    }
    let (result, memory) = socket.recv(Filling::new(pool.take(), usize::MAX, &shelf.receiving)).await;
    match result {
        Ok(_) => Ok(memory.into_buf()),
        Err(error) => Err(errno::number(&error)),
    }
}

async fn write_once(socket: &Socket, chain: Chain, shelf: &Shelf) -> (Result<usize, IoError>, Chain) {
    let (result, chain) = if chain.chunks().len() > 1 {
        let slices = shelf.slices.borrow_mut().pop().unwrap_or_default();
        let (result, chain, slices) = socket.send_many(chain, slices, &shelf.sending).await;
        let mut kept = shelf.slices.borrow_mut();
        if kept.len() < SLICES_KEPT_MAX {
            kept.push(slices);
        }
        (result, chain)
    } else {
        socket.send_one(chain, &shelf.sending).await
    };
    (result.map_err(|error| errno::number(&error)), chain)
}
