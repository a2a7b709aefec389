//! Groups of servers.

use super::store;
use super::{Arity as A, Body, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("upstream", C::HTTP, A::ONE, "A named group of servers for proxy_pass.")
        .structure()
        .with_body(Body::Block(C::UPSTREAM))
        .repeats(),
    Entry::new(
        "server",
        C::UPSTREAM,
        A::MORE1,
        "A server of the group: address, weight=, max_fails=, fail_timeout=, max_conns=, backup, down.",
    )
    .upstream(lower::upstream::server_directive)
    .repeats(),
    Entry::new(
        "keepalive",
        C::UPSTREAM,
        A::ONE_TWO,
        "How many idle connections each worker keeps. Default: 32.",
    )
    .upstream(lower::upstream::keepalive),
    Entry::new(
        "keepalive_requests",
        C::UPSTREAM,
        A::ONE,
        "How many requests one connection may carry. Default: 1000.",
    )
    .upstream(|level, call| store(&mut level.keepalive_requests, call.first().number())),
    Entry::new("keepalive_time", C::UPSTREAM, A::ONE, "How long one connection may be used. Default: 1h.")
        .upstream(|level, call| store(&mut level.keepalive_time, call.first().millis())),
    Entry::new(
        "keepalive_timeout",
        C::UPSTREAM,
        A::ONE,
        "How long an idle connection is kept. Default: 60s.",
    )
    .upstream(|level, call| store(&mut level.keepalive_timeout, call.first().millis())),
];
