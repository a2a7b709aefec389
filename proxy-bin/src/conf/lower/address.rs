//! Addresses as directives write them: `host`, `host:port`, `[::1]:port`, `unix:/path`, with what may follow.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proxy_core::command::Address;
pub use proxy_core::config::{Endpoint, port_number as port};

use super::resolve::Resolve;

/// Splits an address from the URI behind it.
///
/// # Errors
/// nginx's words, to be followed by ` in upstream "…"` or the like.
pub fn split(text: &str) -> Result<(Endpoint, &str), &'static str> {
    let (endpoint, at) = Endpoint::split(text.as_bytes())?;
    Ok((endpoint, text.get(at..).unwrap_or_default()))
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
