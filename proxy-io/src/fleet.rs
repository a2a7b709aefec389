//! All workers of the process, as the binary sees them.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::config::{Config, WorkerCount};
use proxy_core::shared::Shared;
use proxy_core::worker::Worker;

use crate::blocking;
use crate::control::{Mailbox, Message, Reload, lock};
use crate::dispatch::Station;
use crate::engine::Engine;
use crate::listen::Bound;
use crate::logfile::Logs;
use crate::runtime::{Choice, Driver};
use crate::thread::{Census, spawn};

/// How long a reload waits for a worker before it is reported as failed. A turn takes microseconds.
const RELOAD_PATIENCE: Duration = Duration::from_secs(30);

/// The running worker threads of the proxy.
pub type Fleet = Crew<Worker>;

/// The running worker threads of any [`Engine`].
pub struct Crew<E> {
    shared: Arc<Shared>,
    driver: Driver,
    choice: Choice,
    census: Arc<Census>,
    state: Mutex<State>,
    engine: PhantomData<fn() -> E>,
}

struct State {
    workers: Vec<Arc<Mailbox>>,
    bound: Bound,
    logs: Arc<Logs>,
}

/// How many workers `config` asks for: `auto` is one for each CPU that the process may run on.
#[must_use]
pub fn worker_count(config: &Config) -> usize {
    match config.process.workers {
        WorkerCount::Fixed(count) => usize::try_from(count).unwrap_or(1).max(1),
        WorkerCount::Auto => core_affinity::get_core_ids().map_or(1, |ids| ids.len().max(1)),
    }
}

impl<E: Engine> Crew<E> {
    /// Starts a worker thread for each set of sockets in `bound` and returns when every worker accepts. One that is
    /// one of several, or that `auto` asked for, is pinned to a CPU.
    ///
    /// # Errors
    /// A thread could not be started, or neither io_uring nor epoll is to be had.
    pub fn start(
        config: Arc<Config>,
        shared: Arc<Shared>,
        bound: Bound,
        logs: Arc<Logs>,
    ) -> io::Result<Self> {
        Self::start_on(Choice::from_env(), config, shared, bound, logs)
    }

