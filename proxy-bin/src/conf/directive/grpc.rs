//! `grpc_pass` and all that belongs to it (ngx_http_grpc_module).

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower;
use crate::conf::lower::level::OwnContent;

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "grpc_pass",
        C::LOCATION.or(C::LOCATION_IF),
        A::ONE,
        "The gRPC server or group that requests are passed to.",
    )
    .own(|own, call| {
        let pass = lower::grpc::grpc_pass(call)?;
        own.content = Some(OwnContent::Grpc(Box::new(pass)));
        Ok(())
    }),
    Entry::new(
        "grpc_set_header",
        C::HSL,
        A::TWO,
        "A field that is sent; an empty value sends none. Default: the host as the authority.",
    )
    .grpc(lower::proxy::set_header)
    .repeats(),
    Entry::new(
        "grpc_pass_header",
        C::HSL,
        A::ONE,
        "A field of replies that is passed on although it is hidden by default.",
    )
    .grpc(|level, call| {
        level.pass_headers.get_or_insert_default().push(call.first().arg.bytes.as_slice().into());
        Ok(())
    })
    .repeats(),
    Entry::new("grpc_hide_header", C::HSL, A::ONE, "A field of replies that is not passed on.")
        .grpc(|level, call| {
            level.hide_headers.get_or_insert_default().push(call.first().arg.bytes.as_slice().into());
            Ok(())
        })
        .repeats(),
    Entry::new("grpc_ignore_headers", C::HSL, A::MORE1, "Fields of replies that do not act.")
        .grpc(lower::proxy_rules::ignore_headers)
        .repeats(),
    Entry::new(
        "grpc_intercept_errors",
        C::HSL,
        A::FLAG,
        "Whether error_page applies to replies of the upstream. Default: off.",
    )
    .grpc(|level, call| store(&mut level.intercept_errors, call.first().flag())),
    Entry::new(
        "grpc_buffer_size",
        C::HSL,
        A::ONE,
        "The buffer for the head of a reply. Default: a page, 4k.",
    )
    .grpc(|level, call| {
        level.buffer_size = Some((call.first().bytes()?, call.directive.span));
        Ok(())
    }),
    Entry::new("grpc_connect_timeout", C::HSL, A::ONE, "How long connecting may take. Default: 60s.")
        .grpc(|level, call| store(&mut level.connect_timeout, call.first().millis())),
    Entry::new("grpc_send_timeout", C::HSL, A::ONE, "How long to wait between two writes. Default: 60s.")
        .grpc(|level, call| store(&mut level.send_timeout, call.first().millis())),
    Entry::new("grpc_read_timeout", C::HSL, A::ONE, "How long to wait between two reads. Default: 60s.")
        .grpc(|level, call| store(&mut level.read_timeout, call.first().millis())),
    Entry::new(
        "grpc_next_upstream",
        C::HSL,
        A::MORE1,
        "When the next server of a group is asked. Default: error timeout.",
    )
    .grpc(lower::proxy_rules::next_upstream)
    .repeats(),
    Entry::new(
        "grpc_next_upstream_tries",
        C::HSL,
        A::ONE,
        "How many servers are asked at most; 0 is no limit. Default: 0.",
    )
    .grpc(|level, call| store(&mut level.next_upstream_tries, call.first().number_u32())),
    Entry::new(
        "grpc_next_upstream_timeout",
        C::HSL,
        A::ONE,
        "How long that may take; 0 is no limit. Default: 0.",
    )
    .grpc(|level, call| store(&mut level.next_upstream_timeout, call.first().millis())),
    Entry::new(
        "grpc_socket_keepalive",
        C::HSL,
        A::FLAG,
        "Whether connections get SO_KEEPALIVE. Default: off.",
    )
    .grpc(|level, call| store(&mut level.socket_keepalive, call.first().flag())),
    Entry::new(
        "grpc_bind",
        C::HSL,
        A::ONE_TWO,
        "The local address of connections, with `transparent` any address, or `off`.",
    )
    .grpc(lower::proxy::bind),
];
