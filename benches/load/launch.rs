//! Starting children that stay on their core and never outlive this process.
//!
//! A child is started through this same binary (`load launch CORE PROGRAM …`), which pins itself, asks the kernel for a
//! SIGTERM when its parent dies, and then becomes the program. So even a killed bench leaves nothing behind, and no
//! `unsafe` is needed between fork and exec.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::CpuSet;

use crate::{Result, cpu};

/// Where the proxy under test runs, alone.
pub(crate) const PROXY_CORE: usize = 0;
/// Where the upstream and the load generator run.
pub(crate) const LOAD_CORE: usize = 1;

/// How long a child may take to go after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// Turns this process into `command` on `core`; returns only to say why it could not.
pub(crate) fn become_program(core: usize, command: &[OsString]) -> Box<dyn std::error::Error + Send + Sync> {
    let Some((program, arguments)) = command.split_first() else { return "launch: which program?".into() };
    if let Err(error) = pin(core) {
        return error;
    }
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        return error.into();
    }
    format!("{}: {}", program.display(), Command::new(program).args(arguments).exec()).into()
}

/// A command that will run `program` on `core` and go down with this process.
pub(crate) fn command(core: usize, program: impl AsRef<OsStr>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("launch").arg(core.to_string()).arg(program);
    Ok(command)
}

/// Keeps the calling thread, and the threads that it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| format!("cannot pin to core {core}: {error}; two cores are needed").into())
}

/// Lets this process and its children hold at least `wanted` open files.
pub(crate) fn raise_open_files(wanted: u64) -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .map_err(|error| format!("{wanted} open files are needed (ulimit -n): {error}").into())
}

/// The first file called `name` in PATH, or in the directories where daemons live.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// A child and all its descendants; dropping it ends them.
pub(crate) struct Guard(pub(crate) Child);

impl Guard {
    /// The child's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends the child a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // It may be gone already, which is what was wanted.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Waits for the child to end by itself until `deadline`.
    pub(crate) fn wait_until(&mut self, deadline: Instant) -> bool {
        loop {
            match self.0.try_wait() {
                Ok(Some(_)) | Err(_) => return true,
                Ok(None) if Instant::now() >= deadline => return false,
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.wait_until(Instant::now()) {
            return;
        }
        let family = cpu::family(self.pid());
        self.signal(Signal::TERM);
        if !self.wait_until(Instant::now() + GRACE) {
            for pid in family.iter().filter_map(|&pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

/// A directory for one run's files, removed on drop. Workers that run as another user may enter it.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Makes one for `label`.
    pub(crate) fn new(label: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("ringgate-load-{}-{label}", std::process::id()));
        std::fs::create_dir_all(path.join("logs"))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Left-over files in the temporary directory harm nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
