//! The loop between the kernel and the core, for one worker.
//!
//! One turn: read the clock, let every future go on that was woken, hand in what completed, start what the core wants
//! next, write its log lines, set the timer, wait. monoio collects the operations that a turn starts and hands them to
//! the kernel when the thread goes to wait, all with one system call that is also the wait.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proxy_core::command::{Command, Completion, Level, Report};
use proxy_core::config::Config;
use proxy_core::shared::Shared;
use proxy_core::time::Now;
use proxy_core::worker::Pools;

use crate::accept::{Acceptor, Arrivals};
use crate::clock::Clock;
use crate::conn::{BoxFuture, Shelf};
use crate::control::{Mailbox, Message, Reload};
use crate::engine::Engine;
use crate::entropy;
use crate::errno;
use crate::jobs::Jobs;
use crate::listen::{WorkerListener, by_identity};
use crate::logfile::{Logs, Pending};
use crate::ready::{self, Token, waker};
use crate::ring::{Plane, Queues};
use crate::runtime::Choice;
use crate::state;
use crate::table::Table;
use crate::timer::Timer;

/// How often a turn goes round when operations complete while they are started, as they do with epoll.
const ROUNDS_MAX: usize = 64;
/// The same with a ring for the sockets, where each round is a system call and there is always more to do at full load.
/// monoio's own ring, with new connections on both sides, has its turn only in between.
const ROUNDS_OF_RING_MAX: usize = 4;
/// How long the end of a worker waits for the kernel to let go of its memory, in steps of a millisecond.
const RELEASE_STEPS_MAX: usize = 5000;

/// What a worker is made from, kept up to date so that a panic can make another one.
pub(crate) struct Station {
    pub(crate) config: Arc<Config>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) listeners: Vec<WorkerListener>,
    pub(crate) draining: bool,
    pub(crate) choice: Choice,
}

/// What a worker has of the kernel.
pub(crate) struct Kernel {
    /// Whether monoio runs on io_uring.
    pub(crate) ring: bool,
    /// A ring for the sockets.
    pub(crate) queues: Option<Queues>,
}

/// How a worker ended.
pub(crate) enum Outcome {
    /// It was told to, and nothing is left.
    Drained,
    /// It panicked with these words.
    Panicked(String),
}

/// Runs a worker on this thread's runtime. The second result is whether the kernel holds none of its memory any more.
pub(crate) async fn run<E: Engine>(
    station: &RefCell<Station>,
    mailbox: &Arc<Mailbox>,
    kernel: Kernel,
) -> (Outcome, bool) {
    let mut worker: Option<Dispatcher<'_, E>> = None;
    let mut kernel = Some(kernel);
    let outcome = poll_fn(|cx| {
        let turn = catch_unwind(AssertUnwindSafe(|| {
            if let Some(kernel) = kernel.take() {
                ready::settle(mailbox, cx);
                worker = Some(Dispatcher::new(station, mailbox, kernel));
            }
            worker.as_mut().is_none_or(Dispatcher::turn)
        }));
        match turn {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Outcome::Drained),
            Err(panic) => Poll::Ready(Outcome::Panicked(words(panic.as_ref()))),
        }
    })
    .await;
    ready::leave(mailbox);
    let released = match worker {
        Some(worker) => worker.release().await,
        None => true,
    };
    (outcome, released)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
}

struct Dispatcher<'a, E> {
    engine: E,
    station: &'a RefCell<Station>,
    mailbox: &'a Arc<Mailbox>,
    shelf: Rc<Shelf>,
    arrivals: Rc<Arrivals>,
    table: Table,
    bell: Option<(Waker, BoxFuture<()>)>,
    jobs: Jobs,
    acceptors: Vec<(Waker, Option<Acceptor>)>,
    timer: Timer,
    clock: Clock,
    now: Now,
    pending: Pending,
    drained: bool,
    stopped: bool,
    /// Scratch, kept for its memory.
    tokens: Vec<Token>,
    completions: Vec<Completion>,
}

impl<'a, E: Engine> Dispatcher<'a, E> {
    fn new(station: &'a RefCell<Station>, mailbox: &'a Arc<Mailbox>, kernel: Kernel) -> Self {
        let pools = Pools::standard();
        let mut clock = Clock::default();
        let now = clock.now();
        let (engine, logs, listeners) = {
            let station = station.borrow();
            let (config, shared) = (Arc::clone(&station.config), Arc::clone(&station.shared));
            let engine = E::start(config, shared, pools.clone(), entropy::seed(), now);
            (engine, Arc::clone(&station.logs), station.listeners.clone())
        };
        let Kernel { ring, queues } = kernel;
        // Without memory for it, monoio serves.
        let plane = queues.and_then(|queues| Plane::new(queues, &pools).ok());
        let shelf = Rc::new(Shelf::new(pools, !ring));
        let bell = plane.as_ref().and_then(|plane| plane.bell(&shelf).ok());
        let plane = plane.filter(|_| bell.is_some());
        let mut worker = Self {
            engine,
            station,
            mailbox,
            table: Table::new(Rc::clone(&shelf), Arc::clone(mailbox), plane),
            bell: bell.map(|bell| (waker(Token::Bell, mailbox), bell)),
            jobs: Jobs::new(Rc::clone(&shelf), Arc::clone(mailbox), ring),
            shelf,
            arrivals: Rc::default(),
            acceptors: Vec::new(),
            timer: Timer::new(mailbox),
            clock,
            now,
            pending: Pending::new(logs),
            drained: false,
            stopped: false,
            tokens: Vec::new(),
            completions: Vec::new(),
        };
        worker.listen(listeners);
        worker.poll_token(Token::Bell);
        worker
    }

