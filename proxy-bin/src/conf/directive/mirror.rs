//! Copies of requests.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "mirror",
        C::HSL,
        A::ONE,
        "A URI that is asked for with a copy of each request, the reply being ignored; `off` for none.",
    )
    .mirror(lower::mirror::mirror)
    .repeats(),
    Entry::new(
        "mirror_request_body",
        C::HSL,
        A::FLAG,
        "Whether the body is read first and goes along. Default: on.",
    )
    .mirror(|level, call| store(&mut level.request_body, call.first().flag())),
];
