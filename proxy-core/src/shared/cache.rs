//! The index of a cache: which replies lie on the disk, who is fetching one, and which to forget first.
//!
//! One for all workers, in shards, each a table in the order of use behind its own lock. What the index knows of an
//! entry is what nginx's does: the reply itself, and until when it is fresh, stand in its file.
//!
//! ```text
//!  enter ─► Seat ──────────────► lock ─► commit: the file is in its place
//!   (found, new, scarce, an      │
//!    error that is remembered)   └─► dropped: the lock is free again, an entry without a file is gone
//! ```
//! A [`Seat`] keeps its entry from being forgotten and gives back what it holds when it is dropped, however its request
//! ends: no lock outlives its owner.
//!
//! Reference: nginx's ngx_http_file_cache_exists, _lock, _update and _free.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spin::Mutex;

use super::room::Room;
use super::table::Table;
use crate::config::CacheZone;
use crate::http::Status;
use crate::time::{Instant, Millis};

/// An entry's name: the MD5 of its key, or of its variant.
pub(crate) type CacheHash = [u8; 16];

/// What nginx keeps of an entry, in bytes.
const NODE_BYTES: usize = 120;
/// What nginx keeps of a zone as a whole, in bytes.
const OWN_BYTES: usize = 240;
/// How many entries are looked at for one that may be forgotten, as nginx does.
const FORGET_TRIES: usize = 20;

/// What the index knows of an entry.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    uses: u32,
    /// How many seats there are.
    holders: u32,
    /// Its file is in its place.
    exists: bool,
    /// How many replies to it have come whole, and are about to be its file.
    commits: u32,
    /// The number of the lock on it, while somebody fetches it.
    locked_by: Option<u64>,
    lock_until: Instant,
    /// A status that stands for the entry, and until when, in seconds since the epoch.
    error: Option<(Status, i64)>,
    /// The file's size in bytes, in whole blocks.
    bytes: u64,
    /// When it is forgotten unless it is used.
    expires: Instant,
}

/// What [`CacheIndex::enter`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is such an entry; whether it has a file.
    Entry { exists: bool },
    /// There was none.
    New,
    /// It was not asked for often enough.
    Scarce,
    /// A status is remembered.
    Error(Status),
    /// Its file is in its place in a moment.
    Committing,
}

/// A cache's state.
pub(crate) struct CacheIndex {
    room: Room,
    shards: Vec<Mutex<Table<Node>>>,
    locks: AtomicU64,
    bytes: AtomicU64,
    count: AtomicU64,
    /// What is on the disk is not all known yet.
    cold: AtomicBool,
    /// Until when a worker sees to the loader, and until when to the manager: 0 for nobody.
    loader: AtomicU64,
    manager: AtomicU64,
}

/// A request's place at an entry.
pub(crate) struct Seat {
    index: Arc<CacheIndex>,
    shard: usize,
    place: usize,
    /// The number of its lock, if it has locked the entry.
    lock: Option<u64>,
    /// Its reply is one of those that are put into their place.
    commits: bool,
    /// The entry stays without a file, for its uses are counted.
    counts: bool,
}

/// An entry that was forgotten: its file is to be removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forgotten(pub(crate) CacheHash);

/// What a seat is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// `proxy_cache_min_uses`
    pub(crate) min_uses: u32,
    /// `inactive`
    pub(crate) inactive: Millis,
    /// Now, and in seconds since the epoch.
    pub(crate) now: Instant,
    pub(crate) now_s: i64,
}

impl CacheIndex {
    /// An empty one for a zone of this size.
    pub(crate) fn new(zone_bytes: usize) -> Self {
        Self {
            room: Room::new(zone_bytes, OWN_BYTES),
            shards: (0..super::shard_count(zone_bytes)).map(|_| Mutex::default()).collect(),
            locks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            count: AtomicU64::new(0),
            cold: AtomicBool::new(true),
            loader: AtomicU64::new(0),
            manager: AtomicU64::new(0),
        }
    }

    /// Takes a seat at the entry of this name, which is made if there is none. Nothing if there is no room for it. What
    /// had to be forgotten for it is put into `forgotten`.
    pub(crate) fn enter(
        self: &Arc<Self>,
        hash: &CacheHash,
        wish: Wish,
        forgotten: &mut Vec<Forgotten>,
    ) -> Option<(Found, Seat)> {
        let (number, shard) = self.shard(hash);
        let mut table = self.shards.get(shard)?.lock();
        let (found, place) = match table.find(number, hash) {
            Some(place) => {
                table.touch(place);
                let node = table.get_mut(place)?;
                node.uses = node.uses.saturating_add(1);
                (node.found(wish), place)
            }
            None => {
                if !self.room.take(NODE_BYTES) {
                    self.forget(&mut table, forgotten);
                    if !self.room.take(NODE_BYTES) {
                        return None;
                    }
                }
                self.count.fetch_add(1, Ordering::Relaxed);
                (Found::New, table.insert(number, hash, Node { uses: 1, ..Node::default() }))
            }
        };
        let node = table.get_mut(place)?;
        node.holders += 1;
        node.expires = wish.now + wish.inactive;
        let seat = Seat {
            index: Arc::clone(self),
            shard,
            place,
            lock: None,
            commits: false,
            counts: wish.min_uses > 1,
        };
        Some((found, seat))
    }

