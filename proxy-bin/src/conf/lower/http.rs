//! The `http` block: from checked directives to servers and locations.
//!
//! Two passes. The first walks the text in order and lets every directive take effect on its own level, giving a tree
//! of [`Node`]s. The second walks that tree from the top and resolves inheritance, giving the core's locations; levels
//! that say nothing of their own share their parent's settings.

use std::collections::HashMap;
use std::sync::Arc;

use proxy_core::config::{
    Access, AccessLog, Content, CoreSettings, ErrorLogRef, Filters, Geo, LimitExcept, Limits, Location,
    LocationId, LocationKind, LogFile, LogSink, LogTarget, Map, Mirrors, Origin, ProxyHttpVersion, RealIp,
    RewriteLine, RewriteOp, Server, ServerId, SplitClients, Variable, Vetting,
};
use proxy_core::route::{LocationTree, LocationTreeBuilder, Regex};

use super::access::{self, AccessLevel};
use super::context::{Call, Context, Place};
use super::core::CoreLevel;
use super::filter::FilterLevel;
use super::gateway::Gateways;
use super::level::{Level, OwnContent};
use super::limits::LimitLevel;
use super::listen::{self, Listen, Name};
use super::mirror::MirrorLevel;
use super::proxy::{ProxyLevel, ProxyShared};
use super::real_ip::RealIpLevel;
use super::server::ServerLevel;
use super::stapling::Asker;
use super::upstream::Upstreams;
use super::upstream_tls::TlsPair;
use super::vetting::VettingLevel;
use super::{apply, geo, health, location, logs, map, rewrite, split_clients, upstream};
use crate::conf::diagnostic::Diagnostic;
use crate::conf::directive::Checked;
use crate::conf::span::Span;
use crate::conf::tree::Directive;

/// What the `http` block gives.
#[derive(Debug, Default)]
pub struct Http {
    /// The servers.
    pub servers: Vec<Server>,
    /// What they listen on and their names.
    pub listens: Vec<(ServerId, Vec<Listen>, Vec<Name>)>,
    /// All locations, by id.
    pub locations: Vec<Location>,
    /// The maps, by id.
    pub maps: Vec<Map>,
    /// The geo blocks, by id.
    pub geos: Vec<Geo>,
    /// The split_clients blocks, by id.
    pub splits: Vec<SplitClients>,
}

/// Named locations by name.
type Named = Vec<(Box<[u8]>, LocationId)>;

/// A level below `http`.
struct Node<'a> {
    directive: &'a Directive,
    id: LocationId,
    kind: LocationKind,
    pattern: Vec<u8>,
    regex: Option<Regex>,
    variable: Option<Variable>,
    level: Level,
    locations: Vec<Self>,
    /// `if` and `limit_except` blocks.
    ifs: Vec<Self>,
}

impl<'a> Node<'a> {
    /// A level that is found by no pattern.
    fn implicit(directive: &'a Directive, id: LocationId) -> Self {
        Self {
            directive,
            id,
            kind: LocationKind::Implicit,
            pattern: Vec::new(),
            regex: None,
            variable: None,
            level: Level::default(),
            locations: Vec::new(),
            ifs: Vec::new(),
        }
    }
}

impl Node<'_> {
    /// The server's names are known: they count in `valid_referers server_names` here and inside.
    fn tell_names(&mut self, names: &[Name]) {
        if let Some(vetting) = &mut self.level.vetting {
            vetting.add_server_names(names);
        }
        self.locations.iter_mut().chain(&mut self.ifs).for_each(|inner| inner.tell_names(names));
    }
}

