//! The sockets' own ring: receiving and sending, without futures.
//!
//! monoio has the thread, its wait, timers, files, accepting and connecting. A connected socket moves in here, where an
//! operation is one entry of a queue and its end another, so that at full load one system call carries the operations
//! of many connections. When nothing is left to do the thread waits in monoio, and this ring's eventfd wakes it.
//!
//! ```text
//!              recv, send                        close
//!   (vacant) ─────────────> Line, open ─────────────────────> Line, closing ──> (vacant)
//!      add                    ▲     │ completion: outbox         completions: dropped;
//!                             └─────┘                            the last one closes the descriptor
//! ```
//!
//! Reading order: this file, [`incoming`], [`buffers`], [`queues`]. The kernel's memory is theirs.

mod buffers;
mod incoming;
mod queues;

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::Duration;

use monoio::fs::File;
use proxy_core::buf::Chain;
use proxy_core::command::{Completion, ConnId, IoError, Room};
use proxy_core::worker::Pools;
use socket2::Socket as StdSocket;

use self::buffers::{Group, List, Sending};
use self::incoming::{Arm, Incoming, Step};
use self::queues::{Done, NOBODY};

pub(crate) use self::queues::Queues;
use crate::conn::{BoxFuture, Shelf};
use crate::kernel::Filling;

/// How many small and large blocks the kernel has to pick from. They are refilled whenever completions are taken, and
/// a burst that needs more asks again.
const SMALL_ENTRIES: u16 = 128;
const LARGE_ENTRIES: u16 = 64;
/// How many lists of slices are kept for vectored writes.
const LISTS_KEPT_MAX: usize = 64;

/// The size of an eventfd's counter.
const COUNTER_BYTES: usize = 8;
/// How long to wait when it cannot be read, for want of memory.
const BELL_PAUSE: Duration = Duration::from_millis(10);

/// The open connections of a worker and the operations on them.
pub(crate) struct Plane {
    queues: Queues,
    /// For small and for large reads.
    groups: Vec<Group>,
    lines: Vec<Line>,
    vacant: Vec<u32>,
    /// How many operations the kernel has, those that only cancel not counted.
    in_flight: usize,
    lists: Vec<List>,
    /// Scratch, kept for its memory.
    done: Vec<Done>,
}

/// A place for a connected socket.
#[derive(Default)]
struct Line {
    /// Tells tenants of the same place apart.
    generation: u32,
    socket: Option<StdSocket>,
    id: Option<ConnId>,
    recv: Incoming,
    send: Option<Sending>,
}

/// What an operation is, in the lowest bit of its name; above it are the line's generation and place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Recv,
    Send,
}

fn name(place: u32, generation: u32, kind: Kind) -> u64 {
    u64::from(place) << 32 | u64::from(generation & 0x3fff_ffff) << 1 | u64::from(kind == Kind::Send)
}

const fn group_of(room: Room) -> usize {
    match room {
        Room::Small => 0,
        Room::Large => 1,
    }
}

impl Plane {
    /// Takes a ring of this thread over.
    pub(crate) fn new(queues: Queues, pools: &Pools) -> io::Result<Self> {
        let groups = vec![
            Group::new(0, pools.small.clone(), SMALL_ENTRIES),
            Group::new(1, pools.large.clone(), LARGE_ENTRIES),
        ];
        let plane = Self {
            queues,
            groups,
            lines: Vec::new(),
            vacant: Vec::new(),
            in_flight: 0,
            lists: Vec::new(),
            done: Vec::new(),
        };
        for group in &plane.groups {
            plane.queues.provide(group)?;
        }
        plane.queues.quiet(true);
        Ok(plane)
    }

    /// A future for monoio to wait on; it never ends, and can go on whenever the eventfd was written to.
    pub(crate) fn bell(&self, shelf: &Rc<Shelf>) -> io::Result<BoxFuture<()>> {
        let file = File::from_std(self.queues.event().try_clone()?)?;
        Ok(Box::pin(bell(file, Rc::clone(shelf))))
    }

