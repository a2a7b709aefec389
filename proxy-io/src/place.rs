//! Where files lie: other names, no name at all, and how much room there is. On helper threads, since io_uring's own
//! operations for these would not make the directories, too.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proxy_core::command::{FileFinish, IoError};

use crate::blocking::FILES;
use crate::entropy;
use crate::errno;

/// `EAGAIN`, where the helper threads have too much to do.
const BUSY: IoError = IoError { errno: libc::EAGAIN };
/// The directories of a cache are nobody else's business.
const DIRECTORY_MODE: u32 = 0o700;

/// Gives a file another name, in the place of what has that name.
pub(crate) async fn rename(
    from: Arc<[u8]>,
    to: Arc<[u8]>,
    finish: Option<FileFinish>,
) -> Result<(), IoError> {
    let task = move || rename_plain(path(&from), path(&to), finish).map_err(|error| errno::number(&error));
    FILES.run(task).await.unwrap_or(Err(BUSY))
}

fn rename_plain(from: &Path, to: &Path, finish: Option<FileFinish>) -> io::Result<()> {
    if let Some(finish) = finish {
        complete(from, finish)?;
    }
    match rename_or_copy(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = to.parent().unwrap_or(to);
            let mode = finish.map_or(DIRECTORY_MODE, directory_mode);
            DirBuilder::new().recursive(true).mode(mode).create(directory)?;
            rename_or_copy(from, to)
        }
        result => result,
    }
}

/// Who may read a file may enter the directories above it.
const fn directory_mode(finish: FileFinish) -> u32 {
    finish.mode | (finish.mode & 0o444) >> 2
}

/// Gives a file its permissions and its time.
fn complete(file: &Path, finish: FileFinish) -> io::Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(finish.mode))?;
    if let Some(unix_s) = finish.modified_s.and_then(|unix_s| u64::try_from(unix_s).ok()) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s);
        File::options().write(true).open(file)?.set_modified(time)?;
    }
    Ok(())
}

fn rename_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.raw_os_error() == Some(libc::EXDEV) => copy(from, to),
        result => result,
    }
}

/// From one file system to another: nobody may see a part of it, so it gets its name when it is whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut part = to.as_os_str().to_owned();
    part.push(format!(".{:010}", entropy::seed() % 10_000_000_000));
    let copied = fs::copy(from, &part).and_then(|_| fs::rename(&part, to));
    if copied.is_err() {
        // It may not even have been made.
        let _ = fs::remove_file(&part);
    }
    copied
}

/// Removes a file.
pub(crate) async fn remove(name: Arc<[u8]>) {
    // One that is not there is as good as removed, and of any other nobody could make more.
    let _ = FILES.run(move || fs::remove_file(path(&name))).await;
}

/// How many bytes are free for us on the file system of a directory.
pub(crate) async fn free_space(directory: Arc<[u8]>) -> Result<u64, IoError> {
    let task = move || {
        let stat = rustix::fs::statvfs(path(&directory));
        stat.map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
            .map_err(|error| IoError { errno: error.raw_os_error() })
    };
    FILES.run(task).await.unwrap_or(Err(BUSY))
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
