//! `-s`: the running process is found by its pid file and signalled.

use std::path::Path;

use nix::sys::signal::{self, kill};

use crate::cli::Signal;
use crate::pidfile;
use crate::say;

/// Sends the signal to the process that the pid file names.
///
/// # Errors
/// nginx's words, with their level.
pub fn send(signal: Signal, pid_file: &Path) -> Result<(), String> {
    let pid = pidfile::read(pid_file).map_err(|message| format!("[error] {message}"))?;
    let number = match signal {
        Signal::Stop => signal::Signal::SIGTERM,
        Signal::Quit => signal::Signal::SIGQUIT,
        Signal::Reopen => signal::Signal::SIGUSR1,
        Signal::Reload => signal::Signal::SIGHUP,
    };
    kill(pid, number).map_err(|error| {
        format!("[alert] kill({pid}, {}) failed ({})", number as i32, say::errno(&error.into()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_named_process_gets_the_signal() {
        let dir = std::env::temp_dir().join(format!("ringgate-control-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("nginx.pid");
        // HUP and QUIT are left to the end-to-end tests: a child may have inherited that they are ignored.
        for (signal, number) in [(Signal::Stop, 15), (Signal::Reopen, 10)] {
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            std::fs::write(&path, format!("{}\n", child.id())).unwrap();
            send(signal, &path).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(number));
            // It is gone and waited for, so nobody has this pid.
            let gone = format!("[alert] kill({}, {number}) failed (3: No such process)", child.id());
            assert_eq!(send(signal, &path), Err(gone));
        }
        std::fs::remove_file(&path).unwrap();
        let missing = format!("[error] open() \"{}\" failed (2: No such file or directory)", path.display());
        assert_eq!(send(Signal::Stop, &path), Err(missing));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