    /// As [`start`](Self::start), on the driver of the caller's choice.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(
        choice: Choice,
        config: Arc<Config>,
        shared: Arc<Shared>,
        bound: Bound,
        logs: Arc<Logs>,
    ) -> io::Result<Self> {
        blocking::start();
        let census = Arc::<Census>::default();
        let (ready, started) = channel();
        let count = count(&config, &bound);
        let mut workers = Vec::with_capacity(count);
        for place in 0..count {
            let seat =
                Seat { place, count, choice, config: &config, shared: &shared, bound: &bound, logs: &logs };
            workers.push(seat.start::<E>(&census, ready.clone())?);
        }
        drop(ready);
        let driver = wait_ready(&started, count)?;
        let state = Mutex::new(State { workers, bound, logs });
        Ok(Self { shared, driver, choice, census, state, engine: PhantomData })
    }

    /// Switches every live worker to a new configuration, each in one turn, and returns when all have switched.
    /// Listeners that `bound` shares with the old one go on, new ones are accepted from and the others close. Workers
    /// are added, or drained, as the configuration asks.
    ///
    /// # Errors
    /// A thread could not be started or did not answer; the other workers have switched.
    pub fn reload(&self, config: Arc<Config>, bound: Bound, logs: Arc<Logs>) -> io::Result<()> {
        let mut state = lock(&self.state);
        let count = count(&config, &bound);
        let kept = count.min(state.workers.len());
        for drained in state.workers.split_off(kept) {
            drained.post(Message::Shutdown);
        }
        let (done, switched) = channel();
        for (place, worker) in state.workers.iter().enumerate() {
            worker.post(Message::Reload(Box::new(Reload {
                config: Arc::clone(&config),
                listeners: bound.of_worker(place),
                logs: Arc::clone(&logs),
                done: done.clone(),
            })));
        }
        let (ready, started) = channel();
        let asked = state.workers.len();
        let (shared, choice) = (&self.shared, self.choice);
        for place in asked..count {
            let seat = Seat { place, count, choice, config: &config, shared, bound: &bound, logs: &logs };
            let worker = seat.start::<E>(&self.census, ready.clone())?;
            state.workers.push(worker);
        }
        state.bound = bound;
        state.logs = logs;
        drop(state);
        wait_ready(&started, count.saturating_sub(asked))?;
        for _ in 0..asked {
            switched.recv_timeout(RELOAD_PATIENCE).map_err(|_| io::ErrorKind::TimedOut)?;
        }
        Ok(())
    }

    /// The sockets that are listened on, for [`bind`](crate::bind) to share.
    #[must_use]
    pub fn bound(&self) -> Bound {
        lock(&self.state).bound.clone()
    }

    /// Opens all log files again (`SIGUSR1`); what cannot be opened is said in the old error log.
    pub fn reopen_logs(&self) {
        let logs = Arc::clone(&lock(&self.state).logs);
        if let Err(failed) = logs.reopen() {
            for error in failed {
                logs.write_error(0, proxy_core::command::Level::Emerg, &error.to_string());
            }
        }
        self.tell(|| Message::ReopenLogs);
    }

    /// Closes the listeners (`SIGWINCH`); connections go on. With `keep` the sockets stay open for a reload, unattended:
    /// another process accepts from them.
    pub fn stop_accepting(&self, keep: bool) {
        if !keep {
            lock(&self.state).bound = Bound::default();
        }
        self.tell(|| Message::StopAccepting);
    }

    /// Closes the listeners and lets every worker finish what is in flight (`SIGQUIT`).
    pub fn shutdown(&self) {
        lock(&self.state).bound = Bound::default();
        self.tell(|| Message::Shutdown);
    }

    /// Closes every connection and ends every worker at once, with what its logs have buffered written out (`SIGTERM`).
    pub fn stop(&self) {
        lock(&self.state).bound = Bound::default();
        self.tell(|| Message::Stop);
    }

    /// Waits until all workers have drained and their threads have ended, at most for `timeout`. True when they have.
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.census.wait(timeout)
    }

    /// What the workers run on, for the start-up notice.
    #[must_use]
    pub const fn driver(&self) -> Driver {
        self.driver
    }

    fn tell(&self, message: impl Fn() -> Message) {
        for worker in &lock(&self.state).workers {
            worker.post(message());
        }
    }
}

fn count(config: &Config, bound: &Bound) -> usize {
    bound.workers().unwrap_or_else(|| worker_count(config))
}

fn wait_ready(started: &Receiver<io::Result<Driver>>, count: usize) -> io::Result<Driver> {
    let mut driver = Driver::Epoll;
    for _ in 0..count {
        driver = match started.recv_timeout(RELOAD_PATIENCE) {
            Ok(result) => result?,
            Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
        };
    }
    Ok(driver)
}

/// What a new worker is given.
struct Seat<'a> {
    place: usize,
    count: usize,
    choice: Choice,
    config: &'a Arc<Config>,
    shared: &'a Arc<Shared>,
    bound: &'a Bound,
    logs: &'a Arc<Logs>,
}

impl Seat<'_> {
    fn start<E: Engine>(
        &self,
        census: &Arc<Census>,
        ready: Sender<io::Result<Driver>>,
    ) -> io::Result<Arc<Mailbox>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mailbox = Mailbox::new();
        let station = Station {
            config: Arc::clone(self.config),
            shared: Arc::clone(self.shared),
            logs: Arc::clone(self.logs),
            listeners: self.bound.of_worker(self.place),
            draining: false,
            choice: self.choice,
        };
        let name = format!("worker-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        spawn::<E>(name, self.cpu(), station, Arc::clone(&mailbox), census, ready)?;
        Ok(mailbox)
    }

    /// Workers that outnumber the CPUs are left to the scheduler.
    fn cpu(&self) -> Option<core_affinity::CoreId> {
        let cpus = core_affinity::get_core_ids()?;
        let wanted = self.config.process.workers == WorkerCount::Auto || self.count > 1;
        if wanted && self.count <= cpus.len() { cpus.get(self.place).copied() } else { None }
    }
}
