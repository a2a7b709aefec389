//! A worker's thread: pinned, with a runtime of its own, and hard to kill.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use proxy_core::command::Level;

use crate::control::{Mailbox, lock};
use crate::dispatch::{Kernel, Outcome, Station, run};
use crate::engine::Engine;
use crate::powers;
use crate::runtime::{AnyRuntime, Driver};

/// A worker that panics sooner than this after its start waits as long before the next try.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How many threads run, for whoever waits for their end.
#[derive(Default)]
pub(crate) struct Census {
    running: Mutex<usize>,
    changed: Condvar,
}

impl Census {
    /// Waits until no thread runs, or not longer than `timeout`. True when none runs.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> bool {
        let running = lock(&self.running);
        let Some(timeout) = timeout else {
            let ended = self.changed.wait_while(running, |running| *running > 0);
            return *ended.unwrap_or_else(PoisonError::into_inner) == 0;
        };
        let ended = self.changed.wait_timeout_while(running, timeout, |running| *running > 0);
        *ended.unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    fn enter(self: &Arc<Self>) -> Present {
        *lock(&self.running) += 1;
        Present(Arc::clone(self))
    }
}

/// One thread that runs.
struct Present(Arc<Census>);

impl Drop for Present {
    fn drop(&mut self) {
        *lock(&self.0.running) -= 1;
        self.0.changed.notify_all();
    }
}

/// Starts a worker's thread. What its runtime is, or why there is none, is sent to `ready` when it accepts.
pub(crate) fn spawn<E: Engine>(
    name: String,
    cpu: Option<CoreId>,
    station: Station,
    mailbox: Arc<Mailbox>,
    census: &Arc<Census>,
    ready: Sender<io::Result<Driver>>,
) -> io::Result<()> {
    let present = census.enter();
    let body = move || {
        let _present = present;
        if let Some(cpu) = cpu {
            // Where it runs is a matter of speed only.
            let _ = core_affinity::set_for_current(cpu);
        }
        powers::give_up(Some(&station.config));
        let choice = station.choice;
        let station = RefCell::new(station);
        let mut ready = Some(ready);
        loop {
            let started = Instant::now();
            let mut runtime = match AnyRuntime::build(choice) {
                Ok(runtime) => runtime,
                Err(error) => return fail(&station, ready, error),
            };
            let queues = runtime.own_ring(choice);
            if let Some(ready) = ready.take() {
                // Connections queue up from the moment that the sockets listen; there is nothing else to wait for.
                let _ = ready.send(Ok(runtime.driver(queues.is_some())));
            }
            let kernel = Kernel { ring: matches!(runtime, AnyRuntime::Ring(..)), queues };
            let end =
                catch_unwind(AssertUnwindSafe(|| runtime.block_on(run::<E>(&station, &mailbox, kernel))));
            let (outcome, released) =
                end.unwrap_or_else(|_| (Outcome::Panicked("panic outside a turn".to_owned()), false));
            if !released {
                // The kernel may still write to memory that the runtime would free: rather lose it.
                std::mem::forget(runtime);
            }
            match outcome {
                Outcome::Drained => return,
                Outcome::Panicked(words) => {
                    let logs = Arc::clone(&station.borrow().logs);
                    logs.write_error(0, Level::Alert, &format!("worker thread panicked: {words}"));
                    if station.borrow().draining {
                        return;
                    }
                    std::thread::sleep(RESTART_PAUSE.saturating_sub(started.elapsed()));
                }
            }
        }
    };
    std::thread::Builder::new().name(name).spawn(body).map(drop)
}

fn fail(station: &RefCell<Station>, ready: Option<Sender<io::Result<Driver>>>, error: io::Error) {
    let message = format!("no runtime for a worker thread ({})", crate::errno::text(&error));
    station.borrow().logs.write_error(0, Level::Emerg, &message);
    if let Some(ready) = ready {
        let _ = ready.send(Err(error));
    }
}
