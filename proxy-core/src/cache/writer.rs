//! A reply on its way into its file.
//!
//! ```text
//!           opened            written                    all written          renamed
//! Opening ─────────► Ready ◄──────────► Writing    Ready ────────────► Renaming ──────► (gone)
//!    └───────────────── any failure: the temporary file goes, the entry is free again ───┘
//! ```
//! It writes to a temporary file and gives that its name when the reply is whole, so that nobody ever reads a part. The
//! exchange that fetches the reply hands its bytes in; once it has handed in all of them it need not wait.

use alloc::format;
use alloc::sync::Arc;

use hashbrown::HashMap;

use crate::buf::{Chain, Chunk};
use crate::command::{Command, Completion, ConnId, FileFinish, FileId, IoError, Level, OpenMode, Report};
use crate::exchange::context::{Context, FileRole};
use crate::shared::cache::Seat;
use crate::slab::Key;

/// How much may wait for the disk before the upstream has to wait as well, in bytes.
const PENDING_BYTES_MAX: usize = 512 * 1024;
/// What a file takes up on the disk is counted in blocks of so many bytes.
const BLOCK_BYTES: u64 = 4096;

/// Who waits for what is changed in its place.
const NOBODY: ConnId = ConnId(Key { index: u32::MAX, generation: 0 });

/// All writers of a worker.
pub(crate) type Writers = HashMap<FileId, Writer>;

/// One reply's.
pub(crate) struct Writer {
    /// The entry; none where the file is not the cache's (`proxy_store`).
    seat: Option<Seat>,
    /// What the file shall be like when it gets its name.
    finish: Option<FileFinish>,
    owner: ConnId,
    state: State,
    pending: Chain,
    /// Bytes written.
    written: u64,
    /// The temporary file; none where a file is changed in its place.
    temp: Option<Arc<[u8]>>,
    path: Arc<[u8]>,
    /// What the file takes up on the disk where it is not measured by what is written, in bytes.
    known_bytes: Option<u64>,
    /// All of the reply was handed in.
    whole: bool,
    /// The exchange waits for room.
    awaited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Ready,
    Writing,
    Renaming,
}

/// Where a reply goes.
pub(crate) struct Place {
    /// The temporary file's name.
    pub(crate) temp: Arc<[u8]>,
    /// The name that it gets.
    pub(crate) path: Arc<[u8]>,
    /// What it shall be like then; none leaves it as it was made.
    pub(crate) finish: Option<FileFinish>,
}

/// The bytes that a file of this length takes up on the disk.
pub(crate) const fn disk_bytes(length: u64) -> u64 {
    length.next_multiple_of(BLOCK_BYTES)
}

/// Begins a file with `first`; `owner` is the link of the exchange that fetches the reply.
pub(crate) fn begin(
    seat: Option<Seat>,
    place: Place,
    first: Chunk,
    owner: ConnId,
    ctx: &mut Context,
) -> FileId {
    let mode = OpenMode::New { stays: false };
    let file = ctx.open_file(owner, FileRole::CacheWriter, Arc::clone(&place.temp), mode);
    let mut pending = Chain::new();
    pending.push(first);
    let Place { temp, path, finish } = place;
    let writer = Writer {
        seat,
        finish,
        owner,
        state: State::Opening,
        pending,
        written: 0,
        temp: Some(temp),
        path,
        known_bytes: None,
        whole: false,
        awaited: false,
    };
    ctx.writers.insert(file, writer);
    file
}

/// Puts `first` in the place of what a file of this length begins with.
pub(crate) fn update(mut seat: Seat, path: Arc<[u8]>, first: Chunk, length: u64, ctx: &mut Context) {
    seat.begin_commit();
    let owner = NOBODY;
    let file = ctx.open_file(owner, FileRole::CacheWriter, Arc::clone(&path), OpenMode::Update);
    let mut pending = Chain::new();
    pending.push(first);
    let writer = Writer {
        seat: Some(seat),
        finish: None,
        owner,
        state: State::Opening,
        pending,
        written: 0,
        temp: None,
        path,
        known_bytes: Some(disk_bytes(length)),
        whole: true,
        awaited: false,
    };
    ctx.writers.insert(file, writer);
}

