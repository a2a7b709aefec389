//! What changes the bodies of replies.

use proxy_core::http::Version;

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "gzip",
        C::HSL_IF,
        A::FLAG,
        "Whether replies are compressed for clients that take it. Default: off.",
    )
    .filter(|level, call| store(&mut level.gzip, call.first().flag())),
    Entry::new(
        "gzip_types",
        C::HSL,
        A::MORE1,
        "The media types that are compressed besides text/html; `*` is all. Default: text/html.",
    )
    .filter(|level, call| lower::filter::types(&mut level.gzip_types, call))
    .repeats(),
    Entry::new("gzip_comp_level", C::HSL, A::ONE, "How hard to compress, 1 to 9. Default: 1.")
        .filter(|level, call| store(&mut level.gzip_comp_level, lower::filter::comp_level(call))),
    Entry::new(
        "gzip_min_length",
        C::HSL,
        A::ONE,
        "The least Content-Length that is compressed. Default: 20.",
    )
    .filter(|level, call| store(&mut level.gzip_min_length, call.first().size())),
    Entry::new(
        "gzip_vary",
        C::HSL,
        A::FLAG,
        "Whether replies that may be compressed say `Vary: Accept-Encoding`. Default: off.",
    )
    .filter(|level, call| store(&mut level.gzip_vary, call.first().flag())),
    Entry::new(
        "gzip_http_version",
        C::HSL,
        A::ONE,
        "The least version of requests whose replies are compressed, 1.0 or 1.1. Default: 1.1.",
    )
    .filter(|level, call| {
        store(
            &mut level.gzip_http_version,
            call.first().choice(&[("1.0", Version::Http10), ("1.1", Version::Http11)]),
        )
    }),
    Entry::new(
        "gzip_proxied",
        C::HSL,
        A::MORE1,
        "Which replies to requests with a Via field are compressed. Default: off.",
    )
    .filter(lower::filter::proxied),
    Entry::new(
        "gzip_disable",
        C::HSL,
        A::MORE1,
        "The user agents (regexes, or `msie6`) that get nothing compressed.",
    )
    .filter(lower::filter::disable)
    .repeats(),
    Entry::new(
        "gunzip",
        C::HSL,
        A::FLAG,
        "Whether compressed replies are unpacked for clients that do not take them. Default: off.",
    )
    .filter(|level, call| store(&mut level.gunzip, call.first().flag())),
    Entry::new(
        "sub_filter",
        C::HSL,
        A::TWO,
        "Puts other text in the place of some, compared without case; both may hold variables.",
    )
    .filter(lower::filter::sub_filter)
    .repeats(),
    Entry::new("sub_filter_once", C::HSL, A::FLAG, "Whether each text is replaced once only. Default: on.")
        .filter(|level, call| store(&mut level.sub_filter_once, call.first().flag())),
    Entry::new(
        "sub_filter_types",
        C::HSL,
        A::MORE1,
        "The media types that are searched besides text/html; `*` is all. Default: text/html.",
    )
    .filter(|level, call| lower::filter::types(&mut level.sub_filter_types, call))
    .repeats(),
    Entry::new(
        "sub_filter_last_modified",
        C::HSL,
        A::FLAG,
        "Whether Last-Modified stays, and the ETag as a weak one. Default: off.",
    )
    .filter(|level, call| store(&mut level.sub_filter_last_modified, call.first().flag())),
    Entry::new("add_before_body", C::HSL, A::ONE, "The URI whose body comes before the reply's.").filter(
        |level, call| {
            level.add_before_body = Some(call.first().arg.bytes.as_slice().into());
            Ok(())
        },
    ),
    Entry::new("add_after_body", C::HSL, A::ONE, "The URI whose body comes behind the reply's.").filter(
        |level, call| {
            level.add_after_body = Some(call.first().arg.bytes.as_slice().into());
            Ok(())
        },
    ),
    Entry::new(
        "addition_types",
        C::HSL,
        A::MORE1,
        "The media types that get them besides text/html; `*` is all. Default: text/html.",
    )
    .filter(|level, call| lower::filter::types(&mut level.addition_types, call))
    .repeats(),
    Entry::new(
        "ssi",
        C::HSL_IF,
        A::FLAG,
        "Whether the commands of server side includes are carried out. Default: off.",
    )
    .filter(|level, call| store(&mut level.ssi, call.first().flag())),
    Entry::new(
        "ssi_types",
        C::HSL,
        A::MORE1,
        "The media types that are searched for them besides text/html; `*` is all. Default: text/html.",
    )
    .filter(|level, call| lower::filter::types(&mut level.ssi_types, call))
    .repeats(),
    Entry::new(
        "ssi_silent_errors",
        C::HSL,
        A::FLAG,
        "Whether nothing stands where a command went wrong. Default: off.",
    )
    .filter(|level, call| store(&mut level.ssi_silent_errors, call.first().flag())),
    Entry::new("ssi_value_length", C::HSL, A::ONE, "The longest value of a parameter. Default: 256.")
        .filter(|level, call| store(&mut level.ssi_value_length, call.first().bytes())),
    Entry::new(
        "ssi_last_modified",
        C::HSL,
        A::FLAG,
        "Whether Last-Modified stays, and the ETag as a weak one. Default: off.",
    )
    .filter(|level, call| store(&mut level.ssi_last_modified, call.first().flag())),
];
