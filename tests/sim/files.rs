//! A file system in memory: temporary files that grow, short reads, delays, and a disk that may be full.

use std::collections::BTreeMap;

use proxy_core::buf::Chain;
use proxy_core::command::{Completion, FileId, FileInfo, FileKind, IoError, OpenMode};
use proxy_core::worker::Pools;

use crate::clock::{Clock, Event};
use crate::rng::Rng;

/// `ENOSPC`
const DISK_FULL: IoError = IoError { errno: 28 };

enum Operation {
    Open,
    List,
    Read { offset: u64, len: usize },
    Write { offset: u64, chain: Chain },
    Rename { to: Vec<u8> },
    Free,
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    temporary: bool,
    is_open: bool,
    pending: Option<Operation>,
}

/// All files.
pub(crate) struct Files {
    open: BTreeMap<FileId, File>,
    /// What files with a name hold: what was given one.
    named: BTreeMap<Vec<u8>, Vec<u8>>,
    pools: Pools,
    rng: Rng,
    /// How many of a hundred writes find the disk full, and opens fail.
    fail_percent: u64,
    /// Whether any operation failed, so that the model allows for it.
    pub(crate) failed: bool,
}

impl Files {
    pub(crate) fn new(pools: Pools, fail_percent: u64, rng: Rng) -> Self {
        Self { open: BTreeMap::new(), named: BTreeMap::new(), pools, rng, fail_percent, failed: false }
    }

    /// How many files the core holds.
    pub(crate) fn core_open(&self) -> usize {
        self.open.len()
    }

    /// `Command::OpenFile`.
    pub(crate) fn open(&mut self, id: FileId, path: &[u8], mode: &OpenMode, clock: &mut Clock) {
        assert!(
            path.starts_with(b"/"),
            "rule: the path {:?} is not absolute",
            path.escape_ascii().to_string()
        );
        let known = if *mode == OpenMode::Temp { None } else { self.named.get(path) };
        let made = matches!(mode, OpenMode::Temp | OpenMode::New { .. });
        let file = File {
            temporary: made || known.is_some(),
            bytes: known.cloned().unwrap_or_default(),
            ..File::default()
        };
        assert!(self.open.insert(id, file).is_none(), "rule: file key {id:?} is in use");
        self.begin(id, Operation::Open, clock);
    }

    /// `Command::ListDirectory`.
    pub(crate) fn list(&mut self, id: FileId, clock: &mut Clock) {
        assert!(self.open.insert(id, File::default()).is_none(), "rule: file key {id:?} is in use");
        self.begin(id, Operation::List, clock);
    }

    /// `Command::ReadFile`.
    pub(crate) fn read(&mut self, id: FileId, offset: u64, len: usize, clock: &mut Clock) {
        assert!(len > 0, "rule: an empty ReadFile on {id:?}");
        self.begin(id, Operation::Read { offset, len }, clock);
    }

    /// `Command::RenameFile`.
    pub(crate) fn rename(&mut self, id: FileId, to: &[u8], clock: &mut Clock) {
        self.begin(id, Operation::Rename { to: to.to_vec() }, clock);
    }

    /// `Command::RemoveFile`.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        self.named.remove(path);
    }

    /// `Command::FreeSpace`.
    pub(crate) fn free_space(&mut self, id: FileId, clock: &mut Clock) {
        assert!(self.open.insert(id, File::default()).is_none(), "rule: file key {id:?} is in use");
        self.begin(id, Operation::Free, clock);
    }

    /// `Command::WriteFile`.
    pub(crate) fn write(&mut self, id: FileId, offset: u64, chain: Chain, clock: &mut Clock) {
        assert!(!chain.is_empty(), "rule: an empty WriteFile on {id:?}");
        self.begin(id, Operation::Write { offset, chain }, clock);
    }

    fn begin(&mut self, id: FileId, operation: Operation, clock: &mut Clock) {
        let file = self.open.get_mut(&id);
        let file = file.unwrap_or_else(|| panic!("rule: an operation on the closed file key {id:?}"));
        let opens = matches!(operation, Operation::Open | Operation::List | Operation::Free);
        assert!(opens || file.is_open, "rule: an operation on {id:?}, which is not open");
        assert!(file.pending.replace(operation).is_none(), "rule: a second operation in flight on {id:?}");
        clock.plan(self.rng.range(1, 3000), Event::File(id));
    }

    /// `Command::CloseFile`. What was in flight never completes.
    pub(crate) fn close(&mut self, id: FileId) {
        assert!(self.open.remove(&id).is_some(), "rule: CloseFile on the closed file key {id:?}");
    }

    /// `Event::File`.
    pub(crate) fn complete(&mut self, id: FileId) -> Option<Completion> {
        let fails = self.rng.percent(self.fail_percent);
        let file = self.open.get_mut(&id)?;
        Some(match file.pending.take()? {
            Operation::Open => {
                let result = match (file.temporary, fails) {
                    (true, false) => {
                        let size = file.bytes.len() as u64;
                        Ok(FileInfo { kind: FileKind::Regular, size, mtime_s: 0, executable: false })
                    }
                    (true, true) => Err(IoError::ACCESS),
                    (false, _) => Err(IoError::NOT_FOUND),
                };
                self.failed |= result.is_err();
                file.is_open = result.is_ok();
                Completion::OpenFile { file: id, result }
            }
            Operation::List => Completion::ListDirectory { file: id, result: Err(IoError::NOT_FOUND) },
            Operation::Free => Completion::FreeSpace { file: id, result: Ok(0) },
            Operation::Rename { .. } if fails => {
                self.failed = true;
                Completion::RenameFile { file: id, result: Err(DISK_FULL) }
            }
            Operation::Rename { to } => {
                self.named.insert(to, file.bytes.clone());
                Completion::RenameFile { file: id, result: Ok(()) }
            }
            Operation::Read { offset, len } => {
                let start = usize::try_from(offset).expect("a small file").min(file.bytes.len());
                let mut buf = self.pools.large.take();
                let mut n = len.min(file.bytes.len() - start).min(buf.spare());
                if n > 1 && self.rng.percent(20) {
                    n = self.rng.size(1, n);
                }
                assert!(buf.try_extend(&file.bytes[start..start + n]), "simulator: the block is too small");
                Completion::ReadFile { file: id, result: Ok(buf) }
            }
            Operation::Write { chain, .. } if fails => {
                self.failed = true;
                Completion::WriteFile { file: id, chain, result: Err(DISK_FULL) }
            }
            Operation::Write { offset, chain } => {
                let start = usize::try_from(offset).expect("a small file");
                let end = start + chain.len();
                file.bytes.resize(file.bytes.len().max(end), 0);
                file.bytes[start..end].copy_from_slice(&chain.to_vec());
                Completion::WriteFile { file: id, chain, result: Ok(()) }
            }
        })
    }
}
