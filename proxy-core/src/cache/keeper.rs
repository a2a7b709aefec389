//! What is done for caches in the background, by one worker for all: nginx's cache loader and cache manager.
//!
//! The loader looks through the directory once after a start and tells the index what lies there. Until it is through,
//! a request that the index knows nothing of looks for the file itself. The manager forgets what nobody has asked for
//! during `inactive`, and what is too much for `max_size` or `min_free`, the oldest first.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{entry, name, writer};
use crate::command::{Command, Completion, ConnId, DirectoryEntry, FileId, FileKind, IoError, Level, Report};
use crate::config::CacheZone;
use crate::conn::name_server::{Alarm, Ring};
use crate::exchange::context::{Conn, Context, FileRole};
use crate::shared::cache::{CacheIndex, Forgotten};
use crate::slab::Key;
use crate::time::{Instant, Millis};
use crate::timer::{Deadline, Reason};

/// How often the manager looks after a cache, at the least.
const MANAGER_PERIOD: Millis = Millis(1000);
/// How long a loader may be silent before another worker takes its work over.
const LOADER_CLAIM: Millis = Millis::from_secs(60);
/// A temporary file in a cache's directory ends in a dot and so many digits.
const TEMP_DIGITS: usize = 10;
/// How many directories may wait to be looked through.
const DIRECTORIES_MAX: usize = 1 << 16;
/// Its files belong to no client.
const NOBODY: ConnId = ConnId(Key { index: u32::MAX, generation: 0 });

/// A worker's view of all caches.
#[derive(Default)]
pub(crate) struct Keeper {
    list: Vec<Kept>,
    /// The key that their timer goes by.
    alarm: Option<ConnId>,
}

struct Kept {
    zone: Arc<CacheZone>,
    index: Arc<CacheIndex>,
    /// When the manager looks again.
    manage_at: Instant,
    /// The loader's work, if it is ours.
    loading: Option<Loading>,
    /// The question for free space that is under way.
    asked: Option<FileId>,
}

#[derive(Default)]
struct Loading {
    /// Directories that are still to be looked through, and how many levels there are below.
    left: Vec<(Arc<[u8]>, usize)>,
    /// The one that is being listed.
    listing: Option<(FileId, Arc<[u8]>, usize)>,
    /// Files since the last rest.
    files: usize,
    resume_at: Instant,
}

/// Looks after the caches of the configuration that begins.
pub(crate) fn start(ctx: &mut Context) {
    if ctx.draining {
        return stop(ctx);
    }
    let generation = Rc::clone(&ctx.generation);
    let mut old = core::mem::take(&mut ctx.keeper.list);
    let mut list = Vec::new();
    for (zone, index) in generation.config.caches.iter().zip(&generation.caches) {
        let same = old.iter().position(|kept| Arc::ptr_eq(&kept.index, index));
        let kept = match same {
            Some(place) => Kept { zone: Arc::clone(zone), ..old.swap_remove(place) },
            None => Kept {
                zone: Arc::clone(zone),
                index: Arc::clone(index),
                manage_at: ctx.now.instant,
                loading: None,
                asked: None,
            },
        };
        list.push(kept);
    }
    for kept in old {
        let listing = kept.loading.and_then(|loading| loading.listing).map(|(file, ..)| file);
        listing.into_iter().chain(kept.asked).for_each(|file| ctx.close_file(file));
    }
    ctx.keeper.list = list;
    look(ctx);
}

/// Looks after nothing any more: the worker drains.
pub(crate) fn stop(ctx: &mut Context) {
    for kept in core::mem::take(&mut ctx.keeper.list) {
        let listing = kept.loading.and_then(|loading| loading.listing).map(|(file, ..)| file);
        listing.into_iter().chain(kept.asked).for_each(|file| ctx.close_file(file));
    }
    set_alarm(ctx);
}

/// The timer has rung.
pub(crate) fn handle_alarm(ctx: &mut Context) {
    look(ctx);
}

