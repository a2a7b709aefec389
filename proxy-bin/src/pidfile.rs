//! The pid file: a line with the process to signal, there exactly while this process serves.
//!
//! A process that gave root up can neither make nor remove a file in `/run`. So before it does, it leaves a [`Keeper`]
//! behind: a child that stays root, writes the file when it is told, waits for its parent's end, removes the file, and
//! does nothing else.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, getpid};

use crate::say;

/// The pid file of this process; dropping it removes the file.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    pid: Pid,
}

impl PidFile {
    /// Writes the id of `pid`, which is this process or the one that a [`Keeper`] keeps it for. The line appears whole or not at all.
    ///
    /// # Errors
    /// nginx's words for a file that cannot be written.
    pub fn write(path: &Path, pid: Pid) -> Result<Self, String> {
        let failed = |error| format!("open() \"{}\" failed ({})", path.display(), say::errno(&error));
        let part = temporary(path, pid);
        let renamed = fs::write(&part, format!("{pid}\n")).and_then(|()| fs::rename(&part, path));
        renamed.inspect_err(|_| _ = fs::remove_file(&part)).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), pid })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        remove(&self.path, self.pid);
    }
}

/// Where the line is written before it takes its place.
fn temporary(path: &Path, pid: Pid) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{pid}"));
    name.into()
}

/// Removes the file if it still names `pid`: a successor may have replaced it.
fn remove(path: &Path, pid: Pid) {
    if read(path).is_ok_and(|found| found == pid) {
        let _ = fs::remove_file(path);
    }
}

/// The process that a pid file names.
///
/// # Errors
/// nginx's words: the file cannot be opened, or holds no pid.
pub fn read(path: &Path) -> Result<Pid, String> {
    let bytes = fs::read(path)
        .map_err(|error| format!("open() \"{}\" failed ({})", path.display(), say::errno(&error)))?;
    let text = String::from_utf8_lossy(&bytes);
    let number = text.trim_end_matches(['\r', '\n']);
    let pid = number.parse().ok().filter(|pid| *pid > 0);
    pid.map(Pid::from_raw).ok_or_else(|| format!("invalid PID number \"{number}\" in \"{}\"", path.display()))
}

/// A root child that writes and removes the pid file for a process that may not.
#[derive(Debug)]
pub struct Keeper {
    line: UnixStream,
}

impl Keeper {
    /// Forks a keeper for `path`. To be called while this process has one thread, before it binds (a child's copy of a
    /// listening socket would keep the port) and before it gives up root.
    ///
    /// # Errors
    /// What the system says to a socket or a fork.
    pub fn start(path: &Path) -> io::Result<Self> {
        let (line, far) = UnixStream::pair()?;
        match fork::fork()? {
            fork::Fork::Parent(_) => Ok(Self { line }),
            fork::Fork::Child => {
                drop(line);
                let _ = fork::setsid();
                let _ = fork::redirect_stdio();
                let _ = keep(path, far);
                std::process::exit(0)
            }
        }
    }

    /// Has the pid file of this process written.
    ///
    /// # Errors
    /// As [`PidFile::write`].
    pub fn publish(&mut self) -> Result<(), String> {
        let mut answer = String::new();
        let asked = writeln!(self.line, "{}", getpid())
            .and_then(|()| BufReader::new(&self.line).read_line(&mut answer).map(drop));
        asked.map_err(|error| format!("the pid file's keeper failed ({})", say::errno(&error)))?;
        match answer.trim_end() {
            "ok" => Ok(()),
            "" => Err("the pid file's keeper is gone".into()),
            message => Err(message.into()),
        }
    }
}

/// The keeper's life: one request, one answer, and then the wait for the other end to close.
fn keep(path: &Path, line: UnixStream) -> io::Result<()> {
    let mut asked = BufReader::new(&line);
    let mut pid = String::new();
    if asked.read_line(&mut pid)? == 0 {
        return Ok(());
    }
    let Ok(pid) = pid.trim_end().parse().map(Pid::from_raw) else { return Ok(()) };
    let written = PidFile::write(path, pid);
    let answer = written.as_ref().map_or_else(String::as_str, |_| "ok");
    writeln!(&line, "{answer}")?;
    io::copy(&mut asked, &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keeper_serves_until_the_line_closes() {
        let dir = std::env::temp_dir().join(format!("ringgate-keeper-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("nginx.pid");
        let (line, far) = UnixStream::pair().unwrap();
        let keeper = std::thread::spawn({
            let path = path.clone();
            move || keep(&path, far).unwrap()
        });
        let mut keeping = Keeper { line };
        keeping.publish().unwrap();
        assert_eq!(read(&path), Ok(getpid()));
        drop(keeping);
        keeper.join().unwrap();
        assert!(!path.exists());
        fs::remove_dir_all(&dir).unwrap();

        let (line, far) = UnixStream::pair().unwrap();
        let keeper = std::thread::spawn(move || keep(Path::new("/no/such/nginx.pid"), far).unwrap());
        let mut keeping = Keeper { line };
        assert!(keeping.publish().unwrap_err().starts_with("open() \"/no/such/nginx.pid\" failed (2: "));
        drop(keeping);
        keeper.join().unwrap();
    }

    #[test]
    fn it_lives_as_long_as_its_owner() {
        let dir = std::env::temp_dir().join(format!("ringgate-pid-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("nginx.pid");
        let missing = format!("open() \"{}\" failed (2: No such file or directory)", path.display());
        assert_eq!(read(&path), Err(missing));
        let file = PidFile::write(&path, getpid()).unwrap();
        assert_eq!(read(&path), Ok(getpid()));
        drop(file);
        assert!(!path.exists());

        let file = PidFile::write(&path, getpid()).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(read(&path), Ok(Pid::from_raw(1)), "a successor's file stays");

        for text in ["", "x", "-4", "0", "12 13"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path), Err(format!("invalid PID number \"{text}\" in \"{}\"", path.display())));
        }
        assert!(PidFile::write(&dir.join("no/nginx.pid"), getpid()).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
