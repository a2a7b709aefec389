//! A real gRPC server and client (grpcio, from PyPI) with ringgate between them, and nginx in its place.
//!
//! `grpc/peer.py` is both ends. Where Python or the package cannot be had, the tests skip themselves.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use crate::harness::{Nginx, Ringgate};

/// What the client has to say: everything that gRPC has, and an upstream that is down.
const EXPECTED: &[&str] = &[
    "unary",
    "empty",
    "large",
    "up",
    "down",
    "both",
    "status",
    "unknown",
    "deadline",
    "late",
    "cancelled",
    "metadata",
    "many",
    "mapped",
];

/// Python with grpcio: the one at hand, or one that is made once and kept with the build.
static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let has_grpc = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", "import grpc"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };
    let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("grpcio");
    let made = venv.join("bin/python");
    if let Some(python) = [PathBuf::from("python3"), made.clone()].into_iter().find(|python| has_grpc(python))
    {
        return Some(python);
    }
    let quiet = |program: &str, args: &[&str]| {
        let run = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    let pip =
        ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "0", "--timeout", "5"];
    let installed = quiet("python3", &["-m", "venv", &venv.to_string_lossy()])
        && quiet(&made.to_string_lossy(), &[&pip[..], &["--only-binary", ":all:", "grpcio"]].concat());
    (installed && has_grpc(&made)).then_some(made)
});

fn peer(args: &[&str]) -> Option<Command> {
    let mut command = Command::new(PYTHON.as_ref()?);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/grpc/peer.py")).args(args);
    command.stdout(Stdio::piped());
    Some(command)
}

/// A gRPC server; it ends with its standard input.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Option<Self> {
        let mut process = peer(&["server"])?.stdin(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take()?).read_line(&mut line).ok()?;
        Some(Self { process, port: line.trim().parse().ok()? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the client says, one thing a line.
fn ask(port: u16) -> Vec<String> {
    let output = peer(&["client", &port.to_string()]).unwrap().output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn site(server: &Server, listen: &str) -> String {
    let port = server.port;
    format!(
        r#"events {{}} error_log @DIR@/error.log info;
        http {{
            client_max_body_size 0; client_body_temp_path @DIR@/body;
            log_format g '$status $upstream_status $request_uri $sent_trailer_grpc_status';
            access_log @DIR@/access.log g;
            upstream backend {{ server 127.0.0.1:{port}; keepalive 4; }}
            server {{
                {listen}
                location / {{ grpc_pass grpc://backend; }}
                location /down {{ grpc_pass 127.0.0.1:1; error_page 502 = /unavailable; }}
                location = /unavailable {{
                    internal; default_type application/grpc;
                    add_header grpc-status 14; add_header grpc-message "unavailable"; return 204;
                }}
            }}
        }}
"#
    )
}

#[test]
fn all_kinds_of_calls_go_through_ringgate_and_nginx_alike() {
    let Some(server) = Server::start() else { return };
    let expected: Vec<String> = EXPECTED.iter().map(|name| format!("ok {name}")).collect();
    let proxy = Ringgate::start(&site(&server, "listen 127.0.0.1:@PORT0@; http2 on;"));
    assert_eq!(ask(proxy.port(0)), expected);
    let log = proxy.read("error.log");
    assert!(!log.contains("[alert]") && !log.contains("[crit]"), "{log}");
    // nginx 1.22 shows that the test asks for nothing that nobody gives; it has no `$sent_trailer_…` there.
    let conf = site(&server, "listen 127.0.0.1:@PORT0@ http2;");
    if let Some(nginx) = Nginx::start(&conf.replace(" $sent_trailer_grpc_status", "")) {
        assert_eq!(ask(nginx.port(0)), expected);
    }
}

/// `health_check type=grpc`: a server is well that says so, of itself or of a service, or that says what was asked for.
#[test]
fn grpc_servers_are_checked_by_their_own_protocol() {
    let Some(server) = Server::start() else { return };
    let checks = [
        ("whole", "type=grpc"),
        ("moody", "keepalive_time=60s type=grpc grpc_service=moody"),
        ("absent", "type=grpc grpc_service=absent"),
        ("known", "type=grpc grpc_service=absent grpc_status=5"),
    ];
    let group = |(name, _): &(&str, &str)| {
        format!("upstream {name} {{ zone {name} 64k; server 127.0.0.1:{}; }} ", server.port)
    };
    let location = |(name, check): &(&str, &str)| {
        format!("location /{name} {{ grpc_pass {name}; health_check mandatory interval=50ms {check}; }} ")
    };
    let conf = format!(
        "events {{}} error_log @DIR@/error.log notice; http {{ access_log off; {} server {{ \
         listen 127.0.0.1:@PORT0@; http2 on; {} }} }}",
        checks.iter().map(group).collect::<String>(),
        checks.iter().map(location).collect::<String>()
    );
    let proxy = Ringgate::start(&conf);
    let says = |group: &str, what: &str, times: usize| {
        let line = format!(
            "peer is {what} while checking gRPC status, health check \"\" of peer 127.0.0.1:{} in upstream \"{group}\"",
            server.port
        );
        proxy.wait_for("error.log", &line, times);
    };
    says("whole", "healthy", 1);
    says("moody", "healthy", 1);
    says("absent", "unhealthy", 1);
    says("known", "healthy", 1);
    let turn = || {
        let said = peer(&["turn", &server.port.to_string()]).unwrap().output().unwrap();
        assert!(said.status.success());
    };
    turn();
    says("moody", "unhealthy", 1);
    turn();
    says("moody", "healthy", 2);
    let log = proxy.read("error.log");
    assert!(!log.contains("[error]") && !log.contains("[crit]"), "{log}");
}
