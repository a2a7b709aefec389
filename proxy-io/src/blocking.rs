//! Helper threads for the calls that cannot but block: name resolution, and files where io_uring is not to be had.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::control::lock;

/// How many tasks may wait for a thread.
const QUEUE_MAX: usize = 4096;
/// Room for the resolver's plugins.
const STACK_BYTES: usize = 512 << 10;

type Task = Box<dyn FnOnce() + Send>;

/// A few threads with a bounded queue. They live as long as the process.
pub(crate) struct Threads {
    name: &'static str,
    threads: usize,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    queue: VecDeque<Task>,
    started: usize,
}

/// For files.
pub(crate) static FILES: Threads = Threads::new("file", 2);
/// For names: a resolver that does not answer holds its thread for many seconds, and must not hold up a file.
pub(crate) static NAMES: Threads = Threads::new("resolve", 4);

/// For passwords, which are slow to compare by design: all of them together hold up nothing but each other.
pub(crate) static PASSWORDS: Threads = Threads::new("password", 2);

/// Starts all helper threads that do not run yet. Not to be called by a worker: they would inherit its CPU.
pub(crate) fn start() {
    FILES.start();
    NAMES.start();
    PASSWORDS.start();
}

/// The queue is full, or the task panicked.
#[derive(Debug)]
pub(crate) struct Refused;

struct Answer<T> {
    value: Option<Result<T, Refused>>,
    waker: Option<Waker>,
}

impl Threads {
    const fn new(name: &'static str, threads: usize) -> Self {
        let state = State { queue: VecDeque::new(), started: 0 };
        Self { name, threads, state: Mutex::new(state), wake: Condvar::new() }
    }

    fn start(&'static self) {
        let mut state = lock(&self.state);
        while state.started < self.threads {
            let thread = std::thread::Builder::new().name(self.name.to_owned()).stack_size(STACK_BYTES);
            if thread.spawn(|| self.begin()).is_err() {
                break;
            }
            state.started += 1;
        }
    }

    fn begin(&'static self) {
        crate::powers::give_up(None);
        self.work();
    }

    /// Runs `task` on one of the threads and waits for its result without blocking this one.
    pub(crate) async fn run<T: Send + 'static>(
        &'static self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let answer = Arc::new(Mutex::new(Answer { value: None, waker: None }));
        let told = Arc::clone(&answer);
        self.push(Box::new(move || {
            let value = catch_unwind(AssertUnwindSafe(task)).map_err(|_| Refused);
            let mut answer = lock(&told);
            answer.value = Some(value);
            let waker = answer.waker.take();
            drop(answer);
            if let Some(waker) = waker {
                waker.wake();
            }
        }))?;
        poll_fn(|cx| {
            let mut answer = lock(&answer);
            if let Some(value) = answer.value.take() {
                return Poll::Ready(value);
            }
            answer.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn push(&'static self, task: Task) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if state.queue.len() >= QUEUE_MAX || state.started == 0 {
            return Err(Refused);
        }
        state.queue.push_back(task);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            while let Some(task) = state.queue.pop_front() {
                drop(state);
                task();
                state = lock(&self.state);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
