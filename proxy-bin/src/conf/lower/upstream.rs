//! Upstream groups: `upstream` blocks, and the groups of one that a literal `proxy_pass` address stands for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use proxy_core::config::{
    Balance, CoreSettings, HTTP_PORT, HealthCheck, Policy, Resolver, ResolverId, Upstream, UpstreamId,
    UpstreamName, UpstreamServer,
};
use proxy_core::time::Millis;

use super::address::{self, Endpoint};
use super::balance;
use super::context::{Call, Context, Environment, Place};
use crate::conf::diagnostic::{Diagnostic, nearest};
use crate::conf::directive::Checked;
use crate::conf::parser::{TextKind, parse};
use crate::conf::span::Span;
use crate::conf::tree::Directive;
use crate::conf::value::{Field, Parsed, milliseconds, number};

/// Stands for a `resolver_timeout` that nobody has said.
const TIMEOUT_UNSAID: Millis = Millis(u64::MAX);

/// All groups of a configuration.
#[derive(Debug, Default)]
pub struct Upstreams {
    /// Declared groups are `None` until their block was lowered.
    groups: Vec<Option<Upstream>>,
    /// Who uses which zone of sessions.
    zones: HashMap<String, String>,
    declared: HashMap<String, UpstreamId>,
    literal: HashMap<String, UpstreamId>,
    /// The groups that look up services, and where.
    services: Vec<(String, Span)>,
}

/// What an `upstream` block says.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct UpstreamLevel {
    pub name: String,
    pub servers: Vec<UpstreamServer>,
    pub balance: Option<Balance>,
    pub policy: Policy,
    pub zone: Option<String>,
    /// `state`: the file, and where it is said.
    pub state: Option<(PathBuf, Span)>,
    /// The lines whose names are looked up at run time, and where they stand.
    pub names: Vec<(UpstreamName, Span)>,
    pub resolver: Option<ResolverId>,
    pub resolver_timeout: Option<Millis>,
    /// `server` lines so far.
    pub lines: u32,
    /// A `server` was refused, so that an empty group is no second mistake.
    pub spoilt: bool,
    pub keepalive: Option<usize>,
    pub keepalive_requests: Option<u64>,
    pub keepalive_time: Option<Millis>,
    pub keepalive_timeout: Option<Millis>,
}

impl Upstreams {
    /// Learns the names of the groups, so that they may be used before they are defined.
    pub fn declare(&mut self, http: &Directive) {
        for block in http.children().iter().filter(|child| child.name.is("upstream")) {
            let Some(name) = block.args.first() else { continue };
            let key = name.text().to_ascii_lowercase();
            if !self.declared.contains_key(&key) {
                let id = self.push(None);
                self.declared.insert(key, id);
            }
        }
    }

