//! `api`: what the process knows, and its upstream groups, as NGINX Plus' REST interface shows and changes them.
//!
//! ```text
//! /VERSION/nginx
//! /VERSION/processes  /VERSION/connections  /VERSION/http/requests       GET, DELETE counts anew
//! /VERSION/http/upstreams[/NAME[/servers[/ID]]]                          GET, DELETE; for servers POST and PATCH, too
//! /VERSION/http/limit_reqs[/NAME]  /limit_conns[/NAME]  /caches[/NAME]   GET, and for limits DELETE
//! /VERSION/slabs  /VERSION/http/server_zones  /location_zones  /keyvals  GET: there are none
//! ```
//! - [`views`]: what is shown;
//! - [`servers`]: how a group's servers are changed;
//! - [`zones`]: limits and caches;
//! - [`error`]: what is wrong with a request.
//!
//! Only what is really known is shown; what is not counted has no field. Any group of an `upstream` block may be changed,
//! with a `zone` or without.
//!
//! Reference: nginx's ngx_http_api_module (documentation).

mod error;
mod servers;
mod views;
mod zones;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Serialize;
use serde_json::Value;

use crate::buf::Chunk;
use crate::command::Report;
use crate::config::{LocationKind, Upstream};
use crate::conn::Link;
use crate::exchange::context::{Context, Generation};
use crate::exchange::request_body::Mode;
use crate::exchange::respond::LocalReply;
use crate::exchange::{Exchange, Stage};
use crate::http::{Method, Status};
use crate::shared::Baseline;
use crate::shared::upstream::GroupState;
use crate::upstream::watch;
use error::ApiError;

/// The versions of the interface that are answered; what they differ in is not there.
const VERSIONS: core::ops::RangeInclusive<u8> = 1..=9;

/// What a request gets.
struct Answer {
    status: Status,
    body: Value,
    /// The `Location` field.
    location: Option<String>,
}

/// Whom a request is about and with what.
struct Call<'a> {
    method: Method,
    /// The parts of the path behind the version.
    path: Vec<&'a str>,
    /// Where the API itself is, version included.
    base: String,
    /// `?fields=`
    fields: Option<Vec<&'a str>>,
    body: &'a [u8],
    generation: &'a Generation,
}

type Answered = Result<Answer, ApiError>;

/// Something was counted anew.
struct Done;

impl Exchange {
    /// `api`. A request with a body is answered when that is there.
    pub(crate) fn respond_api(&mut self, write: bool, link: &mut Link, ctx: &mut Context) {
        let changes = !matches!(self.method, Method::Get | Method::Head);
        if changes && write && self.body.mode() == Mode::Untouched {
            self.want_request_body(Mode::Buffer, link, ctx);
            if !self.body.is_complete() {
                self.gathers_for_content = true;
                self.stage = Stage::Gather;
                return self.set_body_deadline(link, ctx);
            }
        }
        let generation = Rc::clone(&self.generation);
        ctx.publish_tally();
        let body = self.body.held().to_vec();
        let (uri, args) = (self.facts.uri.clone(), self.facts.args.clone());
        let (uri, args) = (String::from_utf8_lossy(&uri), String::from_utf8_lossy(&args));
        let (base, path) = uri.split_at(self.api_base(&generation).min(uri.len()));
        let fields = args.split('&').find_map(|arg| arg.strip_prefix("fields="));
        let mut call = Call {
            method: self.method,
            path: path.split('/').filter(|part| !part.is_empty()).collect(),
            base: base.trim_end_matches('/').into(),
            fields: fields.map(|fields| fields.split(',').filter(|field| !field.is_empty()).collect()),
            body: &body,
            generation: &generation,
        };
        let answer = if changes && !write {
            Err(ApiError::METHOD_DISABLED)
        } else if self.body.spill().is_some() {
            Err(ApiError::BODY_TOO_LARGE)
        } else {
            route(&mut call, self, ctx)
        };
        if changes {
            watch::close_stale(ctx);
        }
        let answer = answer.unwrap_or_else(|error| error.answer(self.facts.request_id));
        let has_body = answer.status != Status(204);
        let body = if has_body { serde_json::to_vec(&answer.body).unwrap_or_default() } else { Vec::new() };
        let reply = LocalReply {
            status: answer.status,
            content_type: has_body.then(|| Chunk::from_static(b"application/json")),
            location: answer.location.map(String::into_bytes),
            body: Chunk::from_vec(body),
            ..LocalReply::default()
        };
        self.respond(reply, link, ctx);
    }

    /// Where the part of the URI ends that the location stands for.
    fn api_base(&self, generation: &Generation) -> usize {
        let Some(location) = generation.config.location(self.facts.found) else { return 0 };
        match location.kind {
            LocationKind::Exact | LocationKind::Prefix | LocationKind::PrefixNoRegex => {
                location.pattern.len()
            }
            LocationKind::Implicit
            | LocationKind::Regex
            | LocationKind::RegexNoCase
            | LocationKind::Predicate
            | LocationKind::Named => 0,
        }
    }
}

