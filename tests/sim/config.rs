//! Configurations built by hand: nginx's defaults, and the few settings that a simulated site changes.
//!
//! [`Site`] is one server with one proxied location over a group of servers. Other tests may build theirs the same way.

use std::sync::Arc;

use proxy_core::command::{Address, Level};
use proxy_core::config::{
    AccessLog, Balance, BodyBuffering, CheckKind, ClientBody, Config, ConnectionLimit, ConnectionLimits,
    Content, CoreSettings, ErrorLogFile, ErrorLogRef, Escape, HealthCheck, Keepalive, LimitKind, LimitZone,
    Limits, LingeringClose, Listener, Location, LocationId, LocationKind, LogFile, LogFormat, LogId, LogSink,
    LogTarget, NextUpstream, Piece, Policy, Proxy, ProxyHttpVersion, Queue, RequestLimit, RequestLimits,
    Server, ServerId, SetHeader, SetHeaders, Template, Upstream, UpstreamServer, Variable, ZoneId,
};
use proxy_core::http::{HeaderId, Status};
use proxy_core::route::{LocationTree, LocationTreeBuilder};
use proxy_core::time::Millis;

/// What a simulated site sets; all timeouts are short, so that faults end soon.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// A server for each.
    pub(crate) weights: Vec<u32>,
    pub(crate) balance: Balance,
    pub(crate) fail_timeout: Millis,
    pub(crate) keepalive: usize,
    pub(crate) keepalive_requests: u64,
    pub(crate) client_requests_max: u64,
    pub(crate) max_fails: u32,
    pub(crate) buffering: bool,
    pub(crate) memory_bytes_max: usize,
    pub(crate) file_bytes_max: u64,
    pub(crate) request_buffering: bool,
    pub(crate) body_buffer_bytes: usize,
    pub(crate) ignore_client_abort: bool,
    pub(crate) early_hints: bool,
    /// Servers are checked, at a port of their own.
    pub(crate) checks: Option<Checks>,
    /// Limits delay requests and slow replies down; none refuses any.
    pub(crate) limits: bool,
    /// `proxy_http_version 1.0`
    pub(crate) http10: bool,
    /// `proxy_next_upstream error timeout http_503`
    pub(crate) next_on_503: bool,
    /// `max_conns`, with a queue in front; 0 is none.
    pub(crate) max_conns: u32,
    /// A server that the group does not have any more.
    pub(crate) gone: Option<usize>,
    pub(crate) slow_start: Millis,
    /// Counts the configurations of a run.
    pub(crate) generation: u64,
}

/// How a site's servers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checks {
    /// It only connects.
    pub(crate) tcp: bool,
    /// A connection serves several checks.
    pub(crate) kept: bool,
}

/// The rate of a site with limits, in thousandths of a request per second and client.
const RATE: u64 = 20_000;
/// How fast its replies go, in bytes per second, and how much of each is free.
const REPLY_RATE: &[u8] = b"262144";
const REPLY_FREE: &[u8] = b"10000";
/// How many requests may wait for their turn, in thousandths: more than there are.
const BURST: u64 = 1_000_000;

/// Every timeout of a simulated site but the keep-alive ones.
pub(crate) const TIMEOUT: Millis = Millis(2000);
/// How often a server is checked, and where.
pub(crate) const CHECK_INTERVAL: Millis = Millis(200);
pub(crate) const CHECK_PORT: u16 = 8080;
/// How long an idle connection lives, a client's or a pooled one.
pub(crate) const KEEPALIVE: Millis = Millis(4000);
/// Where X-Accel-Redirect leads.
pub(crate) const ACCEL: &str = "/accel/";
/// The host that clients ask for.
pub(crate) const HOST: &str = "sim.example";

