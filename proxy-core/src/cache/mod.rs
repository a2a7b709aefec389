//! Replies that are kept: their names, their files, how long they are good for.
//!
//! ```text
//!            key ─► name ─► index ([`shared::cache`](crate::shared::cache)) ─► file
//! request ─────────────────────┬───────────────────────────────────────────► hit
//!                              └─ miss ─► upstream ─► [`freshness`] ─► [`writer`] ─► file
//! ```
//! - [`entry`]: what stands in a file in front of the reply, in nginx's own format: either program takes over the
//!   other's files.
//! - [`freshness`]: what a reply says about how long it may be kept.
//! - [`name`]: keys, variants and the files that they are kept in.
//! - [`writer`]: a reply on its way into its file.
//! - [`keeper`]: what is done in the background: loading the index, forgetting what is old or too much.
//!
//! What a request does with it is in [`exchange::cache`](crate::exchange::cache).
//!
//! Reference: RFC 9111; nginx's ngx_http_file_cache.c and ngx_http_upstream.c.

pub(crate) mod entry;
pub(crate) mod freshness;
pub(crate) mod keeper;
pub(crate) mod name;
pub(crate) mod writer;

/// What became of a request at its cache (`$upstream_cache_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// It was not there.
    Miss,
    /// It was not looked for.
    Bypass,
    /// It was too old.
    Expired,
    /// It was too old, and the upstream could not give another one.
    Stale,
    /// It was too old, and another request fetches another one.
    Updating,
    /// It was too old, and the upstream says that it is still right.
    Revalidated,
    /// It was there.
    Hit,
}

impl CacheStatus {
    /// The variable's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
            Self::Expired => "EXPIRED",
            Self::Stale => "STALE",
            Self::Updating => "UPDATING",
            Self::Revalidated => "REVALIDATED",
            Self::Hit => "HIT",
        }
    }
}
