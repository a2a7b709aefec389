//! Fields that are added to replies.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;
use crate::conf::lower::core::HeaderInherit;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "add_header",
        C::HSL_IF,
        A::TWO_THREE,
        "Adds a field to replies with a good status, or with `always` to all.",
    ).core(|level, call| { let header = lower::core::add_header(call)?; level.add_headers.get_or_insert_default().push(header); Ok(()) })
    .repeats(),
    Entry::new("add_trailer", C::HSL_IF, A::TWO_THREE, "Adds a field behind the body of replies.").core(|level, call| { let header = lower::core::add_header(call)?; level.add_trailers.get_or_insert_default().push(header); Ok(()) }).repeats(),
    Entry::new(
        "add_header_inherit",
        C::HSL_IF,
        A::ONE,
        "Whether add_header adds to those of the level above: on (only if there are none here), off or merge. Default: on.",
    ).core(|level, call| store(&mut level.add_header_inherit, call.first().choice(&[("on", HeaderInherit::On), ("off", HeaderInherit::Off), ("merge", HeaderInherit::Merge)]))),
    Entry::new("add_trailer_inherit", C::HSL_IF, A::ONE, "The same for add_trailer. Default: on.").core(|level, call| store(&mut level.add_trailer_inherit, call.first().choice(&[("on", HeaderInherit::On), ("off", HeaderInherit::Off), ("merge", HeaderInherit::Merge)]))),
    Entry::new(
        "expires",
        C::HSL_IF,
        A::ONE_TWO,
        "The Expires and Cache-Control fields of replies. Default: off.",
    ).core(|level, call| store(&mut level.expires, lower::core::expires(call))),
];
