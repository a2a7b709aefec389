//! `proxy_pass` and all that belongs to it.

use super::{Arity as A, Contexts as C, Entry};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "proxy_pass",
        C::LOCATION.or(C::LOCATION_IF).or(C::LIMIT_EXCEPT),
        A::ONE,
        "The server, group or URL that requests are passed to.",
    ),
    Entry::new(
        "proxy_http_version",
        C::HSL,
        A::ONE,
        "The protocol towards the upstream: 1.0 or 1.1. Default: 1.1.",
    ),
    Entry::new("proxy_method", C::HSL, A::ONE, "The method that is sent instead of the client's."),
    Entry::new(
        "proxy_set_header",
        C::HSL,
        A::TWO,
        "A field that is sent; an empty value sends none. Default: Host $proxy_host.",
    )
    .repeats(),
    Entry::new("proxy_set_body", C::HSL, A::ONE, "The body that is sent instead of the client's."),
    Entry::new(
        "proxy_pass_request_headers",
        C::HSL,
        A::FLAG,
        "Whether the client's fields are sent. Default: on.",
    ),
    Entry::new("proxy_pass_request_body", C::HSL, A::FLAG, "Whether the client's body is sent. Default: on."),
    Entry::new(
        "proxy_pass_header",
        C::HSL,
        A::ONE,
        "A field of replies that is passed on although it is hidden by default.",
    )
    .repeats(),
    Entry::new("proxy_hide_header", C::HSL, A::ONE, "A field of replies that is not passed on.").repeats(),
    Entry::new(
        "proxy_pass_trailers",
        C::HSL,
        A::FLAG,
        "Whether trailers of replies are passed on. Default: off.",
    ),
    Entry::new("proxy_ignore_headers", C::HSL, A::MORE1, "Fields of replies that do not act.").repeats(),
    Entry::new(
        "proxy_redirect",
        C::HSL,
        A::ONE_TWO,
        "How Location and Refresh of replies are rewritten: off, default, or from and to. Default: default.",
    )
    .repeats(),
    Entry::new(
        "proxy_cookie_domain",
        C::HSL,
        A::ONE_TWO,
        "How the domain of cookies is rewritten. Default: off.",
    )
    .repeats(),
    Entry::new(
        "proxy_cookie_path",
        C::HSL,
        A::ONE_TWO,
        "How the path of cookies is rewritten. Default: off.",
    )
    .repeats(),
    Entry::new("proxy_connect_timeout", C::HSL, A::ONE, "How long connecting may take. Default: 60s."),
    Entry::new("proxy_send_timeout", C::HSL, A::ONE, "How long to wait between two writes. Default: 60s."),
    Entry::new("proxy_read_timeout", C::HSL, A::ONE, "How long to wait between two reads. Default: 60s."),
    Entry::new(
        "proxy_buffering",
        C::HSL,
        A::FLAG,
        "Whether replies are taken as fast as the upstream sends them. Default: on.",
    ),
    Entry::new(
        "proxy_request_buffering",
        C::HSL,
        A::FLAG,
        "Whether a request body is read before it is sent. Default: on.",
    ),
    Entry::new(
        "proxy_buffer_size",
        C::HSL,
        A::ONE,
        "The buffer for the head of a reply. Default: a page, 4k.",
    ),
    Entry::new("proxy_buffers", C::HSL, A::TWO, "The buffers for the body of a reply. Default: 8 of a page."),
    Entry::new(
        "proxy_busy_buffers_size",
        C::HSL,
        A::ONE,
        "How much of them may be waiting to be sent. Default: two buffers.",
    ),
    Entry::new(
        "proxy_temp_path",
        C::HSL,
        A::ONE_TO_FOUR,
        "The directory for replies that do not fit the buffers. Default: proxy_temp.",
    ),
    Entry::new(
        "proxy_max_temp_file_size",
        C::HSL,
        A::ONE,
        "How large such a file may get; 0 uses none. Default: 1024m.",
    ),
    Entry::new(
        "proxy_temp_file_write_size",
        C::HSL,
        A::ONE,
        "How much is written to it at once. Default: two buffers.",
    ),
    Entry::new(
        "proxy_next_upstream",
        C::HSL,
        A::MORE1,
        "When the next server of a group is asked. Default: error timeout.",
    )
    .repeats(),
    Entry::new(
        "proxy_next_upstream_tries",
        C::HSL,
        A::ONE,
        "How many servers are asked at most; 0 is no limit. Default: 0.",
    ),
    Entry::new(
        "proxy_next_upstream_timeout",
        C::HSL,
        A::ONE,
        "How long that may take; 0 is no limit. Default: 0.",
    ),
    Entry::new(
        "proxy_intercept_errors",
        C::HSL,
        A::FLAG,
        "Whether error_page applies to replies of the upstream. Default: off.",
    ),
    Entry::new(
        "proxy_ignore_client_abort",
        C::HSL,
        A::FLAG,
        "Whether a request goes on when the client is gone. Default: off.",
    ),
    Entry::new(
        "proxy_socket_keepalive",
        C::HSL,
        A::FLAG,
        "Whether connections get SO_KEEPALIVE. Default: off.",
    ),
    Entry::new("proxy_bind", C::HSL, A::ONE_TWO, "The local address of connections, or `off`."),
    Entry::new(
        "proxy_limit_rate",
        C::HSL,
        A::ONE,
        "How many bytes a second are read of a reply; 0 is no limit. Default: 0.",
    ),
    Entry::new(
        "proxy_force_ranges",
        C::HSL,
        A::FLAG,
        "Whether byte ranges of replies are served whatever they say. Default: off.",
    ),
    Entry::new("proxy_cache", C::HSL, A::ONE, "Only `off` for now. Default: off."),
];
