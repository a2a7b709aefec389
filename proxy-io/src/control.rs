//! What other threads tell a worker: the mailbox, its messages, and how it wakes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use proxy_core::config::Config;

use crate::listen::WorkerListener;
use crate::logfile::Logs;
use crate::ready::Token;

/// A message to a worker.
pub(crate) enum Message {
    /// A future that waited for another thread can go on.
    Ready(Token),
    /// A new configuration.
    Reload(Box<Reload>),
    /// Write what is buffered, and let the log files of computed names be opened again.
    ReopenLogs,
    /// Close the listeners.
    StopAccepting,
    /// Close the listeners and drain.
    Shutdown,
    /// Close everything and end.
    Stop,
}

/// A new configuration and what comes with it.
pub(crate) struct Reload {
    pub(crate) config: Arc<Config>,
    pub(crate) listeners: Vec<WorkerListener>,
    pub(crate) logs: Arc<Logs>,
    /// Told when the worker has switched.
    pub(crate) done: Sender<()>,
}

/// The messages to one worker. It outlives the worker's runtime, so that none is lost when a panic restarts it.
pub(crate) struct Mailbox {
    id: u64,
    /// Whether there are messages: read once per turn without taking the lock.
    full: AtomicBool,
    messages: Mutex<Vec<Message>>,
    task: Mutex<Option<Waker>>,
}

impl Mailbox {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            full: AtomicBool::new(false),
            messages: Mutex::default(),
            task: Mutex::default(),
        })
    }

    /// Unique in the process, and never 0.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Leaves a message and wakes the worker.
    pub(crate) fn post(&self, message: Message) {
        lock(&self.messages).push(message);
        self.full.store(true, Ordering::Release);
        let task = lock(&self.task).clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Takes all messages.
    pub(crate) fn take(&self) -> Vec<Message> {
        if self.full.swap(false, Ordering::Acquire) {
            std::mem::take(&mut *lock(&self.messages))
        } else {
            Vec::new()
        }
    }

    pub(crate) fn settle(&self, task: Waker) {
        *lock(&self.task) = Some(task);
    }

    pub(crate) fn leave(&self) {
        *lock(&self.task) = None;
    }
}

/// A panic elsewhere leaves these values whole: every change to them is a single step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
