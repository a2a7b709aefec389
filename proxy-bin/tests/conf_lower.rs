//! What configurations compile to: inheritance, targets, listeners, programs.
//!
//! Each test is one rule of nginx's, as a text and what the core is given for it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use proxy_core::config::{
    Balance, Condition, Config, Content, ErrorPageCode, ErrorPageTarget, LocationKind, LogSink, LogTarget,
    Piece, Proxy, RedirectRule, RewriteOp, Root, SetTarget, SlotId, Target, TargetUri, Template,
    UpgradePolicy, Variable,
};
use proxy_core::http::HeaderId;
use proxy_core::time::Millis;
use ringgate::conf::diagnostic::Severity;
use ringgate::conf::include::Memory;
use ringgate::conf::lower::{Environment, Resolve};
use ringgate::conf::{Compiled, compile};

struct Names;

impl Resolve for Names {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        match host {
            "localhost" => Ok(vec![[127, 0, 0, 1].into(), "::1".parse().unwrap()]),
            _ => Err("unknown".into()),
        }
    }
}

fn compile_with(text: &str, globals: Option<&str>, unresolved_is_fatal: bool) -> Compiled {
    let env = Environment {
        prefix: Path::new("/p"),
        error_log: Path::new("logs/error.log"),
        access_log: Path::new("logs/access.log"),
        pid: Path::new("logs/nginx.pid"),
        client_body_temp: Path::new("client_body_temp"),
        proxy_temp: Path::new("proxy_temp"),
        root: true,
        unresolved_is_fatal,
        hostname: "host.test",
        generation: 7,
        name_servers: &[],
        resolve: &Names,
    };
    let files = Memory { files: vec![("/c/n.conf".into(), text.as_bytes().to_vec())] };
    compile(&files, Path::new("/c/n.conf"), globals, &env)
}

fn said(compiled: &Compiled) -> Vec<String> {
    compiled.diagnostics.iter().map(|d| d.headline(&compiled.sources)).collect()
}

/// The configuration of an `http` block's text, which must be without mistakes.
fn http(text: &str) -> Config {
    let compiled = compile_with(&format!("events {{}} http {{ {text} }}"), None, true);
    assert!(compiled.is_good(), "{:?}", said(&compiled));
    compiled.lowered.config
}

/// The proxy of the location with this pattern.
fn proxy(config: &Config, pattern: &str) -> Arc<Proxy> {
    let of = |location: &&proxy_core::config::Location| {
        *location.pattern == *pattern.as_bytes() && location.kind != LocationKind::Implicit
    };
    match &config.locations.iter().find(of).unwrap().content {
        Content::Proxy(proxy) => proxy.clone(),
        other @ (Content::Files | Content::StubStatus | Content::Api { .. } | Content::EmptyGif) => {
            panic!("{pattern}: {other:?}")
        }
    }
}