    /// Does all there is to do. True when the worker has drained, or must end without.
    fn turn(&mut self) -> bool {
        ready::begin_turn();
        if let Some(plane) = self.table.plane() {
            plane.look();
        }
        self.now = self.clock.now();
        self.read_mail();
        let mut more = true;
        let rounds = if self.bell.is_some() { ROUNDS_OF_RING_MAX } else { ROUNDS_MAX };
        for _ in 0..rounds {
            self.poll_woken();
            self.deliver();
            if self.engine.poll_timeout().is_some_and(|deadline| deadline <= self.now.instant) {
                self.engine.handle_timeout(self.now);
            }
            self.start_commands();
            self.exchange();
            more = !ready::is_idle() || !self.shelf.outbox.borrow().is_empty() || !self.may_wait();
            if !more {
                break;
            }
        }
        self.write_reports();
        self.pending.end_turn(self.now.instant);
        self.set_timer(more);
        self.stopped || self.drained && self.jobs.is_idle()
    }

    /// Lets the sockets' ring go on.
    fn exchange(&mut self) {
        if let Some(plane) = self.table.plane() {
            plane.exchange(&self.shelf.outbox);
            self.now = self.clock.now();
        }
    }

    /// Whether nothing is left to do on the sockets' ring; from here on it wakes us.
    fn may_wait(&mut self) -> bool {
        let Some(plane) = self.table.plane() else { return true };
        let may_wait = plane.may_wait();
        if !may_wait {
            plane.look();
        }
        may_wait
    }

    fn read_mail(&mut self) {
        for message in self.mailbox.take() {
            match message {
                Message::Ready(token) => self.poll_token(token),
                Message::Reload(reload) => self.reload(*reload),
                Message::ReopenLogs => self.pending.reopen(),
                Message::StopAccepting => self.stop_listening(),
                Message::Shutdown => {
                    self.stop_listening();
                    self.station.borrow_mut().draining = true;
                    self.engine.handle_shutdown(self.now);
                }
                Message::Stop => {
                    self.stop_listening();
                    self.station.borrow_mut().draining = true;
                    self.stopped = true;
                }
            }
        }
    }

    fn poll_woken(&mut self) {
        let mut tokens = std::mem::take(&mut self.tokens);
        ready::take(&mut tokens);
        for token in tokens.drain(..) {
            self.poll_token(token);
        }
        self.tokens = tokens;
    }

    fn poll_token(&mut self, token: Token) {
        match token {
            Token::Reader(index) => self.table.poll_reader(index),
            Token::Writer(index) => self.table.poll_writer(index),
            Token::Job(index) => self.jobs.poll(index),
            Token::Timer => self.timer.fire(),
            Token::Bell => {
                if let Some((waker, bell)) = &mut self.bell {
                    let never = bell.as_mut().poll(&mut Context::from_waker(waker));
                    debug_assert!(never.is_pending());
                }
            }
            Token::Acceptor(index) => {
                if let Some((waker, Some(acceptor))) = self.acceptors.get_mut(index as usize) {
                    let never = acceptor.future.as_mut().poll(&mut Context::from_waker(waker));
                    debug_assert!(never.is_pending());
                }
            }
        }
    }

    /// Hands in what completed and who came.
    fn deliver(&mut self) {
        std::mem::swap(&mut *self.shelf.outbox.borrow_mut(), &mut self.completions);
        for completion in self.completions.drain(..) {
            self.engine.handle_completion(completion, self.now);
        }
        for (level, message) in self.arrivals.notes.take() {
            self.pending.logs().write_error(0, level, &message);
        }
        if self.arrivals.accepted.borrow().is_empty() {
            return;
        }
        // A key that a command not yet carried out closes may be given to a newcomer, so commands come first.
        self.start_commands();
        for arrival in self.arrivals.accepted.take() {
            let id = self.engine.handle_accept(arrival.listener, arrival.peer, self.now);
            self.table.open(id, arrival.socket);
            self.start_commands();
        }
    }

