//! Who may ask.

use super::store;
use super::{Arity as A, Body, Contexts as C, Entry};
use crate::conf::lower;

const LEVELS: C = C::HSL.or(C::LIMIT_EXCEPT);

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "allow",
        LEVELS,
        A::ONE,
        "Lets an address, a network, `unix:` or `all` in; the first rule that fits counts.",
    )
    .access(|level, call| lower::access::rule(level, call, true))
    .repeats(),
    Entry::new(
        "deny",
        LEVELS,
        A::ONE,
        "Keeps an address, a network, `unix:` or `all` out; the first rule that fits counts.",
    )
    .access(|level, call| lower::access::rule(level, call, false))
    .repeats(),
    Entry::new(
        "satisfy",
        C::HSL,
        A::ONE,
        "Whether all checks of access or any one of them must let a request pass. Default: all.",
    )
    .access(|level, call| {
        store(&mut level.satisfy_any, call.first().choice(&[("all", false), ("any", true)]))
    }),
    Entry::new("auth_delay", C::HSL, A::ONE, "How long a 401 is held back. Default: 0s.")
        .access(|level, call| store(&mut level.delay, call.first().millis())),
    Entry::new(
        "auth_basic",
        LEVELS,
        A::ONE,
        "Asks for a user and a password, with this realm; or `off`. Default: off.",
    )
    .access(|level, call| store(&mut level.realm, call.template(0))),
    Entry::new("auth_basic_user_file", LEVELS, A::ONE, "The file with the users and their passwords.")
        .access(|level, call| store(&mut level.user_file, lower::access::user_file(call))),
    Entry::new(
        "limit_except",
        C::LOCATION,
        A::MORE1,
        "What other methods than these meet; GET includes HEAD.",
    )
    .structure()
    .with_body(Body::Block(C::LIMIT_EXCEPT)),
    Entry::new(
        "auth_request",
        C::HSL,
        A::ONE,
        "The URI whose status decides: 2xx lets pass, 401 and 403 refuse; `off` for none. Default: off.",
    )
    .access(lower::access::request),
    Entry::new(
        "auth_request_set",
        C::HSL,
        A::TWO,
        "Sets a variable from the auth_request's reply once that is there.",
    )
    .access(lower::access::request_set)
    .repeats(),
];
