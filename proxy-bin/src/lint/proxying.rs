//! Traps between the proxy and its upstream.

use proxy_core::route::Regex;

use super::Finding;
use crate::conf::scope::{Scope, first, names, prefix_of, second};
use crate::conf::tree::Directive;
use crate::conf::value;

/// What an application needs to know about its client.
const FORWARDED: [(&str, &str); 3] = [
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
    ("X-Forwarded-Proto", "$scheme"),
];

/// The read timeout where none is set, and what is short for a connection that may be silent, in milliseconds.
const READ_TIMEOUT_MS: u64 = 60_000;

/// `proxy_pass` without the headers that tell the application who asks.
pub(super) fn forwarding_headers(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let Some(pass) = scope.own("proxy_pass").next() else { return };
    let set = scope.in_force("proxy_set_header");
    let missing: Vec<_> =
        FORWARDED.iter().filter(|(header, _)| !set.iter().any(|item| names(item, header))).collect();
    if missing.is_empty() {
        return;
    }
    let list = missing.iter().map(|(header, _)| *header).collect::<Vec<_>>().join(", ");
    let message = format!("the upstream does not learn who its client is: {list} not set");
    let mut finding = Finding::new("missing-forwarding-headers", pass.span, message);
    let lost = scope.replaced("proxy_set_header");
    let own = scope.own("proxy_set_header").next();
    if let (Some(outer), Some(own)) = (lost.first(), own) {
        finding = finding
            .label(outer.span, "set here for the level above")
            .label(own.span, "one proxy_set_header here discards all of those");
    }
    for (header, value) in missing {
        finding = finding.help(format!("add \"proxy_set_header {header} {value};\""));
    }
    findings.push(finding);
}

/// `proxy_pass` that sends the upstream's own name as the host.
pub(super) fn host(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let Some(pass) = scope.own("proxy_pass").next() else { return };
    let set = scope.in_force("proxy_set_header");
    if set.iter().any(|item| names(item, "Host")) || first(pass).starts_with("https://") {
        return;
    }
    let message = "the upstream sees its own address as Host, and builds links and redirects from that";
    findings.push(Finding::new("host-lost", pass.span, message).help("add \"proxy_set_header Host $host;\""));
}

/// A location and its target where only one ends with a slash.
pub(super) fn trailing_slash(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let (Some(path), Some(pass)) = (scope.prefix(), scope.own("proxy_pass").next()) else { return };
    let target = first(pass);
    let Some(uri) = target.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]))
    else {
        return;
    };
    if path == "/" || target.contains('$') || path.ends_with('/') == uri.ends_with('/') {
        return;
    }
    let (asked, sent) = (format!("{path}x"), format!("{uri}x"));
    let message = format!("\"{asked}\" goes to the upstream as \"{sent}\"");
    let both = if path.ends_with('/') { format!("{uri}/") } else { uri.trim_end_matches('/').to_owned() };
    let remedy = if both.is_empty() {
        format!("write \"location {path}/\", so that both end with a slash")
    } else {
        format!("let both end with a slash or none: here the target's path would be \"{both}\"")
    };
    findings.push(Finding::new("trailing-slash", pass.span, message).help(remedy));
}

/// A regular expression that takes what a proxied prefix location was written for.
pub(super) fn swallowed(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let Some(opener) = scope.opener().filter(|_| scope.is("location")) else { return };
    let [modifier, pattern] = opener.args.as_slice() else { return };
    if !(modifier.is("~") || modifier.is("~*")) {
        return;
    }
    let Ok(regex) = Regex::new(&pattern.text(), modifier.is("~*")) else { return };
    for other in scope.locations() {
        let proxied = other.children().iter().any(|item| item.name.is("proxy_pass"));
        let plain = other.args.len() == 1;
        let Some(path) = prefix_of(other).filter(|path| proxied && plain && *path != "/") else { continue };
        let all = ["", "x", "x/y", "1"].iter().all(|rest| regex.is_match(format!("{path}{rest}").as_bytes()));
        if all {
            let message =
                format!("takes every request for \"{path}\": a regular expression comes before a prefix");
            findings.push(
                Finding::new("catch-all", opener.span, message)
                    .label(other.span, "this location is never reached")
                    .help(format!("write \"location ^~ {path}\", or make the expression narrower")),
            );
        }
    }
}

/// `Connection: upgrade` on requests that upgrade nothing.
pub(super) fn connection_upgrade(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    for item in scope.own("proxy_set_header").filter(|item| names(item, "Connection")) {
        if second(item).eq_ignore_ascii_case("upgrade") {
            let message = "every request says that it wants to upgrade, and no upstream connection is kept";
            findings.push(
                Finding::new("unconditional-upgrade", item.span, message)
                    .help("map $http_upgrade $connection_upgrade { default upgrade; '' ''; }")
                    .help("and then \"proxy_set_header Connection $connection_upgrade;\"; ringgate forwards a WebSocket handshake without any of that"),
            );
        }
    }
}

/// A location for WebSockets or event streams that ends what is silent for a minute.
pub(super) fn streaming_timeout(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let (Some(opener), Some(pass)) = (scope.opener(), scope.own("proxy_pass").next()) else { return };
    let upgrades = scope.in_force("proxy_set_header").iter().any(|item| names(item, "Upgrade"));
    let path = opener.args.last().map(crate::conf::tree::Arg::text).unwrap_or_default();
    let named = path.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        ["ws", "wss", "websocket", "socket", "events", "sse", "stream", "cable", "hub"]
            .iter()
            .any(|stream| word.eq_ignore_ascii_case(stream))
    });
    let own_upgrade = scope.own("proxy_set_header").any(|item| names(item, "Upgrade"));
    if !(own_upgrade || named && (upgrades || scope.is("location"))) {
        return;
    }
    let timeout = scope.value("proxy_read_timeout");
    let ms = timeout.and_then(|item| value::milliseconds(&first(item))).unwrap_or(READ_TIMEOUT_MS);
    if ms > READ_TIMEOUT_MS {
        return;
    }
    let at = timeout.map_or(pass.span, |item: &Directive| item.span);
    let message = format!("a connection that is silent for {} s is cut", ms / 1000);
    findings.push(
        Finding::new("short-stream-timeout", at, message)
            .help("set \"proxy_read_timeout 1h;\" here, or let the application send a ping more often"),
    );
}

/// A backend that is reached by the wildcard address.
pub(super) fn wildcard_backend(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let servers = scope.own("server").filter(|_| scope.is("upstream"));
    for item in servers.chain(scope.own("proxy_pass")) {
        let text = first(item);
        let host = text.split_once("://").map_or(&*text, |(_, rest)| rest);
        if host.starts_with("0.0.0.0") || host.starts_with("[::]") {
            let message = "the backend seems to listen on all addresses: anybody can go around the proxy";
            findings.push(
                Finding::new("wildcard-backend", item.span, message)
                    .help("let it listen on 127.0.0.1 or a Unix socket, and name that here"),
            );
        }
    }
}
