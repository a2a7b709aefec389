//! TLS of one server.

use alloc::sync::Arc;

use rustls::ServerConfig;
use rustls::time_provider::TimeProvider;

use crate::tls::verify::Trust;

/// What a server's `ssl_*` directives compile to; made by [`tls::build`](crate::tls::build).
#[derive(Debug)]
pub struct TlsServer {
    /// Certificates, protocols, ciphers.
    pub config: Arc<ServerConfig>,
    /// The same where HTTP/2 is offered.
    pub config_http2: Arc<ServerConfig>,
    /// `ssl_buffer_size`: how much one record carries at the most, in bytes.
    pub record_bytes_max: usize,
    /// `ssl_reject_handshake`
    pub reject: bool,
    /// `ssl_verify_client`
    pub verify: ClientVerify,
    /// Whom to trust about clients.
    pub trust: Trust,
    /// The clock that certificates are held against.
    pub time: Arc<dyn TimeProvider>,
}

/// `ssl_verify_client`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientVerify {
    /// Clients are not asked for a certificate.
    #[default]
    Off,
    /// A good one is required.
    On,
    /// One that is shown must be good.
    Optional,
    /// One that is shown may be signed by anybody.
    OptionalNoCa,
}
