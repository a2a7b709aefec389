//! The `proxy_*` directives that nginx knows and ringgate does not implement.

use super::super::{Arity as A, Contexts as C, Entry};
use super::{off_only, tunes};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    off_only("proxy_store", C::HSL, A::ONE),
    tunes("proxy_store_access", C::HSL, A::ONE_TO_THREE),
    tunes("proxy_send_lowat", C::HSL, A::ONE),
    tunes("proxy_headers_hash_max_size", C::HSL, A::ONE),
    tunes("proxy_headers_hash_bucket_size", C::HSL, A::ONE),
    tunes("proxy_ssl_session_reuse", C::HSL, A::FLAG),
    tunes("proxy_ssl_protocols", C::HSL, A::MORE1),
    tunes("proxy_ssl_ciphers", C::HSL, A::ONE),
    tunes("proxy_ssl_name", C::HSL, A::ONE),
    tunes("proxy_ssl_server_name", C::HSL, A::FLAG),
    tunes("proxy_ssl_verify", C::HSL, A::FLAG),
    tunes("proxy_ssl_verify_depth", C::HSL, A::ONE),
    tunes("proxy_ssl_trusted_certificate", C::HSL, A::ONE),
    tunes("proxy_ssl_crl", C::HSL, A::ONE),
    tunes("proxy_ssl_certificate", C::HSL, A::ONE),
    tunes("proxy_ssl_certificate_key", C::HSL, A::ONE),
    tunes("proxy_ssl_password_file", C::HSL, A::ONE),
    tunes("proxy_ssl_conf_command", C::HSL, A::TWO),
    tunes("proxy_ssl_certificate_cache", C::HSL, A::ONE_TO_THREE),
];
