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
];
