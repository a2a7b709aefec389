//! The machine's files, read at once and never written: what a request would store stays in memory.

use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use proxy_core::buf::Buf;
use proxy_core::command::{DirectoryEntry, FileInfo, FileKind, IoError, OpenMode};

/// An open file.
pub(super) enum Opened {
    /// One of the machine's.
    Real(File),
    /// A temporary one.
    Memory(Vec<u8>),
}

/// Whether somebody asked for this very file; a temporary one is the proxy's own affair.
pub(super) fn is_asked_for(mode: &OpenMode) -> bool {
    matches!(mode, OpenMode::Read | OpenMode::ReadChecked(_))
}

pub(super) fn open(path: &[u8], mode: &OpenMode) -> (Option<Opened>, Result<FileInfo, IoError>) {
    if !is_asked_for(mode) {
        let info = FileInfo { kind: FileKind::Regular, size: 0, mtime_s: 0, executable: false };
        return (Some(Opened::Memory(Vec::new())), Ok(info));
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let opened = match mode {
        OpenMode::ReadChecked(check) => proxy_io::open_checked(path, *check),
        // A FIFO without a writer must not hold us up.
        OpenMode::Read | OpenMode::Temp | OpenMode::New { .. } | OpenMode::Update => {
            std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
        }
    };
    match opened.and_then(|file| Ok((file.metadata()?, file))) {
        Ok((meta, file)) => {
            let info = FileInfo {
                kind: kind(meta.is_file(), meta.is_dir()),
                size: meta.len(),
                mtime_s: meta.mtime(),
                executable: meta.mode() & libc::S_IXUSR != 0,
            };
            (Some(Opened::Real(file)), Ok(info))
        }
        Err(error) => (None, Err(number(&error))),
    }
}

impl Opened {
    /// Reads once, as much as there is room for.
    pub(super) fn read(&self, offset: u64, len: usize, into: &mut Buf) -> Result<(), IoError> {
        let len = len.min(into.spare());
        match self {
            Self::Real(file) => {
                let spare = into.spare_mut();
                let room = spare.get_mut(..len).unwrap_or_default();
                let read = file.read_at(room, offset).map_err(|error| number(&error))?;
                into.advance(read);
            }
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(len).min(bytes.len());
                let fits = into.try_extend(bytes.get(start..end).unwrap_or_default());
                debug_assert!(fits, "it was cut to the room there is");
            }
        }
        Ok(())
    }

    /// Writes to a temporary file.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if let (Self::Memory(memory), Ok(offset)) = (self, usize::try_from(offset)) {
            memory.truncate(offset);
            memory.resize(offset, 0);
            memory.extend_from_slice(bytes);
        }
    }
}

pub(super) fn list(path: &[u8]) -> Result<Vec<DirectoryEntry>, IoError> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let entries = std::fs::read_dir(path).map_err(|error| number(&error))?;
    let entry = |entry: std::fs::DirEntry| {
        let meta = std::fs::metadata(entry.path()).ok()?;
        let name = entry.file_name().into_vec();
        let kind = kind(meta.is_file(), meta.is_dir());
        let listed = DirectoryEntry { name: name.into(), kind, size: meta.len(), mtime_s: meta.mtime() };
        (!listed.name.starts_with(b".")).then_some(listed)
    };
    Ok(entries.flatten().filter_map(entry).collect())
}

const fn kind(is_file: bool, is_directory: bool) -> FileKind {
    match (is_file, is_directory) {
        (true, _) => FileKind::Regular,
        (_, true) => FileKind::Directory,
        (false, false) => FileKind::Other,
    }
}

fn number(error: &io::Error) -> IoError {
    IoError { errno: error.raw_os_error().unwrap_or(libc::EIO) }
}
