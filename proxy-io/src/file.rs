//! Files: through io_uring where there is one, and on helper threads where not, so that no disk stops a worker.

use std::fs::{File as StdFile, OpenOptions as StdOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use monoio::fs::File as RingFile;
use proxy_core::buf::{Buf, Chain};
use proxy_core::command::{FileInfo, FileKind, IoError, OpenMode};

use crate::blocking::FILES;
use crate::conn::Shelf;
use crate::directory::open_checked;
use crate::entropy;
use crate::errno;
use crate::kernel::{Filling, Held, Reading, set_blocking};

/// `EAGAIN`, where the helper threads have too much to do.
const BUSY: IoError = IoError { errno: libc::EAGAIN };
/// `EIO`, where the system took nothing and gave no reason.
const STUCK: IoError = IoError { errno: libc::EIO };
/// Temporary files are nobody else's business.
const TEMP_MODE: u32 = 0o600;
/// So are the directories that are made for them.
const DIRECTORY_MODE: u32 = 0o700;
/// How many names are tried for a temporary file where the file system has no unnamed ones.
const NAMES_MAX: usize = 16;

/// An open file. Cloning it clones a handle.
#[derive(Clone)]
pub(crate) enum Handle {
    /// Read and written by io_uring.
    Ring(Rc<RingFile>),
    /// Read and written by helper threads.
    Plain(Arc<PlainFile>),
}

/// A file that helper threads work on.
pub(crate) struct PlainFile {
    file: StdFile,
    /// Its name, where it is removed with its last handle.
    passing: Option<PathBuf>,
}

impl Drop for PlainFile {
    fn drop(&mut self) {
        if let Some(path) = &self.passing {
            // Whoever took it away before has saved us the trouble.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Opens `path` as `mode` says.
pub(crate) async fn open(path: Arc<[u8]>, mode: OpenMode, ring: bool) -> Result<(Handle, FileInfo), IoError> {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
    if ring && !matches!(mode, OpenMode::New { .. } | OpenMode::ReadChecked(_) | OpenMode::Update) {
        match open_ring(&path, &mode).await {
            Err(error) if mode == OpenMode::Temp && is_unnamed_unknown(&error) => {}
            result => return result.map_err(|error| errno::number(&error)),
        }
    }
    let opened = FILES.run(move || open_plain(&path, &mode).map_err(|error| errno::number(&error))).await;
    let (file, info) = opened.unwrap_or(Err(BUSY))?;
    Ok((Handle::Plain(Arc::new(file)), info))
}

async fn open_ring(path: &Path, mode: &OpenMode) -> io::Result<(Handle, FileInfo)> {
    let mut options = monoio::fs::OpenOptions::new();
    match mode {
        // A FIFO without a writer must not hold the opener up.
        OpenMode::Read => options.read(true).custom_flags(libc::O_NONBLOCK),
        OpenMode::Temp => options.read(true).write(true).custom_flags(libc::O_TMPFILE).mode(TEMP_MODE),
        OpenMode::New { .. } => options.read(true).write(true).create_new(true).mode(TEMP_MODE),
        // Not here: the caller sees to it.
        OpenMode::ReadChecked(_) | OpenMode::Update => return Err(io::ErrorKind::Unsupported.into()),
    };
    let file = options.open(path).await?;
    let meta = file.metadata().await?;
    let info = FileInfo {
        kind: kind(meta.is_file(), meta.is_dir()),
        size: meta.len(),
        mtime_s: meta.mtime(),
        executable: meta.mode() & libc::S_IXUSR != 0,
    };
    if info.kind == FileKind::Regular && *mode == OpenMode::Read {
        // io_uring would answer EAGAIN where the page is not in memory, instead of fetching it.
        set_blocking(&file)?;
    }
    Ok((Handle::Ring(Rc::new(file)), info))
}

fn open_plain(path: &Path, mode: &OpenMode) -> io::Result<(PlainFile, FileInfo)> {
    let file = match mode {
        OpenMode::Read => StdOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?,
        OpenMode::ReadChecked(check) => open_checked(path, *check)?,
        OpenMode::Temp => open_temp(path)?,
        OpenMode::New { .. } => open_new(path)?,
        OpenMode::Update => {
            StdOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?
        }
    };
    let meta = file.metadata()?;
    let info = FileInfo {
        kind: kind(meta.is_file(), meta.is_dir()),
        size: meta.len(),
        mtime_s: meta.mtime(),
        executable: meta.mode() & libc::S_IXUSR != 0,
    };
    let passing = (*mode == OpenMode::New { stays: false }).then(|| path.to_owned());
    Ok((PlainFile { file, passing }, info))
}

fn open_new(path: &Path) -> io::Result<StdFile> {
    let mut options = StdOptions::new();
    options.read(true).write(true).create_new(true).mode(TEMP_MODE);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path);
            std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
            options.open(path)
        }
        result => result,
    }
}

fn open_temp(directory: &Path) -> io::Result<StdFile> {
    let mut options = StdOptions::new();
    options.read(true).write(true).mode(TEMP_MODE);
    match options.clone().custom_flags(libc::O_TMPFILE).open(directory) {
        Err(error) if is_unnamed_unknown(&error) => {}
        result => return result,
    }
    for _ in 0..NAMES_MAX {
        let path = directory.join(format!(".ringgate-{:016x}", entropy::seed()));
        match options.clone().create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether the kernel or the file system does not know `O_TMPFILE` (open(2) lists these numbers).
fn is_unnamed_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EISDIR | libc::EOPNOTSUPP | libc::EINVAL))
}

