//! The HTTP/2 module.

use super::super::lower;
use super::{Arity as A, Contexts as C, Entry, store};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "http2",
        C::HS,
        A::FLAG,
        "Whether HTTP/2 is spoken: over TLS by ALPN, and on plain ports to clients that begin with it. Default: off.",
    ).server(|level, call| store(&mut level.http2, call.first().flag())),
    Entry::new(
        "http2_max_concurrent_streams",
        C::HS,
        A::ONE,
        "How many requests one connection may have under way. Default: 128.",
    ).server(|level, call| store(&mut level.http2_max_concurrent_streams, call.first().number_u32())),
    Entry::new(
        "http2_body_preread_size",
        C::HS,
        A::ONE,
        "How much of a body a client may send before anybody asks for it. Default: 64k.",
    ).server(|level, call| { level.http2_body_preread_size = Some(lower::http2::preread_size(call)?); Ok(()) }),
    Entry::new(
        "http2_chunk_size",
        C::HSL,
        A::ONE,
        "How much of a reply goes into one frame. Default: 8k.",
    ).core(|level, call| { level.http2_chunk_size = Some(lower::http2::chunk_size(call)?); Ok(()) }),
    Entry::new(
        "http2_max_concurrent_pushes",
        C::HS,
        A::ONE,
        "Obsolete and ignored: nothing is pushed.",
    ).shared(lower::http2::obsolete),
    Entry::new(
        "http2_push_preload",
        C::HSL,
        A::FLAG,
        "Obsolete and ignored: nothing is pushed.",
    ).shared(lower::http2::obsolete),
    Entry::new(
        "http2_push",
        C::HSL,
        A::ONE,
        "Obsolete and ignored: nothing is pushed.",
    ).shared(lower::http2::obsolete).repeats(),
    Entry::new(
        "http2_max_requests",
        C::HS,
        A::ONE,
        "Obsolete: keepalive_requests is what counts.",
    ).shared(lower::http2::obsolete),
    Entry::new(
        "http2_max_field_size",
        C::HS,
        A::ONE,
        "Obsolete: large_client_header_buffers is what counts.",
    ).shared(lower::http2::obsolete),
    Entry::new(
        "http2_max_header_size",
        C::HS,
        A::ONE,
        "Obsolete: large_client_header_buffers is what counts.",
    ).shared(lower::http2::obsolete),
    Entry::new(
        "http2_recv_timeout",
        C::HS,
        A::ONE,
        "Obsolete: client_header_timeout is what counts.",
    ).shared(lower::http2::obsolete),
    Entry::new(
        "http2_idle_timeout",
        C::HS,
        A::ONE,
        "Obsolete: keepalive_timeout is what counts.",
    ).shared(lower::http2::obsolete),
];
