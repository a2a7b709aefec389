//! Listening sockets.

use super::ServerId;
use crate::command::Address;
use crate::route::ServerNames;

/// One listening socket and the servers behind it.
#[derive(Debug)]
pub struct Listener {
    /// The address; a wildcard one for `listen 80`.
    pub address: Address,
    /// Whether a `[::]` socket also takes IPv4 (`ipv6only=off`).
    pub dual_stack: bool,
    /// `backlog=`; 511 by default.
    pub backlog: u32,
    /// `rcvbuf=` in bytes.
    pub receive_buffer_bytes: Option<u32>,
    /// `sndbuf=` in bytes.
    pub send_buffer_bytes: Option<u32>,
    /// `deferred`
    pub deferred: bool,
    /// `so_keepalive=on`
    pub keepalive: bool,
    /// `http2`: HTTP/2 is spoken whatever the servers say.
    pub http2: bool,
    /// `proxy_protocol`
    pub proxy_protocol: bool,
    /// `ssl`
    pub tls: bool,
    /// The server for names that no other one has.
    pub default_server: ServerId,
    /// The servers by name.
    pub names: ServerNames,
}
