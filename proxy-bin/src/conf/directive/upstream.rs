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
        "A server of the group: address, weight=, max_fails=, fail_timeout=, max_conns=, slow_start=, route=, backup, \
         down, drain, resolve, service=.",
    )
    .upstream(lower::upstream::server_directive)
    .repeats(),
    Entry::new(
        "resolver",
        C::UPSTREAM,
        A::MORE1,
        "The name servers that names with `resolve` are looked up at. Default: that of http, or the system's.",
    )
    .upstream(|level, call| store(&mut level.resolver, lower::resolver::resolver(call))),
    Entry::new("resolver_timeout", C::UPSTREAM, A::ONE, "How long such a name is waited for. Default: 30s.")
        .upstream(|level, call| store(&mut level.resolver_timeout, call.first().millis())),
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
    Entry::new("least_conn", C::UPSTREAM, A::NONE, "The server with the fewest requests for its weight is asked.")
        .upstream(lower::balance::least_conn),
    Entry::new("ip_hash", C::UPSTREAM, A::NONE, "The client's address names its server.")
        .upstream(lower::balance::ip_hash),
    Entry::new("hash", C::UPSTREAM, A::ONE_TWO, "A key names its server; `consistent` by ketama.")
        .upstream(lower::balance::hash),
    Entry::new("random", C::UPSTREAM, A::take(&[0, 1, 2]), "A server at random, or with `two` the better of two.")
        .upstream(lower::balance::random),
    Entry::new(
        "least_time",
        C::UPSTREAM,
        A::ONE_TWO,
        "The server that would be through first: header or last_byte, and `inflight`.",
    )
    .upstream(lower::balance::least_time),
    Entry::new(
        "sticky",
        C::UPSTREAM,
        A::MORE2,
        "Requests of a session go to one server: cookie, route or learn.",
    )
    .upstream(lower::balance::sticky),
    Entry::new("zone", C::UPSTREAM, A::ONE_TWO, "Accepted as nginx's; all workers share every group's state.")
        .upstream(lower::balance::zone),
    Entry::new(
        "state",
        C::UPSTREAM,
        A::ONE,
        "The file that the group's servers are kept in when `api` changes them; no `server` may stand beside it.",
    )
    .upstream(lower::upstream::state),
    Entry::new(
        "queue",
        C::UPSTREAM,
        A::ONE_TWO,
        "How many requests wait while no server has room, and how long. Default: none.",
    )
    .upstream(lower::balance::queue),
    Entry::new(
        "retry_budget",
        C::UPSTREAM,
        A::ONE_TWO,
        "ringgate's own: the share of live requests that may be at a second server, and min=. Default: no bound.",
    )
    .upstream(lower::balance::retry_budget),
    Entry::new(
        "outlier_ejection",
        C::UPSTREAM,
        A::take(&[0, 1, 2, 3, 4]),
        "ringgate's own: leaves a server out after consecutive_5xx= or for latency=, for time=, up to max_ejected=.",
    )
    .upstream(lower::balance::outlier_ejection),
];
