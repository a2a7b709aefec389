//! TLS and HTTP/3 directives, and the few that size nginx's own HTTP/2 memory, that nginx knows and ringgate does not implement.

use super::super::{Arity as A, Contexts as C, Entry};
use super::{off_only, tunes};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    tunes("http2_recv_buffer_size", C::HTTP, A::ONE),
    tunes("http2_pool_size", C::HS, A::ONE),
    tunes("http2_streams_index_size", C::HS, A::ONE),
    off_only("ssl_ocsp", C::HS, A::ONE),
    tunes("ssl_ocsp_responder", C::HS, A::ONE),
    tunes("ssl_ocsp_cache", C::HS, A::ONE),
    off_only("http3", C::HS, A::FLAG),
    tunes("http3_hq", C::HS, A::FLAG),
    tunes("quic_gso", C::HS, A::FLAG),
    tunes("quic_retry", C::HS, A::FLAG),
    tunes("http3_max_concurrent_streams", C::HS, A::ONE),
    tunes("http3_stream_buffer_size", C::HS, A::ONE),
    tunes("quic_active_connection_id_limit", C::HS, A::ONE),
    tunes("quic_host_key", C::HS, A::ONE),
    tunes("ssl_certificate_compression", C::HS, A::FLAG),
    tunes("ssl_ech_file", C::HS, A::ONE),
];
