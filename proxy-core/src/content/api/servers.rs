//! A group's servers in the API: shown, added, changed, removed; and the text of a `state` file.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::{Answer, Answered, Call, save, show};
use crate::config::{Balance, Endpoint, Upstream, UpstreamServer};
use crate::exchange::context::Context;
use crate::http::{Method, Status};
use crate::shared::upstream::{GroupState, Member, Members, Source};
use crate::time::{Millis, parse};

/// nginx has room for a route of so many bytes.
const ROUTE_BYTES_MAX: usize = 32;

/// A group has no more servers than this: more would be somebody's mistake in a loop.
const SERVERS_MAX: usize = 65_536;

#[derive(Serialize)]
struct Server<'a> {
    id: u64,
    server: String,
    weight: u32,
    max_conns: u32,
    max_fails: u32,
    fail_timeout: String,
    slow_start: String,
    route: &'a str,
    backup: bool,
    down: bool,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    drain: bool,
    /// The name that this address was found under.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

fn view(member: &Member) -> Value {
    let config = &member.config;
    show(&Server {
        id: member.state.id(),
        server: format!("{}", config.address),
        weight: config.weight,
        max_conns: config.max_conns,
        max_fails: config.max_fails,
        fail_timeout: time(config.fail_timeout),
        slow_start: time(config.slow_start),
        route: &config.route,
        backup: config.backup,
        down: config.down,
        drain: config.drain,
        host: (member.source == Source::Found).then_some(&config.name),
    })
}

fn time(span: Millis) -> String {
    if span.0.is_multiple_of(1000) { format!("{}s", span.0 / 1000) } else { format!("{}ms", span.0) }
}

fn list(members: &Members) -> Value {
    Value::Array(members.servers.iter().map(view).collect())
}

/// `/http/upstreams/NAME/servers`
pub(super) fn all(call: &Call<'_>, config: &Upstream, group: &GroupState, ctx: &mut Context) -> Answered {
    if call.method != Method::Post {
        return call.read(|_| list(&group.members()));
    }
    let fields = object(call.body)?;
    let address = fields.get("server").ok_or(ApiError::NO_SERVER)?;
    let mut server = address_of(address)?;
    // Behind all `server` lines.
    server.line = u32::MAX;
    change(&mut server, &fields, config)?;
    if group.members().servers.len() >= SERVERS_MAX {
        let text = format!("upstream \"{}\" has too many servers", config.name);
        return Err(ApiError::about(409, text, "UpstreamNotEnoughMemory"));
    }
    let id = group.add(server, Source::Control, ctx.now.instant);
    save(config, group, ctx);
    let location = format!("{}/http/upstreams/{}/servers/{id}", call.base, config.name);
    let body = group.members().by_id(id).map(view).unwrap_or_default();
    Ok(Answer { status: Status(201), body, location: Some(location) })
}

/// `/http/upstreams/NAME/servers/ID`
pub(super) fn one(
    call: &Call<'_>,
    id: &str,
    config: &Upstream,
    group: &GroupState,
    ctx: &mut Context,
) -> Answered {
    let id = id.parse::<u64>().map_err(|_| ApiError::SERVER_ID)?;
    let members = group.members();
    let missing =
        || ApiError::about(404, format!("server with ID \"{id}\" does not exist"), "UpstreamServerNotFound");
    let member = members.by_id(id).ok_or_else(missing)?;
    let immutable = |what: &str, code| ApiError::about(400, format!("server \"{id}\" {what}"), code);
    let is_found = member.source == Source::Found;
    if call.method == Method::Delete && is_found {
        return Err(immutable("not removable", "UpstreamServerImmutable"));
    }
    let body = if call.method == Method::Patch {
        let fields = object(call.body)?;
        let mut server = member.config.clone();
        if is_found && fields.contains_key("server") {
            return Err(immutable("address is immutable", "UpstreamServerImmutable"));
        }
        if is_found && fields.contains_key("weight") && is_of_service(member, config) {
            return Err(immutable("weight is immutable", "UpstreamServerWeightImmutable"));
        }
        if let Some(address) = fields.get("server") {
            let new = address_of(address)?;
            (server.address, server.name) = (new.address, new.name);
        }
        change(&mut server, &fields, config)?;
        group.change(id, ctx.now.instant, |present| *present = server);
        save(config, group, ctx);
        group.members().by_id(id).map(view).ok_or_else(missing)?
    } else if call.method == Method::Delete {
        group.remove(id, ctx.now.instant);
        save(config, group, ctx);
        list(&group.members())
    } else {
        return call.read(|_| view(member));
    };
    Ok(Answer { status: Status::OK, body, location: None })
}

/// Whether its weight is that of a record of its service.
fn is_of_service(member: &Member, config: &Upstream) -> bool {
    config.names.iter().any(|name| name.server.line == member.config.line && name.service.is_some())
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(ApiError::JSON),
    }
}