    /// Starts what the core wants.
    fn start_commands(&mut self) {
        while let Some(command) = self.engine.poll_command() {
            match command {
                Command::Recv { conn, room } => self.table.recv(conn, room),
                Command::Send { conn, chain } => self.table.send(conn, chain),
                Command::Connect { conn, address, options } => self.table.connect(conn, address, options),
                Command::Shutdown { conn } => self.table.shutdown(conn),
                Command::Close { conn, how } => self.table.close(conn, how),
                Command::OpenFile { file, path, mode } => self.jobs.open(file, path, mode),
                Command::ReadFile { file, offset, len } => self.jobs.read(file, offset, len),
                Command::WriteFile { file, offset, chain } => self.jobs.write(file, offset, chain),
                Command::ListDirectory { file, path } => self.jobs.list(file, path),
                Command::RenameFile { file, from, to, finish } => self.jobs.rename(file, from, to, finish),
                Command::RemoveFile { path } => self.jobs.remove(path),
                Command::FreeSpace { file, path } => self.jobs.free_space(file, path),
                Command::CloseFile { file } => self.jobs.close(file),
                Command::Verify { id, password, stored } => self.jobs.verify(id, password, stored),
                Command::Resolve { id, name } => self.jobs.resolve(id, name),
            }
        }
    }

    fn write_reports(&mut self) {
        while let Some(report) = self.engine.poll_report() {
            match report {
                Report::Access { log, lines } => {
                    self.pending.add(log, &lines, self.now.instant);
                    self.engine.recycle(lines);
                }
                Report::AccessPath { path, lines } => {
                    self.pending.add_path(path, &lines);
                    self.engine.recycle(lines);
                }
                Report::Error { log, level, message } => {
                    self.pending.logs().write_error_bytes(log, level, &message)
                }
                Report::Save { path, serial, bytes } => {
                    if let Err(error) = state::save(&path, serial, &bytes) {
                        let path = String::from_utf8_lossy(&path);
                        let message = format!("state file \"{path}\" could not be written ({error})");
                        self.pending.logs().write_error(0, Level::Error, &message);
                    }
                }
                Report::Drained => self.drained = true,
            }
        }
    }

    /// `at_once` is for a turn that has not finished, so that others have their turn in between.
    fn set_timer(&mut self, at_once: bool) {
        let now = self.now.instant;
        let at_once = match self.table.plane() {
            Some(plane) if at_once => {
                plane.ring();
                false
            }
            Some(_) | None => at_once,
        };
        let deadlines = [self.engine.poll_timeout(), self.pending.next_deadline(), at_once.then_some(now)];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            self.timer.arm(deadline, now);
        }
    }

    fn reload(&mut self, reload: Reload) {
        // Lines of the old configuration go to its files.
        self.write_reports();
        self.pending.flush();
        self.pending = Pending::new(Arc::clone(&reload.logs));
        {
            let mut station = self.station.borrow_mut();
            station.config = Arc::clone(&reload.config);
            station.logs = reload.logs;
            if !station.draining {
                station.listeners.clone_from(&reload.listeners);
            }
        }
        self.engine.handle_reload(reload.config, self.now);
        if !self.station.borrow().draining {
            self.listen(reload.listeners);
        }
        // Whoever asked may have given up waiting.
        let _ = reload.done.send(());
    }

    /// Accepts from these sockets and from no others. Those that it has accepted from already go on.
    fn listen(&mut self, listeners: Vec<WorkerListener>) {
        let mut wanted = by_identity(listeners);
        for (_, slot) in &mut self.acceptors {
            let known = slot.as_ref().and_then(|acceptor| wanted.remove(&Arc::as_ptr(&acceptor.socket)));
            match (known, &slot) {
                (Some(listener), Some(acceptor)) => acceptor.id.set(listener.id),
                (Some(_) | None, _) => *slot = None,
            }
        }
        for listener in wanted.into_values() {
            match Acceptor::new(listener, Rc::clone(&self.arrivals), &self.shelf) {
                Ok(acceptor) => self.add_acceptor(acceptor),
                Err(error) => {
                    let message = format!("dup() of a listening socket failed ({})", errno::text(&error));
                    self.pending.logs().write_error(0, Level::Alert, &message);
                }
            }
        }
    }

    fn add_acceptor(&mut self, acceptor: Acceptor) {
        let index = u32::try_from(self.acceptors.len()).unwrap_or(u32::MAX);
        let waker = waker(Token::Acceptor(index), self.mailbox);
        self.acceptors.push((waker, Some(acceptor)));
        self.poll_token(Token::Acceptor(index));
    }

    fn stop_listening(&mut self) {
        self.acceptors.clear();
        self.station.borrow_mut().listeners.clear();
    }

    /// Ends everything and waits until the kernel has let go of all memory.
    async fn release(mut self) -> bool {
        self.pending.flush();
        self.acceptors.clear();
        self.table.clear();
        self.bell = None;
        for _ in 0..RELEASE_STEPS_MAX {
            self.jobs.poll_all();
            self.exchange();
            let sockets_idle = self.table.plane().is_none_or(|plane| plane.is_idle());
            if sockets_idle
                && self.jobs.is_idle()
                && self.shelf.receiving.count() + self.shelf.sending.count() == 0
            {
                return true;
            }
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }
}
