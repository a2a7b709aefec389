//! TLS towards gRPC servers.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower::{tls_values, upstream_tls};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "grpc_ssl_session_reuse",
        C::HSL,
        A::FLAG,
        "Whether handshakes resume earlier sessions. Default: on.",
    )
    .grpc(|level, call| store(&mut level.tls.session_reuse, call.first().flag())),
    Entry::new("grpc_ssl_protocols", C::HSL, A::MORE1, "The versions of TLS. Default: TLSv1.2 TLSv1.3.")
        .grpc(|level, call| store(&mut level.tls.protocols, tls_values::versions(call))),
    Entry::new(
        "grpc_ssl_ciphers",
        C::HSL,
        A::ONE,
        "The ciphers of TLS 1.2 in OpenSSL's language. Default: DEFAULT.",
    )
    .grpc(|level, call| store(&mut level.tls.ciphers, tls_values::cipher_list(call, 0))),
    Entry::new(
        "grpc_ssl_name",
        C::HSL,
        A::ONE,
        "Whom the server's certificate must name, and who is asked for by SNI. Default: the URL's host.",
    )
    .grpc(|level, call| store(&mut level.tls.name, call.template(0))),
    Entry::new("grpc_ssl_server_name", C::HSL, A::FLAG, "Whether the name is sent by SNI. Default: off.")
        .grpc(|level, call| store(&mut level.tls.server_name, call.first().flag())),
    Entry::new(
        "grpc_ssl_verify",
        C::HSL,
        A::FLAG,
        "Whether the server's certificate is weighed. Default: off.",
    )
    .grpc(|level, call| store(&mut level.tls.verify, call.first().flag())),
    Entry::new(
        "grpc_ssl_verify_depth",
        C::HSL,
        A::ONE,
        "How many certificates may stand between the server's and one that is trusted. Default: 1.",
    )
    .grpc(|level, call| upstream_tls::verify_depth(&mut level.tls, call)),
    Entry::new(
        "grpc_ssl_trusted_certificate",
        C::HSL,
        A::ONE,
        "A file with certificates that are trusted about servers.",
    )
    .grpc(|level, call| upstream_tls::trusted_certificate(&mut level.tls, call)),
    Entry::new("grpc_ssl_crl", C::HSL, A::ONE, "A file with lists of revoked certificates.")
        .grpc(|level, call| upstream_tls::crl(&mut level.tls, call)),
    Entry::new(
        "grpc_ssl_certificate",
        C::HSL,
        A::ONE,
        "A file with the certificate that is shown to servers which ask for one.",
    )
    .grpc(|level, call| upstream_tls::certificate(&mut level.tls, call)),
    Entry::new("grpc_ssl_certificate_key", C::HSL, A::ONE, "The file with that certificate's key.")
        .grpc(|level, call| upstream_tls::certificate_key(&mut level.tls, call)),
    Entry::new(
        "grpc_ssl_certificate_cache",
        C::HSL,
        A::ONE_TO_THREE,
        "How certificates are kept whose names hold variables: off, or max= with inactive= and valid=. Default: off.",
    )
    .grpc(|level, call| upstream_tls::set_certificate_cache(&mut level.tls, call)),
    Entry::new("grpc_ssl_password_file", C::HSL, A::ONE, "A file with passphrases for keys, one a line.")
        .grpc(|level, call| upstream_tls::password_file(&mut level.tls, call)),
    Entry::new(
        "grpc_ssl_conf_command",
        C::HSL,
        A::TWO,
        "A command of OpenSSL's configuration: Ciphersuites, Groups, MinProtocol, MaxProtocol, CipherString.",
    )
    .grpc(|level, call| upstream_tls::conf_command(&mut level.tls, call))
    .repeats(),
];