    /// A connected socket moves in; the result names its line.
    pub(crate) fn add(&mut self, id: ConnId, socket: StdSocket) -> u32 {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.lines.push(Line::default());
            u32::try_from(self.lines.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(line) = self.lines.get_mut(place as usize) {
            line.generation = line.generation.wrapping_add(1);
            line.socket = Some(socket);
            line.id = Some(id);
            line.recv = Incoming::default();
        }
        place
    }

    /// The socket, for its options.
    pub(crate) fn socket(&self, place: u32) -> Option<&StdSocket> {
        self.lines.get(place as usize)?.socket.as_ref()
    }

    /// Starts to read, or gives what was read already.
    pub(crate) fn recv(&mut self, place: u32, room: Room) -> Option<Completion> {
        let line = self.lines.get_mut(place as usize)?;
        let step = line.recv.want(room);
        self.obey(place, step)
    }

    /// Starts to write.
    pub(crate) fn send(&mut self, place: u32, chain: Chain) {
        let Some(line) = self.lines.get_mut(place as usize) else { return };
        let Some(socket) = &line.socket else { return };
        debug_assert!(line.send.is_none(), "two sends at once on {:?}", line.id);
        let sending = line.send.insert(Sending::new(chain, &mut self.lists));
        self.in_flight += 1;
        self.queues.send(socket.as_fd(), sending, name(place, line.generation, Kind::Send));
    }

    /// Ends a connection: nothing of it reaches the core any more, and the descriptor closes when the kernel has let go.
    pub(crate) fn close(&mut self, place: u32) {
        let Some(line) = self.lines.get_mut(place as usize) else { return };
        if line.id.take().is_none() {
            return;
        }
        if line.recv.close() {
            self.queues.cancel(name(place, line.generation, Kind::Recv));
        }
        if line.send.is_some() {
            self.queues.cancel(name(place, line.generation, Kind::Send));
        }
        self.vacate(place);
    }

    /// Ends all of them.
    pub(crate) fn clear(&mut self) {
        let count = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        (0..count).for_each(|place| self.close(place));
    }

    /// Whether the kernel has none of our memory but the groups.
    pub(crate) const fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Hands over what was started and takes what is done, with at most one system call.
    pub(crate) fn exchange(&mut self, outbox: &RefCell<Vec<Completion>>) {
        if self.queues.is_due() {
            // What cannot be handed over now (EBUSY, EAGAIN: no memory) is handed over next time.
            let _ = self.queues.enter();
        }
        let mut done = std::mem::take(&mut self.done);
        self.queues.take(&mut done);
        for done in done.drain(..) {
            if done.name != NOBODY
                && let Some(completion) = self.finish(&done)
            {
                outbox.borrow_mut().push(completion);
            }
        }
        self.done = done;
    }

    /// Lets the eventfd ring. False when there is something to do instead, which may not have rung.
    pub(crate) fn may_wait(&mut self) -> bool {
        self.queues.quiet(false);
        !self.queues.is_due() && !self.queues.is_done()
    }

    /// Keeps the eventfd silent: we are looking.
    pub(crate) fn look(&self) {
        self.queues.quiet(true);
    }

    /// Makes the eventfd ring, for another turn after monoio has had its own.
    pub(crate) fn ring(&self) {
        // It can fail only when it rings already.
        let _ = io::Write::write(&mut self.queues.event(), &1_u64.to_ne_bytes());
    }

    fn finish(&mut self, done: &Done) -> Option<Completion> {
        let place = u32::try_from(done.name >> 32).ok()?;
        let line = self.lines.get_mut(place as usize)?;
        let kind = if done.name & 1 == 0 { Kind::Recv } else { Kind::Send };
        debug_assert!(done.name == name(place, line.generation, kind), "a completion without its operation");
        let result = usize::try_from(done.result).map_err(|_| IoError { errno: -done.result });
        let completion = match kind {
            Kind::Recv => {
                self.in_flight -= usize::from(!done.goes_on);
                let group = self.groups.get_mut(group_of(line.recv.armed()?))?;
                let buf = done.buffer.map(|number| group.take(number, result.unwrap_or_default()));
                let step = line.recv.done(done, buf, || group.empty());
                self.obey(place, step)
            }
            Kind::Send => {
                self.in_flight -= 1;
                let (chain, list) = line.send.take()?.end();
                self.lists.extend(list.filter(|_| self.lists.len() < LISTS_KEPT_MAX));
                line.id.map(|conn| Completion::Send { conn, chain, result })
            }
        };
        if self.lines.get(place as usize).is_some_and(|line| line.id.is_none()) {
            self.vacate(place);
        }
        completion
    }

    /// Does what the reading side of a line needs next.
    fn obey(&mut self, place: u32, step: Step) -> Option<Completion> {
        let line = self.lines.get(place as usize)?;
        let name = name(place, line.generation, Kind::Recv);
        match step {
            Step::Nothing => None,
            Step::Give(result) => line.id.map(|conn| Completion::Recv { conn, result }),
            Step::Cancel => {
                self.queues.cancel(name);
                None
            }
            Step::GiveAndCancel(result) => {
                self.queues.cancel(name);
                line.id.map(|conn| Completion::Recv { conn, result })
            }
            Step::Arm { room, how } => {
                let (socket, group) = (line.socket.as_ref()?, self.groups.get(group_of(room))?);
                self.in_flight += 1;
                match how {
                    Arm::Once { drained } => self.queues.recv(socket.as_fd(), group, drained, name),
                    Arm::Again => self.queues.recv_on(socket.as_fd(), group, name),
                }
                None
            }
        }
    }

    /// Closes the descriptor of a line that is closing, unless the kernel still works on it.
    fn vacate(&mut self, place: u32) {
        let Some(line) = self.lines.get_mut(place as usize) else { return };
        if line.recv.armed().is_none() && line.send.is_none() {
            line.socket = None;
            line.recv = Incoming::default();
            self.vacant.push(place);
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let revoked = self.groups.iter().all(|group| self.queues.revoke(group).is_ok());
        if !revoked || !self.is_idle() {
            // The kernel may still read or write: rather lose the memory.
            std::mem::forget((std::mem::take(&mut self.groups), std::mem::take(&mut self.lines)));
        }
    }
}

async fn bell(file: File, shelf: Rc<Shelf>) {
    loop {
        let counter = Filling::new(shelf.pools.small.take(), COUNTER_BYTES, &shelf.receiving);
        if file.read_at(counter, 0).await.0.is_err() {
            monoio::time::sleep(BELL_PAUSE).await;
        }
    }
}
