//! `listen` and `server_name`: which server a request belongs to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proxy_core::command::Address;
use proxy_core::config::{Listener, Referers, Server, ServerId};
use proxy_core::route::{NameKind, ServerNamesBuilder};

use super::address::{self, Endpoint};
use super::context::{Call, Context, Environment};
use crate::conf::diagnostic::{Diagnostic, Severity, nearest};
use crate::conf::span::Span;
use crate::conf::value::{Field, Parsed, flag, number, size};

/// One address that one server listens on.
#[derive(Clone, Debug)]
pub struct Listen {
    address: Address,
    span: Span,
    default_server: bool,
    dual_stack: bool,
    backlog: Option<u32>,
    receive_buffer_bytes: Option<u32>,
    send_buffer_bytes: Option<u32>,
    deferred: bool,
    keepalive: bool,
    http2: bool,
    proxy_protocol: bool,
    tls: bool,
    /// It sets something about the socket, which only one `listen` of an address may do.
    sets_socket: bool,
}

/// One `server_name`.
#[derive(Clone, Debug)]
pub struct Name {
    /// As nginx shows it (`$server_name`).
    pub shown: Vec<u8>,
    kind: NameKind,
    span: Option<Span>,
    /// Wildcards are whole labels at one end.
    valid: bool,
}

impl Name {
    /// Lets links from this name's pages pass (`valid_referers server_names`).
    pub fn refer(&self, referers: &mut Referers) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let host = match &self.kind {
            NameKind::Exact(name) => text(name),
            NameKind::Suffix(name) => format!("*.{}", text(name)),
            NameKind::SuffixOrSelf(name) => format!(".{}", text(name)),
            NameKind::Prefix(name) => format!("{}.*", text(name)),
            NameKind::Regex(regex) => return referers.hosts.push(regex.clone()),
        };
        // What is written in the directive itself counts, and what is no name at all does not.
        let _ = super::vetting::insert(referers, &host, b"");
    }

    /// The name of a server that has none.
    pub fn none() -> Self {
        Self { shown: Vec::new(), kind: NameKind::Exact(Box::default()), span: None, valid: true }
    }
}

fn plain(address: Address, span: Span) -> Listen {
    Listen {
        address,
        span,
        default_server: false,
        dual_stack: false,
        backlog: None,
        receive_buffer_bytes: None,
        send_buffer_bytes: None,
        deferred: false,
        keepalive: false,
        http2: false,
        proxy_protocol: false,
        tls: false,
        sets_socket: false,
    }
}

/// What a server without `listen` listens on.
pub fn default_listen(env: &Environment<'_>, span: Span) -> Listen {
    let port = if env.root { 80 } else { 8000 };
    plain(Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)), span)
}

/// `listen address [parameters];`
///
/// # Errors
/// As nginx's.
pub fn listen(listens: &mut Vec<Listen>, call: &mut Call<'_, '_>) -> Parsed<()> {
    let field = call.first();
    let text = field.arg.text();
    let wrong = |error: &str| field.error(format!("{error} in \"{text}\" of the \"listen\" directive"));
    let mut options = plain(Address::Unix("".into()), call.directive.span);
    for n in 1..call.args().len() {
        parameter(&mut options, call.arg(n))?;
    }
    if options.http2 {
        call.warn("the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead");
    }
    for endpoint in endpoints(&text).map_err(wrong)? {
        for address in address::resolve(&endpoint, 80, call.cx.env.resolve).map_err(wrong)? {
            if let Some(same) = listens.iter().find(|listen| listen.address == address) {
                let mut diagnostic = field.error(format!("a duplicate listen {address}"));
                diagnostic.label(same.span, "first here");
                return Err(diagnostic);
            }
            listens.push(Listen { address, ..options.clone() });
        }
    }
    Ok(())
}

/// `80`, `*:80`, `address[:port]`, `address:8000-8003`, `unix:path`.
fn endpoints(text: &str) -> Result<Vec<Endpoint>, &'static str> {
    let any = |port| Endpoint::Host { host: "*".into(), port: Some(port) };
    let (base, ports) = match text.rsplit_once(':') {
        Some((base, ports)) if !text.starts_with("unix:") => (Some(base), ports),
        _ => (None, text),
    };
    let range = |ports: &str| -> Option<Result<(u16, u16), &'static str>> {
        let (first, last) = ports.split_once('-')?;
        first.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        let pair = address::port(first).and_then(|first| Ok((first, address::port(last)?)));
        Some(pair.and_then(
            |(first, last)| if first > last { Err("invalid port range") } else { Ok((first, last)) },
        ))
    };
    if let Some(pair) = range(ports) {
        let (first, last) = pair?;
        return (first..=last)
            .map(|port| match base {
                None => Ok(any(port)),
                Some(base) => address::split(&format!("{base}:{port}")).map(|(endpoint, _)| endpoint),
            })
            .collect();
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return address::port(text).map(|port| vec![any(port)]);
    }
    match address::split(text)? {
        (endpoint, "") => Ok(vec![endpoint]),
        _ => Err("invalid host"),
    }
}

