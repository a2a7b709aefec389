//! `fastcgi_pass`, `scgi_pass`, `uwsgi_pass` and all that belongs to them.
//!
//! The three families have the same directives under their own names, and nearly all of them are the proxy module's: one
//! list makes all three tables.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;
use crate::conf::lower::core::rate;
use crate::conf::lower::gateway::{self, Family};
use crate::conf::lower::level::OwnContent;

/// The directives that all three families have.
macro_rules! family {
    ($prefix:literal, $family:ident, $pass:literal) => {
        &[
            Entry::new(concat!($prefix, "_pass"), C::LOCATION.or(C::LOCATION_IF), A::ONE, $pass).own(
                |own, call| {
                    let pass = gateway::pass(call, Family::$family)?;
                    own.content = Some(OwnContent::Gateway(Family::$family, Box::new(pass)));
                    Ok(())
                },
            ),
            hsl(
                concat!($prefix, "_param"),
                A::take(&[2, 3]),
                "A parameter of requests; with `if_not_empty` only where its value is not empty.",
            )
            .gateway(Family::$family, gateway::param)
            .repeats(),
            hsl(
                concat!($prefix, "_pass_request_headers"),
                A::FLAG,
                "Whether the client's fields are sent as HTTP_…. Default: on.",
            )
            .gateway(Family::$family, |level, call| {
                store(&mut level.pass_request_headers, call.first().flag())
            }),
            hsl(
                concat!($prefix, "_pass_request_body"),
                A::FLAG,
                "Whether the client's body is sent. Default: on.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.pass_request_body, call.first().flag())),
            hsl(
                concat!($prefix, "_pass_header"),
                A::ONE,
                "A field of replies that is passed on although it is hidden by default.",
            )
            .gateway(Family::$family, |level, call| {
                level.pass_headers.get_or_insert_default().push(call.first().arg.bytes.as_slice().into());
                Ok(())
            })
            .repeats(),
            hsl(concat!($prefix, "_hide_header"), A::ONE, "A field of replies that is not passed on.")
                .gateway(Family::$family, |level, call| {
                    level.hide_headers.get_or_insert_default().push(call.first().arg.bytes.as_slice().into());
                    Ok(())
                })
                .repeats(),
            hsl(concat!($prefix, "_ignore_headers"), A::MORE1, "Fields of replies that do not act.")
                .gateway(Family::$family, lower::proxy_rules::ignore_headers)
                .repeats(),
            hsl(concat!($prefix, "_connect_timeout"), A::ONE, "How long connecting may take. Default: 60s.")
                .gateway(Family::$family, |level, call| {
                    store(&mut level.connect_timeout, call.first().millis())
                }),
            hsl(
                concat!($prefix, "_send_timeout"),
                A::ONE,
                "How long to wait between two writes. Default: 60s.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.send_timeout, call.first().millis())),
            hsl(
                concat!($prefix, "_read_timeout"),
                A::ONE,
                "How long to wait between two reads. Default: 60s.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.read_timeout, call.first().millis())),
            hsl(
                concat!($prefix, "_buffering"),
                A::FLAG,
                "Whether replies are taken as fast as the program sends them. Default: on.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.buffering, call.first().flag())),
            hsl(
                concat!($prefix, "_request_buffering"),
                A::FLAG,
                "Whether a request body is read before it is sent. Default: on.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.request_buffering, call.first().flag())),
            hsl(
                concat!($prefix, "_buffer_size"),
                A::ONE,
                "The buffer for the head of a reply. Default: a page, 4k.",
            )
            .gateway(Family::$family, |level, call| {
                level.buffer_size = Some((call.first().bytes()?, call.directive.span));
                Ok(())
            }),
            hsl(
                concat!($prefix, "_buffers"),
                A::TWO,
                "The buffers for the body of a reply. Default: 8 of a page.",
            )
            .gateway(Family::$family, lower::proxy::buffers),
            hsl(
                concat!($prefix, "_busy_buffers_size"),
                A::ONE,
                "How much of them may be waiting to be sent. Default: two buffers.",
            )
            .gateway(Family::$family, |level, call| {
                level.busy_buffers_size = Some((call.first().bytes()?, call.directive.span));
                Ok(())
            }),
            hsl(
                concat!($prefix, "_temp_path"),
                A::ONE_TO_FOUR,
                "The directory for replies that do not fit the buffers. Default: beside proxy_temp_path's.",
            )
            .gateway(Family::$family, |level, call| {
                level.temp_path = Some(call.path_bytes());
                Ok(())
            }),
            hsl(
                concat!($prefix, "_max_temp_file_size"),
                A::ONE,
                "How large such a file may get; 0 uses none. Default: 1024m.",
            )
            .gateway(Family::$family, |level, call| {
                level.max_temp_file_size = Some((call.first().offset()?, call.directive.span));
                Ok(())
            }),
            hsl(
                concat!($prefix, "_temp_file_write_size"),
                A::ONE,
                "How much is written to it at once. Default: two buffers.",
            )
            .gateway(Family::$family, |level, call| {
                level.temp_file_write_size = Some((call.first().bytes()?, call.directive.span));
                Ok(())
            }),
            hsl(
                concat!($prefix, "_next_upstream"),
                A::MORE1,
                "When the next server of a group is asked. Default: error timeout.",
            )
            .gateway(Family::$family, gateway::next_upstream)
            .repeats(),
            hsl(
                concat!($prefix, "_next_upstream_tries"),
                A::ONE,
                "How many servers are asked at most; 0 is no limit. Default: 0.",
            )
            .gateway(Family::$family, |level, call| {
                store(&mut level.next_upstream_tries, call.first().number_u32())
            }),
            hsl(
                concat!($prefix, "_next_upstream_timeout"),
                A::ONE,
                "How long that may take; 0 is no limit. Default: 0.",
            )
            .gateway(Family::$family, |level, call| {
                store(&mut level.next_upstream_timeout, call.first().millis())
            }),
            hsl(
                concat!($prefix, "_intercept_errors"),
                A::FLAG,
                "Whether error_page applies to replies of the program. Default: off.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.intercept_errors, call.first().flag())),
            hsl(
                concat!($prefix, "_ignore_client_abort"),
                A::FLAG,
                "Whether a request goes on when the client is gone. Default: off.",
            )
            .gateway(Family::$family, |level, call| {
                store(&mut level.ignore_client_abort, call.first().flag())
            }),
            hsl(
                concat!($prefix, "_socket_keepalive"),
                A::FLAG,
                "Whether connections get SO_KEEPALIVE. Default: off.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.socket_keepalive, call.first().flag())),
            hsl(
                concat!($prefix, "_bind"),
                A::ONE_TWO,
                "The local address of connections, with `transparent` any address, or `off`.",
            )
            .gateway(Family::$family, lower::proxy::bind),
            hsl(
                concat!($prefix, "_limit_rate"),
                A::ONE,
                "How many bytes a second are read of a reply; 0 is no limit. Default: 0.",
            )
            .gateway(Family::$family, |level, call| {
                level.limit_rate = rate(call)?;
                Ok(())
            }),
            hsl(
                concat!($prefix, "_store"),
                A::ONE,
                "Whole replies become files: where root or alias says (on), or at this path. Default: off.",
            )
            .gateway(Family::$family, lower::store::store),
            hsl(
                concat!($prefix, "_store_access"),
                A::ONE_TO_THREE,
                "Who may read those files. Default: user:rw.",
            )
            .gateway(Family::$family, lower::store::access),
            hsl(
                concat!($prefix, "_force_ranges"),
                A::FLAG,
                "Whether byte ranges of replies are served whatever they say. Default: off.",
            )
            .gateway(Family::$family, |level, call| store(&mut level.force_ranges, call.first().flag())),
            hsl(concat!($prefix, "_cache"), A::ONE, "Only `off` for now. Default: off.")
                .shared(gateway::cache),
        ]
    };
}

const fn hsl(name: &'static str, arity: A, doc: &'static str) -> Entry {
    Entry::new(name, C::HSL, arity, doc)
}

/// FastCGI's share of them.
pub(super) const FASTCGI: &[Entry] = family!(
    "fastcgi",
    FastCgi,
    "The FastCGI server that requests are passed to: an address, a path behind `unix:`, a group."
);

/// SCGI's.
pub(super) const SCGI: &[Entry] =
    family!("scgi", Scgi, "The SCGI server that requests are passed to: an address, a path, a group.");

/// uwsgi's.
pub(super) const UWSGI: &[Entry] =
    family!("uwsgi", Uwsgi, "The uwsgi server that requests are passed to: an address, a path, a group.");

/// What only one family has.
pub(super) const ENTRIES: &[Entry] = &[
    hsl("fastcgi_index", A::ONE, "The file name behind a $fastcgi_script_name that ends in a slash.")
        .gateway(Family::FastCgi, |level, call| {
            level.gateway.index = Some(call.first().arg.bytes.as_slice().into());
            Ok(())
        }),
    hsl(
        "fastcgi_split_path_info",
        A::ONE,
        "A regex whose captures are $fastcgi_script_name and $fastcgi_path_info.",
    )
    .gateway(Family::FastCgi, gateway::split_path_info),
    hsl("fastcgi_keep_conn", A::FLAG, "Whether the server is asked to keep connections. Default: off.")
        .gateway(Family::FastCgi, |level, call| store(&mut level.gateway.keep_conn, call.first().flag())),
    hsl("fastcgi_catch_stderr", A::ONE, "A text in standard error that makes a reply invalid.")
        .gateway(Family::FastCgi, gateway::catch_stderr)
        .repeats(),
    hsl("uwsgi_modifier1", A::ONE, "The packet's first modifier. Default: 0.")
        .gateway(Family::Uwsgi, |level, call| store(&mut level.gateway.modifier1, gateway::modifier(call))),
    hsl("uwsgi_modifier2", A::ONE, "The packet's second modifier. Default: 0.")
        .gateway(Family::Uwsgi, |level, call| store(&mut level.gateway.modifier2, gateway::modifier(call))),
    hsl("uwsgi_string", A::ONE, "Bytes that are sent behind the parameters.").gateway(
        Family::Uwsgi,
        |level, call| {
            level.gateway.string = Some(call.first().arg.bytes.as_slice().into());
            Ok(())
        },
    ),
];
