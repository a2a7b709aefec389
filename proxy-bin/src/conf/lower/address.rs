//! Addresses as directives write them: `host`, `host:port`, `[::1]:port`, `unix:/path`, with what may follow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_core::command::Address;

use super::resolve::Resolve;

/// The longest path of a Unix socket, without its terminating zero.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// A split address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and, if it was written, a port.
    Host {
        /// A name, an IPv4 address or an IPv6 address without brackets; `*` in `listen`.
        host: String,
        /// The port.
        port: Option<u16>,
    },
    /// The path of a Unix socket.
    Unix(String),
}

/// Splits `text` at the `/` or `?` that begins a URI (for a Unix socket: at the `:` behind its path) and parses what
/// is before.
///
/// # Errors
/// nginx's words, to be followed by ` in upstream "…"` or the like.
pub fn split(text: &str) -> Result<(Endpoint, &str), &'static str> {
    if let Some(rest) = strip_unix(text) {
        let (path, uri) = rest.split_once(':').unwrap_or((rest, ""));
        return match path.len() {
            0 => Err("no path in the unix domain socket"),
            length if length > UNIX_PATH_BYTES_MAX => Err("too long path in the unix domain socket"),
            _ => Ok((Endpoint::Unix(path.into()), uri)),
        };
    }
    let at = text.find(['/', '?']).unwrap_or(text.len());
    let (authority, uri) = text.split_at(at);
    Ok((host_and_port(authority)?, uri))
}

fn strip_unix(text: &str) -> Option<&str> {
    let prefix = text.get(..5)?;
    prefix.eq_ignore_ascii_case("unix:").then(|| text.get(5..).unwrap_or_default())
}

fn host_and_port(authority: &str) -> Result<Endpoint, &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or("invalid host")?;
        host.parse::<Ipv6Addr>().map_err(|_| "invalid host")?;
        match tail.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if tail.is_empty() => (host, None),
            None => return Err("invalid host"),
        }
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() {
        return Err("no host");
    }
    let port = port.map(self::port).transpose()?;
    Ok(Endpoint::Host { host: host.into(), port })
}

/// A port number.
///
/// # Errors
/// `invalid port`.
pub fn port(text: &str) -> Result<u16, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or("invalid port")
}

/// The addresses of an endpoint.
///
/// # Errors
/// `host not found`.
pub fn resolve(
    endpoint: &Endpoint,
    default_port: u16,
    names: &dyn Resolve,
) -> Result<Vec<Address>, &'static str> {
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => return Ok(vec![Address::Unix(path.as_str().into())]),
        Endpoint::Host { host, port } => (host, port.unwrap_or(default_port)),
    };
    let ips = if let Ok(ip) = host.parse::<IpAddr>() {
        vec![ip]
    } else if host == "*" {
        vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
    } else {
        names.resolve(host).map_err(|_| "host not found")?
    };
    if ips.is_empty() {
        return Err("host not found");
    }
    Ok(ips.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let host = |host: &str, port| Ok(Endpoint::Host { host: host.into(), port });
        let table: &[(&str, Result<Endpoint, &str>, &str)] = &[
            ("a", host("a", None), ""),
            ("a:80/x?y", host("a", Some(80)), "/x?y"),
            ("a?x", host("a", None), "?x"),
            ("[::1]:81/", host("::1", Some(81)), "/"),
            ("[::1]", host("::1", None), ""),
            ("unix:/run/a.sock:/u/", Ok(Endpoint::Unix("/run/a.sock".into())), "/u/"),
            ("unix:", Err("no path in the unix domain socket"), ""),
            ("a:", Err("invalid port"), ""),
            ("a:0", Err("invalid port"), ""),
            ("a:65536", Err("invalid port"), ""),
            ("a:+1", Err("invalid port"), ""),
            (":80", Err("no host"), ""),
            ("[::1", Err("invalid host"), ""),
            ("[::1]x", Err("invalid host"), ""),
        ];
        for (text, endpoint, uri) in table {
            let expected = endpoint.clone().map(|endpoint| (endpoint, *uri));
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
