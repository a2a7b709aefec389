//! Host names, by the system's own resolver: `/etc/hosts`, `nsswitch.conf` and all.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use proxy_core::command::ResolveError;

use crate::blocking::{NAMES, Refused};

/// The addresses of `name`, each once, in the resolver's order.
pub(crate) async fn resolve(name: Arc<str>) -> Result<Vec<IpAddr>, ResolveError> {
    let answer = NAMES.run(move || look_up(&name)).await;
    answer.unwrap_or_else(|Refused| {
        Err(ResolveError { reason: "too many names are being resolved".to_owned() })
    })
}

fn look_up(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        // The standard library says where it was; only the resolver's own words behind that are of interest.
        let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
        // `EAI_NONAME` and `EAI_NODATA`, of which nothing but the words is left here.
        let absent = ["Name or service not known", "No address associated with hostname"].contains(&reason);
        ResolveError { reason: if absent { ResolveError::NOT_FOUND } else { reason }.to_owned() }
    })?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() {
        Err(ResolveError { reason: ResolveError::NOT_FOUND.to_owned() })
    } else {
        Ok(addresses)
    }
}
