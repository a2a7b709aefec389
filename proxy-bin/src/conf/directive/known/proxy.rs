//! The `proxy_*` directives that nginx knows and ringgate does not implement.

use super::super::{Arity as A, Contexts as C, Entry};
use super::{off_only, tunes};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    off_only("proxy_store", C::HSL, A::ONE),
    tunes("proxy_store_access", C::HSL, A::ONE_TO_THREE),
    tunes("proxy_send_lowat", C::HSL, A::ONE),
    tunes("proxy_headers_hash_max_size", C::HSL, A::ONE),
    tunes("proxy_headers_hash_bucket_size", C::HSL, A::ONE),
    tunes("proxy_cache_key", C::HSL, A::ONE),
    tunes("proxy_cache_path", C::HTTP, A::MORE2),
    tunes("proxy_cache_bypass", C::HSL, A::MORE1),
    tunes("proxy_no_cache", C::HSL, A::MORE1),
    tunes("proxy_cache_valid", C::HSL, A::MORE1),
    tunes("proxy_cache_min_uses", C::HSL, A::ONE),
    tunes("proxy_cache_max_range_offset", C::HSL, A::ONE),
    tunes("proxy_cache_use_stale", C::HSL, A::MORE1),
    tunes("proxy_cache_methods", C::HSL, A::MORE1),
    tunes("proxy_cache_lock", C::HSL, A::FLAG),
    tunes("proxy_cache_lock_timeout", C::HSL, A::ONE),
    tunes("proxy_cache_lock_age", C::HSL, A::ONE),
    tunes("proxy_cache_revalidate", C::HSL, A::FLAG),
    tunes("proxy_cache_convert_head", C::HSL, A::FLAG),
    tunes("proxy_cache_background_update", C::HSL, A::FLAG),
];
