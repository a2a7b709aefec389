//! What nginx 1.31 knows and ringgate does not implement: so that a configuration is told the truth about it.
//!
//! Each directive is one of
//! - *tunes*: it adjusts something that ringgate does otherwise or that has no effect without an unsupported
//!   directive; accepted, with one notice;
//! - *unsupported*: it changes what a request gets, so ignoring it would be wrong: an error;
//! - *off only*: an error unless it says `off` (or 0), which is what ringgate does.

mod cgi;
mod grpc;
mod http;
mod mail;
mod process;
mod proxy;
mod stream;
mod tls;

use super::{Arity, Body, Contexts, Effect, Entry, Support};

/// All tables.
pub(super) const TABLES: &[&[Entry]] = &[
    process::ENTRIES,
    http::ENTRIES,
    proxy::ENTRIES,
    tls::ENTRIES,
    cgi::ENTRIES,
    grpc::ENTRIES,
    stream::ENTRIES,
    mail::ENTRIES,
];

const fn known(name: &'static str, contexts: Contexts, arity: Arity, support: Support) -> Entry {
    Entry {
        name,
        contexts,
        arity,
        body: Body::None,
        repeats: true,
        doc: "",
        support,
        effect: Effect::Nothing,
    }
}

const fn tunes(name: &'static str, contexts: Contexts, arity: Arity) -> Entry {
    known(name, contexts, arity, Support::Tunes)
}

const fn unsupported(name: &'static str, contexts: Contexts, arity: Arity) -> Entry {
    known(name, contexts, arity, Support::Unsupported)
}

const fn off_only(name: &'static str, contexts: Contexts, arity: Arity) -> Entry {
    known(name, contexts, arity, Support::OffOnly)
}