    fn push(&mut self, group: Option<Upstream>) -> UpstreamId {
        self.groups.push(group);
        UpstreamId(u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX))
    }

    /// The group that a `proxy_pass` means; `text` is its URL without the scheme, whose port is `default_port`.
    ///
    /// # Errors
    /// nginx's `upstream "X" may not have port N`, `host not found in upstream "X"`.
    pub fn reference(
        &mut self,
        env: &Environment<'_>,
        field: Field<'_>,
        (endpoint, default_port): (&Endpoint, u16),
        text: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Parsed<UpstreamId> {
        if let Endpoint::Host { host, port } = endpoint
            && let Some(id) = self.declared.get(&host.to_ascii_lowercase())
        {
            return match port {
                None => Ok(*id),
                Some(port) => Err(field.error(format!("upstream \"{host}\" may not have port {port}"))),
            };
        }
        let name = endpoint.authority(default_port);
        if let Some(id) = self.literal.get(&name) {
            return Ok(*id);
        }
        let mut level = UpstreamLevel::default();
        match address::resolve(endpoint, default_port, env.resolve) {
            Ok(addresses) => {
                level.servers = addresses.into_iter().map(|address| server(address, &name)).collect();
            }
            Err(error) => {
                unresolved(env, field, format!("{error} in upstream \"{text}\""), diagnostics)?;
                let template = server(proxy_core::command::Address::Unix("".into()), &name);
                level.names.extend(later(endpoint, default_port, template, field));
            }
        }
        let id = self.push(Some(group(&name, false, level)));
        self.literal.insert(name, id);
        Ok(id)
    }

    /// Whether there is a group of this name.
    pub fn is_declared(&self, name: &str) -> bool {
        self.declared.contains_key(&name.to_ascii_lowercase())
    }

    /// The group whose sessions are in this zone.
    pub fn learns_in(&self, zone: &str) -> Option<&str> {
        self.zones.get(zone).map(String::as_str)
    }

    /// A group keeps its sessions in this zone.
    pub fn note_zone(&mut self, zone: &str, upstream: &str) {
        self.zones.insert(zone.into(), upstream.into());
    }

    /// Gives names the resolver of `http` where their block has none. A service, which the system cannot look up, gets the
    /// system's name servers where there is none there either.
    ///
    /// `no resolver defined to resolve names at run time in upstream "X"`
    pub fn resolve_names(cx: &mut Context<'_>, resolver: Option<ResolverId>, timeout: Option<Millis>) {
        let names =
            |groups: &[Option<Upstream>]| groups.iter().flatten().any(|group| !group.names.is_empty());
        if !names(&cx.upstreams.groups) {
            return;
        }
        let services = std::mem::take(&mut cx.upstreams.services);
        let own = if resolver.is_none() && !services.is_empty() && !cx.env.name_servers.is_empty() {
            Some(super::resolver::intern(cx, Resolver::new(cx.env.name_servers.iter().copied())))
        } else {
            None
        };
        let default = CoreSettings::default().resolver_timeout;
        let mut lost = Vec::new();
        for group in cx.upstreams.groups.iter_mut().flatten() {
            for name in &mut group.names {
                let name = Arc::make_mut(name);
                let found = if name.service.is_some() { resolver.or(own) } else { resolver };
                // What was not found at load was asked of the system, and goes on to be.
                name.resolver = name.resolver.or(found.filter(|_| !name.once));
                if name.timeout == TIMEOUT_UNSAID {
                    name.timeout = timeout.unwrap_or(default);
                }
                if name.service.is_some() && name.resolver.is_none() {
                    lost.push(group.name.to_string());
                }
            }
        }
        for (group, span) in services.into_iter().filter(|(group, _)| lost.contains(group)) {
            let message = format!("no resolver defined to resolve names at run time in upstream \"{group}\"");
            cx.diagnostics.push(Diagnostic::emerg(span, message));
        }
    }

    /// A location checks the servers of this group.
    pub fn add_check(&mut self, id: UpstreamId, mut check: HealthCheck) {
        let Some(Some(group)) = self.groups.get_mut(id.0 as usize) else { return };
        // Two that say the same are two checks all the same.
        while group.checks.iter().any(|other| other.key == check.key) {
            check.key = format!("{} again", check.key).into();
        }
        group.checks.push(Arc::new(check));
    }

    /// All groups in the order of their ids.
    pub fn finish(self) -> Vec<Upstream> {
        let mut names: Vec<_> = self.declared.into_iter().collect();
        names.sort_by_key(|(_, id)| *id);
        let mut names = names.into_iter().map(|(name, _)| name);
        // A declared group that was refused stays as an empty one: ids must not move.
        let refused = |name: Option<String>| group(&name.unwrap_or_default(), true, UpstreamLevel::default());
        self.groups.into_iter().map(|found| found.unwrap_or_else(|| refused(names.next()))).collect()
    }
}

