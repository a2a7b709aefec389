//! Traps around the headers of a reply.

use super::Finding;
use crate::conf::scope::{Scope, first, names};
use crate::conf::tree::Directive;

/// Variables that hold decoded text of the client: a line end in it ends the header.
const DECODED: [&str; 3] = ["$uri", "$document_uri", "${uri}"];

/// An `add_header` that discards those of the level above.
pub(super) fn lost(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let Some(own) = scope.own("add_header").next() else { return };
    let merges = scope.value("add_header_inherit").is_some_and(|item| first(item) == "merge");
    let lost: Vec<&Directive> = scope
        .replaced("add_header")
        .into_iter()
        .filter(|outer| !scope.own("add_header").any(|own| names(own, &first(outer))))
        .collect();
    let Some(outer) = lost.first().filter(|_| !merges) else { return };
    let list = lost.iter().map(|item| first(item)).collect::<Vec<_>>().join(", ");
    let message = format!("the headers of the level above are not sent here: {list}");
    findings.push(
        Finding::new("lost-headers", own.span, message)
            .label(outer.span, "inherited only where a level has no add_header of its own")
            .help("repeat them here, or set \"add_header_inherit merge;\""),
    );
}

/// CORS headers from the proxy beside those of the application.
pub(super) fn cors_twice(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    const ORIGIN: &str = "Access-Control-Allow-Origin";
    let added: Vec<_> = scope.in_force("add_header").into_iter().filter(|item| names(item, ORIGIN)).collect();
    if let [first_one, .., second] = added.as_slice() {
        let message = "two Access-Control-Allow-Origin headers: browsers refuse such a reply";
        findings.push(
            Finding::new("duplicate-cors", second.span, message)
                .label(first_one.span, "the other one")
                .help("keep one; choose its value with a map"),
        );
        return;
    }
    let (Some(pass), Some(added)) = (scope.own("proxy_pass").next(), added.first()) else { return };
    if scope.in_force("proxy_hide_header").iter().any(|item| names(item, ORIGIN)) {
        return;
    }
    let message = "if the application sends this header, too, browsers see it twice and refuse the reply";
    findings.push(
        Finding::new("duplicate-cors", added.span, message)
            .label(pass.span, "the application answers here")
            .help(format!("add \"proxy_hide_header {ORIGIN};\", or let only the application send it")),
    );
}

/// The client's decoded path in a header: it may contain a line end.
pub(super) fn injection(scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let redirects = scope.own("return").filter(|item| item.args.len() > 1 || first(item).starts_with("http"));
    let rewrites = scope.own("rewrite").filter(|item| {
        item.args.get(2).is_some_and(|flag| flag.is("redirect") || flag.is("permanent"))
            || item.args.get(1).is_some_and(|to| to.text().starts_with("http"))
    });
    for item in redirects.chain(rewrites).chain(scope.own("add_header")) {
        let Some(arg) = item.args.iter().skip(usize::from(item.args.len() > 1)).find(|arg| {
            let text = arg.text();
            DECODED.iter().any(|variable| uses(&text, variable))
        }) else {
            continue;
        };
        let message = "$uri is decoded: \"%0d%0a\" in a request becomes a line end in this header";
        findings.push(
            Finding::new("header-injection", arg.span, message)
                .help("use $request_uri, which stays as the client sent it"),
        );
    }
}

/// Whether `text` uses this variable, and not one with a longer name.
fn uses(text: &str, variable: &str) -> bool {
    text.match_indices(variable).any(|(at, _)| {
        let next = text.get(at + variable.len()..).and_then(|rest| rest.chars().next());
        variable.ends_with('}') || !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}
