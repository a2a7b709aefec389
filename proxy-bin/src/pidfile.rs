//! The pid file: a line with the process to signal, there exactly while this process serves.
//!
//! A process that gave root up makes and removes it in `/run` with what it kept ([`proxy_io::powers`]). Where it could
//! keep nothing (a container without `CAP_DAC_OVERRIDE`) the file is made empty beforehand, and emptied at the end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, getpid};
use proxy_io::powers;

use crate::privilege::{self, Identity};
use crate::say;

/// The pid file of this process; dropping it removes the file.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    pid: Pid,
}

impl PidFile {
    /// Makes the file while this process is root and may, if it is to be `identity`'s and could not be made later.
    ///
    /// # Errors
    /// nginx's words for a file that cannot be made.
    pub fn prepare(path: &Path, identity: &Identity) -> Result<(), String> {
        if identity.uid.is_root() || powers::opens_all_files() {
            return Ok(());
        }
        fs::File::create(path).map_err(failed(path))?;
        privilege::hand_over(path, identity)
    }

    /// Writes the id of this process. The line appears whole or not at all.
    ///
    /// # Errors
    /// nginx's words for a file that cannot be written.
    pub fn write(path: &Path) -> Result<Self, String> {
        let pid = getpid();
        let line = format!("{pid}\n");
        let part = temporary(path, pid);
        let written = powers::with(|| {
            let renamed = fs::write(&part, &line).and_then(|()| fs::rename(&part, path));
            renamed.or_else(|error| {
                let _ = fs::remove_file(&part);
                // The directory is another user's; the file may be ours.
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                if denied { fs::write(path, &line) } else { Err(error) }
            })
        });
        written.map_err(failed(path))?;
        Ok(Self { path: path.to_path_buf(), pid })
    }

    /// Gives the file another name, for a successor that takes its place.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        powers::with(|| fs::rename(&self.path, &path))?;
        self.path = path;
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        powers::with(|| remove(&self.path, self.pid));
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("open() \"{}\" failed ({})", path.display(), say::errno(&error))
}

/// Where the line is written before it takes its place.
fn temporary(path: &Path, pid: Pid) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{pid}"));
    name.into()
}

/// Removes the file if it still names `pid`: a successor may have replaced it.
fn remove(path: &Path, pid: Pid) {
    if read(path).is_ok_and(|found| found == pid) && fs::remove_file(path).is_err() {
        let _ = fs::write(path, "");
    }
}

/// The process that a pid file names.
///
/// # Errors
/// nginx's words: the file cannot be opened, or holds no pid.
pub fn read(path: &Path) -> Result<Pid, String> {
    let bytes = fs::read(path).map_err(failed(path))?;
    let text = String::from_utf8_lossy(&bytes);
    let number = text.trim_end_matches(['\r', '\n']);
    let pid = number.parse().ok().filter(|pid| *pid > 0);
    pid.map(Pid::from_raw).ok_or_else(|| format!("invalid PID number \"{number}\" in \"{}\"", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lives_as_long_as_its_owner() {
        let dir = std::env::temp_dir().join(format!("ringgate-pid-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("nginx.pid");
        let missing = format!("open() \"{}\" failed (2: No such file or directory)", path.display());
        assert_eq!(read(&path), Err(missing));
        let file = PidFile::write(&path).unwrap();
        assert_eq!(read(&path), Ok(getpid()));
        drop(file);
        assert!(!path.exists());

        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(read(&path), Ok(Pid::from_raw(1)), "a successor's file stays");

        for text in ["", "x", "-4", "0", "12 13"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path), Err(format!("invalid PID number \"{text}\" in \"{}\"", path.display())));
        }
        assert!(PidFile::write(&dir.join("no/nginx.pid")).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