impl Site {
    /// The configuration that a worker runs.
    pub(crate) fn build(&self) -> Config {
        let core = Arc::new(self.core());
        let logs: Arc<[AccessLog]> = Arc::new([access_log()]);
        let level = |kind, pattern: &[u8], content| Location {
            kind,
            pattern: pattern.into(),
            content,
            core: core.clone(),
            access_logs: logs.clone(),
            limits: self.limits.then(|| Arc::new(limits())),
            ..Location::default()
        };
        let root = level(LocationKind::Implicit, b"", Content::Files);
        let proxied = level(LocationKind::Prefix, b"/", Content::Proxy(Arc::new(self.proxy())));
        let mut tree = LocationTreeBuilder::default();
        tree.add_text(LocationKind::Prefix, b"/", LocationId(1), false, LocationTree::default())
            .expect("one location");
        tree.add_text(LocationKind::Prefix, ACCEL.as_bytes(), LocationId(2), false, LocationTree::default())
            .expect("another location");
        let mut redirected =
            level(LocationKind::Prefix, ACCEL.as_bytes(), Content::Proxy(Arc::new(self.proxy())));
        redirected.internal = true;
        let server = Server {
            name: HOST.as_bytes().into(),
            tree: tree.build(),
            client_header_timeout: TIMEOUT,
            ..Server::default()
        };
        let address = Address::Ip(([10, 0, 0, 1], 80).into());
        Config {
            generation: self.generation,
            listeners: vec![Listener { address, ..Listener::default() }],
            servers: vec![server],
            locations: vec![root, proxied, redirected],
            upstreams: vec![Upstream { checks: self.health_checks(), ..self.upstream() }],
            limit_zones: zones(),
            logs: vec![LogFile { sink: LogSink::Stderr, buffer_bytes: 0, flush: None, gzip_level: None }],
            error_logs: vec![ErrorLogFile { sink: LogSink::Stderr, level: Level::Info }],
            hostname: "sim".into(),
            ..Config::default()
        }
    }

    fn core(&self) -> CoreSettings {
        CoreSettings {
            error_logs: Arc::new([ErrorLogRef { log: 0, level: Level::Info }]),
            client_body: ClientBody {
                buffer_bytes: self.body_buffer_bytes,
                timeout: TIMEOUT,
                temp_path: Arc::from(b"/sim/body".as_slice()),
                ..ClientBody::default()
            },
            keepalive: Keepalive {
                timeout: KEEPALIVE,
                requests_max: self.client_requests_max,
                ..Keepalive::default()
            },
            lingering: LingeringClose { time: KEEPALIVE, timeout: TIMEOUT, ..LingeringClose::default() },
            send_timeout: TIMEOUT,
            limit_rate: self.limits.then(|| Template::literal(REPLY_RATE)),
            limit_rate_after: Some(Template::literal(REPLY_FREE)),
            early_hints: if self.early_hints { Arc::new([Template::literal(b"1")]) } else { Arc::new([]) },
            ..CoreSettings::default()
        }
    }

    fn proxy(&self) -> Proxy {
        let fields = [
            (HeaderId::Host, "Host", Variable::Host),
            (HeaderId::XRealIp, "X-Real-IP", Variable::RemoteAddr),
            (HeaderId::XForwardedFor, "X-Forwarded-For", Variable::ProxyAddXForwardedFor),
            (HeaderId::XForwardedProto, "X-Forwarded-Proto", Variable::Scheme),
        ];
        let field = |(id, name, variable): (HeaderId, &str, Variable)| SetHeader {
            id,
            name: name.as_bytes().into(),
            value: Template::new([Piece::Variable(variable)]),
        };
        Proxy {
            proxy_host: Arc::from(b"backend".as_slice()),
            url: "http://backend".into(),
            set_headers: Arc::new(SetHeaders::new(fields.into_iter().map(field).collect())),
            request_buffering: self.request_buffering,
            buffering: BodyBuffering {
                on: self.buffering,
                memory_bytes_max: self.memory_bytes_max,
                file_bytes_max: self.file_bytes_max,
                temp_path: Arc::from(b"/sim/proxy".as_slice()),
                ..BodyBuffering::default()
            },
            connect_timeout: TIMEOUT,
            send_timeout: TIMEOUT,
            read_timeout: TIMEOUT,
            next_upstream: NextUpstream {
                statuses: if self.next_on_503 { [Status(503)].into() } else { [].into() },
                ..NextUpstream::default()
            },
            http_version: if self.http10 { ProxyHttpVersion::Http10 } else { ProxyHttpVersion::Http11 },
            ignore_client_abort: self.ignore_client_abort,
            ..Proxy::default()
        }
    }

