//! `proxy_pass URL;`: who is asked, for what.

use std::sync::Arc;

use proxy_core::config::{HTTP_PORT, HTTPS_PORT, LocationKind, RedirectRule, Target, TargetUri, Template};

use super::address;
use super::context::Call;
use super::template::{compile, compile_bytes, has_variables};
use crate::conf::span::Span;
use crate::conf::value::Parsed;

/// A `proxy_pass`, compiled.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Who.
    pub target: Target,
    /// What.
    pub uri: TargetUri,
    /// `$proxy_host`
    pub proxy_host: Arc<[u8]>,
    /// `$proxy_port`
    pub proxy_port: Arc<[u8]>,
    /// Scheme and host as written.
    pub url: Arc<str>,
    /// Where the URL stands, if TLS may be needed for it.
    pub tls: Option<Span>,
    /// Its host, as a certificate names it, where that is known.
    pub tls_name: Option<Box<str>>,
    /// What `proxy_redirect default` means here; nothing where the URL holds variables.
    pub default_redirect: Option<RedirectRule>,
}

/// Compiles the directive.
///
/// # Errors
/// As nginx's.
pub fn proxy_pass(call: &mut Call<'_, '_>) -> Parsed<Pass> {
    let field = call.first();
    let url = field.arg.text();
    let (authority_end, has_scheme) = authority_end(&url);
    let authority = url.get(..authority_end).unwrap_or_default();
    if has_variables(authority.as_bytes()) || (!has_scheme && has_variables(url.as_bytes())) {
        return dynamic(call, &url);
    }
    let Some((rest, is_tls)) = strip_scheme(&url) else { return Err(bad_scheme(call)) };
    let default_port = if is_tls { HTTPS_PORT } else { HTTP_PORT };
    let (endpoint, uri) =
        address::split(rest).map_err(|error| field.error(format!("{error} in upstream \"{rest}\"")))?;
    if !uri.is_empty() && !has_variables(uri.as_bytes()) {
        uri_is_allowed(call)?;
    }
    // nginx resolves such a URL for each request; the host is known, so we need not.
    let target_uri = match uri {
        "" => TargetUri::Unchanged,
        uri if has_variables(uri.as_bytes()) => {
            TargetUri::Template(compile_bytes(call.cx, field, uri.as_bytes())?)
        }
        uri => TargetUri::Replace(with_slash(uri).as_bytes().into()),
    };
    let upstream = call.cx.upstreams.reference(
        call.cx.env,
        field,
        (&endpoint, default_port),
        rest,
        &mut call.cx.diagnostics,
    )?;
    let (proxy_host, proxy_port) = endpoint.proxy_host_and_port(default_port);
    let base = url.get(..url.len() - uri.len()).unwrap_or_default();
    let default_redirect = (!has_variables(uri.as_bytes())).then(|| default_redirect(call, base, uri));
    Ok(Pass {
        target: Target::Upstream(upstream),
        uri: target_uri,
        proxy_host: proxy_host.as_bytes().into(),
        proxy_port: proxy_port.as_bytes().into(),
        url: base.trim_end_matches(':').into(),
        tls: is_tls.then_some(field.arg.span),
        tls_name: Some(endpoint.tls_name().into()),
        default_redirect,
    })
}

/// Where the authority ends (scheme included), and whether there is a scheme.
fn authority_end(url: &str) -> (usize, bool) {
    let Some(at) = url.find("://") else { return (url.len(), false) };
    let after = url.get(at + 3..).unwrap_or_default();
    if after.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:")) {
        let path = after.get(5..).unwrap_or_default();
        return (at + 8 + path.find(':').unwrap_or(path.len()), true);
    }
    (at + 3 + after.find(['/', '?']).unwrap_or(after.len()), true)
}

/// What stands behind the scheme, and whether that one means TLS.
fn strip_scheme(url: &str) -> Option<(&str, bool)> {
    [("http://", false), ("https://", true)].into_iter().find_map(|(scheme, is_tls)| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some((rest, is_tls))
    })
}

fn bad_scheme(call: &Call<'_, '_>) -> Box<crate::conf::diagnostic::Diagnostic> {
    let mut diagnostic = call.first().error("invalid URL prefix");
    diagnostic.help("the URL begins with `http://` or `https://`");
    diagnostic
}

/// A URL whose host is only known at run time.
fn dynamic(call: &mut Call<'_, '_>, url: &str) -> Parsed<Pass> {
    Ok(Pass {
        target: Target::Dynamic(compile(call.cx, call.first())?),
        uri: TargetUri::Unchanged,
        proxy_host: Arc::default(),
        proxy_port: Arc::default(),
        url: url.into(),
        tls: strip_scheme(url).is_none_or(|(_, is_tls)| is_tls).then_some(call.first().arg.span),
        tls_name: None,
        default_redirect: None,
    })
}

fn uri_is_allowed(call: &Call<'_, '_>) -> Parsed<()> {
    let refused = match call.place.kind {
        LocationKind::Regex | LocationKind::RegexNoCase | LocationKind::Predicate | LocationKind::Named => {
            true
        }
        LocationKind::Implicit => call.place.is_if,
        LocationKind::Exact | LocationKind::Prefix | LocationKind::PrefixNoRegex => call.place.is_if,
    };
    if !refused {
        return Ok(());
    }
    let mut diagnostic = call.error(
        "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, \
         or inside \"if\" statement, or inside \"limit_except\" block",
    );
    diagnostic.help("remove what follows the host, or use `rewrite … break;` before it");
    Err(diagnostic)
}

/// `?x` means `/?x`.
fn with_slash(uri: &str) -> String {
    if uri.starts_with('/') { uri.into() } else { format!("/{uri}") }
}

/// `proxy_redirect default`: the URL becomes the location, or without a URI the host becomes the root.
fn default_redirect(call: &Call<'_, '_>, base: &str, uri: &str) -> RedirectRule {
    let literal = |text: &[u8]| Template::literal(text);
    if uri.is_empty() {
        RedirectRule::Prefix { from: literal(format!("{base}/").as_bytes()), to: literal(b"/") }
    } else {
        RedirectRule::Prefix {
            from: literal(format!("{base}{uri}").as_bytes()),
            to: literal(call.place.pattern),
        }
    }
}
