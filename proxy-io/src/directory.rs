//! Directories: what is in them, and ways through them that are looked at link by link.
//!
//! Both happen on helper threads: io_uring has no operation that lists a directory, and the other would be one operation
//! for each part of a path.

use std::fs::{File as StdFile, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proxy_core::command::{DirectoryEntry, IoError, SymlinkCheck};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use crate::blocking::FILES;
use crate::errno;
use crate::file::kind;

/// How many files are listed; what is beyond is left out.
const ENTRIES_MAX: usize = 1 << 20;
/// `EAGAIN`, where the helper threads have too much to do.
const BUSY: IoError = IoError { errno: libc::EAGAIN };

/// The files in a directory, without those whose names begin with a dot.
pub(crate) async fn list(path: Arc<[u8]>) -> Result<Vec<DirectoryEntry>, IoError> {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
    let task = move || list_plain(&path).map_err(|error| errno::number(&error));
    FILES.run(task).await.unwrap_or(Err(BUSY))
}

fn list_plain(path: &Path) -> io::Result<Vec<DirectoryEntry>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)?.take(ENTRIES_MAX) {
        let entry = entry?;
        let name = entry.file_name().into_vec();
        if name.starts_with(b".") {
            continue;
        }
        let meta = match std::fs::metadata(entry.path()) {
            Ok(meta) => meta,
            // A link that leads nowhere is listed as itself, and what may not be seen is not.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ELOOP)) => {
                match std::fs::symlink_metadata(entry.path()) {
                    Ok(meta) => meta,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => continue,
            Err(error) => return Err(error),
        };
        found.push(entry_of(name, &meta));
    }
    Ok(found)
}

fn entry_of(name: Vec<u8>, meta: &Metadata) -> DirectoryEntry {
    DirectoryEntry {
        name: name.into(),
        kind: kind(meta.is_file(), meta.is_dir()),
        size: meta.len(),
        mtime_s: meta.mtime(),
    }
}

/// Opens a file for reading, each part of its path by itself: none may be a link that `check` forbids.
///
/// # Errors
/// As `open`; `ELOOP` or `ENOTDIR` for a link.
pub fn open_checked(path: &Path, check: SymlinkCheck) -> io::Result<StdFile> {
    let bytes = path.as_os_str().as_bytes();
    let (trusted, rest) = bytes.split_at_checked(check.from).unwrap_or((bytes, b""));
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let start: &[u8] = if trusted.is_empty() { b"/" } else { trusted };
    let mut at = openat(CWD, start, directory, Mode::empty())?;
    let file = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut parts = rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() && !rest.ends_with(b"/") {
            return step(&at, part, file, check).map(StdFile::from);
        }
        at = step(&at, part, directory, check)?;
    }
    Ok(openat(&at, ".", file, Mode::empty())?.into())
}

/// One part of a path.
fn step(at: &impl AsFd, name: &[u8], flags: OFlags, check: SymlinkCheck) -> io::Result<OwnedFd> {
    if !check.same_owner {
        // A link to a directory on the way is `ENOTDIR` then, as it is for nginx: 404 and not 403.
        return Ok(openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    let opened = openat(at, name, flags, Mode::empty())?;
    let link = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if fstat(&opened)?.st_uid != link.st_uid {
        return Err(Errno::LOOP.into());
    }
    Ok(opened)
}