/// A name that does not resolve: an error at `-t`; where it is served, its locations answer 502 until it does.
fn unresolved(
    env: &Environment<'_>,
    field: Field<'_>,
    message: String,
    diagnostics: &mut Vec<Diagnostic>,
) -> Parsed<()> {
    let mut diagnostic = field.error(message);
    if env.unresolved_is_fatal {
        diagnostic.help(
            "is there a typo, or is DNS down? (A server that runs would only disable what is passed there.)",
        );
        return Err(diagnostic);
    }
    diagnostic.severity = crate::conf::diagnostic::Severity::Warn;
    diagnostic.help("what is passed there gets 502 until the name is found; everything else works");
    diagnostics.push(*diagnostic);
    Ok(())
}

fn server(address: proxy_core::command::Address, name: &str) -> UpstreamServer {
    UpstreamServer { name: name.into(), ..UpstreamServer::new(address) }
}

fn group(name: &str, explicit: bool, mut level: UpstreamLevel) -> Upstream {
    let (balance, policy) = balance::finish(&mut level);
    let default = Upstream::explicit(name, level.servers);
    Upstream {
        explicit,
        balance,
        policy,
        zone: level.zone.map(Into::into),
        state: level.state.map(|(path, _)| path.to_string_lossy().as_bytes().into()),
        names: level.names.into_iter().map(|(name, _)| Arc::new(name)).collect(),
        keepalive: level.keepalive.unwrap_or(default.keepalive),
        keepalive_requests: level.keepalive_requests.unwrap_or(default.keepalive_requests),
        keepalive_time: level.keepalive_time.unwrap_or(default.keepalive_time),
        keepalive_timeout: level.keepalive_timeout.unwrap_or(default.keepalive_timeout),
        // A block and a literal address may have the same name.
        state_key: if explicit { format!("upstream {name}").into() } else { name.into() },
        ..default
    }
}

/// Lowers an `upstream` block.
pub fn upstream(cx: &mut Context<'_>, block: &Checked<'_>) {
    let Some(name) = block.directive.args.first() else { return };
    let Some(id) = cx.upstreams.declared.get(&name.text().to_ascii_lowercase()).copied() else { return };
    if cx.upstreams.groups.get(id.0 as usize).is_some_and(Option::is_some) {
        let error =
            Field::new(block.directive, name).error(format!("duplicate upstream \"{}\"", name.text()));
        cx.diagnostics.push(*error);
        return;
    }
    let mut level = UpstreamLevel { name: name.text().into_owned(), ..UpstreamLevel::default() };
    for child in &block.children {
        super::apply::upstream(cx, child, &mut level);
    }
    load_state(cx, &mut level);
    let refused = block.directive.children().len() > block.children.len();
    if level.servers.is_empty()
        && level.names.is_empty()
        && level.state.is_none()
        && !level.spoilt
        && !refused
    {
        let close = block.directive.block.as_ref().map_or(block.directive.span, |block| block.close);
        let mut diagnostic = Diagnostic::emerg(name.span, "no servers are inside upstream");
        diagnostic.anchor(close);
        cx.diagnostics.push(diagnostic);
    }
    name_resolvers(cx, &name.text(), &mut level);
    if let Some(slot) = cx.upstreams.groups.get_mut(id.0 as usize) {
        *slot = Some(group(&name.text(), true, level));
    }
}

/// `state file;`
///
/// # Errors
/// None: the file is read when the block is known.
pub fn state(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.state = Some((call.cx.path(&call.text(0)), call.directive.span));
    Ok(())
}

