//! Active health checks.

use super::{Arity as A, Body, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "health_check",
        C::LOCATION,
        A::ANY,
        "Asks the servers of this location's group at intervals: interval=, jitter=, fails=, passes=, uri=, match=, \
         mandatory, persistent, port=, type=http|tcp|grpc, grpc_service=, grpc_status=, keepalive_time=.",
    )
    .own(lower::health::health_check)
    .repeats(),
    Entry::new(
        "match",
        C::HTTP,
        A::ONE,
        "What a reply to a health check must be like: status, header, body, require.",
    )
    .structure()
    .with_body(Body::Free)
    .repeats(),
];
