//! The rewrite module: changing the URI, answering at once, conditions.

use super::{Arity as A, Body, Contexts as C, Entry};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "rewrite",
        C::REWRITE,
        A::TWO_THREE,
        "Replaces a URI that matches a regex; flags last, break, redirect, permanent.",
    )
    .repeats(),
    Entry::new("return", C::REWRITE, A::ONE_TWO, "Answers at once with a status and a text or URL.")
        .repeats(),
    Entry::new("break", C::REWRITE, A::NONE, "Ends the rewrite directives of this level.").repeats(),
    Entry::new("set", C::REWRITE, A::TWO, "Gives a variable a value.").repeats(),
    Entry::new("if", C::SERVER, A::MORE1, "Directives for requests that meet a condition.")
        .with_body(Body::Block(C::SERVER_IF))
        .repeats(),
    Entry::new("if", C::LOCATION, A::MORE1, "Settings for requests that meet a condition.")
        .with_body(Body::Block(C::LOCATION_IF))
        .repeats(),
    Entry::new(
        "rewrite_log",
        C::HTTP.or(C::REWRITE),
        A::FLAG,
        "Accepted: rewrites are not logged. Default: off.",
    ),
    Entry::new(
        "uninitialized_variable_warn",
        C::HTTP.or(C::REWRITE),
        A::FLAG,
        "Accepted: use of variables without a value is not logged. Default: on.",
    ),
];
