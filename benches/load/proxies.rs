//! The proxies under test: their configurations, and starting them on their core.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::launch::{self, Guard, PROXY_CORE, TempDir};
use crate::{Result, cpu};

/// How long a proxy may take until it accepts connections.
const READY: Duration = Duration::from_secs(10);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The subject.
    Ringgate,
    /// The measure: every ratio is to nginx.
    Nginx,
    /// For orientation.
    Haproxy,
}

impl Kind {
    /// All, in the order of a round.
    pub(crate) const ALL: [Self; 3] = [Self::Ringgate, Self::Nginx, Self::Haproxy];

    /// Its name on the command line and in the results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ringgate => "ringgate",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The kinds of a comma-separated list.
    pub(crate) fn by_names(names: &str) -> Result<Vec<Self>> {
        names
            .split(',')
            .map(|name| {
                let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
                kind.ok_or_else(|| format!("no proxy is called {name}").into())
            })
            .collect()
    }

    /// Where its program is, if it is anywhere. `ringgate` overrides the place of ours.
    pub(crate) fn program(self, ringgate: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::Ringgate => {
                let path =
                    ringgate.map_or_else(|| target_directory().join("release/ringgate"), Path::to_owned);
                Some(path).filter(|path| path.is_file())
            }
            Self::Nginx | Self::Haproxy => launch::find_program(self.name()),
        }
    }
}

/// cargo's target directory: this binary is in `release/deps` below it, wherever `CARGO_TARGET_DIR` points.
fn target_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

/// A proxy that runs and accepts connections.
pub(crate) struct Proxy {
    /// Which program.
    pub(crate) kind: Kind,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it listens for HTTP/2, if it speaks it without TLS.
    pub(crate) h2_address: SocketAddr,
    /// Where it listens for TLS, if it is told to.
    pub(crate) tls_address: SocketAddr,
    guard: Guard,
    directory: TempDir,
}

impl Proxy {
    /// Starts `program` in front of `upstream` and waits until it accepts connections.
    pub(crate) fn start(kind: Kind, program: &Path, upstream: SocketAddr) -> Result<Self> {
        let directory = TempDir::new(kind.name())?;
        let [address, h2_address, tls_address] = free_addresses()?;
        let root = directory.path();
        let mut command = launch::command(PROXY_CORE, program)?;
        match kind {
            Kind::Nginx | Kind::Ringgate => {
                let file = root.join("nginx.conf");
                fs::write(&file, nginx_conf(root, [address, h2_address, tls_address], upstream))?;
                command.arg("-p").arg(root).arg("-c").arg(file).args(["-g", "daemon off;"]);
            }
            Kind::Haproxy => {
                let file = root.join("haproxy.cfg");
                fs::write(&file, haproxy_cfg(address, upstream))?;
                command.arg("-db").arg("-f").arg(file);
            }
        }
        let said = fs::File::create(root.join("said"))?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let mut proxy =
            Self { kind, address, h2_address, tls_address, guard: Guard(command.spawn()?), directory };
        proxy.wait_ready()?;
        Ok(proxy)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if self.guard.wait_until(Instant::now() + Duration::from_millis(5)) || Instant::now() > deadline {
                let root = self.directory.path();
                let said = fs::read_to_string(root.join("said")).unwrap_or_default();
                let logged = fs::read_to_string(root.join("logs/error.log")).unwrap_or_default();
                return Err(format!("{} does not start\n{said}{logged}", self.kind.name()).into());
            }
        }
    }

    /// Its processes. A worker that is replaced gets a new id, so ask before each measurement.
    pub(crate) fn pids(&self) -> Vec<u32> {
        cpu::family(self.guard.pid())
    }
}

/// Loopback ports that the system says are free.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let [one, two, three] = [bind()?, bind()?, bind()?];
    Ok([one.local_addr()?, two.local_addr()?, three.local_addr()?])
}

/// A certificate of the tests.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/tls/ec.crt");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/tls/ec.key");

/// The one file that nginx and ringgate both read: what a site behind a proxy ordinarily has.
fn nginx_conf(
    root: &Path,
    [address, h2_address, tls_address]: [SocketAddr; 3],
    upstream: SocketAddr,
) -> String {
    let root = root.display();
    // A process that changes its user no longer hears of its parent's death (prctl(2)), and would outlive a killed bench.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        r#"worker_processes 1;
{user}
pid {root}/proxy.pid;
error_log {root}/logs/error.log warn;
events {{ worker_connections 16384; }}
http {{
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    access_log off;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    upstream backend {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} backlog=4096;
        listen {h2_address} http2 backlog=4096;
        listen {tls_address} ssl backlog=4096;
        ssl_certificate {CERTIFICATE};
        ssl_certificate_key {KEY};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:bench:16m;
        server_name bench.local;
        location / {{ proxy_pass http://backend; }}
        location /logged/ {{ access_log {root}/logs/access.log combined; proxy_pass http://backend; }}
        location /bulk/ {{
            client_max_body_size 0;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_pass http://backend;
        }}
    }}
}}
"#
    )
}

/// The same for HAProxy.
fn haproxy_cfg(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
    no strict-limits
    maxconn 16384
defaults
    mode http
    no log
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option http-keep-alive
    http-reuse always
frontend front
    bind {address} backlog 4096
    maxconn 16384
    option forwardfor
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-Proto http
    default_backend back
backend back
    server one {upstream} pool-max-conn 64
"
    )
}