/// Does what is due, and sets the timer.
fn look(ctx: &mut Context) {
    for place in 0..ctx.keeper.list.len() {
        load(place, ctx);
        manage(place, ctx);
    }
    set_alarm(ctx);
}

/// Begins or continues to look through the directory.
fn load(place: usize, ctx: &mut Context) {
    let now = ctx.now.instant;
    let Some(kept) = ctx.keeper.list.get_mut(place) else { return };
    if kept.loading.is_none() && kept.index.claim_loader(now, LOADER_CLAIM) {
        let levels = kept.zone.levels.iter().filter(|level| **level > 0).count();
        let left = [(Arc::clone(&kept.zone.path), levels)].into();
        kept.loading = Some(Loading { left, ..Loading::default() });
    }
    let Some(loading) = kept.loading.as_mut() else { return };
    if loading.listing.is_some() || loading.resume_at > now {
        return;
    }
    kept.index.keep_loader(now, LOADER_CLAIM);
    let Some((path, levels)) = loading.left.pop() else {
        kept.loading = None;
        return kept.index.warm();
    };
    let file = ctx.file_key(NOBODY, FileRole::CacheKeeper);
    ctx.commands.push_back(Command::ListDirectory { file, path: Arc::clone(&path) });
    if let Some(loading) = ctx.keeper.list.get_mut(place).and_then(|kept| kept.loading.as_mut()) {
        loading.listing = Some((file, path, levels));
    }
}

/// Forgets what is old or too much.
fn manage(place: usize, ctx: &mut Context) {
    let now = ctx.now.instant;
    let Some(kept) = ctx.keeper.list.get_mut(place) else { return };
    if kept.manage_at > now {
        return;
    }
    kept.manage_at = now + MANAGER_PERIOD;
    if !kept.index.claim_manager(now, kept.zone.manager.sleep) {
        return;
    }
    let most = kept.zone.manager.files;
    let (mut forgotten, next) = kept.index.expire(most, now);
    let mut more = next.is_some_and(|next| next <= now);
    if let Some(bytes_max) = kept.zone.bytes_max {
        let mut files = 0;
        while kept.index.bytes() > bytes_max && files < most {
            let Some(one) = kept.index.forget_oldest() else { break };
            forgotten.push(one);
            files += 1;
        }
        more |= files == most;
    }
    if more {
        kept.manage_at = now + kept.zone.manager.sleep.max(Millis(1));
    }
    let zone = Arc::clone(&kept.zone);
    if zone.free_bytes_min > 0 && kept.asked.is_none() {
        let file = ctx.file_key(NOBODY, FileRole::CacheKeeper);
        ctx.commands.push_back(Command::FreeSpace { file, path: Arc::clone(&zone.path) });
        if let Some(kept) = ctx.keeper.list.get_mut(place) {
            kept.asked = Some(file);
        }
    }
    remove(&zone, &forgotten, ctx);
}

/// Removes the files of what was forgotten.
pub(crate) fn remove(zone: &CacheZone, forgotten: &[Forgotten], ctx: &mut Context) {
    for Forgotten(hash) in forgotten {
        ctx.commands.push_back(Command::RemoveFile { path: name::file(zone, hash) });
    }
}

/// A directory was listed, or space was asked for.
pub(crate) fn handle(file: FileId, completion: Completion, ctx: &mut Context) {
    match completion {
        Completion::ListDirectory { result, .. } => listed(file, result, ctx),
        Completion::FreeSpace { result, .. } => {
            let place = ctx.keeper.list.iter().position(|kept| kept.asked == Some(file));
            let Some(kept) = place.and_then(|place| ctx.keeper.list.get_mut(place)) else { return };
            kept.asked = None;
            let zone = Arc::clone(&kept.zone);
            let mut forgotten = Vec::new();
            if result.is_ok_and(|free| free < zone.free_bytes_min) {
                forgotten.extend((0..zone.manager.files).map_while(|_| kept.index.forget_oldest()));
                kept.manage_at = ctx.now.instant + zone.manager.sleep.max(Millis(1));
            }
            ctx.close_file(file);
            remove(&zone, &forgotten, ctx);
        }
        Completion::Connect { .. }
        | Completion::Recv { .. }
        | Completion::Send { .. }
        | Completion::OpenFile { .. }
        | Completion::ReadFile { .. }
        | Completion::WriteFile { .. }
        | Completion::RenameFile { .. }
        | Completion::Verify { .. }
        | Completion::Resolve { .. } => return,
    }
    look(ctx);
}