/// More of the body. False if it failed: there is nothing to write to any more.
pub(crate) fn push(file: FileId, data: Chunk, ctx: &mut Context) -> bool {
    let Some(writer) = ctx.writers.get_mut(&file) else { return false };
    writer.pending.push_compact(data);
    writer.pump(file, &mut ctx.commands);
    true
}

/// Whether it can take more now; if not, the exchange is driven when it can.
pub(crate) fn has_room(file: FileId, ctx: &mut Context) -> bool {
    let Some(writer) = ctx.writers.get_mut(&file) else { return true };
    writer.awaited = writer.pending.len() >= PENDING_BYTES_MAX;
    !writer.awaited
}

/// The reply is whole. Who looks for the entry from here on waits for the file to be in its place.
pub(crate) fn finish(file: FileId, ctx: &mut Context) {
    let Some(writer) = ctx.writers.get_mut(&file) else { return };
    writer.whole = true;
    if let Some(seat) = &mut writer.seat {
        seat.begin_commit();
    }
    writer.pump(file, &mut ctx.commands);
}

/// The reply broke off: nothing of it is kept.
pub(crate) fn abort(file: FileId, ctx: &mut Context) {
    if ctx.writers.remove(&file).is_some() {
        ctx.close_file(file);
    }
}

/// An operation is complete.
pub(crate) fn handle(file: FileId, completion: Completion, ctx: &mut Context) {
    let Some(writer) = ctx.writers.get_mut(&file) else { return };
    let result = match completion {
        Completion::OpenFile { result, .. } => result.map(|_| ()),
        Completion::WriteFile { chain, result, .. } => {
            writer.written += chain.len() as u64;
            result
        }
        Completion::RenameFile { result, .. } => {
            if result.is_ok() {
                return done(file, ctx);
            }
            result
        }
        Completion::Connect { .. }
        | Completion::Recv { .. }
        | Completion::Send { .. }
        | Completion::ReadFile { .. }
        | Completion::Verify { .. }
        | Completion::ListDirectory { .. }
        | Completion::FreeSpace { .. }
        | Completion::Resolve { .. } => return,
    };
    if let Err(error) = result {
        return fail(file, error, ctx);
    }
    writer.state = State::Ready;
    if core::mem::take(&mut writer.awaited) {
        ctx.wakes.push_back(writer.owner);
    }
    if writer.is_updated() {
        return done(file, ctx);
    }
    writer.pump(file, &mut ctx.commands);
}

fn done(file: FileId, ctx: &mut Context) {
    let Some(mut writer) = ctx.writers.remove(&file) else { return };
    let bytes = writer.known_bytes.unwrap_or(disk_bytes(writer.written));
    if let Some(seat) = &mut writer.seat {
        seat.end_commit(Some(bytes));
    }
    ctx.close_file(file);
}

fn fail(file: FileId, error: IoError, ctx: &mut Context) {
    let Some(mut writer) = ctx.writers.remove(&file) else { return };
    ctx.close_file(file);
    if let Some(seat) = &mut writer.seat {
        seat.end_commit(None);
    }
    let temp = writer.temp.as_ref().unwrap_or(&writer.path).escape_ascii();
    let text = match writer.state {
        State::Opening => format!("open() \"{temp}\" failed ({error})"),
        State::Ready | State::Writing => format!("pwrite() \"{temp}\" failed ({error})"),
        State::Renaming => {
            format!("rename() \"{temp}\" to \"{}\" failed ({error})", writer.path.escape_ascii())
        }
    };
    ctx.reports.push_back(Report::Error { log: 0, level: Level::Crit, message: text.into_bytes() });
    if writer.awaited {
        ctx.wakes.push_back(writer.owner);
    }
}

impl Writer {
    /// Whether a file was changed in its place.
    const fn is_updated(&self) -> bool {
        self.temp.is_none() && self.pending.is_empty()
    }

    fn pump(&mut self, file: FileId, commands: &mut alloc::collections::VecDeque<Command>) {
        if self.state != State::Ready {
            return;
        }
        if !self.pending.is_empty() {
            self.state = State::Writing;
            let chain = core::mem::take(&mut self.pending);
            commands.push_back(Command::WriteFile { file, offset: self.written, chain });
        } else if let Some(temp) = self.temp.as_ref().filter(|_| self.whole) {
            self.state = State::Renaming;
            let (from, to) = (Arc::clone(temp), Arc::clone(&self.path));
            commands.push_back(Command::RenameFile { file, from, to, finish: self.finish });
        }
    }
}
