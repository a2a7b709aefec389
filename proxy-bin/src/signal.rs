//! The signals that this process answers, as events for its main thread.
//!
//! They are blocked in every thread, so that none interrupts anything, and one thread waits for them. A signal that
//! comes while the process still starts is answered once it serves.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// HUP: read the configuration again.
    Reload,
    /// USR1: open the log files again.
    Reopen,
    /// WINCH: accept nothing more.
    StopAccepting,
    /// QUIT: finish what is in flight, then exit.
    Quit,
    /// TERM, INT: exit at once.
    Stop,
    /// USR2: replace the binary.
    Upgrade,
    /// CHLD: a process that this one started has ended.
    Reap,
}

/// Each signal and its meaning.
const TABLE: [(Signal, Request); 8] = [
    (Signal::SIGHUP, Request::Reload),
    (Signal::SIGUSR1, Request::Reopen),
    (Signal::SIGWINCH, Request::StopAccepting),
    (Signal::SIGQUIT, Request::Quit),
    (Signal::SIGTERM, Request::Stop),
    (Signal::SIGINT, Request::Stop),
    (Signal::SIGUSR2, Request::Upgrade),
    (Signal::SIGCHLD, Request::Reap),
];

fn signals() -> SigSet {
    TABLE.iter().map(|(signal, _)| *signal).collect()
}

/// Blocks the signals in this thread and those that it will start; to be called before any other thread exists.
///
/// # Errors
/// What the system says.
pub fn block() -> io::Result<()> {
    Ok(signals().thread_block()?)
}

/// Starts the thread that waits. Each event carries the signal, for the log.
///
/// # Errors
/// What the system says to a thread.
pub fn listen() -> io::Result<Receiver<(Signal, Request)>> {
    let (sender, receiver) = channel();
    let wait = move || {
        proxy_io::powers::give_up(None);
        let set = signals();
        loop {
            let Ok(signal) = set.wait() else { continue };
            let known = TABLE.iter().find(|(known, _)| *known == signal);
            if known.is_some_and(|event| sender.send(*event).is_err()) {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(receiver)
}

/// The log line for a signal, in nginx's words.
#[must_use]
pub fn describe(signal: Signal, request: Request) -> String {
    let what = match request {
        Request::Reload => "reconfiguring",
        Request::Reopen => "reopening logs",
        Request::StopAccepting => "no longer accepting connections",
        Request::Quit => "shutting down",
        Request::Stop => "exiting",
        Request::Reap => "a child has ended",
        Request::Upgrade => "changing binary",
    };
    format!("signal {} ({}) received, {what}", signal as i32, signal.as_str())
}