fn route(call: &mut Call<'_>, exchange: &Exchange, ctx: &mut Context) -> Answered {
    let Some((version, path)) = call.path.split_first() else {
        return call.read(|_| show(&VERSIONS.collect::<Vec<_>>()));
    };
    let known = version.parse::<u8>().ok().filter(|version| VERSIONS.contains(version));
    if known.is_none() {
        return Err(ApiError::UNKNOWN_VERSION);
    }
    call.base = format!("{}/{version}", call.base);
    let path = path.to_vec();
    if let Some(kind) = zones::kind_of(&path) {
        return zones::all(kind, call);
    }
    if let Some((name, kind)) = path.split_last().and_then(|(name, rest)| Some((name, zones::kind_of(rest)?)))
    {
        return zones::one(kind, name, call);
    }
    let (counters, base) = (&ctx.shared.counters, &ctx.shared.baseline);
    match path.as_slice() {
        [] => call.read(|_| show(&["nginx", "processes", "connections", "slabs", "http"])),
        ["nginx"] => call.read(|call| call.only(show(&views::nginx(call.generation, exchange, ctx)))),
        ["processes"] => {
            call.read_or_reset(|call| call.only(show(&views::Processes { respawned: 0 })), || Done)
        }
        ["connections"] => call.read_or_reset(
            |call| call.only(show(&views::connections(counters, base))),
            || {
                Baseline::restart(&counters.accepted, &base.accepted);
                Baseline::restart(&counters.handled, &base.handled);
                Done
            },
        ),
        ["http"] => call.read(|_| show(&HTTP)),
        ["http", "requests"] => call.read_or_reset(
            |call| call.only(show(&views::requests(counters, base))),
            || {
                Baseline::restart(&counters.requests, &base.requests);
                Done
            },
        ),
        ["http", "upstreams"] => call.read(|call| views::all_upstreams(call, ctx)),
        ["http", "upstreams", name] => {
            let (config, group) = find_group(call.generation, name, ctx)?;
            let shown = |call: &Call<'_>| call.only(views::upstream(config, &group, ctx.now.instant));
            call.read_or_reset(shown, || {
                group.reset_totals();
                Done
            })
        }
        ["http", "upstreams", name, "servers"] => {
            let (config, group) = find_group(call.generation, name, ctx)?;
            servers::all(call, config, &group, ctx)
        }
        ["http", "upstreams", name, "servers", id] => {
            let (config, group) = find_group(call.generation, name, ctx)?;
            servers::one(call, id, config, &group, ctx)
        }
        _ => Err(ApiError::PATH_NOT_FOUND),
    }
}

/// What there is below `/http`.
const HTTP: [&str; 8] = [
    "requests",
    "server_zones",
    "location_zones",
    "caches",
    "limit_conns",
    "limit_reqs",
    "keyvals",
    "upstreams",
];

/// The group of an `upstream` block.
fn find_group<'a>(
    generation: &'a Generation,
    name: &str,
    ctx: &Context,
) -> Result<(&'a Upstream, Arc<GroupState>), ApiError> {
    let config =
        generation.config.upstreams.iter().find(|upstream| upstream.explicit && &*upstream.name == name);
    config.zip(ctx.shared.upstreams.find(name)).ok_or(ApiError::UPSTREAM_NOT_FOUND)
}

/// The group has changed: its `state` file shall say so.
fn save(config: &Upstream, group: &GroupState, ctx: &mut Context) {
    let Some(path) = &config.state else { return };
    let (path, serial) = (Arc::clone(path), ctx.shared.next_save());
    let text = servers::state_text(&group.members());
    ctx.reports.push_back(Report::Save { path, serial, bytes: text.into_bytes() });
}

fn show(what: &impl Serialize) -> Value {
    serde_json::to_value(what).unwrap_or_default()
}

impl Call<'_> {
    /// Answers a request that only looks.
    fn read(&self, view: impl FnOnce(&Self) -> Value) -> Answered {
        if !matches!(self.method, Method::Get | Method::Head) {
            return Err(ApiError::METHOD_NOT_ALLOWED);
        }
        Ok(Answer { status: Status::OK, body: view(self), location: None })
    }

    /// Whether something is to be counted anew.
    fn resets(&self) -> bool {
        self.method == Method::Delete
    }

    /// Answers a request that looks, or begins to count anew.
    fn read_or_reset(&self, view: impl FnOnce(&Self) -> Value, reset: impl FnOnce() -> Done) -> Answered {
        if !self.resets() {
            return self.read(view);
        }
        let Done = reset();
        Ok(Answer { status: Status(204), body: Value::Null, location: None })
    }

    /// Leaves the fields that were asked for.
    fn only(&self, mut value: Value) -> Value {
        if let (Some(fields), Value::Object(object)) = (&self.fields, &mut value) {
            object.retain(|name, _| fields.contains(&name.as_str()));
        }
        value
    }
}