fn text(template: &Template) -> String {
    let show = |piece: &Piece| match piece {
        Piece::Literal(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Piece::Variable(variable) => format!("<{variable:?}>"),
    };
    template.pieces().iter().map(show).collect()
}

#[test]
fn silence_inherits_and_lists_are_replaced() {
    let config = http(
        "proxy_read_timeout 5m; proxy_set_header A 1; add_header X 1; add_header Y 2; \
         server { proxy_buffering off; \
           location /all/ { proxy_pass http://127.0.0.1; } \
           location /own/ { proxy_pass http://127.0.0.1; proxy_set_header Host $host; add_header Z 3 always; \
                            proxy_read_timeout 1s; } \
           location /merge/ { add_header Z 3; add_header_inherit merge; } \
           location /off/ { add_header_inherit off; } }",
    );
    let headers = |pattern: &str| -> Vec<String> {
        let location = config.locations.iter().find(|l| *l.pattern == *pattern.as_bytes()).unwrap();
        let names = location.core.add_headers.iter().map(|header| &header.name);
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    };
    assert_eq!(headers("/all/"), ["X", "Y"]);
    assert_eq!(headers("/own/"), ["Z"]);
    assert_eq!(headers("/merge/"), ["X", "Y", "Z"]);
    assert!(headers("/off/").is_empty());

    let all = proxy(&config, "/all/");
    let own = proxy(&config, "/own/");
    assert_eq!((all.read_timeout, own.read_timeout), (Millis(300_000), Millis(1_000)));
    assert!(!all.buffering.on && !own.buffering.on);
    let fields = |proxy: &Proxy| -> Vec<String> {
        proxy.set_headers.fields.iter().map(|f| String::from_utf8_lossy(&f.name).into_owned()).collect()
    };
    assert_eq!(fields(&all), ["A", "Host"]);
    assert_eq!(fields(&own), ["Host"]);
}

#[test]
fn levels_without_settings_share_those_above() {
    let config = http(
        "server { root /r; location /a { } location /b { location /b/c { internal; } } location /d { etag off; } }",
    );
    let [server, a, b, c, d] = &config.locations[..] else { panic!() };
    assert!(Arc::ptr_eq(&server.core, &a.core));
    assert!(Arc::ptr_eq(&server.core, &c.core) && Arc::ptr_eq(&b.core, &c.core));
    assert!(!Arc::ptr_eq(&server.core, &d.core));
    assert!(matches!(&d.core.root, Root::Root(template) if text(template) == "/r"));
    assert!(c.internal && !b.internal);
}

#[test]
fn proxy_pass_says_who_and_what() {
    let config = http(
        "upstream Group { server localhost:81 weight=3; server unix:/s backup; keepalive 4; } \
         server { \
           location /plain/ { proxy_pass http://127.0.0.1:3000; } \
           location /root/ { proxy_pass http://127.0.0.1:3000/; } \
           location /v1/ { proxy_pass http://group/v1/; } \
           location /query { proxy_pass http://localhost?a=1; } \
           location /unix/ { proxy_pass http://unix:/run/x.sock:/u/; } \
           location /var/ { proxy_pass http://group/x$uri; } \
           location /dyn/ { proxy_pass http://$host:80$request_uri; } }",
    );
    let of = |pattern: &str| {
        let proxy = proxy(&config, pattern);
        let name = match &proxy.target {
            Target::Upstream(id) => config.upstream(*id).unwrap().name.to_string(),
            Target::Dynamic(template) => text(template),
        };
        let uri = match &proxy.uri {
            TargetUri::Unchanged => "-".into(),
            TargetUri::Replace(uri) => String::from_utf8_lossy(uri).into_owned(),
            TargetUri::Template(template) => text(template),
        };
        let redirect = proxy.redirects.first().map_or_else(String::new, |rule| match rule {
            RedirectRule::Prefix { from, to } => format!("{} -> {}", text(from), text(to)),
            RedirectRule::Regex { .. } => "regex".into(),
        });
        let host = String::from_utf8_lossy(&proxy.proxy_host).into_owned();
        format!("{name} | {uri} | {host} | {redirect} | {}", proxy.url)
    };
    let table = [
        (
            "/plain/",
            "127.0.0.1:3000 | - | 127.0.0.1:3000 | http://127.0.0.1:3000/ -> / | http://127.0.0.1:3000",
        ),
        (
            "/root/",
            "127.0.0.1:3000 | / | 127.0.0.1:3000 | http://127.0.0.1:3000/ -> /root/ | http://127.0.0.1:3000",
        ),
        ("/v1/", "Group | /v1/ | group | http://group/v1/ -> /v1/ | http://group"),
        ("/query", "localhost:80 | /?a=1 | localhost | http://localhost?a=1 -> /query | http://localhost"),
        (
            "/unix/",
            "unix:/run/x.sock | /u/ | localhost | http://unix:/run/x.sock:/u/ -> /unix/ | http://unix:/run/x.sock",
        ),
        ("/var/", "Group | /x<Uri> | group |  | http://group"),
        ("/dyn/", "http://<Host>:80<RequestUri> | - |  |  | http://$host:80$request_uri"),
    ];
    for (pattern, expected) in table {
        assert_eq!(of(pattern), expected, "{pattern}");
    }
    let group = &config.upstreams[0];
    let servers: Vec<_> = group.servers.iter().map(|s| (s.address.to_string(), s.weight, s.backup)).collect();
    let expected = [("127.0.0.1:81", 3, false), ("[::1]:81", 3, false), ("unix:/s", 1, true)];
    assert_eq!(servers, expected.map(|(address, weight, backup)| (address.to_owned(), weight, backup)));
    assert_eq!((group.balance, group.keepalive, group.explicit), (Balance::RoundRobin, 4, true));
    assert!(config.upstreams.iter().skip(1).all(|literal| literal.keepalive == 32 && !literal.explicit));
}

#[test]
fn handshakes_pass_unless_the_configuration_says_something() {
    let config = http(
        "server { location /a { proxy_pass http://127.0.0.1; } \
         location /b { proxy_pass http://127.0.0.1; proxy_set_header Connection ''; } \
         location /c { proxy_pass http://127.0.0.1; proxy_hide_header X-Own; proxy_pass_header Server; } }",
    );
    assert_eq!(proxy(&config, "/a").upgrade, UpgradePolicy::Forward);
    assert_eq!(proxy(&config, "/b").upgrade, UpgradePolicy::Configured);
    let hidden = &proxy(&config, "/c").hide_headers;
    let is = |id, name: &str| hidden.contains(id, name.as_bytes());
    assert!(is(HeaderId::Other, "x-own") && is(HeaderId::Date, "date") && !is(HeaderId::Server, "server"));
}

#[test]
fn servers_share_listeners_and_the_first_or_the_chosen_is_the_default() {
    let compiled = compile_with(
        "events {} http { server { server_name a; } server { listen 80 default_server; listen [::]:80 ipv6only=off; \
         server_name .B.test; } server { listen *:80; server_name c; } server { listen 127.0.0.1:81 backlog=9; } }",
        None,
        true,
    );
    assert!(compiled.is_good(), "{:?}", said(&compiled));
    let config = &compiled.lowered.config;
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|l| (l.address.to_string(), l.default_server.0, l.dual_stack, l.backlog))
        .collect();
    let expected = [("0.0.0.0:80", 1, false, 511), ("[::]:80", 1, true, 511), ("127.0.0.1:81", 3, false, 9)];
    assert_eq!(
        listeners,
        expected.map(|(address, server, dual, backlog)| (address.to_owned(), server, dual, backlog))
    );
    let names: Vec<_> =
        config.servers.iter().map(|s| String::from_utf8_lossy(&s.name).into_owned()).collect();
    assert_eq!(names, ["a", "b.test", "c", ""]);
}

