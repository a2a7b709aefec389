//! Where an upstream listens, as URLs and directives write it: `host`, `host:port`, `[::1]:port`, `unix:/path`.
//!
//! It is here and not in the configuration's front end because a `proxy_pass` with variables only has its URL when the
//! request is there.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::command::Address;

/// The longest path of a Unix socket, in bytes, without its terminating zero.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// The port of `http://`.
pub const HTTP_PORT: u16 = 80;

/// The port of `https://`.
pub const HTTPS_PORT: u16 = 443;

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

impl Endpoint {
    /// Splits `text` at the `/` or `?` that begins a URI (for a Unix socket: behind the `:` that ends its path).
    /// Returns the address and where the URI begins.
    ///
    /// # Errors
    /// nginx's words, to be followed by ` in upstream "…"` or the like.
    pub fn split(text: &[u8]) -> Result<(Self, usize), &'static str> {
        if let Some((prefix, rest)) = text.split_at_checked(5)
            && prefix.eq_ignore_ascii_case(b"unix:")
        {
            let end = memchr::memchr(b':', rest).unwrap_or(rest.len());
            return match utf8(rest.get(..end))? {
                "" => Err("no path in the unix domain socket"),
                path if path.len() > UNIX_PATH_BYTES_MAX => Err("too long path in the unix domain socket"),
                path => Ok((Self::Unix(path.to_owned()), (5 + end + 1).min(text.len()))),
            };
        }
        let end = memchr::memchr2(b'/', b'?', text).unwrap_or(text.len());
        Ok((Self::host_and_port(utf8(text.get(..end))?)?, end))
    }

    fn host_and_port(authority: &str) -> Result<Self, &'static str> {
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
        if host.contains(' ') {
            return Err("invalid host");
        }
        let port = port.map(port_number).transpose()?;
        Ok(Self::Host { host: host.to_owned(), port })
    }

    /// `$proxy_host` and `$proxy_port`, where the URL's scheme has this port.
    #[must_use]
    pub fn proxy_host_and_port(&self, default_port: u16) -> (String, String) {
        match self {
            Self::Unix(_) => ("localhost".to_owned(), String::new()),
            Self::Host { host, port } => {
                let host = bracketed(host);
                match port {
                    Some(port) if *port != default_port => (format!("{host}:{port}"), port.to_string()),
                    Some(_) | None => (host, default_port.to_string()),
                }
            }
        }
    }

    /// The one name of everything that this endpoint may be written as: `host:80`, `unix:/path`.
    #[must_use]
    pub fn authority(&self, default_port: u16) -> String {
        match self {
            Self::Host { host, port } => format!("{}:{}", bracketed(host), port.unwrap_or(default_port)),
            Self::Unix(path) => format!("unix:{path}"),
        }
    }

    /// The host, as a certificate names it; of a Unix socket nginx takes the path.
    #[must_use]
    pub fn tls_name(&self) -> &str {
        match self {
            Self::Host { host, .. } => host,
            Self::Unix(path) => path,
        }
    }

    /// The address, where no name is to be looked up for it.
    #[must_use]
    pub fn literal(&self, default_port: u16) -> Option<Address> {
        match self {
            Self::Host { host, port } => {
                let ip = host.parse::<IpAddr>().ok()?;
                Some(Address::Ip(SocketAddr::new(ip, port.unwrap_or(default_port))))
            }
            Self::Unix(path) => Some(Address::Unix(path.as_str().into())),
        }
    }
}

/// A port number.
///
/// # Errors
/// `invalid port`.
pub fn port_number(text: &str) -> Result<u16, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or("invalid port")
}

/// Neither a host nor a path holds a control character.
fn utf8(text: Option<&[u8]>) -> Result<&str, &'static str> {
    let text = text.and_then(|text| core::str::from_utf8(text).ok());
    text.filter(|text| !text.bytes().any(|byte| byte.is_ascii_control())).ok_or("invalid host")
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
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
            ("unix:/run/a.sock:", Ok(Endpoint::Unix("/run/a.sock".into())), ""),
            ("UNIX:/run/a.sock", Ok(Endpoint::Unix("/run/a.sock".into())), ""),
            ("unix:", Err("no path in the unix domain socket"), ""),
            ("a:", Err("invalid port"), ""),
            ("a:0", Err("invalid port"), ""),
            ("a:65536", Err("invalid port"), ""),
            ("a:+1", Err("invalid port"), ""),
            (":80", Err("no host"), ""),
            ("/x", Err("no host"), ""),
            ("[::1", Err("invalid host"), ""),
            ("[::1]x", Err("invalid host"), ""),
            ("a b", Err("invalid host"), ""),
            ("a\0b", Err("invalid host"), ""),
        ];
        for (text, endpoint, uri) in table {
            let expected = endpoint.clone().map(|endpoint| (endpoint, *uri));
            let split = Endpoint::split(text.as_bytes()).map(|(endpoint, at)| (endpoint, &text[at..]));
            assert_eq!(split, expected, "{text}");
        }
    }

    #[test]
    fn names_for_variables_and_caches() {
        for (text, host, port, authority) in [
            ("A.example", "A.example", "80", "A.example:80"),
            ("a:80", "a", "80", "a:80"),
            ("a:81", "a:81", "81", "a:81"),
            ("[::1]:81", "[::1]:81", "81", "[::1]:81"),
            ("unix:/s:", "localhost", "", "unix:/s"),
        ] {
            let (endpoint, _) = Endpoint::split(text.as_bytes()).unwrap();
            assert_eq!(endpoint.proxy_host_and_port(HTTP_PORT), (host.into(), port.into()), "{text}");
            assert_eq!(endpoint.authority(HTTP_PORT), authority, "{text}");
        }
    }
}