/// Reads the servers of the `state` file; one that does not exist yet has none.
fn load_state(cx: &mut Context<'_>, level: &mut UpstreamLevel) {
    let Some((path, span)) = level.state.clone() else { return };
    let shown = path.display();
    if level.lines > 0 {
        let mut diagnostic = Diagnostic::emerg(span, "\"state\" does not go together with \"server\"");
        diagnostic.help(format!("servers belong into \"{shown}\", by hand or through `api`"));
        return cx.diagnostics.push(diagnostic);
    }
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            let message = crate::conf::include::open_failed(&path, &error);
            return cx.diagnostics.push(Diagnostic::emerg(span, message));
        }
    };
    let (lines, mut wrong) = parse(span.file, &bytes, TextKind::File);
    let before = cx.diagnostics.len();
    for line in &lines {
        let mut call = Call { cx, directive: line, place: Place::NONE };
        let result = if line.name.is("server") && line.block.is_none() && !line.args.is_empty() {
            server_directive(level, &mut call)
        } else {
            Err(call.error(format!("unknown directive \"{}\"", line.name.text())))
        };
        cx.record(result);
    }
    // Where a mistake stands in that file nobody can tell by a place in this one.
    wrong.extend(cx.diagnostics.drain(before..));
    for found in wrong {
        let message = format!("{} in state file \"{shown}\"", found.message);
        cx.diagnostics.push(Diagnostic::new(found.severity, Some(span), message));
    }
}

/// Gives the block's names its own resolver. Those without one get that of `http` in the end ([`Upstreams::finish`]).
fn name_resolvers(cx: &mut Context<'_>, group: &str, level: &mut UpstreamLevel) {
    for (name, span) in &mut level.names {
        name.resolver = level.resolver;
        name.timeout = level.resolver_timeout.unwrap_or(TIMEOUT_UNSAID);
        if name.service.is_some() {
            cx.upstreams.services.push((group.to_owned(), *span));
        }
    }
}

/// `server address [parameters];`
///
/// # Errors
/// As nginx's.
pub fn server_directive(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let result = parse_server(level, call);
    level.lines += 1;
    level.spoilt |= result.is_err();
    result
}

fn parse_server(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let field = call.first();
    let text = field.arg.text();
    let mut template = server(proxy_core::command::Address::Unix("".into()), &text);
    template.line = level.lines;
    let mut run_time = RunTime::default();
    for n in 1..call.args().len() {
        parameter(&mut template, &mut run_time, level, call.arg(n))?;
    }
    let in_upstream = |error| format!("{error} in upstream \"{text}\"");
    let (endpoint, uri) = address::split(&text).map_err(|error| field.error(in_upstream(error)))?;
    if !uri.is_empty() {
        return Err(field.error(in_upstream("invalid host")));
    }
    if run_time.service.is_some() {
        service_is_allowed(&endpoint, &run_time, field)?;
    }
    if run_time.resolve
        && endpoint.literal(HTTP_PORT).is_none()
        && let Endpoint::Host { host, port } = &endpoint
    {
        let name = UpstreamName::new(host, port.unwrap_or(HTTP_PORT));
        let service = run_time.service.map(Into::into);
        level.names.push((UpstreamName { service, server: template, ..name }, field.arg.span));
        return Ok(());
    }
    match address::resolve(&endpoint, 80, call.cx.env.resolve) {
        Ok(addresses) => level
            .servers
            .extend(addresses.into_iter().map(|address| UpstreamServer { address, ..template.clone() })),
        Err(error) => {
            unresolved(call.cx.env, field, in_upstream(error), &mut call.cx.diagnostics)?;
            level.names.extend(later(&endpoint, HTTP_PORT, template, field));
        }
    }
    Ok(())
}

/// A name that was not found at load: it is looked up until it is.
fn later(
    endpoint: &Endpoint,
    default_port: u16,
    template: UpstreamServer,
    field: Field<'_>,
) -> Option<(UpstreamName, Span)> {
    let Endpoint::Host { host, port } = endpoint else { return None };
    let name = UpstreamName::new(host, port.unwrap_or(default_port));
    Some((UpstreamName { server: template, once: true, ..name }, field.arg.span))
}

/// Whether and how a line's name is looked up at run time.
#[derive(Default)]
struct RunTime {
    resolve: bool,
    service: Option<String>,
}

