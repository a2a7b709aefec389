//! Variables that depend on other variables.

use super::{Arity as A, Body, Contexts as C, Entry};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("map", C::HTTP, A::TWO, "A variable whose value is looked up by another string.")
        .structure()
        .with_body(Body::Free)
        .repeats(),
    Entry::new("geo", C::HTTP, A::ONE_TWO, "A variable whose value is looked up by an address.")
        .structure()
        .with_body(Body::Free)
        .repeats(),
    Entry::new("split_clients", C::HTTP, A::TWO, "A variable whose value splits requests into parts.")
        .structure()
        .with_body(Body::Free)
        .repeats(),
];