/// A server at an address, with everything else by default.
fn address_of(value: &Value) -> Result<UpstreamServer, ApiError> {
    let text = value.as_str().ok_or_else(|| ApiError::bad("server", "UpstreamBadAddress"))?;
    let wrong = |error: &str| {
        let text = format!("{error} in upstream \"{text}\" while parsing");
        ApiError::about(400, text, "UpstreamBadAddress")
    };
    let (endpoint, end) = Endpoint::split(text.as_bytes()).map_err(wrong)?;
    if end < text.len() {
        return Err(wrong("invalid host"));
    }
    let address = endpoint.literal(crate::config::HTTP_PORT).ok_or(ApiError::NO_RESOLVER)?;
    Ok(UpstreamServer { name: text.into(), ..UpstreamServer::new(address) })
}

/// Does what the fields say.
fn change(
    server: &mut UpstreamServer,
    fields: &Map<String, Value>,
    config: &Upstream,
) -> Result<(), ApiError> {
    for (name, value) in fields {
        if value.is_object() || value.is_array() {
            return Err(ApiError::NESTED);
        }
        let number = |code| {
            value.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| ApiError::bad(name, code))
        };
        let flag = || value.as_bool().ok_or_else(|| ApiError::bad(name, "UpstreamConfFormatError"));
        let span = |code| {
            let text = value.as_str().map(String::from).or_else(|| value.as_u64().map(|n| format!("{n}")));
            let ms = text.and_then(|text| parse(&text, false));
            ms.map(Millis).ok_or_else(|| ApiError::bad(name, code))
        };
        match name.as_str() {
            // The caller has it; the server knows its id.
            "server" => {}
            "id" if value.as_u64().is_some() => {}
            "weight" => {
                server.weight = number("UpstreamBadWeight")?;
                if server.weight == 0 {
                    return Err(ApiError::bad(name, "UpstreamBadWeight"));
                }
            }
            "max_conns" => server.max_conns = number("UpstreamBadMaxConns")?,
            "max_fails" => server.max_fails = number("UpstreamBadMaxFails")?,
            "fail_timeout" => server.fail_timeout = span("UpstreamBadFailTimeout")?,
            "slow_start" => server.slow_start = span("UpstreamBadSlowStart")?,
            "route" => {
                let route = value.as_str().ok_or_else(|| ApiError::bad(name, "UpstreamBadRoute"))?;
                if route.len() > ROUTE_BYTES_MAX {
                    return Err(ApiError::BAD_ROUTE);
                }
                server.route = route.into();
            }
            "backup" => {
                server.backup = flag()?;
                if server.backup && !has_backup(config.balance) {
                    let text = format!("upstream \"{}\" has no backup", config.name);
                    return Err(ApiError::about(400, text, "UpstreamNoBackup"));
                }
            }
            "down" => server.down = flag()?,
            "drain" => server.drain = flag()?,
            "service" => return Err(ApiError::NO_RESOLVER),
            _ => {
                let text = format!("unknown parameter \"{name}\"");
                return Err(ApiError::about(400, text, "UpstreamConfFormatError"));
            }
        }
    }
    Ok(())
}

/// Methods that name the server themselves have none.
const fn has_backup(balance: Balance) -> bool {
    matches!(balance, Balance::RoundRobin | Balance::LeastConn | Balance::LeastTime(_))
}

/// The servers as `server` lines: what a `state` file holds.
pub(super) fn state_text(members: &Members) -> String {
    let mut text = String::new();
    for member in members.servers.iter().filter(|member| member.source != Source::Found) {
        let (config, plain) = (&member.config, UpstreamServer::new(member.config.address.clone()));
        let _ = write!(text, "server {}", config.address);
        let mut words: Vec<String> = Vec::new();
        let mut number = |name: &str, value: u32, default: u32| {
            if value != default {
                words.push(format!("{name}={value}"));
            }
        };
        number("weight", config.weight, plain.weight);
        number("max_conns", config.max_conns, plain.max_conns);
        number("max_fails", config.max_fails, plain.max_fails);
        if config.fail_timeout != plain.fail_timeout {
            words.push(format!("fail_timeout={}", time(config.fail_timeout)));
        }
        if config.slow_start != plain.slow_start {
            words.push(format!("slow_start={}", time(config.slow_start)));
        }
        if !config.route.is_empty() {
            words.push(format!("route=\"{}\"", config.route.replace('\\', "\\\\").replace('"', "\\\"")));
        }
        let flags = [("backup", config.backup), ("down", config.down), ("drain", config.drain)];
        words.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| String::from(*name)));
        for word in words {
            let _ = write!(text, " {word}");
        }
        text.push_str(";\n");
    }
    text
}
