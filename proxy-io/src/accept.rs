//! Accepting: one future per listener, which waits for readiness and then takes what is there.
//!
//! monoio's own accept is not used: one that is dropped at the wrong moment leaks a socket, and its sockets lack
//! `CLOEXEC`. Waiting for readiness can be dropped at any time, and `accept4` says at once when descriptors run out.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::command::{Address, Level, ListenerId, Peer};
use socket2::Socket as StdSocket;

use crate::conn::Shelf;
use crate::errno;
use crate::kernel::Socket;
use crate::listen::{ListenSocket, WorkerListener, local_address, to_address};

/// How many connections one listener takes before the others, and everything else, have their turn.
const BATCH: usize = 64;
/// How long a listener rests when descriptors have run out; nginx's `accept_mutex_delay`.
const BACK_OFF: Duration = Duration::from_millis(500);

/// A connection that was accepted and that the core has not heard of.
pub(crate) struct Accepted {
    pub(crate) listener: ListenerId,
    pub(crate) peer: Peer,
    pub(crate) socket: Socket,
}

/// What an acceptor found, for the dispatcher.
#[derive(Default)]
pub(crate) struct Arrivals {
    pub(crate) accepted: RefCell<Vec<Accepted>>,
    pub(crate) notes: RefCell<Vec<(Level, String)>>,
}

/// One listener of a worker.
pub(crate) struct Acceptor {
    /// Changes on reload, when the same socket gets another place in the configuration.
    pub(crate) id: Rc<Cell<ListenerId>>,
    pub(crate) socket: Arc<ListenSocket>,
    pub(crate) future: std::pin::Pin<Box<dyn Future<Output = ()>>>,
}

impl Acceptor {
    /// Starts to accept as soon as it is polled.
    pub(crate) fn new(listener: WorkerListener, arrivals: Rc<Arrivals>, shelf: &Shelf) -> io::Result<Self> {
        let id = Rc::new(Cell::new(listener.id));
        let watched = Socket::new(listener.socket.socket.try_clone()?)?;
        let nonblocking = shelf.nonblocking;
        let task = Task { id: Rc::clone(&id), address: listener.address, watched, arrivals, nonblocking };
        let socket = Arc::clone(&listener.socket);
        let taken = listener.socket.socket.try_clone()?;
        Ok(Self { id, socket, future: Box::pin(task.run(taken)) })
    }
}

struct Task {
    id: Rc<Cell<ListenerId>>,
    address: Address,
    watched: Socket,
    arrivals: Rc<Arrivals>,
    nonblocking: bool,
}

impl Task {
    async fn run(self, listener: StdSocket) {
        loop {
            let ready = self.watched.readable().await;
            if let Err(error) = ready.and_then(|()| self.take_batch(&listener)) {
                let level = if errno::is_exhausted(&error) { Level::Crit } else { Level::Alert };
                let message = format!("accept4() failed ({})", errno::text(&error));
                self.arrivals.notes.borrow_mut().push((level, message));
                monoio::time::sleep(BACK_OFF).await;
            }
        }
    }

    fn take_batch(&self, listener: &StdSocket) -> io::Result<()> {
        for _ in 0..BATCH {
            match listener.accept() {
                Ok((socket, address)) => self.take(socket, &to_address(&address))?,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(()),
                    // The client was gone before it was accepted; accept(2) lists these as worth another try.
                    Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
                    Some(_) | None => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn take(&self, socket: StdSocket, client: &Address) -> io::Result<()> {
        if self.nonblocking {
            socket.set_nonblocking(true)?;
        }
        let local = match &self.address {
            Address::Ip(ip) if ip.ip().is_unspecified() => local_address(&socket),
            Address::Ip(_) | Address::Unix(_) => self.address.clone(),
        };
        let socket = Socket::new(StdSocket::from(OwnedFd::from(socket)))?;
        let peer = Peer { client: client.clone(), local };
        self.arrivals.accepted.borrow_mut().push(Accepted { listener: self.id.get(), peer, socket });
        Ok(())
    }
}
