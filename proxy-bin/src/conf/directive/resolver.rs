//! Names that are looked up at run time.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "resolver",
        C::HSL,
        A::MORE1,
        "The name servers that names are looked up at: address[:port] …, valid=, ipv4=, ipv6=, status_zone=. Default: the \
         system's.",
    )
    .core(|level, call| store(&mut level.resolver, lower::resolver::resolver(call))),
    Entry::new("resolver_timeout", C::HSL, A::ONE, "How long a name is waited for. Default: 30s.")
        .core(|level, call| store(&mut level.resolver_timeout, call.first().millis())),
];