#[test]
fn variables_of_the_request_itself_can_be_set() {
    let config = http("server { set $args a=b; set $limit_rate 4k; set $Mine x; set $mine y; }");
    let targets = config.servers[0].rewrite.iter().map(|line| {
        let RewriteOp::Set { target, .. } = &line.op else { panic!("{line:?}") };
        *target
    });
    let mine = SetTarget::Slot(SlotId(0));
    assert_eq!(targets.collect::<Vec<_>>(), [SetTarget::Args, SetTarget::LimitRate, mine, mine]);
}

#[test]
fn rewrite_directives_become_a_program() {
    let config = http(
        "server { set $a x; if ($a = 'x') { set $b $a$1; return 301 /$b; } rewrite ^/o(.*) /n$1? last; \
         location / { proxy_pass http://127.0.0.1; if ($http_x ~* (?<word>y)) { add_header W $word; } } }",
    );
    let [
        RewriteOp::Set { target: SetTarget::Slot(SlotId(0)), .. },
        RewriteOp::If { condition, body, location },
        RewriteOp::Rewrite { drop_args, .. },
    ] = &config.servers[0].rewrite.iter().map(|line| &line.op).collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", config.servers[0].rewrite)
    };
    assert!(matches!(condition, Condition::Equals { negated: false, .. }));
    assert!(*drop_args);
    assert!(matches!(&body.iter().map(|line| &line.op).collect::<Vec<_>>()[..],
        [RewriteOp::Set { .. }, RewriteOp::Return { text: Some(url), .. }]
        if text(url) == format!("/<{:?}>", Variable::Slot(SlotId(1)))));
    assert_eq!(config.location(*location).unwrap().kind, LocationKind::Implicit);
    assert_eq!(config.slots.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["a", "b", "word"]);
    // An `if` in a proxied location is proxied too, with its own settings.
    let inner = config.locations.last().unwrap();
    assert!(matches!(&inner.content, Content::Proxy(_)) && inner.core.add_headers.len() == 1);
}

#[test]
fn maps_know_each_other_in_any_order() {
    let config = http(
        "map $b $a { hostnames; default $host; *.x.test 1; .y.test 2; ~*^z 3; Plain 4; } map $uri $b { /q r; } \
         server { return 200 $a; }",
    );
    let [a, b] = &config.maps[..] else { panic!() };
    assert_eq!(text(&a.source), format!("<{:?}>", Variable::Map(proxy_core::config::MapId(1))));
    assert_eq!((text(&a.default.value), text(&b.default.value)), ("<Host>".into(), String::new()));
    assert!(a.exact.contains_key(b"plain".as_slice()) && a.exact.contains_key(b"y.test".as_slice()));
    assert_eq!(a.suffixes.iter().map(|(stem, _)| &**stem).collect::<Vec<_>>(), [b".x.test", b".y.test"]);
    assert_eq!(a.regexes.len(), 1);
}

