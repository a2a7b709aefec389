//! `proxy_pass` and all that belongs to it.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;
use crate::conf::lower::level::OwnContent;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "proxy_pass",
        C::LOCATION.or(C::LOCATION_IF).or(C::LIMIT_EXCEPT),
        A::ONE,
        "The server, group or URL that requests are passed to.",
    )
    .own(|own, call| {
        let pass = lower::proxy_pass::proxy_pass(call)?;
        own.content = Some(OwnContent::Pass(Box::new(pass)));
        Ok(())
    }),
    Entry::new(
        "proxy_http_version",
        C::HSL,
        A::ONE,
        "The protocol towards the upstream: 1.0, 1.1 or 2 (with upgrades by 1.1). Default: 1.1.",
    )
    .proxy(lower::proxy::http_version),
    Entry::new("proxy_method", C::HSL, A::ONE, "The method that is sent instead of the client's.")
        .proxy(|level, call| store(&mut level.method, call.template(0))),
    Entry::new(
        "proxy_set_header",
        C::HSL,
        A::TWO,
        "A field that is sent; an empty value sends none. Default: Host $proxy_host.",
    )
    .proxy(lower::proxy::set_header)
    .repeats(),
    Entry::new("proxy_set_body", C::HSL, A::ONE, "The body that is sent instead of the client's.")
        .proxy(|level, call| store(&mut level.set_body, call.template(0))),
    Entry::new(
        "proxy_pass_request_headers",
        C::HSL,
        A::FLAG,
        "Whether the client's fields are sent. Default: on.",
    )
    .proxy(|level, call| store(&mut level.pass_request_headers, call.first().flag())),
    Entry::new("proxy_pass_request_body", C::HSL, A::FLAG, "Whether the client's body is sent. Default: on.")
        .proxy(|level, call| store(&mut level.pass_request_body, call.first().flag())),
    Entry::new(
        "proxy_pass_header",
        C::HSL,
        A::ONE,
        "A field of replies that is passed on although it is hidden by default.",
    )
    .proxy(|level, call| {
        level.pass_headers.get_or_insert_default().push(call.first().arg.bytes.as_slice().into());
        Ok(())
    })
    .repeats(),
    Entry::new("proxy_hide_header", C::HSL, A::ONE, "A field of replies that is not passed on.")
        .proxy(|level, call| {
            level.hide_headers.get_or_insert_default().push(call.first().arg.bytes.as_slice().into());
            Ok(())
        })
        .repeats(),
    Entry::new(
        "proxy_pass_trailers",
        C::HSL,
        A::FLAG,
        "Whether trailers of replies are passed on. Default: off.",
    )
    .proxy(|level, call| store(&mut level.pass_trailers, call.first().flag())),
    Entry::new("proxy_ignore_headers", C::HSL, A::MORE1, "Fields of replies that do not act.")
        .proxy(lower::proxy_rules::ignore_headers)
        .repeats(),
    Entry::new(
        "proxy_redirect",
        C::HSL,
        A::ONE_TWO,
        "How Location and Refresh of replies are rewritten: off, default, or from and to. Default: default.",
    )
    .proxy(lower::proxy_rules::redirect)
    .repeats(),
    Entry::new(
        "proxy_cookie_domain",
        C::HSL,
        A::ONE_TWO,
        "How the domain of cookies is rewritten. Default: off.",
    )
    .proxy(|level, call| lower::proxy_rules::cookie(&mut level.cookie_domains, call, true))
    .repeats(),
    Entry::new(
        "proxy_cookie_path",
        C::HSL,
        A::ONE_TWO,
        "How the path of cookies is rewritten. Default: off.",
    )
    .proxy(|level, call| lower::proxy_rules::cookie(&mut level.cookie_paths, call, false))
    .repeats(),
    Entry::new(
        "proxy_cookie_flags",
        C::HSL,
        A::ONE_TO_FOUR,
        "Which flags of which cookies are added or taken away. Default: off.",
    )
    .proxy(lower::proxy_rules::cookie_flags)
    .repeats(),
    Entry::new("proxy_connect_timeout", C::HSL, A::ONE, "How long connecting may take. Default: 60s.")
        .proxy(|level, call| store(&mut level.connect_timeout, call.first().millis())),
    Entry::new("proxy_send_timeout", C::HSL, A::ONE, "How long to wait between two writes. Default: 60s.")
        .proxy(|level, call| store(&mut level.send_timeout, call.first().millis())),
    Entry::new("proxy_read_timeout", C::HSL, A::ONE, "How long to wait between two reads. Default: 60s.")
        .proxy(|level, call| store(&mut level.read_timeout, call.first().millis())),
    Entry::new(
        "proxy_buffering",
        C::HSL,
        A::FLAG,
        "Whether replies are taken as fast as the upstream sends them. Default: on.",
    )
    .proxy(|level, call| store(&mut level.buffering, call.first().flag())),
    Entry::new(
        "proxy_request_buffering",
        C::HSL,
        A::FLAG,
        "Whether a request body is read before it is sent. Default: on.",
    )
    .proxy(|level, call| store(&mut level.request_buffering, call.first().flag())),
    Entry::new(
        "proxy_buffer_size",
        C::HSL,
        A::ONE,
        "The buffer for the head of a reply. Default: a page, 4k.",
    )
    .proxy(|level, call| {
        level.buffer_size = Some((call.first().bytes()?, call.directive.span));
        Ok(())
    }),
    Entry::new("proxy_buffers", C::HSL, A::TWO, "The buffers for the body of a reply. Default: 8 of a page.")
        .proxy(lower::proxy::buffers),
    Entry::new(
        "proxy_busy_buffers_size",
        C::HSL,
        A::ONE,
        "How much of them may be waiting to be sent. Default: two buffers.",
    )
    .proxy(|level, call| {
        level.busy_buffers_size = Some((call.first().bytes()?, call.directive.span));
        Ok(())
    }),
    Entry::new(
        "proxy_temp_path",
        C::HSL,
        A::ONE_TO_FOUR,
        "The directory for replies that do not fit the buffers. Default: proxy_temp.",
    )
    .proxy(|level, call| {
        level.temp_path = Some(call.path_bytes());
        Ok(())
    }),
    Entry::new(
        "proxy_max_temp_file_size",
        C::HSL,
        A::ONE,
        "How large such a file may get; 0 uses none. Default: 1024m.",
    )
    .proxy(|level, call| {
        level.max_temp_file_size = Some((call.first().offset()?, call.directive.span));
        Ok(())
    }),
    Entry::new(
        "proxy_temp_file_write_size",
        C::HSL,
        A::ONE,
        "How much is written to it at once. Default: two buffers.",
    )
    .proxy(|level, call| {
        level.temp_file_write_size = Some((call.first().bytes()?, call.directive.span));
        Ok(())
    }),
    Entry::new(
        "proxy_next_upstream",
        C::HSL,
        A::MORE1,
        "When the next server of a group is asked. Default: error timeout.",
    )
    .proxy(lower::proxy_rules::next_upstream)
    .repeats(),
    Entry::new(
        "proxy_next_upstream_tries",
        C::HSL,
        A::ONE,
        "How many servers are asked at most; 0 is no limit. Default: 0.",
    )
    .proxy(|level, call| store(&mut level.next_upstream_tries, call.first().number_u32())),
    Entry::new(
        "proxy_next_upstream_timeout",
        C::HSL,
        A::ONE,
        "How long that may take; 0 is no limit. Default: 0.",
    )
    .proxy(|level, call| store(&mut level.next_upstream_timeout, call.first().millis())),
    Entry::new(
        "proxy_intercept_errors",
        C::HSL,
        A::FLAG,
        "Whether error_page applies to replies of the upstream. Default: off.",
    )
    .proxy(|level, call| store(&mut level.intercept_errors, call.first().flag())),
    Entry::new(
        "proxy_ignore_client_abort",
        C::HSL,
        A::FLAG,
        "Whether a request goes on when the client is gone. Default: off.",
    )
    .proxy(|level, call| store(&mut level.ignore_client_abort, call.first().flag())),
    Entry::new(
        "proxy_socket_keepalive",
        C::HSL,
        A::FLAG,
        "Whether connections get SO_KEEPALIVE. Default: off.",
    )
    .proxy(|level, call| store(&mut level.socket_keepalive, call.first().flag())),
    Entry::new(
        "proxy_protocol",
        C::HSL,
        A::ONE,
        "ringgate's own in http: connections to the servers begin with the PROXY protocol's header: on (version 1), v2. \
         Such a connection serves one client only. Default: off.",
    )
    .proxy(lower::proxy::proxy_protocol),
    Entry::new(
        "proxy_socket_sndbuf",
        C::HSL,
        A::ONE,
        "The size of the socket's send buffer. Default: the system's.",
    )
    .proxy(|level, call| store(&mut level.socket_sndbuf, call.first().bytes())),
    Entry::new(
        "proxy_socket_rcvbuf",
        C::HSL,
        A::ONE,
        "The size of the socket's receive buffer. Default: the system's.",
    )
    .proxy(|level, call| store(&mut level.socket_rcvbuf, call.first().bytes())),
    Entry::new(
        "proxy_bind",
        C::HSL,
        A::ONE_TWO,
        "The local address of connections, with `transparent` any address, or `off`.",
    )
    .proxy(lower::proxy::bind),
    Entry::new(
        "proxy_limit_rate",
        C::HSL,
        A::ONE,
        "How many bytes a second are read of a reply; 0 is no limit. Default: 0.",
    )
    .proxy(|level, call| {
        level.limit_rate = lower::core::rate(call)?;
        Ok(())
    }),
    Entry::new(
        "proxy_store",
        C::HSL,
        A::ONE,
        "Whole replies become files: where root or alias says (on), or at this path. Default: off.",
    )
    .proxy(lower::store::store),
    Entry::new(
        "proxy_store_access",
        C::HSL,
        A::ONE_TO_THREE,
        "Who may read those files. Default: user:rw.",
    )
    .proxy(lower::store::access),
    Entry::new(
        "proxy_force_ranges",
        C::HSL,
        A::FLAG,
        "Whether byte ranges of replies are served whatever they say. Default: off.",
    )
    .proxy(|level, call| store(&mut level.force_ranges, call.first().flag())),
];
