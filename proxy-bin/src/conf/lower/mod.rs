//! From checked directives to [`proxy_core::config::Config`]: values, inheritance, names, addresses.
//!
//! What each directive does is its entry's `effect` (see [`directive`](super::directive)); it stores a typed value in
//! the raw struct of its family for the level at which it stands ([`level`]). [`http`] then resolves inheritance from
//! the top. Mistakes never stop the walk: one run finds them all.

pub mod access;
pub mod address;
pub mod apply;
pub mod balance;
pub mod cache;
pub mod charset;
pub mod cidr;
pub mod context;
pub mod core;
pub mod error_page;
pub mod files;
pub mod filter;
pub mod gateway;
pub mod geo;
pub mod grpc;
pub mod health;
pub mod http;
pub mod http2;
pub mod level;
pub mod limits;
pub mod listen;
pub mod location;
pub mod logs;
pub mod map;
pub mod mirror;
pub mod process;
pub mod proxy;
pub mod proxy_pass;
pub mod proxy_rules;
pub mod real_ip;
pub mod resolve;
pub mod resolver;
pub mod rewrite;
pub mod server;
pub mod split_clients;
pub mod stapling;
pub mod store;
pub mod syslog;
pub mod template;
pub mod tls;
pub mod tls_values;
pub mod upstream;
pub mod upstream_tls;
pub mod variables;
pub mod vetting;
pub mod visitor;

use proxy_core::command::Level as LogLevel;
use proxy_core::config::{Config, LogSink};
use proxy_core::http::HeaderId;

pub use context::Environment;
pub use process::ProcessSettings;
pub use resolve::{Resolve, SystemResolver};

use self::context::Context;
use self::process::ProcessLevel;
use super::diagnostic::Diagnostic;
use super::directive::Checked;
use super::span::Sources;
use crate::tls_files::Watched;

/// A configuration, compiled.
#[derive(Debug)]
pub struct Lowered {
    /// What the core and the driver obey.
    pub config: Config,
    /// What the binary obeys.
    pub process: ProcessSettings,
    /// Certificates with the files that they came from.
    pub certificates: Vec<Watched>,
}

/// The top level and `events`.
fn process_level(cx: &mut Context<'_>, tree: &[Checked<'_>], env: &Environment<'_>) -> ProcessLevel {
    let mut top = ProcessLevel::default();
    for item in tree {
        apply::process(cx, item, &mut top);
        if item.entry.name == "events" {
            item.children.iter().for_each(|child| apply::process(cx, child, &mut top));
        }
    }
    if top.error_logs.is_empty() {
        let sink = main_error_log(env);
        top.error_logs.push(cx.logs.error(sink, LogLevel::Error));
    }
    top
}

/// Lowers a checked tree. The result is only good if `diagnostics` holds no errors afterwards.
pub fn lower(
    tree: &[Checked<'_>],
    sources: &Sources,
    env: &Environment<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Lowered {
    let mut cx = Context::new(env, sources);
    let top = process_level(&mut cx, tree, env);
    let blocks = || tree.iter().filter(|item| item.entry.name == "http");
    for block in blocks() {
        cx.variables.declare(block.directive);
        cx.upstreams.declare(block.directive);
    }
    // The table lets `http` stand only once.
    let http = blocks().next().map(|block| http::http(&mut cx, block, &top.error_logs)).unwrap_or_default();
    let listeners = listen::listeners(&mut cx, &http.listens, &http.servers);
    let Context {
        diagnostics: mut found,
        variables,
        logs,
        charsets,
        upstreams,
        zones,
        caches,
        resolvers,
        certificates,
        staplings,
        ..
    } = cx;
    let reads_counters = variables.reads_counters;
    let (slots, set_slots) = variables.finish(&mut found);
    let limit_zones = zones.finish(&mut found);
    let caches = caches.finish(&mut found);
    diagnostics.append(&mut found);
    let config = Config {
        generation: env.generation,
        process: top.process.clone(),
        listeners,
        servers: http.servers,
        locations: http.locations,
        upstreams: upstreams.finish(),
        resolvers,
        staplings,
        logs: logs.access,
        error_logs: logs.errors,
        limit_zones,
        caches,
        reads_counters,
        maps: http.maps,
        geos: http.geos,
        splits: http.splits,
        charsets,
        slots,
        set_slots,
        hostname: env.hostname.into(),
    };
    Lowered { config, process: settings(top, env), certificates }
}

fn main_error_log(env: &Environment<'_>) -> LogSink {
    if env.error_log.as_os_str() == "stderr" {
        return LogSink::Stderr;
    }
    LogSink::File(env.prefix.join(env.error_log).to_string_lossy().as_ref().into())
}

fn settings(top: ProcessLevel, env: &Environment<'_>) -> ProcessSettings {
    ProcessSettings {
        daemon: top.daemon.unwrap_or(true),
        pid: top.pid.unwrap_or_else(|| env.prefix.join(env.pid)),
        user: top.user,
        working_directory: top.working_directory,
        env: top.env,
    }
}

/// The id of a field name.
fn header_id(name: &[u8]) -> HeaderId {
    let found = HeaderId::ALL.iter().find(|(_, known)| name.eq_ignore_ascii_case(known));
    found.map_or(HeaderId::Other, |(id, _)| *id)
}
