//! Zones in the API: of `limit_req`, `limit_conn` and `proxy_cache_path`, by their names, as NGINX Plus shows them.

use alloc::format;
use alloc::string::String;

use serde::Serialize;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::{Answered, Call, Done, show};
use crate::config::LimitKind;
use crate::exchange::facts::LimitStatus;
use crate::shared::{LimitCounts, Zone};

/// A kind of zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    LimitRequests,
    LimitConnections,
    Caches,
    // Nothing of these is ever there.
    Slabs,
    ServerZones,
    LocationZones,
    Keyvals,
}

#[derive(Serialize)]
struct Requests {
    passed: u64,
    delayed: u64,
    rejected: u64,
    delayed_dry_run: u64,
    rejected_dry_run: u64,
}

#[derive(Serialize)]
struct Connections {
    passed: u64,
    rejected: u64,
    rejected_dry_run: u64,
}

#[derive(Serialize)]
struct Cache {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
    cold: bool,
}

/// `/http/limit_reqs` and its like.
pub(super) fn all(kind: Kind, call: &Call<'_>) -> Answered {
    call.read(|call| {
        let mut all = Map::new();
        each(kind, call, |name, value, _| {
            all.insert(String::from(name), call.only(value));
        });
        Value::Object(all)
    })
}

/// `/http/limit_reqs/NAME` and its like: shown, or counted anew.
pub(super) fn one(kind: Kind, name: &str, call: &Call<'_>) -> Answered {
    let mut found = None;
    each(kind, call, |known, value, counts| {
        if known == name {
            found = Some(value);
            if call.resets()
                && let Some(counts) = counts
            {
                counts.reset();
            }
        }
    });
    let found = found.ok_or_else(|| missing(kind))?;
    call.read_or_reset(|call| call.only(found), || Done)
}

fn missing(kind: Kind) -> ApiError {
    match kind {
        Kind::LimitRequests => ApiError::LIMIT_REQ_NOT_FOUND,
        Kind::LimitConnections => ApiError::LIMIT_CONN_NOT_FOUND,
        Kind::Caches => ApiError::CACHE_NOT_FOUND,
        Kind::Slabs => ApiError::SLAB_NOT_FOUND,
        Kind::ServerZones => ApiError::SERVER_ZONE_NOT_FOUND,
        Kind::LocationZones => ApiError::LOCATION_ZONE_NOT_FOUND,
        Kind::Keyvals => ApiError::KEYVAL_NOT_FOUND,
    }
}

/// Shows each zone of a kind, with what it has counted.
fn each(kind: Kind, call: &Call<'_>, mut see: impl FnMut(&str, Value, Option<&LimitCounts>)) {
    let generation = call.generation;
    if kind == Kind::Caches {
        for (zone, index) in generation.config.caches.iter().zip(&generation.caches) {
            let cache = Cache { size: index.bytes(), max_size: zone.bytes_max, cold: index.is_cold() };
            see(&zone.name, show(&cache), None);
        }
        return;
    }
    for (zone, state) in generation.limits() {
        match (kind, zone.kind, state) {
            (Kind::LimitRequests, LimitKind::Requests { .. }, Zone::Requests(state)) => {
                let number = |status| state.counts.number(status);
                let numbers = Requests {
                    passed: number(LimitStatus::Passed),
                    delayed: number(LimitStatus::Delayed),
                    rejected: number(LimitStatus::Rejected),
                    delayed_dry_run: number(LimitStatus::DelayedDryRun),
                    rejected_dry_run: number(LimitStatus::RejectedDryRun),
                };
                see(&zone.name, show(&numbers), Some(&state.counts));
            }
            (Kind::LimitConnections, LimitKind::Connections, Zone::Connections(state)) => {
                let number = |status| state.counts.number(status);
                let numbers = Connections {
                    passed: number(LimitStatus::Passed),
                    rejected: number(LimitStatus::Rejected),
                    rejected_dry_run: number(LimitStatus::RejectedDryRun),
                };
                see(&zone.name, show(&numbers), Some(&state.counts));
            }
            (_, _, _) => {}
        }
    }
}

/// A kind of zones by its name in the path.
pub(super) fn kind_of(path: &[&str]) -> Option<Kind> {
    Some(match path {
        ["http", "limit_reqs"] => Kind::LimitRequests,
        ["http", "limit_conns"] => Kind::LimitConnections,
        ["http", "caches"] => Kind::Caches,
        ["http", "server_zones"] => Kind::ServerZones,
        ["http", "location_zones"] => Kind::LocationZones,
        ["http", "keyvals"] => Kind::Keyvals,
        ["slabs"] => Kind::Slabs,
        _ => return None,
    })
}

/// `404` and so on, as keys of an object: `{"200": 7}`.
pub(super) fn codes(codes: impl Iterator<Item = (u16, u64)>) -> Value {
    Value::Object(codes.map(|(code, count)| (format!("{code}"), count.into())).collect())
}
