//! Traps that let a client reach or claim what it should not.

use super::Finding;
use crate::conf::scope::{Scope, first, second};

/// `location /files { alias /srv/files/; }`: "/files../secret" leaves the directory.
pub(super) fn alias_traversal(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let (Some(path), Some(alias)) = (scope.prefix(), scope.own("alias").next()) else { return };
    let target = first(alias);
    if path.ends_with('/') || !target.ends_with('/') {
        return;
    }
    let message = format!("\"{path}../x\" reads \"{target}../x\", outside of the directory");
    findings.push(
        Finding::new("alias-traversal", alias.span, message)
            .help(format!("write \"location {path}/\": both must end with a slash")),
    );
}

/// The client's word about its own address is believed from everybody.
pub(super) fn real_ip_from_anyone(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    for item in scope.own("set_real_ip_from") {
        let from = first(item);
        if ["0.0.0.0/0", "::/0"].contains(&&*from) {
            let message = "anybody may claim any address, and get around allow, deny and limits";
            findings.push(
                Finding::new("forged-address", item.span, message)
                    .help("name the addresses of the proxies in front of this one"),
            );
        }
    }
}

/// The header that the client sent stands for its address.
pub(super) fn forged_address(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let forwarded = scope.own("proxy_set_header").map(|item| (item, second(item)));
    let zones = scope.own("limit_req_zone").chain(scope.own("limit_conn_zone"));
    for (item, value) in forwarded.chain(zones.map(|item| (item, first(item)))) {
        if !value.contains("$http_x_forwarded_for") && !value.contains("$http_x_real_ip") {
            continue;
        }
        let known = item.name.is("proxy_set_header");
        let remedy = if known {
            "use $proxy_add_x_forwarded_for, or $remote_addr for the client alone"
        } else {
            "use $binary_remote_addr, with set_real_ip_from for the proxies in front of this one"
        };
        let message = "the client writes this header itself: it can claim any address";
        findings.push(Finding::new("forged-address", item.span, message).help(remedy));
    }
}

/// A cache that gives one user's reply to another.
pub(super) fn shared_secrets_in_cache(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let Some(cache) = scope.value("proxy_cache").filter(|item| first(item) != "off") else { return };
    if scope.own("proxy_pass").next().is_none() {
        return;
    }
    let ignored = scope.in_force("proxy_ignore_headers");
    let cookies =
        ignored.iter().find(|item| item.args.iter().any(|arg| arg.text().eq_ignore_ascii_case("Set-Cookie")));
    if let Some(item) = cookies {
        let message = "a reply that sets a cookie is stored, and its cookie given to everybody";
        findings.push(
            Finding::new("cached-cookie", item.span, message)
                .label(cache.span, "the cache")
                .help("remove Set-Cookie here, or add \"proxy_no_cache $upstream_http_set_cookie;\""),
        );
    }
    let mut rules = scope.in_force("proxy_cache_key");
    rules.extend(scope.in_force("proxy_no_cache"));
    rules.extend(scope.in_force("proxy_cache_bypass"));
    let aware = rules.iter().flat_map(|item| &item.args).any(|arg| {
        let text = arg.text();
        text.contains("$http_authorization") || text.contains("$remote_user")
    });
    if !aware {
        let message = "a reply to a request with Authorization is stored, and given to those without it";
        findings.push(Finding::new("cached-authorization", cache.span, message).help(
            "add \"proxy_cache_bypass $http_authorization;\" and \"proxy_no_cache $http_authorization;\"",
        ));
    }
}
