//! A temporary file as a queue of bytes: what does not fit in memory is written at its end and read from its front.
//!
//! One operation at a time, as the driver demands. The file is unnamed and gone when it is closed.

use alloc::sync::Arc;

use super::context::{Context, FileRole};
use crate::buf::{Buf, Chain, Chunk};
use crate::command::{Command, ConnId, FileId, FileInfo, IoError, OpenMode};

/// A temporary file in use.
#[derive(Debug)]
pub(crate) struct Spill {
    file: FileId,
    state: State,
    /// Bytes written so far.
    written: u64,
    /// Bytes read so far.
    read: u64,
    /// Bytes that were read and not yet taken.
    ready: Chunk,
    /// The read in flight began before a rewind: its bytes are not wanted.
    stale: bool,
    /// Whether something was to be written.
    touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Ready,
    Writing,
    Reading,
    Failed(IoError),
}

impl Spill {
    /// Opens a temporary file below `directory`.
    pub(crate) fn open(client: ConnId, role: FileRole, directory: &Arc<[u8]>, ctx: &mut Context) -> Self {
        Self::open_as(client, role, Arc::clone(directory), OpenMode::Temp, ctx)
    }

    /// Makes the file `path`, which does not exist.
    pub(crate) fn open_named(
        client: ConnId,
        role: FileRole,
        path: Arc<[u8]>,
        stays: bool,
        ctx: &mut Context,
    ) -> Self {
        Self::open_as(client, role, path, OpenMode::New { stays }, ctx)
    }

    fn open_as(client: ConnId, role: FileRole, path: Arc<[u8]>, mode: OpenMode, ctx: &mut Context) -> Self {
        let file = ctx.open_file(client, role, path, mode);
        Self {
            file,
            state: State::Opening,
            written: 0,
            read: 0,
            ready: Chunk::empty(),
            stale: false,
            touched: false,
        }
    }

    /// Whether an operation can begin.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Why it cannot be used any more.
    pub(crate) const fn failed(&self) -> Option<IoError> {
        match self.state {
            State::Failed(error) => Some(error),
            State::Opening | State::Ready | State::Writing | State::Reading => None,
        }
    }

    /// Whether bytes that it was to keep are lost with it; a file that never opened has lost none.
    pub(crate) const fn lost(&self) -> Option<IoError> {
        match self.state {
            State::Failed(error) if self.touched => Some(error),
            State::Failed(_) | State::Opening | State::Ready | State::Writing | State::Reading => None,
        }
    }

    /// Bytes written so far.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that were written and not yet taken out.
    pub(crate) fn unread(&self) -> u64 {
        self.written - self.read + self.ready.len() as u64
    }

    /// Whether this is its key.
    pub(crate) fn is(&self, file: FileId) -> bool {
        self.file == file
    }

    /// Writes all of `chain` at the end.
    pub(crate) fn write(&mut self, chain: Chain, ctx: &mut Context) {
        debug_assert!(self.is_ready() && !chain.is_empty());
        self.state = State::Writing;
        self.touched = true;
        ctx.commands.push_back(Command::WriteFile { file: self.file, offset: self.written, chain });
    }

    /// Reads on from where the last read ended, unless bytes are ready already or nothing is left.
    pub(crate) fn want_read(&mut self, ctx: &mut Context) {
        if self.is_ready() && self.ready.is_empty() && self.read < self.written {
            self.state = State::Reading;
            let len = usize::try_from(self.written - self.read).unwrap_or(usize::MAX);
            let len = len.min(ctx.pools.large.block_bytes());
            ctx.commands.push_back(Command::ReadFile { file: self.file, offset: self.read, len });
        }
    }

    /// The bytes that were read.
    pub(crate) fn take(&mut self) -> Option<Chunk> {
        (!self.ready.is_empty()).then(|| core::mem::take(&mut self.ready))
    }

    /// Reads from the beginning again: another server is asked.
    pub(crate) fn rewind(&mut self) {
        self.read = 0;
        self.ready = Chunk::empty();
        self.stale = self.state == State::Reading;
    }

    /// Starts over where all that was written was also read: the file's length stays bounded.
    pub(crate) fn reset_if_drained(&mut self) {
        if self.is_ready() && self.unread() == 0 {
            self.written = 0;
            self.read = 0;
        }
    }

    /// The file is open.
    pub(crate) fn handle_open(&mut self, result: Result<FileInfo, IoError>) {
        self.state = match result {
            Ok(_) => State::Ready,
            Err(error) => State::Failed(error),
        };
    }

    /// A write is complete.
    pub(crate) fn handle_write(&mut self, chain: &Chain, result: Result<(), IoError>) {
        self.state = match result {
            Ok(()) => State::Ready,
            Err(error) => State::Failed(error),
        };
        if result.is_ok() {
            self.written += chain.len() as u64;
        }
    }

    /// A read is complete. A file that ends too early is as bad as one that cannot be read.
    pub(crate) fn handle_read(&mut self, result: Result<Buf, IoError>) {
        if core::mem::take(&mut self.stale) {
            self.state = State::Ready;
            return;
        }
        self.state = match result {
            Ok(buf) if buf.is_empty() => State::Failed(super::context::FILE_LOST),
            Ok(buf) => {
                self.read += buf.len() as u64;
                self.ready = buf.freeze();
                State::Ready
            }
            Err(error) => State::Failed(error),
        };
    }

    /// Closes it.
    pub(crate) fn close(self, ctx: &mut Context) {
        ctx.close_file(self.file);
    }
}
