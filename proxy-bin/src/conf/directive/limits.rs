//! How much of the same is too much: requests in time, and at the same time.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower::limits as lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "limit_req_zone",
        C::HTTP,
        A::take(&[3]),
        "A zone that counts requests by a key: KEY zone=NAME:SIZE rate=10r/s. `sync` is not part of nginx's open source edition.",
    )
    .shared(lower::limit_req_zone)
    .repeats(),
    Entry::new(
        "limit_req",
        C::HSL,
        A::ONE_TO_THREE,
        "Requests above the zone's rate wait, and are refused above burst. Several apply together.",
    )
    .limit(lower::limit_req)
    .repeats(),
    Entry::new("limit_req_status", C::HSL, A::ONE, "The status of a refused request. Default: 503.")
        .limit(|level, call| store(&mut level.limit_req_status, lower::status(call))),
    Entry::new(
        "limit_req_log_level",
        C::HSL,
        A::ONE,
        "The level of the error log's line about it; a delay is logged one level lower. Default: error.",
    )
    .limit(|level, call| store(&mut level.limit_req_log_level, lower::log_level(call))),
    Entry::new("limit_req_dry_run", C::HSL, A::FLAG, "Only count and log. Default: off.")
        .limit(|level, call| store(&mut level.limit_req_dry_run, call.first().flag())),
    Entry::new(
        "limit_conn_zone",
        C::HTTP,
        A::TWO,
        "A zone that counts the requests being served by a key: KEY zone=NAME:SIZE.",
    )
    .shared(lower::limit_conn_zone)
    .repeats(),
    Entry::new(
        "limit_conn",
        C::HSL,
        A::TWO,
        "How many requests of a zone's key are served at the same time. Several apply together.",
    )
    .limit(lower::limit_conn)
    .repeats(),
    Entry::new("limit_conn_status", C::HSL, A::ONE, "The status of a refused request. Default: 503.")
        .limit(|level, call| store(&mut level.limit_conn_status, lower::status(call))),
    Entry::new(
        "limit_conn_log_level",
        C::HSL,
        A::ONE,
        "The level of the error log's line about it. Default: error.",
    )
    .limit(|level, call| store(&mut level.limit_conn_log_level, lower::log_level(call))),
    Entry::new("limit_conn_dry_run", C::HSL, A::FLAG, "Only count and log. Default: off.")
        .limit(|level, call| store(&mut level.limit_conn_dry_run, call.first().flag())),
];