/// The settings that hold at a level, all inheritance resolved.
#[derive(Clone)]
struct Settings {
    core: Arc<CoreLevel>,
    core_done: Arc<CoreSettings>,
    mirror: Arc<MirrorLevel>,
    mirror_done: Option<Arc<Mirrors>>,
    filter: Arc<FilterLevel>,
    filter_done: Option<Arc<Filters>>,
    proxy: Arc<ProxyLevel>,
    proxy_done: Arc<ProxyShared>,
    gateways: Gateways,
    grpc: Arc<ProxyLevel>,
    grpc_done: Arc<ProxyShared>,
    limits: Arc<LimitLevel>,
    limits_done: Option<Arc<Limits>>,
    access: Arc<AccessLevel>,
    access_done: Option<Arc<Access>>,
    real_ip: Arc<RealIpLevel>,
    real_ip_done: Option<Arc<RealIp>>,
    vetting: Arc<VettingLevel>,
    vetting_done: Option<Arc<Vetting>>,
    access_logs: Arc<[AccessLog]>,
    server: ServerLevel,
}

/// Lowers the block; `main_logs` are the top level's error logs.
pub fn http(cx: &mut Context<'_>, block: &Checked<'_>, main_logs: &[ErrorLogRef]) -> Http {
    let mut lower = Lower {
        cx,
        main_logs,
        next: 0,
        server: ServerId(0),
        maps: Vec::new(),
        geos: Vec::new(),
        splits: Vec::new(),
    };
    let mut level = Level::default();
    let mut servers = Vec::new();
    for child in &block.children {
        match child.entry.name {
            "server" => servers.push(lower.server_node(child)),
            "upstream" => upstream::upstream(lower.cx, child),
            "map" => lower.map(child.directive),
            "geo" => lower.geo(child.directive),
            "split_clients" => lower.split_clients(child.directive),
            "match" => health::match_block(lower.cx, child.directive),
            _ => apply::level(lower.cx, child, Place::NONE, &mut level),
        }
    }
    let settings = lower.top(level);
    lower.finish(servers, &settings)
}

struct Lower<'l, 'e> {
    cx: &'l mut Context<'e>,
    main_logs: &'l [ErrorLogRef],
    next: u32,
    /// The server whose levels are being resolved.
    server: ServerId,
    maps: Vec<(u32, Map)>,
    geos: Vec<(u32, Geo)>,
    splits: Vec<(u32, SplitClients)>,
}

impl Lower<'_, '_> {
    fn next_id(&mut self) -> LocationId {
        self.next += 1;
        LocationId(self.next - 1)
    }

    fn map(&mut self, directive: &Directive) {
        let Some(map) = map::map(self.cx, directive) else { return };
        let Some(id) = self.cx.variables.map(&map.name) else { return };
        // nginx lets the last map of a name win.
        self.maps.retain(|(other, _)| *other != id.0);
        self.maps.push((id.0, map));
    }

    fn geo(&mut self, directive: &Directive) {
        let Some(geo) = geo::geo(self.cx, directive) else { return };
        let Some(id) = self.cx.variables.geo(&geo.name) else { return };
        self.geos.retain(|(other, _)| *other != id.0);
        self.geos.push((id.0, geo));
    }

    fn split_clients(&mut self, directive: &Directive) {
        let Some(split) = split_clients::split_clients(self.cx, directive) else { return };
        let Some(id) = self.cx.variables.split(&split.name) else { return };
        self.splits.retain(|(other, _)| *other != id.0);
        self.splits.push((id.0, split));
    }