#[test]
fn logs_are_files_once() {
    let config = http(
        "log_format short '$status'; access_log /l/a.log short if=$arg_x; server { location / { access_log off; } \
         location /b { access_log /l/a.log; access_log b.log combined buffer=8k flush=5s; error_log e.log info; } }",
    );
    let sinks: Vec<_> = config.logs.iter().map(|log| (log.sink.clone(), log.buffer_bytes)).collect();
    let file = |path: &str| LogSink::File(path.into());
    assert_eq!(sinks, [(file("/l/a.log"), 0), (file("/p/b.log"), 8192)]);
    let [server, root, b] = &config.locations[..] else { panic!() };
    assert!(root.access_logs.is_empty() && server.access_logs[0].condition.is_some());
    assert!(matches!(b.access_logs[1].target, LogTarget::File(id) if id.0 == 1));
    assert_eq!(
        config.error_logs.iter().map(|log| log.sink.clone()).collect::<Vec<_>>(),
        [file("/p/logs/error.log"), file("/p/e.log")]
    );
    assert_eq!(b.core.error_logs[0].log, 1);
    let silent = http("server { }");
    assert_eq!(silent.logs[0].sink, file("/p/logs/access.log"));
    assert_eq!(&*silent.locations[0].access_logs[0].format.name, "combined");
}

#[test]
fn error_pages_go_where_they_say() {
    let config =
        http("error_page 404 =200 /x?a=$uri; error_page 500 502 = @f; error_page 403 http://e/; server { }");
    let pages = &config.locations[0].core.error_pages;
    let codes: Vec<_> = pages.iter().map(|page| page.status.0).collect();
    assert_eq!(codes, [404, 500, 502, 403]);
    assert!(
        matches!((pages[0].code, &pages[0].target), (ErrorPageCode::Is(s), ErrorPageTarget::Uri(_)) if s.0 == 200)
    );
    assert!(matches!(
        (pages[2].code, &pages[2].target),
        (ErrorPageCode::FromTarget, ErrorPageTarget::Named(_))
    ));
    assert!(matches!((pages[3].code, &pages[3].target), (ErrorPageCode::Keep, ErrorPageTarget::Redirect(_))));
}

#[test]
fn the_top_level_and_g_are_obeyed() {
    let compiled = compile_with(
        "user www grp; pid run.pid; worker_processes 3; worker_shutdown_timeout 5s; env A=b; events { worker_connections 9; }",
        Some("daemon off; error_log stderr debug;"),
        true,
    );
    assert!(compiled.is_good(), "{:?}", said(&compiled));
    let (process, config) = (&compiled.lowered.process, &compiled.lowered.config);
    assert_eq!((process.daemon, process.pid.to_str().unwrap()), (false, "/p/run.pid"));
    assert_eq!(process.user, Some(("www".into(), Some("grp".into()))));
    assert_eq!(config.error_logs[0].sink, LogSink::Stderr);
    assert_eq!((config.process.worker_connections, config.process.shutdown_timeout), (9, Some(Millis(5000))));
    assert_eq!(config.generation, 7);
    let wrong = compile_with("events {}", Some("http { } daemon off"), true);
    assert_eq!(
        said(&wrong),
        [
            "block directives are not supported in -g option in command line",
            "unexpected end of parameter, expecting \";\" in command line"
        ]
    );
}

#[test]
fn warnings_and_isolation() {
    let text = "events {} http { upstream u { server nowhere.test; } server { server_name a; location / { proxy_pass http://u; } \
                location /b { proxy_pass http://elsewhere.test; } location @x { } location @x { } } }";
    let fatal = compile_with(text, None, true);
    assert_eq!(fatal.diagnostics.iter().filter(|d| d.severity == Severity::Emerg).count(), 2);
    let isolated = compile_with(text, None, false);
    assert!(isolated.is_good(), "{:?}", said(&isolated));
    assert_eq!(isolated.diagnostics.len(), 3, "{:?}", said(&isolated));
    assert!(isolated.lowered.config.upstreams.iter().all(|upstream| upstream.servers.is_empty()));
}