    /// A file was found on the disk. False if there is no room for it.
    pub(crate) fn add_found(&self, hash: &CacheHash, bytes: u64, expires: Instant) -> bool {
        let (number, shard) = self.shard(hash);
        let Some(table) = self.shards.get(shard) else { return false };
        let mut table = table.lock();
        if let Some(place) = table.find(number, hash) {
            if let Some(node) = table.get_mut(place)
                && !node.exists
            {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                (node.exists, node.bytes) = (true, bytes);
            }
            return true;
        }
        if !self.room.take(NODE_BYTES) {
            return false;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        table.insert(number, hash, Node { uses: 1, exists: true, bytes, expires, ..Node::default() });
        true
    }

    /// Makes room: forgets the entry of this shard that was not used for longest and that nobody is at.
    fn forget(&self, table: &mut Table<Node>, forgotten: &mut Vec<Forgotten>) {
        for _ in 0..FORGET_TRIES {
            let Some((place, node)) = table.oldest() else { return };
            if node.holders > 0 {
                table.touch(place);
                continue;
            }
            forgotten.extend(self.remove(table, place));
            return;
        }
    }

    /// Forgets an entry. Its name, if it has a file.
    fn remove(&self, table: &mut Table<Node>, place: usize) -> Option<Forgotten> {
        let hash = table.key(place).and_then(|key| CacheHash::try_from(key).ok())?;
        let node = *table.get_mut(place)?;
        table.remove(place);
        self.room.give(NODE_BYTES);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(node.bytes, Ordering::Relaxed);
        node.exists.then_some(Forgotten(hash))
    }

    /// Forgets up to `most` entries that nobody has used for so long. Returns them, and when the next one is due.
    pub(crate) fn expire(&self, most: usize, now: Instant) -> (Vec<Forgotten>, Option<Instant>) {
        let (mut forgotten, mut next) = (Vec::new(), None::<Instant>);
        for shard in &self.shards {
            let mut table = shard.lock();
            let mut looked = 0;
            while let Some((place, node)) = table.oldest() {
                if node.expires > now || looked >= most {
                    next = Some(next.map_or(node.expires, |next| next.min(node.expires)));
                    break;
                }
                looked += 1;
                if node.holders > 0 {
                    table.touch(place);
                    continue;
                }
                forgotten.extend(self.remove(&mut table, place));
            }
        }
        (forgotten, next)
    }

    /// Forgets one entry because there is too much; nothing if all are in use.
    pub(crate) fn forget_oldest(&self) -> Option<Forgotten> {
        let mut oldest = None::<(Instant, usize)>;
        for (n, shard) in self.shards.iter().enumerate() {
            if let Some((_, node)) = shard.lock().oldest()
                && oldest.is_none_or(|(expires, _)| node.expires < expires)
            {
                oldest = Some((node.expires, n));
            }
        }
        let mut table = self.shards.get(oldest?.1)?.lock();
        for _ in 0..FORGET_TRIES {
            let (place, node) = table.oldest()?;
            if node.holders == 0 {
                return self.remove(&mut table, place);
            }
            table.touch(place);
        }
        None
    }

    /// How many bytes the files take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the disk has not been looked through yet.
    pub(crate) fn is_cold(&self) -> bool {
        self.cold.load(Ordering::Relaxed)
    }

    /// The disk was looked through.
    pub(crate) fn warm(&self) {
        self.cold.store(false, Ordering::Relaxed);
    }

    /// Whether this worker shall load what is on the disk, for so long before another one may take it over.
    pub(crate) fn claim_loader(&self, now: Instant, span: Millis) -> bool {
        self.is_cold() && claim(&self.loader, now, span)
    }

    /// The loader goes on for so long.
    pub(crate) fn keep_loader(&self, now: Instant, span: Millis) {
        self.loader.store((now + span).as_micros(), Ordering::Relaxed);
    }

    /// Whether this worker shall look for what is to be forgotten now; nobody will before `span` is over.
    pub(crate) fn claim_manager(&self, now: Instant, span: Millis) -> bool {
        claim(&self.manager, now, span)
    }

    fn shard(&self, hash: &CacheHash) -> (u64, usize) {
        // The hash is even already: its first half is as good as any.
        let number = hash.first_chunk().copied().map_or(0, u64::from_le_bytes);
        (number, super::shard_of(number, self.shards.len()))
    }
}

fn claim(until: &AtomicU64, now: Instant, span: Millis) -> bool {
    let free = |at: u64| (at <= now.as_micros()).then(|| (now + span).as_micros());
    until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
}

impl Node {
    fn found(&mut self, wish: Wish) -> Found {
        match self.error {
            Some((status, until_s)) if until_s >= wish.now_s => return Found::Error(status),
            Some(_) => {
                self.error = None;
                return Found::New;
            }
            None => {}
        }
        if self.commits > 0 {
            Found::Committing
        } else if self.exists || self.uses >= wish.min_uses {
            Found::Entry { exists: self.exists }
        } else {
            Found::Scarce
        }
    }
}

impl Seat {
    fn with<T>(&self, act: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.index.shards.get(self.shard)?.lock().get_mut(self.place).map(act)
    }

