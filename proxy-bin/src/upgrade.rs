//! `SIGUSR2`: another binary takes over the listening sockets, while this one serves on until it is told to quit.
//!
//! It is nginx's protocol, so either side may be nginx: the program that was started is started again with the same
//! arguments, it learns of the sockets from the environment ([`proxy_io::inherit`]), and the pid file of this process
//! becomes `….oldbin`. `QUIT` ends the old process. If the new one ends first, the old one goes on as before.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::unistd::{Pid, getppid};
use proxy_core::command::Level;
use proxy_io::inherit::{Handover, VARIABLE, inherit, take_back};
use proxy_io::{Bound, powers};

use crate::run::Process;
use crate::say;

/// What the pid file of the old process ends with.
const OLD: &str = ".oldbin";

/// What this process was started with by another one that it is to replace.
#[derive(Default)]
pub struct Heritage {
    /// The sockets.
    pub bound: Option<Bound>,
    /// The other process.
    predecessor: Option<Pid>,
    /// What was wrong with it.
    pub complaint: Option<String>,
}

impl Heritage {
    /// To be called once.
    #[must_use]
    pub fn take() -> Self {
        let Some(numbers) = std::env::var(VARIABLE).ok().filter(|numbers| !numbers.is_empty()) else {
            return Self::default();
        };
        let (bound, complaint) = inherit(&numbers);
        Self { bound: Some(bound), predecessor: Some(getppid()), complaint }
    }

    fn is_replacing(&self) -> bool {
        self.predecessor.is_some_and(|pid| pid == getppid())
    }
}

/// Starts the new binary; says in the log how it went.
pub fn upgrade(process: &mut Process) {
    if process.successor.is_some() || process.heritage.is_replacing() {
        process.log(Level::Notice, "another binary is taking over already, ignoring");
        return;
    }
    if let Err(message) = set_pid_file_aside(process) {
        process.log(Level::Alert, &message);
        return;
    }
    match start(&process.fleet.bound()) {
        Ok(child) => {
            process.log(Level::Notice, &format!("start new binary process {}", child.id()));
            process.successor = Some(child);
        }
        Err(error) => {
            let message =
                format!("execve() failed while executing new binary process ({})", say::errno(&error));
            process.log(Level::Alert, &message);
            resume(process);
        }
    }
}

/// A child has ended: the successor, if there is one.
pub fn look_at_successor(process: &mut Process) {
    let Some(child) = &mut process.successor else { return };
    let Ok(Some(status)) = child.try_wait() else { return };
    let (id, (level, how)) = (child.id(), told(status));
    process.log(level, &format!("new binary process {id} {how}"));
    process.successor = None;
    resume(process);
    if !process.accepting {
        powers::with(|| crate::reload::reload(process));
    }
}

fn told(status: ExitStatus) -> (Level, String) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (Level::Notice, format!("exited with code {code}")),
        (None, Some(signal)) => (Level::Alert, format!("exited on signal {signal}")),
        (None, None) => (Level::Alert, format!("ended: {status}")),
    }
}

fn start(bound: &Bound) -> io::Result<Child> {
    let sockets = Handover::new(bound)?;
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| OsString::from("ringgate"));
    let mut command = Command::new(program);
    command.args(words).env(VARIABLE, sockets.numbers()).stdin(Stdio::null());
    powers::hand_on(|| command.spawn())
}

fn set_pid_file_aside(process: &mut Process) -> Result<(), String> {
    let Some(file) = &mut process.pid_file else { return Ok(()) };
    let mut name = file.path().as_os_str().to_owned();
    name.push(OLD);
    let (old, aside) = (file.path().display().to_string(), PathBuf::from(name));
    let shown = aside.display().to_string();
    file.rename(aside).map_err(|error| {
        let reason = say::errno(&error);
        format!("rename() {old} to {shown} failed before executing new binary process ({reason})")
    })
}

/// As if nothing had happened.
fn resume(process: &mut Process) {
    take_back(&process.fleet.bound());
    let Some(file) = &mut process.pid_file else { return };
    // Without `OLD`.
    let path = file.path().with_extension("");
    let shown = path.display().to_string();
    if let Err(error) = file.rename(path) {
        process.log(Level::Alert, &format!("rename() to {shown} failed ({})", say::errno(&error)));
    }
}
