//! Serving files: listings, compressed copies, symbolic links, charsets.

use proxy_core::config::{AutoindexFormat, GzipStatic};

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;
use crate::conf::lower::level::OwnContent;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("autoindex", C::HSL, A::FLAG, "Whether directories without an index are listed. Default: off.")
        .core(|level, call| store(&mut level.files.autoindex, call.first().flag())),
    Entry::new(
        "autoindex_format",
        C::HSL,
        A::ONE,
        "How listings are written: html, xml, json or jsonp. Default: html.",
    )
    .core(|level, call| {
        let formats = [
            ("html", AutoindexFormat::Html),
            ("json", AutoindexFormat::Json),
            ("jsonp", AutoindexFormat::Jsonp),
            ("xml", AutoindexFormat::Xml),
        ];
        store(&mut level.files.autoindex_format, call.first().choice(&formats))
    }),
    Entry::new("autoindex_localtime", C::HSL, A::FLAG, "Whether HTML listings show local time. Default: off.")
        .core(|level, call| store(&mut level.files.autoindex_localtime, call.first().flag())),
    Entry::new(
        "autoindex_exact_size",
        C::HSL,
        A::FLAG,
        "Whether HTML listings show sizes in bytes, or rounded. Default: on.",
    )
    .core(|level, call| store(&mut level.files.autoindex_exact_size, call.first().flag())),
    Entry::new(
        "random_index",
        C::LOCATION,
        A::FLAG,
        "Whether a random file of a directory is its index. Default: off.",
    )
    .core(|level, call| store(&mut level.files.random_index, call.first().flag())),
    Entry::new(
        "gzip_static",
        C::HSL,
        A::ONE,
        "Whether a file's `.gz` neighbour is sent: on to clients that take it, always to all. Default: off.",
    )
    .filter(|level, call| {
        let words = [("off", GzipStatic::Off), ("on", GzipStatic::On), ("always", GzipStatic::Always)];
        store(&mut level.gzip_static, call.first().choice(&words))
    }),
    Entry::new(
        "disable_symlinks",
        C::HSL,
        A::ONE_TWO,
        "Whether symbolic links are followed: off, on or if_not_owner, and from which part of a path on. Default: off.",
    )
    .core(|level, call| lower::files::disable_symlinks(&mut level.files, call)),
    Entry::new("empty_gif", C::LOCATION, A::NONE, "Replies with a transparent pixel.").own(|own, _| {
        own.content = Some(OwnContent::EmptyGif);
        Ok(())
    }),
    Entry::new("charset", C::HSL_IF, A::ONE, "The charset that texts are said to have, or `off`. Default: off.")
        .core(|level, call| lower::charset::charset(&mut level.charset, call)),
    Entry::new(
        "source_charset",
        C::HSL_IF,
        A::ONE,
        "The charset that texts have: the same as `charset`, since none is recoded.",
    )
    .core(|level, call| lower::charset::charset(&mut level.charset, call)),
    Entry::new(
        "override_charset",
        C::HSL_IF,
        A::FLAG,
        "Whether a proxied reply's own charset is spelled as `charset` has it. Default: off.",
    )
    .core(|level, call| store(&mut level.charset.override_charset, call.first().flag())),
    Entry::new("charset_types", C::HSL, A::MORE1, "The media types that get a charset, or `*` for all.")
        .core(|level, call| lower::charset::charset_types(&mut level.charset, call)),
];