    fn server_node<'a>(&mut self, block: &Checked<'a>) -> Node<'a> {
        let mut node = Node::implicit(block.directive, self.next_id());
        self.children(block, &mut node, false);
        // A `listen` that did not even pass the table must not be replaced by the default one either.
        let written = block.directive.children().iter().any(|child| child.name.is("listen"));
        node.level.own.listen_written = written;
        node
    }

    fn children<'a>(&mut self, block: &Checked<'a>, node: &mut Node<'a>, is_if: bool) {
        for child in &block.children {
            match child.entry.name {
                "location" => self.location_node(child, node),
                "if" => self.if_node(child, node),
                "limit_except" => self.limit_except_node(child, node),
                _ => {
                    let place = Place { kind: node.kind, pattern: &node.pattern, is_if };
                    apply::level(self.cx, child, place, &mut node.level);
                }
            }
        }
    }

    fn location_node<'a>(&mut self, block: &Checked<'a>, outer: &mut Node<'a>) {
        let place = Place { kind: outer.kind, pattern: &outer.pattern, is_if: false };
        let mut call = Call { cx: self.cx, directive: block.directive, place };
        let head = match location::head(&mut call) {
            Ok(head) => head,
            Err(error) => return self.cx.record(Err(error)),
        };
        let id = self.next_id();
        let mut node = Node {
            kind: head.kind,
            pattern: head.pattern,
            regex: head.regex,
            variable: head.variable,
            ..Node::implicit(block.directive, id)
        };
        self.children(block, &mut node, false);
        outer.locations.push(node);
    }

    fn if_node<'a>(&mut self, block: &Checked<'a>, outer: &mut Node<'a>) {
        let place = Place { kind: outer.kind, pattern: &outer.pattern, is_if: false };
        let mut call = Call { cx: self.cx, directive: block.directive, place };
        let condition = match rewrite::condition(&mut call) {
            Ok(condition) => condition,
            Err(error) => return self.cx.record(Err(error)),
        };
        let origin = call.origin();
        let mut node = Node::implicit(block.directive, self.next_id());
        self.children(block, &mut node, true);
        let body = std::mem::take(&mut node.level.own.rewrite).into();
        let op = RewriteOp::If { condition, body, location: node.id };
        outer.level.own.rewrite.push(RewriteLine { op, origin });
        outer.ifs.push(node);
    }

    fn limit_except_node<'a>(&mut self, block: &Checked<'a>, outer: &mut Node<'a>) {
        let place = Place { kind: outer.kind, pattern: &outer.pattern, is_if: false };
        let call = Call { cx: self.cx, directive: block.directive, place };
        let methods = match access::methods(&call) {
            Ok(methods) => methods,
            Err(error) => return self.cx.record(Err(error)),
        };
        let mut node = Node::implicit(block.directive, self.next_id());
        self.children(block, &mut node, true);
        outer.level.own.limit_except = Some(LimitExcept { methods, location: node.id });
        outer.ifs.push(node);
    }

    /// The settings of the `http` level.
    fn top(&mut self, level: Level) -> Settings {
        let core = Arc::new(level.core.unwrap_or_default());
        let filter = Arc::new(level.filter.unwrap_or_default());
        Upstreams::resolve_names(self.cx, core.resolver, core.resolver_timeout);
        let mirror = Arc::new(level.mirror.unwrap_or_default());
        let proxy = Arc::new(level.proxy.unwrap_or_default());
        let grpc = Arc::new(level.grpc.unwrap_or_default());
        let limits = Arc::new(level.limits.unwrap_or_default());
        let access = Arc::new(level.access.unwrap_or_default());
        let real_ip = Arc::new(level.real_ip.unwrap_or_default());
        let vetting = Arc::new(level.vetting.unwrap_or_default());
        let access_logs = level.access_logs.unwrap_or_else(|| self.default_access_logs());
        Settings {
            core_done: Arc::new(core.finish(self.cx.env, self.main_logs)),
            core,
            filter_done: filter.finish(),
            filter,
            mirror_done: mirror.finish(),
            mirror,
            proxy_done: Arc::new(proxy.finish(self.cx)),
            proxy,
            gateways: Gateways::top(level.gateways, self.cx),
            grpc_done: Arc::new(grpc.finish_grpc()),
            grpc,
            limits_done: limits.finish(),
            limits,
            access_done: access.finish(),
            access,
            vetting_done: vetting.finish(),
            vetting,
            real_ip_done: real_ip.finish(),
            real_ip,
            access_logs: access_logs.into(),
            server: level.server,
        }
    }

    fn default_access_logs(&mut self) -> Vec<AccessLog> {
        let path = self.cx.env.prefix.join(self.cx.env.access_log);
        let sink = LogSink::File(path.to_string_lossy().as_ref().into());
        let format = logs::combined(self.cx);
        let id = self.cx.logs.access(LogFile { sink, buffer_bytes: 0, flush: None, gzip_level: None });
        id.map(|id| AccessLog { target: LogTarget::File(id), format, condition: None }).into_iter().collect()
    }

    /// The settings of a level inside `outer`.
    fn settings(&mut self, level: &mut Level, outer: &Settings) -> Settings {
        let mut settings = outer.clone();
        if let Some(mut core) = level.core.take() {
            core.inherit(&outer.core);
            settings.core_done = Arc::new(core.finish(self.cx.env, self.main_logs));
            settings.core = Arc::new(core);
        }
        if let Some(mut mirror) = level.mirror.take() {
            mirror.inherit(&outer.mirror);
            settings.mirror_done = mirror.finish();
            settings.mirror = Arc::new(mirror);
        }
        if let Some(mut filter) = level.filter.take() {
            filter.inherit(&outer.filter);
            settings.filter_done = filter.finish();
            settings.filter = Arc::new(filter);
        }
        if let Some(mut proxy) = level.proxy.take() {
            proxy.inherit(&outer.proxy);
            settings.proxy_done = Arc::new(proxy.finish(self.cx));
            settings.proxy = Arc::new(proxy);
        }
        settings.gateways.descend(&mut level.gateways, self.cx);
        if let Some(mut grpc) = level.grpc.take() {
            grpc.inherit(&outer.grpc);
            settings.grpc_done = Arc::new(grpc.finish_grpc());
            settings.grpc = Arc::new(grpc);
        }
        if let Some(mut limits) = level.limits.take() {
            limits.inherit(&outer.limits);
            settings.limits_done = limits.finish();
            settings.limits = Arc::new(limits);
        }
        if let Some(mut access) = level.access.take() {
            access.inherit(&outer.access);
            settings.access_done = access.finish();
            settings.access = Arc::new(access);
        }
        if let Some(mut real_ip) = level.real_ip.take() {
            real_ip.inherit(&outer.real_ip);
            settings.real_ip_done = real_ip.finish();
            settings.real_ip = Arc::new(real_ip);
        }
        if let Some(mut vetting) = level.vetting.take() {
            vetting.inherit(&outer.vetting);
            settings.vetting_done = vetting.finish();
            settings.vetting = Arc::new(vetting);
        }
        if let Some(logs) = level.access_logs.take() {
            settings.access_logs = logs.into();
        }
        settings
    }

    fn finish(mut self, nodes: Vec<Node<'_>>, settings: &Settings) -> Http {
        let mut http = Http::default();
        let mut locations = Vec::new();
        for node in nodes {
            let id = ServerId(u32::try_from(http.servers.len()).unwrap_or(u32::MAX));
            self.server = id;
            let (server, listens, names) = self.server(node, settings, &mut locations);
            http.servers.push(server);
            http.listens.push((id, listens, names));
        }
        locations.sort_by_key(|(id, _)| *id);
        http.locations = locations.into_iter().map(|(_, location)| location).collect();
        self.geos.sort_by_key(|(id, _)| *id);
        http.geos = self.geos.into_iter().map(|(_, geo)| geo).collect();
        self.splits.sort_by_key(|(id, _)| *id);
        http.splits = self.splits.into_iter().map(|(_, split)| split).collect();
        self.maps.sort_by_key(|(id, _)| *id);
        http.maps = self.maps.into_iter().map(|(_, map)| map).collect();
        http
    }

    fn server(
        &mut self,
        mut node: Node<'_>,
        outer: &Settings,
        out: &mut Vec<(LocationId, Location)>,
    ) -> (Server, Vec<Listen>, Vec<Name>) {
        node.level.server.inherit(&outer.server);
        let limits = node.level.server.clone();
        let mut listens = std::mem::take(&mut node.level.own.listens);
        if listens.is_empty() && !node.level.own.listen_written {
            listens.push(listen::default_listen(self.cx.env, node.directive.name.span));
        }
        let mut names = std::mem::take(&mut node.level.own.names);
        if names.is_empty() {
            names.push(Name::none());
        }
        node.tell_names(&names);
        let rewrite = std::mem::take(&mut node.level.own.rewrite).into();
        let origin = self.cx.origin(node.directive.name.span);
        let root = node.id;
        let asker = Asker::of(node.level.core.as_ref(), &outer.core);
        let tls = limits.tls.finish(asker, self.cx);
        let (tree, named) = self.node(node, outer, None, out);
        let default = Server::default();
        let server = Server {
            name: names.first().map(|name| name.shown.as_slice().into()).unwrap_or_default(),
            root,
            tree,
            named,
            rewrite,
            client_header_timeout: limits.client_header_timeout.unwrap_or(default.client_header_timeout),
            client_header_buffer_bytes: limits
                .client_header_buffer_size
                .unwrap_or(default.client_header_buffer_bytes),
            large_client_header_buffers: limits
                .large_client_header_buffers
                .unwrap_or(default.large_client_header_buffers),
            headers_max: limits.max_headers.unwrap_or(default.headers_max),
            ignore_invalid_headers: limits.ignore_invalid_headers.unwrap_or(default.ignore_invalid_headers),
            underscores_in_headers: limits.underscores_in_headers.unwrap_or(default.underscores_in_headers),
            merge_slashes: limits.merge_slashes.unwrap_or(default.merge_slashes),
            tls,
            http2: limits.http2.unwrap_or(default.http2),
            http2_streams_max: limits.http2_max_concurrent_streams.unwrap_or(default.http2_streams_max),
            http2_preread_bytes: limits.http2_body_preread_size.unwrap_or(default.http2_preread_bytes),
            origin,
        };
        (server, listens, names)
    }

    /// Resolves a level and all inside it; gives the search tree of its locations and the named ones.
    fn node(
        &mut self,
        mut node: Node<'_>,
        outer: &Settings,
        inherited: Option<&OwnContent>,
        out: &mut Vec<(LocationId, Location)>,
    ) -> (LocationTree, Named) {
        let settings = self.settings(&mut node.level, outer);
        let content = node.level.own.content.take().or_else(|| inherited.cloned());
        for inner in std::mem::take(&mut node.ifs) {
            // Such a block hands requests to whoever answers at the level around it.
            self.node(inner, &settings, content.as_ref(), out);
        }
        let nested = std::mem::take(&mut node.locations);
        let found = self.tree(nested, &settings, out);
        let origin = self.cx.origin(node.directive.name.span);
        let checks = std::mem::take(&mut node.level.own.health_checks);
        let id = node.id;
        let tls = match &content {
            Some(OwnContent::Pass(pass)) => {
                let http2 = settings.proxy.http_version == Some(ProxyHttpVersion::Http2);
                if http2 && settings.proxy.proxy_protocol.flatten().is_some() {
                    // A connection that speaks for one client cannot be shared.
                    let text = "\"proxy_protocol\" and \"proxy_http_version 2\" exclude each other";
                    self.cx.diagnostics.push(Diagnostic::emerg(node.directive.name.span, text));
                }
                settings.proxy.tls.of_pass(pass, http2, self.cx)
            }
            Some(OwnContent::Grpc(pass)) => settings.grpc.tls.of_grpc(pass, self.cx),
            Some(
                OwnContent::Gateway(..)
                | OwnContent::StubStatus
                | OwnContent::EmptyGif
                | OwnContent::Api { .. },
            )
            | None => (None, None),
        };
        let location = location(node, &settings, content.as_ref(), tls, origin);
        health::attach(self.cx, checks, &location.content, self.server, id);
        out.push((id, location));
        found
    }

    fn tree(
        &mut self,
        nodes: Vec<Node<'_>>,
        settings: &Settings,
        out: &mut Vec<(LocationId, Location)>,
    ) -> (LocationTree, Named) {
        let mut builder = LocationTreeBuilder::default();
        let mut named = Named::new();
        let mut seen: HashMap<(bool, bool, Vec<u8>), Span> = HashMap::new();
        for node in nodes {
            let (regex, variable) = (node.regex.clone(), node.variable.clone());
            let (kind, id, pattern) = (node.kind, node.id, node.pattern.clone());
            let (is_named, exact) = (kind == LocationKind::Named, kind == LocationKind::Exact);
            let head = (node.directive.span, node.directive.terminator());
            let (nested, _) = self.node(node, settings, None, out);
            let auto_redirect = out.last().is_some_and(|(_, location)| location.auto_redirect);
            if let Some(regex) = regex {
                // The pattern compiled before, so the set cannot refuse it but for its size.
                if let Err(error) = builder.add_regex(regex, id, nested) {
                    self.cx.diagnostics.push(Diagnostic::emerg(head.0, error));
                }
                continue;
            }
            if let Some(variable) = variable {
                builder.add_predicate(variable, id, nested);
                continue;
            }
            if let Some(first) = seen.insert((is_named, exact, pattern.clone()), head.0) {
                self.cx.diagnostics.push(duplicate(is_named, &pattern, head, first));
            } else if is_named {
                named.push((pattern.into(), id));
            } else {
                // Duplicates were found above.
                let _ = builder.add_text(kind, &pattern, id, auto_redirect, nested);
            }
        }
        (builder.build(), named)
    }
}