/// Sets one parameter.
fn parameter(listen: &mut Listen, field: Field<'_>) -> Parsed<()> {
    let text = field.arg.text();
    let invalid = || {
        let mut diagnostic = field.error(format!("invalid parameter \"{text}\""));
        let names = [
            "default_server",
            "backlog",
            "rcvbuf",
            "sndbuf",
            "ipv6only",
            "so_keepalive",
            "deferred",
            "reuseport",
        ];
        let name = text.split('=').next().unwrap_or_default();
        if let Some(near) = nearest(name, names).filter(|near| *near != name) {
            diagnostic.help(format!("did you mean \"{near}\"?"));
        }
        diagnostic
    };
    let bytes =
        |value: &str| size(value).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(invalid);
    let not_yet = |what: &str| {
        Err(field.error(format!("{what} is known to nginx but ringgate does not support it yet")))
    };
    listen.sets_socket |=
        !matches!(&*text, "default_server" | "default" | "ssl" | "http2" | "quic" | "proxy_protocol");
    match text.split_once('=') {
        Some(("backlog", value)) => {
            listen.backlog = Some(
                number(value).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(invalid)?,
            );
        }
        Some(("rcvbuf", value)) => listen.receive_buffer_bytes = Some(bytes(value)?),
        Some(("sndbuf", value)) => listen.send_buffer_bytes = Some(bytes(value)?),
        Some(("ipv6only", value)) => listen.dual_stack = !flag(value).ok_or_else(invalid)?,
        Some(("so_keepalive", value)) => listen.keepalive = flag(value).unwrap_or(true),
        Some(("fastopen" | "setfib" | "accept_filter", _)) => return not_yet(&format!("\"{text}\"")),
        None => match &*text {
            "default_server" | "default" => listen.default_server = true,
            "deferred" => listen.deferred = true,
            "proxy_protocol" => listen.proxy_protocol = true,
            // Each worker has its own socket anyway, and each address of ours is bound by itself.
            "reuseport" | "bind" => {}
            "ssl" => listen.tls = true,
            "quic" => return not_yet("HTTP/3 (the \"quic\" parameter)"),
            "multipath" => return not_yet("\"multipath\""),
            "http2" => listen.http2 = true,
            _ => return Err(invalid()),
        },
        Some(_) => return Err(invalid()),
    }
    Ok(())
}

/// `server_name name …;`
///
/// # Errors
/// As nginx's.
pub fn server_name(names: &mut Vec<Name>, call: &mut Call<'_, '_>) -> Parsed<()> {
    for n in 0..call.args().len() {
        let field = call.arg(n);
        let name = one_name(call, field)?;
        names.push(name);
    }
    Ok(())
}

fn one_name(call: &mut Call<'_, '_>, field: Field<'_>) -> Parsed<Name> {
    let text = field.arg.text();
    let span = Some(field.arg.span);
    if let Some(pattern) = text.strip_prefix('~') {
        if pattern.is_empty() {
            return Err(field.error(format!("empty regex in server name \"{text}\"")));
        }
        // Host names have no case.
        let regex = call.cx.regex(field, pattern, true)?;
        return Ok(Name { shown: field.arg.bytes.clone(), kind: NameKind::Regex(regex), span, valid: true });
    }
    if text.starts_with('*') && !(text.starts_with("*.") && text.len() > 2) || text == "." {
        let mut diagnostic = field.error(format!("server name \"{text}\" is invalid"));
        diagnostic.help(
            "a wildcard begins with `*.`; for all names use `listen … default_server` and the name `_`",
        );
        return Err(diagnostic);
    }
    if text.contains('/') {
        call.warn(format!("server name \"{text}\" has suspicious symbols"));
    }
    let name = if text == "$hostname" { call.cx.env.hostname.to_owned() } else { text.to_ascii_lowercase() };
    let bytes = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
    let kind = if let Some(rest) = name.strip_prefix("*.") {
        NameKind::Suffix(bytes(rest))
    } else if let Some(rest) = name.strip_prefix('.') {
        NameKind::SuffixOrSelf(bytes(rest))
    } else if let Some(rest) = name.strip_suffix(".*") {
        NameKind::Prefix(bytes(rest))
    } else {
        NameKind::Exact(bytes(&name))
    };
    let stem = name.trim_start_matches("*.").trim_start_matches('.').trim_end_matches(".*");
    let valid = !stem.contains('*') && (!stem.is_empty() || name.is_empty());
    let shown = name.strip_prefix('.').unwrap_or(&name).as_bytes().to_vec();
    Ok(Name { shown, kind, span, valid })
}

