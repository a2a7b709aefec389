//! Tables for people: columns as wide as what is in them.

use serde_json::{Map, Value};

/// All groups with the servers in them, as the API shows them.
pub(super) fn groups(value: &Value) -> String {
    let head = ["GROUP", "ID", "SERVER", "STATE", "WEIGHT", "ACTIVE", "REQUESTS", "FAILS", "CHECKS"];
    let mut rows = Vec::new();
    for (name, group) in value.as_object().into_iter().flat_map(Map::iter) {
        let peers = group.get("peers").and_then(Value::as_array);
        for peer in peers.into_iter().flatten() {
            let backup = if peer.get("backup") == Some(&Value::Bool(true)) { " (backup)" } else { "" };
            let checks = peer.get("health_checks").map_or_else(String::new, checks);
            let of = |field: &str| text(peer, field);
            rows.push(vec![
                name.clone(),
                of("id"),
                of("server"),
                of("state") + backup,
                of("weight"),
                of("active"),
                of("requests"),
                of("fails"),
                checks,
            ]);
        }
        if peers.is_none_or(Vec::is_empty) {
            rows.push(vec![name.clone(), "-".into(), "no servers".into()]);
        }
    }
    table(&head, &rows)
}

/// Checks that failed of all that were made.
fn checks(value: &Value) -> String {
    match value.get("checks").and_then(Value::as_u64) {
        None | Some(0) => "-".into(),
        Some(all) => format!("{} of {all} failed", text(value, "fails")),
    }
}

/// One server, or a list of them, as the API shows what is said of them.
pub(super) fn servers(value: &Value) -> String {
    let head =
        ["ID", "SERVER", "WEIGHT", "MAX_CONNS", "MAX_FAILS", "FAIL_TIMEOUT", "SLOW_START", "ROUTE", "FLAGS"];
    let one = std::slice::from_ref(value);
    let rows = value.as_array().map_or(one, Vec::as_slice).iter().map(|server| {
        let of = |field: &str| text(server, field);
        let flags =
            ["backup", "down", "drain"].iter().filter(|flag| server.get(**flag) == Some(&Value::Bool(true)));
        vec![
            of("id"),
            of("server"),
            of("weight"),
            of("max_conns"),
            of("max_fails"),
            of("fail_timeout"),
            of("slow_start"),
            of("route"),
            flags.copied().collect::<Vec<_>>().join(" "),
        ]
    });
    table(&head, &rows.collect::<Vec<_>>())
}

fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) if text.is_empty() => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain(head.get(n).map(|name| name.len())).max().unwrap_or(0)
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.enumerate().map(|(n, cell)| format!("{cell:<width$}", width = width(n)));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut head.iter().copied());
    for row in rows {
        out += &line(&mut row.iter().map(String::as_str));
    }
    out
}
