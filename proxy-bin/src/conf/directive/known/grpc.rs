//! Memcached and tunnel directives that nginx knows and ringgate does not implement.

use super::super::{Arity as A, Contexts as C, Entry};
use super::{tunes, unsupported};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    unsupported("memcached_pass", C::LOCATION.or(C::LOCATION_IF), A::ONE),
    tunes("memcached_bind", C::HSL, A::ONE_TWO),
    tunes("memcached_socket_keepalive", C::HSL, A::FLAG),
    tunes("memcached_connect_timeout", C::HSL, A::ONE),
    tunes("memcached_send_timeout", C::HSL, A::ONE),
    tunes("memcached_buffer_size", C::HSL, A::ONE),
    tunes("memcached_read_timeout", C::HSL, A::ONE),
    tunes("memcached_next_upstream", C::HSL, A::MORE1),
    tunes("memcached_next_upstream_tries", C::HSL, A::ONE),
    tunes("memcached_next_upstream_timeout", C::HSL, A::ONE),
    tunes("memcached_gzip_flag", C::HSL, A::ONE),
    unsupported("tunnel_pass", C::SERVER.or(C::LOCATION).or(C::LOCATION_IF), A::take(&[0, 1])),
    tunes("tunnel_bind", C::HSL, A::ONE_TWO),
    tunes("tunnel_socket_keepalive", C::HSL, A::FLAG),
    tunes("tunnel_socket_rcvbuf", C::HSL, A::ONE),
    tunes("tunnel_socket_sndbuf", C::HSL, A::ONE),
    tunes("tunnel_connect_timeout", C::HSL, A::ONE),
    tunes("tunnel_send_timeout", C::HSL, A::ONE),
    tunes("tunnel_send_lowat", C::HSL, A::ONE),
    tunes("tunnel_buffer_size", C::HSL, A::ONE),
    tunes("tunnel_read_timeout", C::HSL, A::ONE),
    tunes("tunnel_next_upstream_tries", C::HSL, A::ONE),
    tunes("tunnel_next_upstream_timeout", C::HSL, A::ONE),
    tunes("tunnel_next_upstream", C::HSL, A::MORE1),
];
