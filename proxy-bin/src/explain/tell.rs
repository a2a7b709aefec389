//! From what happened to what is told.

use proxy_core::command::{Address, ConnectOptions, FileInfo, FileKind, IoError};
use proxy_core::config::{Config, LimitKind, LocationId, LogId, LogSink, MapId, Origin, ServerId, ZoneId};
use proxy_core::http::Status;
use proxy_core::trace::{
    AccessCheck, AccessOutcome, Considered, LimitOutcome, Match, NamedBy, Outcome, Step,
};

use super::heads::{self, reply, request};
use super::places::{Place, Places};
use super::rig::{Account, Event, STAND_IN};
use super::story::{Entry, Story};
use crate::conf::scope::{self, Scope};
use crate::conf::tree::Directive;

/// Tells the whole account.
pub(super) fn tell(account: Account, config: &Config, places: &Places<'_>) -> Story {
    let mut teller =
        Teller { config, places, server: ServerId(0), location: LocationId(0), entries: Vec::new() };
    for event in account.events {
        teller.event(event);
    }
    if let Some(reason) = account.refused {
        teller.entries.push(Entry::new("tls", format!("no connection: {reason}")));
    }
    let place = teller.scope();
    teller.entries.push(reply(&account.reply, place.as_ref(), places));
    // What the log says comes last, as in life.
    let (logs, mut entries): (Vec<_>, Vec<_>) =
        teller.entries.into_iter().partition(|entry| entry.kind == "access log");
    entries.extend(logs);
    Story { entries }
}

pub(super) struct Teller<'a> {
    config: &'a Config,
    places: &'a Places<'a>,
    server: ServerId,
    location: LocationId,
    entries: Vec<Entry>,
}

/// Bytes as text: what is no text, and what would move the cursor, is escaped.
pub(super) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(|letter: char| letter.is_control()) => text.to_owned(),
        Ok(_) | Err(_) => bytes.escape_ascii().to_string(),
    }
}

