//! The core of `http`: servers, locations, clients, files.

use proxy_core::config::{BodyInFile, IfModifiedSince, Linger};

use super::store;
use super::{Arity as A, Body, Contexts as C, Entry};
use crate::conf::lower;
use crate::conf::lower::level::OwnContent;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "server",
        C::HTTP,
        A::NONE,
        "A virtual server.",
    ).structure().with_body(Body::Block(C::SERVER)).repeats(),
    Entry::new(
        "location",
        C::SERVER.or(C::LOCATION),
        A::ONE_TWO,
        "What happens to requests whose URI matches: `= /x`, `^~ /x`, `~ regex`, `~* regex`, `/x`, `@name`.",
    ).structure().with_body(Body::Block(C::LOCATION)).repeats(),
    Entry::new(
        "listen",
        C::SERVER,
        A::MORE1,
        "The address, port or socket that the server takes requests from. Default: *:80, or *:8000 without root.",
    ).own(|own, call| lower::listen::listen(&mut own.listens, call)).repeats(),
    Entry::new(
        "server_name",
        C::SERVER,
        A::MORE1,
        "The names of the server: exact, `*.` and `.*` wildcards, `~regex`. Default: an empty name.",
    ).own(|own, call| lower::listen::server_name(&mut own.names, call)).repeats(),
    Entry::new(
        "types",
        C::HSL,
        A::NONE,
        "Media types by file name extension. Default: html, gif and jpg.",
    ).core(lower::core::types).with_body(Body::Free).repeats(),
    Entry::new(
        "default_type",
        C::HSL,
        A::ONE,
        "The media type of files without one. Default: text/plain.",
    ).core(|level, call| { level.default_type = Some(call.first().arg.bytes.as_slice().into()); Ok(()) }),
    Entry::new(
        "root",
        C::HSL_IF,
        A::ONE,
        "The directory that the URI is appended to. Default: html.",
    ).core(lower::core::root),
    Entry::new(
        "alias",
        C::LOCATION,
        A::ONE,
        "The path that replaces what the location matched.",
    ).core(lower::core::root),
    Entry::new(
        "index",
        C::HSL,
        A::MORE1,
        "The files to look for in a directory. Default: index.html.",
    ).core(lower::core::index).repeats(),
    Entry::new(
        "try_files",
        C::SERVER.or(C::LOCATION),
        A::MORE2,
        "The files to look for, and what to do if none exists.",
    ).own(lower::level::try_files),
    Entry::new(
        "internal",
        C::LOCATION,
        A::NONE,
        "Only internal redirects may enter; others get 404.",
    ).own(|own, _| { own.internal = true; Ok(()) }).repeats(),
    Entry::new(
        "client_header_timeout",
        C::HS,
        A::ONE,
        "How long the head of a request may take. Default: 60s.",
    ).server(|level, call| store(&mut level.client_header_timeout, call.first().millis())),
    Entry::new(
        "client_header_buffer_size",
        C::HS,
        A::ONE,
        "The first buffer for a request head. Default: 1k.",
    ).server(|level, call| store(&mut level.client_header_buffer_size, call.first().bytes())),
    Entry::new(
        "large_client_header_buffers",
        C::HS,
        A::TWO,
        "How many buffers of which size a request head may take beyond that. Default: 4 8k.",
    ).server(|level, call| { level.large_client_header_buffers = Some((call.first().count()?, call.arg(1).bytes()?)); Ok(()) }),
    Entry::new(
        "max_headers",
        C::HS,
        A::ONE,
        "How many fields a request head may have. Default: 1000.",
    ).server(|level, call| store(&mut level.max_headers, call.first().count())),
    Entry::new(
        "ignore_invalid_headers",
        C::HS,
        A::FLAG,
        "Whether fields with invalid names are dropped. Default: on.",
    ).server(|level, call| store(&mut level.ignore_invalid_headers, call.first().flag())),
    Entry::new(
        "underscores_in_headers",
        C::HS,
        A::FLAG,
        "Whether names with underscores are valid. Default: off.",
    ).server(|level, call| store(&mut level.underscores_in_headers, call.first().flag())),
    Entry::new(
        "merge_slashes",
        C::HS,
        A::FLAG,
        "Whether neighbouring slashes count as one when locations are matched. Default: on.",
    ).server(|level, call| store(&mut level.merge_slashes, call.first().flag())),
    Entry::new(
        "client_max_body_size",
        C::HSL,
        A::ONE,
        "The largest request body; 0 is no limit. Default: 1m.",
    ).core(|level, call| store(&mut level.client_max_body_size, call.first().offset())),
    Entry::new(
        "client_body_buffer_size",
        C::HSL,
        A::ONE,
        "How much of a request body is kept in memory. Default: 16k.",
    ).core(|level, call| store(&mut level.client_body_buffer_size, call.first().bytes())),
    Entry::new(
        "client_body_timeout",
        C::HSL,
        A::ONE,
        "How long to wait between two reads of a request body. Default: 60s.",
    ).core(|level, call| store(&mut level.client_body_timeout, call.first().millis())),
    Entry::new(
        "client_body_temp_path",
        C::HSL,
        A::ONE_TO_FOUR,
        "The directory for request bodies that do not fit the buffer. Default: client_body_temp.",
    ).core(lower::core::client_body_temp_path),
    Entry::new(
        "client_body_in_file_only",
        C::HSL,
        A::ONE,
        "Whether request bodies always go to files that have names: on, clean (removed after the request) or off. Default: off.",
    ).core(|level, call| store(&mut level.client_body_in_file_only, call.first().choice(&[("on", BodyInFile::Stays), ("clean", BodyInFile::Clean), ("off", BodyInFile::No)]))),
    Entry::new(
        "send_timeout",
        C::HSL,
        A::ONE,
        "How long to wait between two writes to a client. Default: 60s.",
    ).core(|level, call| store(&mut level.send_timeout, call.first().millis())),
    Entry::new(
        "tcp_nodelay",
        C::HSL,
        A::FLAG,
        "Accepted: ringgate always sets TCP_NODELAY. Default: on.",
    ).shared(|call| { if call.first().flag()? { return Ok(()); } call.notice("\"tcp_nodelay off\" has no effect in ringgate"); Ok(()) }),
    Entry::new(
        "keepalive_timeout",
        C::HSL,
        A::ONE_TWO,
        "How long an idle client connection stays open, and what the Keep-Alive field says. Default: 75s.",
    ).core(lower::core::keepalive_timeout),
    Entry::new(
        "keepalive_min_timeout",
        C::HSL,
        A::ONE,
        "How long an idle client connection stays open at least during a shutdown. Default: 0.",
    ).core(|level, call| store(&mut level.keepalive_min_timeout, call.first().millis())),
    Entry::new(
        "keepalive_requests",
        C::HSL,
        A::ONE,
        "How many requests one client connection may carry. Default: 1000.",
    ).core(|level, call| store(&mut level.keepalive_requests, call.first().number())),
    Entry::new(
        "keepalive_time",
        C::HSL,
        A::ONE,
        "How long one client connection may be used. Default: 1h.",
    ).core(|level, call| store(&mut level.keepalive_time, call.first().millis())),
    Entry::new(
        "lingering_close",
        C::HSL,
        A::ONE,
        "Whether unread data is waited for before closing: on, off or always. Default: on.",
    ).core(|level, call| store(&mut level.lingering_close, call.first().choice(&[("off", Linger::Never), ("on", Linger::WhenUnread), ("always", Linger::Always)]))),
    Entry::new(
        "lingering_time",
        C::HSL,
        A::ONE,
        "How long to go on reading then. Default: 30s.",
    ).core(|level, call| store(&mut level.lingering_time, call.first().millis())),
    Entry::new(
        "lingering_timeout",
        C::HSL,
        A::ONE,
        "How long to wait for more then. Default: 5s.",
    ).core(|level, call| store(&mut level.lingering_timeout, call.first().millis())),
    Entry::new(
        "reset_timedout_connection",
        C::HSL,
        A::FLAG,
        "Whether connections that timed out are closed with a reset. Default: off.",
    ).core(|level, call| store(&mut level.reset_timedout_connection, call.first().flag())),
    Entry::new(
        "absolute_redirect",
        C::HSL,
        A::FLAG,
        "Whether redirects that ringgate makes are absolute. Default: on.",
    ).core(|level, call| store(&mut level.absolute_redirect, call.first().flag())),
    Entry::new(
        "server_name_in_redirect",
        C::HSL,
        A::FLAG,
        "Whether they use the first server_name rather than the Host field. Default: off.",
    ).core(|level, call| store(&mut level.server_name_in_redirect, call.first().flag())),
    Entry::new(
        "port_in_redirect",
        C::HSL,
        A::FLAG,
        "Whether they name the port. Default: on.",
    ).core(|level, call| store(&mut level.port_in_redirect, call.first().flag())),
    Entry::new(
        "log_not_found",
        C::HSL,
        A::FLAG,
        "Whether missing files are logged as errors. Default: on.",
    ).core(|level, call| store(&mut level.log_not_found, call.first().flag())),
    Entry::new(
        "log_subrequest",
        C::HSL,
        A::FLAG,
        "Whether subrequests get lines in the access log, too. Default: off.",
    ).core(|level, call| store(&mut level.log_subrequest, call.first().flag())),
    Entry::new(
        "server_tokens",
        C::HSL,
        A::ONE,
        "What the Server field and error pages say: on (name and version), off (the name), or a text of your own; an empty one leaves the field out. Default: on.",
    ).core(lower::core::server_tokens),
    Entry::new(
        "keepalive_disable",
        C::HSL,
        A::take(&[1, 2]),
        "Browsers whose connections are not kept: msie6 (after a POST), safari, none. Default: msie6.",
    ).core(lower::core::keepalive_disable),
    Entry::new(
        "msie_padding",
        C::HSL,
        A::FLAG,
        "Whether error pages are made long enough for Internet Explorer and Chrome to show them. Default: on.",
    ).core(|level, call| store(&mut level.msie_padding, call.first().flag())),
    Entry::new(
        "error_page",
        C::HSL_IF,
        A::MORE2,
        "The page, URL or named location for these statuses.",
    ).core(lower::error_page::error_page).repeats(),
    Entry::new(
        "recursive_error_pages",
        C::HSL,
        A::FLAG,
        "Whether error_page applies to its own results. Default: off.",
    ).core(|level, call| store(&mut level.recursive_error_pages, call.first().flag())),
    Entry::new(
        "error_log",
        C::HSL,
        A::MORE1,
        "Where error lines of at least this level go. Default: as at the top level.",
    ).core(|level, call| { let log = lower::logs::error_log(call)?; level.error_logs.get_or_insert_default().push(log); Ok(()) }).repeats(),
    Entry::new(
        "if_modified_since",
        C::HSL,
        A::ONE,
        "How If-Modified-Since is compared: off, exact or before. Default: exact.",
    ).core(|level, call| store(&mut level.if_modified_since, call.first().choice(&[("off", IfModifiedSince::Off), ("exact", IfModifiedSince::Exact), ("before", IfModifiedSince::Before)]))),
    Entry::new(
        "max_ranges",
        C::HSL,
        A::ONE,
        "How many ranges a request may ask for. Default: no limit.",
    ).core(|level, call| store(&mut level.max_ranges, call.first().number_u32())),
    Entry::new(
        "etag",
        C::HSL,
        A::FLAG,
        "Whether files get an ETag. Default: on.",
    ).core(|level, call| store(&mut level.etag, call.first().flag())),
    Entry::new(
        "chunked_transfer_encoding",
        C::HSL,
        A::FLAG,
        "Whether replies may be chunked. Default: on.",
    ).core(|level, call| store(&mut level.chunked_transfer_encoding, call.first().flag())),
    Entry::new(
        "limit_rate",
        C::HSL_IF,
        A::ONE,
        "How many bytes a second a reply may take; 0 is no limit. Default: 0.",
    ).core(|level, call| { level.limit_rate = lower::core::rate(call)?; Ok(()) }),
    Entry::new(
        "limit_rate_after",
        C::HSL_IF,
        A::ONE,
        "How many bytes go before limit_rate counts. Default: 0.",
    ).core(|level, call| { level.limit_rate_after = lower::core::rate(call)?; Ok(()) }),
    Entry::new(
        "early_hints",
        C::HSL,
        A::MORE1,
        "Where one of these is neither empty nor 0, interim 103 replies are passed on.",
    ).core(|level, call| { for n in 0..call.args().len() { let template = call.template(n)?; level.early_hints.get_or_insert_default().push(template); } Ok(()) }),
    Entry::new(
        "stub_status",
        C::SERVER.or(C::LOCATION),
        A::take(&[0, 1]),
        "Replies with the seven counters of a server.",
    ).own(|own, _| { own.content = Some(OwnContent::StubStatus); Ok(()) }),
];
