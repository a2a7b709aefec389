//! `resolver address … [valid=time] [ipv4=on|off] [ipv6=on|off] [status_zone=zone];`

use std::net::SocketAddr;
use std::sync::Arc;

use proxy_core::command::Address;
use proxy_core::config::{Resolver, ResolverId};
use proxy_core::time::Millis;

use super::address;
use super::context::{Call, Context};
use crate::conf::value::{Field, Parsed, seconds};

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// Lowers the directive; two that say the same are one resolver.
///
/// # Errors
/// nginx's `invalid parameter: X`, `host not found in resolver "X"`, `no name servers defined`,
/// `"ipv4" and "ipv6" cannot both be "off"`.
pub fn resolver(call: &mut Call<'_, '_>) -> Parsed<ResolverId> {
    let mut resolver = Resolver::new([]);
    let mut servers = Vec::new();
    for n in 0..call.args().len() {
        let field = call.arg(n);
        if !parameter(&mut resolver, field)? {
            servers.extend(name_servers(call, field)?);
        }
    }
    if !resolver.ipv4 && !resolver.ipv6 {
        return Err(call.error("\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    if servers.is_empty() {
        return Err(call.error("no name servers defined"));
    }
    resolver.servers = servers.into();
    Ok(intern(call.cx, resolver))
}

/// The place of a resolver, the same for those that are equal.
pub fn intern(cx: &mut Context<'_>, resolver: Resolver) -> ResolverId {
    let place = cx.resolvers.iter().position(|known| **known == resolver).unwrap_or_else(|| {
        cx.resolvers.push(Arc::new(resolver));
        cx.resolvers.len() - 1
    });
    ResolverId(u32::try_from(place).unwrap_or(u32::MAX))
}

/// Whether it is a parameter, and not a name server.
fn parameter(resolver: &mut Resolver, field: Field<'_>) -> Parsed<bool> {
    let text = field.arg.text();
    let invalid = || field.error(format!("invalid parameter: {text}"));
    let switch = |value: &str| match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(invalid()),
    };
    match text.split_once('=') {
        Some(("valid", value)) => {
            resolver.valid = Some(seconds(value).map(Millis::from_secs).ok_or_else(invalid)?);
        }
        Some(("ipv4", value)) => resolver.ipv4 = switch(value)?,
        Some(("ipv6", value)) => resolver.ipv6 = switch(value)?,
        Some(("status_zone", "")) => return Err(invalid()),
        Some(("status_zone", zone)) => resolver.status_zone = Some(zone.into()),
        Some(_) | None => return Ok(false),
    }
    Ok(true)
}

/// All addresses of a name server, whose own name is looked up at load.
fn name_servers(call: &Call<'_, '_>, field: Field<'_>) -> Parsed<Vec<SocketAddr>> {
    let text = field.arg.text();
    let error = |error: &str| field.error(format!("{error} in resolver \"{text}\""));
    let (endpoint, rest) = address::split(&text).map_err(error)?;
    if !rest.is_empty() {
        return Err(error("invalid host"));
    }
    let addresses = address::resolve(&endpoint, DNS_PORT, call.cx.env.resolve).map_err(error)?;
    let ips = addresses.into_iter().map(|address| match address {
        Address::Ip(ip) => Ok(ip),
        Address::Unix(_) => Err(error("invalid host")),
    });
    ips.collect()
}