/// nginx's conditions on `service=`.
fn service_is_allowed(endpoint: &Endpoint, run_time: &RunTime, field: Field<'_>) -> Parsed<()> {
    let text = field.arg.text();
    let wrong = if !run_time.resolve {
        "requires \"resolve\" parameter"
    } else if matches!(endpoint, Endpoint::Host { port: Some(_), .. }) {
        "may not have port"
    } else if endpoint.literal(HTTP_PORT).is_some() {
        "requires domain name"
    } else {
        return Ok(());
    };
    Err(field.error(format!("service upstream \"{text}\" {wrong}")))
}

fn parameter(
    server: &mut UpstreamServer,
    run_time: &mut RunTime,
    level: &UpstreamLevel,
    field: Field<'_>,
) -> Parsed<()> {
    let text = field.arg.text();
    let invalid = || {
        let mut diagnostic = field.error(format!("invalid parameter \"{text}\""));
        let names = [
            "weight",
            "max_fails",
            "fail_timeout",
            "max_conns",
            "slow_start",
            "route",
            "backup",
            "down",
            "drain",
            "resolve",
            "service",
        ];
        let name = text.split('=').next().unwrap_or_default();
        match nearest(name, names).filter(|near| *near != name) {
            Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
            None => diagnostic.help(format!("parameters: {}", names.join(", "))),
        };
        diagnostic
    };
    let small = |value: &str| number(value).and_then(|n| u32::try_from(n).ok()).ok_or_else(invalid);
    match text.split_once('=') {
        Some(("weight", value)) => {
            server.weight = small(value).and_then(|n| if n == 0 { Err(invalid()) } else { Ok(n) })?
        }
        Some(("max_fails", value)) => server.max_fails = small(value)?,
        Some(("max_conns", value)) => server.max_conns = small(value)?,
        // nginx counts it in seconds.
        Some(("fail_timeout", value)) => {
            server.fail_timeout =
                milliseconds(value).filter(|ms| ms % 1000 == 0).map(Millis).ok_or_else(invalid)?;
        }
        Some(("slow_start", value)) => {
            supports(level, field, "slow_start")?;
            server.slow_start = milliseconds(value).map(Millis).ok_or_else(invalid)?;
        }
        Some(("route", value)) => {
            // nginx has room for so many.
            if value.is_empty() || value.len() > 32 {
                return Err(invalid());
            }
            server.route = value.into();
        }
        Some(("service", "")) => return Err(field.error("service is empty")),
        Some(("service", service)) => run_time.service = Some(service.into()),
        None if text == "backup" => {
            supports(level, field, "backup")?;
            server.backup = true;
        }
        None if text == "drain" => server.drain = true,
        None if text == "down" => server.down = true,
        None if text == "resolve" => run_time.resolve = true,
        _ => return Err(invalid()),
    }
    Ok(())
}

/// Methods that name the server themselves know neither.
fn supports(level: &UpstreamLevel, field: Field<'_>, parameter: &str) -> Parsed<()> {
    match level.balance {
        Some(Balance::IpHash | Balance::Hash | Balance::HashConsistent | Balance::Random(_)) => {
            Err(field.error(format!("balancing method does not support parameter \"{parameter}\"")))
        }
        Some(Balance::RoundRobin | Balance::LeastConn | Balance::LeastTime(_)) | None => Ok(()),
    }
}

/// `keepalive connections [local];`
///
/// # Errors
/// nginx's `invalid value "X" in "keepalive" directive`.
pub fn keepalive(level: &mut UpstreamLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let text = call.text(0);
    let count = number(&text).and_then(|n| usize::try_from(n).ok());
    let message = || call.first().error(format!("invalid value \"{text}\" in \"keepalive\" directive"));
    level.keepalive = Some(count.ok_or_else(message)?);
    if call.args().len() > 1 && !call.arg(1).arg.is("local") {
        return Err(call.arg(1).error(format!("invalid parameter \"{}\"", call.text(1))));
    }
    Ok(())
}
