//! `proxy_cache` and what belongs to it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{NextUpstream, SetHeaders, Template};
use crate::http::{Method, Status};
use crate::time::Millis;

/// `proxy_cache_path`: where replies are kept. Its state lives in [`shared`](crate::shared).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheZone {
    /// The name.
    pub name: Arc<str>,
    /// The directory, absolute.
    pub path: Arc<[u8]>,
    /// `levels`: how many digits name the directory at each level; 0 for no further level.
    pub levels: [u8; 3],
    /// The size of the index in bytes, as nginx counts them.
    pub bytes: usize,
    /// `inactive`
    pub inactive: Millis,
    /// `max_size` in bytes.
    pub bytes_max: Option<u64>,
    /// `min_free` in bytes; 0 asks for nothing.
    pub free_bytes_min: u64,
    /// `use_temp_path`
    pub use_temp_path: bool,
    /// `manager_files`, `manager_sleep`
    pub manager: CacheBatch,
    /// `loader_files`, `loader_sleep`
    pub loader: CacheBatch,
}

/// How much is done in the background before other work has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBatch {
    /// At most so many files.
    pub files: usize,
    /// Then it rests for so long.
    pub sleep: Millis,
}

impl CacheZone {
    /// Whether an index of the one describes what the other is about.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.path == other.path
            && self.levels == other.levels
            && self.bytes == other.bytes
    }
}

/// What a location says about caching.
#[derive(Clone, Debug)]
pub struct Cache {
    /// `proxy_cache`
    pub zone: CacheName,
    /// `proxy_cache_key`; none for nginx's default: the URL that the upstream is asked for.
    pub key: Option<Template>,
    /// `proxy_cache_valid`, in order.
    pub valid: Box<[CacheValid]>,
    /// `proxy_cache_methods`
    pub methods: Box<[Method]>,
    /// `proxy_cache_convert_head`
    pub convert_head: bool,
    /// `proxy_cache_bypass`
    pub bypass: Box<[Template]>,
    /// `proxy_no_cache`
    pub no_cache: Box<[Template]>,
    /// `proxy_cache_min_uses`
    pub min_uses: u32,
    /// `proxy_cache_lock` with `_timeout` and `_age`.
    pub lock: Option<CacheLock>,
    /// `proxy_cache_use_stale`
    pub use_stale: UseStale,
    /// `proxy_cache_background_update`
    pub background_update: bool,
    /// `proxy_cache_revalidate`
    pub revalidate: bool,
    /// `proxy_cache_max_range_offset` in bytes; none is no limit.
    pub max_range_offset: Option<u64>,
    /// The fields that are sent for a reply that may be kept: those of the location, and nothing that would make it a
    /// part of one.
    pub set_headers: Arc<SetHeaders>,
}

/// Which cache.
#[derive(Clone, Debug)]
pub enum CacheName {
    /// A place in [`Config::caches`](super::Config::caches).
    Zone(usize),
    /// Known for each request: a name, or nothing or `off` for none.
    Computed(Template),
}

/// One status of `proxy_cache_valid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheValid {
    /// The status; none for `any`.
    pub status: Option<Status>,
    /// How long, in seconds.
    pub seconds: i64,
}

/// `proxy_cache_lock`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLock {
    /// `proxy_cache_lock_timeout`
    pub timeout: Millis,
    /// `proxy_cache_lock_age`
    pub age: Millis,
}

/// `proxy_cache_use_stale`
#[derive(Clone, Debug)]
pub struct UseStale {
    /// `updating`
    pub updating: bool,
    /// `error`, `timeout`, `invalid_header` and `http_500` … `http_429`, in the words of `proxy_next_upstream`.
    pub failures: NextUpstream,
}

impl Cache {
    /// `proxy_cache_valid` for a status, in seconds; 0 where it is not kept.
    #[must_use]
    pub fn valid_s(&self, status: Status) -> i64 {
        let applies = |valid: &&CacheValid| valid.status.is_none_or(|other| other == status);
        self.valid.iter().find(applies).map_or(0, |valid| valid.seconds)
    }
}
