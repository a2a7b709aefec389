//! Variables that depend on other variables.

use super::{Arity as A, Body, Contexts as C, Entry};

/// The table.
pub(super) const ENTRIES: &[Entry] =
    &[Entry::new("map", C::HTTP, A::TWO, "A variable whose value is looked up by another string.")
        .structure()
        .with_body(Body::Free)
        .repeats()];
