//! Which kernel interface a worker runs on: io_uring with the flags that make it worth having, with fewer, or epoll.
//!
//! Without `DEFER_TASKRUN` and its companions io_uring is no faster than epoll, so they are asked for first. Old kernels
//! refuse them, and container runtimes forbid io_uring altogether: then the next best is taken, and the start-up notice
//! says which one runs.

use std::fmt;
use std::future::Future;
use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

use crate::ring::Queues;

/// Submission entries: how many operations one turn may start before the queue must be handed over early.
const SUBMISSION_ENTRIES: u32 = 1024;
/// Completion entries: how many completions fit before the kernel must set them aside.
const COMPLETION_ENTRIES: u32 = 8192;

/// The kernel interface that the workers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    IoUring {
        /// The flags that its rings were made with.
        flags: RingFlags,
        /// Whether the sockets have a ring of their own beside monoio's.
        own_ring: bool,
    },
    /// monoio's epoll driver.
    Epoll,
}

/// How a ring is set up, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFlags {
    /// `SINGLE_ISSUER | DEFER_TASKRUN | COOP_TASKRUN | SUBMIT_ALL` (Linux 6.1).
    Deferred,
    /// `COOP_TASKRUN | SUBMIT_ALL` (Linux 5.19).
    Cooperative,
    /// None at all.
    Plain,
}

impl fmt::Display for Driver {
    /// For the start-up notice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring { own_ring: true, .. } => {
                "io_uring (own ring; SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN, SUBMIT_ALL)"
            }
            Self::IoUring { flags: RingFlags::Deferred, .. } => {
                "io_uring (SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN, SUBMIT_ALL)"
            }
            Self::IoUring { flags: RingFlags::Cooperative, .. } => "io_uring (COOP_TASKRUN, SUBMIT_ALL)",
            Self::IoUring { flags: RingFlags::Plain, .. } => "io_uring (no flags)",
            Self::Epoll => "epoll",
        })
    }
}

/// The environment variable that forces a driver that is not the best: `monoio` or `epoll`.
const FORCE: &str = "RINGGATE_DRIVER";

/// Which driver to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The best that this kernel lets this process have.
    Best,
    /// The best without a ring of our own: the sockets are monoio's, too.
    Monoio,
    /// epoll, even where io_uring is to be had.
    Epoll,
}

impl Choice {
    /// The best, unless the environment says `RINGGATE_DRIVER=monoio` or `RINGGATE_DRIVER=epoll`.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var(FORCE).as_deref() {
            Ok("epoll") => Self::Epoll,
            Ok("monoio") => Self::Monoio,
            Ok(_) | Err(_) => Self::Best,
        }
    }
}

/// A monoio runtime; it stays on the thread that made it.
pub(crate) enum AnyRuntime {
    Ring(Runtime<TimeDriver<IoUringDriver>>, RingFlags),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

impl AnyRuntime {
    /// A runtime for this thread.
    pub(crate) fn build(choice: Choice) -> io::Result<Self> {
        if choice != Choice::Epoll && monoio::utils::detect_uring() {
            for flags in [RingFlags::Deferred, RingFlags::Cooperative, RingFlags::Plain] {
                if let Ok(runtime) = ring(flags) {
                    return Ok(Self::Ring(runtime, flags));
                }
            }
        }
        let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
        Ok(Self::Epoll(runtime))
    }

    /// A ring for the sockets of this thread, where it is better than monoio's.
    pub(crate) fn own_ring(&self, choice: Choice) -> Option<Queues> {
        match (self, choice) {
            (Self::Ring(_, RingFlags::Deferred), Choice::Best) => Queues::new().ok(),
            (Self::Ring(..) | Self::Epoll(_), _) => None,
        }
    }

    pub(crate) const fn driver(&self, own_ring: bool) -> Driver {
        match self {
            Self::Ring(_, flags) => Driver::IoUring { flags: *flags, own_ring },
            Self::Epoll(_) => Driver::Epoll,
        }
    }

    pub(crate) fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match self {
            Self::Ring(runtime, _) => runtime.block_on(future),
            Self::Epoll(runtime) => runtime.block_on(future),
        }
    }
}

fn ring(flags: RingFlags) -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut setup = io_uring::IoUring::builder();
    setup.setup_cqsize(COMPLETION_ENTRIES);
    match flags {
        RingFlags::Deferred => {
            setup.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_submit_all();
        }
        RingFlags::Cooperative => {
            setup.setup_coop_taskrun().setup_submit_all();
        }
        RingFlags::Plain => {}
    }
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(SUBMISSION_ENTRIES)
        .uring_builder(setup)
        .enable_timer()
        .build()
}
