//! The `proxy_*` directives that nginx knows and ringgate does not implement.

use super::super::{Arity as A, Contexts as C, Entry};
use super::tunes;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    tunes("proxy_send_lowat", C::HSL, A::ONE),
    tunes("proxy_headers_hash_max_size", C::HSL, A::ONE),
    tunes("proxy_headers_hash_bucket_size", C::HSL, A::ONE),
];
