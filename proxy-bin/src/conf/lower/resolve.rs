//! Host names at load: whatever the system's resolver says.

use std::net::{IpAddr, ToSocketAddrs as _};

/// Finds the addresses of a host name while the configuration is loaded.
pub trait Resolve {
    /// The addresses, in the order in which they shall be used.
    ///
    /// # Errors
    /// The system's words.
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String>;
}

/// getaddrinfo(3), which blocks: for loading only, never on a worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.map(|address| address.ip()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // nginx puts IPv4 first, whatever the system prefers.
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_found_and_ipv4_comes_first() {
        let addresses = SystemResolver.resolve("localhost").unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert!(addresses.is_sorted_by_key(IpAddr::is_ipv6));
    }
}
