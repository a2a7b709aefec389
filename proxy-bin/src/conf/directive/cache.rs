//! Replies that are kept: `proxy_cache` and what belongs to it.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower::cache as lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "proxy_cache_path",
        C::HTTP,
        A::MORE2,
        "A directory for replies: PATH keys_zone=NAME:SIZE [levels=1:2] [inactive=10m] [max_size=10g] …",
    )
    .shared(lower::cache_path)
    .repeats(),
    Entry::new("proxy_cache", C::HSL, A::ONE, "The zone that replies are kept in, or `off`. Default: off.")
        .proxy(lower::cache),
    Entry::new(
        "proxy_cache_key",
        C::HSL,
        A::ONE,
        "What a reply is found by. Default: the URL that the upstream is asked for.",
    )
    .proxy(|level, call| store(&mut level.cache.key, call.template(0))),
    Entry::new(
        "proxy_cache_valid",
        C::HSL,
        A::MORE1,
        "How long replies are kept that say nothing about it: [CODE …|any] TIME.",
    )
    .proxy(lower::valid)
    .repeats(),
    Entry::new(
        "proxy_cache_methods",
        C::HSL,
        A::MORE1,
        "The methods whose replies are kept. Default: GET HEAD.",
    )
    .proxy(lower::methods)
    .repeats(),
    Entry::new(
        "proxy_cache_convert_head",
        C::HSL,
        A::FLAG,
        "Whether HEAD is sent as GET, for its reply to be kept. Default: on.",
    )
    .proxy(|level, call| store(&mut level.cache.convert_head, call.first().flag())),
    Entry::new(
        "proxy_cache_bypass",
        C::HSL,
        A::MORE1,
        "The cache is not asked where one of these is neither empty nor 0.",
    )
    .proxy(|level, call| lower::predicates(&mut level.cache.bypass, call))
    .repeats(),
    Entry::new(
        "proxy_no_cache",
        C::HSL,
        A::MORE1,
        "The reply is not kept where one of these is neither empty nor 0.",
    )
    .proxy(|level, call| lower::predicates(&mut level.cache.no_cache, call))
    .repeats(),
    Entry::new(
        "proxy_cache_min_uses",
        C::HSL,
        A::ONE,
        "The number of requests after which a reply is kept. Default: 1.",
    )
    .proxy(|level, call| store(&mut level.cache.min_uses, call.first().number_u32())),
    Entry::new(
        "proxy_cache_lock",
        C::HSL,
        A::FLAG,
        "Whether only one request at a time fetches a reply that is not there yet. Default: off.",
    )
    .proxy(|level, call| store(&mut level.cache.lock, call.first().flag())),
    Entry::new(
        "proxy_cache_lock_timeout",
        C::HSL,
        A::ONE,
        "How long the others wait; then they ask, too, and their reply is not kept. Default: 5s.",
    )
    .proxy(|level, call| store(&mut level.cache.lock_timeout, call.first().millis())),
    Entry::new(
        "proxy_cache_lock_age",
        C::HSL,
        A::ONE,
        "How long it has for that before one more may ask. Default: 5s.",
    )
    .proxy(|level, call| store(&mut level.cache.lock_age, call.first().millis())),
    Entry::new(
        "proxy_cache_use_stale",
        C::HSL,
        A::MORE1,
        "When an old reply is the answer: error, timeout, invalid_header, updating, http_500 … Default: off.",
    )
    .proxy(lower::use_stale)
    .repeats(),
    Entry::new(
        "proxy_cache_background_update",
        C::HSL,
        A::FLAG,
        "Whether an old reply is renewed behind the client's back. Default: off.",
    )
    .proxy(|level, call| store(&mut level.cache.background_update, call.first().flag())),
    Entry::new(
        "proxy_cache_revalidate",
        C::HSL,
        A::FLAG,
        "Whether old replies are renewed with If-Modified-Since and If-None-Match. Default: off.",
    )
    .proxy(|level, call| store(&mut level.cache.revalidate, call.first().flag())),
    Entry::new(
        "proxy_cache_max_range_offset",
        C::HSL,
        A::ONE,
        "Ranges that begin further away are asked of the upstream, and not kept. Default: no limit.",
    )
    .proxy(|level, call| store(&mut level.cache.max_range_offset, call.first().offset())),
];
