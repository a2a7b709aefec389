//! The main and events levels.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::command::{Address, Level};
use crate::time::Millis;

/// Process-level settings that the driver and the binary obey.
#[derive(Clone, Debug)]
pub struct Process {
    /// `worker_processes`
    pub workers: WorkerCount,
    /// `worker_connections`: how many connections one worker holds at most, upstream ones included.
    pub worker_connections: u32,
    /// `worker_rlimit_nofile`
    pub open_files_max: Option<u64>,
    /// `worker_shutdown_timeout`; none is no bound.
    pub shutdown_timeout: Option<Millis>,
    /// `multi_accept`
    pub multi_accept: bool,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            workers: WorkerCount::Fixed(1),
            worker_connections: 512,
            open_files_max: None,
            shutdown_timeout: None,
            multi_accept: false,
        }
    }
}

/// `worker_processes`: how many worker threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    /// This many.
    Fixed(u32),
    /// One for each CPU that the process may run on.
    Auto,
}

/// A file that error lines go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLogFile {
    /// Where to.
    pub sink: LogSink,
    /// The least severe level that any `error_log` directive sends here.
    pub level: Level,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    /// The process's standard error.
    Stderr,
    /// Appended to this file; the path is absolute.
    File(Box<str>),
    /// Sent to a syslog server.
    Syslog(Arc<Syslog>),
}

/// `syslog:…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The parameter as it is written.
    pub text: Box<str>,
    /// `server`: an address for UDP, or a Unix socket's path.
    pub server: Address,
    /// `facility`, 0 to 23.
    pub facility: u8,
    /// `severity` of access lines, 0 to 7; an error line has its level's.
    pub severity: u8,
    /// `tag`
    pub tag: Box<str>,
    /// `nohostname`
    pub without_hostname: bool,
}
