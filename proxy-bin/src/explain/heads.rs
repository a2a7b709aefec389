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

/// The request that an upstream gets.
pub(super) fn request(
    address: &Address,
    bytes: &[u8],
    scope: Option<&Scope<'_>>,
    places: &Places<'_>,
) -> Entry {
    let set = scope.map(|scope| scope.in_force("proxy_set_header")).unwrap_or_default();
    let entry = Entry::new("request", format!("to {address}"))
        .at(set_by(scope, "proxy_pass").map(|item| places.of(item)))
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
