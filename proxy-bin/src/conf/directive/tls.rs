//! TLS towards clients: the SSL module.

use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "ssl_certificate",
        C::HS,
        A::ONE,
        "A file with the server's certificate and those that lead to the root. Several for several types of keys.",
    ).server(|level, call| lower::tls::certificate(&mut level.tls, call)).repeats(),
    Entry::new(
        "ssl_certificate_key",
        C::HS,
        A::ONE,
        "The file with the key of the certificate in the same place.",
    ).server(|level, call| lower::tls::certificate_key(&mut level.tls, call)).repeats(),
    Entry::new(
        "ssl_certificate_cache",
        C::HS,
        A::ONE_TO_THREE,
        "How certificates are kept whose names hold variables: off, or max= with inactive= and valid=. Default: off.",
    ).server(|level, call| lower::tls::set_certificate_cache(&mut level.tls, call)),
    Entry::new(
        "ssl_password_file",
        C::HS,
        A::ONE,
        "A file with passphrases for keys, one a line.",
    ).server(|level, call| lower::tls::password_file(&mut level.tls, call)),
    Entry::new(
        "ssl_protocols",
        C::HS,
        A::MORE1,
        "The versions of TLS. Default: TLSv1.2 TLSv1.3.",
    ).server(|level, call| lower::tls_values::protocols(&mut level.tls, call)),
    Entry::new(
        "ssl_ciphers",
        C::HS,
        A::ONE,
        "The ciphers of TLS 1.2 in OpenSSL's language. Default: HIGH:!aNULL:!MD5.",
    ).server(|level, call| lower::tls_values::ciphers(&mut level.tls, call)),
    Entry::new(
        "ssl_conf_command",
        C::HS,
        A::TWO,
        "A command of OpenSSL's configuration: Ciphersuites, Groups, MinProtocol, MaxProtocol, CipherString, Options.",
    ).server(|level, call| lower::tls_values::conf_command(&mut level.tls, call)).repeats(),
    Entry::new(
        "ssl_ecdh_curve",
        C::HS,
        A::ONE,
        "The groups for the key exchange. Default: auto.",
    ).server(|level, call| lower::tls_values::curves(&mut level.tls, call)),
    Entry::new(
        "ssl_prefer_server_ciphers",
        C::HS,
        A::FLAG,
        "Whether our order of ciphers counts. Default: off.",
    ).server(|level, call| super::store(&mut level.tls.prefer_server_ciphers, call.first().flag())),
    Entry::new(
        "ssl_dhparam",
        C::HS,
        A::ONE,
        "Parameters for DHE ciphers, which rustls does not have: accepted with a notice.",
    ).server(|level, call| lower::tls_values::dhparam(&mut level.tls, call)),
    Entry::new(
        "ssl_buffer_size",
        C::HS,
        A::ONE,
        "How much one record carries at the most. Default: 16k.",
    ).server(|level, call| super::store(&mut level.tls.buffer_size, call.first().bytes())),
    Entry::new(
        "ssl_session_cache",
        C::HS,
        A::ONE_TWO,
        "Where sessions are kept: off, none, builtin, shared:name:size. Default: none.",
    ).server(|level, call| lower::tls_values::session_cache(&mut level.tls, call)),
    Entry::new(
        "ssl_session_tickets",
        C::HS,
        A::FLAG,
        "Whether sessions are resumed by tickets. Default: on.",
    ).server(|level, call| super::store(&mut level.tls.session_tickets, call.first().flag())),
    Entry::new(
        "ssl_session_ticket_key",
        C::HS,
        A::ONE,
        "A file with a secret for tickets; the first makes them, the others open old ones.",
    ).server(|level, call| lower::tls::ticket_key(&mut level.tls, call)).repeats(),
    Entry::new(
        "ssl_session_timeout",
        C::HS,
        A::ONE,
        "How long a session may be resumed. Default: 5m.",
    ).server(|level, call| lower::tls_values::session_timeout(&mut level.tls, call)),
    Entry::new(
        "ssl_early_data",
        C::HS,
        A::FLAG,
        "Whether requests may come before the handshake is complete (0-RTT). Default: off.",
    ).server(|level, call| super::store(&mut level.tls.early_data, call.first().flag())),
    Entry::new(
        "ssl_verify_client",
        C::HS,
        A::ONE,
        "Whether clients show certificates: on, off, optional, optional_no_ca. Default: off.",
    ).server(|level, call| lower::tls_values::verify_client(&mut level.tls, call)),
    Entry::new(
        "ssl_verify_depth",
        C::HS,
        A::ONE,
        "How many certificates may stand between a client's and one that is trusted. Default: 1.",
    ).server(|level, call| lower::tls_values::verify_depth(&mut level.tls, call)),
    Entry::new(
        "ssl_client_certificate",
        C::HS,
        A::ONE,
        "A file with certificates that are trusted about clients, and named to them.",
    ).server(|level, call| lower::tls::client_certificate(&mut level.tls, call)),
    Entry::new(
        "ssl_trusted_certificate",
        C::HS,
        A::ONE,
        "A file with certificates that are trusted about clients, and not named to them.",
    ).server(|level, call| lower::tls::trusted_certificate(&mut level.tls, call)),
    Entry::new(
        "ssl_crl",
        C::HS,
        A::ONE,
        "A file with lists of revoked certificates.",
    ).server(|level, call| lower::tls::crl(&mut level.tls, call)),
    Entry::new(
        "ssl_stapling",
        C::HS,
        A::FLAG,
        "Whether certificates are shown with what their responders say (OCSP), fetched ahead. Default: off.",
    ).server(|level, call| super::store(&mut level.tls.stapling, call.first().flag())),
    Entry::new(
        "ssl_stapling_responder",
        C::HS,
        A::ONE,
        "The responder's URL, in the place of the one in the certificate. Only http://.",
    ).server(|level, call| lower::stapling::responder(&mut level.tls, call)),
    Entry::new(
        "ssl_stapling_verify",
        C::HS,
        A::FLAG,
        "Whether what responders say is verified. It always is: on and off are the same.",
    ).server(|level, call| super::store(&mut level.tls.stapling_verify, call.first().flag())),
    Entry::new(
        "ssl_stapling_file",
        C::HS,
        A::ONE,
        "A file with what the authority says of the certificate (OCSP, DER).",
    ).server(|level, call| lower::tls::stapling_file(&mut level.tls, call)),
    Entry::new(
        "ssl_reject_handshake",
        C::HS,
        A::FLAG,
        "Whether handshakes are refused. Default: off.",
    ).server(|level, call| super::store(&mut level.tls.reject_handshake, call.first().flag())),
];
