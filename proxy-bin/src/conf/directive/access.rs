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
        "set_real_ip_from",
        C::HSL,
        A::ONE,
        "A proxy, by address, network or name, or `unix:`, that may say who the client is.",
    )
    .real_ip(lower::real_ip::from)
    .repeats(),
    Entry::new(
        "real_ip_header",
        C::HSL,
        A::ONE,
        "Where it says so: a field, or `proxy_protocol`. Default: X-Real-IP.",
    )
    .real_ip(|level, call| {
        level.header = Some(lower::real_ip::header(call));
        Ok(())
    }),
    Entry::new(
        "real_ip_recursive",
        C::HSL,
        A::FLAG,
        "Whether proxies that are named by others are believed in turn. Default: off.",
    )
    .real_ip(|level, call| store(&mut level.recursive, call.first().flag())),
    Entry::new(
        "valid_referers",
        C::SERVER.or(C::LOCATION),
        A::MORE1,
        "The referers that leave $invalid_referer empty.",
    )
    .vetting(lower::vetting::valid_referers)
    .repeats(),
    Entry::new("secure_link", C::HSL, A::ONE, "Where a link's hash and its time stand.")
        .vetting(|level, call| store(&mut level.link, call.template(0))),
    Entry::new("secure_link_md5", C::HSL, A::ONE, "What is hashed for it.")
        .vetting(|level, call| store(&mut level.md5, call.template(0))),
    Entry::new(
        "secure_link_secret",
        C::LOCATION,
        A::ONE,
        "A secret word, for links of the form /prefix/hash/link.",
    )
    .vetting(|level, call| {
        level.secret = Some(call.first().arg.bytes.as_slice().into());
        Ok(())
    }),
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
