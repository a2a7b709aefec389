//! Fields that are added to replies.

use super::{Arity as A, Contexts as C, Entry};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "add_header",
        C::HSL_IF,
        A::TWO_THREE,
        "Adds a field to replies with a good status, or with `always` to all.",
    )
    .repeats(),
    Entry::new("add_trailer", C::HSL_IF, A::TWO_THREE, "Adds a field behind the body of replies.").repeats(),
    Entry::new(
        "add_header_inherit",
        C::HSL_IF,
        A::ONE,
        "Whether add_header adds to those of the level above: on (only if there are none here), off or merge. Default: on.",
    ),
    Entry::new("add_trailer_inherit", C::HSL_IF, A::ONE, "The same for add_trailer. Default: on."),
    Entry::new(
        "expires",
        C::HSL_IF,
        A::ONE_TWO,
        "The Expires and Cache-Control fields of replies. Default: off.",
    ),
];
