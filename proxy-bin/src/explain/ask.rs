//! What is asked: the request as bytes, and the socket that it comes to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use proxy_core::command::{Address, ListenerId, Peer};
use proxy_core::config::{Config, HTTP_PORT, Listener};

/// The port of `https:` where none is named.
const HTTPS_PORT: u16 = 443;
/// The port that a client comes from where none is named.
const CLIENT_PORT: u16 = 50_000;

/// What the command line asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The method, as it is sent.
    pub method: String,
    /// `http://host:port/path?args`, or a part of it: `host/path`, `/path`.
    pub url: String,
    /// `-H`: whole field lines.
    pub headers: Vec<String>,
    /// `--from`: the client's address.
    pub from: Option<SocketAddr>,
    /// `--data`: the body.
    pub data: Option<String>,
    /// `--answer`: the status that every upstream answers with.
    pub answer: u16,
}

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    tls: bool,
    /// Empty where the URL is only a path.
    host: &'a str,
    port: Option<u16>,
    target: String,
}

/// The request, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it comes to.
    pub listener: ListenerId,
    /// Both ends of its connection.
    pub peer: Peer,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The host that it names, for TLS.
    pub host: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Ask {
    /// The address of `--from`.
    ///
    /// # Errors
    /// Words for the command line.
    pub fn address(text: &str) -> Result<SocketAddr, String> {
        let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, CLIENT_PORT));
        bare.or_else(|_| text.parse()).map_err(|_| format!("\"{text}\" is no IP address"))
    }

    /// The request as the sockets of `config` get it.
    ///
    /// # Errors
    /// Words for the command line.
    pub fn request(&self, config: &Config) -> Result<Request, String> {
        let url = parse(&self.url)?;
        let (listener, socket) = choose(config, &url)?;
        if url.tls && !socket.tls {
            return Err(format!("{} does not speak TLS", socket.address));
        }
        let peer = self.peer(socket, url.host);
        let bytes = [proxy_header(socket, &peer), self.bytes(&url)?].concat();
        Ok(Request { listener, peer, tls: url.tls, host: url.host.to_owned(), bytes })
    }

    fn peer(&self, socket: &Listener, host: &str) -> Peer {
        let Address::Ip(at) = socket.address else {
            return Peer { client: Address::Unix(Arc::from("")), local: socket.address.clone() };
        };
        let ip = match host.trim_matches(['[', ']']).parse() {
            _ if !at.ip().is_unspecified() => at.ip(),
            Ok(ip) => ip,
            Err(_) => Ipv4Addr::LOCALHOST.into(),
        };
        let client = self.from.unwrap_or_else(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), CLIENT_PORT));
        Peer { client: Address::Ip(client), local: Address::Ip(SocketAddr::new(ip, at.port())) }
    }

    fn bytes(&self, url: &Url<'_>) -> Result<Vec<u8>, String> {
        let breaks = |text: &&String| text.contains(['\r', '\n']);
        let words = [&self.method, &self.url];
        if let Some(text) = words.into_iter().chain(&self.headers).find(breaks) {
            return Err(format!("{text:?} holds a line end"));
        }
        let named = |name: &str| {
            self.headers.iter().any(|line| {
                line.split_once(':').is_some_and(|(other, _)| other.trim().eq_ignore_ascii_case(name))
            })
        };
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, url.target);
        if !named("host") {
            let host = if url.host.is_empty() { "localhost" } else { url.host };
            let usual = if url.tls { HTTPS_PORT } else { HTTP_PORT };
            match url.port.filter(|port| *port != usual) {
                Some(port) => out.push_str(&format!("Host: {host}:{port}\r\n")),
                None => out.push_str(&format!("Host: {host}\r\n")),
            }
        }
        for line in &self.headers {
            out.push_str(&format!("{line}\r\n"));
        }
        let body = self.data.as_deref().unwrap_or_default();
        if self.data.is_some() && !named("content-length") && !named("transfer-encoding") {
            out.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        out.push_str("\r\n");
        out.push_str(body);
        Ok(out.into_bytes())
    }
}