impl<'a> Teller<'a> {
    fn scope(&self) -> Option<Scope<'a>> {
        self.places.scope(self.server, self.location)
    }

    /// The last directive of one of these names that holds here.
    fn holding(&self, names: &[&'static str]) -> Option<Place> {
        let scope = self.scope()?;
        let item = names.iter().find_map(|name| scope.value(name))?;
        Some(self.places.of(item))
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Step(step) => self.step(step),
            Event::File { path, found } => self.file(&path, found),
            Event::Listing { path } => self.push(Entry::new("file", format!("{} is listed", shown(&path)))),
            Event::Name(name) => {
                let text = format!("{name} would be looked up now; {STAND_IN} stands for it here");
                self.push(Entry::new("name", text).with("name", name));
            }
            Event::Connect { address, options } => self.connect(&address, &options),
            Event::Request { address, bytes } => {
                let scope = self.scope();
                let secured = scope.as_ref().and_then(|scope| heads::tls(scope, self.places));
                self.entries.extend(secured);
                let entry = request(&address, &bytes, scope.as_ref(), self.places);
                self.push(entry);
            }
            Event::Waited(span) => {
                self.push(Entry::new("wait", format!("{} ms pass", span.0)).with("ms", span.0));
            }
            Event::Access { log, path, line } => self.access_line(log, &path, &line),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Server { listener, host, server, by } => {
                (self.server, self.location) = (server, self.level_of(server));
                self.listener(listener.0 as usize);
                self.named(&host, server, &by);
            }
            Step::Location { uri, considered, location, add_slash } => {
                self.location = location;
                self.found(&uri, &considered, location, add_slash);
            }
            Step::RealIp { from, to } => {
                let place = self.holding(&["real_ip_header", "set_real_ip_from"]);
                let text = format!("the client is {} instead of {}", ip(&to), ip(&from));
                self.push(Entry::new("real ip", text).at(place).with("from", ip(&from)).with("to", ip(&to)));
            }
            Step::Ran { origin, outcome } => self.ran(&origin, &outcome),
            Step::Map { map, source, value, origin } => self.map(map, &source, &value, &origin),
            Step::LimitKey { zone, key } => self.limit_key(zone, &key),
            Step::Limit(outcome) => self.limit(outcome),
            Step::Access { check, client, verdict, location } => {
                self.location = location;
                self.access(check, &client, verdict);
            }
            Step::Content { location, uri } => {
                self.location = location;
                self.content(&uri);
            }
            Step::Redirect { uri } => {
                let text = format!("internal redirect to {}", shown(&uri));
                self.push(Entry::new("redirect", text).with("uri", shown(&uri)));
            }
            Step::Named { name, location } => {
                self.location = location;
                let place = self.places.location(location);
                self.push(Entry::new("location", format!("@{}, by its name", shown(&name))).at(place));
            }
            Step::ErrorPage { status, location } => {
                self.location = location;
                self.error_page(status);
            }
            Step::Subrequest { purpose, uri } => {
                let place = self.holding(&[if purpose == "mirror" { "mirror" } else { "auth_request" }]);
                let text = format!("{purpose} asks for {}", shown(&uri));
                self.push(Entry::new("subrequest", text).at(place).with("uri", shown(&uri)));
            }
            Step::Peer { group, address, location } => {
                self.location = location;
                self.peer(&group, address.as_ref());
            }
            Step::Message { level, text } => {
                let entry = Entry::new("message", format!("[{}] {}", level.name(), shown(&text)));
                self.push(entry.with("level", level.name()));
            }
            Step::Ended { location, .. } => self.location = location,
        }
    }

    fn level_of(&self, server: ServerId) -> LocationId {
        self.config.server(server).map_or(self.location, |server| server.root)
    }

    fn listener(&mut self, at: usize) {
        let Some(listener) = self.config.listeners.get(at) else { return };
        let tls = if listener.tls { " with TLS" } else { "" };
        let proxied = if listener.proxy_protocol { ", behind the PROXY protocol" } else { "" };
        let text = format!("{}{tls}{proxied}", listener.address);
        let scope = self.places.scope(listener.default_server, self.level_of(listener.default_server));
        let listens: Vec<&Directive> =
            scope.iter().flat_map(|scope| scope.own("listen").collect::<Vec<_>>()).collect();
        let port = match &listener.address {
            Address::Ip(address) => address.port().to_string(),
            Address::Unix(path) => path.to_string(),
        };
        let item = listens.iter().find(|item| scope::first(item).ends_with(&port)).or(listens.first());
        let place = item.map(|item| self.places.of(item));
        self.push(Entry::new("listener", text).at(place).with("address", listener.address.to_string()));
    }

    fn named(&mut self, host: &[u8], server: ServerId, by: &NamedBy) {
        let host = shown(host);
        let why = match by {
            NamedBy::Exact => format!("\"{host}\" is one of its names"),
            NamedBy::Suffix => format!("\"{host}\" ends as the longest wildcard name does"),
            NamedBy::Prefix => format!("\"{host}\" begins as the longest wildcard name does"),
            NamedBy::Regex => format!("\"{host}\" matches the first regex that does"),
            NamedBy::Default => format!("no server of this socket is named \"{host}\": the default server"),
        };
        let name = self.config.server(server).map(|server| shown(&server.name)).unwrap_or_default();
        let scope = self.scope();
        let items: Vec<&Directive> =
            scope.iter().flat_map(|scope| scope.own("server_name").collect::<Vec<_>>()).collect();
        let says = |item: &&&Directive| item.args.iter().any(|arg| arg.text().eq_ignore_ascii_case(&host));
        let item = items.iter().find(says).or(items.first()).copied();
        let block = scope.as_ref().and_then(Scope::opener);
        let place = item.filter(|_| *by != NamedBy::Default).or(block).map(|item| self.places.of(item));
        let how = match by {
            NamedBy::Exact => "exact",
            NamedBy::Suffix => "wildcard at the beginning",
            NamedBy::Prefix => "wildcard at the end",
            NamedBy::Regex => "regex",
            NamedBy::Default => "default",
        };
        let shown_name = if name.is_empty() { "(no name)" } else { &name };
        let entry = Entry::new("server", format!("{shown_name}: {why}")).at(place);
        self.push(entry.with("name", name).with("host", host).with("by", how));
    }

    fn found(&mut self, uri: &[u8], considered: &[Considered], location: LocationId, add_slash: bool) {
        let mut entry = Entry::new("location", format!("{}: {}", shown(uri), self.places.label(location)));
        let mut seen = Vec::new();
        for Considered { location: id, found } in considered {
            let label = self.places.label(*id);
            let words = match found {
                Match::Exact if add_slash => "is the URI and a slash more",
                Match::Exact => "is the URI: nothing else is looked at",
                Match::Prefix => "begins the URI, but is not the longest",
                Match::Longest => "is the longest beginning",
                Match::NoRegex => "is the longest beginning, and ^~: no regex is asked",
                Match::Holds => "matches",
                Match::Fails => "does not match",
            };
            entry = entry.line(format!("{label}  {words}"), self.places.location(*id));
            seen.push(serde_json::json!({ "location": label, "found": words }));
        }
        if considered.is_empty() {
            entry = entry.line("no location matches", None);
        }
        if add_slash {
            entry = entry.line("the slash at the end is missing: 301", None);
        }
        let label = self.places.label(location);
        let entry = entry.at(self.places.location(location)).with("uri", shown(uri)).with("location", label);
        self.push(entry.with("considered", seen).with("adds_slash", add_slash));
    }

    fn ran(&mut self, origin: &Origin, outcome: &Outcome) {
        let place = self.places.at(origin);
        let directive = place.as_ref().map(|place| place.directive.clone()).unwrap_or_default();
        let result = match outcome {
            Outcome::NoMatch => "does not match".to_owned(),
            Outcome::Rewritten { uri, args } if args.is_empty() => format!("the URI is now {}", shown(uri)),
            Outcome::Rewritten { uri, args } => format!("the URI is now {}?{}", shown(uri), shown(args)),
            Outcome::Answered(status) => format!("answers with {}", status.0),
            Outcome::Set(value) => format!("is \"{}\"", shown(value)),
            Outcome::If(true) => "holds".to_owned(),
            Outcome::If(false) => "does not hold".to_owned(),
            Outcome::Asks(path) => format!("asks for {}", shown(path)),
            Outcome::Break => "ends the rewrite directives here".to_owned(),
        };
        const NAMES: [&str; 5] = ["rewrite", "return", "set", "if", "break"];
        let (name, arguments) = directive.split_once(' ').unwrap_or((&directive, ""));
        let name = NAMES.into_iter().find(|known| *known == name).unwrap_or("rewrite");
        let entry = Entry::new(name, format!("{arguments}: {result}")).at(place);
        self.push(entry.with("outcome", result));
    }

    fn map(&mut self, id: MapId, source: &[u8], value: &[u8], origin: &Origin) {
        let Some(map) = self.config.maps.get(id.0 as usize) else { return };
        let (source, value) = (shown(source), shown(value));
        let place = self.places.at(origin).or_else(|| self.map_block(&map.name));
        let entry = Entry::new("map", format!("${} = \"{value}\" for \"{source}\"", map.name)).at(place);
        self.push(entry.with("variable", &*map.name).with("source", source).with("value", value));
    }

    fn map_block(&self, name: &str) -> Option<Place> {
        let makes =
            |item: &&Directive| scope::second(item).trim_start_matches('$').eq_ignore_ascii_case(name);
        self.places.in_http("map").filter(makes).last().map(|item| self.places.of(item))
    }

    fn limit_key(&mut self, id: ZoneId, key: &[u8]) {
        let Some(zone) = self.config.limit_zones.get(id.0 as usize) else { return };
        let (kind, rate) = match zone.kind {
            LimitKind::Requests { rate } => {
                ("limit_req", format!(" at {}.{:03} requests per second", rate / 1000, rate % 1000))
            }
            LimitKind::Connections => ("limit_conn", String::new()),
        };
        let counted = if key.is_empty() {
            "is empty: not counted".to_owned()
        } else {
            format!("is \"{}\"{rate}", shown(key))
        };
        let text = format!("zone {}: the key {} {counted}", zone.name, zone.key_text);
        let names = |item: &Directive| item.args.iter().any(|arg| is_zone(&arg.text(), &zone.name));
        let scope = self.scope();
        let item = scope.and_then(|scope| scope.in_force(kind).into_iter().find(|item| names(item)));
        let definition = if kind == "limit_req" { "limit_req_zone" } else { "limit_conn_zone" };
        let block = self.places.in_http(definition).find(|item| names(item));
        let entry = Entry::new(kind, text).at(item.map(|item| self.places.of(item)));
        let entry = match block {
            Some(item) => {
                let place = self.places.of(item);
                entry.line(place.directive.clone(), Some(place))
            }
            None => entry,
        };
        self.push(entry.with("zone", &*zone.name).with("key", shown(key)));
    }

    fn limit(&mut self, outcome: LimitOutcome) {
        let text = match outcome {
            LimitOutcome::Pass => "within the limit: this is the first request of its kind".to_owned(),
            LimitOutcome::Delay(ms) => format!("waits for {ms} ms"),
            LimitOutcome::Refuse(status) => format!("too much: {}", status.0),
        };
        self.push(Entry::new("limit", text));
    }

    fn access(&mut self, check: AccessCheck, client: &Address, verdict: AccessOutcome) {
        let said = match verdict {
            AccessOutcome::Declined => return,
            AccessOutcome::Allowed => "allowed".to_owned(),
            AccessOutcome::Denied(status) => format!("denied with {}", status.0),
            AccessOutcome::Pending => "waits for an answer".to_owned(),
        };
        let (name, place) = match check {
            AccessCheck::Address => ("address", self.rule_for(client)),
            AccessCheck::Password => ("auth_basic", self.holding(&["auth_basic"])),
            AccessCheck::Request => ("auth_request", self.holding(&["auth_request"])),
        };
        let rule = place.as_ref().map(|place| format!(", {}", place.directive)).unwrap_or_default();
        let entry = Entry::new("access", format!("{name} {}{rule}: {said}", ip(client))).at(place);
        self.push(entry.with("check", name).with("client", ip(client)).with("verdict", said));
    }

    /// The first of the rules in force that holds a client.
    fn rule_for(&self, client: &Address) -> Option<Place> {
        let scope = self.scope()?;
        let rules = scope.in_force_of(&["allow", "deny"]);
        let item = rules.into_iter().find(|item| super::rules::holds(&scope::first(item), client))?;
        Some(self.places.of(item))
    }

    fn content(&mut self, uri: &[u8]) {
        const CONTENTS: [&str; 8] = [
            "proxy_pass",
            "grpc_pass",
            "fastcgi_pass",
            "scgi_pass",
            "uwsgi_pass",
            "stub_status",
            "empty_gif",
            "api",
        ];
        let own = self.scope().and_then(|scope| {
            let items: Vec<&Directive> = CONTENTS.iter().flat_map(|name| scope.in_location(name)).collect();
            items.first().map(|item| self.places.of(item))
        });
        let entry = match own {
            Some(place) => Entry::new("content", place.directive.clone()).at(Some(place)),
            None => {
                let text = format!("a file for {}", shown(uri));
                Entry::new("content", text).at(self.holding(&["alias", "root"]))
            }
        };
        self.push(entry.with("uri", shown(uri)));
    }

    fn error_page(&mut self, status: Status) {
        let code = status.0.to_string();
        let scope = self.scope();
        let pages = scope.map(|scope| scope.in_force("error_page")).unwrap_or_default();
        let item = pages.into_iter().find(|item| item.args.iter().any(|arg| arg.is(&code)));
        let place = item.map(|item| self.places.of(item));
        let text = place.as_ref().map(|place| place.directive.clone()).unwrap_or_default();
        let entry = Entry::new("error page", format!("{code}: {text}")).at(place);
        self.push(entry.with("status", status.0));
    }

    fn peer(&mut self, group: &[u8], address: Option<&Address>) {
        let name = shown(group);
        let upstream = self.places.in_http("upstream").find(|item| scope::first(item) == name);
        let place = upstream.map(|item| self.places.of(item));
        let Some(address) = address else {
            return self.push(Entry::new("upstream", format!("{name}: no live server")).at(place));
        };
        let servers: Vec<&Directive> =
            upstream.iter().flat_map(|item| item.children()).filter(|item| item.name.is("server")).collect();
        let text = address.to_string();
        let is_it = |item: &&&Directive| {
            let name = scope::first(item);
            text == *name || text.strip_suffix(":80") == Some(&*name)
        };
        let server = servers.iter().find(is_it).map(|item| self.places.of(item));
        let entry =
            Entry::new("upstream", if upstream.is_some() { format!("{name}: {text}") } else { text.clone() });
        self.push(entry.at(server.or(place)).with("group", name).with("address", text));
    }

    fn connect(&mut self, address: &Address, options: &ConnectOptions) {
        if let Some(bind) = options.bind {
            let place = self.holding(&["proxy_bind"]);
            self.push(Entry::new("connect", format!("to {address} from {bind}")).at(place));
        }
    }

    fn file(&mut self, path: &[u8], found: Result<FileInfo, IoError>) {
        let what = match &found {
            Ok(FileInfo { kind: FileKind::Regular, size, .. }) => format!("a file of {size} bytes"),
            Ok(FileInfo { kind: FileKind::Directory, .. }) => "a directory".to_owned(),
            Ok(FileInfo { kind: FileKind::Other, .. }) => "neither a file nor a directory".to_owned(),
            Err(error) => format!("({error})"),
        };
        let entry = Entry::new("file", format!("{} {what}", shown(path)));
        self.push(entry.with("path", shown(path)).with("found", found.is_ok()));
    }

    fn access_line(&mut self, log: Option<LogId>, path: &[u8], line: &[u8]) {
        let file = log.and_then(|id| self.config.logs.get(id.0 as usize)).map(|log| match &log.sink {
            LogSink::Stderr => "stderr".to_owned(),
            LogSink::File(path) => path.to_string(),
            LogSink::Syslog(server) => format!("syslog {server:?}"),
        });
        let file = file.unwrap_or_else(|| shown(path));
        let text = String::from_utf8_lossy(line);
        let place = self.holding(&["access_log"]);
        let mut entry = Entry::new("access log", file.clone()).at(place).with("path", file);
        for line in text.lines() {
            entry = entry.line(line, None);
        }
        self.push(entry);
    }
}

fn is_zone(word: &str, name: &str) -> bool {
    let rest = word.strip_prefix("zone=").unwrap_or(word);
    rest.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

fn ip(address: &Address) -> String {
    match address {
        Address::Ip(address) => address.ip().to_string(),
        Address::Unix(_) => "unix:".to_owned(),
    }
}
