//! Host names at load: whatever the system's resolver says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

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

/// The name servers of a `resolv.conf`(5), at most as many as the C library asks; this machine's own where it names none.
pub fn name_servers(text: &str) -> Vec<SocketAddr> {
    const SERVERS_MAX: usize = 3;
    const DNS_PORT: u16 = 53;
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        words.next()?.parse::<IpAddr>().ok()
    });
    let mut servers: Vec<_> = servers.take(SERVERS_MAX).map(|ip| SocketAddr::new(ip, DNS_PORT)).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_name_servers() {
        let text = "# nameserver 192.0.2.9\nsearch a b\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\nnameserver x\n";
        let both = name_servers(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(both, ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(name_servers("").len(), 1);
        assert_eq!(name_servers(&"nameserver 192.0.2.1\n".repeat(9)).len(), 3);
    }

    #[test]
    fn localhost_is_found_and_ipv4_comes_first() {
        let addresses = SystemResolver.resolve("localhost").unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert!(addresses.is_sorted_by_key(IpAddr::is_ipv6));
    }
}
