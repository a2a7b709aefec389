//! The kinds of traffic that are compared, as data.

use crate::Result;

/// How the client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Requests one after another on kept-alive connections.
    KeepAlive,
    /// A new connection for each request, `Connection: close`.
    Churn,
    /// Many requests at a time on a few HTTP/2 connections, by h2load.
    Http2,
    /// Many connections that asked once and then stay silent.
    Idle,
    /// One large reply.
    Download,
    /// One large request.
    Upload,
}

/// What lies between the client and the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// Nothing.
    Plain,
    /// TLS; each connection shakes hands anew.
    Full,
    /// TLS; each connection resumes the session of an earlier one.
    Resumed,
}

/// One kind of traffic.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The name on the command line, in the table and in the plot.
    pub(crate) name: &'static str,
    /// How the client behaves.
    pub(crate) traffic: Traffic,
    /// The request target; `upstream` reads the reply's size from it. The download appends its own.
    pub(crate) target: &'static str,
    /// What it is wrapped in.
    pub(crate) security: Security,
    /// Whether HAProxy can be asked for the same work.
    pub(crate) haproxy: bool,
    /// Whether `compare` runs it unasked.
    pub(crate) default: bool,
}

const fn keep_alive(name: &'static str, target: &'static str) -> Shape {
    Shape {
        name,
        traffic: Traffic::KeepAlive,
        target,
        security: Security::Plain,
        haproxy: true,
        default: false,
    }
}

const fn tls(name: &'static str, target: &'static str) -> Shape {
    Shape { security: Security::Full, haproxy: false, ..keep_alive(name, target) }
}

/// Every shape, in the order in which `--shape all` runs them.
pub(crate) static ALL: [Shape; 15] = [
    Shape { default: true, ..keep_alive("small", "/sized/128") },
    Shape { default: true, ..keep_alive("10k", "/sized/10240") },
    Shape { default: true, ..keep_alive("64k", "/sized/65536") },
    keep_alive("1m", "/sized/1048576"),
    keep_alive("chunked", "/chunked/10240"),
    Shape { traffic: Traffic::Churn, ..keep_alive("churn", "/sized/128") },
    Shape { traffic: Traffic::Http2, haproxy: false, ..keep_alive("h2", "/sized/128") },
    tls("tls", "/sized/128"),
    tls("tls100k", "/sized/102400"),
    Shape { traffic: Traffic::Churn, ..tls("tls-full", "/sized/128") },
    Shape { traffic: Traffic::Churn, security: Security::Resumed, ..tls("tls-resumed", "/sized/128") },
    // HAProxy logs to syslog only.
    Shape { haproxy: false, ..keep_alive("logged", "/logged/128") },
    Shape { traffic: Traffic::Idle, ..keep_alive("idle", "/sized/128") },
    Shape { traffic: Traffic::Download, ..keep_alive("download", "/bulk/") },
    Shape { traffic: Traffic::Upload, ..keep_alive("upload", "/bulk/2") },
];

/// The shapes of a comma-separated list, or all of them for `all`.
pub(crate) fn by_names(names: &str) -> Result<Vec<&'static Shape>> {
    if names == "all" {
        return Ok(ALL.iter().collect());
    }
    names
        .split(',')
        .map(|name| {
            ALL.iter()
                .find(|shape| shape.name == name)
                .ok_or_else(|| format!("no shape is called {name}").into())
        })
        .collect()
}

impl Shape {
    /// Whether it is measured in alternating rounds of requests.
    pub(crate) fn is_rounds(&self) -> bool {
        matches!(self.traffic, Traffic::KeepAlive | Traffic::Churn | Traffic::Http2)
    }
}