/// Of two named locations nginx takes the first without a word; any other pair is an error.
fn duplicate(is_named: bool, pattern: &[u8], (span, terminator): (Span, Span), first: Span) -> Diagnostic {
    let pattern = String::from_utf8_lossy(pattern);
    let mut diagnostic = if is_named {
        Diagnostic::warn(span, format!("duplicate location \"@{pattern}\", ignored"))
    } else {
        Diagnostic::emerg(span, format!("duplicate location \"{pattern}\""))
    };
    diagnostic.anchor(terminator).label(first, "first here");
    diagnostic
}

fn location(
    node: Node<'_>,
    settings: &Settings,
    content: Option<&OwnContent>,
    tls: TlsPair,
    origin: Origin,
) -> Location {
    let content = match content {
        None => Content::Files,
        Some(OwnContent::StubStatus) => Content::StubStatus,
        Some(OwnContent::Api { write }) => Content::Api { write: *write },
        Some(OwnContent::EmptyGif) => Content::EmptyGif,
        Some(OwnContent::Gateway(family, pass)) => {
            Content::Proxy(Arc::new(settings.gateways.proxy(*family, pass)))
        }
        Some(OwnContent::Pass(pass)) => {
            Content::Proxy(Arc::new(settings.proxy.proxy(&settings.proxy_done, pass, tls)))
        }
        Some(OwnContent::Grpc(pass)) => {
            Content::Proxy(Arc::new(settings.grpc.grpc(&settings.grpc_done, pass, tls)))
        }
    };
    // nginx redirects `/name` to `/name/` where the latter is proxied.
    let auto_redirect =
        matches!(content, Content::Proxy(_)) && node.pattern.ends_with(b"/") && node.regex.is_none();
    Location {
        kind: node.kind,
        pattern: node.pattern.into(),
        internal: node.level.own.internal,
        auto_redirect,
        rewrite: node.level.own.rewrite.into(),
        access: settings.access_done.clone(),
        real_ip: settings.real_ip_done.clone(),
        vetting: settings.vetting_done.clone(),
        limit_except: node.level.own.limit_except,
        content,
        script: settings.gateways.script(),
        try_files: node.level.own.try_files,
        core: settings.core_done.clone(),
        limits: settings.limits_done.clone(),
        filters: settings.filter_done.clone(),
        mirrors: settings.mirror_done.clone(),
        access_logs: settings.access_logs.clone(),
        origin,
    }
}