fn parse(url: &str) -> Result<Url<'_>, String> {
    let (tls, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        Some((scheme, _)) if !scheme.contains(['/', '?']) => {
            return Err(format!("\"{scheme}\" is no scheme of ours"));
        }
        Some(_) | None => (false, url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let target = target.split('#').next().unwrap_or_default();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let bracket = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority.rfind(':').filter(|colon| *colon >= bracket) {
        None => (authority, None),
        Some(colon) => {
            let (host, port) = authority.split_at_checked(colon).unwrap_or((authority, ""));
            let port = port.trim_start_matches(':');
            (host, Some(port.parse().map_err(|_| format!("\"{port}\" is no port"))?))
        }
    };
    Ok(Url { tls, host, port, target })
}

/// The socket that a connection to this URL would come to: of those on the port the one with that address, or the one
/// for any. Where no port is named and nobody has the usual one, the first that speaks the scheme.
fn choose<'c>(config: &'c Config, url: &Url<'_>) -> Result<(ListenerId, &'c Listener), String> {
    let usual = if url.tls { HTTPS_PORT } else { HTTP_PORT };
    let ip: Option<IpAddr> = url.host.trim_matches(['[', ']']).parse().ok();
    let rank = |socket: &Listener| match socket.address {
        Address::Ip(at) if at.port() != url.port.unwrap_or(usual) => 0,
        Address::Ip(at) if Some(at.ip()) == ip => 4,
        Address::Ip(at) if at.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => 3,
        Address::Ip(at) if at.ip().is_unspecified() => 2,
        Address::Ip(_) => 1,
        Address::Unix(_) => 0,
    };
    let all = || (0..).map(ListenerId).zip(&config.listeners);
    // The first of the best.
    let best = all().rev_max(|(_, socket)| rank(socket)).filter(|(_, socket)| rank(socket) > 0);
    let other = || all().find(|(_, socket)| url.port.is_none() && socket.tls == url.tls);
    best.or_else(other).ok_or_else(|| {
        let known: Vec<String> = config.listeners.iter().map(|socket| socket.address.to_string()).collect();
        let port = url.port.unwrap_or(usual);
        match known.as_slice() {
            [] => "nothing listens: there is no server".to_owned(),
            known => format!("nothing listens on port {port}; there is {}", known.join(", ")),
        }
    })
}

/// The header that a PROXY protocol socket wants first.
fn proxy_header(socket: &Listener, peer: &Peer) -> Vec<u8> {
    let (true, Address::Ip(client), Address::Ip(local)) = (socket.proxy_protocol, &peer.client, &peer.local)
    else {
        return Vec::new();
    };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), local.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
}

/// The first of the greatest.
trait RevMax: Iterator + Sized {
    fn rev_max<K: Ord>(self, key: impl Fn(&Self::Item) -> K) -> Option<Self::Item> {
        self.fold(None, |best: Option<Self::Item>, next| match best {
            Some(best) if key(&best) >= key(&next) => Some(best),
            Some(_) | None => Some(next),
        })
    }
}

impl<I: Iterator> RevMax for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let table = [
            ("http://a.test/x?y#z", (false, "a.test", None, "/x?y")),
            ("https://a.test:8443", (true, "a.test", Some(8443), "/")),
            ("a.test?q=http://b", (false, "a.test", None, "/?q=http://b")),
            ("/only/path", (false, "", None, "/only/path")),
            ("http://[::1]:81/", (false, "[::1]", Some(81), "/")),
            ("http://[::1]/", (false, "[::1]", None, "/")),
        ];
        for (text, (tls, host, port, target)) in table {
            assert_eq!(parse(text), Ok(Url { tls, host, port, target: target.to_owned() }), "{text}");
        }
        assert!(parse("ftp://a").is_err() && parse("http://a:x/").is_err());
    }
}
