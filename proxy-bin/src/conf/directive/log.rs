//! Access logs.

use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("log_format", C::HTTP, A::MORE2, "A named format for access_log. Predefined: combined.")
        .shared(lower::logs::log_format)
        .repeats(),
    Entry::new(
        "access_log",
        C::HSL_IF.or(C::LIMIT_EXCEPT),
        A::MORE1,
        "A file for access lines, or `off`. Default: logs/access.log combined.",
    )
    .log(lower::logs::access_log)
    .repeats(),
];
