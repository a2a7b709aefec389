//! A message of the error log with all that is known of its exchange, as nginx writes it:
//!
//! ```text
//! *7 connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: example.com,
//! request: "GET /a?b HTTP/1.1", upstream: "http://127.0.0.1:3000/a?b", host: "example.com", referrer: "http://x/"
//! ```
//! Each part is there only if it is known. Bytes that could move a terminal's cursor are written as `\xXX`; nginx
//! leaves them as they are.

use alloc::vec::Vec;

use crate::command::Address;
use crate::exchange::vars::Env;
use crate::exchange::{Facts, Try};
use crate::h1::encode;
use crate::http::HeaderId;

/// What is longer is cut, in bytes: nginx's bound for a whole line, less the date, the level and the process that the
/// driver writes in front.
pub const LINE_BYTES_MAX: usize = 2048 - 48;

/// Writes `*CONN MESSAGE, client: …`, at most [`LINE_BYTES_MAX`] bytes of it.
pub fn write(out: &mut Vec<u8>, message: &str, facts: &Facts, env: &Env<'_>) {
    let start = out.len();
    out.push(b'*');
    encode::decimal(out, facts.conn.number);
    out.push(b' ');
    text(message.as_bytes(), out);
    out.extend_from_slice(b", client: ");
    text(&facts.conn.client_text, out);
    out.extend_from_slice(b", server: ");
    text(env.config.server(facts.server).map(|server| &*server.name).unwrap_or_default(), out);
    let head = &facts.head;
    let line = head.line.of(&head.bytes);
    quoted(b", request: \"", (!line.is_empty()).then_some(line), out);
    quoted(b", subrequest: \"", facts.is_sub.then_some(&*facts.uri), out);
    if let Some(attempt) = facts.tries.last() {
        upstream(attempt, facts, env, out);
    }
    quoted(b", host: \"", head.value(HeaderId::Host), out);
    quoted(b", referrer: \"", head.value(HeaderId::Referer), out);
    out.truncate(start + LINE_BYTES_MAX);
}

/// The server that was asked last, and for what.
fn upstream(attempt: &Try, facts: &Facts, env: &Env<'_>, out: &mut Vec<u8>) {
    let Some(proxy) = facts.proxy(env) else { return };
    out.extend_from_slice(b", upstream: \"");
    let scheme = match &facts.dynamic_target {
        // A URL that is computed may begin with a variable.
        Some(target) => {
            if target.tls {
                "https"
            } else {
                "http"
            }
        }
        None => proxy.url.split_once("://").map_or("http", |(scheme, _)| scheme),
    };
    let scheme = proxy.gateway.as_ref().map_or(scheme, |gateway| gateway.protocol.scheme());
    text(scheme.as_bytes(), out);
    out.extend_from_slice(b"://");
    attempt.write_address(out);
    if matches!(attempt.address, Some(Address::Unix(_))) {
        out.push(b':');
    }
    if proxy.gateway.is_none() {
        let mut target = Vec::new();
        facts.write_upstream_target(proxy, env, &mut target);
        text(&target, out);
    }
    out.push(b'"');
}

fn quoted(before: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(before);
        text(value, out);
        out.push(b'"');
    }
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        if byte.is_ascii_control() {
            super::access_line::hex(*byte, out);
        } else {
            out.push(*byte);
        }
    }
}
