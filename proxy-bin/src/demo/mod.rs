//! `ringgate demo`: the proxy in front of an upstream of its own, to look at and to try.
//!
//! The proxy is the real one, run from the same text that `ringgate proxy` would write. The upstream ([`upstream`]) is
//! a small blocking server on a port that the system chooses: it is there to be proxied, and nothing else.

pub mod http;
pub mod upstream;
mod websocket;

/// Where the demo listens when nobody says.
pub const LISTEN: &str = "127.0.0.1:8080";

/// What to try, for people.
#[must_use]
pub fn guide(listen: &str, upstream: &str) -> String {
    let address = listen.strip_prefix(':').unwrap_or(listen);
    let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
    let host = address.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    let host = if matches!(host, "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    let url = format!("http://{host}:{port}");
    format!(
        "\
ringgate demo: {url}/  ->  a built-in upstream at {upstream}

  open {url}/ in a browser, or try
    curl {url}/headers               what the upstream sees of a request
    curl -N {url}/events             an event stream, one event a second
    curl '{url}/slow?ms=3000'        an answer that takes its time
    curl -o /dev/null '{url}/bytes?n=100000000'
    curl -T FILE {url}/count         an upload; answers with its size
  and a WebSocket that echoes: ws://{host}:{port}/ws

Ctrl-C ends it. --print-config shows the configuration.
"
    )
}