    fn health_checks(&self) -> Vec<Arc<HealthCheck>> {
        let check = |checks: Checks| HealthCheck {
            key: "check".into(),
            server: ServerId(0),
            location: LocationId(1),
            proxy: Arc::new(self.proxy()),
            kind: if checks.tcp {
                CheckKind::Tcp
            } else {
                CheckKind::Http { uri: b"/health".as_slice().into(), conditions: None }
            },
            interval: CHECK_INTERVAL,
            jitter: Millis(50),
            fails: 1,
            passes: 2,
            mandatory: false,
            persistent: false,
            port: Some(CHECK_PORT),
            keepalive_time: checks.kept.then_some(KEEPALIVE),
        };
        self.checks.map(check).map(Arc::new).into_iter().collect()
    }

    fn upstream(&self) -> Upstream {
        let server = |(n, weight): (usize, &u32)| UpstreamServer {
            weight: *weight,
            max_fails: self.max_fails,
            fail_timeout: self.fail_timeout,
            max_conns: self.max_conns,
            slow_start: self.slow_start,
            line: u32::try_from(n).expect("few servers"),
            ..UpstreamServer::new(server_address(n))
        };
        let servers = self.weights.iter().enumerate().filter(|(n, _)| Some(*n) != self.gone).map(server);
        let queue = Queue { waiting_max: 1000, timeout: Millis(60_000) };
        let key = Template::new([Piece::Variable(Variable::Http(b"x-id".as_slice().into()))]);
        Upstream {
            balance: self.balance,
            policy: Arc::new(Policy {
                key: Some(key),
                queue: (self.max_conns > 0).then_some(queue),
                ..Policy::default()
            }),
            keepalive: self.keepalive,
            keepalive_requests: self.keepalive_requests,
            keepalive_timeout: KEEPALIVE,
            ..Upstream::explicit("backend", servers)
        }
    }
}

fn zones() -> Vec<LimitZone> {
    let zone = |name: &str, kind| LimitZone {
        name: name.into(),
        bytes: 32 << 10,
        key: Template::new([Piece::Variable(Variable::RemoteAddr)]),
        key_text: "$remote_addr".into(),
        kind,
    };
    vec![zone("requests", LimitKind::Requests { rate: RATE }), zone("connections", LimitKind::Connections)]
}

fn limits() -> Limits {
    Limits {
        requests: Some(RequestLimits {
            limits: Box::new([RequestLimit { zone: ZoneId(0), burst: BURST, delay: 0 }]),
            level: Level::Error,
            delay_level: Level::Warn,
            status: Status(503),
            dry_run: false,
        }),
        connections: Some(ConnectionLimits {
            limits: Box::new([ConnectionLimit { zone: ZoneId(1), most: 1 }]),
            level: Level::Error,
            status: Status(503),
            dry_run: false,
        }),
    }
}

/// The address of upstream server `n`.
pub(crate) fn server_address(n: usize) -> Address {
    Address::Ip(([10, 0, 1, u8::try_from(n + 1).expect("few servers")], 80).into())
}

/// Where server `n` is checked.
pub(crate) fn check_address(n: usize) -> Address {
    match server_address(n) {
        Address::Ip(mut address) => {
            address.set_port(CHECK_PORT);
            Address::Ip(address)
        }
        unix @ Address::Unix(_) => unix,
    }
}

/// One line a request: `id=7 status=200 done=OK`.
fn access_log() -> AccessLog {
    let literal = |text: &str| Piece::Literal(text.as_bytes().into());
    let template = Template::new([
        literal("id="),
        Piece::Variable(Variable::Http(b"x-id".as_slice().into())),
        literal(" status="),
        Piece::Variable(Variable::Status),
        literal(" done="),
        Piece::Variable(Variable::RequestCompletion),
    ]);
    let format = LogFormat { name: "sim".into(), escape: Escape::Default, template };
    AccessLog { target: LogTarget::File(LogId(0)), format: Arc::new(format), condition: None }
}