pub(crate) const fn kind(is_file: bool, is_directory: bool) -> FileKind {
    match (is_file, is_directory) {
        (true, _) => FileKind::Regular,
        (false, true) => FileKind::Directory,
        (false, false) => FileKind::Other,
    }
}

/// Reads once, at most `len` bytes and at most a large block.
pub(crate) async fn read(handle: Handle, offset: u64, len: usize, shelf: Rc<Shelf>) -> Result<Buf, IoError> {
    let mut buf = shelf.pools.large.take();
    match handle {
        Handle::Ring(file) => {
            let (result, memory) = file.read_at(Filling::new(buf, len, &shelf.receiving), offset).await;
            result.map(|_| memory.into_buf()).map_err(|error| errno::number(&error))
        }
        Handle::Plain(file) => {
            let len = len.min(buf.spare());
            let task = move || {
                let mut bytes = vec![0; len];
                let n = file.file.read_at(&mut bytes, offset).map_err(|error| errno::number(&error))?;
                bytes.truncate(n);
                Ok(bytes)
            };
            let bytes = FILES.run(task).await.unwrap_or(Err(BUSY))?;
            let whole = buf.try_extend(&bytes);
            debug_assert!(whole, "no more was read than there is room for");
            Ok(buf)
        }
    }
}

/// Writes all of `chain` at `offset`.
pub(crate) async fn write(handle: Handle, offset: u64, chain: &Chain, held: &Held) -> Result<(), IoError> {
    match handle {
        Handle::Ring(file) => write_ring(&file, offset, chain, held).await,
        Handle::Plain(file) => {
            let bytes = chain.to_vec();
            let task = move || file.file.write_all_at(&bytes, offset).map_err(|error| errno::number(&error));
            FILES.run(task).await.unwrap_or(Err(BUSY))
        }
    }
}

async fn write_ring(file: &RingFile, mut offset: u64, chain: &Chain, held: &Held) -> Result<(), IoError> {
    for chunk in chain.chunks() {
        let mut start = 0;
        while start < chunk.len() {
            let (result, _) = file.write_at(Reading::new(chunk.clone(), start, held), offset).await;
            match result.map_err(|error| errno::number(&error))? {
                0 => return Err(STUCK),
                n => {
                    start += n;
                    offset += n as u64;
                }
            }
        }
    }
    Ok(())
}