    /// Locks the entry for as long as `age`, unless another request has. Whether it is ours.
    pub(crate) fn lock(&mut self, now: Instant, age: Millis) -> bool {
        let number = self.index.locks.fetch_add(1, Ordering::Relaxed) + 1;
        let locked = self.with(|node| {
            let free = node.locked_by.is_none() || node.lock_until <= now;
            if free {
                (node.locked_by, node.lock_until) = (Some(number), now + age);
            }
            free
        });
        let locked = locked.unwrap_or(false);
        if locked {
            self.lock = Some(number);
        }
        locked
    }

    /// Says that the entry is being renewed, unless another request has said so: that one's time has no end.
    pub(crate) fn begin_update(&mut self) -> bool {
        let number = self.index.locks.fetch_add(1, Ordering::Relaxed) + 1;
        let begun = self.with(|node| {
            let free = node.locked_by.is_none();
            if free {
                node.locked_by = Some(number);
            }
            free
        });
        let begun = begun.unwrap_or(false);
        if begun {
            self.lock = Some(number);
        }
        begun
    }

    /// Whether a request that waits for the entry has to wait on.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.with(|node| node.commits > 0 || (node.locked_by.is_some() && node.lock_until > now))
            .unwrap_or(false)
    }

    /// The file was seen although the index did not know it.
    pub(crate) fn note_file(&self, bytes: u64) {
        let index = &self.index;
        self.with(|node| {
            if !node.exists {
                index.bytes.fetch_add(bytes, Ordering::Relaxed);
                (node.exists, node.bytes, node.uses) = (true, bytes, node.uses.max(1));
            }
        });
    }

    /// The file is not there, or not what it should be.
    pub(crate) fn note_no_file(&self) {
        let index = &self.index;
        self.with(|node| {
            let bytes = core::mem::take(&mut node.bytes);
            index.bytes.fetch_sub(bytes, Ordering::Relaxed);
            node.exists = false;
        });
    }

    /// The status stands for the entry for so long.
    pub(crate) fn remember(&self, status: Status, until_s: i64) {
        self.with(|node| node.error = Some((status, until_s)));
    }

    /// The whole reply is there: its file is put into its place.
    pub(crate) fn begin_commit(&mut self) {
        if !core::mem::replace(&mut self.commits, true) {
            self.with(|node| node.commits += 1);
        }
    }

    /// The file is in its place, or could not be put there.
    pub(crate) fn end_commit(&mut self, bytes: Option<u64>) {
        let index = &self.index;
        let ended = core::mem::take(&mut self.commits);
        self.with(|node| {
            node.commits = node.commits.saturating_sub(u32::from(ended));
            node.locked_by = None;
            node.error = None;
            if let Some(bytes) = bytes {
                index.bytes.fetch_add(bytes, Ordering::Relaxed);
                index.bytes.fetch_sub(node.bytes, Ordering::Relaxed);
                (node.exists, node.bytes) = (true, bytes);
            }
        });
        self.lock = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(table) = self.index.shards.get(self.shard) else { return };
        let mut table = table.lock();
        let Some(node) = table.get_mut(self.place) else { return };
        debug_assert!(node.holders > 0);
        node.holders = node.holders.saturating_sub(1);
        node.commits = node.commits.saturating_sub(u32::from(self.commits));
        if self.lock.is_some() && node.locked_by == self.lock {
            node.locked_by = None;
        }
        let useless = !node.exists && node.holders == 0 && node.error.is_none() && !self.counts;
        if useless {
            self.index.remove(&mut table, self.place);
        }
    }
}

/// The indexes of the process by their zones: what a reload finds again.
#[derive(Debug, Default)]
pub struct Caches {
    known: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    zone: Arc<CacheZone>,
    index: Weak<CacheIndex>,
}

impl Caches {
    /// The state of a configured zone: what another worker or the configuration before has, or a new one.
    pub(crate) fn open(&self, zone: &Arc<CacheZone>) -> Arc<CacheIndex> {
        let mut known = self.known.lock();
        known.retain(|known| known.index.strong_count() > 0);
        let same =
            known.iter().find(|known| known.zone.is_same(zone)).and_then(|known| known.index.upgrade());
        same.unwrap_or_else(|| {
            let index = Arc::new(CacheIndex::new(zone.bytes));
            known.push(Known { zone: Arc::clone(zone), index: Arc::downgrade(&index) });
            index
        })
    }
}

impl core::fmt::Debug for CacheIndex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CacheIndex").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Seat {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Seat").field("place", &self.place).field("lock", &self.lock).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
