//! The driver: threads, sockets, files, clocks and names for a core that knows none of them.
//!
//! It carries commands out and reports what became of them, and never looks inside a buffer. The contract is
//! [`proxy_core::command`]; [`Engine`] is the core as seen from here.
//!
//! ```text
//!   Fleet ──> thread (pinned) ──> runtime (io_uring or epoll, by monoio)
//!                │ mailbox: reload, reopen, drain           │
//!                └─> dispatch: one turn after the other ────┘
//!                      ├─ table ── ring: receiving and sending by our own queue, or
//!                      │           conn: a reader and a writer for each connection, by monoio
//!                      ├─ accept, connect
//!                      ├─ jobs ── file, resolve (blocking: helper threads)
//!                      ├─ timer: one for all deadlines
//!                      └─ logfile
//! ```
//!
//! Reading order: [`fleet`], `thread`, `dispatch`, `ready`, `table`, `ring`, `conn`. All `unsafe` is in `kernel` and in
//! `ring`'s two parts that share memory with the kernel.

mod accept;
mod blocking;
mod clock;
mod conn;
mod connect;
mod control;
mod directory;
mod dispatch;
mod engine;
mod entropy;
mod errno;
mod file;
pub mod fleet;
pub mod inherit;
mod jobs;
mod kernel;
mod listen;
mod logfile;
mod place;
pub mod powers;
mod ready;
mod resolve;
mod ring;
mod runtime;
mod state;
mod syslog;
mod table;
mod thread;
mod timer;

pub use directory::open_checked;
pub use engine::Engine;
pub use fleet::{Crew, Fleet, worker_count};
pub use listen::{BindError, Bound, bind, check};
pub use logfile::{LogError, Logs};
pub use runtime::{Choice, Driver, RingFlags};
