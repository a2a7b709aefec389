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
];
