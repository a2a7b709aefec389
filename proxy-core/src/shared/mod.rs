//! What all workers share: the only locks and atomics of the core.
//!
//! Counters are kept per worker in [`Worker`](crate::worker::Worker) and folded in here once per turn at the most, so
//! that the request path never touches a contended line.

pub(crate) mod cache;
pub mod client_sessions;
mod limit_conn;
mod limit_counts;
mod limit_req;
mod room;
pub mod sessions;
pub mod staples;
mod table;
pub mod tls;
pub mod upstream;
mod zones;

use core::sync::atomic::{AtomicU64, Ordering};

pub use limit_conn::{Admission, ConnZone, Refusal};
pub use limit_counts::LimitCounts;
pub use limit_req::{Bounds, Pin, ReqZone, Verdict};
pub use zones::{Zone, Zones};

/// The state of the whole process.
#[derive(Debug, Default)]
pub struct Shared {
    /// The numbers of `stub_status`.
    pub counters: Counters,
    /// What the control API leaves out of them.
    pub baseline: Baseline,
    /// The zones of `limit_req` and `limit_conn`.
    pub zones: Zones,
    /// The upstream groups.
    pub upstreams: upstream::Upstreams,
    /// The zones of `proxy_cache`.
    pub caches: cache::Caches,
    /// What `sticky learn` has learnt.
    pub sessions: sessions::SessionZones,
    /// What responders have said of certificates.
    pub staples: staples::Staples,
    next_connection: AtomicU64,
    next_file: AtomicU64,
    next_worker: AtomicU64,
    next_save: AtomicU64,
    pid: u32,
}

impl Shared {
    /// Fresh state for a process that starts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The process that this is (`$pid`).
    #[must_use]
    pub fn with_pid(self, pid: u32) -> Self {
        Self { pid, ..self }
    }

    /// `$pid`
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The number of the next temporary file that has a name, from 1.
    pub(crate) fn next_file(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the next content of a file. Taken behind the change and before the content is put together, a later
    /// one is never older.
    pub(crate) fn next_save(&self) -> u64 {
        self.next_save.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number that no other worker has.
    pub(crate) fn next_worker(&self) -> u64 {
        self.next_worker.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The next connection's number, from 1 (`$connection`): unique in the process, as in nginx.
    #[must_use]
    pub fn next_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What of the counters was there when the control API last began to count anew.
#[derive(Debug, Default)]
pub struct Baseline {
    /// Of [`Counters::accepted`].
    pub accepted: AtomicU64,
    /// Of [`Counters::handled`].
    pub handled: AtomicU64,
    /// Of [`Counters::requests`].
    pub requests: AtomicU64,
}

impl Baseline {
    /// What of a counter was counted since.
    pub(crate) fn since(counter: &AtomicU64, base: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed).saturating_sub(base.load(Ordering::Relaxed))
    }

    /// Begins anew.
    pub(crate) fn restart(counter: &AtomicU64, base: &AtomicU64) {
        base.store(counter.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// The numbers of `stub_status`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// Connections handled since the start: fewer than accepted only where a limit was reached.
    pub handled: AtomicU64,
    /// Requests since the start.
    pub requests: AtomicU64,
    /// Client connections that live.
    pub active: AtomicU64,
    /// Of them, those whose request head is being read.
    pub reading: AtomicU64,
    /// Of them, those that are being answered.
    pub writing: AtomicU64,
    /// Of them, those that wait for a request.
    pub waiting: AtomicU64,
}

/// Zones below this size have one shard, in bytes: their order of use is exact.
const SHARDED_BYTES_MIN: usize = 1 << 20;
/// How many shards larger zones have.
const SHARDS: usize = 16;

/// How many shards a zone of this size has.
const fn shard_count(zone_bytes: usize) -> usize {
    if zone_bytes < SHARDED_BYTES_MIN { 1 } else { SHARDS }
}

/// The shard of a hash: by its middle bits, since the tables inside use both ends.
const fn shard_of(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize % shards
}