fn listed(file: FileId, result: Result<Vec<DirectoryEntry>, IoError>, ctx: &mut Context) {
    let is = |kept: &Kept| {
        let listing = kept.loading.as_ref().and_then(|loading| loading.listing.as_ref());
        listing.is_some_and(|(other, ..)| *other == file)
    };
    let Some(place) = ctx.keeper.list.iter().position(is) else { return };
    ctx.close_file(file);
    let now = ctx.now.instant;
    let Some(kept) = ctx.keeper.list.get_mut(place) else { return };
    let Some(loading) = kept.loading.as_mut() else { return };
    let Some((_, path, levels)) = loading.listing.take() else { return };
    let (mut foreign, mut words) = (Vec::new(), Vec::new());
    // A directory that is not there yet holds nothing.
    for found in result.unwrap_or_default() {
        let full: Arc<[u8]> = [&path, &b"/"[..], &found.name].concat().into();
        if found.kind == FileKind::Directory {
            if levels > 0 && loading.left.len() < DIRECTORIES_MAX {
                loading.left.push((full, levels - 1));
            }
        } else if found.kind == FileKind::Regular {
            loading.files += 1;
            let hash = name::of_file(&found.name);
            if hash.is_some() && found.size < entry::FIXED_BYTES as u64 {
                words.push(format!("cache file \"{}\" is too small", full.escape_ascii()));
                foreign.push(full);
            } else if let Some(hash) = hash.filter(|hash| name::file(&kept.zone, hash) == full) {
                let expires = now + kept.zone.inactive;
                kept.index.add_found(&hash, writer::disk_bytes(found.size), expires);
            } else if !is_temporary(&found.name) {
                foreign.push(full);
            }
        }
    }
    if loading.files >= kept.zone.loader.files {
        loading.files = 0;
        loading.resume_at = now + kept.zone.loader.sleep;
    }
    for path in foreign {
        ctx.commands.push_back(Command::RemoveFile { path });
    }
    for message in words {
        ctx.reports.push_back(Report::Error { log: 0, level: Level::Crit, message: message.into_bytes() });
    }
}

/// Whether it is a reply that is being written, by us or by another process.
fn is_temporary(name: &[u8]) -> bool {
    let Some(at) = name.len().checked_sub(TEMP_DIGITS + 1) else { return false };
    name.get(at) == Some(&b'.') && name.get(at + 1..).is_some_and(|rest| rest.iter().all(u8::is_ascii_digit))
}

fn set_alarm(ctx: &mut Context) {
    let now = ctx.now.instant;
    let next = |kept: &Kept| {
        let loading = kept.loading.as_ref().filter(|loading| loading.listing.is_none());
        let loader = loading.map(|loading| loading.resume_at.max(now + Millis(1)));
        loader.into_iter().chain([kept.manage_at]).min()
    };
    let Some(at) = ctx.keeper.list.iter().filter_map(next).min() else {
        let alarm = ctx.keeper.alarm.take();
        if let Some(Conn::Alarm(mut alarm)) = alarm.and_then(|id| ctx.conns.remove(id.0)) {
            alarm.deadline.disarm(&mut ctx.timers);
        }
        return;
    };
    let id = *ctx.keeper.alarm.get_or_insert_with(|| {
        let alarm = Alarm { ring: Ring::Caches, deadline: Deadline::default() };
        ConnId(ctx.conns.insert(Conn::Alarm(Box::new(alarm))))
    });
    if let Some(Conn::Alarm(alarm)) = ctx.conns.get_mut(id.0) {
        alarm.deadline.set(&mut ctx.timers, id, at, Reason::Cache);
    }
}
