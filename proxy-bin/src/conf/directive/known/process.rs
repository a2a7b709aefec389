//! Process-level and `events` directives that nginx knows and ringgate does not implement.

use super::super::{Arity as A, Contexts as C, Entry};
use super::{tunes, unsupported};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    tunes("timer_resolution", C::MAIN, A::ONE),
    tunes("lock_file", C::MAIN, A::ONE),
    tunes("debug_points", C::MAIN, A::ONE),
    tunes("worker_priority", C::MAIN, A::ONE),
    tunes("worker_cpu_affinity", C::MAIN, A::MORE1),
    tunes("worker_rlimit_core", C::MAIN, A::ONE),
    tunes("use", C::EVENTS, A::ONE),
    tunes("accept_mutex", C::EVENTS, A::FLAG),
    tunes("accept_mutex_delay", C::EVENTS, A::ONE),
    tunes("debug_connection", C::EVENTS, A::ONE),
    tunes("epoll_events", C::EVENTS, A::ONE),
    tunes("worker_aio_requests", C::EVENTS, A::ONE),
    tunes("thread_pool", C::MAIN, A::take(&[2, 3])),
    unsupported("ssl_engine", C::MAIN, A::ONE),
    tunes("pcre_jit", C::MAIN, A::FLAG),
    tunes("quic_bpf", C::MAIN, A::FLAG),
    tunes("google_perftools_profiles", C::MAIN, A::ONE),
];