/// Joins the servers of each address into one listener, in the order of appearance.
pub fn listeners(
    cx: &mut Context<'_>,
    servers: &[(ServerId, Vec<Listen>, Vec<Name>)],
    settings: &[Server],
) -> Vec<Listener> {
    let mut sockets: Vec<Vec<(ServerId, &Listen, &[Name])>> = Vec::new();
    for (id, listens, names) in servers {
        for listen in listens {
            let same = |socket: &&mut Vec<(ServerId, &Listen, &[Name])>| {
                socket.first().is_some_and(|(_, first, _)| first.address == listen.address)
            };
            match sockets.iter_mut().find(same) {
                Some(socket) => socket.push((*id, listen, names)),
                None => sockets.push(vec![(*id, listen, names)]),
            }
        }
    }
    let listeners = sockets.iter().filter_map(|socket| listener(cx, socket)).collect::<Vec<_>>();
    listeners.iter().filter(|listener| listener.tls).for_each(|at| require_certificate(cx, at, settings));
    listeners
}

/// A TLS port needs a certificate: the default server's, which stands in for those that have none.
fn require_certificate(cx: &mut Context<'_>, listener: &Listener, settings: &[Server]) {
    let server = |id: ServerId| settings.get(id.0 as usize);
    let Some(default) = server(listener.default_server) else { return };
    // One that could not be loaded has been complained about.
    if default.tls.is_some() || cx.tls_failed {
        return;
    }
    let origin = &default.origin;
    let message = format!(
        "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive in {}:{}",
        origin.file, origin.line
    );
    cx.diagnostics.push(Diagnostic::new(Severity::Emerg, None, message));
}

fn listener(cx: &mut Context<'_>, socket: &[(ServerId, &Listen, &[Name])]) -> Option<Listener> {
    let (first_server, first, _) = socket.first()?;
    let mut default: Option<(ServerId, Span)> = None;
    let mut options: Option<&Listen> = None;
    for (id, listen, _) in socket {
        let clash = |cx: &mut Context<'_>, message: String, earlier: Span| {
            cx.diagnostics.push_mut(Diagnostic::emerg(listen.span, message)).label(earlier, "first here");
        };
        if listen.default_server {
            match default {
                Some((_, at)) => clash(cx, format!("a duplicate default server for {}", listen.address), at),
                None => default = Some((*id, listen.span)),
            }
        }
        if listen.sets_socket {
            match options {
                Some(at) => clash(cx, format!("duplicate listen options for {}", listen.address), at.span),
                None => options = Some(listen),
            }
        }
    }
    let set = options.unwrap_or(first);
    let standard = Listener::default();
    Some(Listener {
        address: first.address.clone(),
        dual_stack: set.dual_stack,
        backlog: set.backlog.unwrap_or(standard.backlog),
        receive_buffer_bytes: set.receive_buffer_bytes,
        send_buffer_bytes: set.send_buffer_bytes,
        deferred: set.deferred,
        keepalive: set.keepalive,
        tls: socket.iter().any(|(_, listen, _)| listen.tls),
        http2: socket.iter().any(|(_, listen, _)| listen.http2),
        proxy_protocol: socket.iter().any(|(_, listen, _)| listen.proxy_protocol),
        default_server: default.map_or(*first_server, |(id, _)| id),
        names: names(cx, socket, &first.address).build(),
    })
}

fn names(
    cx: &mut Context<'_>,
    socket: &[(ServerId, &Listen, &[Name])],
    address: &Address,
) -> ServerNamesBuilder {
    let mut builder = ServerNamesBuilder::default();
    for (id, listen, names) in socket {
        for name in *names {
            if !name.valid {
                invalid_name(cx, name, socket.len() > 1, address);
                continue;
            }
            if !builder.add(name.kind.clone(), *id) {
                let shown = String::from_utf8_lossy(&name.shown);
                let message = format!("conflicting server name \"{shown}\" on {address}, ignored");
                let span = name.span.unwrap_or(listen.span);
                cx.diagnostics
                    .push_mut(Diagnostic::warn(span, message))
                    .help("the server that comes first in the configuration keeps the name");
            }
        }
    }
    builder
}

/// nginx only notices such a name where it must choose between servers.
fn invalid_name(cx: &mut Context<'_>, name: &Name, is_error: bool, address: &Address) {
    let shown = String::from_utf8_lossy(&name.shown);
    let message = format!("invalid server name or wildcard \"{shown}\" on {address}");
    let severity = if is_error { Severity::Emerg } else { Severity::Warn };
    cx.diagnostics
        .push_mut(Diagnostic::new(severity, name.span, message))
        .help("a wildcard is a whole label at the start or the end: `*.example.com`, `www.example.*`");
}
