//! What `sticky` calls a server: its `route`, or a digest of its address.

use alloc::format;

use md5::{Digest as _, Md5};
use smallvec::SmallVec;

use crate::config::UpstreamServer;

/// A server's name in cookies, routes and sessions.
pub(crate) type Sid = SmallVec<[u8; 32]>;

/// A server's name: as nginx's, so that cookies outlive a change of proxies.
pub(crate) fn sid(config: &UpstreamServer) -> Sid {
    if !config.route.is_empty() {
        return SmallVec::from_slice(config.route.as_bytes());
    }
    let digest: [u8; 16] = Md5::digest(format!("{}", config.address).as_bytes()).into();
    let mut sid = Sid::new();
    for byte in digest {
        sid.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    sid
}

/// What a session is kept under.
pub(crate) fn session_key(id: &[u8]) -> [u8; 16] {
    Md5::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Address;

    #[test]
    fn a_server_is_called_by_its_route_or_by_the_digest_of_its_address() {
        let mut server = UpstreamServer::new(Address::Ip(([127, 0, 0, 1], 8080).into()));
        // printf 127.0.0.1:8080 | md5sum
        assert_eq!(sid(&server).as_slice(), b"5958c386bf5e9109ac10d2a628645aea".as_slice());
        server.route = "a".into();
        assert_eq!(sid(&server).as_slice(), b"a");
    }
}
