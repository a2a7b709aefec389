//! The bytes that go out, each field with the line that sets it.

use proxy_core::command::Address;
use serde_json::Value;

use super::places::Places;
use super::story::Entry;
use super::tell::shown;
use crate::conf::scope::{Scope, names};
use crate::conf::tree::Directive;

/// How much of a body is shown, in bytes.
const BODY_BYTES_MAX: usize = 2048;

/// What hands requests on, and what sets their fields or parameters.
const PASSES: [(&str, &str); 5] = [
    ("grpc_pass", "grpc_set_header"),
    ("proxy_pass", "proxy_set_header"),
    ("fastcgi_pass", "fastcgi_param"),
    ("scgi_pass", "scgi_param"),
    ("uwsgi_pass", "uwsgi_param"),
];

/// What would be done about TLS on the way to an upstream; nothing where the URL is not written with its scheme.
pub(super) fn tls(scope: &Scope<'_>, places: &Places<'_>) -> Option<Entry> {
    const FAMILIES: [(&str, &str, [&str; 3]); 2] = [
        ("proxy_pass", "https://", ["proxy_ssl_verify", "proxy_ssl_server_name", "proxy_ssl_name"]),
        ("grpc_pass", "grpcs://", ["grpc_ssl_verify", "grpc_ssl_server_name", "grpc_ssl_name"]),
    ];
    FAMILIES.iter().find_map(|(pass, scheme, [verify, sends, name])| {
        let item = set_by(Some(scope), pass)?;
        let url = item.args.first()?.text();
        let host = url.strip_prefix(scheme)?.split('/').next()?;
        let is_on =
            |name| scope.value(name).and_then(|item| item.args.first()).is_some_and(|arg| arg.is("on"));
        let named = scope.value(name).and_then(|item| item.args.first()).map(|arg| arg.text());
        let name = named.as_deref().unwrap_or(host);
        let sni =
            if is_on(sends) { format!("the name {name} is sent") } else { "no name is sent".to_owned() };
        let verified = is_on(verify);
        let weighed = match verified {
            true => format!("the certificate is verified for {name}"),
            false => "the certificate is not verified".to_owned(),
        };
        let place = scope.value(verify).or_else(|| scope.value(sends)).unwrap_or(item);
        Some(
            Entry::new("tls", format!("{sni}, {weighed}"))
                .at(Some(places.of(place)))
                .with("verified", verified),
        )
    })
}

/// The request that an upstream gets.
pub(super) fn request(
    address: &Address,
    bytes: &[u8],
    scope: Option<&Scope<'_>>,
    places: &Places<'_>,
) -> Entry {
    let pass = PASSES.iter().find_map(|(pass, sets)| set_by(scope, pass).map(|item| (item, *sets)));
    let set = scope.zip(pass).map(|(scope, (_, sets))| scope.in_force(sets)).unwrap_or_default();
    let entry = Entry::new("request", format!("to {address}"))
        .at(pass.map(|(item, _)| places.of(item)))
        .with("address", address.to_string());
    with_bytes(entry, bytes, &set, true, places)
}

/// The reply that the client gets.
pub(super) fn reply(bytes: &[u8], scope: Option<&Scope<'_>>, places: &Places<'_>) -> Entry {
    if bytes.is_empty() {
        return Entry::new("reply", "none: the connection is closed").with("status", Value::Null);
    }
    let added = scope.map(|scope| scope.in_force("add_header")).unwrap_or_default();
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = String::from_utf8_lossy(line).split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    with_bytes(Entry::new("reply", "to the client").with("status", status), bytes, &added, false, places)
}

fn set_by<'a>(scope: Option<&Scope<'a>>, name: &'static str) -> Option<&'a Directive> {
    scope.and_then(|scope| scope.in_location(name).into_iter().next())
}

/// Where a field comes from that no directive sets.
fn from_whom(name: &str) -> &'static str {
    const OURS: [&str; 5] = ["Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade"];
    if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) { "by default" } else { "from the client" }
}

/// The head line by line, each with the directive that names its field, and the beginning of the body.
fn with_bytes(
    mut entry: Entry,
    bytes: &[u8],
    set: &[&Directive],
    is_request: bool,
    places: &Places<'_>,
) -> Entry {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let (head, body) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
    let head_text = String::from_utf8_lossy(head);
    let mut fields = Vec::new();
    for (at, line) in head_text.trim_end().split("\r\n").enumerate() {
        let name = line.split(':').next().unwrap_or_default();
        let item = set.iter().rev().find(|item| at > 0 && names(item, name));
        let note = match item {
            None if is_request && at > 0 => from_whom(name),
            None | Some(_) => "",
        };
        entry = entry.noted(shown(line.as_bytes()), item.map(|item| places.of(item)), note);
        if let Some((name, value)) = line.split_once(':').filter(|_| at > 0) {
            fields.push(serde_json::json!({ "name": name, "value": value.trim() }));
        }
    }
    let first = head_text.split("\r\n").next().unwrap_or_default().to_owned();
    entry = entry.with("first_line", first).with("fields", fields);
    if body.is_empty() {
        return entry;
    }
    let text = body.get(..body.len().min(BODY_BYTES_MAX)).unwrap_or_default();
    let text = String::from_utf8_lossy(text).into_owned();
    entry = entry.line("", None);
    for line in text.lines() {
        entry = entry.line(shown(line.as_bytes()), None);
    }
    if body.len() > BODY_BYTES_MAX {
        entry = entry.line(format!("… {} bytes in all", body.len()), None);
    }
    entry.with("body", text)
}
